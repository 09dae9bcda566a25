//! Ids as relative file names: percent-encoded, with `/` as the separator of folders.
//!
//! Invariant: two ids never have the same name, nor does the file of one have the name of a folder of another; a name
//! stays below the folder it is put into, and no component of it is special to Unix or Windows, or over 255 bytes.

use std::fmt::Write as _;

use crate::record::RecordId;

/// The ending of what is said of a record.
pub(super) const JSON: &str = ".json";
/// The ending of its values.
pub(super) const TENSOR: &str = ".safetensors";
/// The ending of a file that holds what an image came from. No encoded id has its first character.
pub(super) const ORIGINAL: &str = "@original";

/// How ids become names: the rules that files of different kinds share, and what differs.
#[derive(Clone, Copy)]
pub(crate) struct Naming {
    /// What files may end in, and therefore no folder.
    endings: &'static [&'static str],
    /// Whether the name of a file may have a dot before its ending.
    dots: bool,
}

/// Names of what is in an archive.
pub(super) const ARCHIVE: Naming = Naming {
    endings: &[JSON, TENSOR],
    dots: true,
};

/// Names of latent files in a folder.
pub(crate) const FILES: Naming = Naming {
    endings: &[JSON, TENSOR, ".npy", ".npz"],
    dots: true,
};

/// Names of image files in a folder.
pub(crate) const IMAGES: Naming = Naming {
    endings: &[
        ".png", ".jpg", ".webp", ".avif", ".gif", ".bmp", ".tiff", ".qoi", ".ppm", ".tga",
    ],
    dots: true,
};

/// Keys of samples in a WebDataset shard, where the first dot of a file's name is where its ending begins.
pub(crate) const SAMPLES: Naming = Naming {
    dots: false,
    ..FILES
};

/// A longer component is cut into folders; what is escaped after the cut and an ending still fit into 255 bytes.
const MAX_COMPONENT: usize = 200;

/// What Windows takes for a device, alone and before any ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

impl Naming {
    /// The name of the files of `id`, without their ending.
    ///
    /// To get the id back, remove every `%/` and undo the percent-encoding: [`decode`].
    pub(crate) fn encode(self, id: &RecordId) -> String {
        let mut pieces = Vec::new();
        let components = components(id.as_str());
        let last = components.len() - 1;
        for (at, component) in components.into_iter().enumerate() {
            let cut = cut(&component, self.dots || at < last);
            let end = cut.len() - 1;
            pieces.extend(cut.iter().enumerate().map(|(part, piece)| {
                if part < end {
                    // A percent sign before a separator: the component goes on in this folder.
                    self.guard(piece, false) + "%"
                } else {
                    self.guard(piece, at < last)
                }
            }));
        }
        pieces.join("/")
    }

    /// Escapes what must not stand at either end of a component; in a folder's name also the dot of an ending of files.
    fn guard(self, piece: &str, folder: bool) -> String {
        let device = is_device(piece);
        let ending = folder
            .then(|| self.endings.iter().find(|ending| ends_with(piece, ending)))
            .flatten()
            .map(|ending| piece.len() - ending.len());
        let last = piece.len() - 1;
        let escaped = piece.char_indices().map(|(at, character)| {
            let begins = at == 0 && (device || ".-".contains(character));
            let ends = at == last && character == '.';
            if begins || ends || ending == Some(at) {
                percent(character)
            } else {
                character.into()
            }
        });
        escaped.collect()
    }
}

/// The id that has the name `name` by one of the rules of [`Naming`]; `None` if there is no such id.
pub(crate) fn decode(name: &str) -> Option<RecordId> {
    let name = name.replace("%/", "");
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            // `from_str_radix` takes a sign, too.
            let digits = std::str::from_utf8(digits).ok()?;
            let digits = (!digits.starts_with('+')).then_some(digits)?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    RecordId::new(String::from_utf8(bytes).ok()?).ok()
}

/// The id cut at each `/` that stands between two other characters; no component is empty.
fn components(id: &str) -> Vec<String> {
    let mut components = vec![String::new()];
    let mut characters = id.chars().peekable();
    let mut before = '/';
    while let Some(character) = characters.next() {
        let separates =
            character == '/' && before != '/' && characters.peek().is_some_and(|next| *next != '/');
        if separates {
            components.push(String::new());
        } else if let Some(component) = components.last_mut() {
            component.push(character);
        }
        before = character;
    }
    components
}

