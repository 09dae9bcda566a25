//! Somebody's ONNX file and the weights beside it: read, checked, copied into a model's folder.
//!
//! Invariant: no file is copied but the one that was named and those in its own folder that it names; each is
//! copied whole, and every tensor lies inside what was copied.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Half;
use super::inspect::{self, Facts};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::model::onnx::data::{self, External};
use crate::model::onnx::foreign::{self, Contents};
use crate::model::onnx::proto::{Bytes, Model};
use crate::model::onnx::shown;

/// Protobuf can't be larger; weights beyond that lie in other files.
const MAX_FILE: u64 = i32::MAX as u64;

/// What the fingerprint begins with.
const FINGERPRINT: &[u8] = b"latentdb-onnx-v1\n";

/// How much is copied at a time.
const CHUNK: usize = 1 << 20;

/// Names in a model's folder that no file with weights can have; compared without case, as some systems do.
const TAKEN: [&str; 3] = ["encoder.onnx", "decoder.onnx", "manifest.json"];

/// An ONNX file that was read, and found to be what it seems.
pub(super) struct Graph {
    path: PathBuf,
    bytes: Bytes,
    pub(super) model: Model,
    pub(super) facts: Facts,
    /// Tensors whose values lie in other files.
    external: Vec<External>,
}

/// A graph in a model's folder.
pub(super) struct Staged {
    pub(super) path: PathBuf,
    /// BLAKE3 of the files as they were given, in hexadecimal; see [`Graph::stage`].
    pub(super) fingerprint: String,
    /// Length of the file as it was given.
    length: u64,
}

impl Graph {
    /// Reads the ONNX file at `path` and checks everything in it that needs no other file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = Bytes::from(read_limited(path)?);
        let model = foreign::read(bytes.clone())?;
        let contents = Contents::of(&model);
        foreign::check_operators(&model, &contents)?;
        let external = data::check(&contents)?;
        if let Some(one) = external.iter().find(|one| is_taken(&one.file)) {
            return Err(Error::invalid(format!(
                "{} lies in {}, a name that a model's own files have",
                one.tensor,
                shown(&one.file)
            )));
        }
        let facts = inspect::facts(&model, &contents)?;
        Ok(Self {
            path: path.to_path_buf(),
            bytes,
            model,
            facts,
            external,
        })
    }

    /// Copies the file into `folder` under its half's name, and what it names beside it.
    ///
    /// The fingerprint is BLAKE3 over `latentdb-onnx-v1\n`, and for the graph, called by the name it gets in the
    /// folder, and then for each file it names, in the order of their names bytewise: the name, a zero byte, its
    /// length as a little-endian u64, its bytes.
    pub(super) fn stage(&self, folder: &Path, half: Half) -> Result<Staged> {
        let mut fingerprint = blake3::Hasher::new();
        fingerprint.update(FINGERPRINT);
        let length = self.bytes.len() as u64;
        begin(&mut fingerprint, half.file(), length);
        fingerprint.update(&self.bytes);
        let mut lengths = BTreeMap::new();
        for one in &self.external {
            lengths.entry(one.file.as_str()).or_insert(0);
        }
        for (name, length) in &mut lengths {
            let from = self.beside(name)?;
            *length = copy_once(&from, &folder.join(name), name, &mut fingerprint)?;
        }
        for one in &self.external {
            let found = lengths[one.file.as_str()];
            let end = one.offset.checked_add(one.length);
            if end.is_none_or(|end| end > found) {
                return Err(Error::invalid(format!(
                    "{} has {} bytes at {} in {}, which has {found}",
                    one.tensor,
                    one.length,
                    one.offset,
                    shown(&one.file)
                )));
            }
        }
        let path = folder.join(half.file());
        let failed = |e| Error::io("write", &path, e);
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(&self.bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(Staged {
            path,
            fingerprint: fingerprint.finalize().to_hex().to_string(),
            length,
        })
    }

    /// The file called `name` in the folder of this one.
    fn beside(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.with_file_name(name);
        let real = path.canonicalize().map_err(|e| {
            Error::io("find", &path, e).with_hint(
                "the weights of an ONNX file lie beside it: take both from where they come",
            )
        })?;
        let beside = |graph: &Path| {
            let folder = graph
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            folder.unwrap_or(Path::new(".")).canonicalize().ok()
        };
        // Download caches keep links to files that lie beside each other under other names.
        let linked = self.path.canonicalize().ok();
        let folders = [beside(&self.path), linked.as_deref().and_then(beside)];
        let own = folders
            .iter()
            .flatten()
            .any(|folder| real.parent() == Some(folder));
        if !own {
            return Err(Error::invalid(format!(
                "{} is a link to {}, which lies in another folder than the ONNX file",
                path.display(),
                real.display()
            )));
        }
        if !real.is_file() {
            return Err(not_a_file(&path));
        }
        Ok(real)
    }
}

impl Staged {
    /// Puts `bytes` after those that were given, instead of any that were put there before.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<()> {
        let append = || -> std::io::Result<()> {
            let mut file = File::options().write(true).open(&self.path)?;
            file.set_len(self.length)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        append().map_err(|e| Error::io("write to", &self.path, e))
    }
}

fn is_taken(name: &str) -> bool {
    TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name))
}

fn not_a_file(path: &Path) -> Error {
    Error::invalid(format!("{} is no regular file", path.display()))
}

fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if !metadata.is_file() {
        return Err(not_a_file(path));
    }
    if metadata.len() > MAX_FILE {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "{} has {} bytes, and an ONNX file has at most {MAX_FILE}: larger weights lie in files beside it",
                path.display(),
                metadata.len()
            ),
        ));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let limited = fs::open(path)?.take(metadata.len());
    let read = { limited }.read_to_end(&mut bytes);
    read.map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

fn begin(fingerprint: &mut blake3::Hasher, name: &str, length: u64) {
    fingerprint.update(name.as_bytes());
    fingerprint.update(&[0]);
    fingerprint.update(&length.to_le_bytes());
}

/// Copies a file and adds it to the fingerprint; if it is there already, it must be the same. Returns its length.
fn copy_once(from: &Path, to: &Path, name: &str, fingerprint: &mut blake3::Hasher) -> Result<u64> {
    let failed = |e| Error::io("write", to, e);
    let source = fs::open(from)?;
    let length = fs::len(&source, from)?;
    begin(fingerprint, name, length);
    let mut rest = length;
    let mut buffer = vec![0; CHUNK];
    let mut other = vec![0; CHUNK];
    let exists = to.exists();
    let target = if exists {
        fs::open(to)?
    } else {
        File::create_new(to).map_err(failed)?
    };
    let differs = || {
        Error::invalid(format!(
            "encoder and decoder both have a file {} beside them, and it isn't the same: a model's folder holds one of a name",
            shown(name)
        ))
        .with_hint("save one of them with its weights inside: onnx.save(onnx.load(IN), OUT)")
    };
    if exists && fs::len(&target, to)? != length {
        return Err(differs());
    }
    while rest > 0 {
        let part = &mut buffer[..rest.min(CHUNK as u64) as usize];
        fs::read_exact_at(&source, from, part, length - rest)?;
        fingerprint.update(part);
        if exists {
            let other = &mut other[..part.len()];
            fs::read_exact_at(&target, to, other, length - rest)?;
            if part != other {
                return Err(differs());
            }
        } else {
            (&target).write_all(part).map_err(failed)?;
        }
        rest -= part.len() as u64;
    }
    if !exists {
        target.sync_all().map_err(failed)?;
    }
    Ok(length)
}
