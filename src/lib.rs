//! dev
pub mod backend;
mod error;
mod fields;
mod fs;
mod latent;
mod pixels;
mod record;
pub use error::*;
pub use latent::*;
pub use pixels::*;
pub use record::*;