/// The component percent-encoded, in pieces of at most `MAX_COMPONENT` bytes.
fn cut(component: &str, dots: bool) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for character in component.chars() {
        let encoded = match character {
            '.' if !dots => percent(character),
            _ => escape(character),
        };
        match pieces.last_mut() {
            Some(piece) if piece.len() + encoded.len() <= MAX_COMPONENT => piece.push_str(&encoded),
            _ => pieces.push(encoded),
        }
    }
    pieces
}

/// A character as it is if RFC 3986 calls it unreserved, else its bytes as `%XX`.
fn escape(character: char) -> String {
    if character.is_ascii_alphanumeric() || "-._~".contains(character) {
        return character.into();
    }
    percent(character)
}

fn percent(character: char) -> String {
    let mut escaped = String::new();
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        // Writing into a string can't fail.
        let _ = write!(escaped, "%{byte:02X}");
    }
    escaped
}

fn is_device(piece: &str) -> bool {
    let stem = piece.split('.').next().unwrap_or_default();
    let stem = stem.to_ascii_lowercase();
    let numbered = |device: &str| {
        let number = stem.strip_prefix(device);
        number.is_some_and(|n| n.len() == 1 && n.bytes().all(|digit| digit.is_ascii_digit()))
    };
    DEVICES.contains(&&*stem) || NUMBERED_DEVICES.into_iter().any(numbered)
}

