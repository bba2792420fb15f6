//! Runs cases so that none of them can end the run.
//!
//! Each case runs on a worker thread, inside `catch_unwind`. A case that takes longer than its limit is a failed case;
//! its thread is abandoned, since a thread cannot be stopped, and a new one takes the next case. An operator that hangs
//! again and again is given up, so that a lock left behind does not cost one limit per case.
//!
//! What ends the whole process (an abort, a stack overflow) cannot be caught here.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As PyTorch.
    Passed,
    /// Otherwise, with what was different.
    Failed(String),
    /// The operator, or what the case needs of it, is not there, or its arguments cannot be expressed.
    Unsupported(String),
}

impl Outcome {
    /// `Passed`, or `Failed` with the error and its causes.
    pub fn from_result(result: anyhow::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}

/// When to lose patience.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// With one case.
    pub case: Duration,
    /// With a group of cases: after this many that took too long, the rest of the group fails unrun.
    pub hung: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { case: Duration::from_secs(20), hung: 3 }
    }
}

type Call<J> = Arc<dyn Fn(&J) -> Outcome + Send + Sync>;

/// A worker thread and the two channels to it.
struct Worker<J> {
    jobs: SyncSender<J>,
    outcomes: Receiver<Outcome>,
}

impl<J: Send + 'static> Worker<J> {
    fn start(call: &Call<J>) -> Option<Self> {
        let (jobs, inbox) = mpsc::sync_channel::<J>(1);
        let (outbox, outcomes) = mpsc::sync_channel(1);
        let call = Arc::clone(call);
        // A deep recursion should be found by a comparison, not by the end of the process.
        let thread = thread::Builder::new().name("case".to_owned()).stack_size(64 << 20);
        let work = move || {
            for job in inbox {
                if outbox.send(guarded(&*call, &job)).is_err() {
                    return;
                }
            }
        };
        thread.spawn(work).ok()?;
        Some(Self { jobs, outcomes })
    }
}

thread_local! {
    /// Where the panic of the running case happened. None outside a case.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls a case; a panic becomes a failure that says where it was.
fn guarded<J>(call: &(dyn Fn(&J) -> Outcome + Send + Sync), job: &J) -> Outcome {
    PANIC.set(Some(String::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| call(job)));
    let place = PANIC.take().unwrap_or_default();
    outcome.unwrap_or_else(|payload| Outcome::Failed(format!("panicked{place}: {}", message(&*payload))))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

/// Keeps the panics of cases from filling the screen: their place is kept for the report. All others are printed as ever.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let inside = PANIC.with_borrow_mut(|place| {
                let Some(place) = place else { return false };
                *place = info.location().map_or(String::new(), |l| format!(" at {}:{}", l.file(), l.line()));
                true
            });
            if !inside {
                before(info);
            }
        }));
    });
}

/// Runs jobs one after the other.
pub struct Runner<J> {
    call: Call<J>,
    limits: Limits,
    worker: Option<Worker<J>>,
}

impl<J: Send + 'static> Runner<J> {
    /// A runner that calls `call` for every job.
    pub fn new(limits: Limits, call: impl Fn(&J) -> Outcome + Send + Sync + 'static) -> Self {
        quiet_panics();
        Self { call: Arc::new(call), limits, worker: None }
    }

    /// Runs one job. Also says whether it took too long.
    fn run(&mut self, job: J) -> (Outcome, bool) {
        let failed = |why: &str| (Outcome::Failed(why.to_owned()), false);
        if self.worker.is_none() {
            self.worker = Worker::start(&self.call);
        }
        let Some(worker) = &self.worker else { return failed("no thread could be started") };
        if worker.jobs.send(job).is_err() {
            self.worker = None;
            return failed("the thread of the case is gone");
        }
        match worker.outcomes.recv_timeout(self.limits.case) {
            Ok(outcome) => (outcome, false),
            Err(RecvTimeoutError::Timeout) => {
                self.worker = None;
                let why = format!("not done after {} s", self.limits.case.as_secs_f64());
                (Outcome::Failed(why), true)
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.worker = None;
                failed("the thread of the case ended")
            }
        }
    }

    /// Runs the jobs of one operator, each with the name of its case.
    pub fn run_group(&mut self, jobs: impl IntoIterator<Item = (String, J)>) -> Report {
        let mut report = Report::default();
        let mut hung = 0;
        for (id, job) in jobs {
            let outcome = if hung >= self.limits.hung {
                Outcome::Failed("not run: too many cases before it hung".to_owned())
            } else {
                let (outcome, late) = self.run(job);
                hung += usize::from(late);
                outcome
            };
            report.cases.push((id, outcome));
        }
        report
    }
}

