//! The files that records were made of: kept by the records themselves, or found again by their bytes.
//!
//! Invariant: a record is encoded again only from a file that has the very bytes it was made of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::gather::{Found, Inputs};
use super::input::{Input, Origin, Place};
use super::members::Members;
use super::{Done, IngestOptions, Ingested, Outcome};
use crate::database::Database;
use crate::error::{ErrorKind, Result};
use crate::record::{RecordHeader, RecordId};
use crate::store::Store;

/// Where originals were found.
#[derive(Default)]
pub(super) struct Originals {
    /// Records that keep theirs.
    kept: Vec<Wanted>,
    /// Files: for each the ids of the records that are made of it, by the name in the tar where it is one.
    files: BTreeMap<PathBuf, HashMap<Option<String>, Vec<RecordId>>>,
}

impl Originals {
    pub(super) fn gather(
        self,
        limit: u64,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for Wanted { id, source } in self.kept {
            each(Found::Input(again(Place::Kept(source), id)))?;
        }
        for (path, mut names) in self.files {
            let whole = names.remove(&None).unwrap_or_default();
            for id in whole {
                each(Found::Input(again(Place::File(path.clone()), id)))?;
            }
            if names.is_empty() {
                continue;
            }
            let members = Members {
                archive: &path,
                limit,
            };
            let wanted = |name: &str| names.contains_key(&Some(name.to_owned()));
            members.of_file(&path, &wanted, &mut |found| match found {
                Found::Input(Input {
                    place:
                        Place::Member {
                            archive,
                            name,
                            bytes,
                        },
                    ..
                }) => {
                    for id in names.get(&Some(name.clone())).into_iter().flatten() {
                        let place = Place::Member {
                            archive: archive.clone(),
                            name: name.clone(),
                            bytes: bytes.clone(),
                        };
                        each(Found::Input(again(place, id.clone())))?;
                    }
                    ControlFlow::Continue(())
                }
                Found::Failed(..) => each(found),
                _ => ControlFlow::Continue(()),
            })?;
        }
        ControlFlow::Continue(())
    }
}

fn again(place: Place, id: RecordId) -> Input {
    Input {
        place,
        path: String::new(),
        id: Some(id),
        again: true,
    }
}

/// Records by length and BLAKE3 of their sources.
type BySource = HashMap<(u64, [u8; 32]), Vec<Wanted>>;

/// A record that is to be made again, and the name of its source.
pub(super) struct Wanted {
    pub(super) id: RecordId,
    pub(super) source: String,
}

impl Database {
    /// Encodes records again with the encoder of `options`, from the files they were made of, as they were prepared
    /// then; what was said of them stays. `from` is where these files are looked for, by their bytes; how they are
    /// called doesn't matter, and records that keep their original need none. Records whose ids begin with `prefix` count, and those that are of this encoder already
    /// are passed over.
    ///
    /// `each` is told first of the records whose file wasn't found ([`Outcome::Missing`]), then of the others.
    ///
    /// # Errors
    /// As [`ingest`](Self::ingest).
    pub fn reencode(
        &self,
        from: Inputs,
        prefix: &str,
        options: &IngestOptions,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Done),
    ) -> Result<Ingested> {
        let model = self.hub().encoder(self.encoder_of(&options.put))?;
        let fingerprint = model.encoder_fingerprint();
        let wants = |header: &RecordHeader| {
            let made_by = header
                .encoder
                .as_ref()
                .and_then(|encoder| encoder.fingerprint);
            made_by.is_none() || made_by != fingerprint
        };
        let limit = options.put.limits.max_alloc_bytes;
        let (originals, lost) = self.originals(from, prefix, &wants, limit, stop)?;
        let count = lost.len() as u64;
        for Wanted { id, source } in lost {
            each(&Done {
                origin: Origin {
                    path: source.into(),
                    member: None,
                },
                id: Some(id),
                outcome: Outcome::Missing,
                source_bytes: 0,
                stored_bytes: 0,
                notes: Vec::new(),
            });
        }
        let ingested = self.ingest(Inputs::originals(originals), options, stop, each)?;
        Ok(Ingested {
            missing: count,
            ..ingested
        })
    }

    /// Looks for the files that records were made of: where they are, and the records whose file isn't found, in the
    /// order of their ids. `wants` says which of the records whose ids begin with `prefix` are meant; `limit` is what a
    /// file may have of bytes.
    pub(super) fn originals(
        &self,
        from: Inputs,
        prefix: &str,
        wants: &dyn Fn(&RecordHeader) -> bool,
        limit: u64,
        stop: &AtomicBool,
    ) -> Result<(Originals, Vec<Wanted>)> {
        let mut originals = Originals::default();
        let mut missing = self.wanted(prefix, wants, &mut originals.kept)?;
        let lengths: HashSet<u64> = missing.keys().map(|(bytes, _)| *bytes).collect();
        from.gather(limit, &mut |found| {
            if let Found::Input(input) = found
                && let Some((origin, records)) =
                    look(self.store(), input, limit, &lengths, &mut missing)
            {
                let ids = records.into_iter().map(|wanted| wanted.id).collect();
                originals
                    .files
                    .entry(origin.path)
                    .or_default()
                    .insert(origin.member, ids);
            }
            if missing.is_empty() || stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let mut lost: Vec<_> = missing.into_values().flatten().collect();
        lost.sort_by(|a, b| a.id.cmp(&b.id));
        Ok((originals, lost))
    }

    /// The records that `wants` says and whose file is to be found; those that keep it come into `kept`.
    fn wanted(
        &self,
        prefix: &str,
        wants: &dyn Fn(&RecordHeader) -> bool,
        kept: &mut Vec<Wanted>,
    ) -> Result<BySource> {
        let mut wanted = BySource::new();
        for entry in self.store().entries(prefix) {
            let entry = entry?.header;
            if !wants(&entry) {
                continue;
            }
            let header = match self.store().header(&entry.id) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other?.header,
            };
            let (key, source) = match header.source {
                Some(source) => ((source.bytes, source.blake3), source.name),
                // No file has no bytes and this hash.
                None => ((0, [0; 32]), String::new()),
            };
            let record = Wanted {
                id: header.id,
                source,
            };
            if header.original {
                kept.push(record);
            } else {
                wanted.entry(key).or_default().push(record);
            }
        }
        Ok(wanted)
    }
}

/// Where `input` is and which records it is the original of, if there are any; they aren't missing any more.
fn look(
    store: &Store,
    mut input: Input,
    limit: u64,
    lengths: &HashSet<u64>,
    missing: &mut BySource,
) -> Option<(Origin, Vec<Wanted>)> {
    let origin = input.origin();
    let length = match &input.place {
        Place::File(path) => std::fs::metadata(path).ok()?.len(),
        Place::Member { bytes, .. } => bytes.len() as u64,
        Place::Kept(_) => return None,
    };
    if !lengths.contains(&length) {
        return None;
    }
    // A file that can't be read is no original; what then has none is told.
    let bytes = input.read(store, limit).ok()?;
    let key = (bytes.len() as u64, *blake3::hash(&bytes).as_bytes());
    Some((origin, missing.remove(&key)?))
}
