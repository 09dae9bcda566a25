//! latentdb's backend beside other engines and plain files, under the same values in one run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use latentdb_peers::Result;
use latentdb_peers::data::median;
use latentdb_peers::engines::{NAMES, setting};
use latentdb_peers::process::{Measured, disk, hand_over, measure};
use latentdb_peers::table::{Table, number};
use latentdb_peers::workload::{PHASES, Workload};

#[derive(Parser)]
struct Args {
    /// How many values
    #[arg(long, default_value_t = 20_000)]
    values: usize,
    /// Bytes of each
    #[arg(long, default_value_t = 26 << 10)]
    value_bytes: usize,
    /// Durable commits of one value
    #[arg(long, default_value_t = 2_000)]
    singles: usize,
    /// Which engines, in which order
    #[arg(long, value_delimiter = ',', default_values_t = NAMES.map(String::from))]
    engines: Vec<String>,
    /// How often; medians are shown
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// A folder to work in, on the disk to be measured: made, and removed at the end
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
    /// One phase of one engine, in a process of its own
    #[command(hide = true)]
    Phase { phase: String, engine: String },
}

/// What the table shows: its name there, the phase, the name within the phase.
const ROWS: [(&str, &str, &str); 28] = [
    ("ingest, MB/s", "ingest", "mb_per_s"),
    ("ingest, CPU seconds", "ingest", "cpu_s"),
    ("ingest, peak memory, MB", "ingest", "peak_mb"),
    (
        "on disk / live bytes after ingest",
        "ingest",
        "allocated_ratio",
    ),
    ("the same by file lengths", "ingest", "apparent_ratio"),
    ("open after a clean close, ms", "read", "open_ms"),
    ("gets in key order, per second", "read", "order_per_s"),
    ("gets in random order, per second", "read", "random_per_s"),
    ("both readings, CPU seconds", "read", "cpu_s"),
    ("RSS after opening, MB", "read", "opened_mb"),
    ("RSS after reading all, MB", "read", "rss_mb"),
    ("of it anonymous, MB", "read", "anonymous_mb"),
    ("peak RSS while reading, MB", "read", "peak_mb"),
    ("churn, seconds", "churn", "seconds"),
    ("churn, CPU seconds", "churn", "cpu_s"),
    (
        "on disk / live bytes after churn",
        "churn",
        "allocated_ratio",
    ),
    ("the same by file lengths", "churn", "apparent_ratio"),
    ("compaction, seconds", "compact", "seconds"),
    ("compaction, CPU seconds", "compact", "compact_cpu_s"),
    (
        "on disk / live bytes after compaction",
        "compact",
        "allocated_ratio",
    ),
    ("the same by file lengths", "compact", "apparent_ratio"),
    ("one durable put, p50, µs", "singles", "p50_us"),
    ("one durable put, p99, µs", "singles", "p99_us"),
    ("one durable put, longest, µs", "singles", "max_us"),
    ("single puts, CPU seconds", "singles", "cpu_s"),
    ("close after ingest, ms", "ingest", "close_ms"),
    ("close after churn, ms", "churn", "close_ms"),
    ("files after ingest", "ingest", "files"),
];

fn main() -> Result<()> {
    let args = Args::parse();
    let workload = Workload {
        values: args.values,
        value_bytes: args.value_bytes,
        singles: args.singles,
    };
    if let Some(Child::Phase { phase, engine }) = &args.child {
        return hand_over(&workload.run(phase, engine, &args.folder)?);
    }
    if args.folder.exists() {
        return Err(format!("{} exists already", args.folder.display()).into());
    }
    let mut rounds: Vec<Measured> = Vec::new();
    let result = (0..args.rounds).try_for_each(|round| {
        let mut all = Measured::new();
        // What an engine leaves the disk to do is felt by the next: it shouldn't always be the same one.
        let mut engines: Vec<_> = args.engines.iter().collect();
        if round % 2 == 1 {
            engines.reverse();
        }
        for engine in engines {
            eprintln!("round {} of {}: {engine}", round + 1, args.rounds);
            for phase in PHASES {
                std::process::Command::new("sync").status()?;
                for (name, value) in measure_phase(&args, &workload, phase, engine)? {
                    all.insert(format!("{engine} {phase} {name}"), value);
                }
            }
            std::fs::remove_dir_all(&args.folder)?;
        }
        rounds.push(all);
        Result::Ok(())
    });
    if args.folder.exists() {
        std::fs::remove_dir_all(&args.folder)?;
    }
    result?;
    show(&args, &rounds)
}

/// Runs a phase in a child, and looks at what it left on the disk.
fn measure_phase(args: &Args, workload: &Workload, phase: &str, engine: &str) -> Result<Measured> {
    let folder = args.folder.join(if phase == "singles" {
        "singles"
    } else {
        "values"
    });
    let numbers = [args.values, args.value_bytes, args.singles].map(|n| n.to_string());
    let mut measured = measure(&[
        "--values",
        &numbers[0],
        "--value-bytes",
        &numbers[1],
        "--singles",
        &numbers[2],
        "--folder",
        &folder.to_string_lossy(),
        "phase",
        phase,
        engine,
    ])?;
    let (size, live) = (disk(&folder)?, workload.live_bytes(phase) as f64);
    measured.insert("allocated_ratio".into(), size.allocated as f64 / live);
    measured.insert("apparent_ratio".into(), size.apparent as f64 / live);
    measured.insert("files".into(), size.files as f64);
    Ok(measured)
}

fn show(args: &Args, rounds: &[Measured]) -> Result<()> {
    let mut medians: BTreeMap<&str, f64> = BTreeMap::new();
    for name in rounds.iter().flat_map(Measured::keys) {
        let values: Vec<f64> = rounds.iter().filter_map(|r| r.get(name)).copied().collect();
        medians.insert(name, median(&values));
    }
    if args.json {
        let value = serde_json::json!({
            "values": args.values, "value_bytes": args.value_bytes, "singles": args.singles,
            "medians": medians, "rounds": rounds,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    println!(
        "{} values of {} bytes, a durable commit every 64; {} single puts; medians of {} rounds.\n",
        args.values, args.value_bytes, args.singles, args.rounds
    );
    let heads = std::iter::once(String::new()).chain(args.engines.iter().cloned());
    let mut table = Table::new(heads);
    for (name, phase, key) in ROWS {
        let cell = |engine: &String| {
            number(
                medians
                    .get(format!("{engine} {phase} {key}").as_str())
                    .copied(),
            )
        };
        table.push(name, args.engines.iter().map(cell));
    }
    println!("{table}");
    for engine in &args.engines {
        println!("- {engine}: {}", setting(engine));
    }
    Ok(())
}
