//! What tests and fuzz targets outside the crate need of a store's inside.
//!
//! Invariant: thin functions over the code that the store runs, so that what they find is true of it. The targets put
//! checksums right first: random bytes would never get behind them.

mod checksums;
mod one_file;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::catalog::{Catalog, Part, check_tail};
use super::checkpoint::Checkpoint;
use super::disk::{Access, Medium};
use super::footer::Footer;
use super::frame::{self, Head};
use super::heads::Heads;
use super::recovery::Known;
use super::segment::{self, Compacted, Header, Segment};
use super::store_file::{self, StoreFile};
use super::view::View;
use super::{LocalBackend, SEGMENTS, Settings, read_store_file};
use crate::backend::{Backend, Durability, Mode, Operation};
use crate::error::{Error, ErrorKind, Result};
use checksums::{fix_frame, fix_header, fix_segment};

/// Writes the `store.json` of stores that targets make: their segments have the id of zeros.
fn write_store_file(medium: &Medium, folder: &Path) -> Result<()> {
    let mut file = StoreFile::new(BTreeMap::new());
    file.store = "0".repeat(32);
    file.write(medium, folder)
}

/// Opens a store for writing whose segments are sealed at `segment_bytes`, without ballast.
pub fn open(path: &Path, segment_bytes: u64) -> Result<LocalBackend> {
    let settings = Settings {
        segment_bytes,
        ballast_bytes: 0,
        hand_over: 16,
        ..Settings::default()
    };
    LocalBackend::open_set(path, &settings)
}

/// How many operations the index in `index`, a copy of that of the store at `path`, is behind the log; `None` if
/// opening would make it anew.
pub fn index_lag(path: &Path, index: &Path) -> Result<Option<u64>> {
    let medium = Medium::system();
    let (_, id) = read_store_file(&medium, path)?;
    let segments = path.join(SEGMENTS);
    let catalog = Catalog::open(&medium, &segments, id)?;
    let last = super::checkpoint::last_close(&medium, path, id)?;
    let end = View::open(&medium, &segments, id, last.synced)?.last_sequence();
    let known = Known::open(index, id, &catalog, &last)?;
    let reached = known
        .level
        .map(|(_, checkpoint)| checkpoint.position.sequence);
    Ok(reached.and_then(|reached| end.checked_sub(reached)))
}

