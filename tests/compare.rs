//! `compare`: its tables, its files, and what it leaves alone.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::{ImageFormat, Pixels};
use support::{Sandbox, decoded, finish, picture};

/// Pictures of these names.
fn sandbox(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, seed) in names.iter().zip(1..) {
        sandbox.image(name, &picture(64, 48, seed));
    }
    sandbox
}

#[test]
fn a_file_is_compared_without_a_store_and_json_has_the_keys_that_help_names() {
    let sandbox = sandbox(&["a.png"]);
    let run = sandbox.run(&["compare", "a.png", "--json"]).succeeds();
    let found = run.json();
    let image = &found["images"][0];
    assert_eq!(
        (&image["name"], &image["width"]),
        (&"a.png".into(), &64.into())
    );
    assert_eq!(image["latent_space"], "tiny-2");
    let help = sandbox.run(&["compare", "--help"]).succeeds();
    let contender = &image["contenders"][1];
    assert_eq!(contender["name"], "jpeg");
    for object in [
        image,
        contender,
        &image["contenders"][0],
        &found["summary"][0],
    ] {
        for key in object.as_object().unwrap().keys() {
            assert!(help.text().contains(key), "help doesn't name {key}");
        }
    }
    assert_eq!(found["summary"][1]["psnr"]["mean"], contender["psnr"]);
    assert_eq!(found["summary"][1]["psnr"]["deviation"], 0.0);
    assert!(!sandbox.path("store").exists());
}

#[test]
fn a_record_is_compared_with_its_original_and_the_store_stays_as_it_is() {
    let sandbox = sandbox(&["a.png", "b.png"]);
    sandbox.run(&["put", "a", "a.png"]).succeeds();
    sandbox.run(&["put", "b", "b.png"]).succeeds();
    let listed = |sandbox: &Sandbox| sandbox.run(&["ls", "--json"]).succeeds().stdout;
    let (before, bytes) = (
        listed(&sandbox),
        sandbox.read("store/segments/00000001.seg"),
    );
    let run = sandbox
        .run(&["compare", "b", "a", "--original", "b.png", "a.png"])
        .succeeds();
    assert_eq!(run.stderr, "");
    let tables: Vec<_> = run.text().split("\n\n").collect();
    assert!(
        tables[0].starts_with("b: 64x48 pixels, a latent of "),
        "{}",
        tables[0]
    );
    assert!(tables[1].starts_with("a: 64x48 pixels"), "{}", tables[1]);
    assert!(tables[2].starts_with("2 images: mean"), "{}", tables[2]);
    for table in &tables {
        for name in ["SSIMULACRA2", "\ntiny ", "\nJPEG ", "\nWebP ", "\nAVIF "] {
            assert!(table.contains(name), "no {name} in {table}");
        }
        let widths = table
            .trim_end()
            .lines()
            .skip(1)
            .map(|line| line.chars().count());
        let widths: Vec<_> = widths.collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
    assert_eq!(listed(&sandbox), before);
    assert_eq!(sandbox.read("store/segments/00000001.seg"), bytes);
}

#[test]
fn csv_has_a_line_an_image_and_contender_and_quotes_names() {
    let name = "a, \"b\".png";
    let sandbox = sandbox(&[name]);
    let run = sandbox
        .run(&["compare", name, "-o", "table.csv"])
        .succeeds();
    assert!(run.text().contains("SSIMULACRA2"), "{}", run.text());
    let csv = String::from_utf8(sandbox.read("table.csv")).unwrap();
    let lines: Vec<_> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 5);
    let header = "image,width,height,encoder,latent_space,contender,kind,quality,";
    assert!(lines[0].starts_with(header), "{}", lines[0]);
    for line in &lines[1..] {
        let cells = line
            .strip_prefix("\"a, \"\"b\"\".png\",64,48,tiny,")
            .unwrap();
        assert_eq!(cells.split(',').count() + 4, lines[0].split(',').count());
    }
}

#[test]
fn a_figure_shows_images_differences_and_the_detail() {
    let sandbox = sandbox(&["a.png", "b.png"]);
    let sizes = ["--zoom=8,4,16,12", "--decoders=tiny"].map(|option| {
        let files = ["compare", "a.png", "b.png", option, "-o", "figure.png"];
        sandbox.run(&files).succeeds();
        let figure = decoded(&sandbox.read("figure.png"));
        // Eight times as large, and in the first column.
        let original = figure.crop(40, 120, 512, 384).unwrap();
        let frame = [214, 51, 72];
        let framed = original.as_rgb().chunks(3).any(|pixel| pixel == frame);
        assert_eq!(framed, option.starts_with("--zoom"));
        (figure.width(), figure.height())
    });
    let columns = 5;
    let width = 2 * 40 + columns * 512 + (columns - 1) * 20;
    assert_eq!((sizes[0].0, sizes[1].0), (width, width));
    assert!(sizes[0].1 > sizes[1].1, "{sizes:?}");
    // Nothing but the figure is written.
    let mut names = sandbox.names();
    names.retain(|name| name != "home");
    assert_eq!(names, ["a.png", "b.png", "figure.png"]);
}

