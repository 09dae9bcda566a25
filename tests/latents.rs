//! Latents go out as files that other programs read, and come in from them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::half::f16;
use latentdb::{Latent, LatentFile, LatentFormat, LatentShape, read_latent, write_latent};
use support::{Sandbox, picture, shared};

fn stored() -> Sandbox {
    let sandbox = Sandbox::new();
    let file = sandbox.image("a.png", &picture(50, 30, 1));
    sandbox.run(&["put", "a", &file]).succeeds();
    sandbox
}

#[test]
fn a_latent_handed_out_and_in_again_decodes_to_the_same_bytes() {
    let sandbox = stored();
    let image = sandbox.run(&["get", "a"]).succeeds().stdout;
    for (name, extra) in [
        ("a.safetensors", &[][..]),
        (
            "a.npy",
            &["--latent-space", "tiny-2", "--size", "50x30"][..],
        ),
    ] {
        sandbox
            .run(&["get", "a", "--latent", "-o", name])
            .succeeds();
        let mut put = vec!["put", name, "--latent", name];
        put.extend(extra);
        sandbox.run(&put).succeeds();
        assert_eq!(
            sandbox.run(&["get", name]).succeeds().stdout,
            image,
            "{name}"
        );
    }
}

#[test]
fn a_safetensors_file_says_what_the_latent_is() {
    let sandbox = stored();
    let bytes = sandbox.run(&["get", "a", "--latent"]).succeeds().stdout;
    let file = read_latent(&bytes, "a").unwrap();
    assert_eq!(file.latent_space.as_deref(), Some("tiny-2"));
    assert_eq!(file.encoder.as_deref(), Some("tiny"));
    assert_eq!(file.size, Some((50, 30)));
    assert_eq!(file.latent.shape().to_string(), "4x4x7");
}

#[test]
fn what_the_file_does_not_say_must_be_said() {
    let sandbox = stored();
    sandbox
        .run(&["get", "a", "--latent", "-o", "a.npy"])
        .succeeds();
    sandbox
        .run(&["put", "b", "--latent", "a.npy"])
        .fails(2, &["hint: say it with --latent-space"]);
    let with_space = ["put", "b", "--latent", "a.npy", "--latent-space", "tiny-2"];
    sandbox
        .run(&with_space)
        .fails(2, &["hint: say it with --size"]);
    let wrong_size = [&with_space[..], &["--size", "512x512"]].concat();
    sandbox.run(&wrong_size).fails(1, &["4x64x64", "4x4x7"]);
    assert_eq!(sandbox.run(&["ls"]).text(), "a\n");
}

#[test]
fn a_decoder_of_another_latent_space_is_refused_by_both_names() {
    let sandbox = stored();
    sandbox
        .run(&["get", "a", "--latent", "-o", "a.npy"])
        .succeeds();
    let put = [
        "put",
        "b",
        "--latent",
        "a.npy",
        "--latent-space",
        "sd-v1",
        "--size",
        "50x30",
    ];
    sandbox.run(&put).succeeds();
    sandbox
        .run(&["get", "b", "--decoder", "tiny"])
        .fails(1, &["`tiny-2`", "`sd-v1`"]);
    sandbox
        .run(&["get", "b"])
        .fails(1, &["no decoder for the latent space `sd-v1`"]);
}

#[test]
fn scaled_latents_are_brought_back_with_the_factors_of_their_space() {
    let sandbox = Sandbox::new();
    let shape = LatentShape {
        channels: 16,
        height: 1,
        width: 1,
    };
    let values: Vec<f16> = (0..16u8)
        .map(|n| f16::from_f32(f32::from(n) / 8.0))
        .collect();
    let latent = Latent::new(shape, values.clone()).unwrap();
    let file = LatentFile {
        latent,
        latent_space: Some("sd3".into()),
        encoder: None,
        size: Some((8, 8)),
        alpha: None,
    };
    sandbox.write(
        "s.safetensors",
        &write_latent(&file, LatentFormat::Safetensors).unwrap(),
    );
    sandbox
        .run(&["put", "a", "--latent", "s.safetensors", "--scaled"])
        .succeeds();
    let bytes = sandbox.run(&["get", "a", "--latent"]).succeeds().stdout;
    let back = read_latent(&bytes, "a").unwrap().latent;
    for (scaled, stored) in values.iter().zip(back.as_slice()) {
        let expected = scaled.to_f64() / 1.5305 + 0.0609;
        assert!(
            (stored.to_f64() - expected).abs() < 1e-3,
            "{stored} is not {expected}"
        );
    }
}

#[test]
fn latents_that_are_damaged_or_not_finite_are_refused() {
    let sandbox = Sandbox::new();
    // A .npy header as numpy writes it, and a value that is no number.
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 1, 1), }";
    npy.extend_from_slice(format!("{header:<117}\n").as_bytes());
    npy.extend_from_slice(&f16::NAN.to_bits().to_le_bytes());
    sandbox.write("nan.npy", &npy);
    sandbox.write("text.safetensors", b"neither one nor the other");
    let more = ["--latent-space", "x", "--size", "8x8"];
    for (name, reason) in [("nan.npy", "NaN"), ("text.safetensors", "text.safetensors")] {
        let put = [&["put", "a", "--latent", name][..], &more].concat();
        sandbox.run(&put).fails(1, &[reason]);
    }
    sandbox
        .run(&["put", "a", "--latent", "missing.npy"])
        .fails(1, &["missing.npy"]);
    assert!(!sandbox.path("store").exists());
}

#[test]
fn latents_that_others_made_are_taken_and_kept_bit_by_bit() {
    let Some(folder) = shared("latents/sd") else {
        return;
    };
    let sandbox = Sandbox::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let original = read_latent(&bytes, &name).unwrap().latent;
        let shape = original.shape();
        let size = format!("{}x{}", shape.width * 8, shape.height * 8);
        let path = path.to_str().unwrap();
        let put = [
            "put",
            &name,
            "--latent",
            path,
            "--latent-space",
            "sd-v1",
            "--size",
            &size,
        ];
        sandbox.run(&put).succeeds();
        let back = sandbox
            .run(&["get", &name, "--latent", "--format", "npy"])
            .succeeds()
            .stdout;
        assert_eq!(read_latent(&back, "back").unwrap().latent, original);
        let info = sandbox.run(&["info", &name, "--json"]).json();
        let (raw, kept) = (info["latent_bytes"].as_f64(), info["bytes_stored"].as_f64());
        assert!(
            raw.unwrap() / kept.unwrap() > 1.1,
            "{name}: the planes compress"
        );
    }
}
