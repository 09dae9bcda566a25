//! Put and get of one 512x512 image, and what each part of them takes.
//!
//! `model` is the bare run of the network. Everything that is ours beside it (record, index, write
//! and sync) should stay within a tenth of it; `total` is what a caller waits for. `latents` is how fast codings are.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use latentdb::backend::{Backend, Durability, LocalBackend, MemoryBackend, Mode, Operation};
use latentdb::half::f16;
use latentdb::{
    Coding, Database, DecodeOptions, Hub, HubOptions, ImageFormat, Latent, LatentShape, Limits,
    Pixels, Provider, PutOptions, Record, RecordHeader, Store, Tier, WriteOptions, read_image,
    read_latent, write_image,
};

const SIDE: u32 = 512;

/// A picture with the structure of a photograph: soft gradients, edges, some noise.
fn picture() -> Pixels {
    let mut data = Vec::with_capacity((SIDE * SIDE * 3) as usize);
    let mut noise = 1u32;
    for y in 0..SIDE {
        for x in 0..SIDE {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = f64::from(noise >> 29);
            let wave = (f64::from(x) / 37.0).sin() * 50.0 + (f64::from(y) / 53.0).cos() * 60.0;
            let edge = if (x / 60 + y / 80).is_multiple_of(3) {
                40.0
            } else {
                0.0
            };
            let light = 120.0 + wave + edge + grain;
            data.extend([light, light - 12.0, light + 9.0].map(|v| v as u8));
        }
    }
    Pixels::from_rgb(SIDE, SIDE, data).expect("the size fits the bytes")
}

fn onnxruntime() -> Option<PathBuf> {
    std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from)
}

fn benches(criterion: &mut Criterion) {
    let hub = std::sync::Arc::new(Hub::new(HubOptions {
        runtime: onnxruntime(),
        provider: Provider::Cpu,
        ..HubOptions::default()
    }));
    let pixels = picture();
    let png = write_image(&pixels, ImageFormat::Png, &WriteOptions::default())
        .expect("a PNG can be written");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the store");
    let db = Database::open_or_create(folder.path().join("store")).expect("a store");
    let db = db.with_hub(std::sync::Arc::clone(&hub));
    let options = PutOptions {
        replace: true,
        ..PutOptions::default()
    };
    db.put_bytes("one", &png, "one.png", &options)
        .expect("a put");
    let record = db
        .store()
        .get(&"one".parse().expect("an id"))
        .expect("the record");
    let bytes = record.to_bytes().expect("bytes");

    let mut put = criterion.benchmark_group("put_512");
    put.throughput(Throughput::Elements(1));
    put.bench_function("file_decoding", |b| {
        b.iter(|| read_image(&png, "one.png", &Limits::default()).expect("an image"));
    });
    put.bench_function("model", |b| {
        b.iter(|| hub.encode("tiny", &pixels).expect("a latent"));
    });
    put.bench_function("record", |b| b.iter(|| record.to_bytes().expect("bytes")));
    let memory = MemoryBackend::new();
    put.bench_function("index_in_memory", |b| {
        b.iter_batched(
            || operation(&bytes),
            |batch| memory.apply(batch, Durability::Synced),
            BatchSize::SmallInput,
        );
    });
    let local = folder.path().join("bare");
    LocalBackend::create(&local).expect("a store");
    let local = LocalBackend::open(&local).expect("a store");
    put.bench_function("index_write_sync", |b| {
        b.iter_batched(
            || operation(&bytes),
            |batch| local.apply(batch, Durability::Synced).expect("a write"),
            BatchSize::SmallInput,
        );
    });
    let file = std::fs::File::create(folder.path().join("synced")).expect("a file");
    put.bench_function("bare_write_sync", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| write_and_sync(&file, &bytes)).sum());
    });
    put.bench_function("total", |b| {
        b.iter(|| {
            db.put_bytes("one", &png, "one.png", &options)
                .expect("a put")
        });
    });
    put.finish();

    let mut get = criterion.benchmark_group("get_512");
    get.throughput(Throughput::Elements(1));
    let store: &Store = db.store();
    let id = "one".parse().expect("an id");
    get.bench_function("lookup_and_read", |b| {
        b.iter(|| store.header(&id).expect("a header"));
    });
    get.bench_function("record", |b| {
        b.iter(|| Record::from_bytes(&bytes).expect("a record"));
    });
    get.bench_function("model", |b| {
        b.iter(|| {
            db.decode(&record, &DecodeOptions::default())
                .expect("pixels")
        });
    });
    get.bench_function("png_encoding", |b| {
        b.iter(|| write_image(&pixels, ImageFormat::Png, &WriteOptions::default()).expect("a PNG"));
    });
    get.bench_function("total_without_png", |b| {
        b.iter(|| db.get("one", None).expect("pixels"));
    });
    get.finish();
}

