//! A portable archive of records: a plain tar with a JSON and a safetensors file for each, and its original if it has one.
//!
//! Invariant: a record comes back with the same bytes, or an error names the entry; one record is held at a time,
//! and no more memory is taken than the archive has bytes to justify. `FORMAT.md` draws it.

mod document;
mod entry;
mod name;

pub(crate) use document::FORMAT as ARCHIVE_FORMAT;
pub(crate) use entry::{EntryReader, EntryWriter};
pub(crate) use name::{FILES, IMAGES, SAMPLES, decode as decode_name};

use std::io::{Read, Write};
use std::iter::FusedIterator;

use entry::{Entry, refused};
use name::{ARCHIVE, JSON, ORIGINAL, TENSOR};

use crate::error::{Error, ErrorKind, Result};
use crate::latent_io::{LatentFile, LatentFormat, read_latent, write_latent};
use crate::record::{Record, RecordHeader, RecordId};

/// The most bytes of a record's JSON: far more than any header of this version has.
const MAX_JSON: u64 = 16 << 20;

/// What a safetensors file may have beside its values.
const MAX_TENSOR_HEADER: u64 = 64 << 10;

/// Writes `records` as an archive, and returns how many they were. The same records give the same bytes.
///
/// Ids must ascend, as [`Store::records`](crate::Store::records) gives them. Each record is written as it comes, so
/// `out` should be buffered.
///
/// # Errors
/// The first error of `records`; `InvalidInput` if ids don't ascend or a record contradicts itself; `LimitExceeded`
/// if its header makes more than 16 MiB of JSON; `Io` and `Full` if `out` can't be written to. What was written
/// until then has no end mark: it isn't taken for a whole archive.
pub fn write_archive(
    records: impl IntoIterator<Item = Result<Record>>,
    out: impl Write,
) -> Result<u64> {
    let mut entries = EntryWriter::new(out);
    let mut last = None;
    let mut count = 0;
    for record in records {
        let mut record = record?;
        let header = &record.header;
        let id = header.id.clone();
        if last.as_ref().is_some_and(|last| *last >= id) {
            return Err(not_ascending(&id, last.as_ref()));
        }
        record.check()?;
        let json = document::write(&record)?;
        if json.len() as u64 > MAX_JSON {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "the header of record `{id}` takes {} bytes as JSON, more than the {MAX_JSON} allowed",
                    json.len()
                ),
            ));
        }
        let seconds = header.created_ms / 1000;
        let name = ARCHIVE.encode(&id);
        entries.append(&format!("{name}{JSON}"), seconds, &json)?;
        let original = record.original.take();
        let tensor = write_latent(&record.into(), LatentFormat::Safetensors)?;
        entries.append(&format!("{name}{TENSOR}"), seconds, &tensor)?;
        if let Some(original) = original {
            entries.append(&format!("{name}{ORIGINAL}"), seconds, &original)?;
        }
        last = Some(id);
        count += 1;
    }
    entries.finish()?;
    Ok(count)
}

fn not_ascending(id: &RecordId, last: Option<&RecordId>) -> Error {
    match last {
        Some(last) if last != id => Error::invalid(format!(
            "record `{id}` comes after `{last}`: the ids of an archive ascend"
        )),
        _ => Error::invalid(format!("record `{id}` comes twice")),
    }
}

/// The latent, and of what is known about it what a latent file can say.
impl From<Record> for LatentFile {
    fn from(record: Record) -> Self {
        let header = record.header;
        Self {
            latent: record.latent,
            latent_space: Some(header.latent_space),
            encoder: header.encoder.map(|encoder| encoder.name),
            size: Some((header.width, header.height)),
            alpha: record.alpha,
        }
    }
}

/// Reads the records of an archive, in the order of their ids, each as it is asked for.
///
/// After an error nothing more comes. The stream is read to its end, so that an archive that was cut off, or
/// another one behind it, is an error and not the end. `input` should be buffered.
///
/// # Errors
/// Each names the entry. `InvalidInput` if the bytes are no such archive; `Corrupted` if they end early or a record
/// fails its checksum; `UnsupportedVersion` for an archive or a coding of a newer version; `LimitExceeded` if an
/// entry declares more bytes than its record justifies; `Io` if `input` can't be read.
pub struct ArchiveReader<R> {
    entries: EntryReader<R>,
    last: Option<RecordId>,
    ended: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// A reader of the archive that begins where `input` stands.
    pub fn new(input: R) -> Self {
        Self {
            entries: EntryReader::new(input),
            last: None,
            ended: false,
        }
    }

