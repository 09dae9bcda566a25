//! Looking through a whole store for damage, without changing it.
//!
//! Invariant: nothing is written or locked and the index isn't looked at, so a store that can't be
//! opened, or that somebody else writes to, is looked through as well. A place that is damaged
//! hides nothing that lies behind it.

mod blocks;
mod files;
mod header;
mod judge;
pub(super) mod survey;
mod sweep;

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use super::LocalBackend;
use super::disk::Medium;
use crate::error::Result;
use survey::Survey;

/// Asked about the key, the facts and the bytes of every item whose checksums fit; an error says what
/// is wrong with it. `UnsupportedVersion` says nothing of that kind: such an item counts as whole.
pub type ItemCheck<'a> = dyn FnMut(&[u8], &[u8], &[u8]) -> Result<()> + 'a;

/// What a store was found to be.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Segments that were looked through.
    pub segments: u64,
    /// Frames (puts and deletes) whose checksums fit.
    pub frames: u64,
    /// Items that the store holds, those that are damaged or lost included.
    pub records: u64,
    /// How many of these are damaged or lost.
    pub damaged_records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is damaged, in the order of the log.
    pub findings: Vec<Finding>,
    /// What is worth knowing and no damage, as sentences.
    pub notes: Vec<String>,
}

impl Verification {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One place that is damaged.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of damage it is.
    pub damage: Damage,
    /// The file, as seen from the store's folder; the folder `segments` where a file is missing.
    pub file: PathBuf,
    /// The bytes of the file it is about, where it is about some.
    pub bytes: Option<Range<u64>>,
    /// Operations it touches whose keys are known.
    pub affected: Vec<Affected>,
    /// Numbers among which those of operations are that it touches and nothing names.
    pub unnamed: Option<RangeInclusive<u64>>,
    /// What is wrong, for people.
    pub what: String,
}

/// Kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Damage {
    /// `store.json` is missing or can't be understood.
    StoreFile,
    /// The file `closed` fails its checksum.
    Closed,
    /// The header of a segment.
    Header,
    /// Bytes in which frames should be and no valid one is.
    Frames,
    /// The body of a frame fails its checksum.
    Body,
    /// The bytes of an item are those that were written, and wrong all the same.
    Item,
    /// The footer of a segment fails a checksum or disagrees with the frames.
    Footer,
    /// Operations that no segment holds.
    Missing,
    /// A segment that doesn't belong where it lies.
    Misplaced,
    /// The operating system can't read the bytes.
    Unreadable,
    /// Bytes behind the end of a log that was closed in order.
    Tail,
}

impl Damage {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Damage::StoreFile => "store_file",
            Damage::Closed => "closed",
            Damage::Header => "header",
            Damage::Frames => "frames",
            Damage::Body => "body",
            Damage::Item => "item",
            Damage::Footer => "footer",
            Damage::Missing => "missing",
            Damage::Misplaced => "misplaced",
            Damage::Unreadable => "unreadable",
            Damage::Tail => "tail",
        }
    }
}

/// An operation that damage touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The key of the item.
    pub key: Vec<u8>,
    /// The number of the operation, counted from 1 through the whole log.
    pub operation: u64,
    /// What the operation means today.
    pub standing: Standing,
}

/// What an operation means today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It put what the store holds under its key.
    Live,
    /// A later operation replaced or deleted what it put: nobody misses it.
    Superseded,
    /// It deleted an item.
    Delete,
}

impl Standing {
    /// A word for programs and people.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Live => "live",
            Standing::Superseded => "superseded",
            Standing::Delete => "delete",
        }
    }
}

impl Finding {
    fn new(damage: Damage, file: &Path, what: impl Into<String>) -> Self {
        Self {
            damage,
            file: file.to_path_buf(),
            bytes: None,
            affected: Vec::new(),
            unnamed: None,
            what: what.into(),
        }
    }

    /// What is wrong and where, without the records.
    pub(super) fn to_string_without_keys(&self) -> String {
        match &self.bytes {
            Some(Range { start, end }) => {
                format!(
                    "{} ({} bytes {start}..{end})",
                    self.what,
                    self.file.display()
                )
            }
            None => format!("{} ({})", self.what, self.file.display()),
        }
    }

    fn at(self, bytes: Range<u64>) -> Self {
        Self {
            bytes: Some(bytes),
            ..self
        }
    }
}

/// One line: the place, the records, what is wrong.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A line that names more records than this is read by nobody.
        const NAMED: usize = 20;
        write!(f, "{}", self.file.display())?;
        if let Some(Range { start, end }) = &self.bytes {
            write!(f, " bytes {start}..{end}")?;
        }
        write!(f, ": {}", self.what)?;
        for (at, affected) in self.affected.iter().take(NAMED).enumerate() {
            let key = String::from_utf8_lossy(&affected.key);
            let (operation, standing) = (affected.operation, affected.standing.name());
            let between = if at == 0 { ": " } else { ", " };
            write!(
                f,
                "{between}`{}` (operation {operation}, {standing})",
                key.escape_debug()
            )?;
        }
        let more = self.affected.len().saturating_sub(NAMED);
        if more > 0 {
            write!(f, " and {more} more")?;
        }
        match &self.unnamed {
            Some(range) if range.start() == range.end() => {
                write!(f, ": unknown: operation {}", range.start())
            }
            Some(range) => write!(
                f,
                ": unknown: operations {} to {}",
                range.start(),
                range.end()
            ),
            None => Ok(()),
        }
    }
}

impl LocalBackend {
    /// Reads every frame and every checksum of the store at `path`, also where it can't be opened and
    /// while another process writes to it. Changes nothing, and needs no lock.
    ///
    /// `check` is asked about every item whose checksums fit. `progress` gets the bytes read so far
    /// and those that will be. Takes memory for the keys of all items, for what the largest segment
    /// says of its keys, and for the largest item.
    ///
    /// # Errors
    /// `StoreNotFound` if there is neither `store.json` nor a segment; `UnsupportedVersion`; `Io` if
    /// folders can't be listed. Damage is no error.
    pub fn verify(
        path: &Path,
        check: &mut ItemCheck<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Verification> {
        let survey = Survey::of(&Medium::system(), path, &[], check, progress)?;
        Ok(survey.verification)
    }
}
