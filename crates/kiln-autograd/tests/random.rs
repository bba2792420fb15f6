//! Random draws into tensors: PyTorch's values after `torch.manual_seed(0)`. The streams themselves are tested in kiln-ops.

use std::sync::{Mutex, MutexGuard};

use kiln_autograd::*;

/// The default generator is one for all tests of this file: one at a time, each from seed 0.
fn seeded() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    manual_seed(0);
    turn
}

fn f32s(t: Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

fn ints(t: Tensor) -> Vec<i64> {
    t.to_dtype(I64).unwrap().to_vec().unwrap()
}

#[test]
fn constructors_draw_pytorchs_stream() {
    let _turn = seeded();
    assert_eq!(f32s(Tensor::rand(5)), [0.4962566, 0.7682218, 0.088477433, 0.13203049, 0.30742282]);
    manual_seed(0);
    assert_eq!(f32s(Tensor::randn(20))[..3], [-1.1258398, -1.1523602, -0.25057858]);
    let next = Tensor::randn_with(3, F64).to_vec::<f64>().unwrap();
    for (got, want) in next.iter().zip([-0.8919953148065625, -1.509107744632202, 0.3703935333738153]) {
        assert!((got - want).abs() < 1e-14, "{got} {want}");
    }
    manual_seed(0);
    assert_eq!(ints(Tensor::randint(0, 10, 5).unwrap()), [4, 9, 3, 0, 3]);
    assert_eq!(ints(Tensor::randint_with(-3, 3, 4, I32).unwrap()), [0, -2, -2, -2]);
    manual_seed(0);
    assert_eq!(ints(Tensor::randperm(5)), [4, 0, 1, 3, 2]);
    manual_seed(0);
    assert_eq!(f32s(Tensor::normal(2.0, 3.0, 4).unwrap()), [6.622988, 1.1197133, -4.5363684, 3.7052939]);
    let mut own = Generator::new(0);
    assert_eq!(f32s(Tensor::rand_generator(2, F32, &mut own)), [0.4962566, 0.7682218]);
}

#[test]
fn means_deviations_probabilities_and_weights_may_be_tensors() {
    let _turn = seeded();
    let draws = Tensor::normal_of(&tensor![1., 2., 3.], &tensor![0.5, 1., 2.]).unwrap();
    assert_eq!(f32s(draws), [1.770498, 1.7065711, -1.3575788]);
    assert_eq!(f32s(Tensor::normal_of(&tensor![1., 2.], 0.5).unwrap()), [1.2842157, 1.4577389]);
    assert_eq!(f32s(Tensor::normal_of(1.0, &tensor![[1.], [2.]]).unwrap()), [-0.39859545, 1.8066937]);
    manual_seed(0);
    assert_eq!(f32s(tensor![0.1, 0.5, 0.9, 0.5].bernoulli().unwrap()), [0.0, 0.0, 1.0, 1.0]);
    let x = Tensor::ones(4);
    x.bernoulli_(0.3).unwrap();
    assert_eq!(f32s(x), [0.0; 4]);
    let x = Tensor::zeros_with([2, 3], I64);
    x.bernoulli_(&tensor![0.2, 0.5, 0.9]).unwrap();
    assert_eq!(ints(x), [1, 1, 1, 0, 0, 1]);
    manual_seed(0);
    assert_eq!(ints(tensor![0., 10., 3., 0.].multinomial(2, false).unwrap()), [1, 2]);
    assert_eq!(ints(tensor![[1., 2.], [3., 0.]].multinomial(4, true).unwrap()), [1, 1, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn fills_in_place() {
    let _turn = seeded();
    let x = Tensor::empty(3);
    type Fill = fn(&Tensor) -> Result<()>;
    let fills: [(Fill, [f32; 3]); 6] = [
        (|x| x.uniform_(-1.0, 1.0), [-0.0074868202, 0.5364436, -0.82304513]),
        (|x| x.normal_(1.0, 2.0), [4.081992, 0.41314217, -3.3575788]),
        (|x| x.exponential_(2.0), [1.7541631, 0.61519235, 0.30752206]),
        (|x| x.geometric_(0.3), [1.0, 1.0, 3.0]),
        (|x| x.cauchy_(0.0, 1.0), [10.59773, 0.76476729, -0.12829934]),
        (|x| x.log_normal_(0.0, 1.0), [4.669239, 0.7457022, 0.11317846]),
    ];
    for (i, (fill, want)) in fills.into_iter().enumerate() {
        manual_seed(0);
        fill(&x).unwrap();
        assert_eq!(x.version(), i as u64 + 1);
        for (got, want) in f32s(x.clone()).into_iter().zip(want) {
            assert!((got - want).abs() <= 2.0 * f32::EPSILON * want.abs(), "fill {i}: {got} {want}");
        }
    }
    manual_seed(0);
    let fill = |dtype, range: Integers| {
        let x = Tensor::zeros_with(3, dtype);
        x.random_(range).unwrap();
        ints(x)
    };
    assert_eq!(fill(I64, (0..100).into()), [44, 39, 33]);
    assert_eq!(fill(F32, (..).into()), [2214888, 5157545, 10637856]);
    assert_eq!(fill(U8, (..).into()), [195, 103, 9]);
    assert_eq!(fill(U8, (250..).into()), [253, 255, 252]);
}

#[test]
fn strided_tensors_are_filled_in_memory_order() {
    let _turn = seeded();
    let x = Tensor::zeros([4, 6]).t().unwrap();
    x.normal_(0.0, 1.0).unwrap();
    assert_eq!(f32s(x.i(0).unwrap()), [1.5409961, 0.40334684, -0.8566746, -0.8919953]);
    manual_seed(0);
    let like = Tensor::zeros([2, 3]).t().unwrap().rand_like().unwrap();
    assert_eq!(like.strides(), [1, 3]);
    assert_eq!(f32s(like), [0.4962566, 0.13203049, 0.7682218, 0.30742282, 0.088477433, 0.63407868]);
    manual_seed(0);
    let p = Tensor::full([2, 3], 0.5).t().unwrap();
    assert_eq!(f32s(p.bernoulli().unwrap()), [1.0, 0.0, 1.0, 1.0, 1.0, 0.0]);
    manual_seed(0);
    let x = Tensor::zeros([2, 3]).t().unwrap();
    x.bernoulli_(&Tensor::full([3, 2], 0.5)).unwrap();
    assert_eq!(f32s(x), [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    let strides = |t: Tensor| t.rand_like().unwrap().strides();
    assert_eq!(strides(Tensor::ones([2, 3]).i((.., ..2)).unwrap().t().unwrap()), [1, 2]);
    assert_eq!(strides(Tensor::ones([2, 1]).expand([2, 3]).unwrap()), [3, 1]);
    manual_seed(0);
    let x = Tensor::zeros([3, 4, 2]);
    x.i((.., 1)).unwrap().uniform_(0.0, 1.0).unwrap();
    assert_eq!(f32s(x.i((1, 1)).unwrap()), [0.088477433, 0.13203049]);
    assert_eq!(x.i((.., 2..)).unwrap().sum().unwrap().to_f64().unwrap(), 0.0);
}

#[test]
fn dropout_masks_scale_what_stays() {
    let _turn = seeded();
    let mask = Tensor::ones(8).dropout_mask(0.4).unwrap();
    assert_eq!(f32s(mask), [0.0, 0.0, 1.6666666, 0.0, 0.0, 0.0, 1.6666666, 1.6666666]);
}

#[test]
fn states_are_saved_and_restored() {
    let _turn = seeded();
    let state = get_rng_state();
    assert_eq!((state.numel(), state.dtype()), (RNG_STATE_LEN, U8));
    let first = f32s(Tensor::rand(3));
    set_rng_state(&state).unwrap();
    assert_eq!(fork_rng(|| f32s(Tensor::rand(3))), first);
    assert_eq!(f32s(Tensor::rand(3)), first);
    assert!(set_rng_state(&Tensor::zeros_with(7, U8)).unwrap_err().to_string().contains("5056 bytes"));
}

#[test]
fn draws_follow_the_rules_of_in_place_operations() {
    let _turn = seeded();
    let leaf = Tensor::zeros(3).requires_grad_(true).unwrap();
    assert!(leaf.uniform_(0.0, 1.0).unwrap_err().to_string().contains("leaf Variable"));
    no_grad(|| leaf.uniform_(0.0, 1.0)).unwrap();
    let y = &leaf * 2.0;
    y.normal_(0.0, 1.0).unwrap();
    y.sum().unwrap().backward().unwrap();
    assert_eq!(f32s(leaf.grad().unwrap()), [0.0; 3]);
    let seed = initial_seed();
    for (error, says) in [
        (Tensor::zeros_with(2, I64).normal_(0.0, 1.0).unwrap_err(), "floating point"),
        (Tensor::zeros(2).uniform_(1.0, 0.0).unwrap_err(), "uniform_"),
        (Tensor::zeros(2).bernoulli_(1.5).unwrap_err(), "p to be in [0, 1]"),
        (Tensor::zeros(1).expand([3]).unwrap().normal_(0.0, 1.0).unwrap_err(), "single memory location"),
        (Tensor::randint(3, 3, 2).map(|_| ()).unwrap_err(), "'from' to be less than 'to'"),
        (tensor![-1., 2.].multinomial(1, false).map(|_| ()).unwrap_err(), "multinomial: probability tensor"),
    ] {
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(initial_seed(), seed);
}

#[test]
fn a_thread_that_holds_memory_may_draw_while_another_waits_for_that_memory() {
    let _turn = seeded();
    let x = Tensor::zeros(8);
    let guard = x.as_slice_mut::<f32>().unwrap();
    std::thread::scope(|s| {
        let filling = s.spawn(|| x.uniform_(1.0, 2.0));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(Tensor::rand(3).numel(), 3);
        drop(guard);
        filling.join().unwrap().unwrap();
    });
    assert!(f32s(x).iter().all(|v| (1.0..2.0).contains(v)));
}
