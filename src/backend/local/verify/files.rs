//! The files of a store, opened as far as they can be.
//!
//! Invariant: what is found was there at one moment, also beside a writer that compacts: the files
//! are open, and the listing was the same before and after.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::header::{self, Hints};
use super::{Damage, Finding};
use crate::backend::local::SEGMENTS;
use crate::backend::local::disk::{Access, Medium};
use crate::backend::local::footer::Footer;
use crate::backend::local::segment::{self, Header, Segment, StoreId};
use crate::backend::local::{catalog, is_not_found};
use crate::error::{ErrorKind, Result};

/// How often to look again where segments went away meanwhile.
const ATTEMPTS: u32 = 50;

/// A segment that was there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) segment: Arc<Segment>,
    /// Its length at that moment.
    pub(super) size: u64,
    /// Whole, where there is one.
    pub(super) footer: Option<Arc<Footer>>,
}

/// A segment whose header can't be told any more.
#[derive(Debug)]
pub(super) struct Headless {
    pub(super) file: PathBuf,
    pub(super) size: u64,
    pub(super) footer: Option<Arc<Footer>>,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    /// In the order of their operations.
    pub(super) found: Vec<Found>,
    pub(super) headless: Vec<Headless>,
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<String>,
    pub(super) store: Option<StoreId>,
}

/// A segment's file as findings name it.
pub(super) fn relative(path: &Path) -> PathBuf {
    Path::new(SEGMENTS).join(path.file_name().unwrap_or_default())
}

impl Files {
    /// Opens the segments in `folder`. `store` is the id that they should have, where it is known.
    ///
    /// # Errors
    /// `UnsupportedVersion`; `Io` if the folder can't be listed.
    pub(super) fn open(medium: &Medium, folder: &Path, store: Option<StoreId>) -> Result<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let numbers = catalog::numbers(medium, folder)?;
            let files = Self::of(medium, folder, store, &numbers);
            let now = catalog::numbers(medium, folder)?;
            if now == numbers || attempt == ATTEMPTS {
                let mut files = files?;
                files.look_at_others(medium, folder)?;
                return Ok(files);
            }
        }
    }

    fn of(medium: &Medium, folder: &Path, store: Option<StoreId>, numbers: &[u32]) -> Result<Self> {
        let mut files = Self {
            store,
            ..Self::default()
        };
        let mut damaged = Vec::new();
        for &number in numbers {
            let path = folder.join(segment::file_name(number));
            let file = match medium.open(&path, Access::Read) {
                Ok(file) => file,
                Err(error) if is_not_found(&error) => return Err(error),
                Err(error) => {
                    let what = format!("can't be opened: {error:#}");
                    let finding = Finding::new(Damage::Unreadable, &relative(&path), what);
                    files.findings.push(finding);
                    continue;
                }
            };
            match Segment::open(file, number) {
                Ok(segment) => files.take(segment)?,
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
                Err(_) => damaged.push((number, path)),
            }
        }
        if files.store.is_none() {
            files.store = files.commonest();
        }
        for (number, path) in damaged {
            files.take_damaged(medium, number, &path)?;
        }
        files.found.sort_by_key(|found| {
            let header = &found.segment.header;
            (header.first_sequence, Reverse(header.number))
        });
        Ok(files)
    }

    fn take(&mut self, segment: Segment) -> Result<()> {
        let segment = Arc::new(segment);
        let found = Found {
            size: segment.file.len()?,
            // What can't be read is told when the blocks of the file are.
            footer: Footer::open(&segment).unwrap_or_default().map(Arc::new),
            segment,
        };
        self.found.push(found);
        Ok(())
    }

    /// The store that most segments name.
    fn commonest(&self) -> Option<StoreId> {
        let id = |found: &Found| found.segment.header.store;
        let count = |wanted: StoreId| self.found.iter().filter(|f| id(f) == wanted).count();
        self.found.iter().map(id).max_by_key(|&store| count(store))
    }

    fn take_damaged(&mut self, medium: &Medium, number: u32, path: &Path) -> Result<()> {
        let relative = relative(path);
        let file = medium.open(path, Access::Read)?;
        let size = file.len()?;
        let hints = Hints {
            number,
            store: self.store,
            firsts: self.firsts(),
        };
        let Some(header) = header::recover(&file, &hints)? else {
            // Footers need no header to be read.
            let guess = Header {
                store: self.store.unwrap_or_default(),
                number,
                first_sequence: 1,
                compacted: None,
            };
            let segment = Arc::new(Segment::assumed(file, guess));
            self.headless.push(Headless {
                file: relative,
                size,
                footer: Footer::open(&segment).unwrap_or_default().map(Arc::new),
            });
            return Ok(());
        };
        let length = header.to_bytes().len() as u64;
        let mut bytes = vec![0; length.min(size) as usize];
        let unchanged = file.read_at(&mut bytes, 0).is_ok() && bytes == header.to_bytes();
        let foreign = unchanged && self.store != Some(header.store);
        let finding = if foreign {
            Finding::new(Damage::Misplaced, &relative, "belongs to another store")
        } else if header.number != number && unchanged {
            let what = format!("is segment {} under another name", header.number);
            Finding::new(Damage::Misplaced, &relative, what)
        } else {
            let what = "the segment's header is damaged; what it said is known from the rest";
            Finding::new(Damage::Header, &relative, what).at(0..length.min(size))
        };
        self.findings.push(finding);
        let mut taken = self.found.iter().map(|found| found.segment.number());
        if !foreign && !taken.any(|taken| taken == header.number) {
            self.take(Segment::assumed(file, header))?;
        }
        Ok(())
    }

    /// Where a segment may begin so that it continues another one.
    fn firsts(&self) -> Vec<u64> {
        let ends = self.found.iter().filter_map(|found| {
            let footer = found.footer.as_ref().map(|footer| footer.last_sequence);
            let compacted = found.segment.header.compacted;
            Some(compacted.map(|c| c.last_sequence).or(footer)? + 1)
        });
        std::iter::once(1).chain(ends).collect()
    }

    /// What else lies in the folder.
    fn look_at_others(&mut self, medium: &Medium, folder: &Path) -> Result<()> {
        let mut names = medium.names(folder)?;
        names.sort_unstable();
        for name in names {
            if segment::number_of(&name).is_some() {
                continue;
            }
            let about = if name.starts_with('.')
                && Path::new(&name).extension().is_some_and(|e| e == "tmp")
            {
                "is left of an interrupted compaction; opening for writing removes it"
            } else {
                "is no part of the store"
            };
            self.notes.push(format!("{SEGMENTS}/{name} {about}"));
        }
        Ok(())
    }
}
