//! A tar as a stream of named files, in and out.
//!
//! Invariant: what is read has the length that its header declares and at most what the reader allows, and the
//! stream is read to its end; one that ends before the archive's end mark, or goes on after it, is an error.
//!
//! Of the crate `tar` only the header is used. Its `Builder` writes the end mark when it is dropped, so that an
//! archive which broke off would look whole; its `Archive` takes the end of the stream for the end of the archive,
//! and reads long names of any size into memory.

use std::io::{ErrorKind as Io, Read, Seek, Write};

use tar::{EntryType, Header, PaxExtensions};

use crate::error::{Error, ErrorKind, Result};

const BLOCK: usize = 512;

/// The longest entry that says the name of another one. An encoded id has at most 1.6 KB; other programs keep
/// attributes of files beside the name.
const MAX_NAME_ENTRY: u64 = 1 << 20;

/// The first point in time, in seconds, that a header's octal digits can't say.
const END_OF_TIME: u64 = 1 << 33;

/// Writes files into a tar.
pub(crate) struct EntryWriter<W> {
    out: W,
}

impl<W: Write> EntryWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a file. `name` is ASCII, `seconds` its time since 1970-01-01 UTC.
    pub(crate) fn append(&mut self, name: &str, seconds: u64, data: &[u8]) -> Result<()> {
        let mut header = Header::new_ustar();
        if header.set_path(name).is_err() {
            // Too long for the header's two fields: a file of its own says it, as GNU tar does.
            let mut long = Header::new_gnu();
            fill(&mut long, EntryType::GNULongName, 0);
            let mark = b"././@LongLink";
            long.as_old_mut().name[..mark.len()].copy_from_slice(mark);
            self.put(long, &[name.as_bytes(), b"\0"].concat())?;

            header = Header::new_ustar();
            let short = &mut header.as_old_mut().name;
            let length = short.len().min(name.len());
            short[..length].copy_from_slice(&name.as_bytes()[..length]);
        }
        let seconds = if seconds < END_OF_TIME { seconds } else { 0 };
        fill(&mut header, EntryType::Regular, seconds);
        self.put(header, data)
    }

    fn put(&mut self, mut header: Header, data: &[u8]) -> Result<()> {
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(data)?;
        self.write(&[0; BLOCK][..padding(data.len() as u64)])
    }

    /// Writes the end mark. Without it the archive counts as cut off.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(cant_write)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(cant_write)
    }
}

fn fill(header: &mut Header, entry_type: EntryType, seconds: u64) {
    header.set_entry_type(entry_type);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(seconds);
}

fn cant_write(error: std::io::Error) -> Error {
    Error::stream("write the archive", error)
}

/// Bytes between the end of a file of `size` bytes and the next header.
fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

/// What the archive says of a file before its bytes.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Why it can't be read, such as "is a hard link". Only the tars of other programs have such.
    pub(crate) refusal: Option<String>,
}

impl Entry {
    /// An error if it can't be read.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.refusal {
            Some(how) => Err(refused(&self.name, how)),
            None => Ok(()),
        }
    }
}

/// Goes past so many bytes, and returns how many there were.
type Skip<R> = fn(&mut R, u64) -> std::io::Result<u64>;

/// Reads the files of a tar, one after the other.
pub(crate) struct EntryReader<R> {
    input: R,
    skip: Skip<R>,
    /// Name of the file that was read last, for messages.
    last: Option<String>,
    /// Whether other programs may have written it.
    foreign: bool,
}

