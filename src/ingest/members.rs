//! The images in a tar: a WebDataset shard, or any other.
//!
//! Invariant: a member is read only if its ending names an image format and its length passes the limit; what can't be
//! read ends the tar with a failure that names it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use tar::{Archive, Entries, EntryType};

use super::gather::{Found, ending, relative};
use super::input::{Input, Origin, Place, cant_read, check_length};
use crate::image_io::ImageFormat;

/// A tar's header is as long.
pub(super) const BLOCK: u64 = 512;

/// Whether these bytes are the beginning of a tar (POSIX.1-1988, the magic of the header's `ustar` form).
pub(super) fn is_tar(beginning: &[u8]) -> bool {
    beginning.get(257..262) == Some(b"ustar")
}

/// A tar whose members are wanted.
pub(super) struct Members<'a> {
    pub(super) archive: &'a Path,
    /// The most bytes of a member; 0 reads none.
    pub(super) limit: u64,
}

impl Members<'_> {
    /// Hands the members of the tar at `path` that are images and `wanted` to `each`; others are passed over without
    /// being read.
    pub(super) fn of_file(
        &self,
        path: &Path,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return each(self.failed(error)),
        };
        let mut tar = Archive::new(BufReader::new(file));
        self.each(tar.entries_with_seek(), wanted, each)
    }

    /// As [`of_file`](Self::of_file), of a tar that comes as a stream.
    pub(super) fn of_stream(
        &self,
        stream: impl Read,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut tar = Archive::new(stream);
        self.each(tar.entries(), wanted, each)
    }

    /// The end of the tar.
    fn failed(&self, error: std::io::Error) -> Found {
        let origin = Origin {
            path: self.archive.to_path_buf(),
            member: None,
        };
        Found::Failed(origin, cant_read(self.archive, error))
    }

    fn each(
        &self,
        entries: std::io::Result<Entries<'_, impl Read>>,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return each(self.failed(error)),
        };
        for entry in entries {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => return each(self.failed(error)),
            };
            if !matches!(
                entry.header().entry_type(),
                EntryType::Regular | EntryType::Continuous
            ) {
                continue;
            }
            let path = match entry.path() {
                Ok(path) => path.into_owned(),
                Err(error) => return each(self.failed(error)),
            };
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || ImageFormat::from_path(&path).is_err() {
                each(Found::Ignored(ending(&path)))?;
                continue;
            }
            let origin = || Origin {
                path: self.archive.to_path_buf(),
                member: Some(path.to_string_lossy().into_owned()),
            };
            let name = match relative(&path) {
                Ok(name) => name,
                Err(error) => {
                    each(Found::Failed(origin(), error))?;
                    continue;
                }
            };
            if !wanted(&name) {
                continue;
            }
            let mut bytes = Vec::new();
            if self.limit > 0 {
                if let Err(error) = check_length(&origin().to_string(), entry.size(), self.limit) {
                    each(Found::Failed(origin(), error))?;
                    continue;
                }
                match entry.read_to_end(&mut bytes) {
                    Ok(length) if length as u64 == entry.size() => {}
                    Ok(_) => return each(self.failed(std::io::ErrorKind::UnexpectedEof.into())),
                    Err(error) => return each(self.failed(error)),
                }
            }
            each(Found::Input(Input {
                place: Place::Member {
                    archive: self.archive.to_path_buf(),
                    name: name.clone(),
                    bytes,
                },
                path: name,
                id: None,
                again: false,
            }))?;
        }
        ControlFlow::Continue(())
    }
}
