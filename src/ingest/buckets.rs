//! Images that wait for an encoder, by size.
//!
//! Invariant: never more than the bounded number of images and, but for one image, of bytes wait; an image that waits
//! longest is never passed over for long.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For so long a batch that isn't full waits for more.
const PATIENCE: Duration = Duration::from_millis(500);

/// A queue from which batches of one kind are taken. `T` waits under a key; what has the same key may go together.
pub(super) struct Buckets<K, T> {
    limits: Limits,
    state: Mutex<State<K, T>>,
    changed: Condvar,
}

/// What may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most that are taken at once.
    pub(super) batch: usize,
    pub(super) items: usize,
    pub(super) bytes: usize,
}

struct State<K, T> {
    waiting: HashMap<K, Vec<Waiting<T>>>,
    items: usize,
    bytes: usize,
    /// How many came before.
    arrived: u64,
    /// Nothing more comes.
    closed: bool,
}

struct Waiting<T> {
    arrived: u64,
    bytes: usize,
    item: T,
}

impl<K: Copy + Eq + std::hash::Hash, T> Buckets<K, T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::new(State {
                waiting: HashMap::new(),
                items: 0,
                bytes: 0,
                arrived: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `item` wait, as soon as there is room. Gives it back if nobody will take it any more.
    pub(super) fn push(&self, key: K, bytes: usize, item: T) -> Result<(), T> {
        let mut state = self.state();
        while !state.closed && self.is_full(&state) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(item);
        }
        let arrived = state.arrived;
        state.arrived += 1;
        state.items += 1;
        state.bytes += bytes;
        let bucket = state.waiting.entry(key).or_default();
        bucket.push(Waiting {
            arrived,
            bytes,
            item,
        });
        self.changed.notify_all();
        Ok(())
    }

    fn is_full(&self, state: &State<K, T>) -> bool {
        state.items >= self.limits.items || state.bytes >= self.limits.bytes
    }

    /// The next batch: a full one, or, where no more can come before something is taken, or none has come for a
    /// while, the one that waits longest. `None` once all are taken and nothing more comes.
    pub(super) fn pop(&self) -> Option<Vec<T>> {
        let mut state = self.state();
        let mut patient = true;
        loop {
            let pressed = !patient || state.closed || self.is_full(&state);
            let full = |(_, bucket): &(&K, &Vec<_>)| pressed || bucket.len() >= self.limits.batch;
            let oldest = |(_, bucket): &(&K, &Vec<Waiting<T>>)| bucket[0].arrived;
            if let Some((&key, _)) = state.waiting.iter().filter(full).min_by_key(oldest) {
                return Some(self.take(&mut state, key));
            }
            if state.closed {
                return None;
            }
            let waited = self.changed.wait_timeout(state, PATIENCE);
            let (found, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = found;
            patient = !timeout.timed_out();
        }
    }

    fn take(&self, state: &mut State<K, T>, key: K) -> Vec<T> {
        let bucket = state.waiting.entry(key).or_default();
        let rest = bucket.split_off(bucket.len().min(self.limits.batch));
        let batch = std::mem::replace(bucket, rest);
        if bucket.is_empty() {
            state.waiting.remove(&key);
        }
        state.items -= batch.len();
        state.bytes -= batch.iter().map(|waiting| waiting.bytes).sum::<usize>();
        self.changed.notify_all();
        batch.into_iter().map(|waiting| waiting.item).collect()
    }

    /// Says that nothing more comes; what waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(batch: usize, items: usize, bytes: usize) -> Buckets<char, u32> {
        Buckets::new(Limits {
            batch,
            items,
            bytes,
        })
    }

    #[test]
    fn a_full_batch_goes_before_older_ones_that_are_not_full() {
        let buckets = buckets(2, 10, 1000);
        for (key, item) in [('a', 0), ('b', 1), ('c', 2), ('b', 3), ('b', 4)] {
            buckets.push(key, 1, item).unwrap();
        }
        assert_eq!(buckets.pop(), Some(vec![1, 3]));
        buckets.close();
        // Now what waits longest comes first.
        assert_eq!(buckets.pop(), Some(vec![0]));
        assert_eq!(buckets.pop(), Some(vec![2]));
        assert_eq!(buckets.pop(), Some(vec![4]));
        assert_eq!(buckets.pop(), None);
        assert_eq!(buckets.push('a', 1, 9), Err(9));
    }

    #[test]
    fn where_no_more_may_come_the_oldest_goes() {
        for buckets in [buckets(4, 3, 1000), buckets(4, 10, 30)] {
            for (key, item) in [('a', 0), ('b', 1), ('b', 2)] {
                buckets.push(key, 10, item).unwrap();
            }
            assert_eq!(buckets.pop(), Some(vec![0]));
        }
    }

    #[test]
    fn pushing_waits_for_room_and_all_arrive_once() {
        let buckets = buckets(3, 4, 1000);
        let mut taken: Vec<u32> = std::thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                for item in 0..100 {
                    let key = if item % 3 == 0 { 'a' } else { 'b' };
                    buckets.push(key, 1, item).unwrap();
                    assert!(buckets.state().items <= 4);
                }
                buckets.close();
            });
            let taken = std::iter::from_fn(|| buckets.pop()).flatten().collect();
            pushing.join().unwrap();
            taken
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
    }
}
