//! Images go in and come back: sizes, formats, sources, replacing, removing.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::ImageFormat;
use support::{Sandbox, decoded, finish, picture};

#[test]
fn an_image_comes_back_at_its_own_size_and_nearly_the_same() {
    let sandbox = Sandbox::new();
    let original = picture(96, 64, 1);
    let file = sandbox.image("a.png", &original);
    let run = sandbox.run(&["put", "a", &file]).succeeds();
    assert!(
        run.stdout.is_empty() && run.stderr.is_empty(),
        "a put that works says nothing"
    );
    sandbox.run(&["get", "a", "-o", "back.png"]).succeeds();
    let back = decoded(&sandbox.read("back.png"));
    assert!(latentdb::psnr(&original, &back).unwrap() > 10.0);
    // stdout carries the same bytes.
    assert_eq!(
        sandbox.run(&["get", "a"]).succeeds().stdout,
        sandbox.read("back.png")
    );
    assert_eq!(
        sandbox.run(&["get", "a", "-o", "-"]).succeeds().stdout,
        sandbox.read("back.png")
    );
}

#[test]
fn sizes_that_are_no_multiple_of_8_come_back_exactly() {
    let sandbox = Sandbox::new();
    for (width, height) in [
        (1, 1),
        (7, 3),
        (8, 8),
        (9, 17),
        (5000, 1),
        (1, 300),
        (33, 65),
    ] {
        let id = format!("{width}x{height}");
        let file = sandbox.image("in.png", &picture(width, height, 2));
        sandbox.run(&["put", &id, &file]).succeeds();
        let back = decoded(&sandbox.run(&["get", &id]).succeeds().stdout);
        assert_eq!((back.width(), back.height()), (width, height));
        let info = sandbox.run(&["info", &id, "--json"]).succeeds().json();
        let cells = |side: u32| side.div_ceil(8);
        assert_eq!(
            info["latent_shape"],
            serde_json::json!([4, cells(height), cells(width)])
        );
        assert_eq!(
            (&info["width"], &info["height"]),
            (&width.into(), &height.into())
        );
    }
}

#[test]
fn the_output_format_follows_the_ending_or_format() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(40, 24, 3));
    sandbox.run(&["put", "a", &file]).succeeds();
    for ending in [
        "png", "jpg", "jpeg", "webp", "avif", "gif", "bmp", "tiff", "qoi", "ppm", "tga",
    ] {
        let name = format!("out.{ending}");
        sandbox.run(&["get", "a", "-o", &name]).succeeds();
        let format: ImageFormat = ending.parse().unwrap();
        let read = latentdb::read_image(&sandbox.read(&name), &name, &latentdb::Limits::default());
        let read = read.unwrap();
        assert_eq!(read.format, format, "{ending}");
        assert_eq!((read.pixels.width(), read.pixels.height()), (40, 24));
        let piped = sandbox
            .run(&["get", "a", "--format", ending, "-o", "-"])
            .succeeds();
        assert_eq!(piped.stdout, sandbox.read(&name), "{ending}");
    }
}

#[test]
fn quality_is_for_formats_that_have_one() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(64, 48, 3));
    sandbox.run(&["put", "a", &file]).succeeds();
    let get = |arguments: &[&str]| sandbox.run(&[&["get", "a"], arguments].concat());
    for format in ["jpeg", "webp", "avif"] {
        let of_quality = |quality| {
            let run = get(&["--format", format, "--quality", quality]).succeeds();
            assert_eq!(decoded(&run.stdout).width(), 64);
            run.stdout.len()
        };
        assert!(of_quality("20") < of_quality("95"), "{format}");
    }
    let named = [
        "png has no quality to choose",
        "jpeg, jpg, jfif, webp, avif",
    ];
    get(&["--quality", "50"]).fails(2, &named);
    get(&["--quality", "0", "-o", "a.jpg"]).fails(2, &["0", "1..=100"]);
    get(&["--quality", "101", "-o", "a.jpg"]).fails(2, &["101", "1..=100"]);
    get(&["-o", "a.hdr"]).fails(2, &["hdr can only be read", "png, jpeg"]);
    assert_eq!(sandbox.names(), ["a.png"], "nothing was written");
}

#[test]
fn a_background_is_a_colour() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(16, 8, 3));
    sandbox.run(&["put", "a", &file]).succeeds();
    let get = |color| sandbox.run(&["get", "a", "--background", color]);
    let plain = get("white").succeeds().stdout;
    for color in ["black", "20ff00", "#20FF00"] {
        let same = get(color).succeeds().stdout == plain;
        assert!(same, "an opaque image has no background");
    }
    for color in ["red", "fff", "20ff0", "20ff00ff", "+20ff0", ""] {
        get(color).fails(2, &["RRGGBB"]);
    }
}

