//! Loading files: from where a broken pull left them, checked before they count.
//!
//! Invariant: bytes are written to the place in the file that they have on the hub, and a file
//! gets its name only after the whole of it was hashed on the disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ureq::http::StatusCode;

use super::cache::{Lock, RepoCache, discard, size};
use super::digest::Digests;
use super::http::{self, Client, Subject, TRIES, Trouble};
use super::{HubAccess, PullFile, PullPlan, PullProgress, PullStage, Pulled, PulledFile, plan};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// The largest `config.json` that is read into memory.
const LARGEST_CONFIG: u64 = 1 << 20;

/// One fetch: the plan, and what it needs at every step.
struct Fetch<'a> {
    access: &'a HubAccess,
    plan: &'a PullPlan,
    cache: RepoCache,
    client: Client<'a>,
    progress: &'a mut dyn FnMut(PullProgress<'_>),
    /// The bytes of the files before the one at hand.
    before: u64,
    /// Whether the cache was changed.
    changed: bool,
}

impl HubAccess {
    /// Loads what of `plan` is not in the cache, checks all of it, and says where it lies.
    ///
    /// A connection that breaks is taken up again; if that doesn't help, the next call goes on
    /// from where this one ended. Another process that loads the same files is waited for.
    ///
    /// # Errors
    /// `Network`, `AccessDenied`; `Corrupted` if the hub sends bytes of another hash; `Full` and
    /// `Io` of the disk.
    pub fn fetch(
        &self,
        plan: &PullPlan,
        progress: &mut dyn FnMut(PullProgress<'_>),
    ) -> Result<Pulled> {
        plan::check(plan)?;
        let mut fetch = Fetch::new(self, plan, progress);
        let mut files = Vec::new();
        for file in &plan.files {
            files.push(fetch.obtain(file)?);
            fetch.before = fetch.before.saturating_add(file.bytes);
        }
        // Only now, so that `main` never leads to a part of a model. A cache that is whole may be
        // read-only, and then remembers what it does.
        let written = fetch.cache.set_main_commit(&plan.commit);
        if fetch.changed {
            written?;
        }
        let folder = match files[0].path.parent() {
            Some(folder) => folder.to_path_buf(),
            None => fetch.cache.snapshot(&plan.commit),
        };
        Ok(Pulled { folder, files })
    }

    /// Loads the configuration alone, so that a model that can't be run is refused before its
    /// weights are loaded.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch); `LimitExceeded` if it is larger than 1 MiB.
    pub fn fetch_config(&self, plan: &PullPlan) -> Result<Vec<u8>> {
        plan::check(plan)?;
        let file = &plan.files[0];
        if file.bytes > LARGEST_CONFIG {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "{} of `{}` has {} bytes, and a configuration has at most {LARGEST_CONFIG}",
                    file.name, plan.model.repo, file.bytes
                ),
            ));
        }
        let config = Fetch::new(self, plan, &mut |_| ()).obtain(file)?;
        fs::read_file(&config.path)
    }
}

