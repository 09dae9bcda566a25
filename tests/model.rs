//! The built-in model: its manifest tells the truth, and it is good enough for photographs.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/onnx.rs"]
mod onnx;
mod support;

use std::path::Path;
use std::sync::Arc;

use latentdb::{
    Coding, Database, Hub, HubOptions, ImportOptions, Limits, ModelsFolder, Provider, PutOptions,
    Record, RecordHeader, psnr, read_image,
};
use onnx::Graph;
use sha2::{Digest, Sha256};
use support::{Sandbox, onnxruntime, picture, shared};

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx/tiny");
    std::fs::read(folder.join(name)).unwrap()
}

fn manifest() -> serde_json::Value {
    serde_json::from_slice(&file("manifest.json")).unwrap()
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
    let manifest = manifest();
    let mut total = 0;
    for (half, input, shape, limit) in [
        ("encoder", "pixels", [1, 512, 512, 3], 20.0),
        ("decoder", "latent", [1, 4, 64, 64], 26.0),
    ] {
        let said = &manifest[half];
        let bytes = file(said["file"].as_str().unwrap());
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
            "{half}: {gflop}"
        );
        assert!(gflop <= limit, "{half}: {gflop} GFLOP");
    }
    assert!(total < 8_000_000, "{total} bytes of graphs");
}

/// `onnx/train/README.md` says byte for byte what is hashed.
#[test]
fn the_fingerprint_is_that_of_the_encoders_weights() {
    let manifest = manifest();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"latentdb-encoder-v1\ntiny\n");
    let config: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_value(manifest["config"].clone()).unwrap();
    hasher.update(serde_json::to_string(&config).unwrap().as_bytes());
    hasher.update(b"\n");
    let mut weights = Graph::read(&file("encoder.onnx")).initializers;
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

#[test]
fn photographs_come_back_at_25_5_db_on_average() {
    let Some(folder) = shared("images/kodak") else {
        return;
    };
    let sandbox = Sandbox::new();
    let db = Database::open_or_create(sandbox.path("store"))
        .unwrap()
        .with_hub(hub());
    let mut sum = 0.0;
    let mut count = 0.0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_name().unwrap().to_str().unwrap();
        db.put_file(id, &path, &PutOptions::default()).unwrap();
        let original = support::decoded(&std::fs::read(&path).unwrap());
        let back = db.get(id, None).unwrap().pixels;
        let decibel = psnr(&original, &back).unwrap();
        println!("{id}: {decibel:.2} dB");
        sum += decibel;
        count += 1.0;
    }
    println!("mean: {:.2} dB", sum / count);
    assert!(sum / count >= 25.5, "{:.2} dB", sum / count);
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
        let mut header = RecordHeader::new(id, size, latent.shape(), "tiny-1");
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
