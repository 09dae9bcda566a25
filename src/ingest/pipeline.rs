//! The stages of an ingest, each in threads of its own: gather, read, encode, commit, tell.
//!
//! Invariant: every queue is bounded; every input that is begun comes to one end, which is told in the order of inputs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::buckets::{self, Buckets};
use super::commit::Commit;
use super::encode::{Made, encode, is_fatal};
use super::gather::Found;
use super::input::{Input, Origin};
use super::read::{Read, Reader, Ready};
use super::{Done, IngestOptions, Ingested, Inputs, Outcome};
use crate::database::Database;
use crate::error::{Error, Result};

/// Inputs that wait to be read, for each thread that reads.
const WAITING_INPUTS: usize = 4;

/// Records that wait to be committed.
const WAITING_RECORDS: usize = 64;

/// How far an input may be ahead of one whose end isn't known.
const MAX_AHEAD: u64 = 4096;

/// For so long a commit waits for more records.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often a stage that waits looks whether something changed.
const TICK: Duration = Duration::from_millis(20);

/// What all stages share.
struct Run<'a> {
    database: &'a Database,
    options: &'a IngestOptions,
    reader: Reader<'a>,
    images: Buckets<(u32, u32), (u64, Origin, Ready<'a>)>,
    /// Asked for from outside.
    stop: &'a AtomicBool,
    /// The end of everything, and why.
    failure: Mutex<Option<Error>>,
    over: AtomicBool,
    /// Inputs of which all that came before are told.
    told: AtomicU64,
}

type Told = SyncSender<(u64, Done)>;

/// Ends the run when a stage panics, so that no other waits for it for ever, and the panic comes out.
struct EndOnPanic<'a, 'b>(&'a Run<'b>);

impl Drop for EndOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(None);
        }
    }
}

/// What a stage came to; its panic, if it panicked.
fn joined<T>(stage: ScopedJoinHandle<'_, T>) -> T {
    stage.join().unwrap_or_else(|panic| resume_unwind(panic))
}

impl Run<'_> {
    /// Runs a stage in a thread of its own.
    fn spawn<'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stage: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        scope.spawn(move || {
            let _watch = EndOnPanic(self);
            stage()
        })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }

    /// Waits while so many were begun that telling them in order would take much memory.
    fn wait_for_those_before(&self, number: u64) {
        while number - self.told.load(Ordering::Relaxed) >= MAX_AHEAD && !self.stopped() {
            std::thread::sleep(TICK);
        }
    }

    fn end(&self, error: Option<Error>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            *failure = error;
        }
        self.over.store(true, Ordering::Relaxed);
        self.images.close();
    }
}

impl Database {
    /// Stores all images of `inputs`: reads, encodes and commits them at the same time, and skips those that are
    /// stored already. `each` is told of every input, in their order, once what became of it is certain.
    ///
    /// When `stop` becomes true no more images are begun; what is encoded by then is committed and told.
    ///
    /// # Errors
    /// What no image could escape: `ModelNotFound`, `RuntimeUnavailable`, `ProviderUnavailable`, and what
    /// [`Store::put`](crate::Store::put) says. What was told to be stored stays so. Failures of single images are told
    /// and counted, and are no error.
    pub fn ingest(
        &self,
        inputs: Inputs,
        options: &IngestOptions,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Done),
    ) -> Result<Ingested> {
        self.hub().encoder(self.encoder_of(&options.put))?;
        if !options.dry_run {
            self.hub().runtime()?;
        }
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let run = Run {
            database: self,
            options,
            reader: Reader::new(self, options),
            images: Buckets::new(buckets::Limits {
                batch: options.batch.max(1),
                items: 4 * options.batch.max(threads),
                bytes: options.memory,
            }),
            stop,
            failure: Mutex::new(None),
            over: AtomicBool::new(false),
            told: AtomicU64::new(0),
        };
        let mut ingested = Ingested::default();
        std::thread::scope(|scope| {
            let run = &run;
            let (tell, told) = sync_channel(WAITING_RECORDS);
            let (send_input, input) = sync_channel(WAITING_INPUTS * threads);
            let (send_record, record) = sync_channel(WAITING_RECORDS);
            let input = std::sync::Arc::new(Mutex::new(input));

            let telling = tell.clone();
            let gathering = run.spawn(scope, move || gather(run, inputs, &send_input, &telling));
            let reading: Vec<_> = (0..threads)
                .map(|_| {
                    let (input, telling) = (std::sync::Arc::clone(&input), tell.clone());
                    run.spawn(scope, move || read(run, &input, &telling))
                })
                .collect();
            drop(input);
            // The images that wait come to an end when all who read have.
            run.spawn(scope, move || {
                reading.into_iter().for_each(joined);
                run.images.close();
            });
            let telling = tell.clone();
            run.spawn(scope, move || encode_all(run, &send_record, &telling));
            run.spawn(scope, move || commit(run, &record, &tell));

            let _watch = EndOnPanic(run);
            tell_in_order(run, &told, &mut ingested, each);
            ingested.ignored = joined(gathering);
        });
        ingested.stopped = run.stopped();
        match run
            .failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(error) => Err(error),
            None => Ok(ingested),
        }
    }
}

