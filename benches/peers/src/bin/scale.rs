//! How latentdb takes many records: opening, memory, listing and reading beside a growing store.
//!
//! A store of small records is filled once for each number; then each thing is measured in a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use clap::{Parser, Subcommand};
use latentdb::backend::{LocalBackend, Mode};
use latentdb::{LatentShape, Record, RecordId, Store};
use latentdb_peers::Result;
use latentdb_peers::data::{median, mix, percentile, shuffled};
use latentdb_peers::latents::{field, record};
use latentdb_peers::process::{Measured, again, cpu_seconds, disk, hand_over, measure, memory};
use latentdb_peers::table::{Table, number};

/// The latent of a 64x128 image: 1,024 bytes raw.
const SHAPE: LatentShape = LatentShape {
    channels: 4,
    height: 8,
    width: 16,
};
/// Records of a set, which is what a listing asks for.
const SET: usize = 10_000;
/// Different latents; records share them, as the store looks into none.
const LATENTS: u64 = 512;
/// Records in a batch of the fill.
const FILL_BATCH: usize = 512;
/// Records that are acknowledged after the fill before the process is killed, and how many are in a batch.
const EXTRA: usize = 1024;
const EXTRA_BATCH: usize = 64;
/// Entries of one page of a listing.
const PAGE: usize = 100;
const PAGES: usize = 50;
const GETS: usize = 10_000;

#[derive(Parser)]
struct Args {
    /// Numbers of records, one store each
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    records: Vec<usize>,
    /// A folder to work in: made, and removed at the end
    #[arg(long)]
    folder: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Subcommand)]
enum Child {
    /// One thing to measure, in a process of its own
    #[command(hide = true)]
    Do { what: String, count: usize },
}

/// What the table shows: its name there, the child, the name within the child.
const ROWS: [(&str, &str, &str); 23] = [
    ("fill, records per second", "fill", "per_s"),
    ("fill, CPU seconds", "fill", "cpu_s"),
    ("fill, peak memory, MB", "fill", "peak_mb"),
    ("closing after the fill, ms", "fill", "close_ms"),
    ("the store on disk, MB", "fill", "disk_mb"),
    ("of it beside `segments`, MB", "fill", "beside_mb"),
    (
        "open for writing after a clean close, ms",
        "write",
        "open_ms",
    ),
    ("writer: RSS then, MB", "write", "opened_mb"),
    (
        "writer: first page of a listing, ms",
        "write",
        "first_page_ms",
    ),
    ("writer: another page, ms", "write", "page_ms"),
    ("writer: random get, p50, µs", "write", "p50_us"),
    ("writer: random get, p99, µs", "write", "p99_us"),
    ("writer: RSS after all that, MB", "write", "rss_mb"),
    ("open for reading, ms", "read", "open_ms"),
    ("reader: RSS then, MB", "read", "opened_mb"),
    (
        "reader: first page of a listing, ms",
        "read",
        "first_page_ms",
    ),
    ("reader: another page, ms", "read", "page_ms"),
    ("reader: random get, p50, µs", "read", "p50_us"),
    ("reader: random get, p99, µs", "read", "p99_us"),
    ("reader: RSS after all that, MB", "read", "rss_mb"),
    ("open for writing after a kill, ms", "after-kill", "open_ms"),
    (
        "open for reading after a kill, ms",
        "read-after-kill",
        "open_ms",
    ),
    (
        "open for writing without an index, ms",
        "rebuild",
        "open_ms",
    ),
];

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Child::Do { what, count }) = &args.child {
        return hand_over(&child(what, &args.folder, *count)?);
    }
    if args.folder.exists() {
        return Err(format!("{} exists already", args.folder.display()).into());
    }
    let mut columns = Vec::new();
    for &count in &args.records {
        let column = measure_store(&args.folder, count);
        if args.folder.exists() {
            std::fs::remove_dir_all(&args.folder)?;
        }
        columns.push(column?);
    }
    show(&args, &columns)
}

/// All that is measured of a store of `count` records.
fn measure_store(folder: &Path, count: usize) -> Result<BTreeMap<String, Measured>> {
    std::fs::create_dir_all(folder)?;
    let run = |what: &str| -> Result<Measured> {
        eprintln!("{count} records: {what}");
        let (folder, count) = (folder.to_string_lossy(), count.to_string());
        measure(&["--folder", &folder, "do", what, &count])
    };
    let mut all = BTreeMap::new();
    let mut fill = run("fill")?;
    let whole = disk(folder)?.allocated as f64;
    let segments = disk(&folder.join("store/segments"))?.allocated as f64;
    fill.insert("disk_mb".into(), whole / 1e6);
    fill.insert("beside_mb".into(), (whole - segments) / 1e6);
    all.insert("fill".into(), fill);
    for what in ["write", "read"] {
        all.insert(what.into(), run(what)?);
    }
    kill_a_writer(folder, count)?;
    // The reader first: opening for writing puts in order what the kill left.
    for what in ["read-after-kill", "after-kill"] {
        all.insert(what.into(), run(what)?);
    }
    let index = folder.join("store/index");
    if index.exists() {
        std::fs::remove_dir_all(index)?;
        all.insert("rebuild".into(), run("rebuild")?);
    }
    Ok(all)
}

/// Lets a child write on, and kills it once enough was acknowledged.
fn kill_a_writer(folder: &Path, count: usize) -> Result<()> {
    eprintln!("{count} records: a writer is killed");
    let (folder, count) = (folder.to_string_lossy(), count.to_string());
    let mut child = again(&["--folder", &folder, "do", "extra", &count])?
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = child.stdout.as_mut().ok_or("no stdout")?;
    let read = BufReader::new(output).read_line(&mut line);
    // SIGKILL on Unix: nothing of the child runs after it.
    child.kill()?;
    child.wait()?;
    read?;
    if line.trim() != "acknowledged" {
        return Err("the writer ended before it could be killed".into());
    }
    Ok(())
}

