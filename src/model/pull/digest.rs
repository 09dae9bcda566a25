//! The hashes of files, as the hub states them.
//!
//! Invariant: what is hashed is what lies on the disk, not what went by on its way there.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::PullFile;
use crate::error::{Error, Result};
use crate::fs;

/// What a file turned out to be.
pub(super) struct Digests {
    pub(super) sha256: String,
    /// Computed only where the hub states no SHA-256.
    git_blob_id: Option<String>,
}

impl Digests {
    /// Hashes the file at `path`, which is to become or be `file`.
    pub(super) fn of(path: &Path, file: &PullFile) -> Result<Self> {
        let mut reader = fs::open(path)?;
        let mut sha256 = Sha256::new();
        let git = file.sha256.is_none().then(|| {
            let length = fs::len(&reader, path)?;
            Ok::<_, Error>(Sha1::new().chain_update(format!("blob {length}\0")))
        });
        let mut git = git.transpose()?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = reader
                .read(&mut buffer)
                .map_err(|e| Error::io("read", path, e))?;
            if read == 0 {
                break;
            }
            sha256.update(&buffer[..read]);
            if let Some(git) = &mut git {
                git.update(&buffer[..read]);
            }
        }
        Ok(Self {
            sha256: hex(&sha256.finalize()),
            git_blob_id: git.map(|git| hex(&git.finalize())),
        })
    }

    /// Refuses bytes that are not those of `file`, naming both hashes.
    ///
    /// Nothing is known of a file that another program left without its hash: it is taken.
    pub(super) fn check(&self, file: &PullFile, path: &Path) -> Result<()> {
        let (kind, expected, found) = match (&file.sha256, &file.git_blob_id, &self.git_blob_id) {
            (Some(expected), ..) => ("SHA-256", expected, &self.sha256),
            (None, Some(expected), Some(found)) => ("git object id", expected, found),
            _ => return Ok(()),
        };
        if expected == found {
            return Ok(());
        }
        Err(Error::corrupted(format!(
            "{} is not `{}`: its {kind} is {found}, and the hub says {expected}",
            path.display(),
            file.name
        )))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_git_and_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"hello\n").unwrap();
        let file = PullFile {
            name: "file".into(),
            bytes: 6,
            sha256: None,
            git_blob_id: None,
            cached: false,
            partial: 0,
        };
        let digests = Digests::of(&path, &file).unwrap();
        assert_eq!(
            digests.git_blob_id.unwrap(),
            "ce013625030ba8dba906f756967f9e9ca394464a" // echo hello | git hash-object --stdin
        );
        assert_eq!(
            digests.sha256,
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
    }
}
