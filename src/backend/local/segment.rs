//! A segment file: its header, and one frame of it at a known place.
//!
//! Invariant: a frame is returned only if its checksums fit this segment and this offset.
//! The header: magic "LDBS", version u16, reserved u16, length of the fields u32, fields, XXH3-64
//! of all before.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;

use twox_hash::XxHash3_64;

use super::disk::{Access, Medium, MediumFile};
use super::frame::{self, Head, HeadView};
use crate::error::{Error, ErrorKind, Result};
use crate::fields::{self, REQUIRED};

const MAGIC: [u8; 4] = *b"LDBS";
const VERSION: u16 = 1;
const PREFIX: usize = 12;
/// Fields of a header that is larger than this are not looked at.
const MAX_FIELDS: usize = 64 << 10;

const TAG_STORE: u16 = REQUIRED | 1;
const TAG_NUMBER: u16 = REQUIRED | 2;
const TAG_FIRST_SEQUENCE: u16 = REQUIRED | 3;
const TAG_COMPACTED: u16 = REQUIRED | 4;

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

/// What a segment says of itself before its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) store: StoreId,
    pub(super) number: u32,
    /// The first operation that the segment stands for.
    pub(super) first_sequence: u64,
    /// Present where compaction made the segment from others.
    pub(super) compacted: Option<Compacted>,
}

/// What a segment that compaction made knows from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compacted {
    /// The last operation that it stands for: what it doesn't hold of them is superseded.
    pub(super) last_sequence: u64,
    /// How many frames it holds.
    pub(super) frames: u64,
    /// Bytes of deletes that it had to keep because older segments hold what they delete.
    pub(super) retained: u64,
}

/// An open segment file whose header was checked.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) file: MediumFile,
    /// Where the first frame lies.
    pub(super) start: u64,
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

impl Header {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields::push(&mut fields, TAG_STORE, &self.store);
        fields::push(&mut fields, TAG_NUMBER, &self.number.to_le_bytes());
        let first = self.first_sequence.to_le_bytes();
        fields::push(&mut fields, TAG_FIRST_SEQUENCE, &first);
        if let Some(compacted) = self.compacted {
            let Compacted {
                last_sequence,
                frames,
                retained,
            } = compacted;
            let numbers = [last_sequence, frames, retained].map(u64::to_le_bytes);
            fields::push(&mut fields, TAG_COMPACTED, numbers.as_flattened());
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(fields.len() as u32).to_le_bytes());
        out.extend_from_slice(&fields);
        out.extend_from_slice(&XxHash3_64::oneshot(&out).to_le_bytes());
        out
    }

    /// What the checksums of a segment with this header begin with.
    pub(super) fn seed(self) -> u64 {
        let bytes = self.to_bytes();
        XxHash3_64::oneshot(&bytes[..bytes.len() - frame::CHECKSUM])
    }

    /// The header at the beginning of a file of `size` bytes, of which `bytes` are the first;
    /// `None` if it is damaged, an error if a newer version wrote it.
    pub(super) fn read(bytes: &[u8], name: &str) -> Result<Option<(Self, u64, u64)>> {
        let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [m0, m1, m2, m3, v0, v1, _, _, length @ ..] = *prefix;
        let end = PREFIX + u32::from_le_bytes(length) as usize;
        let checksum = bytes.get(end..).and_then(<[u8]>::first_chunk);
        let (true, Some(checksum)) = ([m0, m1, m2, m3] == MAGIC, checksum) else {
            return Ok(None);
        };
        let seed = XxHash3_64::oneshot(&bytes[..end]);
        if seed != u64::from_le_bytes(*checksum) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("{name} has version {version}, this program reads version {VERSION}"),
            ));
        }
        let (mut store, mut number, mut first) = (None, None, None);
        let mut compacted = None;
        for field in fields::iter(&bytes[PREFIX..end]) {
            match field? {
                (TAG_STORE, value) => store = Some(fields::array("store", value)?),
                (TAG_NUMBER, value) => number = Some(fields::u32s::<1>("number", value)?[0]),
                (TAG_FIRST_SEQUENCE, value) => {
                    let value = fields::array("first sequence number", value)?;
                    first = Some(u64::from_le_bytes(value));
                }
                (TAG_COMPACTED, value) => {
                    let bytes: [u8; 24] = fields::array("compacted", value)?;
                    let (numbers, _) = bytes.as_chunks::<8>();
                    compacted = Some(Compacted {
                        last_sequence: u64::from_le_bytes(numbers[0]),
                        frames: u64::from_le_bytes(numbers[1]),
                        retained: u64::from_le_bytes(numbers[2]),
                    });
                }
                (tag, _) if tag & REQUIRED != 0 => {
                    return Err(fields::unknown_required(name, tag));
                }
                _ => {}
            }
        }
        let (Some(store), Some(number), Some(first_sequence)) = (store, number, first) else {
            return Ok(None);
        };
        if first_sequence == 0
            || compacted.is_some_and(|c: Compacted| c.last_sequence < first_sequence)
        {
            return Ok(None);
        }
        let header = Self {
            store,
            number,
            first_sequence,
            compacted,
        };
        Ok(Some((header, seed, (end + frame::CHECKSUM) as u64)))
    }
}

