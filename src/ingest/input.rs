//! One image that may come into a store: where its bytes are, and what ids are made of.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::record::RecordId;
use crate::store::Store;

/// One image that may come into a store.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) place: Place,
    /// What ids are made of: relative, with `/` between folders.
    pub(super) path: String,
    /// The id, where it was told and isn't made.
    pub(super) id: Option<RecordId>,
    /// Whether the record that has the id says how the image is prepared, and keeps what it says of it.
    pub(super) again: bool,
}

#[derive(Debug)]
pub(super) enum Place {
    File(PathBuf),
    /// A member of a tar, whose bytes can only be had in passing.
    Member {
        archive: PathBuf,
        name: String,
        bytes: Vec<u8>,
    },
    /// What the record with the input's id keeps of its image, a file of this name.
    Kept(String),
}

impl Input {
    /// Where the image is, in a form that a list of inputs may have: see [`Inputs::list`](super::Inputs::list).
    pub(super) fn origin(&self) -> Origin {
        let (path, member) = match &self.place {
            Place::File(path) => (path, None),
            Place::Member { archive, name, .. } => (archive, Some(name.clone())),
            Place::Kept(name) => (&PathBuf::from(name), None),
        };
        Origin {
            path: path.clone(),
            member,
        }
    }

    /// The bytes of the file, if they are at most `limit`; `store` is that of the records.
    pub(super) fn read(&mut self, store: &Store, limit: u64) -> Result<Vec<u8>> {
        match &mut self.place {
            Place::Kept(name) => {
                let gone = || {
                    Error::new(
                        ErrorKind::NotFound,
                        format!("`{name}` is not kept any more"),
                    )
                };
                let record = store.get(self.id.as_ref().ok_or_else(gone)?)?;
                record.original.ok_or_else(gone)
            }
            Place::Member { bytes, .. } => Ok(std::mem::take(bytes)),
            Place::File(path) => {
                let metadata = std::fs::metadata(&*path).map_err(|e| cant_read(path, e))?;
                check_length(&path.display().to_string(), metadata.len(), limit)?;
                crate::fs::read_file(path)
            }
        }
    }
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The image's file, or the tar it lies in.
    pub path: PathBuf,
    /// Its name in the tar.
    pub member: Option<String>,
}

impl std::fmt::Display for Origin {
    /// `shard.tar: 0001.jpg` is a member of a tar.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.member {
            Some(member) => write!(f, ": {member}"),
            None => Ok(()),
        }
    }
}

pub(super) fn cant_read(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("can't read {}", path.display())).with_source(error)
}

/// Refuses a file that is longer than any image that could be decoded.
pub(super) fn check_length(name: &str, bytes: u64, limit: u64) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!("{name} has {bytes} bytes, more than the limit of {limit}"),
    ))
}
