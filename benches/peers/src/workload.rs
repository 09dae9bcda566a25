//! What every engine goes through: the phases, each run in a process of its own.

use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::data::{fill, hash, key, percentile, shuffled};
use crate::engines::{self, Change, Engine};
use crate::process::{Measured, cpu_seconds, memory};

/// How much goes through each engine.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Values that are ingested.
    pub values: usize,
    /// Bytes of each.
    pub value_bytes: usize,
    /// Commits of one value each.
    pub singles: usize,
}

/// Values in a durable batch.
const BATCH: usize = 64;
/// Seeds of orders: any numbers do.
const READ_ORDER: u64 = 3;
const CHURN_CHOICE: u64 = 7;
const CHURN_ORDER: u64 = 9;

/// The phases in their order. `singles` begins with an empty folder, each other one with what the one before left.
pub const PHASES: [&str; 5] = ["ingest", "read", "churn", "compact", "singles"];

/// What a value is after its phase: its version, or nothing.
type Version = Option<u64>;

impl Workload {
    /// Runs a phase of `engine` in `folder` and says what it took.
    pub fn run(&self, phase: &str, engine: &str, folder: &Path) -> Result<Measured> {
        let mut measured = Measured::new();
        let bound = (self.values + self.singles) as u64 * (self.value_bytes as u64 + 64);
        let start = Instant::now();
        let mut open = engines::open(engine, folder, bound)?;
        measured.insert("open_ms".into(), start.elapsed().as_secs_f64() * 1e3);
        let cpu = cpu_seconds()?;
        match phase {
            "ingest" => self.ingest(open.as_mut(), &mut measured)?,
            "read" => self.read(open.as_ref(), &mut measured)?,
            "churn" => self.churn(open.as_mut(), &mut measured)?,
            "compact" => self.compact(open.as_mut(), &mut measured)?,
            "singles" => self.singles(open.as_mut(), &mut measured)?,
            _ => return Err(format!("no phase `{phase}`").into()),
        }
        let start = Instant::now();
        open.close()?;
        measured.insert("close_ms".into(), start.elapsed().as_secs_f64() * 1e3);
        let generated = measured.remove("generating_cpu_s").unwrap_or_default();
        measured.insert("cpu_s".into(), cpu_seconds()? - cpu - generated);
        Ok(measured)
    }

    /// Bytes of keys and values that live after a phase.
    pub fn live_bytes(&self, phase: &str) -> u64 {
        let versions = self.versions(phase);
        let live = versions.iter().filter(|version| version.is_some()).count();
        live as u64 * (self.value_bytes + key(0).len()) as u64
    }

    fn value(&self, index: usize, version: u64) -> Vec<u8> {
        let mut value = vec![0; self.value_bytes];
        fill(index, version, &mut value);
        value
    }

    /// What lives after `phase`.
    fn versions(&self, phase: &str) -> Vec<Version> {
        let mut versions = vec![Some(0); self.values];
        if phase == "churn" || phase == "compact" {
            let chosen = shuffled(self.values, CHURN_CHOICE);
            for &index in &chosen[..self.values / 2] {
                versions[index] = Some(1);
            }
            for &index in &chosen[self.values / 2..self.values * 3 / 4] {
                versions[index] = None;
            }
        }
        versions
    }

    fn ingest(&self, engine: &mut dyn Engine, measured: &mut Measured) -> Result<()> {
        let indices: Vec<usize> = (0..self.values).collect();
        let put = |&index: &usize| Change::Put(key(index), self.value(index, 0));
        let seconds = commit_all(engine, &indices, put, measured)?;
        let bytes = self.live_bytes("ingest") as f64;
        measured.insert("mb_per_s".into(), bytes / 1e6 / seconds);
        measured.insert("peak_mb".into(), memory()?.peak as f64 / 1e6);
        Ok(())
    }

