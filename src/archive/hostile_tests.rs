//! Tars that no export wrote are refused by the name of the entry, before they cost anything.

use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::tests::{archive, assert_same, files, read, record, refusal, tar};
use super::*;

#[test]
fn a_file_without_its_other_half_is_refused_by_both_names() {
    let (json, tensor) = files(&record("a"));
    let (json, tensor) = (&json[..], &tensor[..]);
    for (files, reason) in [
        (
            &[("a.json", json)][..],
            "`a.json` has no `a.safetensors` after it",
        ),
        (
            &[("a.safetensors", tensor)],
            "`a.safetensors` has no `a.json` before it",
        ),
        (
            &[("a.json", json), ("b.json", json)],
            "`a.json` is followed by `b.json` instead of `a.safetensors`",
        ),
        (
            &[("a.json", json), ("b.safetensors", tensor)],
            "`a.json` is followed by `b.safetensors` instead of `a.safetensors`",
        ),
        (
            &[("readme.txt", b"hello")],
            "`readme.txt` ends neither in .json nor in .safetensors",
        ),
    ] {
        let message = refusal(&tar(files));
        assert_eq!(message, format!("the archive's entry {reason}"));
    }
}

#[test]
fn an_entry_under_another_name_than_its_ids_is_refused() {
    let (json, tensor) = files(&record("a/b"));
    for name in ["a", "../a/b", "/a/b", "./a/b", "a%2Fb", "a/B", "a//b"] {
        // Set by hand: `set_path` would put such names in order.
        let mut bytes = tar(&[("x.json", &json), ("x.safetensors", &tensor)]);
        let mut header = Header::from_byte_slice(&bytes[..512]).clone();
        let file = format!("{name}.json");
        header.as_old_mut().name[..file.len()].copy_from_slice(file.as_bytes());
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        let message = refusal(&bytes);
        assert_eq!(
            message,
            format!(
                "the archive's entry `{file}` holds the record `a/b`, which belongs into `a/b.json`"
            )
        );
    }
}

