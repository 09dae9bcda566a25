//! What a process takes, and processes of our own that measure one thing each.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// What a child measured, by name.
pub type Measured = BTreeMap<String, f64>;

/// Memory of this process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident: anonymous pages and mapped files (`VmRSS`).
    pub resident: u64,
    /// The anonymous part of it (`RssAnon`): what the system can't drop.
    pub anonymous: u64,
    /// The most that was ever resident (`VmHWM`).
    pub peak: u64,
}

/// What this process takes now.
pub fn memory() -> Result<Memory> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let line = line.ok_or_else(|| format!("/proc/self/status has no {name}"))?;
        let kilobytes = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        Ok(kilobytes.parse::<u64>()? * 1024)
    };
    Ok(Memory {
        resident: field("VmRSS")?,
        anonymous: field("RssAnon")?,
        peak: field("VmHWM")?,
    })
}

/// Processor seconds of all threads of this process so far, in steps of 10 ms.
pub fn cpu_seconds() -> Result<f64> {
    // The kernel counts for user space in hundredths of a second on every architecture.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in brackets, which may hold spaces.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().ok_or("short stat")?.parse()?) };
    Ok((ticks()? + ticks()?) / TICKS)
}

/// Sizes of all files under a folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    /// Blocks that the files occupy, times 512.
    pub allocated: u64,
    /// Lengths of the files; holes and preallocated space make the two differ.
    pub apparent: u64,
    /// How many there are, without folders.
    pub files: u64,
}

/// What lies under `folder`, the folders themselves included.
pub fn disk(folder: &Path) -> Result<Disk> {
    let mut sum = Disk::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum.allocated += metadata.blocks() * 512;
        if metadata.is_dir() {
            let inner = disk(&entry.path())?;
            sum.allocated += inner.allocated;
            sum.apparent += inner.apparent;
            sum.files += inner.files;
        } else {
            sum.apparent += metadata.len();
            sum.files += 1;
        }
    }
    Ok(sum)
}

/// This program again, with `arguments`, as a command whose output is ours to read.
pub fn again(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

/// Runs this program again and takes what it measured from its last line.
pub fn measure(arguments: &[&str]) -> Result<Measured> {
    measure_with(arguments, &[])
}

/// As [`measure`], with these variables in its environment.
pub fn measure_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Measured> {
    let mut command = again(arguments)?;
    command.envs(variables.iter().copied());
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed: {}", arguments.join(" "), output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(
        text.lines().last().unwrap_or_default(),
    )?)
}

/// How a child hands over what it measured.
pub fn hand_over(measured: &Measured) -> Result<()> {
    println!("{}", serde_json::to_string(measured)?);
    Ok(())
}
