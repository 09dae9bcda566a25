//! A store on a simulated disk, and a script that goes through everything a writer does.

use std::sync::Arc;

use super::sim_disk::{Cut, IndexFiles, SimDisk};
use super::sim_image::{Dice, Image};
use super::*;

pub(super) type Content = BTreeMap<String, Vec<u8>>;

/// How far a writer has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Batches that were acknowledged.
    pub(super) acknowledged: usize,
    /// Those of them that were acknowledged as synced, or followed by a sync that was.
    pub(super) synced: usize,
    /// One more was begun.
    pub(super) trying: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Batch(Vec<Operation>, Durability),
    Flush,
    /// sled hands to the operating system what it holds, as it does by itself after a while.
    FlushIndex,
    Compact,
    Reopen,
}

/// The folder sled works in: memory, where the system has such a folder, because sled syncs much.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A store whose log lies on a simulated disk.
pub(super) struct Rig {
    folder: tempfile::TempDir,
    pub(super) disk: Arc<SimDisk>,
    pub(super) segment_bytes: u64,
}

impl Rig {
    /// An empty store.
    pub(super) fn new() -> Self {
        let rig = Self::of(Image::default(), None);
        LocalBackend::create_on(&rig.medium(), &rig.path(), BTreeMap::new()).unwrap();
        rig
    }

    /// The store as `image` and `index` have it.
    pub(super) fn of(image: Image, index: Option<&IndexFiles>) -> Self {
        let folder = scratch();
        let path = folder.path().join("store");
        std::fs::create_dir(&path).unwrap();
        if let Some(files) = index {
            std::fs::create_dir(path.join(INDEX)).unwrap();
            for (name, bytes) in &**files {
                std::fs::write(path.join(INDEX).join(name), bytes).unwrap();
            }
        }
        let disk = Arc::new(SimDisk::new(&path, image));
        Self {
            folder,
            disk,
            segment_bytes: SEGMENT,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(super) fn medium(&self) -> Medium {
        Medium::simulated(Arc::clone(&self.disk) as Arc<dyn disk::Disk>)
    }

    pub(super) fn open(&self) -> Result<LocalBackend> {
        let settings = Settings {
            medium: self.medium(),
            segment_bytes: self.segment_bytes,
            hand_over: 3,
            ballast_bytes: 1000,
            ..settings()
        };
        LocalBackend::open_set(&self.path(), &settings)
    }

    pub(super) fn reader(&self) -> Result<LocalBackend> {
        LocalBackend::open_read_only_on(self.medium(), &self.path())
    }

    /// Goes through `steps`, all of which must succeed, and tells the disk how far it has come.
    pub(super) fn run(&self, steps: &[Step]) {
        let mut backend = Some(self.open().unwrap());
        let mut progress = Progress::default();
        for step in steps {
            let store = backend.as_ref().unwrap();
            match step {
                Step::Batch(batch, durability) => {
                    progress.trying = true;
                    self.disk.note(progress);
                    store.apply(batch.clone(), *durability).unwrap();
                    progress.trying = false;
                    progress.acknowledged += 1;
                    if *durability == Durability::Synced {
                        progress.synced = progress.acknowledged;
                    }
                }
                Step::Flush => {
                    store.flush().unwrap();
                    progress.synced = progress.acknowledged;
                }
                Step::FlushIndex => flush_index(store),
                Step::Compact => {
                    let done = store.compact(&mut |_, _| ()).unwrap();
                    assert!(done.files > 0, "nothing was compacted");
                }
                Step::Reopen => {
                    drop(backend.take());
                    progress.synced = progress.acknowledged;
                    self.disk.note(progress);
                    backend = Some(self.open().unwrap());
                }
            }
            self.disk.note(progress);
        }
        drop(backend);
        progress.synced = progress.acknowledged;
        self.disk.note(progress);
    }
}

pub(super) fn flush_index(store: &LocalBackend) {
    let Role::Writer(writer) = &store.role else {
        unreachable!("opened for writing")
    };
    writer.index().flush().unwrap();
}

/// What a store holds after `batch`.
pub(super) fn change(content: &mut Content, batch: &[Operation]) {
    for operation in batch {
        let key = String::from_utf8(operation.key().to_vec()).unwrap();
        match operation {
            Operation::Put { bytes, .. } => content.insert(key, bytes.clone()),
            Operation::Delete { .. } => content.remove(&key),
        };
    }
}

/// What a store holds after none of the batches in `steps`, after one, two and so on.
pub(super) fn contents(steps: &[Step]) -> Vec<Content> {
    let mut all = vec![Content::new()];
    for step in steps {
        if let Step::Batch(batch, _) = step {
            let mut next = all.last().unwrap().clone();
            change(&mut next, batch);
            all.push(next);
        }
    }
    all
}

/// Puts of all sizes, replaces, deletes, batches of several, both durabilities, several segments,
/// compactions, a reopening; sled flushes after each step if `eager`.
pub(super) fn script(eager: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let batch = |operations: Vec<Operation>| Step::Batch(operations, Durability::Synced);
    let written = |operations: Vec<Operation>| Step::Batch(operations, Durability::Written);
    let filled = |key: &str, byte: u8, length: usize| put(key, &vec![byte; length]);
    steps.push(batch(vec![put("a0", b""), filled("a1", 1, 1)]));
    steps.push(batch(vec![
        filled("b0", 2, 600),
        filled("b1", 3, 20),
        delete("a1"),
    ]));
    steps.push(written(vec![filled("c0", 4, 100)]));
    steps.push(written(vec![filled("c1", 5, 700)]));
    steps.push(written(vec![filled("c0", 6, 1), delete("b1")]));
    steps.push(Step::FlushIndex);
    steps.push(written(vec![filled("c2", 7, 30)]));
    steps.push(batch(vec![filled("d", 8, 5)]));
    // Many small ones: the footer of their segment takes several sectors.
    for n in 0..8u8 {
        let small = |m: u8| filled(&format!("small-{n}-{m}"), n * 8 + m, usize::from(m));
        steps.push(written((0..6).map(small).collect()));
    }
    steps.push(Step::Flush);
    steps.push(batch(vec![filled("larger than a segment", 9, 3000)]));
    for n in 0..3u8 {
        steps.push(batch(vec![
            filled("b0", 20 + n, 511),
            delete(&format!("small-{n}-1")),
        ]));
    }
    steps.push(Step::Compact);
    steps.push(written(vec![filled("e0", 10, 40)]));
    steps.push(written(vec![filled("a0", 11, 64), delete("c1")]));
    steps.push(Step::Reopen);
    steps.push(batch(vec![
        delete("larger than a segment"),
        delete("e0"),
        filled("f", 12, 900),
    ]));
    steps.push(written(vec![filled("c1", 13, 300)]));
    steps.push(written(vec![delete("f"), filled("e0", 14, 10)]));
    steps.push(Step::Compact);
    steps.push(batch(vec![filled("g", 15, 1200)]));
    steps.push(written(vec![filled("h0", 16, 600)]));
    steps.push(written(vec![filled("h1", 17, 800), delete("g")]));
    if eager {
        steps = steps
            .into_iter()
            .flat_map(|step| [step, Step::FlushIndex])
            .collect();
    }
    steps
}

/// Compares what a store held with what it should have.
pub(super) fn assert_same(found: &Content, expected: &Content, what: &str) {
    let brief = |content: &Content| -> Vec<(String, usize, Option<u8>)> {
        let brief = content
            .iter()
            .map(|(key, b)| (key.clone(), b.len(), b.first().copied()));
        brief.collect()
    };
    let same = found == expected;
    assert!(
        same,
        "{what}:\n{:?}\nand not\n{:?}",
        brief(found),
        brief(expected)
    );
}

/// Checks all of `items` in a few threads: sled mostly waits.
pub(super) fn each<T: Sync>(items: &[T], check: impl Fn(&T) + Sync) {
    const THREADS: usize = 4;
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let mut own = items.iter().skip(first).step_by(THREADS);
            let check = &check;
            scope.spawn(move || own.by_ref().for_each(check));
        }
    });
}

