//! The random streams against PyTorch: recorded draws, saved states and sampler orders, bit for bit where PyTorch's
//! values do not depend on a C library, else within two units in the last place.
//!
//! The recordings lie in `shared/conformance/rng` beside the repository; where they are absent their tests say so and
//! pass. `small_recordings` needs nothing.

mod rng;

use std::path::PathBuf;

use kiln_ops::random::sampling::{
    RandomOrder, draw_seed, random_split, split_lengths, subset_order, weighted_order,
};
use kiln_ops::random::{Generator, STATE_LEN};
use serde_json::Value;

use rng::recording::{Recording, text, u};
use rng::step::{Slack, check, replay};

fn recording(name: &str) -> Option<Recording> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/conformance/rng"))
        .find(|folder| folder.is_dir());
    match folder {
        Some(folder) => Some(Recording::open(&folder, name)),
        None => {
            eprintln!("skipped: no shared/conformance/rng beside the repository");
            None
        }
    }
}

/// The seed of a case: an integer that may be negative or lie beyond `i64`.
fn seed(value: &Value) -> u64 {
    let parsed = value.as_u64().or(value.as_i64().map(|s| s as u64));
    parsed.or_else(|| value.as_str()?.parse().ok()).expect("a seed")
}

fn indices(value: &Value) -> Vec<i64> {
    value.as_array().expect("indices").iter().map(|i| i.as_i64().expect("an index")).collect()
}

/// Replays every step of every case; `false` from `replay` marks a step outside of this crate, which ends the case.
fn replay_cases(name: &str, at_least: usize) {
    let Some(recording) = recording(name) else { return };
    let (mut steps, mut left_out) = (0, 0);
    for case in recording.cases() {
        let Some(case_steps) = case["steps"].as_array() else {
            left_out += 1;
            continue;
        };
        let mut generator = Generator::new(seed(&case["seed"]));
        for step in case_steps {
            if !replay(&mut generator, step, &recording, text(&case["id"])) {
                left_out += 1;
                break;
            }
            steps += 1;
        }
    }
    eprintln!("{name}: {steps} steps replayed, {left_out} cases left out");
    assert!(steps >= at_least, "{steps} steps of {name}");
}

#[test]
fn draws() {
    replay_cases("draws", 3432);
}

#[test]
fn mixed_draws() {
    replay_cases("mixed", 440);
}

#[test]
fn fills_of_init_functions() {
    replay_cases("init", 18);
}

#[test]
fn states() {
    let Some(recording) = recording("state") else { return };
    for case in recording.cases() {
        let id = text(&case["id"]);
        let mut generator = Generator::new(seed(&case["seed"]));
        for step in case["steps"].as_array().expect("steps") {
            assert!(replay(&mut generator, step, &recording, id));
        }
        let want = recording.bytes(text(&case["state"]));
        assert_eq!(generator.initial_seed(), seed(&case["initial_seed"]), "{id}");
        assert!(generator.get_state() == want, "{id}: the saved state differs");

        let mut restored = Generator::default();
        restored.set_state(want).expect("a state of PyTorch's");
        assert!(restored.get_state() == want, "{id}: the state does not survive a round trip");
        // Both: PyTorch restored the state before each of the two draws.
        let shape = |key: &str| recording.shape(text(&case[key])).iter().product::<usize>();
        let mut normal = vec![0f32; shape("next_randn")];
        restored.normal(&mut normal, 0.0, 1.0).unwrap();
        check(&normal, recording.tensor(text(&case["next_randn"])), Slack::Exact, &format!("{id} randn"));
        restored.set_state(want).unwrap();
        let mut uniform = vec![0f32; shape("next_rand")];
        restored.uniform(&mut uniform, 0.0, 1.0).unwrap();
        check(&uniform, recording.tensor(text(&case["next_rand"])), Slack::Exact, &format!("{id} rand"));
    }
}

