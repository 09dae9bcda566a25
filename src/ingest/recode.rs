//! Records are kept in another coding.
//!
//! Invariant: what takes a record's place has the same latent, or says how far it moved; what is told is durable.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::gather::{Found, Inputs};
use super::input::Input;
use crate::backend::{Durability, Mode};
use crate::database::{CodingChoice, Database, Promise, original_of};
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::{Limits, read_image};
use crate::parallel::in_order;
use crate::record::{Coding, Record, RecordHeader, RecordId};
use crate::store::{BatchSize, Packed, Store};

/// How [`Database::recode`] works.
#[derive(Debug, Clone, Default)]
pub struct RecodeOptions {
    /// Only records whose ids begin with this.
    pub prefix: String,
    /// What they are brought to.
    pub coding: CodingChoice,
    /// What the file of an image may cost to read, where the loss of PSNR is measured.
    pub limits: Limits,
    /// Whether nothing is stored, and only told what would be.
    pub dry_run: bool,
}

/// One record that is dealt with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recoded {
    /// The record's id.
    pub id: RecordId,
    /// What became of it.
    pub outcome: RecodeOutcome,
    /// Bytes the record took, framing included.
    pub bytes_before: u64,
    /// Bytes it takes now, durably (in a dry run: it would).
    pub bytes_after: u64,
    /// Whether what was measured of it is forgotten, because it doesn't hold for the latent as it is now.
    pub unmeasured: bool,
}

/// What became of one record.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecodeOutcome {
    /// It is in this coding now.
    Recoded(Coding),
    /// It was in the coding already, or in a coarser one.
    Skipped,
    /// The loss can't be measured: the file that the record was made of wasn't found.
    Missing,
    /// It stays as it was.
    Failed(Error),
}

/// A record that was dealt with, and what is to take its place.
struct Made {
    done: Recoded,
    packed: Option<Packed>,
    /// How much of a batch it is.
    raw_bytes: u64,
}

impl Made {
    fn left(id: RecordId, bytes: u64, outcome: RecodeOutcome) -> Self {
        let done = Recoded {
            id,
            outcome,
            bytes_before: bytes,
            bytes_after: bytes,
            unmeasured: false,
        };
        Self {
            done,
            packed: None,
            raw_bytes: 0,
        }
    }
}

