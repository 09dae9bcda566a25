//! From images of one size to records.
//!
//! Invariant: a failure of one image is its own; only what no image could escape ends the run.

use super::IngestOptions;
use super::read::Ready;
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Encoded;
use crate::record::Record;

/// A record that is to be committed.
pub(super) struct Made {
    pub(super) record: Record,
    pub(super) update: bool,
    pub(super) notes: Vec<String>,
    pub(super) source_bytes: u64,
}

/// Whether no image at all can be encoded after this error.
pub(super) fn is_fatal(error: &Error) -> bool {
    use ErrorKind::{BelowPromise, Inference, InvalidInput, LimitExceeded};
    !matches!(
        error.kind(),
        BelowPromise | Inference | InvalidInput | LimitExceeded
    )
}

/// Encodes images of one size, each by itself if they can't be encoded together.
pub(super) fn encode(
    database: &Database,
    options: &IngestOptions,
    batch: Vec<Ready<'_>>,
) -> Vec<Result<Made>> {
    let (hub, name) = (database.hub(), database.encoder_of(&options.put));
    let images: Vec<_> = batch.iter().map(|ready| &ready.image.colors).collect();
    let together = if images.len() > 1 {
        hub.encode_batch(name, &images).ok()
    } else {
        None
    };
    let encoded: Vec<Result<Encoded>> = match together {
        Some(encoded) => encoded.into_iter().map(Ok).collect(),
        None => images.iter().map(|image| hub.encode(name, image)).collect(),
    };
    let made = batch.into_iter().zip(encoded).map(|(ready, encoded)| {
        let (record, notes) = database.record(ready.id, ready.image, encoded?, &ready.options)?;
        Ok(Made {
            record,
            update: ready.update,
            notes,
            source_bytes: ready.source_bytes,
        })
    });
    made.collect()
}