#[test]
fn a_record_is_replaced_only_when_asked_to() {
    let sandbox = Sandbox::new();
    let (one, two) = (picture(16, 16, 1), picture(24, 8, 2));
    let (one, two) = (sandbox.image("1.png", &one), sandbox.image("2.png", &two));
    sandbox.run(&["put", "a", &one]).succeeds();
    let first = sandbox.run(&["get", "a"]).stdout;
    sandbox
        .run(&["put", "a", &two])
        .fails(1, &["`a` exists already", "hint: put --replace"]);
    assert_eq!(sandbox.run(&["get", "a"]).stdout, first);
    sandbox.run(&["put", "a", &two, "--replace"]).succeeds();
    let info = sandbox.run(&["info", "a", "--json"]).json();
    assert_eq!(info["source"]["name"], "2.png");
    assert_eq!(info["width"], 24);
}

#[test]
fn removing_takes_all_that_were_named_or_none() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(8, 8, 1));
    for id in ["a", "b", "c"] {
        sandbox.run(&["put", id, &file]).succeeds();
    }
    sandbox
        .run(&["rm", "a", "nothing"])
        .fails(1, &["there is no `nothing`"]);
    assert_eq!(sandbox.run(&["ls"]).text(), "a\nb\nc\n");
    sandbox.run(&["rm", "a", "c"]).succeeds();
    assert_eq!(sandbox.run(&["ls"]).text(), "b\n");
    sandbox
        .run(&["get", "a"])
        .fails(1, &["there is no record `a`", "hint: latentdb ls"]);
}

#[test]
fn resize_with_center_crop_gives_the_asked_size_and_is_recorded() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(90, 60, 1));
    sandbox
        .run(&["put", "a", &file, "--resize", "32x32", "--center-crop"])
        .succeeds();
    let back = decoded(&sandbox.run(&["get", "a"]).succeeds().stdout);
    assert_eq!((back.width(), back.height()), (32, 32));
    let info = sandbox.run(&["info", "a", "--json"]).json();
    assert_eq!(info["preparation"], "resize=32x32 center-crop");
    sandbox
        .run(&["put", "b", &file, "--center-crop"])
        .fails(2, &["--resize"]);
    sandbox
        .run(&["put", "b", &file, "--resize", "0x5"])
        .fails(2, &["a size is WxH"]);
}

#[test]
fn an_image_may_come_from_stdin() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(16, 8, 4));
    let mut command = sandbox.command();
    let run = finish(
        command
            .args(["put", "a", "-"])
            .write_stdin(sandbox.read(&file)),
    );
    run.succeeds();
    let info = sandbox.run(&["info", "a", "--json"]).json();
    assert_eq!(info["source"]["name"], "stdin");
}

#[test]
fn verbose_says_what_was_done_and_on_which_provider() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(16, 8, 4));
    let run = sandbox.run(&["put", "a", &file, "-v"]).succeeds();
    assert!(run.stderr.contains("stored `a`: 16x8"), "{}", run.stderr);
    assert!(run.stderr.contains("in f32 c"), "{}", run.stderr);
    let run = sandbox.run(&["get", "a", "-v", "-o", "b.png"]).succeeds();
    assert!(
        run.stderr.contains("decoded `a` by tiny in f32 c"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_put_that_ended_is_there_for_every_later_process() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(8, 8, 1));
    sandbox.run(&["put", "a", &file]).succeeds();
    // Neither the index nor the lock is the truth.
    std::fs::remove_dir_all(sandbox.path("store/index")).unwrap();
    std::fs::remove_file(sandbox.path("store/lock")).unwrap();
    sandbox.run(&["get", "a", "-o", "b.png"]).succeeds();
    sandbox.run(&["put", "b", &file]).succeeds();
    assert_eq!(sandbox.run(&["ls"]).text(), "a\nb\n");
}

#[test]
fn a_run_leaves_nothing_in_the_home_folder() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(8, 8, 1));
    sandbox.run(&["put", "a", &file]).succeeds();
    sandbox.run(&["get", "a", "-o", "b.png"]).succeeds();
    // ONNX Runtime would keep a device id there for its telemetry.
    assert_eq!(sandbox.names(), ["a.png", "b.png"]);
}

#[test]
fn what_of_an_image_is_not_kept_is_said() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("moving.gif", include_bytes!("corpus/moving.gif"));
    let run = sandbox.run(&["put", "a", &file]).succeeds();
    assert_eq!(
        run.stderr,
        "note: only the first of several frames was read\n"
    );
}
