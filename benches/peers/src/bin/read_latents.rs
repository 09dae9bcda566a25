//! How fast latents are read back: from latentdb, from `.safetensors` files, from `.npz` files by NumPy.
//!
//! All forms hold the same latents and are read in turn within one run, on one core, from a warm cache. Every
//! reading ends with the values as `Vec<f16>` (or as a NumPy array) in memory of their own.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use clap::Parser;
use latentdb::backend::{Backend, LocalBackend, Mode};
use latentdb::half::f16;
use latentdb::{Latent, LatentFile, LatentFormat, Record, RecordId, Store, write_latent};
use latentdb_peers::data::{median, shuffled};
use latentdb_peers::table::{Table, number};
use latentdb_peers::{Result, latents, process};
use safetensors::SafeTensors;

#[derive(Parser)]
struct Args {
    /// How many latents of 4x64x64
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// How often everything is read, in key order and in random order
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// A folder of `.npy` latents to cut windows from [default: synthetic latents]
    #[arg(long)]
    latents: Option<PathBuf>,
    /// A Python that has NumPy
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// A folder to work in: made, and removed at the end
    #[arg(long)]
    folder: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// A form that latents are kept in, and a way to read one.
struct Form<'a> {
    name: &'static str,
    bytes: u64,
    allocated: u64,
    read: Read<'a>,
    /// Seconds of each pass, in key order and in random order.
    seconds: [Vec<f64>; 2],
}