impl<R: Read> EntryReader<R> {
    /// A reader of a tar in which only files are.
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            skip: |input, count| std::io::copy(&mut input.take(count), &mut std::io::sink()),
            last: None,
            foreign: false,
        }
    }

    /// A reader of a tar that other programs wrote: folders are passed over, and what else is no file is refused by
    /// itself.
    pub(crate) fn foreign(input: R) -> Self {
        Self {
            foreign: true,
            ..Self::new(input)
        }
    }

    /// As [`foreign`](Self::foreign), of a tar in which bytes that nobody wants are passed over without being read.
    pub(crate) fn foreign_in_file(input: R) -> Self
    where
        R: Seek,
    {
        let skip = |input: &mut R, count: u64| {
            // That the file ends before shows when the next header is read.
            let ahead = i64::try_from(count).map_err(std::io::Error::other)?;
            input.seek_relative(ahead).map(|()| count)
        };
        Self {
            skip,
            ..Self::foreign(input)
        }
    }

    /// The next file, whose bytes must be read before the one after it; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut long_name: Option<String> = None;
        loop {
            let Some(header) = self.header()? else {
                return match long_name {
                    None => self.check_end().map(|()| None),
                    Some(name) => Err(refused(&name, "has a name and no content")),
                };
            };
            let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let size = header
                .entry_size()
                .map_err(|e| refused(&name, "has a size that is no number").with_source(e))?;
            let header_alone = stands_alone(header.entry_type());
            // What would overflow when it is rounded up to blocks.
            if size > u64::MAX - BLOCK as u64 {
                return Err(too_large(&name, size, u64::MAX - BLOCK as u64));
            }
            let mut entry = Entry {
                name,
                size: if header_alone { 0 } else { size },
                refusal: None,
            };
            match header.entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    entry.name = long_name.unwrap_or(entry.name);
                    if entry.name.contains(char::REPLACEMENT_CHARACTER) {
                        return self.refuse(entry, "has a name that is no UTF-8".into());
                    }
                    return Ok(Some(entry));
                }
                EntryType::GNULongName => {
                    let name = self.read(&entry, MAX_NAME_ENTRY)?;
                    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                    long_name = Some(String::from_utf8_lossy(name).into_owned());
                }
                EntryType::XHeader => {
                    let records = self.read(&entry, MAX_NAME_ENTRY)?;
                    long_name = pax_path(&entry.name, &records)?.or(long_name);
                }
                EntryType::Directory if self.foreign => {
                    self.pass(&entry)?;
                    long_name = None;
                }
                EntryType::XGlobalHeader | EntryType::GNULongLink if self.foreign => {
                    self.pass(&entry)?;
                }
                other => {
                    entry.name = long_name.unwrap_or(entry.name);
                    let how = format!("is {}: only regular files may be in it", describe(other));
                    return self.refuse(entry, how);
                }
            }
        }
    }

    /// In a tar of other programs a refusal is of that entry alone.
    fn refuse(&self, mut entry: Entry, how: String) -> Result<Option<Entry>> {
        entry.refusal = Some(how);
        if !self.foreign {
            entry.check()?;
        }
        Ok(Some(entry))
    }

    /// Goes past the bytes of `entry`.
    pub(crate) fn pass(&mut self, entry: &Entry) -> Result<()> {
        let passed = (self.skip)(&mut self.input, entry.size).map_err(cant_read)?;
        self.ended(entry, passed)
    }

    /// The bytes of `entry`. Memory is taken as bytes arrive, whatever the entry declares.
    pub(crate) fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>> {
        entry.check()?;
        if entry.size > limit {
            return Err(too_large(&entry.name, entry.size, limit));
        }
        let mut bytes = Vec::new();
        let mut input = (&mut self.input).take(entry.size);
        input.read_to_end(&mut bytes).map_err(cant_read)?;
        self.ended(entry, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Goes past what fills the last block of `entry`, of which `count` bytes could be read.
    fn ended(&mut self, entry: &Entry, count: u64) -> Result<()> {
        if count != entry.size {
            return Err(Error::corrupted(format!(
                "the archive ends early: the entry `{}` has {count} of {} bytes",
                entry.name.escape_debug(),
                entry.size
            )));
        }
        self.last = Some(entry.name.clone());
        self.fill(&mut [0; BLOCK][..padding(entry.size)])
    }

    /// The next header; `None` if it is the first half of the end mark.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        self.fill(header.as_mut_bytes())?;
        if header.as_bytes() == &[0; BLOCK] {
            return Ok(None);
        }
        let mut right = header.clone();
        right.set_cksum();
        if header.cksum().ok() != right.cksum().ok() {
            return Err(match &self.last {
                Some(last) => Error::corrupted(format!(
                    "what follows the entry `{}` of the archive is no header of an entry",
                    last.escape_debug()
                )),
                None => Error::invalid("the bytes are no tar archive"),
            });
        }
        Ok(Some(header))
    }

    /// Reads the second half of the end mark, and what pads the archive to a larger block.
    fn check_end(&mut self) -> Result<()> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        loop {
            if block != [0; BLOCK] {
                return Err(Error::invalid(
                    "the archive goes on after its end mark: only one archive can be read at a time",
                ));
            }
            match self.input.read(&mut block) {
                Ok(0) => return Ok(()),
                // What was read before is zero.
                Ok(_) => {}
                Err(error) if error.kind() == Io::Interrupted => {}
                Err(error) => return Err(cant_read(error)),
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        let filled = self.input.read_exact(buffer);
        filled.map_err(|error| match (error.kind(), &self.last) {
            (Io::UnexpectedEof, Some(last)) => Error::corrupted(format!(
                "the archive ends early, after the entry `{}`",
                last.escape_debug()
            )),
            (Io::UnexpectedEof, None) => {
                Error::corrupted("the archive ends early, before its first entry")
            }
            _ => cant_read(error),
        })
    }
}

/// Whether no bytes follow a header, whatever size it declares: some programs give a link that of what it leads to.
fn stands_alone(entry_type: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    matches!(entry_type, Link | Symlink | Directory | Char | Block | Fifo)
}

/// The path that pax records give to the next entry.
fn pax_path(name: &str, records: &[u8]) -> Result<Option<String>> {
    let mut path = None;
    for record in PaxExtensions::new(records) {
        let record =
            record.map_err(|e| refused(name, "has a malformed pax record").with_source(e))?;
        match record.key_bytes() {
            b"path" => path = Some(String::from_utf8_lossy(record.value_bytes()).into_owned()),
            // It would override the header's; only files of 8 GiB and more need it.
            b"size" => return Err(refused(name, "gives a size by a pax record")),
            _ => {}
        }
    }
    Ok(path)
}

fn describe(entry_type: EntryType) -> String {
    let known = match entry_type {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Directory => "a folder",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        other => {
            let byte = char::from(other.as_byte());
            return format!("of the type `{}`", byte.escape_debug());
        }
    };
    known.into()
}

/// The error about the entry `name`, as in "is a link".
pub(super) fn refused(name: &str, how: &str) -> Error {
    Error::invalid(format!(
        "the archive's entry `{}` {how}",
        name.escape_debug()
    ))
}

fn too_large(name: &str, size: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::LimitExceeded,
        format!(
            "the archive's entry `{}` declares {size} bytes, more than the {limit} allowed",
            name.escape_debug()
        ),
    )
}

fn cant_read(error: std::io::Error) -> Error {
    Error::stream("read the archive", error)
}
