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
    let again = PutOptions { replace: true, ..PutOptions::default() };
    let stored = db.put("made/sunset", &sunset, &again)?;
    println!("put {}: {} bytes", stored.entry.header.id, stored.entry.stored_bytes);

    // And out, at exactly the same size.
    let decoded = db.get("made/sunset", None)?;
    let fidelity = psnr(&sunset, &decoded.pixels)?;
    println!("got {:?} from `{}`: {fidelity:.1} dB", decoded.pixels, decoded.decoder);

    // Latents go in and out as they are; no model is needed.
    let shape = LatentShape { channels: 4, height: 8, width: 8 };
    let values = (0..256u16).map(|i| f16::from_f32(f32::from(i) / 256.0));
    let foreign = ForeignLatent {
        latent: Latent::new(shape, values.collect())?,
        latent_space: "tiny-1".into(),
        encoder: None,
        width: 64,
        height: 64,
        source: None,
    };
    db.put_latent("made/ramp", foreign, true)?;
    let record = db.store().get(&"made/ramp".parse()?)?;
    let view = record.latent.as_array(); // an ndarray view, without a copy
    println!("latent {:?}, channel 2 begins with {}", view.dim(), view[[2, 0, 0]]);

    for entry in db.store().entries("made/") {
        let entry = entry?;
        let (id, bits) = (&entry.header.id, entry.bits_per_pixel());
        println!("{id}: {}x{} px, {bits:.2} bits per pixel", entry.header.width, entry.header.height);
    }
    Ok(())
}