/// A target: `bytes` as a frame's seed (8 bytes) and the frame.
pub fn frame(bytes: &[u8]) {
    let Some((seed, frame)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let (seed, mut frame) = (u64::from_le_bytes(*seed), frame.to_vec());
    let end = fix_frame(&mut frame, 0, seed, 1);
    let Some(head) = Head::read(seed, &frame) else {
        return;
    };
    let rest = &frame[head.len() as usize..end.unwrap_or(frame.len())];
    let Some(body) = frame::checked_body(seed, rest) else {
        return;
    };
    if head.body_len == body.len() as u64 {
        let mut written = Vec::new();
        head.write(seed, body, &mut written);
        assert_eq!(Head::read(seed, &written), Some(head));
    }
}

/// A target: `bytes` as a segment's file.
pub fn segment(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    fix_segment(&mut bytes, 1);
    let _ = look_at(&bytes);
}

/// A target: `bytes` as what follows the header of a sealed segment.
pub fn footer(bytes: &[u8]) {
    let mut file = header(1, 1, None).to_bytes();
    file.extend_from_slice(bytes);
    let start = file.len() - bytes.len();
    checksums::fix_footer(&mut file, start);
    let _ = look_at(&file);
}

fn header(number: u32, first_sequence: u64, compacted: Option<Compacted>) -> Header {
    Header {
        store: [0; 16],
        number,
        first_sequence,
        compacted,
    }
}

/// Reads a segment's file in every way that readers and writers do.
fn look_at(bytes: &[u8]) -> Result<()> {
    let medium = one_file::medium(bytes);
    let file = medium.open("segment".as_ref(), Access::Read)?;
    let segment = Arc::new(Segment::open(file, 1)?);
    let size = segment.file.len()?;
    let mut last_sequence = segment.header.first_sequence - 1;
    let mut heads = Heads::new(&segment, size);
    let end = heads.for_each_batch(|batch| {
        for (head, location) in batch {
            let valid = segment.body_is_valid(&head, location.offset)?;
            let body = segment.read_body(&head.key, &location);
            assert_eq!(body.is_ok(), valid, "{body:?}");
            last_sequence = location.sequence;
        }
        Ok(())
    })?;
    let _ = check_tail(&segment, end..size, last_sequence);
    let parts = [Part::scan(&segment), Part::sealed(&segment)];
    for part in parts.into_iter().flatten() {
        for entry in part.entries_from(b"") {
            let (key, latest) = entry?;
            let _ = part.get(&key);
            let _ = segment.read_body(&key, &latest.location);
        }
        let _ = part.entries_from(b"m").count();
    }
    Footer::open(&segment).map(drop)
}

/// A target: `bytes` as a `store.json`.
pub fn store_file(bytes: &[u8]) {
    let medium = one_file::medium(bytes);
    if let Ok(file) = StoreFile::read(&medium, ".".as_ref()) {
        assert!(file.id().is_some());
    }
}

/// A target: `bytes` as a checkpoint, and as the file that vouches for it.
pub fn checkpoint(bytes: &[u8]) {
    if let Some(checkpoint) = Checkpoint::from_bytes(bytes) {
        assert_eq!(checkpoint.to_bytes(), bytes);
    }
    let mut file = bytes.to_vec();
    file.extend_from_slice(&twox_hash::XxHash3_64::oneshot(bytes).to_le_bytes());
    for file in [&file, bytes] {
        let _ = super::checkpoint::closed_at(&one_file::medium(file), ".".as_ref());
    }
}

/// A target: `bytes` as one or two segments of a store, which is made in the empty folder `folder`.
///
/// The first byte says what the segments are, two more where the first one ends, one what was compacted.
///
/// # Errors
/// None that says anything: what opening or reading said of the bytes.
pub fn index_rebuild(folder: &Path, bytes: &[u8]) -> Result<()> {
    let Some((&[how, l0, l1, compacted], bytes)) = bytes.split_first_chunk::<4>() else {
        return Ok(());
    };
    let length = if how & 1 == 0 {
        bytes.len()
    } else {
        bytes.len().min(u16::from_le_bytes([l0, l1]).into())
    };
    let (first, second) = bytes.split_at(length);
    let segments = folder.join(SEGMENTS);
    let io = |e| Error::io("make", folder, e);
    std::fs::create_dir(&segments).map_err(io)?;
    write_store_file(&Medium::system(), folder)?;
    let whole = |content: &[u8], raw: bool, header: Header| {
        let mut file = if raw { Vec::new() } else { header.to_bytes() };
        file.extend_from_slice(content);
        fix_segment(&mut file, header.first_sequence);
        file
    };
    let first = whole(first, how & 2 != 0, header(1, 1, None));
    std::fs::write(segments.join(segment::file_name(1)), &first).map_err(io)?;
    if how & 1 != 0 {
        let number = if how & 4 == 0 { 2 } else { 3 };
        let made = (how & 8 != 0).then(|| Compacted {
            last_sequence: (compacted >> 4).into(),
            frames: (compacted & 15).into(),
            retained: 0,
        });
        let sequence = if made.is_some() {
            1
        } else {
            next_sequence(&first)
        };
        let second = whole(second, how & 2 != 0, header(number, sequence, made));
        std::fs::write(segments.join(segment::file_name(number)), second).map_err(io)?;
    }
    if let Ok(reader) = LocalBackend::open_read_only(folder) {
        let _ = content(&reader);
    }
    let writer = open(folder, 2000)?;
    let found = content(&writer)?;
    drop(writer);
    let writer = open(folder, 2000)?;
    assert_eq!(content(&writer)?, found, "opened again");
    let _ = writer.compact(&mut |_, _| ());
    // A footer with a checksum that was put right may contradict its frames; what could be read must stay.
    let compacted = content(&writer)?;
    for (key, bytes) in found.iter().filter(|(_, bytes)| bytes.is_some()) {
        assert_eq!(compacted.get(key), Some(bytes), "compacted");
    }
    let mine = Operation::Put {
        key: b"mine".to_vec(),
        bytes: b"body".to_vec(),
        facts: Vec::new(),
        mode: Mode::Replace,
    };
    if writer.apply(vec![mine], Durability::Synced).is_ok() {
        let item = writer.get(b"mine")?;
        assert_eq!(item.map(|item| item.bytes), Some(b"body".to_vec()));
    }
    Ok(())
}

/// The operation after those of a segment's file, as far as it can be read.
fn next_sequence(bytes: &[u8]) -> u64 {
    let look = || {
        let file = one_file::medium(bytes).open("segment".as_ref(), Access::Read)?;
        let part = Part::scan(&Arc::new(Segment::open(file, 1)?))?;
        Ok::<_, Error>(part.last_sequence.wrapping_add(1))
    };
    look().unwrap_or(1)
}

/// What a store lists, with what reading each item says.
fn content(store: &LocalBackend) -> Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    for entry in store.scan(b"", b"") {
        let entry = entry?;
        let bytes = match store.get(&entry.key) {
            Ok(item) => item.map(|item| item.bytes),
            Err(error) if error.kind() == ErrorKind::Corrupted => None,
            Err(error) => return Err(error),
        };
        found.insert(entry.key, bytes);
    }
    Ok(found)
}

/// Writes a small store into the empty folder `folder`; real bytes for each target to begin with, by its name.
///
/// # Errors
/// What writing the store says.
pub fn seeds(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let medium = Medium::system();
    let segments = folder.join(SEGMENTS);
    medium.create_dir(&segments)?;
    write_store_file(&medium, folder)?;
    Segment::create(&medium, &segments, header(1, 1, None))?;
    let read = |path: &Path| medium.read(path).map(Option::unwrap_or_default);
    let mut files = vec![("store_file", read(&folder.join(store_file::NAME))?)];
    for round in 0..3u8 {
        let store = open(folder, 1000)?;
        for n in 0..6u8 {
            let key = vec![b'a' + n];
            let put = Operation::Put {
                key: key.clone(),
                bytes: vec![n; usize::from(n) * 40],
                facts: vec![n; 5],
                mode: Mode::Replace,
            };
            let mut batch = vec![put];
            if n % 3 == round {
                batch.push(Operation::Delete { key });
            }
            store.apply(batch, Durability::Synced)?;
        }
        if round == 1 {
            store.compact(&mut |_, _| ())?;
        }
        drop(store);
        files.push(("checkpoint", read(&folder.join(super::checkpoint::CLOSED))?));
        for name in medium.names(&segments)? {
            let mut bytes = read(&segments.join(name))?;
            let (start, seed) = fix_header(&mut bytes).unwrap_or_default();
            let behind = bytes[start..].to_vec();
            let at = seed.wrapping_add(start as u64).to_le_bytes();
            files.push(("frame", [&at[..], &behind].concat()));
            files.push(("index_rebuild", [&[0; 4][..], &behind].concat()));
            files.push(("index_rebuild", [&[2, 0, 0, 0][..], &bytes].concat()));
            files.push(("footer", behind));
            files.push(("segment", bytes));
        }
    }
    Ok(files)
}