    fn read(&self, engine: &dyn Engine, measured: &mut Measured) -> Result<()> {
        measured.insert("opened_mb".into(), memory()?.resident as f64 / 1e6);
        let (expected, generating) = self.expected("read")?;
        let in_order: Vec<usize> = (0..self.values).collect();
        let random = shuffled(self.values, READ_ORDER);
        for (name, order) in [("order", &in_order), ("random", &random)] {
            let start = Instant::now();
            self.check(engine, order, &expected)?;
            let seconds = start.elapsed().as_secs_f64();
            measured.insert(format!("{name}_per_s"), self.values as f64 / seconds);
        }
        let memory = memory()?;
        measured.insert("rss_mb".into(), memory.resident as f64 / 1e6);
        measured.insert("anonymous_mb".into(), memory.anonymous as f64 / 1e6);
        measured.insert("peak_mb".into(), memory.peak as f64 / 1e6);
        measured.insert("generating_cpu_s".into(), generating);
        Ok(())
    }

    fn churn(&self, engine: &mut dyn Engine, measured: &mut Measured) -> Result<()> {
        let versions = self.versions("churn");
        let mut changed = shuffled(self.values, CHURN_ORDER);
        changed.retain(|&index| versions[index] != Some(0));
        let change = |&index: &usize| match versions[index] {
            Some(version) => Change::Put(key(index), self.value(index, version)),
            None => Change::Delete(key(index)),
        };
        let seconds = commit_all(engine, &changed, change, measured)?;
        measured.insert("seconds".into(), seconds);
        Ok(())
    }

    /// Compacts and reads all that lives, outside of the time that is measured.
    fn compact(&self, engine: &mut dyn Engine, measured: &mut Measured) -> Result<()> {
        let (expected, generating) = self.expected("compact")?;
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        if engine.compact()? {
            measured.insert("seconds".into(), start.elapsed().as_secs_f64());
            measured.insert("compact_cpu_s".into(), cpu_seconds()? - cpu);
        }
        measured.insert("generating_cpu_s".into(), generating);
        self.check(engine, &shuffled(self.values, READ_ORDER), &expected)
    }

    fn singles(&self, engine: &mut dyn Engine, measured: &mut Measured) -> Result<()> {
        let mut times = Vec::with_capacity(self.singles);
        for index in 0..self.singles {
            let batch = vec![Change::Put(key(index), self.value(index, 0))];
            let start = Instant::now();
            engine.commit(batch)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_unstable_by(f64::total_cmp);
        for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("max_us", 1.0)] {
            measured.insert(name.into(), percentile(&times, share));
        }
        Ok(())
    }

    /// Hashes of what must be read after `phase`, and the processor seconds it took to make them.
    fn expected(&self, phase: &str) -> Result<(Vec<Option<u64>>, f64)> {
        let cpu = cpu_seconds()?;
        let mut value = vec![0; self.value_bytes];
        let versions = self.versions(phase).into_iter().enumerate();
        let hashes = versions.map(|(index, version)| {
            version.map(|version| {
                fill(index, version, &mut value);
                hash(&value)
            })
        });
        let hashes = hashes.collect();
        Ok((hashes, cpu_seconds()? - cpu))
    }

    /// Reads everything in `order`; another value than the expected one is an error.
    fn check(&self, engine: &dyn Engine, order: &[usize], expected: &[Option<u64>]) -> Result<()> {
        let (mut at, mut wrong) = (0, None);
        let mut keys = order.iter().map(|&index| key(index));
        engine.read(&mut keys, &mut |key, value| {
            if value.map(hash) != expected[order[at]] {
                wrong.get_or_insert_with(|| String::from_utf8_lossy(key).into_owned());
            }
            at += 1;
        })?;
        match wrong {
            Some(key) => Err(format!("another value than was put lies under {key}").into()),
            None if at != self.values => Err(format!("{at} of {} keys read", self.values).into()),
            None => Ok(()),
        }
    }
}

/// Commits the changes of `indices` in batches; returns the seconds inside of `commit` alone.
fn commit_all(
    engine: &mut dyn Engine,
    indices: &[usize],
    change: impl Fn(&usize) -> Change,
    measured: &mut Measured,
) -> Result<f64> {
    let (mut seconds, mut generating) = (0.0, 0.0);
    for batch in indices.chunks(BATCH) {
        let start = Instant::now();
        let batch = batch.iter().map(&change).collect();
        generating += start.elapsed().as_secs_f64();
        let start = Instant::now();
        engine.commit(batch)?;
        seconds += start.elapsed().as_secs_f64();
    }
    // Generating never waits, so its time is about its processor time.
    measured.insert("generating_cpu_s".into(), generating);
    Ok(seconds)
}
