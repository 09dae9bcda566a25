//! The program itself, killed while it puts.

use std::process::{Command, Stdio};
use std::time::Duration;

use latentdb::half::f16;
use latentdb::{Database, ErrorKind, Latent, LatentFile, LatentFormat, LatentShape, write_latent};

use crate::support::Sandbox;
use crate::support::values::{Rng, any_seed};

const ROUNDS: u64 = 8;

fn latent(version: u64) -> Latent {
    let shape = LatentShape {
        channels: 4,
        height: 30,
        width: 40,
    };
    let mut rng = Rng(version);
    let mut value = || f16::from_f32(rng.below(4000) as f32 / 1000.0 - 2.0);
    let data = (0..4800).map(|_| value()).collect();
    Latent::new(shape, data).unwrap()
}

#[test]
fn the_program_killed_while_it_puts_leaves_each_record_whole_or_as_it_was() {
    let seed = any_seed();
    let mut rng = Rng(seed);
    let sandbox = Sandbox::new();
    let path = sandbox.path("store");
    let (mut kept, mut finished) = ([None; 3], 0);
    for round in 1..=ROUNDS {
        let file = LatentFile {
            latent: latent(round),
            latent_space: Some("tiny-2".into()),
            encoder: None,
            size: Some((320, 240)),
            alpha: None,
        };
        let bytes = write_latent(&file, LatentFormat::Safetensors).unwrap();
        sandbox.write("latent.safetensors", &bytes);
        let at = rng.below(3) as usize;
        let mut program = Command::new(env!("CARGO_BIN_EXE_latentdb"))
            .args(["put", &at.to_string(), "--latent"])
            .arg(sandbox.path("latent.safetensors"))
            .arg("--replace")
            .env("LATENTDB_PATH", &path)
            .env("HOME", sandbox.path("home"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs_f64(rng.log_uniform(0.002, 1.0)));
        program.kill().unwrap();
        let done = program.wait().unwrap().code().is_some_and(|code| {
            assert_eq!(code, 0, "seed {seed}, round {round}: the program failed");
            true
        });
        finished += u64::from(done);

        let db = match Database::open_read_only(&path) {
            Ok(db) => db,
            // Killed before the store was there.
            Err(error) if error.kind() == ErrorKind::StoreNotFound && kept == [None; 3] => {
                assert!(!done);
                continue;
            }
            Err(error) => panic!("seed {seed}, round {round}: {error}"),
        };
        for (id, kept) in kept.iter_mut().enumerate() {
            let found = match db.store().get(&id.to_string().parse().unwrap()) {
                Ok(record) => Some(record.latent),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => panic!("seed {seed}, round {round}: {error}"),
            };
            let put = id == at && found == Some(latent(round));
            if put {
                *kept = Some(round);
            }
            let expected = if id == at && done { Some(round) } else { *kept };
            assert_eq!(found, expected.map(latent), "seed {seed}, round {round}");
        }
        assert_eq!(
            db.store().entries("").count(),
            kept.iter().flatten().count()
        );
    }
    println!("{ROUNDS} rounds of the program: {finished} ended before they were killed");
}
