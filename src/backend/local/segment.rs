//! A segment file: its header, and its frames read one after the other or at a known place.
//!
//! Invariant: a frame is returned only if its checksums fit this segment and this offset.
//! The header: magic "LDBS", version u16, reserved u16, length of the fields u32, fields, XXH3-64
//! of all before.

use std::fs::File;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use super::frame::{self, Head};
use crate::error::{Error, ErrorKind, Result};
use crate::fields::{self, REQUIRED};
use crate::fs;

const MAGIC: [u8; 4] = *b"LDBS";
const VERSION: u16 = 1;
const PREFIX: usize = 12;
/// Fields of a header that is larger than this are not looked at.
const MAX_FIELDS: usize = 64 << 10;

const TAG_STORE: u16 = REQUIRED | 1;
const TAG_NUMBER: u16 = REQUIRED | 2;
const TAG_FIRST_SEQUENCE: u16 = REQUIRED | 3;

/// Identifies a store: every segment names it.
pub(super) type StoreId = [u8; 16];

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) frame_len: u64,
    pub(super) sequence: u64,
}

/// An open segment file whose header was checked.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) store: StoreId,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Where the first frame lies.
    pub(super) start: u64,
    pub(super) first_sequence: u64,
    seed: u64,
}

/// The name of a segment's file.
pub(super) fn file_name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// The number in a segment's file name, for names exactly as [`file_name`] makes them.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Creates the segment `number`, empty and durable, in `folder`.
pub(super) fn create(folder: &Path, store: StoreId, number: u32, first: u64) -> Result<Segment> {
    let mut header_fields = Vec::new();
    fields::push(&mut header_fields, TAG_STORE, &store);
    fields::push(&mut header_fields, TAG_NUMBER, &number.to_le_bytes());
    fields::push(&mut header_fields, TAG_FIRST_SEQUENCE, &first.to_le_bytes());
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 2]);
    header.extend_from_slice(&(header_fields.len() as u32).to_le_bytes());
    header.extend_from_slice(&header_fields);
    let checksum = XxHash3_64::oneshot(&header);
    header.extend_from_slice(&checksum.to_le_bytes());

    // Whole or not at all: a segment that exists has a valid header.
    let path = folder.join(file_name(number));
    fs::write_atomic(&path, &header)?;
    Segment::open(path, number, fs::open_writable)
}

impl Segment {
    /// Opens a segment and checks that its header is whole and says `number`.
    pub(super) fn open(
        path: PathBuf,
        number: u32,
        open: impl Fn(&Path) -> Result<File>,
    ) -> Result<Self> {
        let file = open(&path)?;
        let damaged = || Error::corrupted(format!("the header of {} is damaged", path.display()));
        let size = fs::len(&file, &path)?;
        let mut prefix = [0; PREFIX];
        if size < PREFIX as u64 {
            return Err(damaged());
        }
        fs::read_exact_at(&file, &path, &mut prefix, 0)?;
        let [m0, m1, m2, m3, v0, v1, _, _, length @ ..] = prefix;
        let length = u32::from_le_bytes(length) as usize;
        let whole = PREFIX + length + frame::CHECKSUM;
        if [m0, m1, m2, m3] != MAGIC || length > MAX_FIELDS || (whole as u64) > size {
            return Err(damaged());
        }
        let mut header = vec![0; whole];
        fs::read_exact_at(&file, &path, &mut header, 0)?;
        let (content, checksum) = header.split_at(PREFIX + length);
        let seed = XxHash3_64::oneshot(content);
        if seed.to_le_bytes() != checksum {
            return Err(damaged());
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!(
                    "{} has version {version}, this program reads version {VERSION}",
                    path.display()
                ),
            ));
        }
        let (mut store, mut said, mut first) = (None, None, None);
        for field in fields::iter(&content[PREFIX..]) {
            match field? {
                (TAG_STORE, value) => store = Some(fields::array("store", value)?),
                (TAG_NUMBER, value) => said = Some(fields::u32s::<1>("number", value)?),
                (TAG_FIRST_SEQUENCE, value) => {
                    let value = fields::array("first sequence number", value)?;
                    first = Some(u64::from_le_bytes(value));
                }
                (tag, _) if tag & REQUIRED != 0 => {
                    return Err(fields::unknown_required(&path.display().to_string(), tag));
                }
                _ => {}
            }
        }
        let (Some(store), Some([said]), Some(first_sequence)) = (store, said, first) else {
            return Err(damaged());
        };
        if said != number {
            return Err(Error::corrupted(format!(
                "{} is segment {said} under another name",
                path.display()
            )));
        }
        Ok(Self {
            number,
            store,
            file,
            start: whole as u64,
            first_sequence,
            seed,
            path,
        })
    }

    /// The seed of the checksums of a frame at `offset`.
    pub(super) fn seed_at(&self, offset: u64) -> u64 {
        self.seed.wrapping_add(offset)
    }

    /// Whether no frame was ever written to it.
    pub(super) fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == self.start)
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> Result<u64> {
        fs::len(&self.file, &self.path)
    }

    /// The body of the frame at `location`, whose key must be `key`.
    pub(super) fn read_body(&self, key: &[u8], location: &Location) -> Result<Vec<u8>> {
        let damaged = |what: &str| {
            Error::corrupted(format!(
                "record `{}` is damaged: {what} at byte {} of {}",
                String::from_utf8_lossy(key),
                location.offset,
                self.path.display()
            ))
        };
        let end = location.offset.checked_add(location.frame_len);
        if end.is_none_or(|end| self.len().is_ok_and(|size| end > size)) {
            return Err(damaged("the file ends before the frame"));
        }
        let mut bytes = vec![0; location.frame_len as usize];
        fs::read_exact_at(&self.file, &self.path, &mut bytes, location.offset)?;
        let seed = self.seed_at(location.offset);
        let head = Head::read(seed, &bytes)
            .filter(|head| head.frame_len() == Some(location.frame_len))
            .ok_or_else(|| damaged("the frame's head fails its checksum"))?;
        if head.key != key || head.sequence != location.sequence {
            return Err(damaged("another frame lies"));
        }
        let body = frame::checked_body(seed, &bytes[head.len() as usize..]);
        let length = body
            .ok_or_else(|| damaged("the frame's body fails its checksum"))?
            .len();
        // The body is moved to the front in place: one allocation a read.
        bytes.drain(..head.len() as usize);
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether the body of the frame with `head` at `offset` is the one that was written.
    pub(super) fn body_is_valid(&self, head: &Head, offset: u64) -> Result<bool> {
        let mut bytes = vec![0; head.body_len as usize + frame::CHECKSUM];
        fs::read_exact_at(&self.file, &self.path, &mut bytes, offset + head.len())?;
        Ok(frame::checked_body(self.seed_at(offset), &bytes).is_some())
    }
}

