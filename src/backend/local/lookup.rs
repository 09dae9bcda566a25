//! What the process that writes reads: through the index, and from the log where the index fails.
//!
//! Invariant: what an acknowledged batch changed is seen by every read that begins after it, also
//! while compaction moves it.

use std::sync::{Arc, PoisonError};

use super::catalog::{Entries, after};
use super::footer::Latest;
use super::segment::{Location, Segment};
use super::view::View;
use super::writer::{Writer, locked};
use crate::error::{Error, Result};

impl Writer {
    /// What `read` makes of the frame of `key`, and the bytes of that.
    pub(super) fn read<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&Segment, &Location) -> Result<T>,
    ) -> Result<Option<(T, u64)>> {
        let mut missed = None;
        loop {
            let latest = match self.index().get(key) {
                Ok(Some(latest)) => latest,
                Ok(None) => return Ok(None),
                Err(error) => return self.view().ok_or(error)?.read(key, read),
            };
            let segments = self.segments.read();
            let segments = segments.unwrap_or_else(PoisonError::into_inner);
            let segment = segments.get(&latest.location.segment).map(Arc::clone);
            drop(segments);
            if let Some(segment) = segment {
                let location = &latest.location;
                return Ok(Some((read(&segment, location)?, location.frame_len)));
            }
            // Compaction may have moved the frame since; then the index says so by now.
            if missed.as_ref() == Some(&latest) {
                return Err(Error::corrupted(format!(
                    "the index names segment {}, which isn't there",
                    latest.location.segment
                )));
            }
            missed = Some(latest);
        }
    }

    /// What the log says now, for reads that the index fails: where its own writes have failed, as on
    /// a full disk, sled may refuse to read as well.
    pub(super) fn view(&self) -> Option<Arc<View>> {
        let log = locked(&self.log);
        let mut view = locked(&self.view);
        let known = view
            .as_ref()
            .filter(|(sequence, _)| *sequence == log.position.sequence);
        if let Some((_, known)) = known {
            return Some(Arc::clone(known));
        }
        let (folder, synced) = (&log.folder, log.position.synced);
        let new = View::open(&self.medium, folder, log.store, synced).ok()?;
        let new = Arc::new(new);
        *view = Some((log.position.sequence, Arc::clone(&new)));
        Some(new)
    }

    pub(super) fn latest(&self, key: &[u8]) -> Result<Option<Latest>> {
        self.index()
            .get(key)
            .or_else(|error| self.view().ok_or(error)?.get(key))
    }

    /// What exists under keys that begin with `prefix` and are not less than `from`.
    pub(super) fn scan(&self, prefix: &[u8], from: &[u8]) -> Entries<'_> {
        let prefix = prefix.to_vec();
        let mut next = from.max(&prefix).to_vec();
        let mut entries: Entries<'_> = Box::new(self.index().scan(&prefix, from));
        let mut failed = false;
        Box::new(std::iter::from_fn(move || {
            let mut entry = entries.next()?;
            if let (Err(_), false) = (&entry, failed) {
                failed = true;
                if let Some(view) = self.view() {
                    let prefix = prefix.clone();
                    let inside = move |(key, _): &(Vec<u8>, Latest)| key.starts_with(&prefix);
                    let rest = view.entries_from(&next);
                    entries = Box::new(rest.take_while(move |e| e.as_ref().map_or(true, &inside)));
                    entry = entries.next()?;
                }
            }
            if let Ok((key, _)) = &entry {
                next = after(key);
            }
            Some(entry)
        }))
    }
}
