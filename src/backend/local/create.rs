//! Making a store: an empty first segment, and then the file that makes a folder a store.
//!
//! Invariant: nothing that is in a folder already is touched; a making that was cut short can be
//! taken up again.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::{Access, Medium};
use super::segment::{self, Header, Segment};
use super::store_file::{self, StoreFile};
use super::{LOCK, LocalBackend, SEGMENTS, disk, take_lock};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

impl LocalBackend {
    /// Makes an empty store at `path`, which must not exist or be an empty folder.
    ///
    /// # Errors
    /// `StoreExists`; `InvalidInput` if something else is there; `Locked` if another process is just
    /// making one; `Io`.
    pub fn create(path: &Path) -> Result<()> {
        Self::create_with(path, BTreeMap::new())
    }

    /// Like [`create`](Self::create), with properties that layers above keep about the store.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_with(path: &Path, properties: BTreeMap<String, String>) -> Result<()> {
        Self::create_on(&Medium::system(), path, properties)
    }

    pub(super) fn create_on(
        medium: &Medium,
        path: &Path,
        properties: BTreeMap<String, String>,
    ) -> Result<()> {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(Error::invalid(format!(
                    "{} is a file, and a store is a folder",
                    path.display()
                )));
            }
            Ok(_) => check_vacant(medium, path)?,
            Err(_) => fs::create_dir_all(path)?,
        }
        // Two processes that make one store at once would mix their segments.
        let _lock = take_lock(&path.join(LOCK))?;
        check_vacant(medium, path)?;
        for left in medium.unfinished(path, store_file::NAME)? {
            medium.remove(&left)?;
        }
        let segments = path.join(SEGMENTS);
        medium.create_dir(&segments)?;
        let file = StoreFile::new(properties);
        let header = Header {
            store: file.id().expect("a new store has a valid id"),
            number: 1,
            first_sequence: 1,
            compacted: None,
        };
        Segment::create(medium, &segments, header)?;
        file.write(medium, path)
    }
}

/// Refuses a folder that holds anything but what an interrupted making of a store leaves.
fn check_vacant(medium: &Medium, path: &Path) -> Result<()> {
    let names = medium.names(path)?;
    if names.iter().any(|name| name == store_file::NAME) {
        return Err(Error::new(
            ErrorKind::StoreExists,
            format!("{} is a store already", path.display()),
        ));
    }
    let mut unfinished = names
        .iter()
        .all(|n| n == LOCK || n == SEGMENTS || disk::is_unfinished(n, store_file::NAME));
    if unfinished && names.iter().any(|name| name == SEGMENTS) {
        let segments = path.join(SEGMENTS);
        // A first segment without a frame is all that can be there.
        for name in medium.names(&segments)? {
            let open = || {
                let file = medium.open(&segments.join(&name), Access::Read)?;
                Segment::open(file, 1)?.is_empty()
            };
            let first = segment::file_name(1);
            unfinished &=
                disk::is_unfinished(&name, &first) || (name == first && open().unwrap_or(false));
        }
    }
    if unfinished {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} is no store and not empty",
        path.display()
    )))
}
