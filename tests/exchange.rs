//! Latents go out to the files of trainers and come in from them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::half::f16;
use latentdb::{Database, ForeignLatent, Latent, LatentShape, Tags, read_latent, source_of};
use support::stores::{damage, fill};
use support::{Run, Sandbox};

/// Ids that need care as file names, in bytewise order.
const IDS: [&str; 5] = ["../x", "a.npy/b", "cat v2.jpg", "cat/1", "été"];

fn latent(seed: usize, space: &str) -> ForeignLatent {
    let shape = LatentShape {
        channels: 4,
        height: 2,
        width: 3,
    };
    let values = (0..24).map(|n| f16::from_f32((n * seed) as f32 / 7.0));
    let latent = Latent::new(shape, values.collect()).unwrap();
    let mut tags = Tags::default();
    tags.set("seed", &seed.to_string()).unwrap();
    ForeignLatent {
        encoder: Some("made-up".into()),
        source: Some(source_of(b"a file", "file.png")),
        tags,
        ..ForeignLatent::new(latent, space, (20, 16))
    }
}

/// A store with a record for each id; one of them has alpha.
fn filled(space: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let database = Database::open_or_create(sandbox.path("store")).unwrap();
    for (at, id) in IDS.iter().enumerate() {
        let mut latent = latent(at + 1, space);
        latent.alpha = (at == 1).then(|| (0..20 * 16).map(|n| (n % 256) as u8).collect());
        database.put_latent(id, latent, false).unwrap();
    }
    sandbox
}

/// What is kept of each id in another store, as far as `get --latent` and `info` tell.
fn told(sandbox: &Sandbox, db: &str, ids: &[&str], keys: &[&str]) -> Vec<String> {
    let told = ids.iter().map(|id| {
        let get = ["get", id, "--latent", "--format", "npy", "--db", db];
        let latent = sandbox.run(&get).succeeds().stdout;
        let info = sandbox.run(&["info", id, "--json", "--db", db]).json();
        let said = keys.iter().map(|key| format!("{key} {}", info[key]));
        let said: Vec<_> = said.collect();
        format!("{id} {} {said:?}", blake3::hash(&latent))
    });
    told.collect()
}

fn import(sandbox: &Sandbox, from: &str, flags: &[&str]) -> Run {
    sandbox.run(&[&["import", from, "--db", "other"], flags].concat())
}

#[test]
fn files_of_every_format_come_back_under_their_ids() {
    for (format, flags, keys) in [
        (
            "safetensors",
            &[][..],
            &["width", "height", "alpha", "latent_space", "encoder"][..],
        ),
        (
            "npz",
            &["--latent-space", "sd-v1"],
            &["width", "height", "alpha"],
        ),
        ("npy", &["--latent-space", "sd-v1"], &["latent_shape"]),
    ] {
        let sandbox = filled("sd-v1");
        let export = ["export", "--format", format, "-o", "out", "-v"];
        let run = sandbox.run(&export).succeeds();
        assert_eq!(run.text(), "");
        assert!(
            run.stderr.ends_with("exported 5 records\n"),
            "{}",
            run.stderr
        );
        let noted = run
            .stderr
            .contains("a.npy/b: the image's alpha is left out");
        assert_eq!(noted, format == "npy");
        for name in [
            "%2E%2E/x",
            "a%2Enpy/b",
            "cat%20v2.jpg",
            "cat/1",
            "%C3%A9t%C3%A9",
        ] {
            let path = format!("out/{name}.{format}");
            read_latent(&sandbox.read(&path), &path).unwrap();
        }
        assert_eq!(sandbox.names(), ["out"], "nothing is beside the folder");

        let run = import(&sandbox, "out", flags).succeeds();
        assert_eq!((run.text(), &*run.stderr), ("", "imported 5 records\n"));
        let ids = sandbox.run(&["ls", "--db", "other"]);
        assert_eq!(ids.text().lines().collect::<Vec<_>>(), IDS);
        let expected = told(&sandbox, "store", &IDS, keys);
        assert_eq!(told(&sandbox, "other", &IDS, keys), expected);
    }
}

#[test]
fn a_shard_gives_back_all_that_it_says() {
    let sandbox = filled("sdxl");
    let shard = sandbox.run(&["export", "--format", "wds"]).succeeds();
    assert!(
        shard.stderr.contains("alpha is left out"),
        "{}",
        shard.stderr
    );
    let again = sandbox.run(&["export", "--format", "wds"]).stdout;
    assert!(
        again == shard.stdout,
        "the same records give the same bytes"
    );
    sandbox.write("all.tar", &shard.stdout);
    import(&sandbox, "all.tar", &[]).succeeds();
    let keys = [
        "width",
        "height",
        "latent_space",
        "encoder",
        "fingerprint",
        "tags",
        "source",
    ];
    let expected = told(&sandbox, "store", &IDS, &keys);
    assert_eq!(told(&sandbox, "other", &IDS, &keys), expected);
}

