//! Tests of `benches/harness.rs`, on plain slices.

use std::time::Duration;

use super::harness::*;

fn bench(arguments: &[&str]) -> Bench {
    Bench::new(arguments.iter().map(|a| (*a).to_owned()), "kiln".to_owned(), 3, 2)
}

#[test]
fn cases_are_chosen_by_name_or_prefix() {
    assert!(bench(&["--bench"]).wants("add_1e7"));
    let some = bench(&["add_1e7", "matmul_*", "--bench"]);
    assert!(some.wants("add_1e7") && some.wants("matmul_64"));
    assert!(!some.wants("add_1e7_out") && !some.wants("conv"));
}

#[test]
fn a_sum_over_a_slice_is_timed_in_groups() {
    let values = vec![1.0f32; 1000];
    let plan = Plan { metric: "us_per_iter", target: Duration::from_millis(20), min_samples: 5 };
    let mut calls = 0usize;
    let figures = measure(plan, || {
        calls += 1;
        std::hint::black_box(values.iter().map(|&v| std::hint::black_box(v)).sum::<f32>());
    });
    assert!(figures.min > 0.0 && figures.min <= figures.median);
    assert!(figures.iterations >= 5 && calls > figures.iterations);
    assert!((1..=TRIES).contains(&figures.tries));
}

#[test]
fn sampling_ends_with_enough_samples() {
    let plan = Plan { metric: "us_per_iter", target: Duration::ZERO, min_samples: 3 };
    let (figures, wall) = sample(plan, 2, &mut || std::thread::sleep(Duration::from_millis(1)));
    assert_eq!(figures.iterations, 6);
    assert!(figures.min >= 1000.0 && wall >= Duration::from_millis(6));
    assert!(figures.cpu >= 0.0);
}

#[test]
fn the_median_is_the_upper_one() {
    assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 3.0);
}

#[test]
fn the_kernels_counters_are_read_without_idle_time() {
    assert_eq!(busy_of("cpu  1 2 3 1000 500 4 5 6 7 8"), Some(Duration::from_millis(210)));
    assert_eq!(busy_of("nothing"), None);
}

#[test]
fn the_peak_of_memory_is_read_and_subtracted() {
    assert_eq!(peak_of("VmPeak:\t  900 kB\nVmHWM:\t   123 kB\nVmRSS:\t 100 kB\n"), Some(123));
    assert_eq!(peak_of("nothing"), None);
    let line = bench(&["--memory", "add_1e7"]).memory_line("add_1e7", Some((100, 164)));
    let value: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
    assert_eq!((value["case"].as_str(), value["more"].as_u64()), (Some("add_1e7"), Some(64)));
}

#[test]
fn lines_are_json() {
    let figures =
        Figures { median: 1.5, min: 1.25, cpu: 1.75, iterations: 10, other_cpu: Some(0.051), tries: 2 };
    let line = bench(&[]).line("add_1e7", "us_per_iter", &figures);
    let value: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
    assert_eq!(value["case"], "add_1e7");
    assert_eq!(value["median"], 1.5);
    assert_eq!(value["other_cpu"], 0.05);
    assert_eq!((&value["threads"], &value["round"], &value["iters"]), (&2.into(), &3.into(), &10.into()));
    let line = bench(&[]).skip_line("x", "no \"op\"\n");
    let value: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
    assert_eq!((&value["metric"], &value["why"]), (&"skip".into(), &"no \"op\"\n".into()));
}