/// In upper or lower case. Both are ASCII.
fn ends_with(piece: &str, ending: &str) -> bool {
    let at = piece.len().checked_sub(ending.len());
    at.is_some_and(|at| piece[at..].eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn name(id: &str) -> String {
        ARCHIVE.encode(&RecordId::new(id).unwrap())
    }

    fn decoded(name: &str) -> String {
        decode(name).unwrap().to_string()
    }

    /// Asserts that all components of the files' names are safe.
    fn check_safe(id: &str) {
        let name = name(id);
        for ending in ARCHIVE.endings {
            let file = format!("{name}{ending}");
            let components: Vec<_> = file.split('/').collect();
            for (at, component) in components.iter().enumerate() {
                let why = format!("`{component}` of `{id}`");
                assert!((1..=255).contains(&component.len()), "{why}");
                assert!(!component.starts_with(['.', '-']), "{why}");
                assert!(!component.ends_with('.'), "{why}");
                assert!(!is_device(component), "{why}");
                let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
                assert!(component.chars().all(plain), "{why}");
                let is_file = at + 1 == components.len();
                let has_ending = ARCHIVE
                    .endings
                    .iter()
                    .any(|ending| ends_with(component, ending));
                assert_eq!(has_ending, is_file, "{why}");
            }
        }
    }

    #[test]
    fn plain_ids_are_names_as_they_are_and_slashes_are_folders() {
        for id in ["cat", "photos/2026/IMG_0001.jpg", "a/b/cat~1-x.tar.gz"] {
            assert_eq!(name(id), id);
        }
    }

    #[test]
    fn other_characters_are_percent_encoded() {
        for (id, expected) in [
            ("a b", "a%20b"),
            ("50%", "50%25"),
            ("%2E", "%252E"),
            ("été", "%C3%A9t%C3%A9"),
            ("a\\b:c*?\"<>|", "a%5Cb%3Ac%2A%3F%22%3C%3E%7C"),
        ] {
            assert_eq!(name(id), expected);
            assert_eq!(decoded(expected), id);
        }
    }

    #[test]
    fn nothing_leaves_the_folder_and_no_component_is_empty() {
        for (id, expected) in [
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
            ("/etc/passwd", "%2Fetc/passwd"),
            ("a/", "a%2F"),
            ("a//b", "a%2F%2Fb"),
            ("/", "%2F"),
            ("a/./b", "a/%2E/b"),
            (".hidden", "%2Ehidden"),
            ("a./b", "a%2E/b"),
            ("-rf", "%2Drf"),
        ] {
            assert_eq!(name(id), expected);
            check_safe(id);
        }
    }

    #[test]
    fn names_of_devices_are_escaped() {
        for (id, expected) in [
            ("NUL", "%4EUL"),
            ("a/con.tar/b", "a/%63on.tar/b"),
            ("com1", "%63om1"),
            ("com10", "com10"),
            ("console", "console"),
        ] {
            assert_eq!(name(id), expected);
            check_safe(id);
        }
    }

    #[test]
    fn a_folder_never_has_the_name_of_a_file() {
        // The id `a` has the files `a.json` and `a.safetensors`.
        assert_eq!(name("a.json/b"), "a%2Ejson/b");
        assert_eq!(name("a.SafeTensors/b"), "a%2ESafeTensors/b");
        assert_eq!(name("a.json"), "a.json");
        assert_eq!(name("a.jsonl/b"), "a.jsonl/b");
    }

    #[test]
    fn folders_beside_latent_files_have_none_of_their_endings() {
        let id = RecordId::new("a.npy/b.npz/c.npz").unwrap();
        assert_eq!(ARCHIVE.encode(&id), "a.npy/b.npz/c.npz");
        assert_eq!(FILES.encode(&id), "a%2Enpy/b%2Enpz/c.npz");
    }

    #[test]
    fn a_key_of_a_sample_has_no_dot_in_its_last_component() {
        for (id, key) in [
            ("2026.11/cat.v2.jpg", "2026.11/cat%2Ev2%2Ejpg"),
            ("..", "%2E%2E"),
            ("a.npy/b.", "a%2Enpy/b%2E"),
        ] {
            let id = RecordId::new(id).unwrap();
            assert_eq!(SAMPLES.encode(&id), key);
            assert_eq!(decode(key), Some(id));
        }
        // Cut after its escapes, so that every piece stays a name.
        let long = RecordId::new(".".repeat(512)).unwrap();
        let key = SAMPLES.encode(&long);
        assert!(key.split('/').all(|piece| piece.len() <= 201), "{key}");
        assert_eq!(decode(&key), Some(long));
    }

    #[test]
    fn what_is_no_encoded_name_decodes_to_nothing() {
        for name in ["a%2", "a%+1", "a%zz", "%FF", "", "%00"] {
            assert_eq!(decode(name), None, "{name}");
        }
    }

    #[test]
    fn a_long_component_goes_on_in_a_folder() {
        let id = "x".repeat(512);
        let expected = format!(
            "{x}%/{x}%/{rest}",
            x = "x".repeat(200),
            rest = "x".repeat(112)
        );
        assert_eq!(name(&id), expected);
        for id in [
            id,
            "日".repeat(170),
            format!("{}..", "x".repeat(200)),
            format!("{}.json/y", "x".repeat(195)),
            format!("{}nul", "x".repeat(200)),
            "/".repeat(512),
        ] {
            check_safe(&id);
            assert_eq!(decoded(&name(&id)), id);
        }
    }

    /// Ids of what is special in names, and of anything else.
    fn ids() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            6 => prop::sample::select(vec![
                "/", ".", "..", "%", "%2F", "%/", "a", "A", "b", ".json", ".JSON", ".safetensors", "nul", "com1", "-",
                " ", "~", "\\", "é",
            ]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
            1 => "[a-z/]{150,210}",
        ];
        prop::collection::vec(part, 1..9)
            .prop_map(|parts| parts.concat())
            .prop_filter("an id", |id| RecordId::new(&**id).is_ok())
    }

    proptest! {
        #[test]
        fn every_name_is_safe_and_gives_its_id_back(id in ids()) {
            check_safe(&id);
            for naming in [ARCHIVE, FILES, SAMPLES] {
                let name = naming.encode(&RecordId::new(&*id).unwrap());
                prop_assert_eq!(decoded(&name), &*id);
            }
        }

        #[test]
        fn names_of_different_ids_never_collide(ids in prop::collection::btree_set(ids(), 2..12)) {
            let mut files = BTreeSet::new();
            let mut folders = BTreeSet::new();
            for id in &ids {
                let name = name(id);
                for ending in ARCHIVE.endings {
                    prop_assert!(files.insert(format!("{name}{ending}")), "{}", id);
                }
                folders.extend(name.match_indices('/').map(|(at, _)| name[..at].to_owned()));
            }
            prop_assert!(files.is_disjoint(&folders), "{:?}", ids);
        }
    }
}