#[test]
fn samplers() {
    let Some(recording) = recording("sampler") else { return };
    for case in recording.cases() {
        let id = text(&case["id"]);
        let mut stream = Generator::new(seed(&case["seed"]));
        let order = case.get("order").map(indices);
        let probe = |generator: &mut Generator| {
            let mut values = [0i64; 2];
            generator.random_from_to(&mut values, 0, 1 << 24).unwrap();
            values.to_vec()
        };
        match text(&case["kind"]) {
            "RandomSampler" => {
                let n = u(&case["n"]);
                let replacement = case["replacement"].as_bool().expect("a choice");
                let samples = case["num_samples"].as_u64().map_or(n, |s| s as usize);
                // Recorded with a generator of the sampler's own.
                let drawn = RandomOrder::new(n, samples, replacement).unwrap().collect(&mut stream).unwrap();
                assert_eq!(Some(drawn), order, "{id}");
            }
            "SubsetRandomSampler" => {
                let drawn = subset_order(&mut stream, &indices(&case["indices"])).unwrap();
                assert_eq!(Some(drawn), order, "{id}");
            }
            "WeightedRandomSampler" => {
                let weights: Vec<f64> =
                    case["weights"].as_array().unwrap().iter().map(|w| w.as_f64().unwrap()).collect();
                let replacement = case["replacement"].as_bool().expect("a choice");
                let drawn =
                    weighted_order(&mut stream, &weights, u(&case["num_samples"]), replacement).unwrap();
                assert_eq!(Some(drawn), order, "{id}");
            }
            "random_split" => {
                let given: Vec<f64> =
                    case["lengths"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
                let lengths = match case.get("n") {
                    Some(n) => split_lengths(u(n), &given).unwrap(),
                    None => given.iter().map(|&l| l as usize).collect(),
                };
                let (order, cuts) = random_split(&mut stream, lengths.iter().sum(), &lengths).unwrap();
                let parts: Vec<Vec<i64>> = cuts.into_iter().map(|cut| order[cut].to_vec()).collect();
                let want: Vec<Vec<i64>> = case["parts"].as_array().unwrap().iter().map(indices).collect();
                assert_eq!(parts, want, "{id}");
            }
            "loader" | "loader-sequential" => {
                let n = u(&case["n"]);
                let own = case["generator"].as_str() == Some("generator");
                let shuffled = text(&case["kind"]) == "loader";
                let mut default =
                    if own { Generator::new(seed(&case["default_seed"])) } else { stream.clone() };
                for want in case["epochs"].as_array().unwrap() {
                    let _base_seed = draw_seed(if own { &mut stream } else { &mut default });
                    let order = match (shuffled, own) {
                        (false, _) => (0..n as i64).collect(),
                        (true, true) => RandomOrder::shuffle(n).unwrap().collect(&mut stream).unwrap(),
                        (true, false) => {
                            let mut private = Generator::new(draw_seed(&mut default));
                            RandomOrder::shuffle(n).unwrap().collect(&mut private).unwrap()
                        }
                    };
                    let batch = u(&case["batch_size"]);
                    let drop_last = case.get("drop_last").is_some_and(|d| d == true);
                    let batches = order.chunks(batch).filter(|b| !drop_last || b.len() == batch);
                    let want: Vec<Vec<i64>> = want.as_array().unwrap().iter().map(indices).collect();
                    assert_eq!(batches.map(<[i64]>::to_vec).collect::<Vec<_>>(), want, "{id}");
                }
                assert_eq!(probe(&mut default), indices(&case["probe_default"]), "{id}");
                if own {
                    assert_eq!(probe(&mut stream), indices(&case["probe_generator"]), "{id}");
                }
            }
            "worker-seeds" => {
                let base = draw_seed(&mut stream);
                let workers = u(&case["workers"]);
                let mut streams: Vec<Generator> =
                    (0..workers).map(|k| Generator::new(base.wrapping_add(k as u64))).collect();
                for item in case["items"].as_array().unwrap() {
                    let worker = &mut streams[u(&item[0])];
                    assert_eq!(worker.initial_seed(), seed(&item[1]), "{id}");
                    for want in item[2].as_array().unwrap() {
                        assert_eq!(f64::from(worker.unit32()), want.as_f64().unwrap(), "{id}");
                    }
                }
            }
            other => panic!("unknown kind {other} of {id}"),
        }
    }
}

/// A few values printed by PyTorch 2.15 after `manual_seed(42)`, so that a clone without recordings tests something.
#[test]
fn small_recordings() {
    let mut generator = Generator::new(42);
    let mut rand = [0f32; 4];
    generator.uniform(&mut rand, 0.0, 1.0).unwrap();
    assert_eq!(rand, RAND);
    let mut randn = [0f32; 17];
    generator.normal(&mut randn, 0.0, 1.0).unwrap();
    assert_eq!(randn, RANDN);
    assert_eq!(generator.randperm(6).unwrap(), RANDPERM);
    let mut few = [0f64; 3];
    generator.normal(&mut few, 0.0, 1.0).unwrap();
    for (got, want) in few.iter().zip(RANDN_FEW) {
        assert!((got - want).abs() <= 2.0 * f64::EPSILON * want.abs(), "{got} for {want}");
    }
    let mut integers = [0i64; 4];
    generator.random_from_to(&mut integers, -5, 5).unwrap();
    assert_eq!(integers, RANDINT);
    let mut wide = [0i64; 1];
    generator.random_full(&mut wide);
    assert_eq!(wide, RANDOM_FULL);
    let mut coins = [false; 8];
    generator.bernoulli_scalar(&mut coins, 0.3).unwrap();
    assert_eq!(coins, BERNOULLI);
    assert_eq!(generator.multinomial(&[1f32, 2.0, 3.0, 4.0], [1, 4], 3, false).unwrap(), MULTINOMIAL);
    assert_eq!(generator.get_state().len(), STATE_LEN);
}

const RAND: [f32; 4] = [0.88226926, 0.91500396, 0.38286376, 0.95930564];
const RANDN: [f32; 17] = [
    0.67841846,
    1.0783176,
    0.80080056,
    1.6806206,
    0.3558599,
    -0.686623,
    -0.49335635,
    0.24148779,
    -1.1109039,
    0.04175949,
    -0.2515753,
    0.8598585,
    -0.30972677,
    -0.3957105,
    0.80340934,
    -0.6215954,
    -0.59200054,
];
const RANDPERM: [i64; 6] = [2, 3, 4, 5, 0, 1];
const RANDN_FEW: [f64; 3] = [-0.3514404298617753, -0.7906430712073464, -0.09150922438411453];
const RANDINT: [i64; 4] = [-5, 4, -5, 4];
const RANDOM_FULL: [i64; 1] = [262579006026876147];
const BERNOULLI: [bool; 8] = [true, true, true, true, true, false, false, false];
const MULTINOMIAL: [i64; 3] = [1, 2, 3];
