//! Models: what is known of them, and how they turn pixels into latents and back.
//!
//! Invariant: a latent is only handed to a decoder of its own latent space. Only `runtime` and
//! `session` use `ort`; no type of it is public.

mod builtin;
mod hub;
mod provider;
mod runtime;
mod session;
mod spaces;
mod spec;

pub use hub::{Decoded, Encoded, Hub, HubOptions};
pub use provider::Provider;
pub use runtime::{Candidate, Runtime, user_data_folder};
pub use spec::{ModelHalf, ModelSpec};
