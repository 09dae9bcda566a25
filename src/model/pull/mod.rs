//! Known models of the Hugging Face hub: what they are, what they cost, and fetching them.
//!
//! Invariant: what a pull hands out is whole and has the hashes that the hub says; only names from
//! our own table ever become paths. Only this folder knows HTTP (`ureq`).
//!
//! Files lie where Python's `huggingface_hub` keeps them, under the same locks, so that each finds
//! what the other loaded.

mod access;
mod cache;
mod digest;
mod fetch;
mod http;
mod plan;

use std::path::PathBuf;

use super::known::KnownModel;
pub use access::HubAccess;

/// What a pull would load, known before the first byte of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullPlan {
    /// The model asked for.
    pub model: KnownModel,
    /// The commit that the hub's revision `main` is at.
    pub commit: String,
    /// The licence that the hub states, or else the one in our table.
    pub license: String,
    /// The model's page, where its licence can be read and accepted.
    pub page: String,
    /// The model's files, in the order of the table.
    pub files: Vec<PullFile>,
    /// Why the hub was not asked. The commit is then the one that the cache remembers, the licence
    /// that of our table, and all files are cached.
    pub unasked: Option<String>,
}

/// One file of a [`PullPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullFile {
    /// Its path in the repository, with `/` between folders.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 that a large file (Git LFS) must have.
    pub sha256: Option<String>,
    /// The git object id, a SHA-1 over size and bytes, that a small file must have.
    pub git_blob_id: Option<String>,
    /// Whether a file of this hash and size is in the cache. Its bytes are looked at by the fetch.
    pub cached: bool,
    /// How many bytes of it a broken pull left; the next one goes on from there.
    pub partial: u64,
}

impl PullFile {
    /// The name of the file's bytes in the cache: the hub's entity tag.
    fn key(&self) -> Option<&str> {
        self.sha256.as_deref().or(self.git_blob_id.as_deref())
    }
}

impl PullPlan {
    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        sum(self.files.iter().map(|file| file.bytes))
    }

    /// How much of it has still to be loaded.
    pub fn bytes_to_load(&self) -> u64 {
        let missing = self.files.iter().filter(|file| !file.cached);
        sum(missing.map(|file| file.bytes - file.partial.min(file.bytes)))
    }
}

/// Sizes come from a server: any sum must do.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullProgress<'a> {
    /// The file at hand, as the repository names it.
    pub file: &'a str,
    /// What is done with it.
    pub stage: PullStage,
    /// The bytes that are here, over all files. Falls when a file must be started over.
    pub done: u64,
    /// The bytes of all files.
    pub total: u64,
}

/// What a fetch does with a file at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullStage {
    /// Another process is loading the same file.
    Waiting,
    /// Its bytes arrive.
    Loading,
    /// The connection broke or the hub is busy: a pause before asking again.
    Pausing,
    /// Its hash is computed.
    Checking,
    /// It is whole and has the right hash.
    Whole,
}

/// A model that lies on this machine, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The folder with `config.json`.
    pub folder: PathBuf,
    /// The model's files, in the order of the table.
    pub files: Vec<PulledFile>,
}

/// One file of a [`Pulled`] model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledFile {
    /// Its path in the repository.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, whether or not the hub states one.
    pub sha256: String,
}
