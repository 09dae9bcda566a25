//! Tiles against the whole image, by the models that the repository holds.
//!
//! Invariant: the whole image is run by the same hub with tiles off, so that nothing but tiles differs.

use std::path::Path;

use super::attempt::Attempt;
use super::golden_tests::onnxruntime;
use super::run::{Job, Scope, Side};
use super::{Hub, HubOptions, ImportOptions, ModelsFolder, Precision, Provider};
use crate::latent::Latent;
use crate::pixels::Pixels;
use crate::tile::TilePolicy;

fn hub(models: &Path, tile: &str) -> Hub {
    Hub::new(HubOptions {
        runtime: Some(onnxruntime()),
        models: Some(models.to_path_buf()),
        provider: Provider::Cpu,
        tile: tile.parse().unwrap(),
        ..HubOptions::default()
    })
}

/// A folder of models with the golden model `name` in it, in a latent space of that name.
fn import(name: &str, folder: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let options = ImportOptions {
        name: Some(name.to_owned()),
        latent_space: match name {
            "taesd" => Some("sd-v1".to_owned()),
            "kl_no_attention" => Some("my-space".to_owned()),
            _ => None,
        },
        ..ImportOptions::default()
    };
    ModelsFolder::new(folder)
        .import(&golden.join(name).join("model"), &options)
        .unwrap();
}

/// Waves, edges and grain, dark on the left and bright on the right, calm above and busy below.
fn picture(width: u32, height: u32) -> Pixels {
    let mut seed = 1u32;
    let mut grain = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as f32 / 255.0 - 0.5
    };
    let mut bytes = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
            let edge = f32::from(u8::from((x / 37 + y / 29) % 3 == 0)) * 60.0 * v;
            for phase in [0.0, 1.0, 2.0] {
                let wave = 30.0 * (x as f32 / 11.0 + phase).sin() * (y as f32 / 17.0).cos();
                bytes.push((30.0 + 150.0 * u + edge + wave * v + 40.0 * v * grain()) as u8);
            }
        }
    }
    Pixels::from_rgb(width, height, bytes).unwrap()
}

/// Root mean square of the differences.
fn apart<T: Copy>(a: &[T], b: &[T], value: fn(T) -> f32) -> f32 {
    assert_eq!(a.len(), b.len());
    let squares = a
        .iter()
        .zip(b)
        .map(|(a, b)| (value(*a) - value(*b)).powi(2));
    (squares.sum::<f32>() / a.len() as f32).sqrt()
}

fn most_apart(a: &Pixels, b: &Pixels) -> u8 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let pairs = a.as_rgb().iter().zip(b.as_rgb());
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn latents_apart(a: &Latent, b: &Latent) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.as_slice().iter().zip(b.as_slice());
    let steps = pairs.map(|(a, b)| (a.to_f32() - b.to_f32()).abs());
    steps.fold(0.0, f32::max)
}

#[test]
fn tiles_of_a_model_without_norms_are_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    import("taesd", folder.path());
    let whole = hub(folder.path(), "off");
    // Odd sizes, a strip of one cell, an image narrower and one smaller than a tile.
    for (model, tile, sizes) in [
        ("tiny", "560", &[(701, 331), (850, 7), (300, 200)][..]),
        ("taesd", "616", &[(703, 99), (9, 900)]),
    ] {
        let tiled = hub(folder.path(), tile);
        let space = tiled.model(model).unwrap().latent_space.clone();
        for (width, height) in sizes {
            let name = format!("{model} {width}x{height}");
            let picture = picture(*width, *height);
            let expected = whole.encode(model, &picture).unwrap();
            let found = tiled.encode(model, &picture).unwrap();
            let is_large = (*width).max(*height) > tile.parse().unwrap();
            assert_eq!(found.tiling.is_some(), is_large, "{name}");
            assert_eq!(expected.tiling, None);
            assert!(found.notes.is_empty());
            let worst = latents_apart(&found.latent, &expected.latent);
            assert!(worst < 0.01, "{name}: latents {worst} apart");

            let size = (*width, *height);
            let decode = |hub: &Hub| hub.decode(model, &expected.latent, &space, size).unwrap();
            let (found, expected) = (decode(&tiled), decode(&whole));
            assert_eq!(found.tiling.is_some(), is_large, "{name}");
            assert!(most_apart(&found.pixels, &expected.pixels) <= 1, "{name}");
        }
    }
}

