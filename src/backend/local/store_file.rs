//! `store.json`: what makes a folder a store.
//!
//! Invariant: it is written last when a store is made and never changed, so a folder that has it
//! is a whole store, and its format version is known before any other byte is read.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::Medium;
use super::segment::StoreId;
use crate::error::{Error, ErrorKind, Result};

pub(super) const NAME: &str = "store.json";

/// The version of the store's layout on disk that this program reads and writes.
pub(super) const FORMAT: u32 = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoreFile {
    /// Says to people and to `file` what the folder is.
    application: String,
    format: u32,
    /// 32 hexadecimal digits.
    store: String,
    /// What layers above keep about the store as a whole.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
}

const APPLICATION: &str = "latentdb store";

impl StoreFile {
    pub(super) fn new(properties: BTreeMap<String, String>) -> Self {
        Self {
            application: APPLICATION.into(),
            format: FORMAT,
            store: random_hex(),
            properties,
        }
    }

    pub(super) fn write(&self, medium: &Medium, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(ErrorKind::Io, "can't write store.json").with_source(e))?;
        text.push('\n');
        medium.write_atomic(&folder.join(NAME), text.as_bytes())
    }

    /// Reads the file of the store in `folder`.
    pub(super) fn read(medium: &Medium, folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let not_found = |what: &str| {
            Error::new(
                ErrorKind::StoreNotFound,
                format!("{} {what}", folder.display()),
            )
        };
        match std::fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(not_found("is a file, and a store is a folder"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(not_found("doesn't exist"));
            }
            Err(error) => return Err(Error::io("look at", folder, error)),
            Ok(_) => {}
        }
        let Some(bytes) = medium.read(&path)? else {
            return Err(not_found("is no store: it has no store.json"));
        };
        let damaged = || Error::corrupted(format!("{} is damaged", path.display()));
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| damaged().with_source(e))?;
        // The version is looked at first: a later format may have other fields.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(unsupported(folder, format)),
            None => return Err(damaged()),
        }
        let file: Self = serde_json::from_value(value).map_err(|e| damaged().with_source(e))?;
        if file.application != APPLICATION || file.id().is_none() {
            return Err(damaged());
        }
        Ok(file)
    }

    /// The store's id; `None` if the digits are none.
    pub(super) fn id(&self) -> Option<StoreId> {
        let number = u128::from_str_radix(&self.store, 16).ok()?;
        (self.store.len() == 32).then(|| number.to_be_bytes())
    }
}

fn unsupported(folder: &Path, format: u64) -> Error {
    let folder = folder.display();
    let error = Error::new(
        ErrorKind::UnsupportedVersion,
        format!("{folder} has store format {format}, this program reads format {FORMAT}"),
    );
    if format < u64::from(FORMAT) {
        error.with_hint("latentdb migrate upgrades it; --dry-run says what it would do")
    } else {
        error.with_hint("a newer latentdb wrote it: use that one or a later one")
    }
}

/// 128 bits that no other store has: the standard library's hash keys come from the system's
/// random source, and each hasher has others.
fn random_hex() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
