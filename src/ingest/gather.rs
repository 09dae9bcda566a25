//! From what a user names (files, folders, patterns, tars, lists) to single images.
//!
//! Invariant: the same files give the same inputs in the same order, whatever their folders list first; every part of
//! a split is disjoint from the others, and together they are the whole.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use walkdir::WalkDir;

use super::input::{Input, Origin, Place, cant_read};
use super::members::{self, Members};
use super::originals::Originals;
use super::shard::Shard;
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::ImageFormat;
use crate::record::RecordId;

/// What was found where images were looked for.
#[derive(Debug)]
pub(super) enum Found {
    Input(Input),
    /// A file in a folder or a tar whose ending names no image format: the ending.
    Ignored(String),
    /// Something that can't be read or has no path.
    Failed(Origin, Error),
}

/// Where images are looked for, one after another.
#[derive(Default)]
pub struct Inputs {
    roots: Vec<Root>,
    base: Option<PathBuf>,
    shard: Option<Shard>,
}

enum Root {
    Path(PathBuf),
    List(Box<dyn Read + Send>),
    Originals(Originals),
}

/// A line of a list that says more than a path.
#[derive(Deserialize)]
struct Line {
    path: PathBuf,
    member: Option<String>,
    id: Option<String>,
}

type Each<'a> = dyn FnMut(Found) -> ControlFlow<()> + 'a;