/// 400 synced puts by one thread, and by eight that share syncs.
fn group_commit(criterion: &mut Criterion) {
    const PUTS: usize = 400;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    LocalBackend::create(&path).expect("a store");
    let local = LocalBackend::open(&path).expect("a store");
    let mut group = criterion.benchmark_group("400_puts_of_4_KiB");
    group.throughput(Throughput::Elements(PUTS as u64));
    for threads in [1, 8] {
        let name = format!("threads_{threads}");
        group.bench_function(name, |b| {
            b.iter(|| {
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            for _ in 0..PUTS / threads {
                                let batch = operation(&[7; 4096]);
                                local.apply(batch, Durability::Synced).expect("a write");
                            }
                        });
                    }
                });
            });
        });
    }
    group.finish();
}

/// Latents of photographs, where they lie beside the checkout, or else one with hills and noise.
fn latents() -> Vec<Latent> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/latents/sd");
    if let Ok(entries) = std::fs::read_dir(folder) {
        let read = entries.map(|entry| {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("a latent");
            let name = path.to_string_lossy();
            read_latent(&bytes, &name).expect("a latent").latent
        });
        return read.collect();
    }
    let shape = LatentShape {
        channels: 4,
        height: 64,
        width: 96,
    };
    let mut noise = 1u32;
    let value = |at: u32| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (x, y) = (at % 96, at / 96);
        let hill = (f64::from(x) / 9.0).sin() + (f64::from(y) / 13.0).cos();
        f16::from_f64(hill + f64::from(noise >> 16) / 65536.0)
    };
    let values = (0..4 * 64 * 96).map(value).collect();
    vec![Latent::new(shape, values).expect("the values fit the shape")]
}

/// All latents as records of each coding, and their values as plain zstd frames of level 3; in bytes of f16 a second.
fn codings(criterion: &mut Criterion) {
    let latents = latents();
    let values: Vec<Vec<u8>> = latents
        .iter()
        .map(|latent| {
            latent
                .as_slice()
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect()
        })
        .collect();
    let raw: usize = values.iter().map(Vec::len).sum();
    let records = |coding: Coding| -> Vec<Record> {
        let records = latents.iter().map(|latent| {
            let shape = latent.shape();
            let id = "one".parse().expect("an id");
            let size = (8 * shape.width, 8 * shape.height);
            let mut record = Record {
                header: RecordHeader::new(id, size, shape, "tiny-2"),
                latent: latent.clone(),
                alpha: None,
                original: None,
            };
            record.recode(coding).expect("a coding");
            record
        });
        records.collect()
    };
    let mut group = criterion.benchmark_group("latents");
    group.throughput(Throughput::Bytes(raw as u64));
    for coding in [Coding::Fast, Coding::Dense, Coding::Quantised(Tier::Q6)] {
        let records = records(coding);
        let bytes = |record: &Record| record.to_bytes().expect("bytes");
        let stored: Vec<Vec<u8>> = records.iter().map(bytes).collect();
        group.bench_function(format!("encode_{coding}"), |b| {
            b.iter(|| {
                records
                    .iter()
                    .map(|record| bytes(record).len())
                    .sum::<usize>()
            });
        });
        group.bench_function(format!("decode_{coding}"), |b| {
            b.iter(|| {
                for bytes in &stored {
                    std::hint::black_box(Record::from_bytes(bytes).expect("a record"));
                }
            });
        });
    }
    let frame = |values: &Vec<u8>| zstd::bulk::compress(values, 3).expect("a frame");
    let frames: Vec<Vec<u8>> = values.iter().map(frame).collect();
    group.bench_function("encode_zstd_3", |b| {
        b.iter(|| {
            values
                .iter()
                .map(|values| frame(values).len())
                .sum::<usize>()
        });
    });
    group.bench_function("decode_zstd_3", |b| {
        b.iter(|| {
            for (frame, values) in frames.iter().zip(&values) {
                let back = zstd::bulk::decompress(frame, values.len());
                std::hint::black_box(back.expect("the values"));
            }
        });
    });
    group.finish();
}

fn operation(bytes: &[u8]) -> Vec<Operation> {
    vec![Operation::Put {
        key: b"one".to_vec(),
        bytes: bytes.to_vec(),
        facts: vec![0; 130],
        mode: Mode::Replace,
    }]
}

/// What the medium takes at least: the same bytes appended to a plain file and synced.
fn write_and_sync(mut file: &std::fs::File, bytes: &[u8]) -> Duration {
    use std::io::Write;
    let start = Instant::now();
    file.write_all(bytes)
        .and_then(|()| file.sync_data())
        .expect("a write");
    start.elapsed()
}

criterion_group! {
    name = group;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(8));
    targets = benches, group_commit, codings
}
criterion_main!(group);