enum Read<'a> {
    One(Box<dyn Fn(usize) -> Result<()> + 'a>),
    Numpy(&'static str),
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.folder.exists() {
        return Err(format!("{} exists already", args.folder.display()).into());
    }
    std::fs::create_dir_all(&args.folder)?;
    let result = run(&args);
    std::fs::remove_dir_all(&args.folder)?;
    result
}

fn run(args: &Args) -> Result<()> {
    let (latents, what) = latents::realistic(args.latents.as_deref(), args.count)?;
    let ids: Vec<RecordId> = (0..latents.len())
        .map(|at| Ok(RecordId::new(format!("photos/{at:08}"))?))
        .collect::<Result<_>>()?;
    let store_folder = args.folder.join("store");
    fill_store(&store_folder, &ids, &latents)?;
    let steps = steps(&store_folder, &ids, args.rounds)?;
    let files = args.folder.join("safetensors");
    let names = write_files(&files, &latents)?;

    let reader = Store::open_read_only(&store_folder)?;
    let writer = Store::open(&store_folder)?;
    let get = |store: &Store, at: usize| -> Result<()> {
        black_box(store.get(&ids[at])?);
        Ok(())
    };
    let stored: u64 = reader
        .entries("")
        .map(|e| Ok(e?.stored_bytes))
        .sum::<Result<u64>>()?;
    let store_size = process::disk(&store_folder)?.allocated;
    let files_size = process::disk(&files)?;
    let mut forms = vec![
        Form::new(
            "latentdb, opened for writing",
            stored,
            store_size,
            Read::One(Box::new(|at| get(&writer, at))),
        ),
        Form::new(
            "latentdb, opened for reading",
            stored,
            store_size,
            Read::One(Box::new(|at| get(&reader, at))),
        ),
        Form::new(
            "`.safetensors` f16, the safetensors crate",
            files_size.apparent,
            files_size.allocated,
            Read::One(Box::new(|at| {
                black_box(read_safetensors(&names[at])?);
                Ok(())
            })),
        ),
    ];
    for (at, latent) in latents.iter().enumerate().step_by(37) {
        let bits = |values: &[f16]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(
            bits(reader.get(&ids[at])?.latent.as_slice()),
            bits(latent.as_slice())
        );
        assert_eq!(
            bits(&read_safetensors(&names[at])?),
            bits(latent.as_slice())
        );
    }
    let mut numpy = Numpy::start(args, &latents)?;
    if let Some(numpy) = &numpy {
        for (name, tag, sizes) in [
            ("`.npz` f32, np.load", "f32", numpy.sizes[0]),
            ("`.npz` f16 compressed, np.load", "f16", numpy.sizes[1]),
        ] {
            forms.push(Form::new(name, sizes.0, sizes.1, Read::Numpy(tag)));
        }
    }

    let in_order: Vec<usize> = (0..latents.len()).collect();
    let random = shuffled(latents.len(), 5);
    for round in 0..=args.rounds {
        for (which, order) in [&in_order, &random].into_iter().enumerate() {
            for form in &mut forms {
                let seconds = match &form.read {
                    Read::One(read) => {
                        let start = Instant::now();
                        for &at in order {
                            read(at)?;
                        }
                        start.elapsed().as_secs_f64()
                    }
                    Read::Numpy(tag) => {
                        let numpy = numpy.as_mut().expect("it was started for this form");
                        numpy.pass(tag, which == 1)?
                    }
                };
                // The first round warms the cache.
                if round > 0 {
                    form.seconds[which].push(seconds);
                }
            }
        }
    }
    show(args, &what, &forms, &steps)
}

impl<'a> Form<'a> {
    fn new(name: &'static str, bytes: u64, allocated: u64, read: Read<'a>) -> Self {
        let seconds = [Vec::new(), Vec::new()];
        Self {
            name,
            bytes,
            allocated,
            read,
            seconds,
        }
    }

    fn per_second(&self, count: usize, which: usize) -> f64 {
        count as f64 / median(&self.seconds[which])
    }
}

fn fill_store(folder: &Path, ids: &[RecordId], latents: &[Latent]) -> Result<()> {
    LocalBackend::create(folder)?;
    let store = Store::open(folder)?;
    let template = latents::record("template", latents[0].clone())?;
    let records = ids.iter().zip(latents).map(|(id, latent)| {
        let mut record = template.clone();
        record.header.id = id.clone();
        record.latent = latent.clone();
        record
    });
    let records: Vec<Record> = records.collect();
    for batch in records.chunks(64) {
        store.put(batch, Mode::Create)?;
    }
    Ok(())
}

fn write_files(folder: &Path, latents: &[Latent]) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let write = |(at, latent): (usize, &Latent)| {
        let path = folder.join(format!("{at:08}.safetensors"));
        let file = LatentFile {
            latent: latent.clone(),
            latent_space: Some("sd-v1".into()),
            encoder: Some("sd-vae-ft-mse".into()),
            size: Some((512, 512)),
            alpha: None,
        };
        std::fs::write(&path, write_latent(&file, LatentFormat::Safetensors)?)?;
        Ok(path)
    };
    latents.iter().enumerate().map(write).collect()
}

fn read_safetensors(path: &Path) -> Result<Vec<f16>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let (pairs, _) = file.tensor("latent")?.data().as_chunks::<2>();
    Ok(pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect())
}

/// A Python that reads `.npz` files when told to, and says how long it took.
struct Numpy {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Bytes and allocated bytes of all files, f32 and f16.
    sizes: [(u64, u64); 2],
}

