//! A disk in memory that loses power, loses its process or fails a call, wherever a test says.
//!
//! Invariant: every call is counted, and none of them reaches the real disk; sled and the lock do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Access, Disk, DiskFile};
use super::sim_image::{Change, Image, NameChange, Node};
use super::workload::Progress;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no space left, whatever `available` says.
    Full,
    Io,
    /// Half of a write is done, and then there is no space left.
    Short,
    /// A sync fails, and no later one makes up for it.
    Lost,
}

/// The bytes of sled's files.
pub(super) type IndexFiles = Arc<BTreeMap<OsString, Vec<u8>>>;

/// A moment at which power or the process may go.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    /// The call that didn't happen any more.
    pub(super) call: u64,
    pub(super) what: &'static str,
    pub(super) image: Image,
    pub(super) index: IndexFiles,
    /// What the test last noted.
    pub(super) note: Progress,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    /// The calls so far, by their names.
    calls: Vec<&'static str>,
    off: bool,
    available: u64,
    /// The call from which on, or at which alone, calls fail.
    fault: Option<(u64, Fault, bool)>,
    fired: bool,
    cuts: Option<Vec<Cut>>,
    note: Progress,
}

#[derive(Debug)]
pub(super) struct SimDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

/// Calls that want space.
pub(super) const GROWING: [&str; 6] = [
    "create",
    "write",
    "sync",
    "rename",
    "create_dir",
    "sync_dir",
];
/// Whether a call changes what a disk holds.
pub(super) fn changes(what: &str) -> bool {
    GROWING.contains(&what) || ["remove", "set_len"].contains(&what)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// A disk whose root is the folder `root` of the real one, where sled and the lock live.
    pub(super) fn new(root: &Path, image: Image) -> Self {
        let state = State {
            image,
            available: 1 << 30,
            ..State::default()
        };
        Self {
            root: root.to_path_buf(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// From here on every moment is kept.
    pub(super) fn record(&self) {
        lock(&self.state).cuts = Some(Vec::new());
    }

    /// The moments since `record`, and the present one.
    pub(super) fn cuts(&self) -> Vec<Cut> {
        let mut state = lock(&self.state);
        state.keep("end", &self.root);
        state.cuts.take().unwrap_or_default()
    }

    pub(super) fn note(&self, progress: Progress) {
        lock(&self.state).note = progress;
    }

    pub(super) fn image(&self) -> Image {
        lock(&self.state).image.clone()
    }

    /// The calls so far, by their names; call number 1 is the first.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        lock(&self.state).calls.clone()
    }

    /// Lets call number `at` fail, and all later ones if `lasting`.
    pub(super) fn fail(&self, at: u64, fault: Fault, lasting: bool) {
        lock(&self.state).fault = Some((at, fault, lasting));
    }

    /// Whether a call has failed so far.
    pub(super) fn fired(&self) -> bool {
        lock(&self.state).fired
    }

    /// Ends the faults; whether there was one.
    pub(super) fn repair(&self) -> bool {
        let mut state = lock(&self.state);
        state.fault = None;
        std::mem::take(&mut state.fired)
    }

    /// From here on every call fails: the process that still holds the disk is dead.
    pub(super) fn turn_off(&self) {
        lock(&self.state).off = true;
    }

    pub(super) fn set_available(&self, bytes: u64) {
        lock(&self.state).available = bytes;
    }

    pub(super) fn index(&self) -> IndexFiles {
        read_index(&self.root)
    }

    fn enter(&self, what: &'static str) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        state.enter(what, &self.root)?;
        Ok(state)
    }

    fn relative(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix(&self.root);
        inside.expect("the store stays in its folder").to_path_buf()
    }
}

fn read_index(root: &Path) -> IndexFiles {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("index"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // What sled renames meanwhile is as good as gone.
        if let Ok(bytes) = std::fs::read(entry.path()) {
            files.insert(entry.file_name(), bytes);
        }
    }
    Arc::new(files)
}

impl State {
    /// Counts a call, and fails it if it is to fail; a short write is left to the caller.
    fn enter(&mut self, what: &'static str, root: &Path) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the process is dead"));
        }
        self.calls.push(what);
        let number = self.calls.len() as u64;
        if changes(what) {
            self.keep(what, root);
        }
        let Some((at, fault, lasting)) = self.fault else {
            return Ok(());
        };
        let due = number == at || (lasting && number > at);
        let kind = match fault {
            Fault::Full if GROWING.contains(&what) => io::ErrorKind::StorageFull,
            Fault::Io if !lasting || changes(what) => io::ErrorKind::Other,
            _ => return Ok(()),
        };
        if due {
            self.fired = true;
            return Err(kind.into());
        }
        Ok(())
    }

    /// Whether the call that was just entered is the one to fail in this way.
    fn fails_by(&mut self, fault: Fault) -> bool {
        let number = self.calls.len() as u64;
        let due = self.fault == Some((number, fault, false));
        self.fired |= due;
        due
    }

    fn keep(&mut self, what: &'static str, root: &Path) {
        let Some(cuts) = &mut self.cuts else { return };
        let index = read_index(root);
        let same = cuts.last().filter(|last| last.index == index);
        cuts.push(Cut {
            call: self.calls.len() as u64,
            what,
            image: self.image.clone(),
            index: same.map_or(index, |last| Arc::clone(&last.index)),
            note: self.note,
        });
    }

    fn node(&self, path: &Path) -> io::Result<usize> {
        match self.image.live.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let path = self.relative(path);
        let create = access == Access::Create;
        let mut state = self.enter(if create { "create" } else { "open" })?;
        let inode = match (state.node(&path), create) {
            (Ok(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Err(_), true) => {
                let image = &mut state.image;
                image.inodes.push(Arc::default());
                let inode = image.inodes.len() - 1;
                image.names_change(NameChange::Set(path, Node::File(inode)));
                inode
            }
            (found, false) => found?,
        };
        Ok(Box::new(SimFile {
            root: self.root.clone(),
            state: Arc::clone(&self.state),
            inode,
            writable: access != Access::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.relative(from), self.relative(to));
        assert_eq!(from.parent(), to.parent(), "only within a folder");
        let mut state = self.enter("rename")?;
        let node = Node::File(state.node(&from)?);
        state.image.names_change(NameChange::Rename(from, to, node));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = self.relative(path);
        let mut state = self.enter("remove")?;
        state.node(&path)?;
        state.image.names_change(NameChange::Remove(path));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = self.relative(path);
        let mut state = self.enter("create_dir")?;
        if state.image.live.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state
            .image
            .names_change(NameChange::Set(path, Node::Folder));
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let folder = self.relative(folder);
        let state = self.enter("names")?;
        let names = state.image.live.keys();
        let inside = names.filter(|path| path.parent() == Some(&folder));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_owned()))
            .collect())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let folder = self.relative(folder);
        let mut state = self.enter("sync_dir")?;
        state.image.sync_dir(&folder);
        Ok(())
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(self.enter("available")?.available)
    }
}

#[derive(Debug)]
struct SimFile {
    root: PathBuf,
    state: Arc<Mutex<State>>,
    inode: usize,
    writable: bool,
}

impl SimFile {
    fn enter(&self, what: &'static str) -> io::Result<MutexGuard<'_, State>> {
        if !self.writable && changes(what) && what != "sync" {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = lock(&self.state);
        state.enter(what, &self.root)?;
        Ok(state)
    }

    fn change(&self, state: &mut State, change: Change) {
        Arc::make_mut(&mut state.image.inodes[self.inode]).change(change);
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.enter("len")?.image.inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.enter("read")?;
        let bytes = &state.image.inodes[self.inode].live;
        let found = bytes
            .get(offset as usize..)
            .and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut state = self.enter("write")?;
        let bytes = parts.concat();
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let offset = offset as usize;
        self.change(&mut state, Change::Write(offset, first.into()));
        if state.fails_by(Fault::Short) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.keep("rest of a write", &self.root);
        self.change(&mut state, Change::Write(offset + first.len(), rest.into()));
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.enter("set_len")?;
        self.change(&mut state, Change::SetLen(length as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.enter("sync")?;
        let lost = state.fails_by(Fault::Lost);
        let inode = Arc::make_mut(&mut state.image.inodes[self.inode]);
        if lost {
            inode.lose();
            return Err(io::ErrorKind::Other.into());
        }
        inode.sync();
        Ok(())
    }
}
