//! Stores for the tests of what looks after them.

use latentdb::half::f16;
use latentdb::{Database, ForeignLatent, Latent, LatentShape};

use super::Sandbox;

/// Puts `count` records `cat 0`, `cat 1`, ... into the sandbox's store.
pub(crate) fn fill(sandbox: &Sandbox, count: u32) {
    let database = Database::open_or_create(sandbox.path("store")).unwrap();
    for n in 0..count {
        database
            .put_latent(&format!("cat {n}"), latent(n), true)
            .unwrap();
    }
}

pub(crate) fn latent(n: u32) -> ForeignLatent {
    let shape = LatentShape {
        channels: 4,
        height: 3,
        width: 5,
    };
    ForeignLatent::new(
        Latent::new(shape, vec![f16::from_f32(n as f32); 60]).unwrap(),
        "tiny-2",
        (40, 24),
    )
}

/// Flips a bit in the `version`-th record, counted from 1, that was put under `id`.
pub(crate) fn damage(sandbox: &Sandbox, id: &str, version: usize) {
    let name = "store/segments/00000001.seg";
    let mut bytes = sandbox.read(name);
    // The id stands in the frame's head and in the record's header: the record is what is damaged.
    let places = bytes.windows(id.len()).enumerate();
    let places = places.filter(|(_, window)| *window == id.as_bytes());
    let places: Vec<_> = places.map(|(at, _)| at).collect();
    let record = places[2 * version - 1];
    bytes[record] ^= 1;
    sandbox.write(name, &bytes);
}
