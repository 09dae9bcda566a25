//! Models: what is known of them, and how they turn pixels into latents and back.
//!
//! Invariant: a latent is only handed to a decoder of its own latent space. Only `runtime` and
//! `session` use `ort`; no type of it is public.

mod add;
mod attempt;
mod budget;
mod builtin;
#[cfg(test)]
mod consistency_tests;
mod environment;
mod family;
mod folder;
#[cfg(test)]
mod golden_tests;
mod hub;
mod import;
mod known;
mod noise;
mod onnx;
mod pool;
mod precision;
mod provider;
#[cfg(feature = "pull")]
mod pull;
mod registry;
mod run;
mod runtime;
mod sampled;
mod sampler;
mod session;
mod sheet;
mod spec;
mod survey;
mod tensors;
mod tiled;
#[cfg(test)]
mod tiled_tests;
mod weights;

pub use add::{AddOptions, Added};
pub use environment::user_data_folder;
pub use folder::{BrokenModel, FileState, ModelsFolder};
pub use hub::{Decoded, Encoded, Hub, HubOptions};
pub use import::ImportOptions;
pub use known::{KnownModel, known_models};
pub use precision::Precision;
pub use provider::Provider;
#[cfg(feature = "pull")]
pub use pull::{HubAccess, PullFile, PullPlan, PullProgress, PullStage, Pulled, PulledFile};
pub use runtime::{Candidate, Runtime};
pub use sampler::Sampling;
pub use spec::{
    Element, LatentTensor, Layout, ModelFile, ModelHalf, ModelSpec, PixelTensor, Sampler, TileFacts,
};
