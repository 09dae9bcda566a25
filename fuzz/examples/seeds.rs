//! Writes what the fuzz targets begin with: real bytes of a store, one folder for each target.

use std::path::Path;

use latentdb::half::f16;
use latentdb::{
    Coding, Database, ForeignLatent, Latent, LatentShape, Measured, Pixels, Record, Tier, measure,
    source_of,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let to = std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    std::fs::create_dir(&store)?;
    let mut seeds = latentdb::fuzzing::seeds(&store)?;
    // Values of one exponent, of a few, and of all: the forms that a record can have.
    for (n, exponents) in [1, 8, 31].into_iter().enumerate() {
        let folder = folder.path().join(format!("database-{n}"));
        let mut record = record(&folder, exponents)?;
        for coding in [Coding::Fast, Coding::Dense, Coding::Quantised(Tier::Q6)] {
            record.recode(coding)?;
            seeds.push(("record", record.to_bytes()?));
        }
    }
    let whole = with_all_parts(record(&folder.path().join("database-whole"), 8)?)?;
    seeds.push(("record", whole.to_bytes()?));
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    for folder in [images.clone(), images.join("avif")] {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending != "py") {
                seeds.push(("image", std::fs::read(path)?));
            }
        }
    }
    for (n, (target, bytes)) in seeds.into_iter().enumerate() {
        let corpus = Path::new(&to).join(target);
        std::fs::create_dir_all(&corpus)?;
        std::fs::write(corpus.join(format!("seed-{n:02}")), bytes)?;
    }
    Ok(())
}

/// A record as a database keeps it, of values with so many different exponents, and one of a far lower.
fn record(folder: &Path, exponents: u16) -> latentdb::Result<Record> {
    let database = Database::open_or_create(folder)?;
    let shape = LatentShape {
        channels: 4,
        height: 5,
        width: 5,
    };
    let value =
        |n: u16| f16::from_bits((30 - n % exponents) << 10 | n.wrapping_mul(40_503) & 0x83ff);
    let mut values: Vec<f16> = (0..100).map(value).collect();
    values[77] = f16::ZERO;
    let latent = ForeignLatent::new(Latent::new(shape, values)?, "tiny-2", (40, 40));
    database.put_latent("grey", latent, false)?;
    database.store().get(&"grey".parse()?)
}

/// The same record with alpha, a quality and an original.
fn with_all_parts(mut record: Record) -> latentdb::Result<Record> {
    let grey = Pixels::from_rgb(40, 40, vec![128; 40 * 40 * 3])?;
    record.header.alpha = true;
    record.alpha = Some((0..=255).cycle().take(40 * 40).collect());
    record.header.measured = Some(Measured {
        quality: measure(&grey, &grey)?,
        decoder: "tiny".to_owned(),
    });
    let original = b"bytes of a file";
    record.header.source = Some(source_of(original, "grey.png"));
    record.header.original = true;
    record.original = Some(original.to_vec());
    Ok(record)
}
