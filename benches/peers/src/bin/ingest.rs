//! How fast a folder of photographs becomes latents: beside the bare model, and beside a loop in Python with `np.savez`.
//!
//! All use the same ONNX model on the same files, each in a process of its own, one after another within one round. The
//! bare model gets images that were read before. Loading the model isn't timed.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Parser;
use latentdb::{
    Database, Hub, HubOptions, ImageFormat, IngestOptions, Inputs, Limits, ModelsFolder, Pixels,
    Store, WriteOptions, read_image, write_image,
};
use latentdb_peers::data::median;
use latentdb_peers::process::{self, Measured};
use latentdb_peers::table::{Table, number};
use latentdb_peers::{Result, photos};

const PYTHON: &str = include_str!("ingest.py");

/// What the program sets for itself before it begins, and a library can't.
const PROGRAM: [(&str, &str); 2] = [
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
    ("MALLOC_ARENA_MAX", "2"),
];

#[derive(Parser)]
struct Args {
    /// How many photographs of 768x512 and 512x768
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many images of 64x64 are stored to see what memory that takes
    #[arg(long, default_value_t = 10_000)]
    small: u64,
    /// The encoder
    #[arg(long, default_value = "tiny")]
    encoder: String,
    /// The folder of models
    #[arg(long)]
    models: Option<PathBuf>,
    /// A Python that has NumPy, Pillow and onnxruntime
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// A folder to work in: made, and removed at the end
    #[arg(long)]
    folder: PathBuf,
    /// What a child measures
    #[arg(long, hide = true)]
    child: Option<String>,
}

impl Args {
    fn hub(&self) -> Hub {
        Hub::new(HubOptions {
            models: self
                .models
                .clone()
                .or_else(|| ModelsFolder::from_env().map(|folder| folder.path().to_path_buf())),
            ..HubOptions::default()
        })
    }

    fn photos(&self) -> PathBuf {
        self.folder.join("photos")
    }

    fn small_images(&self) -> PathBuf {
        self.folder.join("small")
    }

