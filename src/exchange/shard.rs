//! WebDataset shards of latents: tars where files with one key, the name up to its first dot, are one sample.
//!
//! Invariant: the same records give the same bytes; a shard that is a file appears whole or not at all.

use std::io::{Read, Write};
use std::iter::Peekable;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::export::{left_out, told};
use super::sample::Sample;
use super::{Exchanged, MAX_FILE};
use crate::archive::{ARCHIVE_FORMAT, EntryReader, EntryWriter, SAMPLES};
use crate::database::Database;
use crate::error::Result;
use crate::fs;
use crate::latent_io::{LatentFormat, write_latent};
use crate::parallel::in_order;
use crate::record::RecordId;

/// A sample that waits to be written, or what is told of a record that is none.
struct Made {
    id: RecordId,
    seconds: u64,
    /// The JSON and the npy.
    files: Result<[Vec<u8>; 2]>,
    notes: Vec<String>,
}

type Samples<'a> = Peekable<&'a mut dyn Iterator<Item = Result<Made>>>;

impl Database {
    /// Writes the records whose ids begin with `prefix` as a WebDataset shard, in the order of ids, and tells `each` of
    /// every record.
    ///
    /// A sample is `KEY.json` and `KEY.npy`. `KEY` is the id, percent-encoded as in an archive, and in its last part
    /// without a dot. `docs/exchange.md` says what is in the two.
    ///
    /// # Errors
    /// What ends all: `Io` and `Full` if `out` can't be written to, and what
    /// [`Store::entries`](crate::Store::entries) says. Failures of single records are told.
    pub fn export_shard(
        &self,
        prefix: &str,
        out: &mut dyn Write,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<()> {
        self.samples(prefix, |samples| write(samples, u64::MAX, out, each))
    }

    /// As [`export_shard`](Self::export_shard), into files of at most `records` samples each: for `OUT.tar` they are
    /// `OUT-000000.tar`, `OUT-000001.tar` and so on, which WebDataset takes as `OUT-{000000..000001}.tar`. Returns how
    /// many files there are.
    ///
    /// # Errors
    /// As [`export_shard`](Self::export_shard).
    pub fn export_shards(
        &self,
        prefix: &str,
        path: &Path,
        records: NonZero<u64>,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<u64> {
        self.samples(prefix, |samples| {
            let mut shards = 0;
            loop {
                let path = numbered(path, shards);
                fs::write_file_with(&path, |out| write(samples, records.get(), out, each))?;
                shards += 1;
                if samples.peek().is_none() {
                    return Ok(shards);
                }
            }
        })
    }

    fn samples<R>(
        &self,
        prefix: &str,
        take: impl FnOnce(&mut Samples<'_>) -> Result<R>,
    ) -> Result<R> {
        let ids = self.store().entries(prefix);
        let ids = ids.map(|entry| Ok(entry?.header.id));
        let work = |id: Result<RecordId>| Ok(self.sample(id?));
        in_order(ids, work, |samples| take(&mut samples.peekable()))
    }

    fn sample(&self, id: RecordId) -> Made {
        let (mut seconds, mut notes) = (0, Vec::new());
        let files = self.store().get(&id).and_then(|record| {
            seconds = record.header.created_ms / 1000;
            notes.extend(left_out(&record, LatentFormat::Npy));
            let factors = self.hub().scaling(&record.header.latent_space).ok();
            let json = Sample::new(&record.header, factors).to_json()?;
            Ok([json, write_latent(&record.into(), LatentFormat::Npy)?])
        });
        Made {
            id,
            seconds,
            files,
            notes,
        }
    }
}

fn write(
    samples: &mut Samples<'_>,
    count: u64,
    out: &mut dyn Write,
    each: &mut dyn FnMut(Exchanged),
) -> Result<()> {
    let mut entries = EntryWriter::new(out);
    let mut written = 0;
    while written < count
        && let Some(made) = samples.next()
    {
        let Made {
            id,
            seconds,
            files,
            notes,
        } = made?;
        let result = match files {
            Ok([json, npy]) => {
                let key = SAMPLES.encode(&id);
                entries.append(&format!("{key}.json"), seconds, &json)?;
                entries.append(&format!("{key}.npy"), seconds, &npy)?;
                written += 1;
                Ok(())
            }
            Err(error) => Err(error),
        };
        each(told(&id, result, notes)?);
    }
    entries.finish()
}

/// `OUT-000003.tar` for `OUT.tar` and 3.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:06}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

/// Whether a tar that begins like this is a WebDataset shard of latents, and no archive of this crate: by the first of
/// its files that tells. 64 KiB are enough to tell.
pub fn is_shard(beginning: &[u8]) -> bool {
    /// A JSON of a sample is far shorter.
    const MOST: u64 = 64 << 10;
    let mut entries = EntryReader::foreign(beginning);
    while let Ok(Some(entry)) = entries.next() {
        let ending = entry.name.rsplit_once('.').map(|(_, ending)| ending);
        match ending {
            Some("npy" | "npz") => return true,
            Some("json") => {
                let json = entries.read(&entry, MOST).ok();
                let json = json.and_then(|json| serde_json::from_slice(&json).ok());
                return json
                    .is_some_and(|json: serde_json::Value| json["format"] != ARCHIVE_FORMAT);
            }
            _ if entries.pass(&entry).is_err() => return false,
            _ => {}
        }
    }
    false
}

/// Files that have one key.
#[derive(Default)]
pub(super) struct Group {
    pub(super) key: String,
    /// Names and bytes of the latents.
    pub(super) latents: Vec<(String, Vec<u8>)>,
    pub(super) json: Option<Vec<u8>>,
}

/// Reads the samples of a shard, whoever wrote it. After an error nothing more comes.
pub(super) struct ShardReader<R> {
    entries: EntryReader<R>,
    next: Group,
    ended: bool,
}

impl<R: Read> ShardReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            entries: EntryReader::foreign(input),
            next: Group::default(),
            ended: false,
        }
    }