#[test]
fn shards_hold_so_many_records_and_are_numbered_from_zero() {
    let sandbox = filled("sd-v1");
    let export = [
        "export",
        "--format",
        "wds",
        "--shard-records",
        "2",
        "-o",
        "s.tar",
        "-v",
    ];
    let run = sandbox.run(&export).succeeds();
    assert!(run.stderr.contains("wrote 3 shards"), "{}", run.stderr);
    let names = ["s-000000.tar", "s-000001.tar", "s-000002.tar"];
    assert_eq!(sandbox.names(), names);
    for (name, count) in names.into_iter().zip([2, 2, 1]) {
        let records = if count == 1 { "record" } else { "records" };
        let run = import(&sandbox, name, &[]).succeeds();
        assert_eq!(run.stderr, format!("imported {count} {records}\n"));
    }
    let ids = sandbox.run(&["ls", "--db", "other"]);
    assert_eq!(ids.text().lines().collect::<Vec<_>>(), IDS);
}

#[test]
fn values_of_flux_are_exact_after_being_scaled_for_its_trainer() {
    let sandbox = Sandbox::new();
    let database = Database::open_or_create(sandbox.path("store")).unwrap();
    let shape = LatentShape {
        channels: 16,
        height: 8,
        width: 12,
    };
    // Of every exponent that latents have.
    let values = (0..shape.values().unwrap()).map(|n| f16::from_bits((n * 11) as u16));
    let latent = Latent::new(shape, values.collect()).unwrap();
    let latent = ForeignLatent::new(latent, "flux1", (96, 64));
    database.put_latent("a", latent, false).unwrap();
    drop(database);
    sandbox
        .run(&["export", "--format", "npz", "-o", "out"])
        .succeeds();
    import(&sandbox, "out", &["--latent-space", "flux1"]).succeeds();
    let ids = ["a"];
    let expected = told(&sandbox, "store", &ids, &["width"]);
    assert_eq!(told(&sandbox, "other", &ids, &["width"]), expected);
    // A file by itself comes in the same way.
    let put = [
        "put",
        "a",
        "--latent",
        "out/a.npz",
        "--latent-space",
        "flux1",
    ];
    sandbox
        .run(&[&["--db", "third"], &put[..]].concat())
        .succeeds();
    assert_eq!(told(&sandbox, "third", &ids, &["width"]), expected);
}

#[test]
fn a_damaged_record_is_listed_and_stops_no_other() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    damage(&sandbox, "cat 1", 1);
    for (format, output) in [("npy", "out"), ("wds", "out.tar")] {
        let run = sandbox.run(&["export", "--format", format, "-o", output, "-v"]);
        run.fails(
            3,
            &[
                "error: 1 record failed:",
                "\n  cat 1: ",
                "exported 2 records",
            ],
        );
        let run = import(&sandbox, output, &["--latent-space", "tiny-2", "--replace"]);
        assert_eq!(run.succeeds().stderr, "imported 2 records\n");
    }
    assert_eq!(
        sandbox.run(&["ls", "--db", "other"]).text(),
        "cat 0\ncat 2\n"
    );
}