/// Walks over the heads of a segment's frames from `offset` to `end`, which is at most the file's
/// length; stops at the first place where no frame lies that fits before `end`.
pub(super) struct Heads<'a> {
    segment: &'a Segment,
    /// Where the next frame would lie; after the last one, where it ends.
    pub(super) offset: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl<'a> Heads<'a> {
    /// Bytes read at once: several small records, and little beside the head of a large one.
    const READ: usize = 8 << 10;

    pub(super) fn new(segment: &'a Segment, offset: u64, end: u64) -> Self {
        Self {
            segment,
            offset,
            end,
            buffer: Vec::new(),
            buffer_start: offset,
        }
    }

    pub(super) fn segment(&self) -> &'a Segment {
        self.segment
    }

    /// The next frame's head and offset.
    pub(super) fn next(&mut self) -> Result<Option<(Head, u64)>> {
        let offset = self.offset;
        let seed = self.segment.seed_at(offset);
        let Some(head) = Head::read(seed, self.bytes_at(offset)?) else {
            return Ok(None);
        };
        let end = head
            .frame_len()
            .and_then(|length| offset.checked_add(length));
        let Some(end) = end.filter(|&end| end <= self.end) else {
            return Ok(None);
        };
        self.offset = end;
        Ok(Some((head, offset)))
    }

    /// Whether a frame of a batch after `batch` lies at some byte from `from` on.
    pub(super) fn any_after(&mut self, from: u64, batch: u64) -> Result<bool> {
        for offset in from..self.end {
            let seed = self.segment.seed_at(offset);
            let bytes = self.bytes_at(offset)?;
            // Comparing the magic first: a checksum at every byte would take minutes.
            if bytes.starts_with(&frame::MAGIC)
                && Head::read(seed, bytes).is_some_and(|head| head.batch() > batch)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The bytes from `offset` on: enough for any head, or all that are left.
    fn bytes_at(&mut self, offset: u64) -> Result<&[u8]> {
        let left = self.end.saturating_sub(offset);
        let wanted = left.min(frame::MAX_HEAD as u64);
        let buffered = self.buffer_start + self.buffer.len() as u64;
        if offset < self.buffer_start || offset + wanted > buffered {
            self.buffer.resize(left.min(Self::READ as u64) as usize, 0);
            self.buffer_start = offset;
            let segment = self.segment;
            fs::read_exact_at(&segment.file, &segment.path, &mut self.buffer, offset)?;
        }
        Ok(&self.buffer[(offset - self.buffer_start) as usize..])
    }
}
