//! Draws at the edges of their arguments: values PyTorch 2.15 gives for 16-bit types and extreme ranges, and what is
//! refused. A refused draw leaves the stream where it was.

use half::{bf16, f16};
use kiln_ops::random::sampling::{RandomOrder, random_split, split_lengths};
use kiln_ops::random::{DEFAULT_SEED, Generator, RandomError, STATE_LEN};

fn numbers<T: Into<f64> + Copy>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// In one stream after `torch.manual_seed(7)`.
#[test]
fn narrow_types_and_extreme_ranges() {
    let mut generator = Generator::new(7);
    let mut brief = [bf16::ZERO; 6];
    generator.uniform(&mut brief, -2.7, 1.6).unwrap();
    assert_eq!(
        numbers(&brief),
        [-0.400390625, -1.84375, 0.134765625, 0.12451171875, -1.6953125, -0.87109375]
    );
    let mut half = [f16::ZERO; 6];
    generator.uniform(&mut half, -2.7, 1.6).unwrap();
    let want = [-1.8095703125, 0.00786590576171875, -1.12890625, 0.96044921875, 0.97607421875, -0.3310546875];
    assert_eq!(numbers(&half), want);
    let mut normal = [bf16::ZERO; 17];
    generator.normal(&mut normal, 0.5, 2.0).unwrap();
    #[rustfmt::skip]
    let want = [
        1.71875, -2.109375, 0.67578125, -2.265625, 1.5078125, 0.33203125, 0.453125, 0.84765625, 5.09375,
        2.6875, 1.4609375, 3.296875, 3.3125, -2.296875, 3.09375, 3.78125, -1.6171875,
    ];
    assert_eq!(numbers(&normal), want);
    let weights = [0.3, 0.6, 0.2, 0.1].map(bf16::from_f32);
    assert_eq!(generator.multinomial(&weights, [1, 4], 8, true).unwrap(), [1, 1, 2, 1, 3, 2, 0, 3]);
    // Neighbours in f32 are 128 apart here: the range shrinks to what the type holds.
    let mut single = [0f32; 3];
    generator.random_from_to(&mut single, (1 << 30) + 1, (1 << 30) + 1000).unwrap();
    assert_eq!(single, [1073742080.0, 1073742080.0, 1073742592.0]);
    generator.random_from(&mut single, 5).unwrap();
    assert_eq!(single, [1814053.0, 5544925.0, 8718029.0]);
    let mut all = [0i64; 3];
    generator.random_from(&mut all, i64::MIN).unwrap();
    assert_eq!(all, [8806496907670591767, 6749486311658859241, -2989885324495276608]);
    let mut trials = [0f64; 3];
    generator.geometric(&mut trials, 0.25).unwrap();
    assert_eq!(trials, [6.0, 10.0, 2.0]);
}

