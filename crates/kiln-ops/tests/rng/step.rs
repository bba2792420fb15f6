//! One recorded draw.

use half::{bf16, f16};
use kiln_ops::random::{Generator, RandomElement, RandomFloat};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

use super::recording::{Recorded, Recording, text, u, values};

/// What is allowed where PyTorch took a function from its C library.
const C_LIBRARY_ULPS: f64 = 2.0;

/// How far a value may lie from PyTorch's.
#[derive(Clone, Copy)]
pub enum Slack {
    Exact,
    /// [`C_LIBRARY_ULPS`] of the value.
    Relative,
    /// [`C_LIBRARY_ULPS`] of a number of about this size, which was added to another and may have cancelled.
    Absolute(f64),
}

/// Compares with a recorded tensor. Only `f64` is given slack: no other type shows the differences.
pub fn check<T: Recorded>(got: &[T], want: TensorView<'_>, slack: Slack, what: &str) {
    let want = values::<T>(&want);
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let size = match slack {
            _ if T::DTYPE != Dtype::F64 => 0.0,
            Slack::Exact => 0.0,
            Slack::Relative => want.number().abs(),
            Slack::Absolute(size) => size,
        };
        let close = (got.number() - want.number()).abs() <= C_LIBRARY_ULPS * f64::EPSILON * size;
        let equal = got.bits() == want.bits();
        assert!(equal || size > 0.0 && close, "{what}: element {i} is {got:?}, PyTorch's {want:?}");
    }
}

/// Carries out `step` and compares its result, where one was recorded. `false` if the step needs more than draws.
pub fn replay(generator: &mut Generator, step: &Value, recording: &Recording, id: &str) -> bool {
    let mut step = Step { generator, step, recording, id };
    let key = ["dtype", "input", "p", "weights", "mean", "std"];
    let dtype = key.iter().find_map(|&key| {
        let name = step.step[key].as_str()?;
        Some(match name {
            "float32" => Dtype::F32,
            "float64" => Dtype::F64,
            "float16" => Dtype::F16,
            "bfloat16" => Dtype::BF16,
            "int64" => Dtype::I64,
            "int32" => Dtype::I32,
            "int16" => Dtype::I16,
            "int8" => Dtype::I8,
            "uint8" => Dtype::U8,
            "bool" => Dtype::BOOL,
            tensor => recording.tensor(tensor).dtype(),
        })
    });
    match dtype.expect("a dtype") {
        Dtype::F32 => step.float::<f32>(),
        Dtype::F64 => step.float::<f64>(),
        Dtype::F16 => step.float::<f16>(),
        Dtype::BF16 => step.float::<bf16>(),
        Dtype::I64 => step.any::<i64>(),
        Dtype::I32 => step.any::<i32>(),
        Dtype::I16 => step.any::<i16>(),
        Dtype::I8 => step.any::<i8>(),
        Dtype::U8 => step.any::<u8>(),
        Dtype::BOOL => step.any::<bool>(),
        other => panic!("{id}: {other:?}"),
    }
}

struct Step<'a> {
    generator: &'a mut Generator,
    step: &'a Value,
    recording: &'a Recording,
    id: &'a str,
}

