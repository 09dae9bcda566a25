//! What becomes of exports: the mean that is kept, the file that is kept, and what is said of both.
//!
//! Invariant: an encoder gives what torch computes, and never a sample.

use super::tests::{Bench, fixture};
use crate::error::ErrorKind;

#[test]
fn exports_of_every_kind_compute_what_torch_computes() {
    for (encoder, decoder, golden) in [
        ("kl-moments.onnx", "kl-decoder.onnx", "kl"),
        ("kl-sample.onnx", "", "kl"),
        ("", "kl-decoder.onnx", "kl"),
        ("mean.onnx", "decoder.onnx", "pool"),
        ("mean-logvar.onnx", "", "pool"),
        ("sample-parameters.onnx", "", "pool"),
        ("sample-scaled.onnx", "decoder.onnx", "pool"),
        ("sample-dynamo.onnx", "", "pool"),
        ("batch-one.onnx", "", "pool"),
        ("batch-baked.onnx", "", "pool"),
        ("bytes.onnx", "bytes-decoder.onnx", "pool"),
        ("half.onnx", "half-decoder.onnx", "pool"),
    ] {
        let bench = Bench::new(encoder, decoder);
        let bench = bench.with(|options| {
            if encoder.starts_with("bytes") {
                options.input_range = None;
            }
        });
        let added = bench.add().unwrap();
        assert_eq!(added.spec.family, "onnx");
        assert_eq!(added.spec.latent_channels, 4);
        assert_eq!(added.spec.spatial_compression_ratio, 8);
        assert_eq!(added.spec.encoder.is_some(), !encoder.is_empty());
        bench.compare(golden);
    }
}

#[test]
fn what_the_file_says_and_what_it_cannot_say_is_noted() {
    let notes = |bench: Bench| bench.add().unwrap().notes.join("\n");
    let found = notes(Bench::new("mean.onnx", "decoder.onnx"));
    for part in [
        "`sample` f32 [sample_0, 3, sample_2, sample_3]",
        "black is -1 and white 1, as --input-range says",
        "4 channels at f8",
        "as --latent-space says",
        "latents are taken as unscaled",
        "a smooth test picture comes back with",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    assert!(!found.contains("would explain"), "{found}");
    // Halves that don't belong together.
    let found = notes(Bench::new("kl-moments.onnx", "decoder.onnx"));
    assert!(found.contains("mean and log-variance"), "{found}");
    assert!(found.contains("halves of different models"), "{found}");
    let found = notes(Bench::new("half.onnx", ""));
    assert!(found.contains("are f16"), "{found}");
    let scaled = Bench::new("mean.onnx", "").with(|options| options.scaled = true);
    let found = notes(scaled);
    assert!(found.contains("as --scaled says"), "{found}");
}

#[test]
fn a_sampling_encoder_gives_its_mean_and_its_file_is_only_added_to() {
    let bench = Bench::new("kl-sample.onnx", "");
    let added = bench.add().unwrap();
    let notes = added.notes.join("\n");
    assert!(
        notes.contains("draws a sample (RandomNormalLike)"),
        "{notes}"
    );
    let given = std::fs::read(fixture("kl-sample.onnx")).unwrap();
    let kept = std::fs::read(bench.path_of("encoder.onnx")).unwrap();
    assert_eq!(kept[..given.len()], given);
    assert!((1..200).contains(&(kept.len() - given.len())));
    let mut expected = blake3::Hasher::new();
    expected.update(b"latentdb-onnx-v1\nencoder.onnx\0");
    expected
        .update(&(given.len() as u64).to_le_bytes())
        .update(&given);
    let fingerprint = added.spec.fingerprint.clone().unwrap();
    assert_eq!(fingerprint, expected.finalize().to_hex().to_string());
    let folder = bench.models();
    assert_eq!(folder.list().unwrap().0.len(), 1);
    assert_eq!(added.spec.files.len(), 1);
}

#[test]
fn a_mean_that_the_file_gives_is_preferred_to_one_inside_it() {
    let bench = Bench::new("sample-parameters.onnx", "");
    let half = bench.add().unwrap().spec.encoder.unwrap();
    assert_eq!(half.latent.name, "parameters");
    assert!(half.latent.moments);
    let given = std::fs::read(fixture("sample-parameters.onnx")).unwrap();
    let kept = std::fs::read(bench.path_of("encoder.onnx")).unwrap();
    assert!(kept == given);
}

#[test]
fn a_mean_before_the_scaling_is_unscaled_whatever_the_sample_is() {
    for scaled in [false, true] {
        let bench = Bench::new("sample-scaled.onnx", "decoder.onnx");
        let spec = bench
            .with(|options| options.scaled = scaled)
            .add()
            .unwrap()
            .spec;
        assert!(!spec.encoder.unwrap().latent.scaled);
        assert_eq!(spec.decoder.unwrap().latent.scaled, scaled);
    }
}

#[test]
fn chance_that_cannot_be_undone_is_refused_with_the_reason() {
    for (file, reason) in [
        ("sample-before-a-layer.onnx", "beyond `Slice`"),
        ("sample-uniform.onnx", "beyond `Add`"),
        ("sample-in-a-branch.onnx", "beyond `If`"),
        ("sample-in-a-function.onnx", "beyond `Sample`"),
    ] {
        let (error, text) = Bench::new(file, "").refused();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        assert!(
            text.contains(reason) && text.contains("draws a sample"),
            "{text}"
        );
        assert!(text.contains("latent_dist.mean"), "{text}");
    }
    let (_, text) = Bench::new("", "decoder-noisy.onnx").refused();
    assert!(
        text.contains("draws random numbers (RandomNormalLike)"),
        "{text}"
    );
}

#[test]
fn a_graph_for_single_images_is_given_single_images() {
    for file in ["batch-one.onnx", "batch-baked.onnx"] {
        let added = Bench::new(file, "").add().unwrap();
        assert_eq!(added.spec.encoder.unwrap().max_batch, Some(1), "{file}");
        assert!(
            added
                .notes
                .iter()
                .any(|note| note.contains("one image at a time"))
        );
    }
    let added = Bench::new("mean.onnx", "decoder.onnx").add().unwrap();
    assert_eq!(added.spec.encoder.unwrap().max_batch, None);
    assert_eq!(added.spec.decoder.unwrap().max_batch, None);
}

#[test]
fn a_model_of_the_same_name_is_replaced_only_when_asked() {
    let bench = Bench::new("mean.onnx", "");
    bench.add().unwrap();
    assert_eq!(bench.add().unwrap_err().kind(), ErrorKind::AlreadyExists);
    let bench = bench.with(|options| {
        options.replace = true;
        options.decoder = Some(fixture("decoder.onnx"));
        options.license = Some("mit".into());
    });
    let spec = bench.add().unwrap().spec;
    assert_eq!(spec.license, "mit");
    assert!(spec.source.contains("mean.onnx") && spec.source.contains("decoder.onnx"));
    let hub = bench.hub();
    let added = hub.models().iter().filter(|model| !model.is_built_in());
    assert_eq!(added.count(), 1);
    // A model that can't be added leaves the old one as it was.
    let bench = bench.with(|options| options.encoder = Some(fixture("fixed.onnx")));
    bench.add().unwrap_err();
    assert_eq!(crate::fs::names(bench.folder.path()).unwrap(), ["foreign"]);
    assert!(bench.hub().model("foreign").unwrap().decoder.is_some());
}
