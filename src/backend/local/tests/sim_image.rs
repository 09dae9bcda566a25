//! What a simulated disk holds, on the medium and on its way there.
//!
//! Invariant: it keeps what `FORMAT.md` assumes of a medium, and nothing more. Bytes are durable once their file
//! was synced, names once their folder was; of what wasn't, any part may survive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR: usize = 512;

/// Random numbers that a seed repeats (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(usize, Arc<[u8]>),
    SetLen(usize),
}

/// A file, whatever its names.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// As the processes see it.
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    /// What leads from `durable` to `live`.
    pending: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Set(PathBuf, Node),
    Rename(PathBuf, PathBuf, Node),
    Remove(PathBuf),
}

type Names = BTreeMap<PathBuf, Node>;

/// All that a disk holds; paths are relative to its root.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) inodes: Vec<Arc<Inode>>,
    pub(super) live: Names,
    durable: Names,
    pending: Vec<NameChange>,
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end && !bytes.is_empty() {
        file.resize(end, 0);
    }
    if !bytes.is_empty() {
        file[offset..end].copy_from_slice(bytes);
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => write(file, *offset, bytes),
            Change::SetLen(length) => file.resize(*length, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Set(path, node) => drop(names.insert(path.clone(), *node)),
            NameChange::Remove(path) => drop(names.remove(path)),
            NameChange::Rename(from, to, node) => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }

    fn is_in(&self, folder: &Path) -> bool {
        let (NameChange::Set(path, _) | NameChange::Remove(path) | NameChange::Rename(path, _, _)) =
            self;
        path.parent() == Some(folder)
    }
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// What is pending is on the medium from now on.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// What is pending never gets to the medium, though it can still be read.
    pub(super) fn lose(&mut self) {
        self.pending.clear();
    }

    fn settled(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            live: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        })
    }

    /// What some of the pending changes, sector by sector, make of it.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let likely = dice.below(5);
        for change in &self.pending {
            match change {
                Change::SetLen(length) if dice.below(4) < likely => bytes.resize(*length, 0),
                Change::SetLen(_) => {}
                Change::Write(offset, written) => {
                    let (mut at, end) = (*offset, offset + written.len());
                    while at < end {
                        let next = (at / SECTOR + 1) * SECTOR;
                        let next = next.min(end);
                        if dice.below(4) < likely {
                            write(&mut bytes, at, &written[at - offset..next - offset]);
                        }
                        at = next;
                    }
                }
            }
        }
        // The length may have grown before the bytes.
        if bytes.len() < self.live.len() && dice.below(2) == 0 {
            let missing = self.live.len() - bytes.len();
            bytes.resize(bytes.len() + dice.below(missing + 1), 0);
        }
        bytes
    }
}

impl Image {
    /// What a power cut leaves if nothing survives but what was synced.
    pub(super) fn synced(&self) -> Self {
        self.cut(&self.durable, |inode| inode.durable.clone())
    }

    /// What a power cut leaves if some of the rest survives as well.
    pub(super) fn torn(&self, dice: &mut Dice) -> Self {
        let mut names = self.durable.clone();
        let likely = dice.below(5);
        for change in &self.pending {
            if dice.below(4) < likely {
                change.apply(&mut names);
            }
        }
        self.cut(&names, |inode| inode.torn(dice))
    }

    fn cut(&self, names: &Names, mut content: impl FnMut(&Inode) -> Vec<u8>) -> Self {
        let reachable = |path: &Path| {
            let mut above = path.ancestors().skip(1).filter(|a| *a != Path::new(""));
            above.all(|folder| names.get(folder) == Some(&Node::Folder))
        };
        let live = names.iter().filter(|(path, _)| reachable(path));
        let live: Names = live.map(|(path, node)| (path.clone(), *node)).collect();
        let inodes = self.inodes.iter();
        Self {
            inodes: inodes.map(|i| Inode::settled(content(i))).collect(),
            durable: live.clone(),
            live,
            pending: Vec::new(),
        }
    }

    /// Files as the processes see them.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let file = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) => Some((path.clone(), self.inodes[*inode].live.clone())),
            Node::Folder => None,
        };
        self.live.iter().filter_map(file).collect()
    }

    /// The same with `bytes` in the file at `path`.
    pub(super) fn with(&self, path: &Path, bytes: Vec<u8>) -> Self {
        let mut image = self.clone();
        if let Some(Node::File(inode)) = image.live.get(path) {
            image.inodes[*inode] = Inode::settled(bytes);
        }
        image
    }

    /// The same without the file at `path`.
    pub(super) fn without(&self, path: &Path) -> Self {
        let mut image = self.clone();
        image.live.remove(path);
        image.durable.remove(path);
        image
    }

    pub(super) fn names_change(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// The names in `folder` are on the medium from now on.
    pub(super) fn sync_dir(&mut self, folder: &Path) {
        for change in std::mem::take(&mut self.pending) {
            if change.is_in(folder) {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
    }
}