impl Database {
    /// Brings records to another coding, many with one sync. A record that is in it already, or in a coarser one, is
    /// passed over, so the same call goes on where another was stopped.
    ///
    /// A loss of PSNR is measured against the file that a record was made of: the one that the record keeps, or one of
    /// `from`, found by its bytes. Otherwise no file is looked at, and no model is needed.
    ///
    /// # Errors
    /// Of the store; what happens to one record is told to `each`.
    pub fn recode(
        &self,
        from: Inputs,
        options: &RecodeOptions,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Recoded),
    ) -> Result<()> {
        let mut batch = Batch {
            store: (!options.dry_run).then(|| self.store()),
            made: Vec::new(),
            size: BatchSize::default(),
            each,
        };
        match options.coding {
            CodingChoice::Of(coding) => {
                let entries = self.store().entries(&options.prefix);
                let entries = entries.take_while(|_| !stop.load(Ordering::Relaxed));
                let work = |entry: Result<crate::store::Entry>| {
                    let entry = entry?;
                    Ok(self.recoded(&entry.header, entry.stored_bytes, coding))
                };
                in_order(entries, work, |made| {
                    made.filter_map(Result::transpose)
                        .try_for_each(|made| batch.add(made?))
                })?;
            }
            CodingChoice::PsnrLoss(_) => self.recode_measured(from, options, stop, &mut batch)?,
        }
        batch.write()
    }

    /// The record of `header` in `coding`; `None` if it is gone.
    fn recoded(&self, header: &RecordHeader, bytes: u64, coding: Coding) -> Option<Made> {
        let id = &header.id;
        if is_there(header.coding, CodingChoice::Of(coding)) {
            return Some(Made::left(id.clone(), bytes, RecodeOutcome::Skipped));
        }
        self.replaced(id, bytes, |record| record.recode(coding))
    }

    /// The record `id` after `change`; `None` if it is gone.
    fn replaced(
        &self,
        id: &RecordId,
        bytes: u64,
        change: impl FnOnce(&mut Record) -> Result<()>,
    ) -> Option<Made> {
        let made = || -> Result<Made> {
            let mut record = self.store().get(id)?;
            let measured = record.header.measured.is_some();
            change(&mut record)?;
            let packed = Packed::of(&record)?;
            Ok(Made {
                done: Recoded {
                    id: id.clone(),
                    outcome: RecodeOutcome::Recoded(record.header.coding),
                    bytes_before: bytes,
                    bytes_after: packed.stored_bytes(),
                    unmeasured: measured && record.header.measured.is_none(),
                },
                packed: Some(packed),
                raw_bytes: BatchSize::bytes_of(&record),
            })
        };
        match made() {
            Ok(made) => Some(made),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Made::left(id.clone(), bytes, RecodeOutcome::Failed(error))),
        }
    }

    fn recode_measured(
        &self,
        from: Inputs,
        options: &RecodeOptions,
        stop: &AtomicBool,
        batch: &mut Batch<'_>,
    ) -> Result<()> {
        let wants = |header: &RecordHeader| !is_there(header.coding, options.coding);
        for entry in self.store().entries(&options.prefix) {
            let entry = entry?;
            if !wants(&entry.header) {
                batch.add(Made::left(
                    entry.header.id,
                    entry.stored_bytes,
                    RecodeOutcome::Skipped,
                ))?;
            }
        }
        let limit = options.limits.max_alloc_bytes;
        let (originals, lost) = self.originals(from, &options.prefix, &wants, limit, stop)?;
        for wanted in lost {
            let bytes = self.store().stored_bytes(&wanted.id)?.unwrap_or_default();
            batch.add(Made::left(wanted.id, bytes, RecodeOutcome::Missing))?;
        }
        let mut result = Ok(());
        let _ = originals.gather(limit, &mut |found| {
            if stop.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            // What is no input was told of when originals were looked for.
            let Found::Input(input) = found else {
                return ControlFlow::Continue(());
            };
            result = self
                .recoded_beside(input, options)
                .and_then(|made| made.map_or(Ok(()), |made| batch.add(made)));
            if result.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        result
    }

    /// The record of `input` in the coarsest tier that its image allows.
    fn recoded_beside(&self, mut input: Input, options: &RecodeOptions) -> Result<Option<Made>> {
        let id = input
            .id
            .clone()
            .ok_or_else(|| Error::invalid("an original has no record"))?;
        let bytes = self.store().stored_bytes(&id)?.unwrap_or_default();
        Ok(self.replaced(&id, bytes, |record| {
            let limit = options.limits.max_alloc_bytes;
            let file = input.read(self.store(), limit)?;
            let name = input.origin().to_string();
            let image = read_image(&file, &name, &options.limits)?;
            let original = original_of(&record.header, image.pixels, &name)?;
            let measured = record.header.measured.is_some();
            self.bring_to(options.coding, record, Some(&original))?;
            if measured {
                let promise = Promise {
                    measure: true,
                    ..Promise::default()
                };
                self.hold(&promise, record, &original, None)?;
            }
            Ok(())
        }))
    }
}

/// Whether a record in the coding `from` needn't be brought to `to`.
fn is_there(from: Coding, to: CodingChoice) -> bool {
    match (from, to) {
        (Coding::Quantised(_), CodingChoice::PsnrLoss(_)) => true,
        (Coding::Quantised(from), CodingChoice::Of(Coding::Quantised(to))) => from <= to,
        (from, CodingChoice::Of(to)) => from == to,
        (_, CodingChoice::PsnrLoss(_)) => false,
    }
}

/// Records that wait to be written together, and to be told then.
struct Batch<'a> {
    /// `None` in a dry run.
    store: Option<&'a Store>,
    made: Vec<Made>,
    size: BatchSize,
    each: &'a mut dyn FnMut(&Recoded),
}

impl Batch<'_> {
    fn add(&mut self, made: Made) -> Result<()> {
        let due = self.size.add_bytes(made.raw_bytes);
        self.made.push(made);
        if due { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        self.size = BatchSize::default();
        let mut told = Vec::with_capacity(self.made.len());
        let mut packed = Vec::new();
        for made in self.made.drain(..) {
            told.push(made.done);
            packed.extend(made.packed);
        }
        if let Some(store) = self.store.filter(|_| !packed.is_empty()) {
            store.put_packed(packed, Mode::Replace, Durability::Synced)?;
        }
        for done in &told {
            (self.each)(done);
        }
        Ok(())
    }
}
