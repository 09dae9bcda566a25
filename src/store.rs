//! Records by id; knows no pixels and no model.
//!
//! Invariant: the id in a record's bytes is the key it lies under, and the facts of a listing are
//! those of the record.

use std::path::Path;

use crate::backend::{
    Backend, Backup, Compaction, Durability, Item, LocalBackend, Mode, Operation, Repair,
    RepairOptions, Step, Verification, local,
};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Record, RecordHeader, RecordId};

/// Records by id, over any [`Backend`].
pub struct Store {
    backend: Box<dyn Backend>,
}

/// What a listing says of a record without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The facts that listings keep: sizes, shape, latent space, coding, whether there are alpha and an
    /// original, encoder (name and fingerprint), the source's size and the quality. The rest of the header is empty; [`Store::header`]
    /// reads it.
    pub header: RecordHeader,
    /// Bytes the record takes where it lies, framing included.
    pub stored_bytes: u64,
}

impl Entry {
    /// 8 x stored bytes / (width x height).
    pub fn bits_per_pixel(&self) -> f64 {
        let pixels = f64::from(self.header.width) * f64::from(self.header.height);
        8.0 * self.stored_bytes as f64 / pixels
    }
}

/// How large a batch of records has become that waits for its sync.
#[derive(Debug, Default)]
pub(crate) struct BatchSize {
    records: usize,
    bytes: u64,
}

impl BatchSize {
    /// Enough that the sync takes little of the time, and little enough to wait in memory.
    const MAX_RECORDS: usize = 64;
    const MAX_BYTES: u64 = 16 << 20;

    /// Counts a record in. Whether it is time to make the batch durable.
    pub(crate) fn add(&mut self, record: &Record) -> bool {
        self.add_bytes(Self::bytes_of(record))
    }

    /// What `record` takes in memory.
    pub(crate) fn bytes_of(record: &Record) -> u64 {
        let beside = [&record.alpha, &record.original];
        let beside: usize = beside.into_iter().flatten().map(Vec::len).sum();
        record.header.shape.byte_len() + beside as u64
    }

    /// As [`add`](Self::add), of a record that takes so many bytes.
    pub(crate) fn add_bytes(&mut self, bytes: u64) -> bool {
        self.records += 1;
        self.bytes += bytes;
        self.records >= Self::MAX_RECORDS || self.bytes >= Self::MAX_BYTES
    }
}

/// A record as it will lie in the store: making it is the work that threads can share.
pub(crate) struct Packed {
    key: Vec<u8>,
    facts: Vec<u8>,
    bytes: Vec<u8>,
}

impl Packed {
    pub(crate) fn of(record: &Record) -> Result<Self> {
        Ok(Self {
            key: record.header.id.as_bytes().to_vec(),
            facts: record.header.to_facts(),
            bytes: record.to_bytes()?,
        })
    }

    /// Bytes it will take in a store in a folder, framing included.
    pub(crate) fn stored_bytes(&self) -> u64 {
        local::stored_bytes(&self.key, &self.facts, &self.bytes)
    }
}

