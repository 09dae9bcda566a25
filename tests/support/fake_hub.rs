//! A small HTTP server that plays the Hugging Face hub, and remembers what it was asked.
//!
//! Invariant: it answers one request a connection, and what it breaks it was told to break.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use sha1::Digest as _;

/// A hub on a free port of this machine, until it is dropped.
pub(crate) struct FakeHub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
}

/// What the hub has, how it behaves, and what it saw.
pub(crate) struct State {
    pub(crate) repo: String,
    pub(crate) commit: String,
    /// Added to the description of the model: `"cardData": ...`, `"tags": ...`.
    pub(crate) description: String,
    /// Answers instead of the description of the model.
    pub(crate) instead: Option<String>,
    files: BTreeMap<String, HubFile>,
    /// What happens to the next requests, in this order; then all goes well.
    pub(crate) faults: VecDeque<Fault>,
    /// Where large files lie, if not here.
    pub(crate) large_files_at: Option<String>,
    /// Whether `Range` is heeded.
    pub(crate) ranges: bool,
    pub(crate) seen: Vec<Seen>,
    closed: bool,
}

struct HubFile {
    bytes: Vec<u8>,
    /// What is sent, if it is not what the hub says.
    sent: Vec<u8>,
    large: bool,
}

/// Something that goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The body ends after so many bytes.
    Cut(usize),
    /// This status, with the value of `X-Error-Code`.
    Status(u16, &'static str),
    /// Nothing: the request is answered.
    None,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) status: u16,
    /// The bytes of the body that were sent.
    pub(crate) sent: usize,
}

impl FakeHub {
    /// A hub with an empty repository of this name.
    pub(crate) fn new(repo: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            repo: repo.into(),
            commit: "c".repeat(40),
            description: r#""cardData": {"license": "mit"}"#.into(),
            instead: None,
            files: BTreeMap::new(),
            faults: VecDeque::new(),
            large_files_at: None,
            ranges: true,
            seen: Vec::new(),
            closed: false,
        }));
        let shared = Arc::clone(&state);
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().closed {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                // A client that goes away is what some tests are about.
                std::thread::spawn(move || answer(&stream, &shared).ok());
            }
        });
        Self {
            address,
            state,
            server: Some(server),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a file; a large one is known by its SHA-256, another by its git object id.
    pub(crate) fn add(&self, name: &str, bytes: &[u8], large: bool) {
        let file = HubFile {
            bytes: bytes.into(),
            sent: bytes.into(),
            large,
        };
        self.state().files.insert(name.into(), file);
    }

    /// Sends other bytes for a file than the hub says it has.
    pub(crate) fn send_instead(&self, name: &str, bytes: &[u8]) {
        self.state().files.get_mut(name).unwrap().sent = bytes.into();
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// The requests whose path ends so.
    pub(crate) fn seen(&self, end: &str) -> Vec<Seen> {
        let all = self.state().seen.clone();
        all.into_iter().filter(|s| s.path.ends_with(end)).collect()
    }

    /// All bytes of a file that were sent.
    pub(crate) fn sent(&self, end: &str) -> usize {
        self.seen(end).iter().map(|seen| seen.sent).sum()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.state().closed = true;
        // The server looks up from its waiting.
        drop(TcpStream::connect(self.address));
        let _ = self.server.take().unwrap().join();
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", sha2::Sha256::digest(bytes))
}

pub(crate) fn git_blob_id(bytes: &[u8]) -> String {
    let header = format!("blob {}\0", bytes.len());
    let hash = sha1::Sha1::new().chain_update(header).chain_update(bytes);
    format!("{:x}", hash.finalize())
}

impl State {
    fn describe(&self) -> String {
        let siblings = self.files.iter().map(|(name, file)| {
            let size = file.bytes.len();
            let git = git_blob_id(&file.bytes);
            let lfs = if file.large {
                let sha256 = sha256(&file.bytes);
                format!(r#", "lfs": {{"sha256": "{sha256}", "size": {size}, "pointerSize": 130}}"#)
            } else {
                String::new()
            };
            format!(r#"{{"rfilename": "{name}", "size": {size}, "blobId": "{git}"{lfs}}}"#)
        });
        format!(
            r#"{{"id": "{}", "sha": "{}", "gated": false, {}, "siblings": [{}]}}"#,
            self.repo,
            self.commit,
            self.description,
            siblings.collect::<Vec<_>>().join(", ")
        )
    }

    /// The file that a path asks for, and where to ask instead.
    fn find(&self, path: &str) -> Option<(&HubFile, Option<String>)> {
        let resolve = format!("/{}/resolve/{}/", self.repo, self.commit);
        if let Some(name) = path.strip_prefix(&resolve) {
            let file = self.files.get(name)?;
            // As the hub does it: small files are on the same host, large ones elsewhere.
            let elsewhere = match &self.large_files_at {
                Some(place) if file.large => Some(format!("{place}/far/{name}")),
                None if file.large => None,
                _ => Some(format!("/api/resolve-cache/{name}?etag=%22x%22")),
            };
            return Some((file, elsewhere));
        }
        let name = path
            .strip_prefix("/far/")
            .or_else(|| path.strip_prefix("/api/resolve-cache/"))?;
        let name = name.split('?').next()?;
        Some((self.files.get(name)?, None))
    }
}

fn answer(mut stream: &TcpStream, shared: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }

    let mut state = shared.lock().unwrap();
    let description = format!("/api/models/{}/revision/main?blobs=true", state.repo);
    let mut more = Vec::new();
    let mut body = Vec::new();
    let mut status = 200;
    let elsewhere = state.find(path).and_then(|(_, elsewhere)| elsewhere);
    let mut cut = usize::MAX;
    // Faults are for requests that would be answered with bytes.
    let fault = match elsewhere {
        Some(_) => None,
        None => state.faults.pop_front(),
    };
    match (fault, elsewhere) {
        (Some(Fault::Status(code, why)), _) => {
            status = code;
            if !why.is_empty() {
                more.push(format!("X-Error-Code: {why}\r\n"));
            }
        }
        (_, Some(elsewhere)) => {
            status = 302;
            more.push(format!("Location: {elsewhere}\r\n"));
        }
        (fault, None) => {
            if let Some(Fault::Cut(bytes)) = fault {
                cut = bytes;
            }
            if path == description {
                let instead = state.instead.clone();
                body = instead.unwrap_or_else(|| state.describe()).into_bytes();
            } else if let Some((file, _)) = state.find(path) {
                body.clone_from(&file.sent);
            } else {
                status = 404;
            }
        }
    }
    let from = headers
        .get("range")
        .filter(|_| status == 200 && state.ranges);
    if let Some(from) = from.and_then(|range| range.strip_prefix("bytes=")) {
        let from: usize = from.trim_end_matches('-').parse().unwrap();
        let all = body.len();
        status = if from < all { 206 } else { 416 };
        more.push(format!("Content-Range: bytes {from}-{}/{all}\r\n", all - 1));
        body.drain(..from.min(all));
    }
    let sent = body.len().min(cut);
    state.seen.push(Seen {
        path: path.into(),
        range: headers.get("range").cloned(),
        token: headers.get("authorization").cloned(),
        status,
        sent,
    });
    drop(state);

    let (length, more) = (body.len(), more.concat());
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if method == "GET" {
        stream.write_all(&body[..sent])?;
    }
    stream.shutdown(Shutdown::Write)
}
