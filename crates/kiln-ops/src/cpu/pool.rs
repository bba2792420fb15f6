//! The fork-join thread pool that every kernel shares.
//!
//! How a kernel cuts its work must depend on shapes alone, never on [`num_threads`]: that is what makes results equal
//! for every thread count. [`parallel_chunks`] is for work whose results cannot depend on the cut.
//!
//! The thread that calls [`parallel_for`] works too. Tasks are handed out through one atomic counter, so a worker that
//! the operating system wakes late, or never, costs nothing: the others take its share, and the caller waits only for
//! workers that are inside the job. An idle worker spins for some microseconds, because kernels come in bursts, and
//! then parks.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// More threads than this are never started, whatever the environment asks for.
pub const MAX_THREADS: usize = 1024;

/// How long an idle worker looks for the next job before it parks. Waking a parked thread costs tens of microseconds,
/// finding a spinning one a third of a microsecond; so about as long as the wake-up that it may save.
const SPIN: Duration = Duration::from_micros(50);

/// Calls `task(i)` once for every `i` in `0..tasks`, on any threads in any order, and returns when all are done.
///
/// Runs on the calling thread alone when called from inside a task, or while another thread's call has the pool: such
/// calls never wait for a turn. Tasks must not wait for each other.
///
/// # Panics
///
/// If a task panics, the other tasks still run, and then the first panic goes on in the caller.
#[inline]
pub fn parallel_for<F: Fn(usize) + Sync>(tasks: usize, task: &F) {
    run(tasks, task);
}

/// What tasks do. Not `dyn Fn`, whose tables of functions hold every closure three times: there are hundreds of them.
trait Task: Sync {
    fn run(&self, i: usize);
}

impl<F: Fn(usize) + Sync> Task for F {
    fn run(&self, i: usize) {
        self(i);
    }
}

fn run(tasks: usize, task: &dyn Task) {
    if tasks == 1 {
        return task.run(0);
    }
    if tasks > 0 && !POOL.fork_join(tasks, task) {
        let failure = Mutex::new(None);
        Job { task, tasks, batch: tasks }.take_part(&AtomicUsize::new(0), &failure);
        let payload = lock(&failure).take();
        if let Some(payload) = payload {
            panic::resume_unwind(payload);
        }
    }
}

/// Calls `f` on ranges that together are `0..len`, in parallel when there is enough work: each range has at least
/// about `min_chunk` elements, and starts at a multiple of 64. A single call if `len <= min_chunk`.
///
/// The ranges depend on the number of threads, so only results that do not depend on the cut may be computed this way:
/// elementwise work, but no sums.
#[inline]
pub fn parallel_chunks<F: Fn(Range<usize>) + Sync>(len: usize, min_chunk: usize, f: &F) {
    let chunk = if len <= min_chunk { len.max(1) } else { chunk_len(len, min_chunk, num_threads()) };
    parallel_for(len.div_ceil(chunk), &|i| f(i * chunk..len.min((i + 1) * chunk)));
}

/// The length of the pieces for [`parallel_chunks`]: a multiple of 64, at most four pieces for each thread.
fn chunk_len(len: usize, min_chunk: usize, threads: usize) -> usize {
    // One thread gains nothing from pieces.
    let pieces = if threads == 1 { 1 } else { (4 * threads).min(len / min_chunk.max(1)).max(1) };
    len.div_ceil(pieces).next_multiple_of(64)
}

/// Threads that kernels use, the caller included: what [`set_num_threads`] said, else the environment variable
/// `KILN_NUM_THREADS`, else the number of available cores.
#[inline]
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => default_threads(),
        n => n,
    }
}

/// Sets the number of threads for every later [`parallel_for`] of the process (at most [`MAX_THREADS`]). `0` goes back
/// to the default. Results do not depend on it.
pub fn set_num_threads(threads: usize) {
    THREADS.store(threads.min(MAX_THREADS), Ordering::SeqCst);
    // Workers that are now too many end.
    POOL.wake(usize::MAX);
}

/// The number of threads in use; 0 before the first look.
static THREADS: AtomicUsize = AtomicUsize::new(0);

#[cold]
fn default_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let threads = match std::env::var("KILN_NUM_THREADS").ok().map(|s| s.trim().parse::<usize>()) {
        Some(Ok(n)) if n > 0 => n,
        Some(_) => {
            eprintln!("kiln: KILN_NUM_THREADS is not a positive number; using {cores}");
            cores
        }
        None => cores,
    }
    .min(MAX_THREADS);
    // Another thread may have set a number meanwhile: that one counts.
    match THREADS.compare_exchange(0, threads, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => threads,
        Err(set) => set,
    }
}

