//! What users say of images, and what is asked by it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::Sandbox;
use support::stores::latent;

use latentdb::{Database, ForeignLatent, Source, Tags};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    let mut tags = Tags::default();
    for (key, value) in pairs {
        tags.set(key, value).unwrap();
    }
    tags
}

/// `a` and `b` of the album `pets`, `c` of another, `d` of none.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    let database = Database::open_or_create(sandbox.path("store")).unwrap();
    for (id, pairs) in [
        ("a", &[("album", "pets"), ("stars", "5")][..]),
        (
            "b",
            &[("album", "pets"), ("stars", "3"), ("text", "two\nlines")],
        ),
        ("c", &[("album", "pets and more")]),
        ("d", &[]),
    ] {
        let source = Source {
            name: format!("{id}.png"),
            format: "png".into(),
            bytes: 7,
            blake3: [id.as_bytes()[0]; 32],
        };
        let latent = ForeignLatent {
            tags: tags(pairs),
            source: Some(source),
            ..latent(1)
        };
        database.put_latent(id, latent, false).unwrap();
    }
    sandbox
}

#[test]
fn ls_where_lists_what_has_all_of_these_tags() {
    let sandbox = filled();
    let list = |conditions: &[&str]| {
        let mut args = vec!["ls"];
        args.extend(
            conditions
                .iter()
                .flat_map(|condition| ["--where", condition]),
        );
        let run = sandbox.run(&args).succeeds();
        run.text().split_whitespace().collect::<String>()
    };
    assert_eq!(list(&["album=pets"]), "ab");
    assert_eq!(list(&["album=pets*"]), "abc");
    assert_eq!(list(&["album=pets", "stars=3"]), "b");
    assert_eq!(list(&["text=two\nlines"]), "b");
    assert_eq!(list(&["album=*"]), "abc");
    assert_eq!(list(&["nothing=*"]), "");
    assert_eq!(list(&["source.name=c.png"]), "c");
    assert_eq!(list(&["source.format=png"]), "abcd");
    assert_eq!(list(&[&format!("source.blake3={}", "64".repeat(32))]), "d");
    assert_eq!(list(&["exif.camera=*"]), "");
    sandbox
        .run(&["ls", "--where", "album"])
        .fails(2, &["KEY=VALUE"]);
}

#[test]
fn info_shows_tags_and_archives_carry_them() {
    let sandbox = filled();
    let info = sandbox.run(&["info", "b"]).succeeds();
    for line in [
        "tag      album=pets",
        "tag      stars=3",
        r"tag      text=two\nlines",
    ] {
        assert!(
            info.text().lines().any(|found| found == line),
            "{}",
            info.text()
        );
    }
    let info = |sandbox: &Sandbox| sandbox.run(&["info", "b", "--json"]).succeeds().json();
    let expected = json!({"album": "pets", "stars": "3", "text": "two\nlines"});
    assert_eq!(info(&sandbox)["tags"], expected);

    sandbox.run(&["export", "-o", "all.tar"]).succeeds();
    let other = Sandbox::new();
    other.write("all.tar", &sandbox.read("all.tar"));
    other.run(&["import", "all.tar"]).succeeds();
    assert_eq!(info(&other)["tags"], expected);
    assert_eq!(info(&other)["source"]["format"], "png");
}

#[test]
fn put_refuses_what_is_no_tag_before_it_makes_a_store() {
    let sandbox = Sandbox::new();
    for (tag, reason) in [
        ("album", "KEY=VALUE"),
        ("=pets", "key of a tag"),
        ("two words=x", "key of a tag"),
        ("exif.taken=now", "what is known of the image's file"),
    ] {
        let args = ["put", "a", "a.png", "--tag", tag];
        sandbox.run(&args).fails(2, &[reason]);
    }
    assert!(!sandbox.path("store").exists());
}
