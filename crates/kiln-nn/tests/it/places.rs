//! Errors of layers, losses and functions name the line of the program that called them.

use kiln_nn::*;

/// The error, which names a line of this file: the one that calls this, so many lines further up.
#[track_caller]
fn at<T>(above: u32, result: Result<T>) -> String {
    let here = std::panic::Location::caller();
    let error = result.map(|_| ()).unwrap_err();
    let place = error.place().unwrap_or_else(|| panic!("no place: {error}"));
    assert_eq!((place.file(), place.line()), (here.file(), here.line() - above), "{error}");
    assert!(error.to_string().ends_with(&format!(" (at {place})")), "{error}");
    error.to_string()
}

/// As [`at`], for a call in the same line.
#[track_caller]
fn here<T>(result: Result<T>) {
    at(0, result);
}

fn x(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape)
}

#[test]
fn layers_name_the_line_that_calls_them() {
    let odd = x(&[7]);
    here(Linear::new(4, 2).forward(&odd));
    here(Linear::new(4, 2).call(&odd));
    here(Bilinear::new(4, 2, 3).forward(&odd, &odd));
    here(Conv1d::new(3, 4, 2).forward(&odd));
    here(Conv2d::new(3, 4, 2).padding_mode(PaddingMode::Reflect).padding(9).forward(&x(&[1, 3, 5, 5])));
    here(ConvTranspose2d::new(3, 4, 2).forward(&odd));
    here(MaxPool2d::new(2).forward(&odd));
    here(AvgPool1d::new(2).forward(&odd));
    here(AdaptiveAvgPool2d::new(3).forward(&odd));
    here(AdaptiveMaxPool1d::new(3).forward(&odd));
    here(BatchNorm1d::new(3).forward(&odd));
    here(InstanceNorm2d::new(3).forward(&odd));
    here(LayerNorm::new([3]).forward(&odd));
    here(GroupNorm::new(2, 4).forward(&odd));
    here(RMSNorm::new([3]).forward(&odd));
    here(LocalResponseNorm::new(2).forward(&odd));
    here(Dropout::new(7.0).forward(&odd));
    here(Embedding::new(3, 4).forward(&x(&[2])));
    here(EmbeddingBag::new(3, 4).forward(&odd));
    here(Flatten::new().forward(&x(&[])));
    here(Unflatten::new(0, [2, 3]).forward(&odd));
    here(Softmax::new(3).forward(&odd));
    here(PReLU::new(3).forward(&x(&[2, 5])));
    here(GLU::new(0).forward(&odd));
    here(ReflectionPad2d::new(2).forward(&odd));
    here(PixelShuffle::new(2).forward(&odd));
    here(Upsample::size([2, 2]).forward(&odd));
    here(Fold::new([4, 5], [2, 2]).forward(&odd));
    here(CosineSimilarity::new(1).forward(&odd, &x(&[3])));
    here(LSTM::new(4, 3).forward(&odd, None));
    here(GRU::new(4, 3).forward(&odd, None));
    here(RNNCell::new(4, 3).forward(&odd, None));
    here(MultiheadAttention::new(4, 2).forward(&odd, &odd, &odd));
    here(TransformerEncoderLayer::new(4, 2).forward(&odd));
    here(Lambda::new(Tensor::t_of_nothing).forward(&odd));
}

/// A function of the program that is handed on: it has no caller, so that the layer's is named.
trait Odd {
    fn t_of_nothing(&self) -> Result<Tensor>;
}

impl Odd for Tensor {
    #[track_caller]
    fn t_of_nothing(&self) -> Result<Tensor> {
        Tensor::narrow(self, 5, 0, 1)
    }
}

#[test]
fn losses_functions_and_initialisers_name_the_line_that_calls_them() {
    let (a, b) = (x(&[3, 4]), x(&[5]));
    here(MSELoss::new().forward(&a, &b));
    here(CrossEntropyLoss::new().forward(&a, &b));
    here(NLLLoss::new().forward(&a, &b));
    here(BCELoss::new().forward(&a, &b));
    here(BCEWithLogitsLoss::new().forward(&a, &b));
    here(KLDivLoss::new().forward(&a, &x(&[3, 5])));
    here(TripletMarginLoss::new().forward(&a, &b, &b));
    here(CTCLoss::new().forward(&a, &b, &b, &b));
    here(functional::cross_entropy(&a, &b));
    here(functional::dropout(&a, 2.0, true));
    here(functional::max_pool2d(&b, 2));
    here(init::kaiming_uniform_(&b, init::Fan::In, init::Nonlinearity::Relu));
    here(init::orthogonal_(&b, 1.0));
    here(Linear::from_parameters(Parameter::new(b.clone()).unwrap(), None));
    here(utils::rnn::pad_sequence(&[], true, 0.0));
}

#[test]
fn modules_of_modules_tell_the_layer_and_the_line_of_the_outer_call() {
    let net = sequential![Linear::new(4, 8), sequential![ReLU, Linear::new(7, 2)]];
    let text = at(0, net.forward(&x(&[3, 4])));
    assert!(text.contains("in layer 1 (Linear), in layer 1 (Sequential)"), "{text}");
    let text = at(0, net.call(&x(&[3, 5])));
    assert!(text.contains("in layer 0 (Linear)"), "{text}");
    let boxed: Box<dyn Forward> = Box::new(Linear::new(4, 8));
    at(0, boxed.forward(&x(&[3])));
    here(net.load_state_dict(&Linear::new(1, 1).state_dict()));
    here(summary(&net, &x(&[3])));
    here(net.to_dtype(DType::I64));
    here(net.apply(|m| m.downcast_ref::<Linear>().map_or(Ok(()), |l| init::eye_(l.bias.as_ref().unwrap()))));
}

/// A network of the program: the line inside of it is what helps.
#[derive(Module)]
struct Net {
    first: Linear,
}

impl Forward for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.first.forward(x)?;
        y.relu()
    }
}

#[test]
fn a_module_of_the_program_names_its_own_line() {
    let net = Net { first: Linear::new(4, 2) };
    let (before, odd) = (line!() - 8, x(&[7]));
    for result in
        [net.forward(&odd), net.call(&odd), sequential![Net { first: Linear::new(4, 2) }].forward(&odd)]
    {
        let error = result.unwrap_err();
        let place = error.place().unwrap();
        assert_eq!((place.file(), place.line()), (file!(), before), "{error}");
    }
}
