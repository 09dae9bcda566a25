//! What users say of their images: keys and values.
//!
//! Invariant: each key is there once, keys and values are such that `KEY=VALUE` can be taken apart again and shown on
//! one line, and all of them together are small beside a latent.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 64;

/// What keys of tags don't begin with.
const RESERVED: [&str; 2] = ["exif.", "source."];

/// The most bytes of all keys and values together.
const MAX_BYTES: usize = 32 << 10;

/// Keys and values that a user gave an image, in the order of their keys.
///
/// A key is 1 to 64 bytes of letters, digits, `-`, `_`, `.` or `:`, and doesn't begin with `exif.` or `source.`, which
/// name what records know by themselves; a value is any text, on one line or several. All of them together take at
/// most 32 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Adds a tag, or replaces the value of the one that has its key.
    ///
    /// # Errors
    /// `InvalidInput` if the key can't be one, or all tags take more than 32 KiB.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let plain = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
        if !(1..=MAX_KEY_BYTES).contains(&key.len()) || !key.chars().all(plain) {
            return Err(Error::invalid(format!(
                "`{}` can't be the key of a tag: 1 to {MAX_KEY_BYTES} bytes of letters, digits, '-', '_', '.' or ':'",
                key.escape_debug()
            )));
        }
        if RESERVED.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(Error::invalid(format!(
                "`{key}` can't be the key of a tag: exif. and source. are what is known of the image's file"
            )));
        }
        let others = self.0.iter().filter(|(other, _)| *other != key);
        let others: usize = others.map(|(key, value)| key.len() + value.len()).sum();
        let bytes = others + key.len() + value.len();
        if bytes > MAX_BYTES {
            return Err(Error::invalid(format!(
                "with `{key}` the tags take {bytes} bytes, more than the {MAX_BYTES} allowed"
            )));
        }
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pair = |(key, value)| -> (&String, &String) { (key, value) };
        self.0
            .iter()
            .map(pair)
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the tag `KEY=VALUE` of a record's header.
    pub(super) fn read(&mut self, field: &str) -> Result<()> {
        let damaged = || Error::corrupted("a tag in the header is no KEY=VALUE");
        let (key, value) = field.split_once('=').ok_or_else(damaged)?;
        if self.get(key).is_some() {
            return Err(Error::corrupted(format!(
                "the tag `{}` comes twice",
                key.escape_debug()
            )));
        }
        self.set(key, value).map_err(|e| damaged().with_source(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_stays() {
        let mut tags = Tags::default();
        for (key, value) in [("b", "1"), ("a", "x=y"), ("b", "2")] {
            tags.set(key, value).unwrap();
        }
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "x=y"), ("b", "2")]);
        assert_eq!((tags.get("b"), tags.get("c")), (Some("2"), None));
    }

    #[test]
    fn keys_that_could_not_be_read_back_are_refused() {
        let long = "k".repeat(65);
        for key in ["", "a=b", "a b", "a\n", "exif.taken", "source.x", &long] {
            let error = Tags::default().set(key, "v").unwrap_err();
            assert!(error.to_string().contains("key of a tag"), "{error}");
        }
        Tags::default().set(&long[1..], "").unwrap();
    }

    #[test]
    fn all_tags_together_have_a_limit_and_a_replaced_one_does_not_count() {
        let mut tags = Tags::default();
        let half = "v".repeat(MAX_BYTES / 2);
        tags.set("a", &half).unwrap();
        tags.set("a", &half).unwrap();
        let error = tags.set("b", &half).unwrap_err();
        assert!(error.to_string().contains("32770 bytes"), "{error}");
        assert_eq!(tags.get("b"), None);
    }
}