impl Inputs {
    /// Adds a file, a folder with all that is below it, a tar, or a pattern of paths (with `*`, `?`, `[...]`, and `**`
    /// for any folders).
    ///
    /// Ids are made of the path below a folder, the name in a tar, and the path of a file as it is given here, without
    /// `/`, `.` and `..` before it. In folders and tars only files whose endings name an image format count, or a tar,
    /// and none whose name begins with a dot; links are followed.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Root::Path(path.into()));
        self
    }

    /// Adds what `list` has: a tar, or lines with a path each (or, where there is a zero byte in it, paths between
    /// zero bytes). A line may also be a JSON object with `path`, and, where they are known, `member` (in the tar
    /// `path`) and `id`; other keys don't matter.
    #[must_use]
    pub fn list(mut self, list: impl Read + Send + 'static) -> Self {
        self.roots.push(Root::List(Box::new(list)));
        self
    }

    /// The files that records were made of.
    pub(super) fn originals(originals: Originals) -> Self {
        Self {
            roots: vec![Root::Originals(originals)],
            ..Self::default()
        }
    }

    /// Makes ids of files of their paths below `base`; a file elsewhere is a failure.
    #[must_use]
    pub fn relative_to(mut self, base: Option<PathBuf>) -> Self {
        self.base = base;
        self
    }

    /// Keeps one part of all inputs.
    #[must_use]
    pub fn shard(mut self, shard: Option<Shard>) -> Self {
        self.shard = shard;
        self
    }

    /// How many inputs there are, without reading them; `None` where that would take a list away.
    pub fn count(&self, stop: impl Fn() -> bool) -> Option<u64> {
        let paths = self.roots.iter().map(|root| match root {
            Root::Path(path) => Some(Root::Path(path.clone())),
            Root::List(_) | Root::Originals(_) => None,
        });
        let inputs = Self {
            roots: paths.collect::<Option<_>>()?,
            base: self.base.clone(),
            shard: self.shard,
        };
        let mut count = 0;
        inputs.gather(0, &mut |found| {
            count += u64::from(!matches!(found, Found::Ignored(_)));
            if stop() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        Some(count)
    }

    /// Hands every input to `each` until it wants no more. Members of tars that have more bytes than `limit` are
    /// failures; where it is 0 none is read.
    pub(super) fn gather(self, limit: u64, each: &mut Each<'_>) {
        let gather = Gather {
            base: self.base,
            shard: self.shard,
            limit,
        };
        for root in self.roots {
            let flow = match root {
                Root::Path(path) => gather.path(&path, each),
                Root::List(list) => gather.list(list, each),
                Root::Originals(originals) => originals.gather(limit, each),
            };
            if flow.is_break() {
                break;
            }
        }
    }
}

/// How what is found becomes inputs.
struct Gather {
    base: Option<PathBuf>,
    shard: Option<Shard>,
    limit: u64,
}

impl Gather {
    fn path(&self, path: &Path, each: &mut Each<'_>) -> ControlFlow<()> {
        if path.is_dir() {
            return self.folder(path, each);
        }
        let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
        match pattern {
            Some(pattern) if !path.exists() => self.pattern(pattern, each),
            _ if is_tar(path) => self.tar(path, None, each),
            _ => self.file(path, path, None, each),
        }
    }

    fn folder(&self, folder: &Path, each: &mut Each<'_>) -> ControlFlow<()> {
        let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
        let walk = walk
            .into_iter()
            .filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name()));
        for entry in walk {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if is_tar(entry.path()) => self.tar(entry.path(), None, each)?,
                Ok(entry) if ImageFormat::from_path(entry.path()).is_ok() => {
                    let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                    self.file(entry.path(), below, None, each)?;
                }
                Ok(entry) => each(Found::Ignored(ending(entry.path())))?,
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    let error = Error::new(ErrorKind::Io, format!("can't read {}", path.display()))
                        .with_source(error);
                    each(Found::Failed(file_origin(&path), error))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pattern(&self, pattern: &str, each: &mut Each<'_>) -> ControlFlow<()> {
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::default()
        };
        let failed = |message: String| {
            Found::Failed(file_origin(Path::new(pattern)), Error::invalid(message))
        };
        let paths = match glob::glob_with(pattern, options) {
            Ok(paths) => paths,
            Err(error) => return each(failed(format!("`{pattern}` is no pattern: {error}"))),
        };
        let mut found = false;
        for path in paths {
            found = true;
            match path {
                // A pattern that ends in `**` names folders too; what is in them comes by itself.
                Ok(path) if path.is_dir() => {}
                Ok(path) => self.path(&path, each)?,
                Err(error) => {
                    let path = error.path().to_path_buf();
                    each(Found::Failed(
                        file_origin(&path),
                        cant_read(&path, error.into()),
                    ))?;
                }
            }
        }
        if found {
            ControlFlow::Continue(())
        } else {
            each(failed(format!("nothing fits `{pattern}`")))
        }
    }

    /// A file at `path`, whose id is made of `named`.
    fn file(
        &self,
        path: &Path,
        named: &Path,
        id: Option<RecordId>,
        each: &mut Each<'_>,
    ) -> ControlFlow<()> {
        let named = match &self.base {
            Some(base) => below(path, base).and_then(|below| relative(&below)),
            None => relative(named),
        };
        let found = match named {
            Ok(name) if self.skips(&name) => return ControlFlow::Continue(()),
            Ok(name) => Found::Input(Input {
                place: Place::File(path.to_path_buf()),
                path: name,
                id,
                again: false,
            }),
            Err(error) => Found::Failed(file_origin(path), error),
        };
        each(found)
    }

    fn skips(&self, path: &str) -> bool {
        self.shard.is_some_and(|shard| !shard.has(path))
    }

    /// The members of a tar, or the one called `only.0`, which gets the id `only.1`.
    fn tar(
        &self,
        path: &Path,
        only: Option<&(String, Option<RecordId>)>,
        each: &mut Each<'_>,
    ) -> ControlFlow<()> {
        let members = Members {
            archive: path,
            limit: self.limit,
        };
        let wanted = |name: &str| match only {
            Some((only, _)) => name == only,
            None => !self.skips(name),
        };
        let mut missing = only.map(|(name, _)| name);
        let flow = members.of_file(path, &wanted, &mut |found| {
            let mut found = found;
            if let (Found::Input(input), Some((_, id))) = (&mut found, only) {
                input.id.clone_from(id);
            }
            missing = None;
            each(found)
        });
        flow?;
        match missing {
            Some(name) => {
                let origin = Origin {
                    path: path.to_path_buf(),
                    member: Some(name.to_owned()),
                };
                let error = Error::new(
                    ErrorKind::NotFound,
                    format!("there is no {name} in {}", path.display()),
                );
                each(Found::Failed(origin, error))
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn list(&self, list: Box<dyn Read + Send>, each: &mut Each<'_>) -> ControlFlow<()> {
        let mut list = BufReader::with_capacity(1 << 16, list);
        let stdin = Path::new("-");
        let mut beginning = Vec::new();
        if let Err(error) = list
            .by_ref()
            .take(members::BLOCK)
            .read_to_end(&mut beginning)
        {
            return each(Found::Failed(file_origin(stdin), cant_read(stdin, error)));
        }
        let is_tar = members::is_tar(&beginning);
        let mut rest = std::io::Cursor::new(beginning).chain(list);
        if is_tar {
            let members = Members {
                archive: stdin,
                limit: self.limit,
            };
            return members.of_stream(rest, &|name| !self.skips(name), each);
        }
        let end = if rest.fill_buf().is_ok_and(|bytes| bytes.contains(&0)) {
            0
        } else {
            b'\n'
        };
        for line in rest.split(end) {
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    return each(Found::Failed(file_origin(stdin), cant_read(stdin, error)));
                }
            };
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if !line.is_empty() {
                self.line(line, each)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn line(&self, line: &[u8], each: &mut Each<'_>) -> ControlFlow<()> {
        if !line.starts_with(b"{\"") {
            let path = path_of(line);
            return self.path(&path, each);
        }
        let failed = |error: Error| Found::Failed(file_origin(&path_of(line)), error);
        let line: Line = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => {
                let message = "a line of the list is no JSON object with `path`";
                return each(failed(Error::invalid(message).with_source(error)));
            }
        };
        let id = match line.id.map(RecordId::new).transpose() {
            Ok(id) => id,
            Err(error) => return each(failed(error)),
        };
        match line.member {
            Some(member) => self.tar(&line.path, Some(&(member, id)), each),
            None if id.is_none() => self.path(&line.path, each),
            None => self.file(&line.path, &line.path, id, each),
        }
    }
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn file_origin(path: &Path) -> Origin {
    Origin {
        path: path.to_path_buf(),
        member: None,
    }
}

fn is_tar(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("tar"))
}

/// The ending of a file's name, with its dot, in lower case; empty if there is none.
pub(super) fn ending(path: &Path) -> String {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    ending
        .map(|ending| format!(".{ending}"))
        .unwrap_or_default()
}

/// The part of `path` that comes after `base`.
fn below(path: &Path, base: &Path) -> Result<PathBuf> {
    let plain = |path: &Path| -> PathBuf {
        let parts = path.components();
        parts.filter(|part| *part != Component::CurDir).collect()
    };
    let below = plain(path).strip_prefix(plain(base)).map(Path::to_path_buf);
    below.map_err(|_| {
        Error::invalid(format!(
            "{} is not below {}",
            path.display(),
            base.display()
        ))
    })
}

/// The named parts of a path, with `/` between them.
pub(super) fn relative(path: &Path) -> Result<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str().ok_or_else(|| {
                Error::invalid(format!(
                    "{} is no UTF-8, and can't become an id",
                    path.display()
                ))
            })?),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    Ok(parts.join("/"))
}