#[test]
fn a_bad_file_is_listed_with_what_to_do_and_stops_no_other() {
    let sandbox = filled("sd-v1");
    sandbox
        .run(&["export", "--format", "npy", "-o", "out"])
        .succeeds();
    sandbox.write("out/bad.npy", b"nothing");
    let large = std::fs::File::create(sandbox.path("out/large.npy")).unwrap();
    large.set_len(600 << 20).unwrap();
    sandbox.write("out/readme.txt", b"not a latent");
    sandbox.write("out/.hidden.npy", b"not looked at");
    sandbox.write("out/cat%2F1_te.npz", b"text of a trainer");
    import(&sandbox, "out", &[]).fails(
        3,
        &[
            "7 latents failed",
            "hint: say it with --latent-space NAME",
            "imported 0 records",
        ],
    );
    let run = import(&sandbox, "out", &["--latent-space", "sd-v1"]);
    run.fails(
        3,
        &[
            "2 latents failed:\n  bad.npy: ",
            "large.npy: the file has 629145600 bytes, more than",
            "imported 5 records",
            "ignored 2 other files",
        ],
    );
    let run = import(&sandbox, "out", &["--latent-space", "sd-v1"]);
    run.fails(
        3,
        &["`cat/1` exists already", "hint: import --replace replaces"],
    );
    for name in ["out/bad.npy", "out/large.npy"] {
        sandbox.write(name, &sandbox.read("out/cat/1.npy"));
    }
    let replace = ["--latent-space", "sd-v1", "--replace"];
    let run = import(&sandbox, "out", &replace).succeeds();
    assert!(
        run.stderr.starts_with("imported 7 records\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn two_files_of_one_id_are_a_failure() {
    let sandbox = filled("sd-v1");
    for format in ["npy", "npz"] {
        let export = [
            "export", "--format", format, "--prefix", "cat/", "-o", "out",
        ];
        sandbox.run(&export).succeeds();
    }
    let run = import(&sandbox, "out", &["--latent-space", "sd-v1"]);
    run.fails(3, &["1.npz: `cat/1` exists already", "imported 1 record\n"]);
}

#[test]
fn the_size_of_an_image_fills_its_cells_where_nobody_says_it() {
    let sandbox = filled("sd-v1");
    let export = ["export", "--format", "npy", "--prefix", "cat/", "-o", "out"];
    sandbox.run(&export).succeeds();
    let size = |from: &str, flags: &[&str]| {
        import(&sandbox, from, &[flags, &["--replace"]].concat()).succeeds();
        let id = if from == "out" { "cat/1" } else { "1" };
        let info = sandbox.run(&["info", id, "--json", "--db", "other"]).json();
        (
            info["width"].as_u64().unwrap(),
            info["height"].as_u64().unwrap(),
        )
    };
    assert_eq!(size("out", &["--latent-space", "sd-v1"]), (24, 16));
    let unknown = ["--latent-space", "mine"];
    import(&sandbox, "out", &unknown)
        .fails(3, &["`mine`", "hint: say it with --compression-ratio N"]);
    let ratio = [&unknown[..], &["--compression-ratio", "32"]].concat();
    assert_eq!(size("out", &ratio), (96, 64));
    let single = ["--latent-space", "sd-v1", "--size", "20x16"];
    assert_eq!(size("out/cat/1.npy", &single), (20, 16));
    import(&sandbox, "out", &single).fails(2, &["--size is of one image"]);
}

#[test]
fn scaled_values_are_brought_back_with_the_factors_of_their_space() {
    let sandbox = filled("sdxl");
    let export = ["export", "--format", "npy", "--prefix", "cat/", "-o", "out"];
    sandbox.run(&export).succeeds();
    import(&sandbox, "out", &["--latent-space", "sdxl", "--scaled"]).succeeds();
    let values = |db: &str| {
        let get = ["get", "cat/1", "--latent", "--db", db];
        let bytes = sandbox.run(&get).succeeds().stdout;
        read_latent(&bytes, "a").unwrap().latent.as_slice().to_vec()
    };
    for (given, kept) in values("store").into_iter().zip(values("other")) {
        assert_eq!(kept, f16::from_f64(given.to_f64() / 0.13025));
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_the_folder_leads_nothing_out_of_it() {
    let sandbox = filled("sd-v1");
    for folder in ["out", "elsewhere"] {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
    }
    sandbox.write("elsewhere/file", b"before");
    let link = |from: &str, to: &str| {
        std::os::unix::fs::symlink(sandbox.path(from), sandbox.path(to)).unwrap();
    };
    link("elsewhere", "out/cat");
    link("elsewhere/file", "out/cat%20v2.jpg.npy");
    let run = sandbox.run(&["export", "--format", "npy", "-o", "out"]);
    run.fails(3, &["1 record failed", "out/cat is no folder"]);
    assert_eq!(sandbox.read("elsewhere/file"), b"before");
    assert_eq!(
        std::fs::read_dir(sandbox.path("elsewhere"))
            .unwrap()
            .count(),
        1
    );
    read_latent(&sandbox.read("out/cat%20v2.jpg.npy"), "the link's place").unwrap();
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let sandbox = filled("sd-v1");
    sandbox.run(&["export", "-o", "archive.tar"]).succeeds();
    sandbox
        .run(&["export", "--format", "wds", "-o", "shard.tar"])
        .succeeds();
    for (args, part) in [
        (&["export", "--format", "npy"][..], "name a folder with -o"),
        (
            &["export", "--shard-records", "2", "-o", "a"],
            "only --format wds",
        ),
        (
            &["export", "--format", "wds", "--shard-records", "2"],
            "name a file with -o",
        ),
        (
            &["import", "archive.tar", "--scaled"],
            "an archive says itself",
        ),
    ] {
        sandbox.run(args).fails(2, &[part]);
    }
    sandbox
        .run(&["import", "missing.npz", "--db", "other"])
        .fails(1, &["can't open missing.npz"]);
    assert!(!sandbox.path("other").exists());
}
