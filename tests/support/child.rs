//! A second process of a test: the test binary itself, told to run one of its tests in another role.
//!
//! Invariant: what a child says arrives line by line, in order, and whole or not at all, however it ends.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

const ARGUMENTS: &str = "LATENTDB_TEST_CHILD";

/// Begins each line that is the child's; the test harness writes some of its own.
const MARK: &[u8] = b"\x01";

/// The test `name` of this binary as a process of its own.
pub(crate) fn command(name: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ARGUMENTS, arguments.join("\n"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// What this process was told as a child; `None` if it is none.
pub(crate) fn arguments() -> Option<Vec<String>> {
    let arguments = std::env::var(ARGUMENTS).ok()?;
    // Ends the line that the harness may have begun.
    std::io::stdout().write_all(b"\n").unwrap();
    Some(arguments.split('\n').map(str::to_owned).collect())
}

/// Tells the parent a line.
pub(crate) fn say(line: &str) {
    let line = [MARK, line.as_bytes(), b"\n"].concat();
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).unwrap();
    stdout.flush().unwrap();
}

/// What a child says on `stdout`. A line that was cut off by its end doesn't count.
pub(crate) fn lines(stdout: impl Read) -> impl Iterator<Item = String> {
    let mut stdout = BufReader::new(stdout);
    std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            stdout.read_until(b'\n', &mut line).unwrap();
            if line.pop()? != b'\n' {
                return None;
            }
            if let Some(said) = line.strip_prefix(MARK) {
                return Some(String::from_utf8(said.to_vec()).unwrap());
            }
        }
    })
}