    fn group(&mut self) -> Result<Option<Group>> {
        /// More than any JSON that is a sample's.
        const MAX_JSON: u64 = 16 << 20;
        while let Some(entry) = self.entries.next()? {
            let (key, ending) = split(&entry.name);
            let (key, ending) = (key.to_owned(), ending.to_ascii_lowercase());
            let last = ending.rsplit('.').next().unwrap_or_default();
            let complete = (key != self.next.key).then(|| {
                let group = Group {
                    key,
                    ..Group::default()
                };
                std::mem::replace(&mut self.next, group)
            });
            if last.parse::<LatentFormat>().is_ok() {
                let bytes = self.entries.read(&entry, MAX_FILE)?;
                self.next.latents.push((entry.name, bytes));
            } else if ending == "json" {
                self.next.json = Some(self.entries.read(&entry, MAX_JSON)?);
            } else {
                self.entries.pass(&entry)?;
            }
            if let Some(group) = complete.filter(|group| !group.latents.is_empty()) {
                return Ok(Some(group));
            }
        }
        self.ended = true;
        let group = std::mem::take(&mut self.next);
        Ok((!group.latents.is_empty()).then_some(group))
    }
}

impl<R: Read> Iterator for ShardReader<R> {
    type Item = Result<Group>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let group = self.group();
        self.ended |= group.is_err();
        group.transpose()
    }
}

/// The key and the ending, as WebDataset parts them: at the first dot of the last component.
fn split(name: &str) -> (&str, &str) {
    let component = name.rfind('/').map_or(0, |at| at + 1);
    match name[component..].find('.') {
        Some(at) => (&name[..component + at], &name[component + at + 1..]),
        None => (name, ""),
    }
}

#[cfg(test)]
mod tests;
