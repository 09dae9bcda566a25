//! `store.json`: what makes a folder a store.
//!
//! Invariant: it is written last when a store is made and never changed, so a folder that has it
//! is a whole store, and its format version is known before any other byte is read.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

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
    pub(super) store: String,
    /// 16 hexadecimal digits: XXH3-64 of the file with zeros in their place. Format 1 had none.
    #[serde(default)]
    checksum: String,
    /// What layers above keep about the store as a whole.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
}

const APPLICATION: &str = "latentdb store";
const ZEROS: &str = "0000000000000000";

impl StoreFile {
    pub(super) fn new(properties: BTreeMap<String, String>) -> Self {
        Self {
            application: APPLICATION.into(),
            format: FORMAT,
            store: random_hex(),
            checksum: ZEROS.into(),
            properties,
        }
    }

    pub(super) fn write(&self, medium: &Medium, folder: &Path) -> Result<()> {
        let unsummed = Self {
            checksum: ZEROS.into(),
            ..self.clone()
        };
        let mut text = serde_json::to_string_pretty(&unsummed)
            .map_err(|e| Error::new(ErrorKind::Io, "can't write store.json").with_source(e))?;
        text.push('\n');
        let text = with_checksum(&text, ZEROS, &checksum(&text));
        medium.write_atomic(&folder.join(NAME), text.as_bytes())
    }

    /// Reads the file of the store in `folder`, which must have the present format.
    pub(super) fn read(medium: &Medium, folder: &Path) -> Result<Self> {
        let format = Self::format(medium, folder)?;
        if format < FORMAT {
            let error = unsupported(folder, format.into());
            return Err(
                error.with_hint("latentdb migrate upgrades it; --dry-run says what it would do")
            );
        }
        Self::any_format(medium, folder)
    }

    /// The format of the store in `folder`: the present one or an older one.
    pub(super) fn format(medium: &Medium, folder: &Path) -> Result<u32> {
        let bytes = Self::bytes(medium, folder)?;
        // The format is looked at first: a later one may have other fields.
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
        let value = value.map_err(|e| damaged(folder).with_source(e))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        match format.ok_or_else(|| damaged(folder))? {
            format if format > u64::from(FORMAT) => {
                let error = unsupported(folder, format);
                Err(error.with_hint("a newer latentdb wrote it: use that one or a later one"))
            }
            0 => Err(damaged(folder)),
            format => Ok(format as u32),
        }
    }

    /// Reads what the file says apart from the format.
    pub(super) fn any_format(medium: &Medium, folder: &Path) -> Result<Self> {
        let bytes = Self::bytes(medium, folder)?;
        let file: Result<Self, _> = serde_json::from_slice(&bytes);
        let file = file.map_err(|e| damaged(folder).with_source(e))?;
        let text = String::from_utf8_lossy(&bytes);
        let unsummed = with_checksum(&text, &file.checksum, ZEROS);
        // Format 1 had no checksum.
        let whole = file.format == 1 || checksum(&unsummed) == file.checksum;
        if file.application != APPLICATION || file.id().is_none() || !whole {
            return Err(damaged(folder));
        }
        Ok(file)
    }

    /// Says that the store in `folder` has the format `to`, and nothing else anew.
    pub(super) fn raise_format(medium: &Medium, folder: &Path, to: u32) -> Result<()> {
        let mut file = Self::any_format(medium, folder)?;
        file.format = to;
        file.write(medium, folder)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// `StoreNotFound` where there is no store.
    pub(super) fn bytes(medium: &Medium, folder: &Path) -> Result<Vec<u8>> {
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
        let bytes = medium.read(&folder.join(NAME))?;
        bytes.ok_or_else(|| not_found("is no store: it has no store.json"))
    }

    /// The store's id; `None` if the digits are none.
    pub(super) fn id(&self) -> Option<StoreId> {
        let number = u128::from_str_radix(&self.store, 16).ok()?;
        (self.store.len() == 32).then(|| number.to_be_bytes())
    }
}

fn damaged(folder: &Path) -> Error {
    Error::corrupted(format!("{} is damaged", folder.join(NAME).display()))
}

fn checksum(text: &str) -> String {
    format!("{:016x}", XxHash3_64::oneshot(text.as_bytes()))
}

/// The text of a file with another checksum in it.
fn with_checksum(text: &str, from: &str, to: &str) -> String {
    let field = |digits: &str| format!("\"checksum\": \"{digits}\"");
    text.replacen(&field(from), &field(to), 1)
}

fn unsupported(folder: &Path, format: u64) -> Error {
    let folder = folder.display();
    Error::new(
        ErrorKind::UnsupportedVersion,
        format!("{folder} has store format {format}, this program reads format {FORMAT}"),
    )
}

/// 128 bits that no other store has: the standard library's hash keys come from the system's
/// random source, and each hasher has others.
fn random_hex() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