impl Step<'_> {
    fn op(&self) -> &str {
        match text(&self.step["op"]) {
            "init" => text(&self.step["fn"]),
            op => op,
        }
    }

    fn number(&self, key: &str) -> f64 {
        let kwargs = &self.step["kwargs"];
        let value = if kwargs.is_object() { &kwargs[key] } else { &self.step[key] };
        value.as_f64().unwrap_or_else(|| panic!("{}: no number {key}", self.id))
    }

    fn integer(&self, key: &str) -> i64 {
        self.step[key].as_i64().unwrap_or_else(|| panic!("{}: no integer {key}", self.id))
    }

    fn input<T: Recorded>(&self, key: &str) -> Vec<T> {
        values(&self.recording.tensor(text(&self.step[key])))
    }

    fn has_tensor(&self, key: &str) -> bool {
        self.step[key].is_string()
    }

    /// Zeros of the step's shape.
    fn zeros<T: Recorded>(&self) -> Vec<T> {
        let len = if self.has_tensor("input") {
            self.input::<T>("input").len()
        } else {
            self.step["shape"].as_array().expect("a shape").iter().map(u).product()
        };
        vec![T::ZERO; len]
    }

    fn compare<T: Recorded>(&self, got: &[T], slack: Slack) -> bool {
        if let Some(out) = self.step["out"].as_str() {
            check(got, self.recording.tensor(out), slack, &format!("{} {}", self.id, self.op()));
        }
        true
    }

    /// Draws that every type has.
    fn any<T: Recorded + RandomElement>(&mut self) -> bool {
        match self.op().to_owned().as_str() {
            "randint" | "randint_like" => {
                let mut out = self.zeros::<T>();
                let (low, high) = (self.integer("low"), self.integer("high"));
                self.generator.random_from_to(&mut out, low, high).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "random_" => {
                let mut out = self.zeros::<T>();
                self.generator.random_full(&mut out);
                self.compare(&out, Slack::Exact)
            }
            "random_to_" => {
                let mut out = self.zeros::<T>();
                let to = self.integer("to");
                self.generator.random_from_to(&mut out, 0, to).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "random_from_to_" => {
                let mut out = self.zeros::<T>();
                let (from, to) = (self.integer("from"), self.integer("to"));
                self.generator.random_from_to(&mut out, from, to).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "randperm" => {
                let order = self.generator.randperm(u(&self.step["n"])).unwrap();
                let order: Vec<T> = order.into_iter().map(T::from_i64).collect();
                self.compare(&order, Slack::Exact)
            }
            "bernoulli_" => {
                let mut out = self.zeros::<T>();
                let p = self.number("p");
                self.generator.bernoulli_scalar(&mut out, p).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "geometric_" => {
                let mut out = self.zeros::<T>();
                let p = self.number("p");
                self.generator.geometric(&mut out, p).unwrap();
                self.compare(&out, Slack::Exact)
            }
            _ => false,
        }
    }

    /// Draws of floating-point types.
    fn float<T: Recorded + RandomFloat>(&mut self) -> bool {
        match self.op().to_owned().as_str() {
            "rand" | "rand_like" => {
                let mut out = self.zeros::<T>();
                self.generator.uniform(&mut out, 0.0, 1.0).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "uniform_" => {
                let mut out = self.zeros::<T>();
                let init = self.step["kwargs"].is_object();
                let (from, to) = if init { ("a", "b") } else { ("from", "to") };
                let (from, to) = (self.number(from), self.number(to));
                self.generator.uniform(&mut out, from, to).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "randn" | "randn_like" => {
                let mut out = self.zeros::<T>();
                self.generator.normal(&mut out, 0.0, 1.0).unwrap();
                self.compare(&out, Slack::Relative)
            }
            "normal_" => {
                let mut out = self.zeros::<T>();
                let (mean, std) = (self.number("mean"), self.number("std"));
                self.generator.normal(&mut out, mean, std).unwrap();
                self.compare(&out, Slack::Absolute(4.0 * std + mean.abs()))
            }
            "normal_transposed_" => {
                // The tensor is a transposed view, filled in the order of its memory.
                let mut memory = self.zeros::<T>();
                let (mean, std) = (self.number("mean"), self.number("std"));
                self.generator.normal_one_by_one(&mut memory, mean, std).unwrap();
                let (rows, columns) = (u(&self.step["shape"][0]), u(&self.step["shape"][1]));
                let place = |i: usize| memory[i % columns * rows + i / columns];
                let out: Vec<T> = (0..memory.len()).map(place).collect();
                self.compare(&out, Slack::Absolute(4.0 * std + mean.abs()))
            }
            "normal_mean_tensor" | "normal_std_tensor" | "normal_tensors" => {
                let given = |step: &Self, key: &str, len: usize| {
                    if step.has_tensor(key) {
                        step.input::<T>(key)
                    } else {
                        vec![T::from_f64(step.number(key)); len]
                    }
                };
                let tensor = if self.has_tensor("mean") { "mean" } else { "std" };
                let len = self.input::<T>(tensor).len();
                let (mean, std) = (given(self, "mean", len), given(self, "std", len));
                let mut out = vec![T::ZERO; len];
                self.generator.normal(&mut out, 0.0, 1.0).unwrap();
                for ((out, mean), std) in out.iter_mut().zip(mean).zip(std) {
                    let scaled = T::from_f64(out.to_f64() * std.to_f64());
                    *out = T::from_f64(scaled.to_f64() + mean.to_f64());
                }
                self.compare(&out, Slack::Absolute(8.0))
            }
            "log_normal_" => {
                let mut out = self.zeros::<T>();
                let (mean, std) = (self.number("mean"), self.number("std"));
                self.generator.log_normal(&mut out, mean, std).unwrap();
                self.compare(&out, Slack::Relative)
            }
            "exponential_" => {
                let mut out = self.zeros::<T>();
                let lambd = self.number("lambd");
                self.generator.exponential(&mut out, lambd).unwrap();
                self.compare(&out, Slack::Relative)
            }
            "cauchy_" => {
                let mut out = self.zeros::<T>();
                let (median, sigma) = (self.number("median"), self.number("sigma"));
                self.generator.cauchy(&mut out, median, sigma).unwrap();
                self.compare(&out, Slack::Relative)
            }
            "bernoulli" => {
                let p = self.input::<T>("p");
                let mut out = vec![T::ZERO; p.len()];
                self.generator.bernoulli_tensor(&mut out, &p).unwrap();
                self.compare(&out, Slack::Exact)
            }
            "multinomial" => {
                let weights = self.input::<T>("weights");
                let shape = self.recording.shape(text(&self.step["weights"]));
                let shape =
                    if let [rows, categories] = shape[..] { [rows, categories] } else { [1, shape[0]] };
                let replacement = self.step["replacement"] == true;
                let samples = u(&self.step["num_samples"]);
                let drawn = self.generator.multinomial(&weights, shape, samples, replacement).unwrap();
                self.compare(&drawn, Slack::Exact)
            }
            "dropout" | "dropout1d" | "dropout2d" | "dropout3d" => {
                let input = self.input::<T>("input");
                let shape = self.recording.shape(text(&self.step["input"]));
                let channels = if self.op() == "dropout" { input.len() } else { shape[0] * shape[1] };
                let mut mask = vec![T::ZERO; channels];
                let p = self.number("p");
                self.generator.dropout_mask(&mut mask, p).unwrap();
                let repeat = input.len() / channels.max(1);
                let scaled = |(i, x): (usize, &T)| T::from_f64(x.to_f64() * mask[i / repeat].to_f64());
                let out: Vec<T> = input.iter().enumerate().map(scaled).collect();
                self.compare(&out, Slack::Exact)
            }
            "alpha_dropout" | "feature_alpha_dropout" => self.alpha_dropout::<T>(),
            "rrelu" => {
                let input = self.input::<T>("input");
                let mut slopes = vec![T::ZERO; input.len()];
                let (lower, upper) = (self.number("lower"), self.number("upper"));
                self.generator.rrelu_slopes(&input, &mut slopes, lower, upper).unwrap();
                let times = |(x, slope): (&T, &T)| T::from_f64(x.to_f64() * slope.to_f64());
                let out: Vec<T> = input.iter().zip(&slopes).map(times).collect();
                self.compare(&out, Slack::Exact)
            }
            "gumbel_softmax" => self.gumbel_softmax::<T>(),
            _ => self.any::<T>(),
        }
    }

    fn alpha_dropout<T: Recorded + RandomFloat>(&mut self) -> bool {
        let p = self.number("p");
        let shape = self.recording.shape(text(&self.step["input"]));
        let input = self.input::<T>("input");
        let whole = self.op() == "alpha_dropout";
        let mut mask = vec![T::ZERO; if whole { input.len() } else { shape[0] * shape[1] }];
        self.generator.bernoulli_scalar(&mut mask, 1.0 - p).unwrap();
        let alpha = 1.7580993408473766;
        let a = 1.0 / ((alpha * alpha * p + 1.0) * (1.0 - p)).sqrt();
        let repeat = input.len() / mask.len().max(1);
        let want = self.input::<T>("out");
        for (i, (x, want)) in input.iter().zip(want).enumerate() {
            let m = mask[i / repeat].to_f64();
            let got = x.to_f64() * m * a + ((m - 1.0) * alpha * a + alpha * a * p);
            assert!((got - want.to_f64()).abs() <= 4e-7, "{}: {got} for {want:?}", self.id);
        }
        true
    }

    fn gumbel_softmax<T: Recorded + RandomFloat>(&mut self) -> bool {
        let logits = self.input::<T>("input");
        let mut noise = vec![T::ZERO; logits.len()];
        self.generator.exponential(&mut noise, 1.0).unwrap();
        let tau = self.number("tau");
        let row = *self.recording.shape(text(&self.step["input"])).last().expect("a row");
        let want = self.input::<T>("out");
        for ((logits, noise), want) in logits.chunks(row).zip(noise.chunks(row)).zip(want.chunks(row)) {
            let powers: Vec<f64> =
                logits.iter().zip(noise).map(|(x, e)| ((x.to_f64() - e.to_f64().ln()) / tau).exp()).collect();
            let sum: f64 = powers.iter().sum();
            let largest = powers.iter().copied().fold(0.0, f64::max);
            for (power, want) in powers.iter().zip(want) {
                let hard = self.step["hard"] == true;
                let got = if hard { f64::from(u8::from(*power == largest)) } else { power / sum };
                assert!((got - want.to_f64()).abs() <= 1e-6, "{}: {got} for {want:?}", self.id);
            }
        }
        true
    }
}
