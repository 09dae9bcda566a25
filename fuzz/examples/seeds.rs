//! Writes what the fuzz targets begin with: real bytes of a store, one folder for each target.

use std::path::Path;

use latentdb::half::f16;
use latentdb::{Database, ForeignLatent, Latent, LatentShape};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let to = std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    std::fs::create_dir(&store)?;
    let mut seeds = latentdb::fuzzing::seeds(&store)?;
    seeds.push(("record", record(&folder.path().join("database"))?));
    for (n, (target, bytes)) in seeds.into_iter().enumerate() {
        let corpus = Path::new(&to).join(target);
        std::fs::create_dir_all(&corpus)?;
        std::fs::write(corpus.join(format!("seed-{n:02}")), bytes)?;
    }
    Ok(())
}

/// A record as a database keeps it.
fn record(folder: &Path) -> latentdb::Result<Vec<u8>> {
    let database = Database::open_or_create(folder)?;
    let shape = LatentShape {
        channels: 4,
        height: 2,
        width: 3,
    };
    let latent = ForeignLatent {
        latent: Latent::new(shape, vec![f16::ONE; 24])?,
        latent_space: "tiny-1".into(),
        encoder: None,
        width: 24,
        height: 16,
        source: None,
    };
    database.put_latent("grey", latent, false)?;
    database.store().get(&"grey".parse()?)?.to_bytes()
}
