//! Transparent images: alpha comes back byte by byte, and what nobody sees bleeds into nothing.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::{ImageFormat, Pixels, WriteOptions, psnr, write_image};
use support::{Sandbox, decoded, picture};

/// A disc with a soft edge over a hole; what lies under fully transparent pixels is `hidden`.
fn disc(hidden: [u8; 3]) -> Pixels {
    let (width, height) = (96, 72);
    let seen = picture(width, height, 3);
    let alpha: Vec<u8> = (0..width * height)
        .map(|at| {
            let (x, y) = (f64::from(at % width) - 47.5, f64::from(at / width) - 35.5);
            ((28.0 - x.hypot(y)) * 80.0).clamp(0.0, 255.0) as u8
        })
        .collect();
    let (colors, _) = seen.as_rgb().as_chunks::<3>();
    let colors = colors
        .iter()
        .zip(&alpha)
        .flat_map(|(color, &alpha)| if alpha == 0 { hidden } else { *color });
    let pixels = Pixels::from_rgb(width, height, colors.collect()).unwrap();
    pixels.with_alpha(alpha).unwrap()
}

fn png(pixels: &Pixels) -> Vec<u8> {
    write_image(pixels, ImageFormat::Png, &WriteOptions::default()).unwrap()
}

#[test]
fn alpha_comes_back_byte_by_byte_and_is_shown() {
    let sandbox = Sandbox::new();
    let original = disc([0; 3]);
    sandbox.write("disc.png", &png(&original));
    sandbox.run(&["put", "disc", "disc.png"]).succeeds();
    let back = decoded(&sandbox.run(&["get", "disc"]).succeeds().stdout);
    assert!(back.alpha() == original.alpha());
    let info = sandbox.run(&["info", "disc"]).succeeds();
    assert!(
        info.text().contains("96x72 pixels with alpha"),
        "{}",
        info.text()
    );
    assert_eq!(
        sandbox.run(&["info", "disc", "--json"]).json()["alpha"],
        true
    );
    assert_eq!(sandbox.run(&["ls", "--json"]).json()["alpha"], true);
    sandbox.run(&["verify", "--deep"]).succeeds();
}

#[test]
fn what_nobody_sees_changes_nothing() {
    let sandbox = Sandbox::new();
    let latent = |name: &str, hidden| {
        sandbox.write("disc.png", &png(&disc(hidden)));
        sandbox.run(&["put", name, "disc.png"]).succeeds();
        let args = ["get", name, "--latent", "--format", "npy"];
        sandbox.run(&args).succeeds().stdout
    };
    let black = latent("black", [0; 3]);
    assert!(black == latent("magenta", [255, 0, 255]));
}

#[test]
fn edges_do_not_bleed() {
    let sandbox = Sandbox::new();
    let original = disc([0; 3]);
    sandbox.write("disc.png", &png(&original));
    sandbox.run(&["put", "disc", "disc.png"]).succeeds();
    let back = decoded(&sandbox.run(&["get", "disc"]).succeeds().stdout);
    // The same colours with nothing transparent, but black around them: what a program does that takes alpha off.
    let opaque = Pixels::from_rgb(96, 72, original.as_rgb().to_vec()).unwrap();
    sandbox.write("black.png", &png(&opaque));
    sandbox.run(&["put", "black", "black.png"]).succeeds();
    let bled = decoded(&sandbox.run(&["get", "black"]).succeeds().stdout);
    let bled = bled.with_alpha(original.alpha().unwrap().to_vec()).unwrap();
    // Over white, where a dark fringe shows most.
    let white = |pixels: &Pixels| pixels.over([255; 3]).into_owned();
    let quality = |pixels: &Pixels| psnr(&white(pixels), &white(&original)).unwrap();
    let (kept, lost) = (quality(&back), quality(&bled));
    // How much it is depends on the model.
    assert!(kept > lost + 0.5, "{kept} dB and {lost} dB with a fringe");
}

#[test]
fn formats_without_alpha_get_a_background() {
    let sandbox = Sandbox::new();
    sandbox.write("disc.png", &png(&disc([0; 3])));
    sandbox.run(&["put", "disc", "disc.png"]).succeeds();
    let corner = |args: &[&str]| {
        let run = sandbox
            .run(&[&["get", "disc", "--format", "jpeg"], args].concat())
            .succeeds();
        let image = decoded(&run.stdout);
        assert_eq!(image.alpha(), None);
        let pixel = image.crop(0, 0, 1, 1).unwrap();
        [pixel.as_rgb()[0], pixel.as_rgb()[1], pixel.as_rgb()[2]]
    };
    assert!(corner(&[]).iter().all(|value| *value > 250));
    let [red, green, blue] = corner(&["--background", "0040ff"]);
    assert!(
        red < 6 && green.abs_diff(64) < 6 && blue > 249,
        "{red} {green} {blue}"
    );
}
