//! Images in tars: WebDataset shards and any others, as files and as streams.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use support::folders::{lines, pictures, tar, told};
use support::{Run, Sandbox, finish};

/// Three pictures, a text, and one that is no picture.
fn folder() -> Sandbox {
    let sandbox = Sandbox::new();
    pictures(
        &sandbox,
        &["in/b.png", "in/a/2.jpg", "in/a/1.png"],
        (40, 24),
    );
    sandbox.write("in/notes.txt", b"text");
    sandbox.write("in/c.png", b"no picture");
    sandbox
}

fn ingest(sandbox: &Sandbox, args: &[&str]) -> Run {
    sandbox.run(&[&["ingest"], args].concat())
}

#[test]
fn tars_are_read_from_files_and_from_stdin() {
    let sandbox = folder();
    let files = [
        ("in/b.png", "0001.png"),
        ("in/notes.txt", "0001.txt"),
        ("in/a/2.jpg", "x/2.jpg"),
        ("in/c.png", "3.png"),
    ];
    let shard = tar(&sandbox, &files);
    sandbox.write("shard.tar", &shard);
    let expected = ["0001.png stored", "x/2.jpg stored", "3.png failed"];
    let run = ingest(&sandbox, &["shard.tar", "--dry-run", "--json"]);
    // A dry run decodes nothing.
    assert_eq!(told(&run)[..2], expected[..2]);
    let run = ingest(&sandbox, &["shard.tar", "--json", "--failures", "failed"]);
    assert_eq!(
        (run.code, told(&run)),
        (3, expected.map(str::to_owned).to_vec())
    );
    assert_eq!(lines(&run)[1]["member"], "x/2.jpg");
    assert_eq!(lines(&run)[1]["path"], "shard.tar");
    assert!(
        run.stderr.contains("ignored 1 file: 1 .txt"),
        "{}",
        run.stderr
    );

    let mut command = sandbox.command();
    let run = finish(
        command
            .args(["ingest", "-", "--json"])
            .write_stdin(shard.clone()),
    );
    assert_eq!(told(&run)[..2], ["0001.png skipped", "x/2.jpg skipped"]);

    // What failed is fed back, when it is there.
    let mended = [("in/b.png", "0001.png"), ("in/a/1.png", "3.png")];
    sandbox.write("shard.tar", &tar(&sandbox, &mended));
    let mut command = sandbox.command();
    command
        .args(["ingest", "-", "--json"])
        .write_stdin(sandbox.read("failed"));
    assert_eq!(told(&finish(&mut command)), ["3.png stored"]);

    sandbox.write("cut.tar", &shard[..shard.len() - 2000]);
    let run = ingest(&sandbox, &["cut.tar", "--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert_eq!(told(&run).last().unwrap(), "- failed");
}

#[test]
fn what_in_a_tar_is_no_file_or_lies_behind_damage_is_told_and_the_rest_is_stored() {
    let sandbox = folder();
    let long = format!("{}/2.jpg", "x".repeat(150));
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir("a", sandbox.path("in/a")).unwrap();
    let add = |builder: &mut tar::Builder<_>, file: &str, name: &str| {
        let path = sandbox.path(file);
        builder.append_path_with_name(path, name).unwrap();
    };
    add(&mut builder, "in/b.png", "1.png");
    // Some programs give a link the size of what it leads to, and no bytes.
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Link);
    link.set_size(999);
    builder.append_link(&mut link, "3.png", "1.png").unwrap();
    add(&mut builder, "in/a/2.jpg", &long);
    let whole = builder.into_inner().unwrap();
    let expected = ["1.png stored", "- failed", &format!("{long} stored")];
    // Without the two blocks that end it, and with something behind them.
    for (name, bytes, reason) in [
        ("whole.tar", whole.clone(), ""),
        (
            "cut.tar",
            whole[..whole.len() - 1024].to_vec(),
            "cut.tar to its end",
        ),
        ("two.tar", whole.repeat(2), "two.tar to its end"),
    ] {
        sandbox.write(name, &bytes);
        let store = format!("{name}.latentdb");
        let run = sandbox.run(&["--db", &store, "ingest", name, "--json"]);
        assert_eq!(run.code, 3, "{}", run.stderr);
        assert_eq!(told(&run)[..3], expected, "{name}");
        assert_eq!(told(&run).len(), 3 + usize::from(!reason.is_empty()));
        assert!(run.stderr.contains("3.png: "), "{}", run.stderr);
        assert!(run.stderr.contains("is a hard link"), "{}", run.stderr);
        assert!(run.stderr.contains(reason), "{}", run.stderr);
    }
}