    fn record(&mut self) -> Result<Option<Record>> {
        let Some(json) = self.entries.next()? else {
            return Ok(None);
        };
        let Some(stem) = json.name.strip_suffix(JSON) else {
            return Err(refused(&json.name, &misplaced(&json.name)));
        };
        let bytes = self.entries.read(&json, MAX_JSON)?;
        let (header, checksum) = document::read(&json.name, &bytes)?;
        let id = &header.id;
        let name = ARCHIVE.encode(id);
        if name != stem {
            let how = format!("holds the record `{id}`, which belongs into `{name}{JSON}`");
            return Err(refused(&json.name, &how));
        }
        if self.last.as_ref().is_some_and(|last| last >= id) {
            let cause = not_ascending(id, self.last.as_ref());
            return Err(refused(&json.name, "is out of place").with_source(cause));
        }
        let record = self.with_latent(header, &json)?;
        if document::checksum(&record) != checksum {
            return Err(Error::corrupted(format!(
                "record `{}` of the archive fails its checksum",
                record.header.id
            )));
        }
        self.last = Some(record.header.id.clone());
        Ok(Some(record))
    }

    /// The record whose `header` stood in `json`, with the values of the entry behind it.
    fn with_latent(&mut self, header: RecordHeader, json: &Entry) -> Result<Record> {
        let name = ARCHIVE.encode(&header.id) + TENSOR;
        let tensor = self.entry(&name, json)?;
        let alpha = header.alpha_len().unwrap_or_default() as u64;
        let limit = header.shape.byte_len() + alpha + MAX_TENSOR_HEADER;
        let bytes = self.entries.read(&tensor, limit)?;
        let file = read_latent(&bytes, &format!("the archive's entry `{name}`"))?;
        if file.latent.shape() != header.shape {
            let (has, says) = (file.latent.shape(), header.shape);
            let how = format!("has the shape {has} where its JSON says {says}");
            return Err(refused(&name, &how));
        }
        check_metadata(&name, &file, &header)?;
        Ok(Record {
            original: self.original(&header, &tensor)?,
            header,
            latent: file.latent,
            alpha: file.alpha,
        })
    }

    /// The original of the record of `header`, if it has one, which stands behind `tensor`.
    fn original(&mut self, header: &RecordHeader, tensor: &Entry) -> Result<Option<Vec<u8>>> {
        if !header.original {
            return Ok(None);
        }
        let name = ARCHIVE.encode(&header.id) + ORIGINAL;
        let original = self.entry(&name, tensor)?;
        let size = header.source.as_ref().map_or(0, |source| source.bytes);
        let bytes = self.entries.read(&original, size)?;
        if bytes.len() as u64 != size {
            let how = format!("has {} bytes where its JSON says {size}", bytes.len());
            return Err(refused(&name, &how));
        }
        Ok(Some(bytes))
    }

    /// The next entry, which must be called `name`.
    fn entry(&mut self, name: &str, before: &Entry) -> Result<Entry> {
        match self.entries.next()? {
            Some(entry) if entry.name == name => Ok(entry),
            Some(other) => {
                let other = other.name.escape_debug();
                let how = format!("is followed by `{other}` instead of `{name}`");
                Err(refused(&before.name, &how))
            }
            None => Err(refused(&before.name, &format!("has no `{name}` after it"))),
        }
    }
}

impl<R: Read> Iterator for ArchiveReader<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record().transpose();
        self.ended = !matches!(record, Some(Ok(_)));
        record
    }
}

impl<R: Read> FusedIterator for ArchiveReader<R> {}

/// Refuses a latent file that says something else than the record's header, which is what counts.
fn check_metadata(name: &str, file: &LatentFile, header: &RecordHeader) -> Result<()> {
    let space = file.latent_space.as_ref().unwrap_or(&header.latent_space);
    if *space != header.latent_space {
        let (space, says) = (space.escape_debug(), &header.latent_space);
        let how = format!("is of the latent space `{space}` where its JSON says `{says}`");
        return Err(refused(name, &how));
    }
    let says = (header.width, header.height);
    let (width, height) = file.size.unwrap_or(says);
    if (width, height) != says {
        let (w, h) = says;
        let how = format!("is of an image of {width}x{height} where its JSON says {w}x{h}");
        return Err(refused(name, &how));
    }
    if file.alpha.is_some() != header.alpha {
        let (has, says) = if header.alpha {
            ("no", "some")
        } else {
            ("some", "none")
        };
        let how = format!("has {has} alpha where its JSON says that there is {says}");
        return Err(refused(name, &how));
    }
    Ok(())
}

/// Why an entry can't stand where a JSON should.
fn misplaced(name: &str) -> String {
    match name.strip_suffix(TENSOR) {
        Some(stem) => format!("has no `{stem}{JSON}` before it"),
        None => format!("ends neither in {JSON} nor in {TENSOR}"),
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod version_tests;