    /// The ONNX file of the encoder.
    fn graph(&self) -> Result<PathBuf> {
        let hub = self.hub();
        let spec = hub.model(&self.encoder)?;
        let file = &spec
            .encoder
            .as_ref()
            .ok_or("the model has no encoder")?
            .file;
        if spec.is_built_in() {
            return Ok(Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../onnx")
                .join(&self.encoder)
                .join(file));
        }
        let models = hub.models_folder().ok_or("there is no folder of models")?;
        Ok(models.path().join(&self.encoder).join(file))
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.child.as_deref() {
        Some("bare") => return process::hand_over(&bare(&args)?),
        Some("ingest") => return process::hand_over(&ingest(&args)?),
        Some("small") => return process::hand_over(&small(&args)?),
        Some(other) => return Err(format!("there is no child {other}").into()),
        None => {}
    }
    if args.folder.exists() {
        return Err(format!("{} exists already", args.folder.display()).into());
    }
    std::fs::create_dir_all(args.photos())?;
    let result = run(&args);
    std::fs::remove_dir_all(&args.folder)?;
    result
}

fn run(args: &Args) -> Result<()> {
    let mut source_bytes = 0;
    for seed in 0..args.count {
        let (width, height) = if seed % 4 == 3 {
            (512, 768)
        } else {
            (768, 512)
        };
        let format = if seed % 5 == 4 {
            ImageFormat::Png
        } else {
            ImageFormat::Jpeg
        };
        let file = write_image(
            &photos::photo(width, height, seed)?,
            format,
            &WriteOptions::default(),
        )?;
        source_bytes += file.len();
        std::fs::write(args.photos().join(format!("{seed:04}.{format}")), file)?;
    }
    println!(
        "{} photographs of 768x512, four of five as JPEG: {} MB of files; encoder `{}`\n",
        args.count,
        number(Some(source_bytes as f64 / 1e6)),
        args.encoder
    );
    let mut measured: [Vec<Measured>; 3] = Default::default();
    let names = [
        "the bare model",
        "latentdb ingest",
        "Python: Pillow, onnxruntime, np.savez",
    ];
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.push("--child".into());
    for _ in 0..args.rounds {
        for (at, child) in ["bare", "ingest"].into_iter().enumerate() {
            let arguments: Vec<&str> = arguments
                .iter()
                .map(String::as_str)
                .chain([child])
                .collect();
            measured[at].push(process::measure(&arguments)?);
        }
        match python(args) {
            Ok(python) => measured[2].push(python),
            Err(error) => eprintln!("Python was left out: {error}"),
        }
    }
    let heads = [
        "",
        "wall s",
        "to bare",
        "images/s",
        "CPU s",
        "cores busy",
        "peak MB",
        "stored MB",
        "files",
        "read all back ms",
    ];
    let mut table = Table::new(heads.map(String::from));
    let of = |rounds: &[Measured], key: &str| -> Option<f64> {
        let values: Vec<f64> = rounds
            .iter()
            .filter_map(|round| round.get(key).copied())
            .collect();
        (!values.is_empty()).then(|| median(&values))
    };
    let bare = of(&measured[0], "wall").ok_or("nothing was measured")?;
    for (name, rounds) in names.into_iter().zip(&measured) {
        let Some(wall) = of(rounds, "wall") else {
            continue;
        };
        let cpu = of(rounds, "cpu");
        let ratios: Vec<f64> = rounds
            .iter()
            .zip(&measured[0])
            .map(|(a, b)| a["wall"] / b["wall"])
            .collect();
        let cells = [
            Some(wall),
            Some(if rounds.len() == args.rounds {
                median(&ratios)
            } else {
                wall / bare
            }),
            Some(args.count as f64 / wall),
            cpu,
            cpu.map(|cpu| cpu / wall),
            of(rounds, "peak").map(|bytes| bytes / 1e6),
            of(rounds, "stored").map(|bytes| bytes / 1e6),
            of(rounds, "files"),
            of(rounds, "read").map(|seconds| seconds * 1e3),
        ];
        table.push(name, cells.map(number));
    }
    print!("{table}");
    memory(args, arguments)
}

/// Memory of a process that stores many small images.
fn memory(args: &Args, mut arguments: Vec<String>) -> Result<()> {
    std::fs::create_dir(args.small_images())?;
    for seed in 0..args.small {
        let image = write_image(
            &photos::photo(64, 64, seed)?,
            ImageFormat::Png,
            &WriteOptions::default(),
        )?;
        std::fs::write(args.small_images().join(format!("{seed:06}.png")), image)?;
    }
    arguments.push("small".into());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let program = process::measure_with(&arguments, &PROGRAM)?;
    let library = process::measure(&arguments)?;
    let heads = [
        "images of 64x64",
        "the program: resident MB",
        "of it anonymous",
        "the library: resident MB",
        "of it anonymous",
    ];
    let mut table = Table::new(heads.map(String::from));
    for count in small_steps(args.small) {
        let cells = [&program, &library].into_iter().flat_map(|measured| {
            ["resident", "anonymous"].map(|what| {
                let bytes = measured.get(&format!("{what}{count}"));
                number(bytes.map(|bytes| bytes / 1e6))
            })
        });
        table.push(&number(Some(count as f64)), cells);
    }
    print!("\n{table}");
    Ok(())
}

/// After how many small images memory is looked at.
fn small_steps(all: u64) -> impl Iterator<Item = u64> {
    [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000]
        .into_iter()
        .filter(move |step| *step <= all)
}

fn small(args: &Args) -> Result<Measured> {
    let hub = Arc::new(args.hub());
    let store = args.folder.join("store");
    let database = Database::create_with_hub(&store, "tiny", hub)?;
    let (mut measured, mut stored) = (Measured::new(), 0);
    let inputs = Inputs::default().path(args.small_images());
    let stop = AtomicBool::new(false);
    let mut failed = None;
    database.ingest(inputs, &IngestOptions::default(), &stop, &mut |_| {
        stored += 1;
        if small_steps(args.small).any(|step| step == stored) {
            match process::memory() {
                Ok(memory) => {
                    measured.insert(format!("resident{stored}"), memory.resident as f64);
                    measured.insert(format!("anonymous{stored}"), memory.anonymous as f64);
                }
                Err(error) => failed = Some(error),
            }
        }
    })?;
    drop(database);
    std::fs::remove_dir_all(store)?;
    failed.map_or(Ok(measured), Err)
}

/// Seconds and processor seconds that `work` takes.
fn timed<T>(measured: &mut Measured, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (begun, cpu) = (Instant::now(), process::cpu_seconds()?);
    let value = work()?;
    measured.insert("wall".into(), begun.elapsed().as_secs_f64());
    measured.insert("cpu".into(), process::cpu_seconds()? - cpu);
    Ok(value)
}

fn bare(args: &Args) -> Result<Measured> {
    let mut files: Vec<_> = std::fs::read_dir(args.photos())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let images: Vec<Pixels> = files
        .iter()
        .map(|path| Ok(read_image(&std::fs::read(path)?, "photo", &Limits::default())?.pixels))
        .collect::<Result<_>>()?;
    let hub = args.hub();
    hub.encode(&args.encoder, &images[0])?;
    let mut measured = Measured::new();
    timed(&mut measured, || {
        for image in &images {
            black_box(hub.encode(&args.encoder, image)?);
        }
        Ok(())
    })?;
    Ok(measured)
}

fn ingest(args: &Args) -> Result<Measured> {
    let folder = args.folder.join("store");
    let hub = Arc::new(args.hub());
    hub.encode(&args.encoder, &photos::photo(768, 512, 0)?)?;
    let database = Database::create_with_hub(&folder, &args.encoder, hub)?;
    let mut measured = Measured::new();
    let ingested = timed(&mut measured, || {
        let inputs = Inputs::default().path(args.photos());
        let stop = AtomicBool::new(false);
        Ok(database.ingest(inputs, &IngestOptions::default(), &stop, &mut |_| {})?)
    })?;
    if ingested.stored != args.count {
        return Err(format!("stored {} of {}", ingested.stored, args.count).into());
    }
    measured.insert("peak".into(), process::memory()?.peak as f64);
    drop(database);
    let size = process::disk(&folder)?;
    measured.insert("stored".into(), size.allocated as f64);
    measured.insert("files".into(), size.files as f64);
    let store = Store::open_read_only(&folder)?;
    let begun = Instant::now();
    for record in store.records("") {
        black_box(record?);
    }
    measured.insert("read".into(), begun.elapsed().as_secs_f64());
    drop(store);
    std::fs::remove_dir_all(&folder)?;
    Ok(measured)
}

fn python(args: &Args) -> Result<Measured> {
    let folder = args.folder.join("npz");
    std::fs::create_dir_all(&folder)?;
    let output = Command::new(&args.python)
        .args(["-c", PYTHON])
        .arg(args.graph()?)
        .arg(args.photos())
        .arg(&folder)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", args.python.display(), output.status).into());
    }
    let mut measured: Measured = serde_json::from_slice(&output.stdout)?;
    let size = process::disk(&folder)?;
    measured.insert("stored".into(), size.allocated as f64);
    measured.insert("files".into(), size.files as f64);
    std::fs::remove_dir_all(&folder)?;
    Ok(measured)
}
