//! Which id an input gets.
//!
//! Invariant: the same input gets the same id in every run.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::record::RecordId;

/// How ids are made of inputs: a text with parts in braces.
///
/// Parsed from `path`, `stem`, `hash`, or a template such as `photos/{stem}`, with the parts
/// - `{path}`: the relative path with its ending, `/` between folders;
/// - `{dir}`: the folders of the path, without the last `/`;
/// - `{stem}`: the file's name without its ending;
/// - `{ext}`: the ending, without its dot;
/// - `{hash}`: BLAKE3 of the file's bytes, 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Path,
    Dir,
    Stem,
    Ext,
    Hash,
}

/// The parts by their names.
const PARTS: [(&str, Part); 5] = [
    ("path", Part::Path),
    ("dir", Part::Dir),
    ("stem", Part::Stem),
    ("ext", Part::Ext),
    ("hash", Part::Hash),
];

impl Default for IdTemplate {
    /// The relative path.
    fn default() -> Self {
        Self(vec![Part::Path])
    }
}

impl IdTemplate {
    /// Whether the file's bytes must be read for it.
    pub(super) fn needs_hash(&self) -> bool {
        self.0.contains(&Part::Hash)
    }

    /// The id of the input with the relative path `path` and, where the template needs it, the BLAKE3 of its bytes.
    ///
    /// # Errors
    /// `InvalidInput` if that can't be an id.
    pub(super) fn id(&self, path: &str, hash: Option<&[u8; 32]>) -> Result<RecordId> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        // A name such as `.png` is all stem.
        let (stem, ext) = match name.rsplit_once('.') {
            Some((stem, ext)) if !stem.is_empty() => (stem, ext),
            _ => (name, ""),
        };
        let mut id = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => id.push_str(text),
                Part::Path => id.push_str(path),
                Part::Dir => id.push_str(dir),
                Part::Stem => id.push_str(stem),
                Part::Ext => id.push_str(ext),
                Part::Hash => {
                    let hash = hash.map(|hash| blake3::Hash::from_bytes(*hash).to_hex());
                    id.push_str(hash.as_ref().map_or("", |digits| digits.as_str()));
                }
            }
        }
        // `{dir}/{stem}` of a file that lies in no folder.
        let id = if dir.is_empty() {
            id.trim_start_matches('/')
        } else {
            &id
        };
        RecordId::new(id)
    }
}

impl FromStr for IdTemplate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let part = |name: &str| {
            PARTS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, part)| part.clone())
        };
        let invalid = |why: &str| {
            Error::invalid(format!(
                "`{}` is no template of ids: {why}; known are path, stem, hash, and a text with {{path}}, {{dir}}, {{stem}}, {{ext}} or {{hash}}",
                text.escape_debug()
            ))
        };
        if let Some(part @ (Part::Path | Part::Stem | Part::Hash)) = part(text) {
            return Ok(Self(vec![part]));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| invalid("a brace isn't closed"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let part = part(name).ok_or_else(|| invalid(&format!("there is no {{{name}}}")))?;
            parts.push(part);
            rest = after;
        }
        if parts.is_empty() {
            return Err(invalid("all images would get the same id"));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(template: &str, path: &str) -> String {
        let template: IdTemplate = template.parse().unwrap();
        template.id(path, Some(&[0xab; 32])).unwrap().to_string()
    }

    #[test]
    fn ids_are_made_of_the_parts_of_paths() {
        let path = "2026/11/cat.v2.jpg";
        for (template, expected) in [
            ("path", "2026/11/cat.v2.jpg"),
            ("stem", "cat.v2"),
            ("photos/{stem}", "photos/cat.v2"),
            ("{dir}/{stem}", "2026/11/cat.v2"),
            ("{stem}.{ext}!", "cat.v2.jpg!"),
        ] {
            assert_eq!(id(template, path), expected);
        }
        assert_eq!(id("hash", path), "ab".repeat(32));
        assert_eq!(id("x-{hash}", path), format!("x-{}", "ab".repeat(32)));
        assert_eq!(id("{dir}/{stem}", "cat.jpg"), "cat");
        assert_eq!(id("{stem}", ".png"), ".png");
        assert_eq!(
            IdTemplate::default().id("a/b.png", None).unwrap().as_str(),
            "a/b.png"
        );
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_known_parts() {
        for (template, reason) in [
            ("photo", "same id"),
            ("", "same id"),
            ("{name}", "no {name}"),
            ("{stem", "isn't closed"),
        ] {
            let error = template.parse::<IdTemplate>().unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("{hash}"),
                "{error}"
            );
        }
        let template: IdTemplate = "{ext}".parse().unwrap();
        assert!(template.id("a/b", None).is_err());
    }
}