fn child(what: &str, folder: &Path, count: usize) -> Result<Measured> {
    let store = folder.join("store");
    match what {
        "fill" => fill(&store, count),
        "extra" => extra(&store, count),
        "read" => use_store(&store, count, true),
        "write" => use_store(&store, count, false),
        "after-kill" | "rebuild" => open_only(&store, count, false),
        "read-after-kill" => open_only(&store, count, true),
        _ => Err(format!("`{what}` is nothing to measure").into()),
    }
}

fn id(index: usize) -> String {
    format!("set-{:03}/img-{index:07}", index / SET)
}

/// Makes records from a few latents and any number.
struct Maker(Vec<Record>);

impl Maker {
    fn new() -> Result<Self> {
        let make = |seed| record("template", field(SHAPE, seed)?);
        Ok(Self((0..LATENTS).map(make).collect::<Result<_>>()?))
    }

    fn record(&self, index: usize) -> Result<Record> {
        let mut record = self.0[(mix(index as u64) % LATENTS) as usize].clone();
        record.header.id = RecordId::new(id(index))?;
        Ok(record)
    }
}

fn fill(store: &Path, count: usize) -> Result<Measured> {
    let maker = Maker::new()?;
    LocalBackend::create(store)?;
    let open = Store::open(store)?;
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    // Not in the order of their ids: that would be kind to any tree.
    for batch in shuffled(count, 1).chunks(FILL_BATCH) {
        let records = batch.iter().map(|&index| maker.record(index));
        open.put(&records.collect::<Result<Vec<_>>>()?, Mode::Create)?;
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let start = Instant::now();
    drop(open);
    let close = start.elapsed().as_secs_f64();
    let peak = memory()?.peak as f64 / 1e6;
    let all = [
        ("per_s", count as f64 / seconds),
        ("cpu_s", cpu),
        ("close_ms", close * 1e3),
        ("peak_mb", peak),
    ];
    Ok(all.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Writes records past `count` until it is killed, and says so once enough are acknowledged.
fn extra(store: &Path, count: usize) -> Result<Measured> {
    let maker = Maker::new()?;
    let open = Store::open(store)?;
    for first in (count..).step_by(EXTRA_BATCH) {
        let records = (first..first + EXTRA_BATCH).map(|index| maker.record(index));
        open.put(&records.collect::<Result<Vec<_>>>()?, Mode::Create)?;
        if first + EXTRA_BATCH == count + EXTRA {
            println!("acknowledged");
            std::io::stdout().flush()?;
        }
    }
    Err("there are no more numbers".into())
}

fn open_store(store: &Path, read_only: bool) -> Result<(Store, Measured)> {
    let start = Instant::now();
    let open = if read_only {
        Store::open_read_only(store)?
    } else {
        Store::open(store)?
    };
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let resident = memory()?.resident as f64 / 1e6;
    let all = [("open_ms", milliseconds), ("opened_mb", resident)];
    let all = all.map(|(name, value)| (name.to_owned(), value));
    Ok((open, all.into()))
}

/// Opens, and makes sure that everything that was acknowledged is there.
fn open_only(store: &Path, count: usize, read_only: bool) -> Result<Measured> {
    let (open, measured) = open_store(store, read_only)?;
    for index in (0..count)
        .step_by((count / 100).max(1))
        .chain(count..count + EXTRA)
    {
        open.get(&RecordId::new(id(index))?)?;
    }
    Ok(measured)
}

fn use_store(store: &Path, count: usize, read_only: bool) -> Result<Measured> {
    let (open, mut measured) = open_store(store, read_only)?;
    let page = |set: usize| -> Result<f64> {
        let start = Instant::now();
        let mut entries = 0;
        for entry in open.entries(&format!("set-{set:03}/")).take(PAGE) {
            entry?;
            entries += 1;
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        match entries {
            PAGE => Ok(milliseconds),
            _ => Err(format!("set {set} lists {entries} records").into()),
        }
    };
    let sets = count.div_ceil(SET);
    measured.insert("first_page_ms".into(), page(sets / 2)?);
    let pages = (0..PAGES).map(|at| page(mix(at as u64) as usize % sets));
    measured.insert(
        "page_ms".into(),
        median(&pages.collect::<Result<Vec<_>>>()?),
    );

    let mut times = Vec::with_capacity(GETS);
    for at in 0..GETS {
        let id = RecordId::new(id(mix(at as u64) as usize % count))?;
        let start = Instant::now();
        open.get(&id)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_unstable_by(f64::total_cmp);
    for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99)] {
        measured.insert(name.into(), percentile(&times, share));
    }
    measured.insert("rss_mb".into(), memory()?.resident as f64 / 1e6);
    Ok(measured)
}

fn show(args: &Args, columns: &[BTreeMap<String, Measured>]) -> Result<()> {
    if args.json {
        let columns = args.records.iter().map(ToString::to_string).zip(columns);
        let columns: BTreeMap<_, _> = columns.collect();
        println!("{}", serde_json::to_string_pretty(&columns)?);
        return Ok(());
    }
    let heads = args.records.iter().map(|&count| number(Some(count as f64)));
    let mut table = Table::new(std::iter::once("records".into()).chain(heads));
    for (name, child, key) in ROWS {
        let cell = |column: &BTreeMap<String, Measured>| {
            let value = column.get(child).and_then(|measured| measured.get(key));
            number(value.copied())
        };
        table.push(name, columns.iter().map(cell));
    }
    print!("{table}");
    Ok(())
}