impl Store {
    /// A store over `backend`.
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self {
            backend: Box::new(backend),
        }
    }

    /// Opens the store in the folder `path` for reading and writing.
    ///
    /// # Errors
    /// As [`LocalBackend::open`].
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::new(LocalBackend::open(path)?))
    }

    /// Opens the store in the folder `path` for reading beside a writer.
    ///
    /// # Errors
    /// As [`LocalBackend::open_read_only`].
    pub fn open_read_only(path: &Path) -> Result<Self> {
        Ok(Self::new(LocalBackend::open_read_only(path)?))
    }

    /// Reads every checksum of the store in the folder `path`, without changing it; with `deep` also
    /// every record: decompressed, and compared with the id and the facts it is listed by. `progress`
    /// gets the bytes read so far and those that will be.
    ///
    /// # Errors
    /// As [`LocalBackend::verify`]; damage is no error.
    pub fn verify(
        path: &Path,
        deep: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Verification> {
        let check = &mut |id: &[u8], facts: &[u8], bytes: &[u8]| {
            if deep {
                check_record(id, facts, bytes)
            } else {
                Ok(())
            }
        };
        LocalBackend::verify(path, check, progress)
    }

    /// Makes a new store of all records that are whole in the one in the folder `path`.
    ///
    /// # Errors
    /// As [`LocalBackend::repair`].
    pub fn repair(
        path: &Path,
        options: &RepairOptions,
        progress: &mut dyn FnMut(Step, u64, u64),
    ) -> Result<Repair> {
        LocalBackend::repair(path, options, &mut check_record, progress)
    }

    /// Copies the store in the folder `path` to the folder `to`, also while it is written to, and
    /// reads every checksum of the copy.
    ///
    /// # Errors
    /// As [`LocalBackend::backup`].
    pub fn backup(
        path: &Path,
        to: &Path,
        progress: &mut dyn FnMut(Step, u64, u64),
    ) -> Result<Backup> {
        LocalBackend::backup(path, to, progress)
    }

    /// Keeps `records`, all or none, durably.
    ///
    /// # Errors
    /// `AlreadyExists` if `mode` is `Create` and one of the ids is taken; what
    /// [`Backend::apply`] and [`Record::to_bytes`] say.
    pub fn put(&self, records: &[Record], mode: Mode) -> Result<()> {
        self.put_with(records, mode, Durability::Synced)
    }

    /// Keeps `records`, all or none, as durably as `durability` says.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_with(&self, records: &[Record], mode: Mode, durability: Durability) -> Result<()> {
        let packed = records.iter().map(Packed::of).collect::<Result<_>>()?;
        self.put_packed(packed, mode, durability)
    }

    /// As [`put_with`](Self::put_with), of records whose bytes are made already.
    pub(crate) fn put_packed(
        &self,
        records: Vec<Packed>,
        mode: Mode,
        durability: Durability,
    ) -> Result<()> {
        let operation = |record: Packed| Operation::Put {
            key: record.key,
            bytes: record.bytes,
            facts: record.facts,
            mode,
        };
        let batch = records.into_iter().map(operation).collect();
        self.backend.apply(batch, durability)
    }

    /// Keeps `records`, many with one sync, and tells `durable` after each how many are in the store for certain.
    ///
    /// # Errors
    /// The first error of `records`; as [`put`](Self::put). What was told stays.
    pub fn put_all(
        &self,
        records: impl IntoIterator<Item = Result<Record>>,
        mode: Mode,
        durable: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut count = 0;
        let mut size = BatchSize::default();
        let mut batch = Vec::new();
        let mut put = |batch: &mut Vec<Record>| {
            self.put(batch, mode)?;
            count += batch.len() as u64;
            batch.clear();
            durable(count);
            Ok(())
        };
        for record in records {
            let record = record?;
            let due = size.add(&record);
            batch.push(record);
            if due {
                size = BatchSize::default();
                put(&mut batch)?;
            }
        }
        put(&mut batch)
    }

    /// Makes durable what was put as [`Durability::Written`].
    ///
    /// # Errors
    /// What [`Backend::flush`] says.
    pub fn flush(&self) -> Result<()> {
        self.backend.flush()
    }

    /// Bytes the record `id` takes where it lies, framing included; `None` if there is none.
    ///
    /// # Errors
    /// What [`Backend::entry`] says.
    pub fn stored_bytes(&self, id: &RecordId) -> Result<Option<u64>> {
        Ok(self
            .backend
            .entry(id.as_bytes())?
            .map(|entry| entry.stored_bytes))
    }

    /// Bytes that `record` would take in a store in a folder, framing included.
    ///
    /// # Errors
    /// What [`Record::to_bytes`] says.
    pub fn bytes_of(record: &Record) -> Result<u64> {
        Ok(Packed::of(record)?.stored_bytes())
    }

    /// Whether there is a record `id`.
    ///
    /// # Errors
    /// What [`Backend::entry`] says.
    pub fn contains(&self, id: &RecordId) -> Result<bool> {
        Ok(self.stored_bytes(id)?.is_some())
    }

    /// The record `id`.
    ///
    /// # Errors
    /// `NotFound`; `Corrupted` if its bytes are damaged; what [`Backend::get`] says.
    pub fn get(&self, id: &RecordId) -> Result<Record> {
        let mut record = None;
        // A backend gives the very bytes that were put, or an error; `LocalBackend` has just compared a checksum
        // over the same bytes.
        let mut read = |bytes: &[u8]| record = Some(Record::from_intact_bytes(bytes));
        self.backend.get_with(id.as_bytes(), &mut read)?;
        let record = record.ok_or_else(|| not_found(id))?;
        let record = record.map_err(|e| damaged(id, e))?;
        check_id(id, &record.header)?;
        Ok(record)
    }

    /// The header of the record `id` and the bytes the record takes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn header(&self, id: &RecordId) -> Result<Entry> {
        let item = self.item(id)?;
        let header = RecordHeader::from_bytes(&item.bytes).map_err(|e| damaged(id, e))?;
        check_id(id, &header)?;
        Ok(Entry {
            header,
            stored_bytes: item.stored_bytes,
        })
    }

    /// Removes the records `ids`, all or none, durably.
    ///
    /// # Errors
    /// `NotFound` if one of them isn't there; what [`Backend::apply`] says.
    pub fn remove(&self, ids: &[RecordId]) -> Result<()> {
        let delete = |id: &RecordId| Operation::Delete {
            key: id.as_bytes().to_vec(),
        };
        let batch = ids.iter().map(delete).collect();
        self.backend.apply(batch, Durability::Synced)
    }

    /// The records whose ids begin with `prefix`, in the order of their ids. Records written while
    /// the iteration runs may or may not appear.
    pub fn entries(&self, prefix: &str) -> impl Iterator<Item = Result<Entry>> + Send {
        let entries = self.backend.scan(prefix.as_bytes(), b"");
        entries.map(|entry| {
            let entry = entry?;
            let id = String::from_utf8(entry.key)
                .map_err(|e| Error::corrupted("a key is no UTF-8").with_source(e))?;
            let id = RecordId::new(id)?;
            let header = RecordHeader::from_facts(id.clone(), &entry.facts);
            Ok(Entry {
                header: header.map_err(|e| damaged(&id, e))?,
                stored_bytes: entry.stored_bytes,
            })
        })
    }

    /// Reads the records whose ids begin with `prefix`, in the order of their ids, each as it is asked for. Records
    /// written while the iteration runs may or may not appear.
    pub fn records(&self, prefix: &str) -> impl Iterator<Item = Result<Record>> + Send {
        let entries = self.entries(prefix);
        entries.map(|entry| self.get(&entry?.header.id))
    }

    /// Gives back the space of what was replaced and deleted, where it is worth it. Reads and writes
    /// go on meanwhile. `progress` gets the bytes looked through so far and those that will be.
    ///
    /// # Errors
    /// What [`Backend::compact`] says.
    pub fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Compaction> {
        self.backend.compact(progress)
    }

    /// Lets a store that was opened for reading see what was written since.
    ///
    /// # Errors
    /// What [`Backend::refresh`] says.
    pub fn refresh(&self) -> Result<()> {
        self.backend.refresh()
    }

    /// Bytes the store takes in all, what was replaced or deleted included.
    ///
    /// # Errors
    /// What [`Backend::disk_bytes`] says.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.backend.disk_bytes()
    }

    /// A property that was given when the store was made.
    pub fn property(&self, name: &str) -> Option<String> {
        self.backend.property(name)
    }

    fn item(&self, id: &RecordId) -> Result<Item> {
        self.backend
            .get(id.as_bytes())?
            .ok_or_else(|| not_found(id))
    }
}

fn not_found(id: &RecordId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no record `{id}`"))
}

fn damaged(id: &RecordId, source: Error) -> Error {
    let kind = source.kind();
    Error::new(kind, format!("record `{id}` can't be read")).with_source(source)
}

/// What is wrong with a record whose frame is as it was written.
fn check_record(id: &[u8], facts: &[u8], bytes: &[u8]) -> Result<()> {
    let record = Record::from_bytes(bytes)?;
    let header = record.header;
    if header.id.as_bytes() != id {
        return Err(Error::corrupted(format!(
            "under the id `{}` lies the record `{}`",
            String::from_utf8_lossy(id),
            header.id
        )));
    }
    if header.to_facts() != facts {
        return Err(Error::corrupted(
            "the facts that listings show aren't the record's",
        ));
    }
    Ok(())
}

fn check_id(id: &RecordId, header: &RecordHeader) -> Result<()> {
    if header.id == *id {
        return Ok(());
    }
    Err(Error::corrupted(format!(
        "under the id `{id}` lies the record `{}`",
        header.id
    )))
}
