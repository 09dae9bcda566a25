//! Where bytes live: the contract that every backend keeps, and what it speaks of.
//!
//! # Contract
//! - An item is a key (1 to 512 bytes), its bytes, and facts: at most 256 opaque bytes that
//!   listings return without reading the item.
//! - Keys are ordered bytewise. `scan` returns them in that order, each once, with its newest
//!   facts. Items written while a scan runs may or may not appear in it.
//! - `apply` is all or nothing: after it returned `Ok` every operation of the batch survives what
//!   its [`Durability`] says; after an error, or a crash before it returned, either all or none of
//!   them is there. Operations take effect in their order, and batches in the order in which `apply`
//!   returned: what a power cut takes is always the latest.
//! - `Put` with `Mode::Create` on a key that exists, and `Delete` of a key that doesn't, fail the
//!   batch with `AlreadyExists` or `NotFound` before anything is written.
//! - `get` returns exactly the bytes that were put, or `Corrupted`; never other bytes.
//! - Any number of threads may call it at once.
//!
//! `contract_tests` runs these sentences over every backend.

#[cfg(test)]
mod contract_tests;
pub(crate) mod local;
mod memory;

pub use local::{
    Affected, Backup, Damage, Finding, ItemCheck, LocalBackend, Lost, Migration, OpenOptions,
    Repair, RepairOptions, Standing, Step, Unknown, Verification,
};
pub use memory::MemoryBackend;

use crate::error::{Error, ErrorKind, Result};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The most bytes of facts beside an item.
pub const MAX_FACTS_BYTES: usize = 256;

/// Whether a put may replace what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The key must not exist yet.
    Create,
    /// What is there, if anything, is replaced.
    Replace,
}

/// What an acknowledged batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A crash of the process and a power cut: the batch is on the medium. Batches of several
    /// threads share one sync.
    #[default]
    Synced,
    /// A crash of the process, because the operating system has the batch. A power cut, or a crash
    /// of the operating system, may take it together with all later ones that weren't synced; never
    /// a part of it, and never an earlier batch without it. It is on the medium after the next
    /// `Synced` batch, [`Backend::flush`], or closing, and at most 64 MiB wait for that.
    Written,
}

/// One change to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Store `bytes` and `facts` under `key`.
    Put {
        /// 1 to 512 bytes.
        key: Vec<u8>,
        /// The item.
        bytes: Vec<u8>,
        /// What listings return: at most 256 bytes.
        facts: Vec<u8>,
        /// Whether an item may be there already.
        mode: Mode,
    },
    /// Remove the item under `key`.
    Delete {
        /// The key of an item that exists.
        key: Vec<u8>,
    },
}

impl Operation {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Operation::Put { key, .. } | Operation::Delete { key } => key,
        }
    }

    fn check_sizes(&self) -> Result<()> {
        let key = self.key().len();
        if !(1..=MAX_KEY_BYTES).contains(&key) {
            return Err(Error::invalid(format!(
                "a key of {key} bytes: 1 to {MAX_KEY_BYTES} are allowed"
            )));
        }
        match self {
            Operation::Put { facts, .. } if facts.len() > MAX_FACTS_BYTES => {
                Err(Error::invalid(format!(
                    "facts of {} bytes: at most {MAX_FACTS_BYTES} are allowed",
                    facts.len()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// An item as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What was put.
    pub bytes: Vec<u8>,
    /// Bytes it takes where it lies, framing included.
    pub stored_bytes: u64,
}

/// What a scan says of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its facts.
    pub facts: Vec<u8>,
    /// Bytes it takes where it lies, framing included.
    pub stored_bytes: u64,
}

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compaction {
    /// Files that were rewritten.
    pub files: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Bytes of what is in their place.
    pub bytes_after: u64,
}

/// Entries in the order of their keys.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<Entry>> + Send + 'a>;

/// A keyed home of bytes. The module's documentation is its contract.
pub trait Backend: Send + Sync {
    /// The item under `key`, if there is one.
    ///
    /// # Errors
    /// `Corrupted` if the stored bytes fail their checksum, `Io` if they can't be read.
    fn get(&self, key: &[u8]) -> Result<Option<Item>>;

    /// Hands the bytes of the item under `key` to `read`, where a backend can without a copy of their
    /// own; returns the bytes it takes where it lies, or `None`, without a call, if there is no item.
    ///
    /// # Errors
    /// As [`get`](Self::get); `read` isn't called then.
    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<Option<u64>> {
        let item = self.get(key)?;
        Ok(item.map(|item| {
            read(&item.bytes);
            item.stored_bytes
        }))
    }

    /// What a scan would say of `key`, if it exists, without reading the item.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;

    /// Applies all of `batch` or nothing.
    ///
    /// # Errors
    /// `AlreadyExists` and `NotFound` as the contract says; `InvalidInput` for sizes; `ReadOnly`,
    /// `Poisoned`, `Full` and `Io`.
    fn apply(&self, batch: Vec<Operation>, durability: Durability) -> Result<()>;

    /// Makes durable what was applied as [`Durability::Written`].
    ///
    /// # Errors
    /// `Poisoned`, `Full` and `Io`.
    fn flush(&self) -> Result<()>;

    /// Gives back the space of what was replaced and deleted, where it is worth it. `progress` gets
    /// the bytes looked through so far and those that will be.
    ///
    /// # Errors
    /// `ReadOnly`; `Corrupted` at the first damaged item, which stays as it is; `Full` if there is
    /// no room for the copy; `Poisoned` and `Io`.
    fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Compaction>;

    /// The entries whose keys begin with `prefix` and are not less than `from`.
    fn scan(&self, prefix: &[u8], from: &[u8]) -> Entries<'_>;

    /// Lets a reader beside a writer see what was written since it opened or last refreshed.
    ///
    /// # Errors
    /// `Corrupted` and `Io`, as on opening.
    fn refresh(&self) -> Result<()>;

    /// A property that was given when the backend was made.
    fn property(&self, name: &str) -> Option<String>;

    /// Bytes taken in all, what was replaced or deleted included.
    ///
    /// # Errors
    /// `Io` if sizes can't be asked for.
    fn disk_bytes(&self) -> Result<u64>;
}

/// Checks a batch against what exists, the batch's own earlier operations included.
pub(crate) fn check_batch(
    batch: &[Operation],
    exists: impl Fn(&[u8]) -> Result<bool>,
) -> Result<()> {
    let mut changed = std::collections::HashMap::new();
    for operation in batch {
        operation.check_sizes()?;
        let key = operation.key();
        let there = || match changed.get(key) {
            Some(&there) => Ok(there),
            None => exists(key),
        };
        let text = || String::from_utf8_lossy(key).into_owned();
        match operation {
            Operation::Put {
                mode: Mode::Create, ..
            } if there()? => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("`{}` exists already", text()),
                ));
            }
            Operation::Delete { .. } if !there()? => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("there is no `{}`", text()),
                ));
            }
            Operation::Put { .. } => changed.insert(key, true),
            Operation::Delete { .. } => changed.insert(key, false),
        };
    }
    Ok(())
}
