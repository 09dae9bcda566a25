//! The engines that are measured, behind one narrow interface.
//!
//! Invariant: when `commit` returns, its batch has been through `fsync` or `fdatasync`. Every engine is used by one
//! thread and has [`CACHE_BYTES`] of cache of its own where that can be set.

mod fjall;
mod heed;
mod latentdb;
mod plain_files;
mod redb;

use std::path::Path;

use crate::Result;

/// What an engine may cache in its own memory, where it lets itself be told.
pub const CACHE_BYTES: u64 = 64 << 20;

/// The engines, in the order in which they are measured.
pub const NAMES: [&str; 5] = ["latentdb", "redb", "fjall", "heed", "files"];

/// One change of a batch. Values are owned, so that an engine that wants to keep them needn't copy.
pub enum Change {
    /// Store a value under a key, whatever was there.
    Put(Vec<u8>, Vec<u8>),
    /// Remove a key that exists.
    Delete(Vec<u8>),
}

/// Called with each key that was read and its value, which may be borrowed from the engine.
pub type Found<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>);

/// An open engine.
pub trait Engine {
    /// Applies `batch`, durably.
    fn commit(&mut self, batch: Vec<Change>) -> Result<()>;

    /// Looks up each key by itself, inside one read transaction where the engine has them.
    fn read(&self, keys: &mut dyn Iterator<Item = Vec<u8>>, found: Found) -> Result<()>;

    /// Gives space back that nothing lives in. False if the engine has no such call.
    fn compact(&mut self) -> Result<bool>;

    /// Closes in order.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What an engine is set to, for people.
pub fn setting(name: &str) -> &'static str {
    match name {
        "latentdb" => latentdb::SETTING,
        "redb" => redb::SETTING,
        "fjall" => fjall::SETTING,
        "heed" => heed::SETTING,
        "files" => plain_files::SETTING,
        _ => "unknown",
    }
}

/// Opens the engine `name` in `folder`, which is made if there is none. `bound` is the most that will ever lie in
/// it, for engines that must know.
pub fn open(name: &str, folder: &Path, bound: u64) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(folder)?;
    Ok(match name {
        "latentdb" => Box::new(latentdb::Latentdb::open(folder)?),
        "redb" => Box::new(redb::Redb::open(folder)?),
        "fjall" => Box::new(fjall::Fjall::open(folder)?),
        "heed" => Box::new(heed::Heed::open(folder, bound)?),
        "files" => Box::new(plain_files::PlainFiles::open(folder)),
        _ => return Err(format!("no engine `{name}`: known are {}", NAMES.join(", ")).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all engines must agree on, or their times can't be compared.
    #[test]
    fn every_engine_keeps_replaces_and_deletes() {
        for name in NAMES {
            let folder = std::env::temp_dir().join(format!("peers-{name}-{}", std::process::id()));
            let put = |key: &str, value: &str| Change::Put(key.into(), value.into());
            let mut engine = open(name, &folder, 1 << 20).unwrap();
            let first = ["a/1", "a/2", "a/3"].map(|key| put(key, "old"));
            engine.commit(first.into()).unwrap();
            let second = vec![put("a/2", "new"), Change::Delete("a/3".into())];
            engine.commit(second).unwrap();
            engine.compact().unwrap();
            engine.close().unwrap();

            let engine = open(name, &folder, 1 << 20).unwrap();
            let mut values = Vec::new();
            let mut keys = ["a/1", "a/2", "a/3"].into_iter().map(Into::into);
            engine
                .read(&mut keys, &mut |_, value| {
                    values.push(value.map(<[u8]>::to_vec));
                })
                .unwrap();
            engine.close().unwrap();
            assert_eq!(
                values,
                [Some(b"old".into()), Some(b"new".into()), None],
                "{name}"
            );
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
}
