//! The consistency decoder against diffusers' UNet and OpenAI's steps; `onnx/golden/consistency.py` made the values.
//!
//! Invariant: the importer is given what a user would give it, and the graphs it writes are those that are run.

use std::path::{Path, PathBuf};

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::attempt::Attempt;
use super::golden_tests::{difference, onnxruntime};
use super::run::{Job, Scope, Side};
use super::sampler::{self, Sampling};
use super::session::Failure;
use super::{Hub, HubOptions, ImportOptions, ModelSpec, ModelsFolder, Precision, Provider};
use crate::error::ErrorKind;
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;

/// How far a value may be from torch's, relative to the largest one and at least to 1.
const TOLERANCE: f32 = 2e-5;

const CPU: Attempt = Attempt {
    provider: Provider::Cpu,
    precision: Precision::F32,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consistency")
}

fn golden(name: &str) -> (Vec<u32>, Vec<f32>) {
    let bytes = std::fs::read(folder().join("golden.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let shape = tensor.shape().iter().map(|side| *side as u32).collect();
    let (quads, _) = tensor.data().as_chunks::<4>();
    let (pairs, _) = tensor.data().as_chunks::<2>();
    let values = match tensor.dtype() {
        Dtype::F32 => quads.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => pairs
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        Dtype::U8 => tensor.data().iter().map(|byte| f32::from(*byte)).collect(),
        other => panic!("{other:?}"),
    };
    (shape, values)
}

fn latent(name: &str) -> Latent {
    let (shape, values) = golden(name);
    let values = values.into_iter().map(f16::from_f32).collect();
    let shape = LatentShape {
        channels: shape[1],
        height: shape[2],
        width: shape[3],
    };
    Latent::new(shape, values).unwrap()
}

fn import(models: &Path, path: &Path, name: &str) -> ModelSpec {
    let options = ImportOptions {
        name: Some(name.to_owned()),
        ..ImportOptions::default()
    };
    ModelsFolder::new(models).import(path, &options).unwrap()
}

fn hub(models: &Path, tile: &str, precision: Option<Precision>) -> Hub {
    Hub::new(HubOptions {
        runtime: Some(onnxruntime()),
        models: Some(models.to_path_buf()),
        provider: Provider::Cpu,
        precision,
        tile: tile.parse().unwrap(),
        ..HubOptions::default()
    })
}

fn evaluate(hub: &Hub, scope: Scope, latent: &Latent, given: (&[f32], i64)) -> Vec<f32> {
    let spec = hub.model("con").unwrap();
    let job = Job::of(spec, Side::Decoder).unwrap();
    let output = hub.with_session(job, scope, CPU, |session| {
        session.denoise(spec, job.half, latent, given)
    });
    output.map_err(|failure| format!("{failure:?}")).unwrap()
}

#[test]
fn one_evaluation_and_two_steps_compute_what_diffusers_and_openai_do() {
    let models = tempfile::tempdir().unwrap();
    let spec = import(models.path(), &folder().join("model"), "con");
    assert_eq!(
        (&*spec.family, &*spec.latent_space),
        ("consistency-decoder", "sd-v1")
    );
    let hub = hub(models.path(), "off", None);
    for n in 0..2 {
        let latent = latent(&format!("latent.{n}"));
        let (_, noisy) = golden(&format!("noisy.{n}"));
        for time in [1008, 512, 16] {
            let (_, expected) = golden(&format!("output.{n}.{time}"));
            // A graph for tiles that takes its own statistics is the same network.
            for scope in [Scope::Image, Scope::Tile] {
                let worst = difference(&evaluate(&hub, scope, &latent, (&noisy, time)), &expected);
                println!("{n}, time {time}: {worst:.1e}");
                assert!(worst <= TOLERANCE, "{n}, time {time}, {scope:?}: {worst:e}");
            }
        }
        let drawn = |step| golden(&format!("noise.{n}.{step}")).1;
        let image = sampler::sample(&sampler::steps(2).unwrap(), drawn, |noisy, time| {
            Ok::<_, Failure>(evaluate(&hub, Scope::Image, &latent, (noisy, time)))
        });
        let worst = difference(&image.unwrap(), &golden(&format!("image.{n}")).1);
        println!("{n}, two steps: {worst:.1e}");
        assert!(worst <= TOLERANCE, "{n}, two steps: {worst:e}");
    }
}

#[test]
fn the_encoder_that_is_published_with_it_is_that_of_an_autoencoder_kl() {
    let models = tempfile::tempdir().unwrap();
    let spec = import(models.path(), &folder().join("model"), "con");
    let (shape, bytes) = golden("pixels");
    let bytes = bytes.into_iter().map(|value| value as u8).collect();
    let image = Pixels::from_rgb(shape[2], shape[1], bytes).unwrap();
    let encoded = hub(models.path(), "off", None)
        .encode("con", &image)
        .unwrap();
    let found: Vec<f32> = encoded
        .latent
        .as_slice()
        .iter()
        .map(|v| v.to_f32())
        .collect();
    let worst = difference(&found, &golden("mean").1);
    assert!(worst <= f16::EPSILON.to_f32(), "{worst:e}");

    // The same encoder in a folder of an AutoencoderKL has the same fingerprint.
    let kl = tempfile::tempdir().unwrap();
    rewritten(&kl.path().join("vae.safetensors"), |name| {
        let wanted = name.starts_with("encoder.") || name.starts_with("quant_conv.");
        wanted.then(|| name.to_owned())
    });
    let config = serde_json::json!({
        "_class_name": "AutoencoderKL", "block_out_channels": [4, 4, 8, 8], "norm_num_groups": 2,
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
        "scaling_factor": 0.18215,
    });
    std::fs::write(kl.path().join("config.json"), config.to_string()).unwrap();
    let other = import(models.path(), kl.path(), "kl");
    assert_eq!(other.fingerprint, spec.fingerprint);
    assert!(other.fingerprint.is_some() && other.decoder.is_none());
}

/// The golden model's tensors under other names, in the file `to`; those without a name are left out.
fn rewritten(to: &Path, name: impl Fn(&str) -> Option<String>) {
    let from = folder().join("model/diffusion_pytorch_model.safetensors");
    let bytes = std::fs::read(from).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let named = tensors.iter().filter_map(|(old, tensor)| {
        let view = TensorView::new(tensor.dtype(), tensor.shape().to_vec(), tensor.data());
        Some((name(old)?, view.unwrap()))
    });
    std::fs::write(to, safetensors::serialize(named, None).unwrap()).unwrap();
}

#[test]
fn a_plain_file_of_the_unet_is_known_by_its_table_of_times() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("consistency_decoder.safetensors");
    rewritten(&path, |name| {
        name.strip_prefix("decoder_unet.").map(str::to_owned)
    });
    let models = tempfile::tempdir().unwrap();
    // Its groups of 2 can't be known from the tensors, and the widths of 6 and 4 are no multiples of 32.
    let error = ModelsFolder::new(models.path())
        .import(&path, &ImportOptions::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("no consistency decoder has"),
        "{error}"
    );
    let config = std::fs::read(folder().join("model/config.json")).unwrap();
    std::fs::write(files.path().join("config.json"), config).unwrap();
    let spec = import(models.path(), files.path(), "con");
    assert!(spec.encoder.is_none() && spec.fingerprint.is_none());
    let latent = latent("latent.1");
    let hub = hub(models.path(), "off", None);
    let found = evaluate(&hub, Scope::Image, &latent, (&golden("noisy.1").1, 512));
    assert!(difference(&found, &golden("output.1.512").1) <= TOLERANCE);
}

#[test]
fn what_the_unet_lacks_has_too_much_or_does_otherwise_is_refused_by_its_name() {
    let model = tempfile::tempdir().unwrap();
    let (config, weights) = (
        model.path().join("config.json"),
        model.path().join("diffusion_pytorch_model.safetensors"),
    );
    let original = std::fs::read_to_string(folder().join("model/config.json")).unwrap();
    let models = ModelsFolder::new(model.path().join("models"));
    let options = ImportOptions {
        name: Some("con".to_owned()),
        ..ImportOptions::default()
    };
    let refusal = || format!("{:#}", models.import(model.path(), &options).unwrap_err());
    rewritten(&weights, |name| Some(name.to_owned()));
    for (key, from, to) in [
        ("decoder_add_attention", "false", "true"),
        ("decoder_norm_eps", "1e-05", "1e-06"),
        (
            "decoder_time_embedding_type",
            "\"learned\"",
            "\"positional\"",
        ),
        ("decoder_num_train_timesteps", "1024", "1000"),
        ("scaling_factor", "0.18215", "0.13025"),
        ("encoder_act_fn", "\"silu\"", "\"relu\""),
    ] {
        let changed = original.replace(&format!("\"{key}\": {from}"), &format!("\"{key}\": {to}"));
        assert_ne!(changed, original, "{key}");
        std::fs::write(&config, changed).unwrap();
        assert!(refusal().contains(key), "{key}: {}", refusal());
    }
    std::fs::write(&config, &original).unwrap();
    let lacking = "decoder_unet.mid_block.resnets.1.time_emb_proj.bias";
    rewritten(&weights, |name| (name != lacking).then(|| name.to_owned()));
    assert!(refusal().contains(lacking), "{}", refusal());
    rewritten(&weights, |name| {
        Some(name.replace(
            "up_blocks.0.resnets.2.conv_shortcut",
            "up_blocks.0.resnets.2.shortcut",
        ))
    });
    assert!(refusal().contains("conv_shortcut"), "{}", refusal());
    rewritten(&weights, |name| {
        Some(name.replace("quant_conv", "post_quant_conv"))
    });
    assert!(refusal().contains("quant_conv"), "{}", refusal());
    assert!(!models.path().exists() || crate::fs::names(models.path()).unwrap().is_empty());
}

#[test]
fn openais_own_files_are_told_what_turns_them() {
    let files = tempfile::tempdir().unwrap();
    let models = ModelsFolder::new(files.path().join("models"));
    let renamed = files.path().join("consistency.safetensors");
    rewritten(&renamed, |name| {
        name.starts_with("decoder_unet.conv_in.")
            .then(|| format!("blocks.embed_image.f.{name}"))
    });
    let script = files.path().join("decoder.pt");
    std::fs::write(&script, b"PK\x03\x04 and more").unwrap();
    for path in [renamed, script] {
        let error = models.import(&path, &ImportOptions::default()).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        assert!(
            hint.contains("onnx/tools/consistency.py"),
            "{error}: {hint}"
        );
    }
}

fn decode(hub: &Hub, latent: &Latent, size: (u32, u32), sampling: &Sampling) -> Pixels {
    let decoded = hub.decode_sampled("con", latent, "sd-v1", size, sampling);
    decoded.unwrap().pixels
}

#[test]
fn the_same_seed_gives_the_same_image_and_another_seed_another() {
    let models = tempfile::tempdir().unwrap();
    import(models.path(), &folder().join("model"), "con");
    let hub = hub(models.path(), "off", None);
    let latent = latent("latent.0");
    let image = |seed: &str, steps| {
        let sampling = Sampling {
            steps,
            ..Sampling::of(seed)
        };
        let image = decode(&hub, &latent, (21, 37), &sampling);
        assert_eq!((image.width(), image.height()), (21, 37));
        image.into_rgb()
    };
    let first = image("cat", 2);
    assert_eq!(image("cat", 2), first);
    for other in [image("dog", 2), image("cat", 1), image("cat", 3)] {
        assert_ne!(other, first);
    }
    let none = Sampling {
        steps: 0,
        ..Sampling::default()
    };
    let error = hub.decode_sampled("con", &latent, "sd-v1", (24, 40), &none);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// A latent as of an image with large plain areas, so that tiles have something in common.
fn broad_latent(height: u32, width: u32) -> Latent {
    let shape = LatentShape {
        channels: 4,
        height,
        width,
    };
    let cell = |channel: u32, y: u32, x: u32| {
        let wave = ((x + 7 * channel) as f32 / 5.0).sin() + ((y + channel) as f32 / 4.0).cos();
        f16::from_f32(
            4.0 * wave
                + if (x / 6 + y / 6).is_multiple_of(2) {
                    2.0
                } else {
                    -2.0
                },
        )
    };
    let cells =
        (0..4).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| cell(c, y, x))));
    Latent::new(shape, cells.collect()).unwrap()
}

