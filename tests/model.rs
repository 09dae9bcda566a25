//! The built-in model: its manifest tells the truth, and it is good enough for photographs.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/onnx.rs"]
mod onnx;
mod support;

use std::path::Path;
use std::sync::Arc;

use latentdb::{
    Coding, CodingChoice, Database, Hub, HubOptions, ImportOptions, Limits, ModelsFolder, Provider,
    PutOptions, Record, RecordHeader, measure, read_image,
};
use onnx::Graph;
use sha2::{Digest, Sha256};
use support::{Sandbox, onnxruntime, picture, shared};

fn file(model: &str, name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx");
    std::fs::read(folder.join(model).join(name)).unwrap()
}

fn manifest(model: &str) -> serde_json::Value {
    serde_json::from_slice(&file(model, "manifest.json")).unwrap()
}

fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(HubOptions {
        runtime: Some(onnxruntime()),
        provider: Provider::Cpu,
        ..HubOptions::default()
    }))
}

#[test]
fn the_manifest_states_hashes_sizes_and_operations_as_counted_from_the_graphs() {
    let mut total = 0;
    for (model, half, input, shape, limit) in [
        ("tiny", "encoder", "pixels", [1, 512, 512, 3], 20.0),
        ("tiny", "decoder", "latent", [1, 4, 64, 64], 26.0),
        ("tiny-1", "decoder", "latent", [1, 4, 64, 64], 26.0),
    ] {
        let manifest = manifest(model);
        let said = &manifest[half];
        let bytes = file(model, said["file"].as_str().unwrap());
        total += bytes.len();
        let files = manifest["files"].as_array().unwrap();
        let listed = files
            .iter()
            .find(|file| file["name"] == said["file"])
            .unwrap();
        assert_eq!(listed["sha256"], format!("{:x}", Sha256::digest(&bytes)));
        assert_eq!(listed["bytes"], bytes.len());
        let graph = Graph::read(&bytes);
        let parameters: i64 = graph
            .initializers
            .iter()
            .filter(|t| t.learned().is_some())
            .map(onnx::Tensor::values)
            .sum();
        assert_eq!(said["parameters"], parameters);
        let gflop = graph.gflop(input, shape);
        assert!(
            (said["gflop_512"].as_f64().unwrap() - gflop).abs() < 0.01,
            "{half} of {model}: {gflop}"
        );
        assert!(gflop <= limit, "{half} of {model}: {gflop} GFLOP");
    }
    // A crate may have 10 MiB.
    assert!(total < 9_000_000, "{total} bytes of graphs");
}

/// `onnx/train/README.md` says byte for byte what is hashed.
#[test]
fn the_fingerprint_is_that_of_the_encoders_weights() {
    let manifest = manifest("tiny");
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"latentdb-encoder-v1\ntiny\n");
    let config: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_value(manifest["config"].clone()).unwrap();
    hasher.update(serde_json::to_string(&config).unwrap().as_bytes());
    hasher.update(b"\n");
    let mut weights = Graph::read(&file("tiny", "encoder.onnx")).initializers;
    weights.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    for tensor in &weights {
        let Some(element) = tensor.learned() else {
            continue;
        };
        hasher.update(tensor.name.as_bytes()).update(b"\0");
        hasher.update(element).update(b"\0");
        hasher.update(&(tensor.dims.len() as u32).to_le_bytes());
        for dim in &tensor.dims {
            hasher.update(&dim.to_le_bytes());
        }
        hasher.update(&tensor.raw);
    }
    assert_eq!(manifest["fingerprint"], hasher.finalize().to_hex().as_str());
}