impl Numpy {
    /// `None`, said loudly, where the Python has no NumPy.
    fn start(args: &Args, latents: &[Latent]) -> Result<Option<Self>> {
        let check = Command::new(&args.python)
            .args(["-c", "import numpy"])
            .output();
        if !check.is_ok_and(|output| output.status.success()) {
            eprintln!(
                "SKIPPED: `{}` has no NumPy, so `.npz` files are not measured; --python names another",
                args.python.display()
            );
            return Ok(None);
        }
        let raw = args.folder.join("latents.f16");
        let values = latents.iter().flat_map(Latent::as_slice);
        let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(&raw, bytes)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("read_npz.py");
        let mut child = Command::new(&args.python)
            .arg(script)
            .arg(&raw)
            .arg(args.folder.join("npz"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut numpy = Self {
            child,
            orders,
            answers,
            sizes: [(0, 0); 2],
        };
        numpy.answer()?;
        for (at, tag) in ["f32", "f16"].into_iter().enumerate() {
            let disk = process::disk(&args.folder.join("npz").join(tag))?;
            numpy.sizes[at] = (disk.apparent, disk.allocated);
        }
        Ok(Some(numpy))
    }

    fn pass(&mut self, tag: &str, random: bool) -> Result<f64> {
        writeln!(
            self.orders,
            "{tag} {}",
            if random { "random" } else { "order" }
        )?;
        self.orders.flush()?;
        Ok(self.answer()?.parse()?)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("the Python that reads .npz files ended".into());
        }
        Ok(line.trim().into())
    }
}

impl Drop for Numpy {
    fn drop(&mut self) {
        // It ends by itself when its input does; waiting for that would need the input closed first.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Microseconds of the parts of a get, each as the difference of two public calls.
fn steps(folder: &Path, ids: &[RecordId], rounds: usize) -> Result<Vec<(&'static str, f64)>> {
    let backend = LocalBackend::open_read_only(folder)?;
    let store = Store::open_read_only(folder)?;
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        let mut time = |at: usize, run: &dyn Fn(usize) -> Result<()>| -> Result<()> {
            let start = Instant::now();
            for index in 0..ids.len() {
                run(index)?;
            }
            let seconds = start.elapsed().as_secs_f64();
            times[at].push(seconds * 1e6 / ids.len() as f64);
            Ok(())
        };
        time(0, &|at| {
            black_box(backend.entry(ids[at].as_str().as_bytes())?);
            Ok(())
        })?;
        time(1, &|at| {
            let key = ids[at].as_str().as_bytes();
            let found = backend.get_with(key, &mut |bytes| _ = black_box(bytes))?;
            found.ok_or("a record is missing")?;
            Ok(())
        })?;
        time(2, &|at| {
            black_box(store.get(&ids[at])?);
            Ok(())
        })?;
    }
    let [entry, frame, get] = times.map(|times| median(&times));
    Ok(vec![
        ("lookup in the index", entry),
        ("reading the frame, its checksums", frame - entry),
        ("decompressing, putting the record together", get - frame),
    ])
}

fn show(args: &Args, what: &str, forms: &[Form], steps: &[(&str, f64)]) -> Result<()> {
    let count = args.count;
    if args.json {
        let form = |form: &Form| {
            serde_json::json!({
                "form": form.name,
                "bytes_each": form.bytes as f64 / count as f64,
                "allocated_each": form.allocated as f64 / count as f64,
                "per_second_in_order": form.per_second(count, 0),
                "per_second_random": form.per_second(count, 1),
                "seconds": form.seconds,
            })
        };
        let forms: Vec<_> = forms.iter().map(form).collect();
        let value = serde_json::json!({ "latents": what, "count": count, "forms": forms, "microseconds": steps });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    println!(
        "{count} latents of {}: {what}. Medians of {} passes.\n",
        latents::SHAPE,
        args.rounds
    );
    let heads = [
        "form",
        "bytes each",
        "on disk each",
        "latents/s, key order",
        "random order",
        "µs each, random",
    ];
    let mut table = Table::new(heads.map(String::from));
    for form in forms {
        let random = form.per_second(count, 1);
        let cells = [
            form.bytes as f64 / count as f64,
            form.allocated as f64 / count as f64,
            form.per_second(count, 0),
            random,
            1e6 / random,
        ];
        table.push(form.name, cells.map(|cell| number(Some(cell))));
    }
    println!("{table}");
    let mut table = Table::new(["step of a get from latentdb", "µs"].map(String::from));
    for (name, microseconds) in steps {
        table.push(name, [number(Some(*microseconds))]);
    }
    print!("{table}");
    Ok(())
}
