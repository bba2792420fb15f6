//! Errors name the program's own line, through every layer of Kiln.

use kiln::prelude::*;

/// Fails; the error names the line that calls this.
#[track_caller]
fn fails_here<T>(result: Result<T>) {
    let here = std::panic::Location::caller();
    let Err(error) = result else { panic!("no error at {here}") };
    let place = error.place().unwrap_or_else(|| panic!("no place at {here}: {error}"));
    assert_eq!((place.file(), place.line()), (here.file(), here.line()), "{error}");
}

#[test]
fn optimizers_and_schedules_name_the_line_that_calls_them() {
    let w = Tensor::zeros([2]).requires_grad_(true).unwrap();
    w.set_grad(Some(Tensor::zeros([2]))).unwrap();
    fails_here(SGD::new([w.clone()], -1.0).step());
    fails_here(Adam::new([w.clone()], -1.0).step());
    fails_here(Adadelta::new([w.clone()], -1.0).step());
    fails_here(LBFGS::new([w.clone()], 1.0).step());
    let mut sgd = SGD::new([w.clone()], 0.1);
    fails_here(sgd.check().and(sgd.set_lr(3, 0.1)));
    fails_here(sgd.load_state_dict(&OptimizerState::default()));
    fails_here(sgd.step_with(&mut || Tensor::zeros([2]).view([3])));
    fails_here(clip_grad_value_(&[w], f64::NAN));
}

#[test]
fn files_and_data_sets_name_the_line_that_reads_them() {
    let nowhere = "there is no such file.pt";
    fails_here(kiln::load::<Value>(nowhere));
    fails_here(kiln::io::load_npy(nowhere));
    fails_here(kiln::io::load_tensors("of no known kind.xyz"));
    fails_here(TrainingCheckpoint::load(nowhere));
    fails_here(TrainingCheckpoint::new().get("epoch").map(|_| ()));
    fails_here(TensorDataset::new((Tensor::zeros([2]), Tensor::zeros([3]))));
    let pairs = TensorDataset::new((Tensor::zeros([2]), Tensor::zeros([2]))).unwrap();
    fails_here(random_split(pairs, &[7], None));
}

#[test]
fn a_run_ends_with_the_message_and_the_line() {
    let shapes = |a: &Tensor, b: &Tensor| a.matmul(b);
    let (line, error) = (line!() - 1, shapes(&Tensor::zeros([2, 3]), &Tensor::zeros([4, 5])).unwrap_err());
    let place = error.place().unwrap();
    assert_eq!((place.file(), place.line()), (file!(), line));
    // `fn main() -> Result<()>` prints this.
    let text = format!("{error:?}");
    assert!(
        text.starts_with("matmul: ")
            && text.ends_with(&format!("(at {}:{line}:{})", file!(), place.column())),
        "{text}"
    );
}