/// PSNR in dB, SSIM and SSIMULACRA2, means over the Kodak photographs through put and get; none where these are not at hand.
fn photographs_come_back(coding: &str) -> Option<[f64; 3]> {
    let folder = shared("images/kodak")?;
    let sandbox = Sandbox::new();
    let db = Database::open_or_create(sandbox.path("store"))
        .unwrap()
        .with_hub(hub());
    let options = PutOptions {
        coding: CodingChoice::Of(coding.parse().unwrap()),
        ..PutOptions::default()
    };
    let mut sums = [0.0; 3];
    let paths: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    for path in &paths {
        let path = path.as_ref().unwrap().path();
        let id = path.file_name().unwrap().to_str().unwrap();
        db.put_file(id, &path, &options).unwrap();
        let original = support::decoded(&std::fs::read(&path).unwrap());
        let back = db.get(id, None).unwrap().pixels;
        let quality = measure(&original, &back).unwrap();
        let metrics = [
            quality.psnr,
            quality.ssim.unwrap(),
            quality.ssimulacra2.unwrap(),
        ];
        println!("{id}: {metrics:.3?}");
        sums = std::array::from_fn(|n| sums[n] + metrics[n]);
    }
    let means = sums.map(|sum| sum / paths.len() as f64);
    println!("{coding}: {means:.3?}");
    Some(means)
}

#[test]
fn photographs_come_back_nearer_than_from_the_first_weights() {
    let Some([psnr, ssim, ssimulacra2]) = photographs_come_back("fast") else {
        return;
    };
    assert!(psnr > 26.35 && ssim > 0.695 && ssimulacra2 > 8.1);
}

/// WebP has 10.9 at 0.25 bits per pixel, and the records take fewer.
#[test]
fn in_six_bits_a_value_photographs_are_ahead_of_webp_by_ssimulacra2() {
    let Some([psnr, _, ssimulacra2]) = photographs_come_back("q6") else {
        return;
    };
    assert!(psnr > 26.5 && ssimulacra2 > 10.9);
}

#[test]
fn encoding_is_deterministic() {
    let hub = hub();
    let pixels = picture(70, 50, 3);
    let first = hub.encode("tiny", &pixels).unwrap().latent;
    assert_eq!(hub.encode("tiny", &pixels).unwrap().latent, first);
}

#[test]
fn threads_share_one_model() {
    let hub = hub();
    let expected: Vec<_> = (0..4)
        .map(|seed| hub.encode("tiny", &picture(40, 40, seed)).unwrap().latent)
        .collect();
    std::thread::scope(|scope| {
        for (seed, expected) in (0..4).zip(&expected) {
            let hub = &hub;
            scope.spawn(move || {
                for _ in 0..3 {
                    let encoded = hub.encode("tiny", &picture(40, 40, seed)).unwrap();
                    assert_eq!(encoded.latent, *expected);
                }
            });
        }
    });
}

#[test]
fn a_model_that_can_not_be_loaded_leaves_the_others_usable() {
    let sandbox = Sandbox::new();
    let models = ModelsFolder::new(sandbox.path("models"));
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sd/model");
    models.import(&weights, &ImportOptions::default()).unwrap();
    std::fs::write(models.path_of("model").join("encoder.onnx"), "").unwrap();
    let hub = Hub::new(HubOptions {
        runtime: Some(onnxruntime()),
        models: Some(models.path().to_path_buf()),
        provider: Provider::Auto,
        ..HubOptions::default()
    });
    let pixels = picture(16, 16, 1);
    assert!(hub.encode("model", &pixels).is_err());
    hub.encode("tiny", &pixels).unwrap();
}

#[test]
fn photographs_take_a_fifth_less_than_f16_as_dense() {
    let Some(kodak) = shared("images/kodak") else {
        return;
    };
    let (hub, mut raw, mut stored) = (hub(), 0, 0);
    for entry in std::fs::read_dir(kodak).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let pixels = read_image(&file, path.to_str().unwrap(), &Limits::default())
            .unwrap()
            .pixels;
        let latent = hub.encode("tiny", &pixels).unwrap().latent;
        let (id, size) = ("photo".parse().unwrap(), (pixels.width(), pixels.height()));
        let mut header = RecordHeader::new(id, size, latent.shape(), "tiny-2");
        header.coding = Coding::Dense;
        raw += latent.shape().byte_len();
        let record = Record {
            header,
            latent,
            alpha: None,
            original: None,
        };
        let bytes = record.to_bytes().unwrap();
        assert_eq!(Record::from_bytes(&bytes).unwrap(), record);
        // With the header: some 120 bytes.
        stored += bytes.len() as u64;
    }
    assert!(stored * 128 <= raw * 100, "{stored} of {raw} bytes");
}
