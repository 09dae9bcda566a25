//! How a program embeds latentdb: `cargo run --example embed -- [FOLDER]`.
//!
//! Invariant: everything is done with the public API, and the program can be run again.

use latentdb::{Database, ForeignLatent, Latent, LatentShape, Pixels, PutOptions, half::f16, psnr};

fn main() -> latentdb::Result<()> {
    let given = std::env::args_os().nth(1).map(std::path::PathBuf::from);
    let folder = given.unwrap_or_else(|| std::env::temp_dir().join("latentdb-embed"));
    let db = Database::open_or_create(&folder)?;

    // An image in: encoded, kept, and durable when `put` returns.
    let (width, height) = (200u32, 120u32);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let rgb = places.flat_map(|(x, y)| [x as u8, (2 * y) as u8, 96]);
    let sunset = Pixels::from_rgb(width, height, rgb.collect())?;
    let replace = PutOptions {
        replace: true,
        ..PutOptions::default()
    };
    let stored = db.put("made/sunset", &sunset, &replace)?;
    println!("put {}", stored.entry.header.id);

    // And out, at exactly the same size.
    let decoded = db.get("made/sunset", None)?;
    println!("got {:?}, computed in {}", decoded.pixels, decoded.computed);
    println!("PSNR {:.1} dB", psnr(&sunset, &decoded.pixels)?);

    // Latents go in and out as they are; no model is needed.
    let [channels, height, width] = [4, 8, 8];
    let shape = LatentShape {
        channels,
        height,
        width,
    };
    let values = (0..256u16).map(|i| f16::from_f32(f32::from(i) / 256.0));
    let foreign = ForeignLatent::new(Latent::new(shape, values.collect())?, "tiny-2", (64, 64));
    db.put_latent("made/ramp", foreign, true)?;
    let record = db.store().get(&"made/ramp".parse()?)?;
    let view = record.latent.as_array(); // an ndarray view, without a copy
    println!("latent {:?}, in its middle {}", view.dim(), view[[2, 0, 0]]);

    for entry in db.store().entries("made/") {
        let entry = entry?;
        let (id, bits) = (&entry.header.id, entry.bits_per_pixel());
        println!("{id}: {} bytes, {bits:.2} bits a pixel", entry.stored_bytes);
    }
    Ok(())
}