/// How the cases of one operator ended, in order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The name of each case and its outcome.
    pub cases: Vec<(String, Outcome)>,
}

impl Report {
    /// Hands every outcome to `add`.
    pub fn counts(&self, mut add: impl FnMut(&Outcome)) {
        self.cases.iter().for_each(|(_, outcome)| add(outcome));
    }

    /// The line about an operator with failures: how many, and the first.
    pub fn failure_line(&self, op: &str) -> Option<String> {
        let mut failures = self.cases.iter().filter_map(|(id, outcome)| match outcome {
            Outcome::Failed(why) => Some((id, why)),
            _ => None,
        });
        let (id, why) = failures.next()?;
        // One line, whatever a message contains.
        let why: Vec<&str> = why.split_whitespace().collect();
        Some(format!(
            "{op}: {} of {} failed; {id}: {}",
            1 + failures.count(),
            self.cases.len(),
            why.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(jobs: &[&'static str]) -> Vec<(String, &'static str)> {
        jobs.iter().enumerate().map(|(i, job)| (format!("case-{i}"), *job)).collect()
    }

    fn behave(job: &&'static str) -> Outcome {
        match *job {
            "pass" => Outcome::Passed,
            "miss" => Outcome::Unsupported("not there".to_owned()),
            "panic" => panic!("a broken\n  kernel"),
            "hang" => loop {
                thread::sleep(Duration::from_secs(1));
            },
            other => Outcome::Failed(other.to_owned()),
        }
    }

    #[test]
    fn panics_and_hangs_are_failed_cases_and_the_run_goes_on() {
        let limits = Limits { case: Duration::from_millis(300), hung: 3 };
        let mut runner = Runner::new(limits, behave);
        let report = runner.run_group(named(&["pass", "panic", "hang", "wrong", "miss", "pass"]));
        let kinds: Vec<char> = report
            .cases
            .iter()
            .map(|(_, outcome)| match outcome {
                Outcome::Passed => 'p',
                Outcome::Failed(_) => 'f',
                Outcome::Unsupported(_) => 'u',
            })
            .collect();
        assert_eq!(kinds, ['p', 'f', 'f', 'f', 'u', 'p']);
        let line = report.failure_line("op").expect("three failures");
        assert!(line.starts_with("op: 3 of 6 failed; case-1: panicked at "), "{line}");
        assert!(line.ends_with(": a broken kernel"), "{line}");
        assert!(matches!(&report.cases[2].1, Outcome::Failed(why) if why == "not done after 0.3 s"));
    }

    #[test]
    fn an_operator_that_keeps_hanging_is_given_up() {
        let limits = Limits { case: Duration::from_millis(50), hung: 2 };
        let mut runner = Runner::new(limits, behave);
        let report = runner.run_group(named(&["hang", "hang", "pass"]));
        assert!(matches!(&report.cases[2].1, Outcome::Failed(why) if why.starts_with("not run")));
        // The next operator starts afresh.
        assert_eq!(runner.run_group(named(&["pass"])).cases[0].1, Outcome::Passed);
    }

    #[test]
    fn an_operator_without_failures_has_no_line() {
        let mut runner = Runner::new(Limits::default(), behave);
        assert_eq!(runner.run_group(named(&["pass", "miss"])).failure_line("op"), None);
    }
}
