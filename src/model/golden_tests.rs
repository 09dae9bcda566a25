//! Imported models against what diffusers and torch computed from the same weights; `onnx/golden` made the values.
//!
//! Invariant: the importer is given what a user would give it, and the graphs it writes are those that are run.

use std::path::{Path, PathBuf};

use half::f16;
use ort::session::Session;
use ort::value::TensorRef;
use prost::Message;
use safetensors::{Dtype, SafeTensors};

use super::onnx::proto::{self, Model, ValueInfo};
use super::onnx::{IMAGE, LATENT, MEAN, PIXELS};
use super::{
    Hub, HubOptions, ImportOptions, ModelSpec, ModelsFolder, Precision, Provider, Runtime,
};
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;

/// How far an f32 value may be from torch's, relative to the largest one.
const TOLERANCE: f32 = 2e-5;

/// Where `make setup` puts the library, unless the environment says otherwise.
pub(super) fn onnxruntime() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    // TARGET/debug/deps/test
    let folder = test.ancestors().nth(3).unwrap().join("onnxruntime");
    assert!(
        folder.is_dir(),
        "{} is missing: run `make setup` first",
        folder.display()
    );
    folder
}

fn hub(models: &Path, precision: Option<Precision>) -> Hub {
    Hub::new(HubOptions {
        runtime: Some(onnxruntime()),
        models: Some(models.to_path_buf()),
        provider: Provider::Cpu,
        precision,
        ..HubOptions::default()
    })
}

struct Case {
    name: String,
    about: serde_json::Value,
    tensors: Vec<u8>,
    folder: PathBuf,
}

struct Golden<T> {
    shape: Vec<usize>,
    values: Vec<T>,
}

impl Case {
    fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let mut names = crate::fs::names(&root).unwrap();
        names.sort();
        let case = |name: std::ffi::OsString| {
            let folder = root.join(&name);
            Self {
                name: name.into_string().unwrap(),
                about: serde_json::from_slice(&std::fs::read(folder.join("case.json")).unwrap())
                    .unwrap(),
                tensors: std::fs::read(folder.join("golden.safetensors")).unwrap(),
                folder,
            }
        };
        let cases: Vec<_> = names.into_iter().map(case).collect();
        assert!(cases.len() >= 15, "golden values are missing");
        cases
    }

    fn text(&self, key: &str) -> &str {
        self.about[key].as_str().unwrap()
    }

    fn number(&self, key: &str) -> usize {
        self.about[key].as_u64().unwrap() as usize
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.text("path"))
    }

    fn get<T>(&self, name: &str, dtype: Dtype, value: fn(&[u8]) -> T) -> Golden<T> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype, "{}: {name}", self.name);
        Golden {
            shape: tensor.shape().to_vec(),
            values: tensor
                .data()
                .chunks_exact(dtype.bitsize() / 8)
                .map(value)
                .collect(),
        }
    }

    fn f32(&self, name: &str, n: usize) -> Golden<f32> {
        let value = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
        self.get(&format!("{name}.{n}"), Dtype::F32, value)
    }

    fn f16(&self, name: &str, n: usize) -> Golden<f16> {
        let value = |b: &[u8]| f16::from_le_bytes(b.try_into().unwrap());
        self.get(&format!("{name}.{n}"), Dtype::F16, value)
    }

    fn images(&self, n: usize) -> Vec<Pixels> {
        let golden = self.get(&format!("pixels.{n}"), Dtype::U8, |b: &[u8]| b[0]);
        let [_, height, width, 3] = golden.shape[..] else {
            panic!("{:?}", golden.shape);
        };
        let images = golden.values.chunks_exact(height * width * 3);
        images
            .map(|bytes| Pixels::from_rgb(width as u32, height as u32, bytes.to_vec()).unwrap())
            .collect()
    }

    fn import(&self, models: &ModelsFolder) -> ModelSpec {
        let known = self.about["latent_space_known"].as_bool().unwrap();
        let options = ImportOptions {
            name: Some(self.name.clone()),
            latent_space: (!known).then(|| self.text("latent_space").to_owned()),
            ..ImportOptions::default()
        };
        models.import(&self.path(), &options).unwrap()
    }
}