/// More than a record should take.
const LARGE: u64 = 1 << 20;

thread_local! {
    /// What frames are read into whose bodies nobody keeps. Zeroed once, and not for each.
    static FRAME: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Segment {
    /// Creates an empty segment in `folder`, whole or not at all, and durable.
    pub(super) fn create(medium: &Medium, folder: &Path, header: Header) -> Result<Self> {
        let path = folder.join(file_name(header.number));
        medium.write_atomic(&path, &header.to_bytes())?;
        Self::open(medium.open(&path, Access::Write)?, header.number)
    }

    /// Checks that the header of `file` is whole and says `number`.
    pub(super) fn open(file: MediumFile, number: u32) -> Result<Self> {
        let name = file.path.display().to_string();
        let most = PREFIX + MAX_FIELDS + frame::CHECKSUM;
        let mut bytes = vec![0; file.len()?.min(256) as usize];
        file.read_at(&mut bytes, 0)?;
        // Today's headers fit the first 256 bytes; fields of later versions may not.
        let declared = bytes
            .first_chunk::<PREFIX>()
            .map_or(0, |p| u32::from_le_bytes([p[8], p[9], p[10], p[11]]));
        let whole = (PREFIX + frame::CHECKSUM).saturating_add(declared as usize);
        if whole > bytes.len() && whole <= most && file.len()? >= whole as u64 {
            bytes.resize(whole, 0);
            file.read_at(&mut bytes, 0)?;
        }
        let Some((header, seed, start)) = Header::read(&bytes, &name)? else {
            return Err(Error::corrupted(format!("the header of {name} is damaged")));
        };
        if header.number != number {
            return Err(Error::corrupted(format!(
                "{name} is segment {} under another name",
                header.number
            )));
        }
        Ok(Self {
            header,
            file,
            start,
            seed,
        })
    }

    /// A segment whose header can't be relied on, and is taken to have been `header`.
    pub(super) fn assumed(file: MediumFile, header: Header) -> Self {
        Self {
            header,
            file,
            start: header.to_bytes().len() as u64,
            seed: header.seed(),
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.header.number
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The seed of the checksums of a frame at `offset`.
    pub(super) fn seed_at(&self, offset: u64) -> u64 {
        self.seed.wrapping_add(offset)
    }

    /// Whether no frame was ever written to it.
    pub(super) fn is_empty(&self) -> Result<bool> {
        Ok(self.file.len()? == self.start)
    }

    /// Reads the frame at `location`, whose key must be `key`; returns where in it the body is.
    fn read_frame(
        &self,
        key: &[u8],
        location: &Location,
        frame: &mut Vec<u8>,
    ) -> Result<Range<usize>> {
        let damaged = |what: &str| {
            Error::corrupted(format!(
                "record `{}` is damaged: {what} at byte {} of {}",
                String::from_utf8_lossy(key),
                location.offset,
                self.path().display()
            ))
        };
        let end = location.offset.checked_add(location.frame_len);
        // Asked only where a wrong length would allocate more than a record should take.
        let large = location.frame_len > LARGE;
        if large && end.is_none_or(|end| self.file.len().is_ok_and(|size| end > size)) {
            return Err(damaged("the file ends inside the frame"));
        }
        frame.resize(location.frame_len as usize, 0);
        match self.file.read_at(frame, location.offset) {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                return Err(damaged("the file ends inside the frame"));
            }
            other => other?,
        }
        let seed = self.seed_at(location.offset);
        let head = HeadView::read(seed, frame)
            .filter(|head| head.frame_len() == Some(location.frame_len))
            .ok_or_else(|| damaged("the frame's head fails its checksum"))?;
        if head.key != key || head.sequence != location.sequence {
            return Err(damaged("another frame lies"));
        }
        let start = head.len();
        let body = frame::checked_body(seed, &frame[start..]);
        let body = body.ok_or_else(|| damaged("the frame's body fails its checksum"))?;
        Ok(start..start + body.len())
    }

    /// The body of the frame at `location`, whose key must be `key`.
    pub(super) fn read_body(&self, key: &[u8], location: &Location) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        let body = self.read_frame(key, location, &mut frame)?;
        // The body is moved to the front in place: one allocation a read.
        frame.truncate(body.end);
        frame.drain(..body.start);
        Ok(frame)
    }

    /// The same body, handed to `read` without an allocation.
    pub(super) fn read_body_with(
        &self,
        key: &[u8],
        location: &Location,
        read: impl FnOnce(&[u8]),
    ) -> Result<()> {
        // Taken, because `read` may read another one.
        let mut frame = FRAME.take();
        let body = self.read_frame(key, location, &mut frame);
        let done = body.map(|body| read(&frame[body]));
        if frame.capacity() as u64 <= LARGE {
            FRAME.set(frame);
        }
        done
    }

    /// Whether the body of the frame with `head` at `offset` is the one that was written.
    pub(super) fn body_is_valid(&self, head: &Head, offset: u64) -> Result<bool> {
        let mut bytes = vec![0; head.body_len as usize + frame::CHECKSUM];
        self.file.read_at(&mut bytes, offset + head.len())?;
        Ok(frame::checked_body(self.seed_at(offset), &bytes).is_some())
    }
}