#[test]
fn ids_that_do_not_ascend_are_refused_on_both_sides() {
    let (json_a, tensor_a) = files(&record("a"));
    let (json_b, tensor_b) = files(&record("b"));
    let a: [(&str, &[u8]); 2] = [("a.json", &json_a), ("a.safetensors", &tensor_a)];
    let b: [(&str, &[u8]); 2] = [("b.json", &json_b), ("b.safetensors", &tensor_b)];
    let twice = refusal(&tar(&[a, a].concat()));
    assert!(twice.ends_with("record `a` comes twice"), "{twice}");
    let turned = refusal(&tar(&[b, a].concat()));
    assert!(turned.contains("`a` comes after `b`"), "{turned}");

    for ids in [["a", "a"], ["b", "a"]] {
        let error = write_archive(ids.map(|id| Ok(record(id))), Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_json_that_says_something_else_is_refused() {
    let (json, tensor) = files(&record("a"));
    let json: Value = serde_json::from_slice(&json).unwrap();
    for (key, value, reason) in [
        (
            "format",
            json!("tar"),
            "`tar` instead of `latentdb archive`",
        ),
        (
            "version",
            json!(5),
            "has version 5, this program reads up to version 4",
        ),
        ("coding", json!("slow"), "the coding `slow` is unknown"),
        ("id", json!("a\nb"), "control character"),
        ("id", json!("b"), "holds the record `b`"),
        ("width", json!(0), "0x9"),
        ("width", json!(-1), "is not the JSON of a record"),
        ("width", json!(24), "24x9"),
        (
            "latent_space",
            json!("sd-v1"),
            "`tiny-1` where its JSON says `sd-v1`",
        ),
        ("latent_space", json!("two words"), "`two words`"),
        (
            "latent_shape",
            json!([2, 2, 4]),
            "2x2x3 where its JSON says 2x2x4",
        ),
        ("latent_shape", json!([2, 2]), "is not the JSON of a record"),
        ("latent_shape", json!([0, 2, 2]), "0x2x2"),
        (
            "encoder",
            json!({"name": "tiny", "fingerprint": "7", "computed": ""}),
            "fingerprint `7`",
        ),
        ("unknown", json!([{"tag": 8, "value": "00"}]), "created"),
        (
            "unknown",
            json!([{"tag": 4, "value": "61"}]),
            "tag of one that is known",
        ),
        ("unknown", json!([{"tag": 0x8777, "value": ""}]), "0x8777"),
        ("unknown", json!([{"tag": 9, "value": "0g"}]), "`0g`"),
        (
            "unknown",
            json!([{"tag": 70000, "value": ""}]),
            "is not the JSON of a record",
        ),
        (
            "created_ms",
            json!(5),
            "record `a` of the archive fails its checksum",
        ),
        ("checksum", json!("00"), "checksum `00`"),
        ("later", json!(1), "unknown field `later`"),
        ("alpha", json!(false), "says that there is none"),
        ("tiling", json!({"size": 512}), "missing field `overlap`"),
        (
            "exif",
            json!({"taken": "", "camera": "", "orientation": 9, "position": null}),
            "no orientation 9",
        ),
        (
            "exif",
            json!({"taken": "", "camera": "", "orientation": 0, "position": [91.0, 0.0]}),
            "no place at 91, 0",
        ),
        ("tags", json!({"two words": ""}), "key of a tag"),
    ] {
        let mut changed = json.clone();
        changed[key] = value;
        let changed = changed.to_string();
        let message = refusal(&tar(&[
            ("a.json", changed.as_bytes()),
            ("a.safetensors", &tensor),
        ]));
        assert!(message.contains(reason), "{key}: {message}");
        let named = message.contains("entry `a.") || message.contains("record `a`");
        assert!(named, "{message}");
    }
    let newer = json!({"format": "latentdb archive", "version": 5, "all": "new"}).to_string();
    let error = read(&tar(&[("a.json", newer.as_bytes())])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    let nested = "[".repeat(100_000);
    assert!(refusal(&tar(&[("a.json", nested.as_bytes())])).contains("`a.json` is not"));
}

#[test]
fn a_changed_value_fails_the_checksum() {
    let (json, tensor) = files(&record("a"));
    let alpha = tensor.len() - 23 * 9;
    // The last byte of the latent, and both ends of the alpha.
    for at in [alpha - 1, alpha, tensor.len() - 1] {
        let mut tensor = tensor.clone();
        tensor[at] ^= 1;
        let error = read(&tar(&[("a.json", &json), ("a.safetensors", &tensor)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
    }
}

#[test]
fn links_devices_and_folders_are_refused_by_name() {
    for (entry_type, is) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Directory, "a folder"),
        (EntryType::Fifo, "a pipe"),
        (EntryType::XGlobalHeader, "of the type `g`"),
    ] {
        let mut header = Header::new_ustar();
        header.set_path("a.json").unwrap();
        header.set_entry_type(entry_type);
        header.set_size(0);
        header.set_cksum();
        let message = refusal(header.as_bytes());
        assert_eq!(
            message,
            format!("the archive's entry `a.json` is {is}: only regular files may be in it")
        );
    }
}

/// The header of a file that declares `size` bytes.
fn declared(name: &str, entry_type: EntryType, size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_entry_type(entry_type);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn an_absurd_size_is_refused_before_anything_is_read() {
    let (json, _) = files(&record("a"));
    let json = tar(&[("a.json", &json)]);
    let json = &json[..json.len() - 1024];
    let regular = EntryType::Regular;
    for size in [MAX_JSON + 1, 1 << 40, u64::MAX] {
        let tensor = [json, &declared("a.safetensors", regular, size)].concat();
        for bytes in [
            declared("a.json", regular, size),
            declared("a.json", EntryType::GNULongName, size),
            declared("a.json", EntryType::XHeader, size),
            tensor,
        ] {
            let error = read(&bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert!(error.to_string().contains(&size.to_string()), "{error}");
        }
    }
    // As large as a record may be: nothing is taken for bytes that don't come.
    let mut huge = record("a");
    huge.header.shape.channels = 1 << 31;
    huge.header.shape.height = 1;
    huge.header.shape.width = 1;
    huge.header.latent_error.clear();
    let json = document::write(&huge).unwrap();
    let json = tar(&[("a.json", &json)]);
    let tensor = declared("a.safetensors", regular, huge.header.shape.byte_len());
    let message = refusal(&[&json[..json.len() - 1024], &tensor].concat());
    assert!(message.contains("has 0 of 4294967296 bytes"), "{message}");
}

#[test]
fn a_name_that_a_pax_record_gives_is_read_too() {
    let id = "x/".repeat(120) + "y";
    let record = record(&id);
    let (json, tensor) = files(&record);
    let entry = |ending: &str, data: &[u8]| {
        let path = format!(" path={id}{ending}\n");
        let mut pax = format!("{}{path}", path.len() + 3).into_bytes();
        pax.extend(b"19 mtime=1234567.5\n");
        let mut bytes = declared("pax", EntryType::XHeader, pax.len() as u64);
        pax.resize(512, 0);
        bytes.extend(pax);
        bytes.extend(tar(&[("short", data)]));
        bytes.truncate(bytes.len() - 1024);
        bytes
    };
    let end = [0; 1024];
    let both = [&entry(JSON, &json)[..], &entry(TENSOR, &tensor), &end].concat();
    assert_same(&read(&both).unwrap(), &[record]);

    let mut size = declared("pax", EntryType::XHeader, 10);
    size.extend(b"10 size=1\n");
    size.resize(1024, 0);
    assert!(refusal(&size).contains("gives a size by a pax record"));
}

#[test]
fn bytes_that_are_no_archive_or_more_than_one_are_refused() {
    assert!(refusal(&[]).contains("ends early, before its first entry"));
    assert_eq!(refusal(&[b'x'; 4096]), "the bytes are no tar archive");
    let bytes = archive(&[record("a")]);
    let two = [&bytes[..], &archive(&[record("b")])].concat();
    assert!(refusal(&two).contains("goes on after its end mark"));
    // Tar programs fill the last block of 10 KiB with zeros.
    let padded = [&bytes[..], &[0; 7000]].concat();
    assert_eq!(read(&padded).unwrap().len(), 1);
}
