//! A latent image storage database.
//!
//! An image goes in through a VAE encoder; what is kept is the f16 posterior mean, compressed, in
//! an embedded store keyed by the image's id. A decoder of the reader's choice turns it back into
//! pixels: at exactly the same size, and nearly the same picture.
//!
//! ```no_run
//! use latentdb::{Database, PutOptions};
//!
//! # fn main() -> latentdb::Result<()> {
//! let db = Database::open_or_create("photos.latentdb")?;
//! db.put_file("cat", "cat.png", &PutOptions::default())?; // durable when it returns
//! let image = db.get("cat", None)?.pixels;
//! println!("{}x{} pixels: {} bytes of RGB", image.width(), image.height(), image.byte_len());
//! # Ok(())
//! # }
//! ```
//!
//! Latents go in and out without a model:
//!
//! ```
//! use latentdb::{Database, ForeignLatent, Latent, LatentShape, half::f16};
//!
//! # fn main() -> latentdb::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("store");
//! let db = Database::open_or_create(&path)?;
//! let shape = LatentShape { channels: 4, height: 2, width: 3 };
//! let latent = Latent::new(shape, vec![f16::ONE; 24])?;
//! db.put_latent("grey", ForeignLatent::new(latent, "tiny-2", (24, 16)), false)?;
//!
//! for entry in db.store().entries("g") {
//!     let entry = entry?;
//!     println!("{}: {} bytes", entry.header.id, entry.stored_bytes);
//! }
//! let record = db.store().get(&"grey".parse()?)?;
//! assert_eq!(record.latent.as_array().dim(), (4, 2, 3));
//! # Ok(())
//! # }
//! ```
//!
//! One process writes to a database, and any number read beside it
//! ([`Database::open_read_only`]). The library prints nothing, and reads the environment only where
//! its docs say so: to find ONNX Runtime ([`Runtime::discover`]) and the user's models
//! ([`Hub::from_env`]).

mod archive;
pub mod backend;
mod database;
mod error;
mod exchange;
mod exif;
mod fields;
mod fs;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod image_io;
mod ingest;
mod latent;
mod latent_io;
mod metrics;
mod model;
mod parallel;
mod pixels;
mod quality;
mod record;
mod spaces;
mod stats;
mod store;
mod study;
mod tile;

pub use archive::{ArchiveReader, write_archive};
pub use database::{
    Below, CodingChoice, DEFAULT_ENCODER, Database, DecodeOptions, ForeignLatent, Image, Promise,
    PutOptions, Stored, source_of,
};
pub use error::{Error, ErrorKind, Result};
pub use exchange::{Exchanged, ImageExport, LatentImport, has_latents, is_shard};
pub use exif::{Exif, Position};
pub use fs::{read_file, write_file, write_file_with};
pub use half;
pub use image_io::{
    ImageFormat, ImageNote, Limits, ReadImage, Resize, WriteOptions, read_image, write_image,
};
pub use ingest::{
    Done, IdTemplate, IngestOptions, Ingested, Inputs, Origin, Outcome, RecodeOptions,
    RecodeOutcome, Recoded, Shard,
};
pub use latent::{Latent, LatentShape};
pub use latent_io::{LatentFile, LatentFormat, read_latent, write_latent};
pub use metrics::{measure, ms_ssim, psnr, ssim, ssimulacra2};
pub use model::{
    AddOptions, Added, BrokenModel, Candidate, Decoded, Element, Encoded, FileState, Hub,
    HubOptions, ImportOptions, KnownModel, LatentTensor, Layout, ModelFile, ModelHalf, ModelSpec,
    ModelsFolder, PixelTensor, Precision, Provider, Runtime, Sampler, Sampling, TileFacts,
    known_models, user_data_folder,
};
#[cfg(feature = "pull")]
pub use model::{HubAccess, PullFile, PullPlan, PullProgress, PullStage, Pulled, PulledFile};
pub use ndarray;
pub use pixels::Pixels;
pub use quality::{Measured, Quality};
pub use record::{
    ChannelError, Coding, EncoderStamp, Record, RecordHeader, RecordId, Source, Tags, Tier,
};
pub use stats::{Bin, Distribution, Qualities, Stats};
pub use store::{Entry, Store};
pub use study::{
    CodingFigures, Compared, Contender, Kind, Sample, Study, StudyOptions, Subject, Summarized,
    Summary,
};
pub use tile::{TilePolicy, Tiling};
