//! Work on many items on all cores, in their order.
//!
//! Invariant: so many items as twice the cores are begun and not yet taken, at most.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Does `work` on `items` on all cores, and gives what comes of them to `take`, in the order of the items. When `take`
/// ends, no more are begun. A panic of any of them comes out of here.
pub(crate) fn in_order<T: Send, U: Send, R>(
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> U + Sync,
    take: impl FnOnce(&mut dyn Iterator<Item = U>) -> R,
) -> R {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        // Each item has a place of its own for what comes of it; the places stand in order.
        let (give, jobs) = sync_channel::<(T, SyncSender<U>)>(threads);
        let (promise, promised) = sync_channel::<Receiver<U>>(2 * threads);
        let (jobs, work) = (Arc::new(Mutex::new(jobs)), &work);
        for _ in 0..threads {
            let jobs = Arc::clone(&jobs);
            scope.spawn(move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((item, place)) = job else { return };
                    // It fails where nobody waits any more.
                    let _ = place.send(work(item));
                }
            });
        }
        drop(jobs);
        scope.spawn(move || {
            for item in items {
                let (place, result) = sync_channel(1);
                if promise.send(result).is_err() || give.send((item, place)).is_err() {
                    return;
                }
            }
        });
        take(&mut promised.into_iter().map_while(|result| result.recv().ok()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn results_come_in_the_order_of_items_whichever_is_done_first() {
        let slow_first = |n: u64| {
            thread::sleep(std::time::Duration::from_millis(5 - n % 5));
            n * n
        };
        let squares: Vec<_> = in_order(0..40, slow_first, |results| results.collect());
        assert_eq!(squares, (0..40).map(|n| n * n).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_anywhere_comes_out_and_nobody_waits_for_ever() {
        let panics = |item: u64, work: u64, taken: u64| {
            let run = || {
                let items = (0..1000).inspect(|&n| assert_ne!(n, item));
                let work = |n| {
                    assert_ne!(n, work);
                    n
                };
                in_order(items, work, |results| {
                    results.inspect(|&n| assert_ne!(n, taken)).count()
                })
            };
            std::panic::catch_unwind(run).is_err()
        };
        assert!(!panics(1000, 1000, 1000));
        assert!(panics(500, 1000, 1000));
        assert!(panics(1000, 500, 1000));
        assert!(panics(1000, 1000, 500));
    }

    #[test]
    fn who_takes_no_more_ends_it_and_little_was_begun() {
        let begun = AtomicU64::new(0);
        let items = (0u64..).inspect(|_| {
            begun.fetch_add(1, Ordering::Relaxed);
        });
        let first: Vec<_> = in_order(items, |n| n, |results| results.take(3).collect());
        assert_eq!(first, [0, 1, 2]);
        let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        let begun = begun.into_inner();
        assert!(begun <= 3 + 2 * threads + 2, "{begun} were begun");
    }
}
