//! Where latents come from: files in folders, samples in shards.
//!
//! Invariant: the same files come in the same order; a file is read only when it is its turn.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use walkdir::{DirEntry, WalkDir};

use super::MAX_FILE;
use super::shard::{Group, ShardReader};
use crate::archive::{FILES, SAMPLES, decode_name};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::latent_io::LatentFormat;
use crate::record::RecordId;

/// How the names of text that sd-scripts keep beside latents end, before `.npz`.
const TEXT: [&str; 2] = ["_te", "_te_outputs"];

/// A latent that may come in.
pub(super) struct Found {
    /// For messages.
    pub(super) name: String,
    pub(super) place: Place,
}

pub(super) enum Place {
    /// A file, and its path below the folder that was named.
    File(PathBuf, PathBuf),
    /// A sample of a shard.
    Sample(Group),
    /// None could be come by.
    Failed(Error),
}

/// The latents at `path`, a file or a folder. Counts the other files into `ignored`.
pub(super) fn files(path: &Path, ignored: &AtomicU64) -> impl Iterator<Item = Found> + Send {
    let hidden = |entry: &DirEntry| {
        entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let walk = WalkDir::new(path).follow_links(true).sort_by_file_name();
    let walk = walk.into_iter().filter_entry(move |entry| !hidden(entry));
    walk.filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_dir() => return None,
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(path).to_path_buf();
                let cant_read = format!("can't read {}", path.display());
                let error = Error::new(ErrorKind::Io, cant_read).with_source(error);
                return Some(Found {
                    name: path.display().to_string(),
                    place: Place::Failed(error),
                });
            }
        };
        // What was named itself counts, whatever it is called.
        if entry.depth() > 0 && !is_latent(entry.path()) {
            ignored.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let below = match entry.path().strip_prefix(path) {
            Ok(below) if entry.depth() > 0 => below.to_path_buf(),
            _ => entry.file_name().into(),
        };
        Some(Found {
            name: below.display().to_string(),
            place: Place::File(entry.into_path(), below),
        })
    })
}

/// Whether there is a latent file at `path`, a file or a folder, or something that can't be looked at.
pub fn has_latents(path: &Path) -> bool {
    files(path, &AtomicU64::new(0)).next().is_some()
}

fn is_latent(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match LatentFormat::from_path(path) {
        Ok(LatentFormat::Npz) => !TEXT.iter().any(|ending| stem.ends_with(ending)),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// The bytes of a latent file, if they are no more than may be held.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    let bytes = metadata.len();
    if bytes > MAX_FILE {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("the file has {bytes} bytes, more than the {MAX_FILE} allowed"),
        ));
    }
    fs::read_file(path)
}

/// The latents of a shard.
pub(super) fn samples(input: impl Read + Send) -> impl Iterator<Item = Result<Found>> + Send {
    ShardReader::new(input).map(|group| {
        let group = group?;
        Ok(Found {
            name: group.key.clone(),
            place: Place::Sample(group),
        })
    })
}

/// The id of the file with the path `below`: what [`Database::export_files`](crate::Database::export_files) would have
/// made it of, else the path itself, without its ending.
pub(super) fn id_of_file(below: &Path) -> Result<RecordId> {
    let below = below.with_extension("");
    let parts = below.iter().map(|part| part.to_str());
    let parts: Option<Vec<_>> = parts.collect();
    let name = parts.ok_or_else(|| {
        Error::invalid(format!(
            "{} is no UTF-8, and can't become an id",
            below.display()
        ))
    })?;
    id_of(&name.join("/"), |id| FILES.encode(id))
}

/// The id of the sample with this key.
pub(super) fn id_of_key(key: &str) -> Result<RecordId> {
    let key = key.trim_start_matches("./");
    id_of(key, |id| SAMPLES.encode(id))
}

fn id_of(name: &str, encode: impl Fn(&RecordId) -> String) -> Result<RecordId> {
    match decode_name(name).filter(|id| encode(id) == name) {
        Some(id) => Ok(id),
        None => RecordId::new(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_paths_without_ending_and_exports_give_theirs_back() {
        for (path, expected) in [
            ("cat.npz", "cat"),
            ("a/cat_0512x0768_sdxl.npz", "a/cat_0512x0768_sdxl"),
            ("2026/cat.v2.npy", "2026/cat.v2"),
            ("a%20b.npy", "a b"),
            ("%2E%2E/x.safetensors", "../x"),
            // Nothing that an export would have written.
            ("50%.npy", "50%"),
            ("a%2Fb.npy", "a%2Fb"),
            ("x%/y.npy", "x%/y"),
            ("a b.npy", "a b"),
        ] {
            let id = id_of_file(Path::new(path)).unwrap();
            assert_eq!(id.as_str(), expected, "{path}");
        }
        assert_eq!(id_of_key("a.b/c%2Ejpg").unwrap().as_str(), "a.b/c.jpg");
        assert_eq!(id_of_key("./000123").unwrap().as_str(), "000123");
    }

    #[test]
    fn latents_are_told_from_other_files_by_name() {
        for (path, latent) in [
            ("cat.npz", true),
            ("cat.NPY", true),
            ("cat_sd.npz", true),
            ("cat_sdxl_te_outputs.npz", false),
            ("cat_flux_te.npz", false),
            ("cat_te.npy", true),
            ("cat.png", false),
            ("npz", false),
        ] {
            assert_eq!(is_latent(Path::new(path)), latent, "{path}");
        }
    }
}
