//! Adding models, with exports of torch and diffusers that `onnx/golden/foreign.py` made.
//!
//! Invariant: every test knows what torch computes with the same weights, or why a file must be refused.

use std::path::{Path, PathBuf};

use half::f16;
use prost::Message;
use safetensors::{Dtype, SafeTensors};

use super::files::Graph as File;
use super::sampling::Flow;
use super::{AddOptions, Added, Half, inspect};
use crate::error::{Error, Result};
use crate::latent::Latent;
use crate::model::golden_tests::onnxruntime;
use crate::model::onnx::proto::{Graph, Model};
use crate::model::{Hub, HubOptions, ModelsFolder, Provider, Runtime};
use crate::pixels::Pixels;

pub(super) fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    folder.join(name)
}

/// A folder of models, and what is said of the next one.
pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
    options: AddOptions,
}

impl Bench {
    /// `encoder` and `decoder` are names of fixtures, or empty.
    pub(super) fn new(encoder: &str, decoder: &str) -> Self {
        let path = |name: &str| (!name.is_empty()).then(|| fixture(name));
        Self {
            folder: tempfile::tempdir().unwrap(),
            options: AddOptions {
                name: "foreign".into(),
                latent_space: "sd-v1".into(),
                encoder: path(encoder),
                decoder: path(decoder),
                input_range: Some([-1.0, 1.0]),
                ..AddOptions::default()
            },
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut AddOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(super) fn models(&self) -> ModelsFolder {
        ModelsFolder::new(self.folder.path())
    }

    pub(super) fn path_of(&self, file: &str) -> PathBuf {
        self.models().path_of("foreign").join(file)
    }

    pub(super) fn add(&self) -> Result<Added> {
        let runtime = Runtime::discover(Some(&onnxruntime())).unwrap();
        self.models().add(&runtime, &self.options)
    }

    /// The error of what must be refused, with all its causes; nothing of it may be left.
    pub(super) fn refused(&self) -> (Error, String) {
        let error = self.add().unwrap_err();
        let left = crate::fs::names(self.folder.path()).unwrap();
        assert!(left.is_empty(), "{left:?}");
        let text = format!("{error:#} ({})", error.hint().unwrap_or_default());
        (error, text)
    }

    /// Adds what can be added, and compares it with the golden values of `model`.
    pub(super) fn compare_after_adding(&self, model: &str) {
        self.add().unwrap();
        self.compare(model);
    }

    /// The files of a model that can be added.
    pub(super) fn added_files(&self) -> Vec<String> {
        let spec = self.add().unwrap().spec;
        spec.files.into_iter().map(|file| file.name).collect()
    }

    pub(super) fn hub(&self) -> Hub {
        Hub::new(HubOptions {
            runtime: Some(onnxruntime()),
            models: Some(self.folder.path().to_path_buf()),
            provider: Provider::Cpu,
            ..HubOptions::default()
        })
    }

    /// Encodes and decodes the golden pictures of `model`, as far as there are halves for it.
    pub(super) fn compare(&self, model: &str) {
        let hub = self.hub();
        let spec = hub.model("foreign").unwrap();
        let golden = Golden::read(model);
        for n in 0..3 {
            let images = golden.images(n);
            let means = golden.values(&format!("mean.{n}"), Dtype::F32, f32_of);
            if spec.encoder.is_some() {
                let found = hub.encode_batch("foreign", &images.iter().collect::<Vec<_>>());
                let found = found.unwrap();
                let found = found.iter().flat_map(|one| one.latent.as_slice());
                assert_eq!(found.clone().count(), means.len());
                for (a, b) in found.zip(&means) {
                    let most = 4.0 * f16::EPSILON.to_f32() * b.abs().max(1.0);
                    assert!((a.to_f32() - b).abs() <= most, "{n}: {a} {b}");
                }
            }
            if spec.decoder.is_some() {
                let latents = golden.values(&format!("latent.{n}"), Dtype::F16, f16_of);
                let size = (images[0].width(), images[0].height());
                let shape = spec.latent_shape(size.0, size.1);
                let latents: Vec<_> = latents
                    .chunks_exact(shape.values().unwrap())
                    .map(|values| Latent::new(shape, values.to_vec()).unwrap())
                    .collect();
                let latents: Vec<_> = latents.iter().collect();
                let decoded = hub
                    .decode_batch("foreign", &latents, "sd-v1", size)
                    .unwrap();
                let image = golden.values(&format!("image.{n}"), Dtype::F32, f32_of);
                let (rows, columns) = (shape.height as usize * 8, shape.width as usize * 8);
                for (index, one) in decoded.iter().enumerate() {
                    for (at, byte) in one.pixels.as_rgb().iter().enumerate() {
                        let (pixel, channel) = (at / 3, at % 3);
                        let (y, x) = (pixel / size.0 as usize, pixel % size.0 as usize);
                        let plane = (index * 3 + channel) * rows * columns;
                        let value = image[plane + y * columns + x].clamp(-1.0, 1.0);
                        let level = (value + 1.0) * 127.5;
                        assert!(
                            (f32::from(*byte) - level).abs() <= 1.0,
                            "{n}: {byte} {level}"
                        );
                    }
                }
            }
        }
    }
}

struct Golden(Vec<u8>);

impl Golden {
    fn read(model: &str) -> Self {
        Self(std::fs::read(fixture(&format!("{model}.safetensors"))).unwrap())
    }

    fn values<T>(&self, name: &str, dtype: Dtype, value: fn(&[u8]) -> T) -> Vec<T> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), dtype);
        let parts = tensor.data().chunks_exact(dtype.bitsize() / 8);
        parts.map(value).collect()
    }

    fn images(&self, n: usize) -> Vec<Pixels> {
        let name = format!("pixels.{n}");
        let bytes = self.values(&name, Dtype::U8, |b| b[0]);
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let shape = tensors.tensor(&name).unwrap().shape().to_vec();
        let (height, width) = (shape[1], shape[2]);
        let images = bytes.chunks_exact(height * width * 3);
        images
            .map(|rgb| Pixels::from_rgb(width as u32, height as u32, rgb.to_vec()).unwrap())
            .collect()
    }
}

