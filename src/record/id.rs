//! The id of a record.
//!
//! Invariant: 1 to 512 bytes of UTF-8 without control characters; ids are compared bytewise.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The name under which a record is kept: 1 to 512 bytes of UTF-8 without control characters.
///
/// Ids are compared byte by byte: no normalisation, upper and lower case differ.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(String);

impl RecordId {
    /// The longest id, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Checks and wraps an id.
    ///
    /// # Errors
    /// `InvalidInput` if it is empty, longer than 512 bytes, or holds a control character.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        if id.is_empty() {
            return Err(Error::invalid("the id is empty"));
        }
        if id.len() > Self::MAX_BYTES {
            return Err(Error::invalid(format!(
                "the id has {} bytes, more than the {} allowed",
                id.len(),
                Self::MAX_BYTES
            )));
        }
        if let Some((at, control)) = id.char_indices().find(|(_, c)| c.is_control()) {
            return Err(Error::invalid(format!(
                "the id has the control character {} at byte {at}",
                control.escape_unicode()
            )));
        }
        Ok(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for RecordId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl TryFrom<&str> for RecordId {
    type Error = Error;

    fn try_from(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_1_to_512_bytes_without_control_characters_are_taken() {
        for good in [
            "a",
            "photos/2026/été 01.jpg",
            "../up",
            &"x".repeat(512),
            "日本",
        ] {
            assert_eq!(RecordId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn every_other_id_is_refused_with_its_reason() {
        for (bad, reason) in [
            ("", "the id is empty"),
            (
                &"x".repeat(5000),
                "the id has 5000 bytes, more than the 512 allowed",
            ),
            ("a\nb", "the id has the control character \\u{a} at byte 1"),
            (
                "a\u{85}",
                "the id has the control character \\u{85} at byte 1",
            ),
            ("\0", "the id has the control character \\u{0} at byte 0"),
        ] {
            assert_eq!(RecordId::new(bad).unwrap_err().to_string(), reason);
        }
    }
}
