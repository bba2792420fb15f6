//! The kernels give the same bits for every instruction set and number of threads: the test runs itself again with each
//! and compares a hash of all results.

use std::process::Command;

use kiln_ops::cpu::norm::*;
use kiln_ops::cpu::pool2d::*;
use kiln_ops::cpu::reduce::*;
use kiln_ops::cpu::scan::*;
use kiln_ops::cpu::softmax::*;

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ (seed << 32);
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..n).map(next).collect()
}

/// FNV-1a over the bits of everything that is fed to it.
struct Hash(u64);

impl Hash {
    fn feed(&mut self, x: &[f32]) {
        for byte in x.iter().flat_map(|v| v.to_bits().to_le_bytes()) {
            self.0 = (self.0 ^ byte as u64).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

const SHAPES: [Axis; 7] = [
    Axis { outer: 40, n: 10, inner: 1 },
    Axis { outer: 50, n: 130, inner: 1 },
    Axis { outer: 30, n: 3001, inner: 1 },
    Axis { outer: 2, n: 150_001, inner: 1 },
    Axis { outer: 3, n: 5000, inner: 3 },
    Axis { outer: 2, n: 300, inner: 129 },
    Axis { outer: 1, n: 140, inner: 5000 },
];

fn everything() -> u64 {
    let mut hash = Hash(0xcbf2_9ce4_8422_2325);
    for a in SHAPES {
        let (x, g) = (noise(a.len(), 1), noise(a.len(), 2));
        let mut out = vec![0.0; a.results()];
        for op in [
            ReduceOp::Sum,
            ReduceOp::Mean,
            ReduceOp::Prod,
            ReduceOp::Max,
            ReduceOp::Norm2,
            ReduceOp::LogSumExp,
            ReduceOp::Var { correction: 1.0 },
        ] {
            reduce_float(op, &x, a, &mut out);
            hash.feed(&out);
        }
        let (mut y, mut gx) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        for log in [false, true] {
            softmax(&x, a, log, &mut y);
            softmax_backward(&y, &g, a, log, &mut gx);
            hash.feed(&y);
            hash.feed(&gx);
        }
        let targets: Vec<i64> = (0..a.results()).map(|i| (i * 7 % a.n) as i64).collect();
        let options = CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() };
        let (mut loss, mut stats) = ([0.0], vec![0.0; 2 * a.results()]);
        cross_entropy(&x, &targets, a, &options, &mut loss, &mut stats).unwrap();
        cross_entropy_backward(&x, &targets, a, &options, &stats, &[1.0], &mut gx).unwrap();
        hash.feed(&loss);
        hash.feed(&gx);
        scan_float(ScanOp::Sum, &x, a, &mut y);
        hash.feed(&y);
        let (mut mean, mut var) = (vec![0.0; a.n], vec![0.0; a.n]);
        batch_norm_stats(&x, a, &mut mean, &mut var);
        let norm = BatchNorm { axis: a, eps: 1e-5, own: true };
        let stats = [&mean[..], &var];
        batch_norm_apply(&x, &norm, stats, None, None, &mut y);
        let (mut gw, mut gb) = (vec![0.0; a.n], vec![0.0; a.n]);
        let grads = BatchGrads { x: &mut gx, weight: &mut gw, bias: &mut gb };
        batch_norm_backward(&x, &g, &norm, stats, None, grads);
        for v in [&y, &gx, &gw, &gb] {
            hash.feed(v);
        }
        if a.inner == 1 {
            let norm = RowNorm { n: a.n, center: true, eps: 1e-5 };
            let mut stats = vec![0.0; 2 * a.outer];
            row_norm(&x, norm, None, None, &mut y, &mut stats);
            row_norm_backward(&x, &g, norm, &stats, None, &mut gx, &mut gw, &mut gb);
            for v in [&y, &gx, &gw, &gb] {
                hash.feed(v);
            }
        }
        let norm = GroupNorm { groups: a.outer, channels: a.n, inner: a.inner, eps: 1e-5 };
        let (w, mut stats) = (noise(a.outer * a.n, 4), vec![0.0; 2 * a.outer]);
        let (mut gw, mut gb) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        group_norm(&x, norm, Some(&w), None, &mut y, &mut stats);
        group_norm_backward(&x, &g, norm, &stats, Some(&w), &mut gx, &mut gw, &mut gb);
        for v in [&y, &gx, &gw, &gb] {
            hash.feed(v);
        }
    }
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
        let options = PoolOptions {
            kernel: &[kernel; 2],
            stride: &[stride; 2],
            padding: &[padding; 2],
            dilation: &[1; 2],
            ceil_mode: false,
        };
        let s = PoolShape::infer("pool", 60, &[30, 34], &options).unwrap();
        let x = noise(60 * s.input_plane(), 3);
        let (mut y, mut gx) = (vec![0.0; 60 * s.output_plane()], vec![0.0; x.len()]);
        let mut index = vec![0i64; y.len()];
        max_pool(&x, &s, &mut y, &mut index);
        max_pool_backward(&y, &index, &s, &mut gx);
        hash.feed(&y);
        hash.feed(&gx);
        avg_pool(&x, &s, AvgPool::default(), &mut y);
        avg_pool_backward(&y, &s, AvgPool::default(), &mut gx);
        hash.feed(&y);
        hash.feed(&gx);
    }
    hash.0
}

#[test]
fn same_bits_for_every_instruction_set_and_number_of_threads() {
    const CHILD: &str = "KILN_TEST_PRINT_HASH";
    if std::env::var_os(CHILD).is_some() {
        println!("hash={:016x}", everything());
        return;
    }
    let run = |isa: &str, threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "same_bits_for_every_instruction_set_and_number_of_threads", "--nocapture"])
            .envs([(CHILD, "1"), ("KILN_ISA", isa), ("KILN_NUM_THREADS", threads)])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let at = text.find("hash=").unwrap_or_else(|| panic!("{isa}, {threads} threads: {text}"));
        text[at..at + 21].to_owned()
    };
    let want = run("portable", "1");
    // An instruction set that the machine lacks falls back to the best one, and is compared all the same.
    for (isa, threads) in [("portable", "3"), ("avx2", "1"), ("avx2", "2"), ("avx512", "1"), ("avx512", "5")]
    {
        assert_eq!(run(isa, threads), want, "{isa} with {threads} threads");
    }
}