#[test]
fn tiles_begin_every_step_from_the_image_and_the_noise_of_the_whole() {
    let models = tempfile::tempdir().unwrap();
    import(models.path(), &folder().join("model"), "con");
    let latent = broad_latent(40, 60);
    let size = (475, 318);
    let sampling = Sampling::of("cat");
    let whole = decode(&hub(models.path(), "off", None), &latent, size, &sampling);
    let tiled = decode(
        &hub(models.path(), "192:64", None),
        &latent,
        size,
        &sampling,
    );
    let other = decode(
        &hub(models.path(), "off", None),
        &latent,
        size,
        &Sampling::of("dog"),
    );
    let apart = |other: &Pixels| {
        let pairs = whole.as_rgb().iter().zip(other.as_rgb());
        let squares: f64 = pairs.map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        (squares / whole.byte_len() as f64).sqrt()
    };
    println!(
        "tiled {:.2}, another seed {:.2}",
        apart(&tiled),
        apart(&other)
    );
    assert!(apart(&tiled) < apart(&other) / 5.0);
}

#[test]
fn an_image_that_takes_more_than_the_memory_is_sampled_in_tiles_and_that_is_told() {
    let models = tempfile::tempdir().unwrap();
    import(models.path(), &folder().join("model"), "con");
    let hub = Hub::new(HubOptions {
        memory: Some(1),
        ..hub(models.path(), "auto", None).options.clone()
    });
    let decoded = hub.decode("con", &broad_latent(34, 40), "sd-v1", (320, 272));
    let decoded = decoded.unwrap();
    assert_eq!(decoded.tiling.unwrap().to_string(), "256:128");
    assert!(decoded.notes[0].contains("--memory"), "{:?}", decoded.notes);
}

#[test]
fn f16_is_close_to_f32_and_what_is_chosen_is_told() {
    let models = tempfile::tempdir().unwrap();
    import(models.path(), &folder().join("model"), "con");
    let latent = latent("latent.0");
    let decoded = |precision| {
        let hub = hub(models.path(), "off", Some(precision));
        let decoded = hub.decode_sampled("con", &latent, "sd-v1", (24, 40), &Sampling::of("a"));
        let decoded = decoded.unwrap();
        assert_eq!((decoded.precision, decoded.notes.len()), (precision, 0));
        decoded.pixels
    };
    let (half, exact) = (decoded(Precision::F16), decoded(Precision::F32));
    let pairs = half.as_rgb().iter().zip(exact.as_rgb());
    let mean = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / exact.byte_len() as f64;
    println!("{mean:.3} levels apart in the mean");
    assert!(mean < 1.0, "{mean}");
}