/// Numbers the inputs, names them, and hands them on. What was ignored.
fn gather(
    run: &Run<'_>,
    inputs: Inputs,
    pass_on: &SyncSender<(u64, Input)>,
    tell: &Told,
) -> BTreeMap<String, u64> {
    let mut ignored = BTreeMap::new();
    let mut next = 0;
    inputs.gather(run.options.put.limits.max_alloc_bytes, &mut |found| {
        if run.stopped() {
            return ControlFlow::Break(());
        }
        let number = next;
        run.wait_for_those_before(number);
        let sent = match found {
            Found::Ignored(ending) => {
                *ignored.entry(ending).or_default() += 1;
                return ControlFlow::Continue(());
            }
            Found::Failed(origin, error) => {
                tell.send((number, failed(origin, None, error))).is_ok()
            }
            Found::Input(mut input) => match run.reader.name(&mut input) {
                Ok(()) => pass_on.send((number, input)).is_ok(),
                Err(error) => {
                    let id = input.id.clone();
                    tell.send((number, failed(input.origin(), id, error)))
                        .is_ok()
                }
            },
        };
        next += 1;
        if sent {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    ignored
}

fn failed(origin: Origin, id: Option<crate::record::RecordId>, error: Error) -> Done {
    Done {
        origin,
        id,
        outcome: Outcome::Failed(error),
        source_bytes: 0,
        stored_bytes: 0,
        notes: Vec::new(),
    }
}

fn read(run: &Run<'_>, inputs: &Mutex<Receiver<(u64, Input)>>, tell: &Told) {
    loop {
        let next = inputs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, input)) = next else { return };
        if run.stopped() {
            continue;
        }
        let origin = input.origin();
        match run.reader.read(input) {
            Read::Ready(ready) => {
                let size = (ready.image.colors.width(), ready.image.colors.height());
                let bytes = ready.image.byte_len();
                // Not taken any more: the run is over.
                let _ = run.images.push(size, bytes, (number, origin, *ready));
            }
            Read::Done {
                id,
                outcome,
                source_bytes,
            } => {
                let done = Done {
                    origin,
                    id,
                    outcome,
                    source_bytes,
                    stored_bytes: 0,
                    notes: Vec::new(),
                };
                if tell.send((number, done)).is_err() {
                    return;
                }
            }
        }
    }
}

fn encode_all(run: &Run<'_>, pass_on: &SyncSender<(u64, Origin, Made)>, tell: &Told) {
    while let Some(batch) = run.images.pop() {
        if run.stopped() {
            continue;
        }
        let (places, batch): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|(number, origin, ready)| ((number, origin, ready.id.clone()), ready))
            .unzip();
        let made = encode(run.database, run.options, batch);
        for ((number, origin, id), made) in places.into_iter().zip(made) {
            let sent = match made {
                Ok(made) => pass_on.send((number, origin, made)).is_ok(),
                Err(error) if is_fatal(&error) => {
                    run.end(Some(error));
                    false
                }
                Err(error) => tell.send((number, failed(origin, Some(id), error))).is_ok(),
            };
            if !sent {
                // What comes after is not there any more, or it was the end of everything.
                run.end(None);
                break;
            }
        }
    }
}

fn commit(run: &Run<'_>, records: &Receiver<(u64, Origin, Made)>, tell: &Told) {
    let mut commit = Commit::default();
    loop {
        let next = records.recv_timeout(if run.stopped() { TICK } else { PATIENCE });
        let (write, ended) = match next {
            Ok((number, origin, made)) => (commit.add(number, origin, made), false),
            Err(RecvTimeoutError::Timeout) => (true, false),
            Err(RecvTimeoutError::Disconnected) => (true, true),
        };
        if write && !commit.is_empty() {
            match commit.write(run.database.store()) {
                Ok(done) => {
                    for done in done {
                        let _ = tell.send(done);
                    }
                }
                Err(error) => {
                    run.end(Some(error));
                    return;
                }
            }
        }
        if ended {
            return;
        }
    }
}

/// Tells what became of inputs in their order; after a stop there may be gaps, which come to nothing.
fn tell_in_order(
    run: &Run<'_>,
    told: &Receiver<(u64, Done)>,
    ingested: &mut Ingested,
    each: &mut dyn FnMut(&Done),
) {
    let mut early: BTreeMap<u64, Done> = BTreeMap::new();
    let mut next = 0;
    let mut tell = |done: Done| {
        ingested.count(&done);
        each(&done);
        if run.options.fail_fast && matches!(done.outcome, Outcome::Failed(_)) {
            run.end(None);
        }
    };
    for (number, done) in told {
        early.insert(number, done);
        while let Some(done) = early.remove(&next) {
            tell(done);
            next += 1;
            run.told.store(next, Ordering::Relaxed);
        }
    }
    early.into_values().for_each(tell);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_who_is_told_ends_the_run_and_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create(folder.path().join("store"), "tiny").unwrap();
        // More than may be begun before the first is told.
        let names: Vec<_> = (0..2 * MAX_AHEAD)
            .map(|n| format!("none/{n}.png"))
            .collect();
        let inputs = Inputs::default().list(std::io::Cursor::new(names.join("\n")));
        let options = IngestOptions {
            dry_run: true,
            ..IngestOptions::default()
        };
        let mut told = 0;
        let stop = AtomicBool::new(false);
        let run = std::panic::AssertUnwindSafe(|| {
            let each = &mut |done: &Done| {
                assert!(matches!(done.outcome, Outcome::Failed(_)));
                told += 1;
                assert_ne!(told, 3, "on purpose");
            };
            database.ingest(inputs, &options, &stop, each)
        });
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(told, 3);
    }
}