impl<'a> Fetch<'a> {
    fn new(
        access: &'a HubAccess,
        plan: &'a PullPlan,
        progress: &'a mut dyn FnMut(PullProgress<'_>),
    ) -> Self {
        Self {
            access,
            plan,
            cache: RepoCache::new(&access.cache, plan.model.repo),
            client: Client::new(access),
            progress,
            before: 0,
            changed: false,
        }
    }

    fn say(&mut self, file: &PullFile, stage: PullStage, done: u64) {
        (self.progress)(PullProgress {
            file: &file.name,
            stage,
            done: self.before.saturating_add(done),
            total: self.plan.bytes(),
        });
    }

    /// The file in its snapshot, loaded if it must be.
    fn obtain(&mut self, file: &PullFile) -> Result<PulledFile> {
        let path = self.cache.pointer(&self.plan.commit, &file.name);
        let digests = match self.checked(&path, file)? {
            Some(digests) => digests,
            None => self.supply(&path, file)?,
        };
        self.say(file, PullStage::Whole, file.bytes);
        Ok(PulledFile {
            name: file.name.clone(),
            path,
            bytes: file.bytes,
            sha256: digests.sha256,
        })
    }

    /// The hashes of the file at `path` if it is there and is `file`.
    fn checked(&mut self, path: &Path, file: &PullFile) -> Result<Option<Digests>> {
        if size(path) != Some(file.bytes) {
            return Ok(None);
        }
        self.say(file, PullStage::Checking, file.bytes);
        let digests = Digests::of(path, file)?;
        Ok(digests.check(file, path).is_ok().then_some(digests))
    }

    /// Puts `file` into the snapshot, from the blobs or from the hub.
    fn supply(&mut self, path: &Path, file: &PullFile) -> Result<Digests> {
        let key = file.key().ok_or_else(|| self.gone(path))?;
        let blob = self.cache.blob(key);
        if self.access.offline && size(&blob).is_none() {
            return Err(self.gone(path));
        }
        let _lock = self.lock(file, key)?;
        // Whoever held the lock before may have loaded it.
        if let Some(digests) = self.checked(path, file)? {
            return Ok(digests);
        }
        let digests = match self.checked(&blob, file)? {
            Some(digests) => digests,
            None if self.access.offline => return Err(self.gone(path)),
            None => {
                // Damaged, if it is there at all.
                discard(&blob)?;
                self.load_checked(file, key)?
            }
        };
        self.changed = true;
        self.cache.link(&self.plan.commit, &file.name, key)?;
        Ok(digests)
    }

    fn lock(&mut self, file: &PullFile, key: &str) -> Result<Lock> {
        let (before, total) = (self.before, self.plan.bytes());
        let progress = &mut *self.progress;
        self.cache.lock(key, || {
            progress(PullProgress {
                file: &file.name,
                stage: PullStage::Waiting,
                done: before,
                total,
            });
        })
    }

    fn gone(&self, path: &Path) -> Error {
        let why = self.plan.unasked.as_deref();
        let why = why.unwrap_or("the hub must not be asked for it");
        Error::corrupted(format!("{} is missing or damaged: {why}", path.display()))
    }

    /// Loads `file` and gives it its name among the blobs.
    fn load_checked(&mut self, file: &PullFile, key: &str) -> Result<Digests> {
        let part = self.cache.incomplete(key);
        if size(&part).is_some_and(|have| have > file.bytes) {
            discard(&part)?;
        }
        let mut inherited = size(&part).is_some_and(|have| have > 0);
        loop {
            self.load(file, &part)?;
            self.say(file, PullStage::Checking, file.bytes);
            let digests = Digests::of(&part, file)?;
            let Err(error) = digests.check(file, &part) else {
                fs::sync_data(&fs::open_writable(&part)?, &part)?;
                let blob = self.cache.blob(key);
                std::fs::rename(&part, &blob).map_err(|e| Error::io("rename", &part, e))?;
                fs::sync_dir(blob.parent().unwrap_or(&blob))?;
                return Ok(digests);
            };
            discard(&part)?;
            // What an earlier pull left may have suffered in a crash: that is no fault of the hub.
            if !std::mem::take(&mut inherited) {
                return Err(error.with_hint(
                    "what came was removed; a mirror (HF_ENDPOINT) or a proxy may alter files",
                ));
            }
        }
    }

    /// Brings the file at `part` to its full length.
    fn load(&mut self, file: &PullFile, part: &Path) -> Result<()> {
        let mut failed = 0;
        loop {
            let have = size(part).unwrap_or(0);
            let (error, wait) = match self.load_on(file, part, have) {
                Ok(()) => return Ok(()),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::NoSuchRange(error)) => {
                    discard(part)?;
                    (error, None)
                }
                Err(Trouble::Passing { error, wait, .. }) => (error, wait),
            };
            let now = size(part).unwrap_or(0);
            if now > have {
                failed = 0;
            }
            if failed + 1 == TRIES {
                return Err(error);
            }
            self.say(file, PullStage::Pausing, now);
            std::thread::sleep(self.client.pause(failed, wait));
            failed += 1;
        }
    }

    /// Asks once for the bytes from `have` on and writes what comes.
    fn load_on(&mut self, file: &PullFile, part: &Path, have: u64) -> Result<(), Trouble> {
        let out = create(part)?;
        if have == file.bytes {
            return Ok(());
        }
        self.say(file, PullStage::Loading, have);
        let model = &self.plan.model;
        let subject = Subject {
            repo: model.repo,
            file: Some(&file.name),
        };
        let path = format!("/{}/resolve/{}/{}", model.repo, self.plan.commit, file.name);
        let response = self.client.get(&path, have, subject)?;
        let (out, mut at) = if response.status() == StatusCode::PARTIAL_CONTENT {
            let start = http::text(&response, "content-range").and_then(range_start);
            if start != Some(have) {
                return Err(Trouble::NoSuchRange(Error::new(
                    ErrorKind::Network,
                    format!(
                        "the hub sent another part of {} of `{}` than from byte {have} on",
                        file.name, model.repo
                    ),
                )));
            }
            (out, have)
        } else if have > 0 {
            // The server sends all of it, whatever was asked for. A new file rather than a
            // shorter one: where locks don't work, another process may hold this one.
            drop(out);
            discard(part)?;
            (create(part)?, 0)
        } else {
            (out, 0)
        };
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        while at < file.bytes {
            let room = (file.bytes - at).min(buffer.len() as u64) as usize;
            let broken = match body.read(&mut buffer[..room]) {
                Ok(0) => None,
                Ok(read) => {
                    fs::write_all_at(&out, part, &buffer[..read], at).map_err(make_room)?;
                    at += read as u64;
                    self.say(file, PullStage::Loading, at);
                    continue;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => Some(e),
            };
            let error = Error::new(
                ErrorKind::Network,
                format!(
                    "the connection for {} of `{}` broke after {at} of {} bytes",
                    file.name, model.repo, file.bytes
                ),
            )
            .with_hint("try again: a pull goes on from where it ended");
            return Err(Trouble::Passing {
                error: match broken {
                    Some(e) => error.with_source(e),
                    None => error,
                },
                reached: true,
                wait: None,
            });
        }
        Ok(())
    }
}

/// Troubles of the disk don't pass.
impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

fn make_room(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Full => error.with_hint(
            "free some space, and a pull goes on from where it ended; HF_HUB_CACHE names another place",
        ),
        _ => error,
    }
}

/// Opens a file that is being loaded, with what it has.
fn create(part: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    options.open(part).map_err(|e| Error::io("open", part, e))
}

/// The first byte of `bytes 5-9/10`.
fn range_start(header: &str) -> Option<u64> {
    let range = header.trim().strip_prefix("bytes")?.trim_start();
    range.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::range_start;

    #[test]
    fn a_range_starts_where_its_header_says() {
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes */10"), None);
        assert_eq!(range_start("items 5-9/10"), None);
    }
}
