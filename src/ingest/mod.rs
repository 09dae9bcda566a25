//! Many images at once: reading, encoding and committing overlap.
//!
//! Invariant: an image is told to be stored only once its record is durable; no record is replaced that wasn't said to
//! be stale; whatever fails, what doesn't goes on; memory is bounded by options, not by the number of images.

mod buckets;
mod commit;
mod encode;
mod gather;
mod id;
mod input;
mod members;
mod originals;
mod pipeline;
mod read;
mod recode;
mod shard;

use std::collections::BTreeMap;

pub use gather::Inputs;
pub use id::IdTemplate;
pub use input::Origin;
pub use recode::{RecodeOptions, RecodeOutcome, Recoded};
pub use shard::Shard;

use crate::database::PutOptions;
use crate::error::Error;
use crate::record::RecordId;

/// How [`Database::ingest`](crate::Database::ingest) works.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// What is done to each image and said of it; `replace` has no meaning here.
    pub put: PutOptions,
    /// How ids are made.
    pub id: IdTemplate,
    /// Whether stale records are encoded again and replaced.
    pub update: bool,
    /// Whether nothing is encoded or stored, and only told what would be.
    pub dry_run: bool,
    /// Whether to stop at the first failure.
    pub fail_fast: bool,
    /// How many images of one size are encoded at once. More than 1 helps on GPUs.
    pub batch: usize,
    /// Bytes of images that were read and wait to be encoded; one more for each thread may be in the making.
    pub memory: usize,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            put: PutOptions::default(),
            id: IdTemplate::default(),
            update: false,
            dry_run: false,
            fail_fast: false,
            batch: 1,
            memory: 256 << 20,
        }
    }
}

/// What became of one input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It is stored, durably (in a dry run: it would be).
    Stored,
    /// Its stale record is replaced, durably (in a dry run: it would be).
    Updated,
    /// There is a record of the same file by the same encoder and settings.
    Skipped,
    /// There is a record of another file, encoder or other settings, which was left alone: how they differ.
    Stale(String),
    /// The file that the record was made of wasn't found.
    Missing,
    /// It can't be stored.
    Failed(Error),
}

/// One input that is dealt with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Done {
    /// Where the image is.
    pub origin: Origin,
    /// The id it has, where one could be made.
    pub id: Option<RecordId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Bytes of its file, as far as it was read.
    pub source_bytes: u64,
    /// Bytes its new record takes, framing included; 0 if there is none.
    pub stored_bytes: u64,
    /// What of the image was not kept, as sentences for people.
    pub notes: Vec<String>,
}

/// What an ingest did in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ingested {
    /// Images that are stored.
    pub stored: u64,
    /// Stale records that were replaced.
    pub updated: u64,
    /// Images that were there already.
    pub skipped: u64,
    /// Stale records that were left alone.
    pub stale: u64,
    /// Records whose file wasn't found.
    pub missing: u64,
    /// Inputs that failed.
    pub failed: u64,
    /// Bytes of the files that were read.
    pub source_bytes: u64,
    /// Bytes that the new records take.
    pub stored_bytes: u64,
    /// Files whose endings name no image format, by these endings.
    pub ignored: BTreeMap<String, u64>,
    /// Whether it was told to stop before all inputs were dealt with.
    pub stopped: bool,
}

impl Ingested {
    fn count(&mut self, done: &Done) {
        self.source_bytes += done.source_bytes;
        self.stored_bytes += done.stored_bytes;
        *match done.outcome {
            Outcome::Stored => &mut self.stored,
            Outcome::Updated => &mut self.updated,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Stale(_) => &mut self.stale,
            Outcome::Missing => &mut self.missing,
            Outcome::Failed(_) => &mut self.failed,
        } += 1;
    }
}