/// One of the graphs of `spec`, with `extra` among its outputs.
fn session(models: &ModelsFolder, spec: &ModelSpec, file: &str, extra: &str) -> Session {
    let folder = models.path_of(&spec.name);
    let bytes = std::fs::read(folder.join(file)).unwrap();
    let mut model = Model::decode(&bytes[..]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.outputs.push(ValueInfo::tensor(
        extra,
        proto::element::F32,
        &["a", "b", "c", "d"],
    ));
    let path = folder.join(format!("test-{file}"));
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let runtime = Runtime::discover(Some(&onnxruntime())).unwrap();
    let builder = ort::session::builder::SessionBuilder::new(runtime.environment());
    builder.unwrap().commit_from_file(path).unwrap()
}

/// The largest difference, relative to the largest value, and at least to 1.
pub(super) fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let most = expected
        .iter()
        .fold(1f32, |most, value| most.max(value.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0f32, |worst, (a, b)| worst.max((a - b).abs())) / most
}

/// Steps between two f16 values: neighbours are one apart.
fn ulps(a: f16, b: f16) -> u32 {
    let order = |value: f16| {
        let bits = i32::from(value.to_bits() & 0x7fff);
        if value.is_sign_negative() {
            -bits
        } else {
            bits
        }
    };
    order(a).abs_diff(order(b))
}

#[test]
fn graphs_of_every_family_compute_what_torch_computes() {
    let folder = tempfile::tempdir().unwrap();
    let models = ModelsFolder::new(folder.path());
    for case in Case::all() {
        let spec = case.import(&models);
        assert_eq!(spec.family, case.text("family"), "{}", case.name);
        assert_eq!(
            spec.latent_space,
            case.text("latent_space"),
            "{}",
            case.name
        );
        assert_eq!(spec.latent_channels as usize, case.number("channels"));
        assert_eq!(
            spec.spatial_compression_ratio as usize,
            case.number("ratio")
        );
        let mut encoder = session(&models, &spec, "encoder.onnx", MEAN);
        let mut decoder = session(&models, &spec, "decoder.onnx", IMAGE);
        let range = &case.about["pixel_range"];
        let (low, high) = (
            range[0].as_f64().unwrap() as f32,
            range[1].as_f64().unwrap() as f32,
        );
        for n in 0..case.number("inputs") {
            let images = case.images(n);
            let padded: Vec<_> = images
                .iter()
                .map(|image| image.pad_to_multiple(spec.spatial_compression_ratio))
                .collect();
            let bytes: Vec<u8> = padded
                .iter()
                .flat_map(|image| image.as_rgb())
                .copied()
                .collect();
            let shape = [
                padded.len() as u32,
                padded[0].height(),
                padded[0].width(),
                3,
            ];
            let input = TensorRef::from_array_view((shape.map(i64::from), &bytes[..])).unwrap();
            let outputs = encoder.run(ort::inputs![PIXELS => input]).unwrap();
            let (_, mean) = outputs[MEAN].try_extract_tensor::<f32>().unwrap();
            let expected = case.f32("mean", n);
            let worst = difference(mean, &expected.values);
            println!("{} {n}: mean {worst:.1e}", case.name);
            assert!(worst <= TOLERANCE, "{} {n}: mean {worst:e}", case.name);
            let (found, latent) = outputs[LATENT].try_extract_tensor::<f16>().unwrap();
            assert_eq!(
                found.iter().map(|n| *n as usize).collect::<Vec<_>>(),
                expected.shape
            );
            for (a, b) in latent.iter().zip(&expected.values) {
                let rounded = f16::from_f32(*b);
                let close = (a.to_f32() - b).abs() <= TOLERANCE * b.abs().max(1.0);
                assert!(ulps(*a, rounded) <= 1 || close, "{}: {a} {b}", case.name);
            }

            let latent = case.f16("latent", n);
            let shape: Vec<i64> = latent
                .shape
                .iter()
                .map(|n| n.cast_signed() as i64)
                .collect();
            let input = TensorRef::from_array_view((shape, &latent.values[..])).unwrap();
            let outputs = decoder.run(ort::inputs![LATENT => input]).unwrap();
            let (_, image) = outputs[IMAGE].try_extract_tensor::<f32>().unwrap();
            let image: Vec<f32> = image.iter().map(|v| v * (high - low) + low).collect();
            let expected = case.f32("image", n);
            let worst = difference(&image, &expected.values);
            println!("{} {n}: image {worst:.1e}", case.name);
            assert!(worst <= TOLERANCE, "{} {n}: image {worst:e}", case.name);
        }
    }
}

#[test]
fn an_imported_model_encodes_and_decodes_images_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let models = ModelsFolder::new(folder.path());
    for case in Case::all() {
        let spec = case.import(&models);
        let hub = hub(folder.path(), None);
        let range = &case.about["pixel_range"];
        let (low, high) = (
            range[0].as_f64().unwrap() as f32,
            range[1].as_f64().unwrap() as f32,
        );
        for n in 0..case.number("inputs") {
            let images = case.images(n);
            let size = (images[0].width(), images[0].height());
            let encoded = hub
                .encode_batch(&case.name, &images.iter().collect::<Vec<_>>())
                .unwrap();
            let expected = case.f32("mean", n);
            let found = encoded.iter().flat_map(|one| one.latent.as_slice());
            for (a, b) in found.zip(&expected.values) {
                let most = 2.0 * f16::EPSILON.to_f32() * b.abs().max(1.0);
                assert!((a.to_f32() - b).abs() <= most, "{}: {a} {b}", case.name);
            }

            let golden = case.f16("latent", n);
            let [_, channels, height, width] = golden.shape[..] else {
                panic!("{:?}", golden.shape);
            };
            let shape = LatentShape {
                channels: channels as u32,
                height: height as u32,
                width: width as u32,
            };
            let latents: Vec<_> = golden
                .values
                .chunks_exact(channels * height * width)
                .map(|values| Latent::new(shape, values.to_vec()).unwrap())
                .collect();
            let latents: Vec<_> = latents.iter().collect();
            let decoded = hub
                .decode_batch(&case.name, &latents, &spec.latent_space, size)
                .unwrap();
            let expected = case.f32("image", n);
            let (rows, columns) = (expected.shape[2], expected.shape[3]);
            for (index, one) in decoded.iter().enumerate() {
                assert_eq!((one.pixels.width(), one.pixels.height()), size);
                for (at, byte) in one.pixels.as_rgb().iter().enumerate() {
                    let (pixel, channel) = (at / 3, at % 3);
                    let (y, x) = (pixel / size.0 as usize, pixel % size.0 as usize);
                    let plane = (index * 3 + channel) * rows * columns;
                    let value = expected.values[plane + y * columns + x];
                    let level = ((value - low) / (high - low)).clamp(0.0, 1.0) * 255.0;
                    let step = (f32::from(*byte) - level.round_ties_even()).abs();
                    assert!(step <= 1.0, "{} {n}: {byte} {level}", case.name);
                }
            }
        }
    }
}

