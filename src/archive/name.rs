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
/// What no folder ends in.
const ENDINGS: [&str; 2] = [JSON, TENSOR];

/// A longer component is cut into folders; what is escaped after the cut and an ending still fit into 255 bytes.
const MAX_COMPONENT: usize = 200;

/// What Windows takes for a device, alone and before any ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];

/// The name of the files of `id`, without their ending.
///
/// To get the id back, remove every `%/` and undo the percent-encoding.
pub(crate) fn encode(id: &RecordId) -> String {
    let mut pieces = Vec::new();
    let components = components(id.as_str());
    let last = components.len() - 1;
    for (at, component) in components.into_iter().enumerate() {
        let cut = cut(&component);
        let end = cut.len() - 1;
        pieces.extend(cut.iter().enumerate().map(|(part, piece)| {
            if part < end {
                // A percent sign before a separator: the component goes on in this folder.
                guard(piece, false) + "%"
            } else {
                guard(piece, at < last)
            }
        }));
    }
    pieces.join("/")
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
fn cut(component: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for character in component.chars() {
        let encoded = escape(character);
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

/// Escapes what must not stand at either end of a component; in a folder's name also the dot of an ending of files.
fn guard(piece: &str, folder: bool) -> String {
    let device = is_device(piece);
    let ending = folder
        .then(|| ENDINGS.iter().find(|ending| ends_with(piece, ending)))
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
        encode(&RecordId::new(id).unwrap())
    }

    /// What the documentation of [`encode`] says.
    fn decode(name: &str) -> String {
        let name = name.replace("%/", "");
        let mut bytes = Vec::new();
        let mut rest = name.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            if *first == b'%' {
                let digits = std::str::from_utf8(&after[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[2..];
            } else {
                bytes.push(*first);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Asserts that all components of the files' names are safe.
    fn check_safe(id: &str) {
        let name = name(id);
        for ending in ENDINGS {
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
                let has_ending = ENDINGS.iter().any(|ending| ends_with(component, ending));
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
            assert_eq!(decode(expected), id);
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
            assert_eq!(decode(&name(&id)), id);
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
            prop_assert_eq!(decode(&name(&id)), id);
        }

        #[test]
        fn names_of_different_ids_never_collide(ids in prop::collection::btree_set(ids(), 2..12)) {
            let mut files = BTreeSet::new();
            let mut folders = BTreeSet::new();
            for id in &ids {
                let name = name(id);
                for ending in ENDINGS {
                    prop_assert!(files.insert(format!("{name}{ending}")), "{}", id);
                }
                folders.extend(name.match_indices('/').map(|(at, _)| name[..at].to_owned()));
            }
            prop_assert!(files.is_disjoint(&folders), "{:?}", ids);
        }
    }
}
