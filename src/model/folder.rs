//! The folder that a user's models lie in, one folder a model.
//!
//! Invariant: a model appears under its name whole or not at all, and nothing outside the folder is touched.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::builtin;
use super::spec::{ModelFile, ModelSpec};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::record::check_name;

/// The manifest's file name in a model's folder.
const MANIFEST: &str = "manifest.json";

/// A larger manifest is none.
const MAX_MANIFEST: u64 = 1 << 20;

/// Models that are being made have names that begin with this; no model's does.
const STAGING: &str = ".new-";

/// The folder that models lie in.
#[derive(Debug, Clone)]
pub struct ModelsFolder {
    path: PathBuf,
}

/// A folder among the models whose manifest can't be used.
#[derive(Debug)]
pub struct BrokenModel {
    /// The folder's name.
    pub name: String,
    /// Why its manifest can't be used.
    pub error: Error,
}

/// What [`ModelsFolder::verify`] found of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// Every byte is as the manifest says.
    Intact,
    /// It isn't there.
    Missing,
    /// It has another size: this one.
    WrongSize(u64),
    /// Its bytes are others.
    Changed,
    /// It can't be read.
    Unreadable(String),
}

impl std::fmt::Display for FileState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileState::Intact => f.write_str("intact"),
            FileState::Missing => f.write_str("missing"),
            FileState::WrongSize(bytes) => write!(f, "has {bytes} bytes: cut off or another file"),
            FileState::Changed => f.write_str("changed: its SHA-256 is another"),
            FileState::Unreadable(why) => write!(f, "can't be read: {why}"),
        }
    }
}

impl ModelsFolder {
    /// The folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the model called `name`, whether or not it is there.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// All models in the folder by name, and what can't be used.
    ///
    /// # Errors
    /// `Io` if the folder is there and can't be listed.
    pub fn list(&self) -> Result<(Vec<ModelSpec>, Vec<BrokenModel>)> {
        let (mut models, mut broken) = (Vec::new(), Vec::new());
        if !self.path.exists() {
            return Ok((models, broken));
        }
        let mut names = fs::names(&self.path)?;
        names.sort();
        for name in names {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with('.') || !self.path.join(&name).is_dir() {
                continue;
            }
            match self.read(&name) {
                Ok(_) if builtin::has(&name) => broken.push(BrokenModel {
                    error: Error::invalid(format!(
                        "the model `{name}` can't be used, because a model of that name is built in now"
                    ))
                    .with_hint("rename its folder, and `name` in its manifest.json"),
                    name,
                }),
                Ok(spec) => models.push(spec),
                Err(error) => broken.push(BrokenModel { name, error }),
            }
        }
        Ok((models, broken))
    }

    fn read(&self, name: &str) -> Result<ModelSpec> {
        let path = self.path_of(name).join(MANIFEST);
        let file = fs::open(&path)?;
        let length = fs::len(&file, &path)?;
        let mut bytes = vec![0; length.min(MAX_MANIFEST + 1) as usize];
        fs::read_exact_at(&file, &path, &mut bytes, 0)?;
        let unusable = || format!("the model `{name}` can't be used");
        let spec = ModelSpec::from_json(&bytes)
            .map_err(|e| Error::new(e.kind(), unusable()).with_source(e))?;
        if spec.name != name {
            return Err(Error::invalid(format!(
                "{}, because its manifest calls it `{}`",
                unusable(),
                spec.name
            )));
        }
        Ok(spec)
    }