#[test]
fn the_same_weights_have_one_fingerprint_under_all_names_and_in_f16_and_f32() {
    let folder = tempfile::tempdir().unwrap();
    let models = ModelsFolder::new(folder.path());
    let mut fingerprints = std::collections::HashSet::new();
    for case in Case::all() {
        fingerprints.insert(case.import(&models).fingerprint);
        if !["sd_ldm", "taesd_single"].contains(&&*case.name) {
            continue;
        }
        // Both are f16; this is f32, inside a checkpoint.
        let bytes = std::fs::read(case.path()).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let wide = tensors
            .iter()
            .filter(|(_, tensor)| tensor.dtype() == Dtype::F16);
        let wide = wide.map(|(name, tensor)| {
            let (pairs, _) = tensor.data().as_chunks::<2>();
            let values = pairs
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32().to_le_bytes());
            let data: Vec<u8> = values.flatten().collect();
            (
                format!("first_stage_model.{name}"),
                tensor.shape().to_vec(),
                data,
            )
        });
        let wide: Vec<_> = wide.collect();
        let views = wide.iter().map(|(name, shape, data)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F32, shape.clone(), data);
            (name, view.unwrap())
        });
        let path = folder.path().join(format!("{}-f32.safetensors", case.name));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let options = ImportOptions {
            latent_space: Some(case.text("latent_space").to_owned()),
            ..ImportOptions::default()
        };
        let other = models.import(&path, &options).unwrap();
        assert!(fingerprints.contains(&other.fingerprint), "{}", case.name);
    }
    assert_eq!(
        fingerprints.len(),
        Case::all().len(),
        "other weights have others"
    );
}

