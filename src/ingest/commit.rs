//! Records go into the store, many with one sync.
//!
//! Invariant: what is given back was made durable, or is a failure of its own.

use super::encode::Made;
use super::input::Origin;
use super::{Done, Outcome};
use crate::backend::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Record;
use crate::store::{BatchSize, Store};

/// Records that wait to be committed: a batch of them, or what is there when nothing more comes for a moment.
#[derive(Default)]
pub(super) struct Commit {
    waiting: Vec<(u64, Origin, Made)>,
    size: BatchSize,
}

impl Commit {
    /// Adds the record of the input `number`. Whether it is time to write.
    pub(super) fn add(&mut self, number: u64, origin: Origin, made: Made) -> bool {
        let due = self.size.add(&made.record);
        self.waiting.push((number, origin, made));
        due
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Of the store, which then takes nothing more: nothing of what waited is durable for certain.
    pub(super) fn write(&mut self, store: &Store) -> Result<Vec<(u64, Done)>> {
        self.size = BatchSize::default();
        let waiting = std::mem::take(&mut self.waiting);
        let (updates, new): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, _, made)| made.update);
        let mut done = put(store, new, Mode::Create)?;
        done.extend(put(store, updates, Mode::Replace)?);
        Ok(done)
    }
}

fn put(store: &Store, batch: Vec<(u64, Origin, Made)>, mode: Mode) -> Result<Vec<(u64, Done)>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let (places, records): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|(number, origin, made)| {
            ((number, origin, made.notes, made.source_bytes), made.record)
        })
        .unzip();
    let together = store.put(&records, mode);
    // Another thread of this program may have taken an id since it was looked up.
    let alone = match &together {
        Err(error) if is_of_one(error) => true,
        Err(_) => return together.map(|()| Vec::new()),
        Ok(()) => false,
    };
    let mut done = Vec::with_capacity(records.len());
    for ((number, origin, notes, source_bytes), record) in places.into_iter().zip(records) {
        let failure = if alone {
            put_one(store, &record, mode)?
        } else {
            None
        };
        let id = record.header.id;
        let stored_bytes = match failure {
            None => store.stored_bytes(&id)?.unwrap_or_default(),
            Some(_) => 0,
        };
        let outcome = match (failure, mode) {
            (Some(error), _) => Outcome::Failed(error),
            (None, Mode::Create) => Outcome::Stored,
            (None, Mode::Replace) => Outcome::Updated,
        };
        done.push((
            number,
            Done {
                origin,
                id: Some(id),
                outcome,
                source_bytes,
                stored_bytes,
                notes,
            },
        ));
    }
    Ok(done)
}

/// Puts one record; an error that concerns no other is given back.
fn put_one(store: &Store, record: &Record, mode: Mode) -> Result<Option<Error>> {
    match store.put(std::slice::from_ref(record), mode) {
        Err(error) if is_of_one(&error) => Ok(Some(error)),
        other => other.map(|()| None),
    }
}

fn is_of_one(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::InvalidInput
    )
}
