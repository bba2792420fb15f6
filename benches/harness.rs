//! How a benchmark case is timed and printed: one JSON line a case, for `cargo xtask bench`.
//!
//! One call comes first, then a warm-up of 0.15 s, then samples until 0.5 s have passed and five are there. Calls of less
//! than 50 us are timed in groups of at least that length. A line holds the median and the minimum of the wall time, the
//! median of the CPU time of the whole process, and how many cores other processes used meanwhile; a set of samples taken
//! beside more than a tenth of a core is taken again, up to three times in all, and the best one kept.
//!
//! With one thread the CPU time is what the wall time would be on a quiet machine, so it can be compared even while
//! other work runs. `benches/torch_column.py` follows the same protocol.
//!
//! The tests of this module are in xtask/src/bench/harness_tests.rs: a program that measures has no test harness.
//!
//! The program that uses this module takes case names as arguments (a trailing `*` matches any ending), `--list`, and
//! `--memory`, which runs one iteration of each case and prints by how much it raised the largest amount of memory that
//! the process has held: of one case a call, since a process gives little back.
//!
//! `KILN_NUM_THREADS`, `BENCH_PEER` and `BENCH_ROUND` are copied into the lines.

use std::fmt::Display;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// The shortest warm-up.
const WARM_UP: Duration = Duration::from_millis(150);
/// Calls shorter than this are timed in groups that last at least as long.
const GROUP: Duration = Duration::from_micros(50);
/// A first call longer than this needs no more warm-up than one call, and one longer than [`VERY_LONG`] none.
const LONG: Duration = Duration::from_secs(1);
const VERY_LONG: Duration = Duration::from_secs(3);
/// A set of samples ends early when it takes longer than this, with [`FEW_SAMPLES`], or than [`LAST_CALL`] with any.
const PATIENCE: Duration = Duration::from_secs(4);
const FEW_SAMPLES: usize = 3;
const LAST_CALL: Duration = Duration::from_secs(15);
/// A set that took longer than this is not repeated, however busy the machine is.
const TOO_LONG_TO_REPEAT: Duration = Duration::from_secs(6);
/// The number of cores in other hands above which a set of samples is taken again.
const BUSY: f64 = 0.10;
/// How often a set of samples is taken at most.
pub const TRIES: usize = 3;

/// What one iteration is, and how long to sample.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The name of the figure: `us_per_iter`, `us_per_epoch`.
    pub metric: &'static str,
    /// Sampling goes on for at least this long.
    pub target: Duration,
    /// And until there are this many samples. An epoch of a data loader needs two, and 0.3 s.
    pub min_samples: usize,
}

impl Plan {
    /// An operation or a training step.
    pub const ITERATION: Self =
        Self { metric: "us_per_iter", target: Duration::from_millis(500), min_samples: 5 };
}

/// The figures of one case. Times are in microseconds per iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Median wall time.
    pub median: f64,
    /// Least wall time.
    pub min: f64,
    /// Median CPU time of all the threads of the process.
    pub cpu: f64,
    /// How many iterations were timed.
    pub iterations: usize,
    /// Cores that other processes used meanwhile; none where the system does not tell.
    pub other_cpu: Option<f64>,
    /// How many sets of samples were taken.
    pub tries: usize,
}

/// The cases that were asked for, and what every line repeats.
#[derive(Clone, Debug)]
pub struct Bench {
    wanted: Vec<String>,
    list: bool,
    memory: bool,
    peer: String,
    round: u32,
    threads: usize,
}

