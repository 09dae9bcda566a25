//! Images a second through one model, encode and decode, by size, batch and number of concurrent runs.
//!
//! Invariant: every figure is of whole calls of the public interface: bytes in, latents out, and back.
//!
//! ```text
//! cargo run --release --example throughput -- MODEL [PROVIDER [PRECISION]] [key=value...]
//!   sizes=512,1024 batches=1,4,16 sessions=1 threads=0 seconds=10 models=DIR
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use latentdb::{Hub, HubOptions, Latent, ModelsFolder, Pixels};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let (named, plain): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.contains('='));
    let named: HashMap<_, _> = named.iter().filter_map(|a| a.split_once('=')).collect();
    let list = |key: &str, default: &str| -> Result<Vec<u32>> {
        let text = named.get(key).copied().unwrap_or(default);
        Ok(text
            .split(',')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?)
    };
    let one = |key: &str, default: &str| list(key, default).map(|numbers| numbers[0]);
    let model = plain.first().ok_or("which model?")?;
    let threads = one("threads", "0")? as usize;
    let sessions = one("sessions", "1")? as usize;
    let hub = Hub::new(HubOptions {
        models: match named.get("models") {
            Some(folder) => Some(folder.into()),
            None => ModelsFolder::from_env().map(|folder| folder.path().to_path_buf()),
        },
        provider: plain
            .get(1)
            .map_or(Ok(latentdb::Provider::Auto), |p| p.parse())?,
        precision: plain.get(2).map(|p| p.parse()).transpose()?,
        threads: (threads > 0).then_some(threads),
        sessions,
        ..HubOptions::default()
    });
    let seconds = Duration::from_secs(one("seconds", "10")?.into());
    println!("half     size  batch  sessions  images/s  computed");
    for size in list("sizes", "512,1024")? {
        let pixels = picture(size)?;
        let latent = hub.encode(model, &pixels)?.latent;
        for batch in list("batches", "1,4,16")? {
            for half in ["encode", "decode"] {
                let call = || match half {
                    "encode" => encode(&hub, model, &pixels, batch as usize),
                    _ => decode(&hub, model, &latent, size, batch as usize),
                };
                let (rate, computed) = measure(&call, batch, sessions, seconds)?;
                println!("{half:7} {size:>5} {batch:>6} {sessions:>9} {rate:>9.2}  {computed}");
            }
        }
    }
    Ok(())
}

/// Calls from `threads` threads for as long as `seconds`, after one call each to warm up.
fn measure(
    call: &(impl Fn() -> Result<String> + Sync),
    batch: u32,
    threads: usize,
    seconds: Duration,
) -> Result<(f64, String)> {
    let warm: Vec<Result<String>> = concurrently(threads, call);
    let computed = warm.into_iter().collect::<Result<Vec<_>>>()?.swap_remove(0);
    let start = Instant::now();
    let calls = concurrently(threads, || -> Result<u64> {
        let mut calls = 0;
        while start.elapsed() < seconds || calls == 0 {
            call()?;
            calls += 1;
        }
        Ok(calls)
    });
    let elapsed = start.elapsed().as_secs_f64();
    let calls: u64 = calls.into_iter().collect::<Result<Vec<_>>>()?.iter().sum();
    Ok((f64::from(batch) * calls as f64 / elapsed, computed))
}

fn concurrently<T: Send>(threads: usize, work: impl Fn() -> Result<T> + Sync) -> Vec<Result<T>> {
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(&work)).collect();
        let joined = handles.into_iter().map(ScopedJoinHandle::join);
        joined
            .map(|result| result.unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    })
}

fn encode(hub: &Hub, model: &str, pixels: &Pixels, batch: usize) -> Result<String> {
    let encoded = hub.encode_batch(model, &vec![pixels; batch])?;
    Ok(encoded[0].computed())
}

fn decode(hub: &Hub, model: &str, latent: &Latent, size: u32, batch: usize) -> Result<String> {
    let space = hub.model(model)?.latent_space.clone();
    let latents = vec![latent; batch];
    let decoded = hub.decode_batch(model, &latents, &space, (size, size))?;
    Ok(format!("{} {}", decoded[0].precision, decoded[0].provider))
}

fn picture(size: u32) -> Result<Pixels> {
    let pixel = |n: u32| {
        let (x, y) = (n % size, n / size);
        [
            (x * 255 / size) as u8,
            (y * 255 / size) as u8,
            ((x / 31 + y / 23) % 2 * 200) as u8,
        ]
    };
    let bytes = (0..size * size).flat_map(pixel).collect();
    Ok(Pixels::from_rgb(size, size, bytes)?)
}
