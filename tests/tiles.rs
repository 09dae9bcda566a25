//! Images in tiles: the same image as at once, and the record says so.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::{Sandbox, decoded, picture};

fn level(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn an_image_in_tiles_is_that_of_one_run_and_the_record_tells_the_tiles() {
    let sandbox = Sandbox::new();
    sandbox.image("large.png", &picture(701, 523, 5));
    sandbox
        .run(&["put", "whole", "large.png", "--tile", "off"])
        .succeeds();
    sandbox
        .run(&["put", "tiled", "large.png", "--tile", "320"])
        .succeeds();
    let info = |id: &str| sandbox.run(&["info", id, "--json"]).succeeds().json();
    assert_eq!(info("whole")["tiling"], json!(null));
    // Twice what the encoder of `tiny` looks at, but half a tile at the most.
    assert_eq!(
        info("tiled")["tiling"],
        json!({"size": 320, "overlap": 160})
    );
    let text = sandbox.run(&["info", "tiled"]).succeeds();
    assert!(
        text.text()
            .contains("tiles    of 320 pixels, overlapping by 160"),
        "{}",
        text.text()
    );

    let get = |id: &str, tiles: &str| {
        decoded(&sandbox.run(&["get", id, "--tile", tiles]).succeeds().stdout)
    };
    let whole = get("whole", "off");
    for (id, tiles) in [("whole", "544"), ("tiled", "off"), ("tiled", "544")] {
        let image = get(id, tiles);
        assert_eq!((image.width(), image.height()), (701, 523));
        let off = level(whole.as_rgb(), image.as_rgb());
        assert!(off <= 1, "{id} in tiles {tiles} is {off} levels off");
    }
}

#[test]
fn a_small_budget_makes_tiles_and_a_bad_one_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.image("large.png", &picture(701, 523, 5));
    sandbox.run(&["put", "a", "large.png"]).succeeds();
    sandbox
        .run(&["put", "b", "large.png", "--memory", "100M"])
        .succeeds();
    let tiling = |id: &str| sandbox.run(&["info", id, "--json"]).json()["tiling"].clone();
    assert_eq!(tiling("a"), json!(null));
    assert!(tiling("b")["size"].as_u64().unwrap() < 701);
    for (flag, value) in [
        ("--tile", "0"),
        ("--tile", "64:40"),
        ("--tile", "x"),
        ("--memory", "lots"),
    ] {
        sandbox
            .run(&["put", "c", "large.png", flag, value])
            .fails(2, &[value]);
    }
}

#[test]
fn an_image_that_costs_too_much_is_refused_with_the_flag_that_lets_it_in() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(40, 24, 1));
    let limits = "--max-pixels and --max-image-bytes";
    sandbox
        .run(&["put", "a", "a.png", "--max-pixels", "959"])
        .fails(1, &["960 pixels", "959", limits]);
    sandbox
        .run(&["put", "a", "a.png", "--max-image-bytes", "2879"])
        .fails(1, &["2879", limits]);
    sandbox
        .run(&[
            "put",
            "a",
            "a.png",
            "--max-pixels",
            "960",
            "--max-image-bytes",
            "200000",
        ])
        .succeeds();
    let run = sandbox.run(&["ingest", "a.png", "--max-pixels", "959", "--json"]);
    assert_eq!(run.code, 3);
    assert!(
        run.json()["reason"]
            .as_str()
            .unwrap()
            .contains("the limit of 959")
    );
}
