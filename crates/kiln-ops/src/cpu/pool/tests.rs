//! The pool under contention, panics, nesting and changes of the number of threads.

use super::*;
use std::sync::atomic::AtomicU32;

/// The number of threads is global: tests that set it take turns.
static SETTING: Mutex<()> = Mutex::new(());

fn with_threads<T>(threads: usize, f: impl FnOnce() -> T) -> T {
    let _guard = lock(&SETTING);
    set_num_threads(threads);
    let result = f();
    set_num_threads(0);
    result
}

fn counts(tasks: usize) -> Vec<u32> {
    let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
    parallel_for(tasks, &|i| {
        counts[i].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicU32::into_inner).collect()
}

/// Fewer rounds where an interpreter or a race detector makes them slow.
const ROUNDS: usize = if cfg!(miri) { 20 } else { 2000 };

#[test]
fn every_task_runs_once() {
    for threads in [1, 2, 3, 8] {
        with_threads(threads, || {
            for round in 0..ROUNDS {
                let tasks = [0, 1, 2, 3, 17, 100, 1000][round % if cfg!(miri) { 5 } else { 7 }];
                assert_eq!(counts(tasks), vec![1; tasks], "{threads} threads");
            }
        });
    }
}

#[test]
fn plain_writes_of_the_tasks_are_seen_by_the_caller() {
    with_threads(4, || {
        for round in 0..ROUNDS {
            struct Slots([UnsafeCell<usize>; 16]);
            // SAFETY: task `i` alone touches slot `i`, and the caller only after all tasks.
            unsafe impl Sync for Slots {}
            let slots = &Slots([const { UnsafeCell::new(0) }; 16]);
            // SAFETY: as above.
            parallel_for(16, &|i| unsafe { *slots.0[i].get() = i * round });
            // SAFETY: as above.
            assert!((0..16).all(|i| unsafe { *slots.0[i].get() } == i * round));
        }
    });
}

#[test]
fn many_callers_at_once() {
    with_threads(3, || {
        thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let tasks = 1 + (round * 7 + caller) % 40;
                        assert_eq!(counts(tasks), vec![1; tasks]);
                    }
                });
            }
        });
    });
}

#[test]
fn nested_calls_run_on_the_same_thread() {
    with_threads(4, || {
        let total = AtomicUsize::new(0);
        parallel_for(8, &|_| {
            let me = thread::current().id();
            parallel_for(8, &|_| {
                assert_eq!(thread::current().id(), me);
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 64);
    });
}

#[test]
fn a_panic_reaches_the_caller_after_the_other_tasks() {
    for threads in [1, 4] {
        with_threads(threads, || {
            for _ in 0..10 {
                let done = AtomicUsize::new(0);
                let result = panic::catch_unwind(AssertUnwindSafe(|| {
                    parallel_for(20, &|i| {
                        if i == 7 {
                            panic::resume_unwind(Box::new("seven"));
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    })
                }));
                let payload = result.expect_err("the panic was lost");
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"seven"));
                assert_eq!(done.into_inner(), 19);
                assert_eq!(counts(10), vec![1; 10]);
            }
        });
    }
}

#[test]
fn several_threads_take_part_and_long_last_tasks_are_awaited() {
    with_threads(3, || {
        let threads = Mutex::new(std::collections::HashSet::new());
        let start = Instant::now();
        // Calls of other tests can have the pool for a while.
        while lock(&threads).len() < 3 && start.elapsed() < Duration::from_secs(20) {
            parallel_for(6, &|_| {
                // Longer than the spin, so that parked workers come in time and the caller sleeps at the end.
                thread::sleep(Duration::from_millis(3));
                lock(&threads).insert(thread::current().id());
            });
        }
        assert_eq!(lock(&threads).len(), 3);
    });
}

#[test]
fn surplus_workers_end_and_new_ones_start() {
    with_threads(5, || {
        for round in 0..20 {
            let threads = [5, 2, 1, 4][round % 4];
            set_num_threads(threads);
            assert_eq!(num_threads(), threads);
            assert_eq!(counts(50), vec![1; 50]);
            thread::sleep(Duration::from_micros(200));
        }
        set_num_threads(2);
        let start = Instant::now();
        while POOL.workers.load(Ordering::SeqCst) > 1 && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(POOL.workers.load(Ordering::SeqCst) <= 1, "surplus workers stayed");
    });
}

#[test]
fn chunks_cover_the_range_and_start_at_multiples_of_64() {
    for threads in [1, 3] {
        with_threads(threads, || {
            for len in [0, 1, 63, 64, 65, 1000, 4096, 100_001] {
                for min_chunk in [0, 1, 64, 100, 5000, usize::MAX] {
                    let ranges = Mutex::new(Vec::new());
                    parallel_chunks(len, min_chunk, &|range| lock(&ranges).push(range));
                    let mut ranges = ranges.into_inner().expect("no panic");
                    ranges.sort_by_key(|r| r.start);
                    let mut end = 0;
                    for range in &ranges {
                        assert!(range.start == end && !range.is_empty() && range.start % 64 == 0);
                        end = range.end;
                    }
                    assert_eq!(end, len);
                    assert!(ranges.len() <= 4 * threads);
                    assert!(len > min_chunk || ranges.len() <= 1);
                }
            }
        });
    }
}