#[test]
fn a_page_needs_nothing_beside_it_and_names_are_text() {
    let name = "<script>alert('1')<&script>.png";
    let sandbox = sandbox(&["a.png"]);
    let evil = sandbox.path(name);
    std::fs::rename(sandbox.path("a.png"), evil).unwrap();
    sandbox
        .run(&["compare", name, "-o", "report.html"])
        .succeeds();
    let page = String::from_utf8(sandbox.read("report.html")).unwrap();
    assert!(!page.contains("<script>alert"), "the name is markup");
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
    for outside in ["http:", "https:", "//cdn", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let sources: Vec<_> = page.split("src=\"").skip(1).collect();
    assert_eq!(sources.len(), 5);
    for source in &sources {
        assert!(source.starts_with("data:image/png;base64,"));
    }
    // The first is the original, as it went in.
    let data = sources[0].split(['"', ',']).nth(1).unwrap();
    assert_eq!(decoded(&from_base64(data)), picture(64, 48, 1));
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<_> = text.trim_end_matches('=').bytes().map(value).collect();
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits = (0..4).fold(0, |bits, at| {
            bits << 6 | u32::from(four.get(at).copied().unwrap_or_default())
        });
        let [_, bytes @ ..] = bits.to_be_bytes();
        bytes.into_iter().take(four.len() - 1)
    });
    bytes.collect()
}

#[test]
fn what_is_both_a_file_and_a_record_is_the_file() {
    let sandbox = sandbox(&["a.png"]);
    sandbox.run(&["put", "a.png", "a.png"]).succeeds();
    let run = sandbox.run(&["compare", "a.png", "--json"]).succeeds();
    let note = "note: `a.png` is a file and a record: the file is compared\n";
    assert_eq!(run.stderr, note);
}

#[test]
fn arguments_that_can_not_be_are_refused_before_any_work() {
    let sandbox = sandbox(&["a.png"]);
    sandbox
        .run(&["compare", "b"])
        .fails(1, &["there is no file b, and no store"]);
    sandbox.run(&["put", "a", "a.png"]).succeeds();
    let run = |args: &[&str]| sandbox.run(&[&["compare"], args].concat());
    run(&[]).fails(2, &["<ID|FILE>"]);
    run(&["a"]).fails(
        1,
        &["`a` has no original", "hint: name its file with --original"],
    );
    run(&["b"]).fails(1, &["there is no record `b`, and no file of that name"]);
    run(&["a", "--original", "a.png", "a.png"]).fails(2, &["1 id, and --original names 2 files"]);
    run(&["a.png", "--decoders", "wonder"]).fails(1, &["there is no model `wonder`"]);
    run(&["a.png", "-o", "figure.heic"]).fails(2, &["an image, .html or .csv"]);
    run(&["a.png", "-o", "nowhere/figure.png"]).fails(1, &["there is no folder nowhere"]);
    run(&["a.png", "--zoom", "1,2,3,4"]).fails(2, &["--zoom is for a figure"]);
    run(&["a.png", "--zoom", "1,2,3", "-o", "figure.png"]).fails(2, &["X,Y,W,H"]);
    run(&["a.png", "--zoom", "60,2,9,4", "-o", "figure.png"])
        .fails(1, &["a crop of 9x4 at 60,2 leaves the image of 64x48"]);
    assert!(!sandbox.path("figure.png").exists());
}

#[test]
fn one_bad_file_among_several_is_named_and_the_others_are_compared() {
    let sandbox = sandbox(&["a.png"]);
    sandbox.write("text.png", b"no image");
    let run = sandbox.run(&["compare", "text.png", "a.png", "--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(
        run.stderr.starts_with("error: text.png: "),
        "{}",
        run.stderr
    );
    assert_eq!(run.json()["images"].as_array().unwrap().len(), 1);
}

#[test]
fn an_image_that_a_codec_can_not_hold_is_compared_without_it() {
    let sandbox = Sandbox::new();
    let wide = Pixels::from_rgb(16_400, 8, vec![90; 16_400 * 8 * 3]).unwrap();
    assert_eq!(
        ImageFormat::from_path("a.webp".as_ref()).unwrap(),
        ImageFormat::WebP
    );
    sandbox.image("wide.png", &wide);
    let mut command = sandbox.command();
    let run = finish(command.args(["compare", "wide.png"])).succeeds();
    assert!(run.stderr.contains("without webp"), "{}", run.stderr);
    assert!(!run.text().contains("WebP"), "{}", run.text());
}
