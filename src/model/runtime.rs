//! Finding and loading the shared library of ONNX Runtime.
//!
//! Invariant: `ort` is never asked for anything before a library was loaded from a path chosen
//! here, because otherwise it panics when there is none.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::environment::user_data_folder;
use crate::error::{Error, ErrorKind, Result};

/// The file name of the library on this system.
pub(super) const LIBRARY: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// The installer's note beside the libraries.
const INSTALLED: &str = "installed.json";

/// A place where the library may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Why this place is looked at, for people.
    pub origin: &'static str,
    /// The library's path; for the system's own search just its name.
    pub path: PathBuf,
}

/// ONNX Runtime, loaded. A process has at most one.
#[derive(Debug, Clone)]
pub struct Runtime {
    path: PathBuf,
    environment: ort::environment::Environment,
}

/// What was loaded first; later requests get the same or an error.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Where the library is looked for, in this order: `explicit`, the environment variable
    /// `ORT_DYLIB_PATH`, the executable's folder, `../onnxruntime` from there, the user's data
    /// folder, the system.
    ///
    /// Reads the environment.
    pub fn candidates(explicit: Option<&Path>) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut add = |origin, path: PathBuf| found.push(Candidate { origin, path });
        // A folder is as good as the library in it.
        let library = |path: &Path| {
            if path.is_dir() {
                path.join(LIBRARY)
            } else {
                path.to_path_buf()
            }
        };
        if let Some(path) = explicit {
            add("given", library(path));
        }
        if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
            add("ORT_DYLIB_PATH", library(Path::new(&path)));
        }
        let executable = std::env::current_exe().and_then(|path| path.canonicalize());
        if let Some(folder) = executable.ok().as_deref().and_then(Path::parent) {
            add("the executable's folder", folder.join(LIBRARY));
            if let Some(parent) = folder.parent() {
                add(
                    "beside the executable's folder",
                    parent.join("onnxruntime").join(LIBRARY),
                );
            }
        }
        if let Some(folder) = Self::user_folder() {
            add("the user's data folder", folder.join(LIBRARY));
        }
        add("the system", PathBuf::from(LIBRARY));
        found
    }

    /// Where `latentdb runtime install` puts the library. Reads the environment.
    pub fn user_folder() -> Option<PathBuf> {
        Some(user_data_folder()?.join("onnxruntime"))
    }

    /// Loads the library from the first of [`candidates`](Self::candidates) that is there.
    ///
    /// A place that was named (`explicit`, `ORT_DYLIB_PATH`) must work: nothing else is tried.
    /// Reads the environment.
    ///
    /// # Errors
    /// `RuntimeUnavailable` if none is found, or what was found is too old or no ONNX Runtime.
    pub fn discover(explicit: Option<&Path>) -> Result<Self> {
        let candidates = Self::candidates(explicit);
        for candidate in &candidates {
            let named = matches!(candidate.origin, "given" | "ORT_DYLIB_PATH");
            let on_path = candidate.path.parent() == Some(Path::new(""));
            if !named && !on_path && !candidate.path.exists() {
                continue;
            }
            return match Self::load(&candidate.path) {
                Err(error) if on_path && !named => Err(Error::new(
                    ErrorKind::RuntimeUnavailable,
                    "ONNX Runtime was not found",
                )
                .with_source(error)),
                other => other,
            };
        }
        Err(Error::new(
            ErrorKind::RuntimeUnavailable,
            "ONNX Runtime was not found",
        ))
    }

    /// Loads the library at `path`.
    ///
    /// Published builds of ONNX Runtime for Unix send telemetry unless the environment variable
    /// `ORT_DISABLE_TELEMETRY=1` is set before this; a library can't safely set it, so the program
    /// that embeds it should. What can be switched off later is switched off here.
    ///
    /// # Errors
    /// `RuntimeUnavailable` if it can't be loaded, is no ONNX Runtime, is older than 1.17, or
    /// another one was loaded before in this process.
    pub fn load(path: &Path) -> Result<Self> {
        let mut loaded = LOADED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let unavailable = |what: String| Error::new(ErrorKind::RuntimeUnavailable, what);
        if let Some(runtime) = &*loaded {
            if runtime.path == path {
                return Ok(runtime.clone());
            }
            return Err(unavailable(format!(
                "ONNX Runtime was loaded from {} before: a process can't load {} as well",
                runtime.path.display(),
                path.display()
            )));
        }
        let failed = || {
            unavailable(format!(
                "ONNX Runtime can't be loaded from {}",
                path.display()
            ))
        };
        let builder = ort::init_from(path).map_err(|e| failed().with_source(e))?;
        let environment = builder
            .with_name("latentdb")
            .with_telemetry(false)
            // A library prints nothing: what matters comes back as an error.
            .with_logger(std::sync::Arc::new(|_, _, _, _, _| {}))
            .build()
            .map_err(|e| failed().with_source(e))?;
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        let runtime = Self {
            path: path.to_path_buf(),
            environment,
        };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, such as `1.31.1`; `None` where it can't be told.
    ///
    /// Read from the file: on Linux the library's symbols carry it, and elsewhere the installer's
    /// note beside it does.
    pub fn version(&self) -> Option<String> {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        version_in(&bytes).or_else(|| self.installed().map(|installed| installed.onnxruntime))
    }

    pub(super) fn environment(&self) -> &ort::environment::Environment {
        &self.environment
    }

    /// Loads what the CUDA provider needs from where the installer put it, so that no
    /// `LD_LIBRARY_PATH` is needed. What is missing shows as an error when the provider starts.
    pub(super) fn preload_cuda(&self) {
        let (Some(folder), Some(installed)) = (self.path.parent(), self.installed()) else {
            return;
        };
        for name in installed.preload {
            // Names only: nothing outside the folder is loaded because a file says so.
            if Path::new(&name).components().count() == 1 {
                let _ = ort::util::preload_dylib(folder.join(name));
            }
        }
    }

    fn installed(&self) -> Option<Installed> {
        let bytes = std::fs::read(self.path.with_file_name(INSTALLED)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// What the installer notes beside the libraries.
#[derive(serde::Deserialize)]
struct Installed {
    onnxruntime: String,
    /// Libraries that the CUDA provider needs, in the order in which they are to be loaded.
    preload: Vec<String>,
}

/// The version in the library's exported symbols, which are marked `VERS_1.31.1`.
fn version_in(library: &[u8]) -> Option<String> {
    let mark = b"VERS_";
    let at = library
        .windows(mark.len())
        .position(|window| window == mark)?;
    let rest = &library[at + mark.len()..];
    let length = rest
        .iter()
        .take_while(|b| b.is_ascii_digit() || **b == b'.')
        .count();
    String::from_utf8(rest[..length].to_vec())
        .ok()
        .filter(|version| version.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_path_comes_first_and_the_system_last() {
        let candidates = Runtime::candidates(Some(Path::new("/given/lib.so")));
        assert_eq!(candidates[0].path, Path::new("/given/lib.so"));
        assert_eq!(candidates.last().unwrap().path, Path::new(LIBRARY));
    }

    #[test]
    fn the_version_is_read_from_the_marks_of_symbols() {
        let library = b"\x7fELF...\0OrtGetApiBase\0VERS_1.31.1\0...";
        assert_eq!(version_in(library).as_deref(), Some("1.31.1"));
        assert_eq!(version_in(b"VERS_"), None);
        assert_eq!(version_in(b""), None);
    }
}