#[test]
fn refused_arguments() {
    let mut generator = Generator::new(1);
    let before = generator.get_state();
    let (mut x, mut bytes) = ([0f32; 20], [0u8; 4]);
    let nan = f64::NAN;
    let refusals = [
        generator.uniform(&mut x, 2.0, 1.0),
        generator.uniform(&mut x, -3e38, 3e38),
        generator.uniform(&mut x, 0.0, nan),
        generator.uniform(&mut x, 0.0, f64::INFINITY),
        generator.uniform(&mut [f16::ZERO; 2], 0.0, 1e6),
        generator.normal(&mut x, 0.0, -1.0),
        generator.normal(&mut x, 0.0, nan),
        generator.normal_one_by_one(&mut x, 0.0, -1.0),
        generator.log_normal(&mut x, 0.0, 0.0),
        generator.exponential(&mut x, 0.0),
        generator.cauchy(&mut x, 0.0, -1.0),
        generator.geometric(&mut x, 0.0),
        generator.geometric(&mut x, 1.0),
        generator.bernoulli_scalar(&mut x, 1.5),
        generator.bernoulli_scalar(&mut x, nan),
        generator.bernoulli_tensor(&mut x, &[0.5f32; 3]),
        generator.bernoulli_tensor(&mut x[..2], &[0.5f32, -0.1]),
        generator.bernoulli_tensor(&mut x[..2], &[0.5, nan]),
        generator.dropout_mask(&mut x, -0.5),
        generator.dropout_mask(&mut x, nan),
        generator.random_from_to(&mut x, 3, 3),
        generator.random_from_to(&mut bytes, 0, 257),
        generator.random_from_to(&mut bytes, -1, 25),
        generator.random_from_to(&mut [false; 2], 0, 3),
        generator.random_from_to(&mut [f16::ZERO; 2], 0, 70_000),
        generator.random_from(&mut bytes, 256),
        generator.rrelu_slopes(&[1.0], &mut [0.0; 2], 0.1, 0.3),
        generator.rrelu_slopes(&[1.0], &mut [0.0], 0.3, 0.1),
    ];
    for (i, refusal) in refusals.iter().enumerate() {
        assert!(refusal.is_err(), "refusal {i}");
    }
    let message = generator.random_from_to(&mut bytes, 5, 3).unwrap_err().to_string();
    assert_eq!(message, "random_ expects 'from' to be less than 'to', but found from=5 >= to=3");
    let weights = |w: &[f32], samples, replacement| {
        Generator::new(0).multinomial(w, [1, w.len()], samples, replacement).is_err()
    };
    for replacement in [false, true] {
        assert!(weights(&[1.0, -1.0], 2, replacement));
        assert!(weights(&[1.0, f32::NAN], 2, replacement));
        assert!(weights(&[1.0, f32::INFINITY], 2, replacement));
        assert!(weights(&[0.0, 0.0], 2, replacement));
        assert!(weights(&[1.0, 1.0], 0, replacement));
        assert!(weights(&[], 1, replacement));
    }
    assert!(weights(&[1.0, 1.0], 3, false));
    assert!(generator.multinomial(&[1.0, 1.0], [3, 2], 1, true).is_err());
    assert!(matches!(
        generator.multinomial(&[1.0, 1.0], [1, 2], usize::MAX / 2, true),
        Err(RandomError::TooLarge { .. })
    ));
    assert!(matches!(generator.randperm(usize::MAX / 2), Err(RandomError::TooLarge { .. })));
    assert!(RandomOrder::new(0, 5, true).is_err());
    assert!(RandomOrder::shuffle(0).is_err());
    assert!(random_split(&mut generator, 3, &[1, 1]).is_err());
    assert!(random_split(&mut generator, 3, &[usize::MAX, 4]).is_err());
    assert!(split_lengths(3, &[0.5, 0.4]).is_err());
    assert!(split_lengths(3, &[1.5, -0.5]).is_err());
    assert_eq!(generator.get_state(), before);
}

#[test]
fn damaged_states_change_nothing() {
    let mut generator = Generator::default();
    assert_eq!(generator.initial_seed(), DEFAULT_SEED);
    generator.next_u32();
    let good = generator.get_state();
    assert_eq!(good.len(), STATE_LEN);
    let mut bad = vec![Vec::new(), vec![0; STATE_LEN], good[1..].to_vec()];
    // `left` 0, negative, too large and beside `next`; `seeded` 0; `next` huge.
    for (at, byte) in [(8, 0), (11, 0x80), (9, 7), (8, 100), (12, 0), (23, 1)] {
        let mut state = good.clone();
        state[at] = byte;
        bad.push(state);
    }
    for state in bad {
        assert!(generator.set_state(&state).is_err());
        assert!(generator.get_state() == good);
    }
}

#[test]
fn empty_fills_draw_nothing() {
    let mut generator = Generator::new(1);
    let before = generator.get_state();
    generator.uniform::<f32>(&mut [], 0.0, 1.0).unwrap();
    generator.normal::<f64>(&mut [], 0.0, 1.0).unwrap();
    generator.random_full::<i64>(&mut []);
    generator.dropout_mask(&mut [0f32; 3], 0.0).unwrap();
    assert!(generator.randperm(0).unwrap().is_empty() && generator.randperm(1).unwrap() == [0]);
    assert!(generator.multinomial::<f32>(&[], [0, 3], 1, true).unwrap().is_empty());
    assert_eq!(generator.get_state(), before);
}