fn f32_of(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(bytes.try_into().unwrap())
}

fn f16_of(bytes: &[u8]) -> f16 {
    f16::from_le_bytes(bytes.try_into().unwrap())
}

/// The bytes of a fixture after `change`.
pub(super) fn changed(name: &str, change: impl FnOnce(&mut Model)) -> Vec<u8> {
    let bytes = std::fs::read(fixture(name)).unwrap();
    let mut model = Model::decode(&bytes[..]).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

pub(super) fn graph(model: &mut Model) -> &mut Graph {
    model.graph.as_mut().unwrap()
}

/// A folder with one ONNX file in it.
pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn with(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("given.onnx"), bytes).unwrap();
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn bench(&self) -> Bench {
        let path = self.path("given.onnx");
        Bench::new("", "").with(|options| options.encoder = Some(path))
    }

    /// Why it is refused.
    pub(super) fn refused(&self) -> String {
        let (_, text) = self.bench().refused();
        assert!(text.contains("given.onnx can't be the encoder"), "{text}");
        text
    }
}

pub(super) fn refused(bytes: &[u8]) -> String {
    Place::with(bytes).refused()
}

/// All that is read of a file before it is run.
pub(super) fn look(path: &Path) -> Result<()> {
    let graph = File::read(path)?;
    let input = inspect::input(&graph.facts, Half::Encoder)?;
    let flow = Flow::of(&graph.model, &input.name);
    for output in &graph.facts.outputs {
        flow.mean_of(&output.name).ok();
    }
    Ok(())
}
