//! Any call to the disk fails, once or from then on: the process goes on reading, and nothing that was
//! acknowledged is lost.

use super::sim_disk::{Fault, GROWING, changes};
use super::workload::{Content, Doing, Rig, Step, assert_same, change};
use super::*;

/// All that a writer does, in few calls: each of them is to fail in turn.
fn script() -> Vec<Step> {
    let filled = |key: &str, length: usize| put(key, &vec![length as u8; length]);
    let synced = |operations: Vec<Operation>| Step::Batch(operations, Durability::Synced);
    let written = |operations: Vec<Operation>| Step::Batch(operations, Durability::Written);
    vec![
        synced(vec![filled("a", 600), filled("b", 0)]),
        written(vec![filled("a", 700)]),
        synced(vec![filled("c", 900), delete("b")]),
        synced(vec![filled("c", 901)]),
        written(vec![filled("d", 30)]),
        Step::Flush,
        Step::Compact,
        written(vec![filled("e", 31)]),
        Step::Reopen,
        synced(vec![delete("a"), filled("b", 32)]),
        written(vec![filled("f", 33)]),
        synced(vec![filled("g", 2500)]),
    ]
}

/// What may be there.
struct Expected {
    /// After each batch that was acknowledged.
    history: Vec<Content>,
    /// How many of them were synced.
    synced: usize,
    /// With the batch that failed last, if none was acknowledged since.
    unsure: Option<Content>,
}

impl Expected {
    fn now(&self) -> &Content {
        self.history.last().unwrap()
    }

    fn check(&self, held: &Content, what: &str) {
        if self.unsure.as_ref() != Some(held) {
            assert_same(held, self.now(), what);
        }
    }
}

fn is_fault(error: &Error) {
    let kind = error.kind();
    let expected = [ErrorKind::Full, ErrorKind::Io, ErrorKind::Poisoned];
    assert!(expected.contains(&kind), "{error:?}");
}

impl Expected {
    /// Opens the store, if it can be; what it then holds is no longer unsure.
    fn open(&mut self, rig: &Rig) -> Option<LocalBackend> {
        let store = rig.open().inspect_err(is_fault).ok()?;
        if rig.disk.fired() {
            let held = content(&store);
            self.check(&held, "after opening");
            if let Some(unsure) = self.unsure.take().filter(|unsure| *unsure == held) {
                self.history.push(unsure);
            }
        }
        Some(store)
    }

    fn apply(&mut self, store: &LocalBackend, batch: Vec<Operation>, durability: Durability) {
        let mut next = self.now().clone();
        change(&mut next, &batch);
        match store.apply(batch, durability) {
            Ok(()) => {
                self.history.push(next);
                self.unsure = None;
                if durability == Durability::Synced {
                    self.synced = self.history.len() - 1;
                }
            }
            // What a failed step didn't put can't be deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                is_fault(&error);
                if error.kind() != ErrorKind::Poisoned {
                    self.unsure = Some(next);
                }
            }
        }
    }
}

/// Goes through the steps, whatever fails; what was acknowledged can be read all the time.
fn run(rig: &Rig) -> Expected {
    let mut expected = Expected {
        history: vec![Content::new()],
        synced: 0,
        unsure: None,
    };
    let mut backend = None;
    for step in script() {
        // An opening that failed is tried again.
        let Some(store) = backend.take().or_else(|| expected.open(rig)) else {
            continue;
        };
        match step {
            Step::Batch(batch, durability) => expected.apply(&store, batch, durability),
            Step::Flush => match store.flush() {
                Ok(()) => expected.synced = expected.history.len() - 1,
                Err(error) => is_fault(&error),
            },
            Step::Compact => {
                let _ = store.compact(&mut |_, _| ()).inspect_err(is_fault);
            }
            Step::Reopen => {
                drop(store);
                backend = expected.open(rig);
                continue;
            }
            Step::FlushIndex => unreachable!("not in this script"),
        }
        if rig.disk.fired() {
            assert_same(
                &content(&store),
                expected.now(),
                "in the process that met the fault",
            );
        }
        backend = Some(store);
    }
    expected
}