#[test]
fn statistics_of_the_whole_make_tiles_of_a_model_with_norms_more_like_it() {
    // Without attention 0.32 of what plain latents are apart was measured; attention sees its tile alone and leaves more.
    for (name, most) in [("kl_no_attention", 0.5), ("sd", 0.9)] {
        let folder = tempfile::tempdir().unwrap();
        import(name, folder.path());
        let (whole, pooled) = (hub(folder.path(), "off"), hub(folder.path(), "192:64"));
        pooled.models();
        // As a model that was imported by a version that knew no tiles.
        let manifest = folder.path().join(name).join("manifest.json");
        let bytes = std::fs::read(&manifest).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for half in ["encoder", "decoder"] {
            json[half].as_object_mut().unwrap().remove("tiles").unwrap();
        }
        std::fs::write(&manifest, json.to_string()).unwrap();
        let plain = hub(folder.path(), "192:64");

        let picture = picture(480, 320);
        let latent = whole.encode(name, &picture).unwrap().latent;
        let latents = |hub: &Hub| {
            let found = hub.encode(name, &picture).unwrap();
            assert_eq!(found.tiling.unwrap().to_string(), "192:64");
            apart(found.latent.as_slice(), latent.as_slice(), f32::from)
        };
        let space = whole.model(name).unwrap().latent_space.clone();
        let decode = |hub: &Hub| {
            let found = hub.decode(name, &latent, &space, (480, 320)).unwrap();
            found.pixels.into_rgb()
        };
        let expected = decode(&whole);
        let pixels = |hub: &Hub| apart(&decode(hub), &expected, f32::from);
        for (what, with, without) in [
            ("latents", latents(&pooled), latents(&plain)),
            ("pixels", pixels(&pooled), pixels(&plain)),
        ] {
            println!("{name}: {what} {with} apart with statistics, {without} without");
            assert!(with < without * most, "{name}: {what} {with}, {without}");
        }
    }
}

#[test]
fn a_graph_for_tiles_that_takes_its_own_statistics_computes_what_the_graph_for_images_does() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["sd", "sd3", "kl_uneven"] {
        import(name, folder.path());
        let hub = hub(folder.path(), "off");
        let spec = hub.model(name).unwrap();
        let picture = picture(104, 72);
        for precision in [Precision::F32, Precision::F16] {
            let attempt = Attempt {
                provider: Provider::Cpu,
                precision,
            };
            let both = [Scope::Image, Scope::Tile].map(|scope| {
                let job = Job::of(spec, Side::Encoder).unwrap();
                let latent = hub.with_session(job, scope, attempt, |session| {
                    session.encode(spec, job.half, &[&picture])
                });
                let latent = latent.map_err(|_| "it fails").unwrap().remove(0);
                let job = Job::of(spec, Side::Decoder).unwrap();
                let image = hub.with_session(job, scope, attempt, |session| {
                    session.decode(spec, job.half, &[&latent])
                });
                (latent, image.map_err(|_| "it fails").unwrap().remove(0))
            });
            let [(latent, image), (tile_latent, tile_image)] = both;
            let worst = latents_apart(&latent, &tile_latent);
            let most = if precision == Precision::F32 {
                0.01
            } else {
                0.1
            };
            assert!(worst < most, "{name} {precision}: latents {worst} apart");
            let worst = most_apart(&image, &tile_image);
            assert!(worst <= 8, "{name} {precision}: pixels {worst} apart");
        }
    }
}

#[test]
fn auto_cuts_an_image_that_would_take_more_than_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions {
        memory: Some(1),
        tile: TilePolicy::Auto,
        ..hub(folder.path(), "auto").options.clone()
    });
    let picture = picture(600, 80);
    let encoded = hub.encode("tiny", &picture).unwrap();
    assert_eq!(encoded.tiling.unwrap().to_string(), "384:192");
}
