//! The images in a tar: a WebDataset shard, or any other.
//!
//! Invariant: a member is read only if its ending names an image format and its length passes the limit; a tar that
//! is cut or damaged ends with a failure that says behind which member.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::gather::{Found, ending, relative};
use super::input::{Input, Origin, Place, cant_read, check_length};
use crate::archive::EntryReader;
use crate::error::{Error, Result};
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
        match File::open(path) {
            Ok(file) => {
                let members = EntryReader::foreign_in_file(BufReader::new(file));
                self.each(members, wanted, each)
            }
            Err(error) => each(Found::Failed(self.origin(None), cant_read(path, error))),
        }
    }

    /// As [`of_file`](Self::of_file), of a tar that comes as a stream.
    pub(super) fn of_stream(
        &self,
        stream: impl Read,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.each(EntryReader::foreign(stream), wanted, each)
    }

    fn origin(&self, member: Option<&str>) -> Origin {
        Origin {
            path: self.archive.to_path_buf(),
            member: member.map(str::to_owned),
        }
    }

    fn each(
        &self,
        mut members: EntryReader<impl Read>,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        loop {
            match self.next(&mut members, wanted) {
                Ok(Some(found)) => each(found)?,
                Ok(None) => return ControlFlow::Continue(()),
                // Where the next member begins isn't known any more.
                Err(error) => {
                    let message = format!("can't read {} to its end", self.archive.display());
                    let error = Error::new(error.kind(), message).with_source(error);
                    return each(Found::Failed(self.origin(None), error));
                }
            }
        }
    }

    /// The next member that is `wanted` or is to be told of.
    fn next(
        &self,
        members: &mut EntryReader<impl Read>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Option<Found>> {
        while let Some(member) = members.next()? {
            let path = Path::new(&member.name);
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || ImageFormat::from_path(path).is_err() {
                members.pass(&member)?;
                return Ok(Some(Found::Ignored(ending(path))));
            }
            let name = relative(path)?;
            if !wanted(&name) {
                members.pass(&member)?;
                continue;
            }
            let origin = self.origin(Some(&member.name));
            let checked = member.check().and_then(|()| match self.limit {
                0 => Ok(()),
                limit => check_length(&origin.to_string(), member.size, limit),
            });
            if let Err(error) = checked {
                members.pass(&member)?;
                return Ok(Some(Found::Failed(origin, error)));
            }
            let bytes = match self.limit {
                0 => members.pass(&member).map(|()| Vec::new()),
                limit => members.read(&member, limit),
            }?;
            return Ok(Some(Found::Input(Input {
                place: Place::Member {
                    archive: self.archive.to_path_buf(),
                    name: name.clone(),
                    bytes,
                },
                path: name,
                id: None,
                again: false,
            })));
        }
        Ok(None)
    }
}