/// Lets call number `at` fail, and checks the run and what it leaves.
fn check(at: u64, fault: Fault, lasting: bool) {
    let rig = Rig::new();
    let begin = rig.disk.calls().len() as u64;
    rig.disk.fail(begin + at, fault, lasting);
    let expected = run(&rig);
    assert!(rig.disk.fired(), "nothing failed");
    rig.disk.repair();
    let cut = Rig::of(rig.disk.image().synced(), None);

    // The fault is gone, and the disk still full.
    rig.disk.set_available(0);
    let store = rig.open().unwrap();
    let held = content(&store);
    expected.check(&held, "on a full disk");
    let error = store.commit(vec![put("more", b"1")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    drop(store);
    rig.disk.set_available(1 << 30);
    assert_same(&content(&rig.reader().unwrap()), &held, "a reader");
    let store = rig.open().unwrap();
    assert_same(&content(&store), &held, "when there is room again");
    store.commit(vec![put("more", b"1")]).unwrap();
    drop(store);
    assert_eq!(content(&rig.open().unwrap()).len(), held.len() + 1);

    let held = content(&cut.open().unwrap());
    let synced = &expected.history[expected.synced..];
    let there = synced.contains(&held) || expected.unsure.as_ref() == Some(&held);
    assert!(there, "after a power cut: {:?}", held.keys());
}

/// The calls of a run without a fault.
fn calls() -> Vec<&'static str> {
    let rig = Rig::new();
    let begin = rig.disk.calls().len();
    run(&rig);
    rig.disk.calls().split_off(begin)
}

fn at_every_call(fault: Fault, lasting: bool, which: impl Fn(&'static str) -> bool) {
    for (before, what) in calls().into_iter().enumerate() {
        if which(what) {
            let _doing = Doing(format!(
                "call {} ({what}), {fault:?}, {lasting}",
                before + 1
            ));
            check(before as u64 + 1, fault, lasting);
        }
    }
}

#[test]
fn any_call_may_fail_once() {
    at_every_call(Fault::Io, false, |_| true);
}

#[test]
fn the_disk_may_fail_for_good_at_any_change() {
    at_every_call(Fault::Io, true, changes);
}

#[test]
fn what_a_failed_sync_lost_can_be_read_and_is_written_again() {
    at_every_call(Fault::Lost, false, |what| what == "sync");
}

#[test]
fn the_disk_may_be_full_all_of_a_sudden() {
    at_every_call(Fault::Full, false, |what| GROWING.contains(&what));
    at_every_call(Fault::Short, false, |what| what == "write");
}

#[test]
fn the_disk_may_be_full_from_any_moment_on() {
    at_every_call(Fault::Full, true, |what| GROWING.contains(&what));
}

#[test]
fn a_compaction_that_fails_before_its_commit_stops_no_writes() {
    let prepared = Rig::new();
    let store = prepared.open().unwrap();
    let mut expected = fill(&store);
    // The active segment has no garbage, so that none has to be sealed.
    store.commit(vec![put("large", &[1; 1900])]).unwrap();
    expected.insert("large".into(), vec![1; 1900]);
    drop(store);
    let (image, index) = (prepared.disk.image(), prepared.disk.index());
    let mut at = 0;
    loop {
        at += 1;
        let _doing = Doing(format!("call {at} of a compaction"));
        let rig = Rig::of(image.clone(), Some(&index));
        let store = rig.open().unwrap();
        let begin = rig.disk.calls().len();
        rig.disk.fail((begin + at) as u64, Fault::Io, false);
        let compacted = store.compact(&mut |_, _| ());
        let fired = rig.disk.repair();
        assert_eq!(compacted.is_err(), fired);
        assert_same(&content(&store), &expected, "after the compaction");
        let calls = rig.disk.calls();
        let committing = calls[begin..begin + at.min(calls.len() - begin)].contains(&"rename");
        let put = store.commit(vec![put("after", b"1")]);
        assert!(put.is_ok() || committing, "{put:?}");
        drop(store);
        let mut held = content(&rig.open().unwrap());
        assert_eq!(held.remove("after").is_some(), put.is_ok());
        assert_same(&held, &expected, "after reopening");
        if !fired {
            break;
        }
    }
    assert!(at > 20, "only {at} calls");
}