thread_local! {
    /// Whether this thread is working on a job, so that a call from inside a task runs at once, alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What the threads of one call share.
#[derive(Clone, Copy)]
struct Job<'a> {
    task: &'a dyn Task,
    tasks: usize,
    /// Tasks taken from the counter at once.
    batch: usize,
}

type Failure = Mutex<Option<Box<dyn Any + Send>>>;

impl Job<'_> {
    /// Runs tasks until the counter says that all are taken. Does not unwind.
    fn take_part(&self, counter: &AtomicUsize, failure: &Failure) {
        let nested = INSIDE.replace(true);
        loop {
            let start = counter.fetch_add(self.batch, Ordering::Relaxed);
            if start >= self.tasks {
                INSIDE.set(nested);
                return;
            }
            for i in start..self.tasks.min(start + self.batch) {
                if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| self.task.run(i))) {
                    lock(failure).get_or_insert(payload);
                }
            }
        }
    }
}

/// No code that can panic runs under these locks, so poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value alone in its cache line (two, for the prefetcher that loads lines in pairs).
#[repr(align(128))]
struct Line<T>(T);

// `Pool::state`: the number of workers inside the job in the low 16 bits, two flags, and the job's number above.

/// Workers may enter the job.
const OPEN: u64 = 1 << 16;
/// The caller sleeps until the last worker leaves.
const CALLER_SLEEPS: u64 = 1 << 17;
/// One job further.
const NEXT_JOB: u64 = 1 << 32;

fn inside(state: u64) -> u64 {
    state & (OPEN - 1)
}

fn job_number(state: u64) -> u64 {
    state / NEXT_JOB
}

struct Pool {
    state: Line<AtomicU64>,
    counter: Line<AtomicUsize>,
    /// Written by the owner of `busy` while the job is closed and nobody is inside; read by those inside.
    job: UnsafeCell<Job<'static>>,
    failure: Failure,
    /// Whether a call has the pool.
    busy: Line<AtomicBool>,
    /// Threads started and not ended.
    workers: AtomicUsize,
    /// The parked workers, and their number where it can be read without the lock.
    parked: Mutex<Vec<Thread>>,
    parked_len: AtomicUsize,
    /// For a caller that waits for the last worker.
    leave_lock: Mutex<()>,
    last_left: Condvar,
}

// SAFETY: all fields but `job` are `Sync`; `state` orders the accesses to `job`, as told there.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    state: Line(AtomicU64::new(0)),
    counter: Line(AtomicUsize::new(0)),
    job: UnsafeCell::new(Job { task: &|_| (), tasks: 0, batch: 1 }),
    failure: Mutex::new(None),
    busy: Line(AtomicBool::new(false)),
    workers: AtomicUsize::new(0),
    parked: Mutex::new(Vec::new()),
    parked_len: AtomicUsize::new(0),
    leave_lock: Mutex::new(()),
    last_left: Condvar::new(),
};

impl Pool {
    /// Runs the tasks on the pool and the calling thread. `false`, and nothing done, if that cannot be now.
    fn fork_join(&'static self, tasks: usize, task: &dyn Task) -> bool {
        let threads = num_threads();
        if threads == 1 || INSIDE.get() || self.busy.0.swap(true, Ordering::Acquire) {
            return false;
        }
        if self.workers.load(Ordering::Relaxed) < threads - 1 {
            self.start_workers(threads - 1);
        }
        // Small batches, so that the end is even; but not so small that many tiny tasks fight for the counter.
        let job = Job { task, tasks, batch: (tasks / (32 * threads)).max(1) };
        // SAFETY: only the lifetime changes, and `close` below returns only when no worker can use the job any more.
        let shared = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(job) };
        // SAFETY: we own `busy`, and the last owner left the job closed with nobody inside.
        unsafe { *self.job.get() = shared };
        self.counter.0.store(0, Ordering::Relaxed);
        let number = job_number(self.state.0.load(Ordering::Relaxed)).wrapping_add(1);
        // This store publishes the job. Sequentially consistent with the look at `parked_len`, as in `park`: either we
        // see a worker that is about to park, or it sees the job.
        self.state.0.store(number.wrapping_mul(NEXT_JOB) | OPEN, Ordering::SeqCst);
        self.wake((tasks - 1).min(2));