impl Bench {
    /// Reads the command line and the environment.
    pub fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u32>().ok());
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(
            std::env::args().skip(1),
            std::env::var("BENCH_PEER").unwrap_or_else(|_| "kiln".to_owned()),
            number("BENCH_ROUND").unwrap_or(0),
            number("KILN_NUM_THREADS").map_or_else(cores, |n| n as usize),
        )
    }

    /// The same, from values.
    pub fn new(arguments: impl Iterator<Item = String>, peer: String, round: u32, threads: usize) -> Self {
        // Cargo adds `--bench` to the arguments of the programs that it runs as benchmarks.
        let arguments: Vec<String> = arguments.filter(|a| a != "--bench").collect();
        let [list, memory] = ["--list", "--memory"].map(|flag| arguments.iter().any(|a| a == flag));
        let wanted = arguments.into_iter().filter(|a| !a.starts_with("--")).collect();
        Self { wanted, list, memory, peer, round, threads }
    }

    /// Whether the case was asked for.
    pub fn wants(&self, name: &str) -> bool {
        let matches = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == wanted,
        };
        self.wanted.is_empty() || self.wanted.iter().any(matches)
    }

    /// Times a case, if it was asked for: `setup` prepares everything and returns one iteration, whose own result is
    /// dropped inside the timed region. An error of the preparation becomes a `skip` line.
    pub fn case<T, F, E>(&self, name: &str, setup: impl FnOnce() -> Result<F, E>)
    where
        F: FnMut() -> T,
        E: Display,
    {
        self.case_with(name, Plan::ITERATION, setup);
    }

    /// [`case`](Self::case) with another plan.
    pub fn case_with<T, F, E>(&self, name: &str, plan: Plan, setup: impl FnOnce() -> Result<F, E>)
    where
        F: FnMut() -> T,
        E: Display,
    {
        if !self.wants(name) {
            return;
        }
        if self.list {
            println!("{name}");
            return;
        }
        match setup() {
            Ok(mut iteration) if self.memory => {
                forget_peak();
                let before = peak_kib();
                drop(std::hint::black_box(iteration()));
                println!("{}", self.memory_line(name, before.zip(peak_kib())));
            }
            Ok(mut iteration) => {
                let figures = measure(plan, || drop(std::hint::black_box(iteration())));
                println!("{}", self.line(name, plan.metric, &figures));
            }
            Err(error) => self.skip(name, &error.to_string()),
        }
    }

    /// Says why a case cannot be timed.
    pub fn skip(&self, name: &str, why: &str) {
        if self.wants(name) && !self.list {
            println!("{}", self.skip_line(name, why));
        }
    }

    /// The line of a case that was timed.
    pub fn line(&self, name: &str, metric: &str, f: &Figures) -> String {
        let other = f.other_cpu.map_or("null".to_owned(), |o| format!("{o:.2}"));
        format!(
            r#"{{"peer":{},"case":{},"metric":"{metric}","median":{:.4},"min":{:.4},"iters":{},"threads":{},"round":{},"cpu_us":{:.4},"other_cpu":{other},"tries":{}}}"#,
            quoted(&self.peer),
            quoted(name),
            f.median,
            f.min,
            f.iterations,
            self.threads,
            self.round,
            f.cpu,
            f.tries,
        )
    }

    /// The line of a case whose memory was looked at, from the peaks before and after.
    pub fn memory_line(&self, name: &str, peaks: Option<(u64, u64)>) -> String {
        let more =
            peaks.map_or("null".to_owned(), |(before, after)| (after.saturating_sub(before)).to_string());
        format!(
            r#"{{"peer":{},"case":{},"metric":"peak_kib","more":{more},"threads":{}}}"#,
            quoted(&self.peer),
            quoted(name),
            self.threads,
        )
    }

    /// The line of a case that was not.
    pub fn skip_line(&self, name: &str, why: &str) -> String {
        format!(
            r#"{{"peer":{},"case":{},"metric":"skip","why":{},"round":{}}}"#,
            quoted(&self.peer),
            quoted(name),
            quoted(why),
            self.round
        )
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Times `iteration` as the module's documentation says.
pub fn measure(plan: Plan, mut iteration: impl FnMut()) -> Figures {
    let group = warm_up(&mut iteration);
    let mut best: Option<Figures> = None;
    let mut tries = 0;
    loop {
        tries += 1;
        let (set, wall) = sample(plan, group, &mut iteration);
        let quiet = set.other_cpu.is_none_or(|other| other < BUSY);
        let better = best.is_none_or(|b| set.median < b.median);
        let kept = if better { set } else { best.unwrap_or(set) };
        if quiet || tries == TRIES || wall > TOO_LONG_TO_REPEAT {
            return Figures { tries, ..kept };
        }
        best = Some(kept);
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Calls `iteration` until caches, frequency and branch predictors have settled, and returns how many calls make a
/// sample.
fn warm_up(iteration: &mut impl FnMut()) -> usize {
    let start = Instant::now();
    iteration();
    let first = start.elapsed();
    if first > VERY_LONG {
        return 1;
    }
    let start = Instant::now();
    let mut calls = 0u32;
    while calls == 0 || (first < LONG && start.elapsed() < WARM_UP) {
        iteration();
        calls += 1;
    }
    let each = start.elapsed().as_secs_f64() / f64::from(calls);
    if each < GROUP.as_secs_f64() { (GROUP.as_secs_f64() / each.max(1e-9)) as usize + 1 } else { 1 }
}

/// Takes one set of samples of `group` calls each. Also returns how long that took.
pub fn sample(plan: Plan, group: usize, iteration: &mut impl FnMut()) -> (Figures, Duration) {
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    let per_call = |time: Duration| time.as_secs_f64() * 1e6 / group as f64;
    let busy_before = busy_time();
    let (own, start) = (ProcessTime::now(), Instant::now());
    let wall = loop {
        let (cpu, wall) = (ProcessTime::now(), Instant::now());
        for _ in 0..group {
            iteration();
        }
        walls.push(per_call(wall.elapsed()));
        cpus.push(per_call(cpu.elapsed()));
        let (elapsed, n) = (start.elapsed(), walls.len());
        let done = elapsed >= plan.target && n >= plan.min_samples;
        if done || (elapsed > PATIENCE && n >= FEW_SAMPLES) || elapsed > LAST_CALL {
            break elapsed;
        }
    };
    let other_cpu = busy_before.zip(busy_time()).map(|(before, after)| {
        let others = after.saturating_sub(before).saturating_sub(own.elapsed());
        others.as_secs_f64() / wall.as_secs_f64()
    });
    let iterations = walls.len() * group;
    let (median, cpu) = (median(&mut walls), median(&mut cpus));
    (Figures { median, min: walls[0], cpu, iterations, other_cpu, tries: 1 }, wall)
}

/// The most memory that the process has held so far, where Linux tells.
fn peak_kib() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The peak in the text of `/proc/self/status`.
pub fn peak_of(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// Lets the peak start anew from what is held now. Where that cannot be, what came before counts.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The upper median. Leaves the values in order.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The time that all the cores together have been busy since the start of the machine, where Linux tells.
fn busy_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    busy_of(text.lines().next()?)
}

/// The busy time of the first line of `/proc/stat`: user, nice, system, irq, softirq and steal, without idle and iowait.
pub fn busy_of(line: &str) -> Option<Duration> {
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|v| v.parse().ok()).collect();
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|&i| ticks.get(i)).sum();
    // The kernel's tick for user space is a hundredth of a second on every platform.
    (ticks.len() > 3).then(|| Duration::from_millis(busy * 10))
}