    /// Refuses a name that can't be given to a new model.
    pub(super) fn check_new(&self, name: &str, replace: bool) -> Result<()> {
        check_name("model", name)
            .map_err(|e| e.with_hint("give the model another name with --name"))?;
        let built_in = builtin::has(name);
        if name.starts_with('.') || built_in {
            let reason = if built_in {
                "is built in"
            } else {
                "begins with a period"
            };
            return Err(Error::invalid(format!(
                "a model can't be called `{name}`: that name {reason}"
            ))
            .with_hint("give the model another name with --name"));
        }
        if !replace && self.path_of(name).exists() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a model `{name}` already"),
            )
            .with_hint("--replace replaces it; --name gives the new one another name"));
        }
        Ok(())
    }

    /// An empty folder in which a model is made.
    pub(super) fn stage(&self, name: &str) -> Result<Staging> {
        fs::create_dir_all(&self.path)?;
        let path = self
            .path
            .join(format!("{STAGING}{name}-{}", std::process::id()));
        // What an earlier process of this number left half-made.
        let _ = std::fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(Staging { path })
    }

    /// Moves a model that was made in `staging` to its name.
    pub(super) fn install(&self, staging: &Staging, spec: &ModelSpec, replace: bool) -> Result<()> {
        spec.check()?;
        let json = serde_json::to_vec_pretty(spec)
            .map_err(|e| Error::invalid("the manifest can't be written").with_source(e))?;
        fs::write_atomic(&staging.path.join(MANIFEST), &json)?;
        let target = self.path_of(&spec.name);
        let failed = |e| Error::io("move the model to", &target, e);
        if replace && target.exists() {
            let old = self
                .path
                .join(format!("{STAGING}old-{}-{}", spec.name, std::process::id()));
            std::fs::rename(&target, &old).map_err(failed)?;
            if let Err(error) = std::fs::rename(&staging.path, &target) {
                let _ = std::fs::rename(&old, &target);
                return Err(failed(error));
            }
            // The new model is there; what can't be removed is only wasted space.
            let _ = std::fs::remove_dir_all(&old);
        } else {
            // Fails if another process was faster: a folder with files is not overwritten.
            std::fs::rename(&staging.path, &target).map_err(failed)?;
        }
        fs::sync_dir(&self.path)
    }

    /// Refuses a model of which a file is missing or cut off, before anything is made of it.
    pub(super) fn check_sizes(&self, spec: &ModelSpec) -> Result<()> {
        let folder = self.path_of(&spec.name);
        for file in &spec.files {
            let path = folder.join(&file.name);
            let found = std::fs::metadata(&path)
                .map_err(|e| Error::io("read", &path, e))?
                .len();
            if found != file.bytes {
                return Err(Error::corrupted(format!(
                    "{} has {found} bytes, and its manifest says {}",
                    path.display(),
                    file.bytes
                ))
                .with_hint(format!(
                    "latentdb model verify {} checks all of it",
                    spec.name
                )));
            }
        }
        Ok(())
    }

    /// Reads every file of `spec` and compares it with the manifest.
    pub fn verify(&self, spec: &ModelSpec) -> Vec<(ModelFile, FileState)> {
        let folder = self.path_of(&spec.name);
        let state = |file: &ModelFile| {
            let path = folder.join(&file.name);
            match std::fs::metadata(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => FileState::Missing,
                Err(e) => FileState::Unreadable(e.to_string()),
                Ok(found) if found.len() != file.bytes => FileState::WrongSize(found.len()),
                Ok(_) => match sha256(&path) {
                    Ok(found) if found == file.sha256 => FileState::Intact,
                    Ok(_) => FileState::Changed,
                    Err(e) => FileState::Unreadable(format!("{e:#}")),
                },
            }
        };
        spec.files
            .iter()
            .map(|file| (file.clone(), state(file)))
            .collect()
    }

    /// Removes the model called `name`, also one whose manifest is broken. Records that it encoded
    /// stay as they are.
    ///
    /// # Errors
    /// `ModelNotFound`; `InvalidInput` for a built-in model; `Io`.
    pub fn remove(&self, name: &str) -> Result<()> {
        if builtin::has(name) {
            return Err(Error::invalid(format!(
                "the model `{name}` is built in and can't be removed"
            )));
        }
        let target = self.path_of(name);
        let plain = super::spec::is_plain(name) && !name.starts_with('.');
        if !plain || !target.join(MANIFEST).is_file() {
            return Err(Error::new(
                ErrorKind::ModelNotFound,
                format!(
                    "there is no model `{}` in {}",
                    name.escape_debug(),
                    self.path.display()
                ),
            ));
        }
        // Renamed first, so that a process that is stopped half-way leaves no half of a model.
        let old = self
            .path
            .join(format!("{STAGING}old-{name}-{}", std::process::id()));
        std::fs::rename(&target, &old).map_err(|e| Error::io("remove", &target, e))?;
        std::fs::remove_dir_all(&old).map_err(|e| Error::io("remove", &old, e))?;
        fs::sync_dir(&self.path)
    }
}

/// A folder in which a model is being made; removed unless it was installed.
pub(super) struct Staging {
    path: PathBuf,
}

impl Staging {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What a manifest says of the files here.
    pub(super) fn files(&self) -> Result<Vec<ModelFile>> {
        let mut names = fs::names(&self.path)?;
        names.sort();
        let describe = |name: &std::ffi::OsString| {
            let path = self.path.join(name);
            Ok(ModelFile {
                name: OsStr::to_string_lossy(name).into_owned(),
                bytes: fs::len(&fs::open(&path)?, &path)?,
                sha256: sha256(&path)?,
            })
        };
        names.iter().map(describe).collect()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already if the model was installed.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let failed = |e| Error::io("read", path, e);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}