        job.take_part(&self.counter.0, &self.failure);
        self.close();
        let payload = lock(&self.failure).take();
        self.busy.0.store(false, Ordering::Release);
        if let Some(payload) = payload {
            panic::resume_unwind(payload);
        }
        true
    }

    /// Lets no more workers in and waits for those inside.
    fn close(&self) {
        let mut state = self.state.0.fetch_and(!OPEN, Ordering::AcqRel);
        if inside(state) == 0 {
            return;
        }
        let start = Instant::now();
        loop {
            for _ in 0..64 {
                state = self.state.0.load(Ordering::Acquire);
                if inside(state) == 0 {
                    return;
                }
                hint::spin_loop();
            }
            thread::yield_now();
            // The last task takes long, or its thread has lost its core.
            if start.elapsed() > SPIN {
                let mut guard = lock(&self.leave_lock);
                state = self.state.0.fetch_or(CALLER_SLEEPS, Ordering::AcqRel);
                while inside(state) != 0 {
                    guard = self.last_left.wait(guard).unwrap_or_else(PoisonError::into_inner);
                    state = self.state.0.load(Ordering::Acquire);
                }
                return;
            }
        }
    }

    /// Unparks up to `count` workers. Each of them wakes two more if there is work left: quicker than one by one from
    /// here when there are many.
    fn wake(&self, count: usize) {
        if self.parked_len.load(Ordering::SeqCst) == 0 {
            return;
        }
        for _ in 0..count {
            let mut parked = lock(&self.parked);
            let worker = parked.pop();
            self.parked_len.store(parked.len(), Ordering::SeqCst);
            drop(parked);
            match worker {
                Some(worker) => worker.unpark(),
                None => return,
            }
        }
    }

    #[cold]
    fn start_workers(&'static self, wanted: usize) {
        // Only the owner of `busy` adds workers; others at most take themselves away.
        while self.workers.fetch_add(1, Ordering::SeqCst) < wanted {
            if let Err(error) = thread::Builder::new().name("kiln-worker".into()).spawn(|| self.work()) {
                let threads = self.workers.load(Ordering::SeqCst);
                eprintln!("kiln: cannot start a thread ({error}); using {threads}");
                THREADS.store(threads, Ordering::SeqCst);
                break;
            }
        }
        self.workers.fetch_sub(1, Ordering::SeqCst);
    }

    /// The life of a worker.
    fn work(&self) {
        let mut seen = 0;
        while let Some(mut state) = self.next_job(seen) {
            seen = job_number(state);
            // Enter, unless the job closes first.
            let entered = loop {
                match self.state.0.compare_exchange_weak(
                    state,
                    state + 1,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => break true,
                    Err(now) if now & OPEN != 0 && job_number(now) == seen => state = now,
                    Err(_) => break false,
                }
            };
            if !entered {
                continue;
            }
            // SAFETY: we are inside, so the job stays as it is until we leave.
            let job = unsafe { *self.job.get() };
            if self.counter.0.load(Ordering::Relaxed) < job.tasks {
                self.wake(2);
                job.take_part(&self.counter.0, &self.failure);
            }
            let before = self.state.0.fetch_sub(1, Ordering::AcqRel);
            if inside(before) == 1 && before & CALLER_SLEEPS != 0 {
                drop(lock(&self.leave_lock));
                self.last_left.notify_all();
            }
        }
    }

    /// Waits for an open job that is not number `seen` and returns the state then; `None` if this worker is to end.
    fn next_job(&self, seen: u64) -> Option<u64> {
        loop {
            let start = Instant::now();
            loop {
                for _ in 0..64 {
                    let state = self.state.0.load(Ordering::Acquire);
                    if state & OPEN != 0 && job_number(state) != seen {
                        return if self.leave_surplus() { None } else { Some(state) };
                    }
                    hint::spin_loop();
                }
                if start.elapsed() > SPIN {
                    break;
                }
                // On a busy machine the caller itself may be waiting for this core.
                thread::yield_now();
            }
            if self.leave_surplus() {
                return None;
            }
            self.park(seen);
        }
    }

    /// Parks until there may be something to do.
    fn park(&self, seen: u64) {
        let me = thread::current();
        let id = me.id();
        let mut parked = lock(&self.parked);
        parked.push(me);
        self.parked_len.store(parked.len(), Ordering::SeqCst);
        let state = self.state.0.load(Ordering::SeqCst);
        let job = state & OPEN != 0 && job_number(state) != seen;
        if !job && !self.is_surplus(self.workers.load(Ordering::SeqCst)) {
            drop(parked);
            thread::park();
            parked = lock(&self.parked);
        }
        // Whoever woke us took us from the list; but `park` may also return for no reason.
        parked.retain(|t| t.id() != id);
        self.parked_len.store(parked.len(), Ordering::SeqCst);
    }

    fn is_surplus(&self, workers: usize) -> bool {
        let threads = THREADS.load(Ordering::SeqCst);
        threads != 0 && workers >= threads
    }

    /// Takes this worker off the count, and says so, if there are more workers than [`num_threads`] asks for.
    fn leave_surplus(&self) -> bool {
        let mut workers = self.workers.load(Ordering::Relaxed);
        while self.is_surplus(workers) {
            match self.workers.compare_exchange(workers, workers - 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => workers = now,
            }
        }
        false
    }
}
