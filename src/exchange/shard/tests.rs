//! What is a shard, what its samples are, and how its files are numbered.

use super::*;
use std::path::Path;

/// A tar of these files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entries = EntryWriter::new(&mut bytes);
    for (name, data) in files {
        entries.append(name, 0, data).unwrap();
    }
    entries.finish().unwrap();
    bytes
}

#[test]
fn keys_end_at_the_first_dot_of_the_last_component() {
    for (name, parts) in [
        ("a.npy", ("a", "npy")),
        ("v1.0/a.latent.npy", ("v1.0/a", "latent.npy")),
        ("v1.0/a", ("v1.0/a", "")),
        (".npy", ("", "npy")),
    ] {
        assert_eq!(split(name), parts);
    }
}

#[test]
fn files_with_one_key_are_a_sample_and_what_is_no_latent_is_passed_over() {
    let bytes = tar(&[
        ("0.jpg", b"an image"),
        ("0.npy", b"zero"),
        ("0.json", b"{}"),
        ("1.txt", b"no latent"),
        ("2.a.npz", b"two"),
        ("2.b.safetensors", b"and another"),
    ]);
    let groups: Vec<_> = ShardReader::new(&bytes[..]).map(Result::unwrap).collect();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].key, "0");
    assert_eq!(groups[0].latents, [("0.npy".into(), b"zero".to_vec())]);
    assert_eq!(groups[0].json.as_deref(), Some(&b"{}"[..]));
    let names = groups[1].latents.iter().map(|(name, _)| name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["2.a.npz", "2.b.safetensors"]);
}

#[test]
fn a_shard_that_ends_early_gives_what_came_before_and_one_error() {
    let bytes = tar(&[("0.npy", b"zero"), ("1.npy", b"one")]);
    // The end of the header of the second file.
    let mut read = ShardReader::new(&bytes[..3 * 512]);
    assert!(read.next().is_some_and(|group| group.is_err()));
    assert!(read.next().is_none());
    let mut read = ShardReader::new(&bytes[..4 * 512]);
    assert_eq!(read.next().unwrap().unwrap().key, "0");
    assert!(read.next().is_some_and(|group| group.is_err()));
    assert!(read.next().is_none());
}

#[test]
fn a_shard_is_told_from_an_archive_by_what_it_begins_with() {
    let archive = br#"{"format": "latentdb archive", "version": 2}"#;
    for (files, shard) in [
        (
            &[("a.json", &archive[..]), ("a.safetensors", b"")][..],
            false,
        ),
        (&[("a.json", b"{\"id\": 1}"), ("a.npy", b"")], true),
        (&[("a.json", b"{\"format\": \"jpeg\"}")], true),
        (&[("a.jpg", b"image"), ("a.npy", b"")], true),
        (&[("a.json", b"no json")], false),
        (&[("a.txt", b"")], false),
        (&[], false),
    ] {
        assert_eq!(is_shard(&tar(files)), shard, "{files:?}");
    }
    assert!(!is_shard(b"no tar"));
}

#[test]
fn shards_are_numbered_before_their_ending() {
    for (path, expected) in [
        ("a/train.tar", "a/train-000003.tar"),
        ("v1.0", "v1-000003.0"),
        ("train", "train-000003"),
    ] {
        assert_eq!(numbered(Path::new(path), 3), Path::new(expected));
    }
}
