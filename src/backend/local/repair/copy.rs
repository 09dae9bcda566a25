//! Carrying whole items from a damaged store to a new one.
//!
//! Invariant: every item that is carried over passed the checksums of its body, and of its head or
//! of what names it in the head's place.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::super::disk::Medium;
use super::super::footer::Latest;
use super::super::frame::{self, Head, Kind};
use super::super::heads::Heads;
use super::super::segment::Segment;
use super::super::verify::survey::{Newest, Survey};
use super::super::{ItemCheck, LocalBackend, Step};
use crate::backend::{Backend, Durability, Mode, Operation};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// A batch is applied when it holds this many bytes or operations.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH: usize = 1024;

/// What the new store got.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) records: u64,
    /// Why each of these is not in it.
    pub(super) lost: HashMap<Vec<u8>, String>,
    pub(super) notes: Vec<String>,
}

/// Makes a store at `target` of what is whole in `survey`.
pub(super) fn copy(
    medium: &Medium,
    survey: &Survey,
    target: &Path,
    properties: Option<BTreeMap<String, String>>,
    check: &mut ItemCheck<'_>,
    progress: &mut dyn FnMut(Step, u64, u64),
) -> Result<Copied> {
    let puts = survey.newest.iter().filter(|(_, n)| n.kind == Kind::Put);
    let mut puts: Vec<(&Vec<u8>, &Newest)> = puts.collect();
    puts.sort_by_key(|(_, n)| (n.location.segment, n.location.offset));
    let total: u64 = puts.iter().map(|(_, n)| n.location.frame_len).sum();
    let available = medium.available(fs::parent_of(target))?;
    if available < total {
        let folder = fs::parent_of(target).display();
        return Err(Error::new(
            ErrorKind::Full,
            format!("{folder} has {available} bytes left, and {total} are needed"),
        ));
    }
    LocalBackend::create_on(medium, target, properties.unwrap_or_default())?;
    let store = LocalBackend::open(target)?;
    let (mut copied, mut batch, mut bytes, mut done) = (Copied::default(), Vec::new(), 0, 0);
    let mut headless = 0;
    for (key, newest) in puts {
        match item(survey, key, newest, check) {
            Ok((facts, body)) => {
                headless += u64::from(newest.finding.is_some());
                bytes += body.len() as u64;
                copied.records += 1;
                batch.push(Operation::Put {
                    key: key.clone(),
                    bytes: body,
                    facts,
                    mode: Mode::Replace,
                });
            }
            Err(why) => drop(copied.lost.insert(key.clone(), why)),
        }
        done += newest.location.frame_len;
        progress(Step::Copying, done, total);
        if bytes >= BATCH_BYTES || batch.len() >= BATCH {
            bytes = 0;
            store.apply(std::mem::take(&mut batch), Durability::Written)?;
        }
    }
    store.apply(batch, Durability::Written)?;
    store.flush()?;
    if headless > 0 {
        copied.notes.push(format!(
            "with damaged heads but whole otherwise, and kept: {headless}"
        ));
    }
    Ok(copied)
}

/// Facts and bytes of an item, or why it is lost.
fn item(
    survey: &Survey,
    key: &[u8],
    newest: &Newest,
    check: &mut ItemCheck<'_>,
) -> Result<(Vec<u8>, Vec<u8>), String> {
    let location = &newest.location;
    let segment = survey.segments.get(&location.segment);
    if let Some(at) = newest.finding {
        let latest = survey.headless.get(key).filter(|l| l.location == *location);
        let whole = latest.zip(segment).and_then(|(latest, segment)| {
            let body = headless_body(segment, key, latest)?;
            match check(key, &latest.facts, &body) {
                Err(error) if error.kind() != ErrorKind::UnsupportedVersion => None,
                _ => Some((latest.facts.clone(), body)),
            }
        });
        return whole.ok_or_else(|| survey.verification.findings[at].to_string_without_keys());
    }
    let read = || {
        let gone = || Error::corrupted(format!("there is no segment {}", location.segment));
        let segment = segment.ok_or_else(gone)?;
        let end = location.offset + location.frame_len;
        let mut heads = Heads::from(segment, location.offset, location.sequence, end);
        let head = heads.next()?.map(|(head, _)| head);
        let damaged = || Error::corrupted("the frame's head fails its checksum");
        let facts = head.ok_or_else(damaged)?.facts;
        Ok((facts, segment.read_body(key, location)?))
    };
    read().map_err(|error: Error| format!("{error:#}"))
}

/// The body of a frame whose head is damaged, where its checksum fits.
fn headless_body(segment: &Segment, key: &[u8], latest: &Latest) -> Option<Vec<u8>> {
    let location = &latest.location;
    let framing = Head::frame_len_of(key.len(), latest.facts.len(), 0)?;
    let head = framing - frame::CHECKSUM as u64;
    let end = location.offset.checked_add(location.frame_len)?;
    if location.frame_len < framing || end > segment.file.len().ok()? {
        return None;
    }
    let mut bytes = vec![0; (location.frame_len - head) as usize];
    segment
        .file
        .read_at(&mut bytes, location.offset + head)
        .ok()?;
    frame::checked_body(segment.seed_at(location.offset), &bytes).map(<[u8]>::to_vec)
}