/// A model whose encoder and decoder come to numbers beyond f16 on the way, though not in the end:
/// what the first convolution makes is 10^6 times as large, and then normalised.
fn import_overflowing(models: &ModelsFolder) -> ModelSpec {
    let cases = Case::all();
    let case = cases.iter().find(|case| case.name == "sd").unwrap();
    let spec = case.import(models);
    let path = models.path_of("sd").join("weights.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    for (name, tensor) in super::weights::read(&path).unwrap() {
        if name.contains("coder.conv_in.") {
            let at = tensor.offset as usize;
            for value in bytes[at..at + 4 * tensor.len() as usize].chunks_exact_mut(4) {
                let large = f32::from_le_bytes((&*value).try_into().unwrap()) * 1e6;
                value.copy_from_slice(&large.to_le_bytes());
            }
        }
    }
    std::fs::write(&path, bytes).unwrap();
    spec
}

#[test]
fn what_overflows_in_f16_is_computed_again_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let models = ModelsFolder::new(folder.path());
    let spec = import_overflowing(&models);
    let image = &Case::all()[0].images(0)[0];
    let size = (image.width(), image.height());
    let exact = hub(folder.path(), Some(Precision::F32))
        .encode("sd", image)
        .unwrap();
    assert!(exact.notes.is_empty());
    let hub = hub(folder.path(), Some(Precision::F16));
    let again = hub.encode("sd", image).unwrap();
    assert_eq!(again.latent, exact.latent);
    assert_eq!(again.precision, Precision::F32);
    assert!(
        again.notes[0].contains("encoder of `sd` overflowed"),
        "{:?}",
        again.notes
    );
    assert_eq!(again.computed(), "f32 cpu after f16 overflow");
    let decoded = hub
        .decode("sd", &again.latent, &spec.latent_space, size)
        .unwrap();
    assert_eq!(decoded.precision, Precision::F32);
    assert!(
        decoded.notes[0].contains("decoder of `sd` overflowed"),
        "{:?}",
        decoded.notes
    );
}

#[test]
fn f16_is_close_to_f32_where_nothing_overflows() {
    let folder = tempfile::tempdir().unwrap();
    let models = ModelsFolder::new(folder.path());
    for case in Case::all() {
        let spec = case.import(&models);
        let image = &case.images(0)[0];
        let exact = hub(folder.path(), None).encode(&case.name, image).unwrap();
        let hub = hub(folder.path(), Some(Precision::F16));
        let half = hub.encode(&case.name, image).unwrap();
        assert_eq!(
            (half.precision, half.notes.len()),
            (Precision::F16, 0),
            "{}",
            case.name
        );
        let widen = |latent: &Latent| -> Vec<f32> {
            latent
                .as_slice()
                .iter()
                .map(|value| value.to_f32())
                .collect()
        };
        let worst = difference(&widen(&half.latent), &widen(&exact.latent));
        println!("{}: {worst:.1e}", case.name);
        assert!(worst <= 0.02, "{}: {worst:e}", case.name);
        let size = (image.width(), image.height());
        let decoded = hub
            .decode(&case.name, &half.latent, &spec.latent_space, size)
            .unwrap();
        assert_eq!(
            (decoded.precision, decoded.notes.len()),
            (Precision::F16, 0),
            "{}",
            case.name
        );
    }
}
