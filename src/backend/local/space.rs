//! Room on the disk: asked for before a write, and kept in reserve for the way out.
//!
//! Invariant: a batch that wouldn't fit is refused before a byte of it is written. A file of ballast
//! is given up where the disk is full all the same, so that closing, reopening and deleting work.

use std::path::{Path, PathBuf};

use super::disk::{Access, Medium};
use crate::error::{Error, ErrorKind, Result};

const NAME: &str = "ballast";

/// Enough for sled to open, replay and close with, and for many deletes.
pub(super) const BALLAST_BYTES: u64 = 4 << 20;

/// What a put leaves free: the index writes later than the log.
const RESERVE_BYTES: u64 = 4 << 20;

/// What a delete leaves free.
const SMALL_RESERVE_BYTES: u64 = 128 << 10;

/// Ballast is taken in again where this much is free.
const PLENTY_BYTES: u64 = 64 << 20;

/// The free space of the folder a store lies in.
#[derive(Debug)]
pub(super) struct Space {
    medium: Medium,
    folder: PathBuf,
    ballast_bytes: u64,
}

impl Space {
    pub(super) fn new(medium: &Medium, folder: &Path, ballast_bytes: u64) -> Self {
        Self {
            medium: medium.clone(),
            folder: folder.to_path_buf(),
            ballast_bytes,
        }
    }

    /// Gives up the ballast where there is little room; whether there is some then.
    pub(super) fn make_room(&self) -> Result<bool> {
        if self.medium.available(&self.folder)? >= RESERVE_BYTES {
            return Ok(true);
        }
        self.give_up_ballast()?;
        Ok(self.medium.available(&self.folder)? >= SMALL_RESERVE_BYTES)
    }

    pub(super) fn give_up_ballast(&self) -> Result<()> {
        self.medium.remove(&self.folder.join(NAME))
    }

    /// Takes in ballast where there is plenty of room and none yet.
    pub(super) fn take_in_ballast(&self) -> Result<()> {
        if self.medium.available(&self.folder)? < PLENTY_BYTES
            || self.medium.names(&self.folder)?.iter().any(|n| n == NAME)
        {
            return Ok(());
        }
        let file = self.medium.open(&self.folder.join(NAME), Access::Create)?;
        // No pattern that a file system would compress.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let bytes: Vec<u8> = noise
            .take(self.ballast_bytes as usize / 8)
            .flatten()
            .collect();
        file.write_at(&bytes, 0)
    }

    /// Refuses a write of `bytes` for which there is no room; what `frees` may use the ballast's.
    ///
    /// # Errors
    /// `Full`, by how much.
    pub(super) fn check(&self, bytes: u64, frees: bool) -> Result<()> {
        let wanted = bytes.saturating_add(if frees {
            SMALL_RESERVE_BYTES
        } else {
            RESERVE_BYTES
        });
        let mut available = self.medium.available(&self.folder)?;
        if available < wanted && frees {
            self.give_up_ballast()?;
            available = self.medium.available(&self.folder)?;
        }
        if available >= wanted {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Full,
            format!(
                "{} has {available} bytes left, and {wanted} are needed",
                self.folder.display()
            ),
        ))
    }
}
