//! Sessions of one graph that threads share.
//!
//! Invariant: never more sessions than the pool's size exist, and each serves one thread at a time.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Result;

/// Sessions of one graph: `S` is loaded when a thread needs one and all others are taken.
pub(super) struct Pool<S> {
    size: usize,
    state: Mutex<State<S>>,
    given_back: Condvar,
}

struct State<S> {
    idle: Vec<S>,
    /// Idle, taken, or being loaded.
    existing: usize,
}

impl<S> Pool<S> {
    /// A pool of at most `size` sessions, at least one.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            state: Mutex::new(State {
                idle: Vec::new(),
                existing: 0,
            }),
            given_back: Condvar::new(),
        }
    }

    /// Hands a session to `work`: an idle one, or one made by `load`, or the next that is given
    /// back.
    pub(super) fn with<R>(
        &self,
        load: impl FnOnce() -> Result<S>,
        work: impl FnOnce(&mut S) -> R,
    ) -> Result<R> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = loop {
            if let Some(session) = state.idle.pop() {
                break Some(session);
            }
            if state.existing < self.size {
                state.existing += 1;
                break None;
            }
            state = self
                .given_back
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        // Whatever happens next, a panic included, the place is free again afterwards.
        let mut place = Place {
            pool: self,
            session: None,
        };
        let session = place.session.insert(match idle {
            Some(session) => session,
            None => load()?,
        });
        Ok(work(session))
    }
}

struct Place<'a, S> {
    pool: &'a Pool<S>,
    session: Option<S>,
}

impl<S> Drop for Place<'_, S> {
    fn drop(&mut self) {
        let mut state = self
            .pool
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.session.take() {
            // A session that a panic left behind may be half-way through a run.
            Some(session) if !std::thread::panicking() => state.idle.push(session),
            _ => state.existing -= 1,
        }
        drop(state);
        self.pool.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    #[test]
    fn a_session_is_loaded_once_and_used_again() {
        let pool = Pool::new(1);
        let loads = AtomicUsize::new(0);
        let load = || Ok(loads.fetch_add(1, Ordering::Relaxed));
        for _ in 0..3 {
            pool.with(load, |_| ()).unwrap();
        }
        assert_eq!(loads.into_inner(), 1);
    }

    #[test]
    fn threads_never_have_more_sessions_than_the_pools_size() {
        let pool = Pool::new(2);
        let (busy, most, loads) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let load = || Ok(loads.fetch_add(1, Ordering::SeqCst));
                        let work = |_: &mut usize| {
                            most.fetch_max(
                                busy.fetch_add(1, Ordering::SeqCst) + 1,
                                Ordering::SeqCst,
                            );
                            std::thread::yield_now();
                            busy.fetch_sub(1, Ordering::SeqCst);
                        };
                        pool.with(load, work).unwrap();
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert!(loads.into_inner() <= 2);
    }

    #[test]
    fn a_load_that_fails_or_work_that_panics_leaves_room_for_the_next() {
        let pool = Pool::new(1);
        let failed = pool.with(|| Err(Error::invalid("no")), |_: &mut u8| ());
        assert!(failed.is_err());
        let work = || pool.with(|| Ok(1), |_| panic!("expected"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(panicked.is_err());
        assert_eq!(pool.with(|| Ok(2), |n| *n).unwrap(), 2, "loaded anew");
    }
}