/// Tells where a check was when it failed.
pub(super) struct Doing(pub(super) String);

impl Drop for Doing {
    fn drop(&mut self) {
        use std::io::Write;
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "while checking {}", self.0);
        }
    }
}

/// The moments of a run of `steps` on a new store.
pub(super) fn cuts(steps: &[Step]) -> Vec<Cut> {
    let rig = Rig::new();
    rig.disk.record();
    rig.run(steps);
    rig.disk.cuts()
}

/// Index folders from which the store must give the same answers after `cut`.
pub(super) fn indexes(
    cuts: &[Cut],
    cut: &Cut,
    dice: &mut Dice,
) -> Vec<(&'static str, Option<IndexFiles>)> {
    // Knows nothing that a power cut could have taken.
    let older = |c: &&Cut| {
        c.call < cut.call && c.note.acknowledged + usize::from(c.note.trying) <= cut.note.synced
    };
    let older: Vec<_> = cuts.iter().filter(older).collect();
    let mut garbage = (*cut.index).clone();
    for bytes in garbage.values_mut() {
        match dice.below(4) {
            0 => bytes.iter_mut().for_each(|b| *b = dice.next() as u8),
            1 => bytes.truncate(dice.below(bytes.len())),
            2 => bytes.clear(),
            _ => bytes.iter_mut().step_by(97).for_each(|b| *b ^= 0x55),
        }
    }
    let mut all = vec![
        ("no index", None),
        ("the index as it was", Some(Arc::clone(&cut.index))),
        ("a garbage index", Some(Arc::new(garbage))),
    ];
    if let Some(older) = older.get(dice.below(older.len())) {
        all.push(("an older index", Some(Arc::clone(&older.index))));
    }
    all
}
