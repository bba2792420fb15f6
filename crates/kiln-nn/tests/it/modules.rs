//! What modules are made of, how they print, and their modes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kiln_nn::{
    AvgPool2d, Buffer, Conv2d, DType, Dropout, Flatten, Forward, GELU, Lambda, LeakyReLU, Linear, MaxPool2d,
    Module, Pair, Parameter, ReLU, Result, Sequential, Softmax, Tensor, Training, sequential,
};

fn ones(shape: impl Into<kiln_nn::Shape>) -> Tensor {
    let shape = shape.into();
    Tensor::from_vec(vec![1f32; shape.numel()], shape).unwrap()
}

#[derive(Module)]
struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    hidden: usize,
    label: Option<String>,
    constant: Tensor,
}

impl Net {
    fn new() -> Net {
        Net {
            conv1: Conv2d::new(1, 6, 5),
            conv2: Conv2d::new(6, 16, 5),
            fc1: Linear::new(16 * 4 * 4, 10),
            hidden: 4,
            label: None,
            constant: ones([1]),
        }
    }
}

impl Forward for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _ = (self.hidden, &self.label);
        let x = kiln_nn::functional::max_pool2d(&self.conv1.forward(x)?.relu()?, 2)?;
        let x = kiln_nn::functional::max_pool2d(&self.conv2.forward(&x)?.relu()?, (2, 2))?;
        self.fc1.forward(&x.flatten(1, -1)?)?.mul(&self.constant)
    }
}

#[test]
fn a_derived_module_lists_its_layers_and_nothing_else() {
    let mut net = Net::new();
    let names: Vec<String> = net.named_parameters().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias"]);
    assert_eq!(net.num_parameters(), 6 * 25 + 6 + 16 * 6 * 25 + 16 + 256 * 10 + 10);
    assert_eq!(net.forward(&ones([2, 1, 28, 28])).unwrap().dims(), [2, 10]);
    assert_eq!(
        net.to_string(),
        "Net(\n  (conv1): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))\n  \
         (conv2): Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))\n  \
         (fc1): Linear(in_features=256, out_features=10, bias=True)\n)"
    );
    net.fc1 = Linear::new(256, 3);
    assert_eq!(net.forward(&ones([1, 1, 28, 28])).unwrap().dims(), [1, 3]);
}

#[derive(Module)]
struct Zoo<M: Module> {
    inner: M,
    list: Vec<Linear>,
    pair: (Linear, ReLU),
    array: [Linear; 2],
    boxed: Box<dyn Forward>,
    shared: Arc<Linear>,
    map: BTreeMap<String, Linear>,
    hashed: HashMap<String, Linear>,
    maybe: Option<Linear>,
    absent: Option<Linear>,
    scale: Parameter,
    scales: Vec<Parameter>,
    mean: Buffer,
    scratch: Option<Buffer>,
    training: Training,
    #[module(skip)]
    teacher: Linear,
    marker: std::marker::PhantomData<M>,
}

fn zoo() -> Zoo<Linear> {
    let linear = || Linear::new(1, 1).bias(false);
    Zoo {
        inner: linear(),
        list: vec![linear(), linear()],
        pair: (linear(), ReLU),
        array: [linear(), linear()],
        boxed: Box::new(linear()),
        shared: Arc::new(linear()),
        map: BTreeMap::from([("a".to_owned(), linear())]),
        hashed: ["y", "x"].into_iter().map(|name| (name.to_owned(), linear())).collect(),
        maybe: Some(linear()),
        absent: None,
        scale: Parameter::new(ones([1])).unwrap(),
        scales: vec![Parameter::new(ones([1])).unwrap()],
        mean: Buffer::new(ones([2])),
        scratch: Some(Buffer::new(ones([2])).transient()),
        training: Training::default(),
        teacher: linear(),
        marker: std::marker::PhantomData,
    }
}

#[test]
fn containers_and_every_kind_of_part_are_found() {
    let zoo = zoo();
    assert!(zoo.training.get() && zoo.absent.is_none() && zoo.teacher.bias.is_none());
    let names: Vec<String> = zoo.state_dict().keys().map(str::to_owned).collect();
    assert_eq!(
        names,
        [
            "scale",
            "scales.0",
            "mean",
            "inner.weight",
            "list.0.weight",
            "list.1.weight",
            "pair.0.weight",
            "array.0.weight",
            "array.1.weight",
            "boxed.weight",
            "shared.weight",
            "map.a.weight",
            "hashed.x.weight",
            "hashed.y.weight",
            "maybe.weight",
        ]
    );
    let buffers: Vec<String> = zoo.named_buffers().into_iter().map(|(n, _)| n).collect();
    assert_eq!(buffers, ["mean", "scratch"]);
    let boxed = zoo.named_modules().into_iter().find(|(n, _)| n == "boxed").unwrap().1;
    assert!(boxed.is::<Linear>(), "a box stands for what it holds");
    assert!(zoo.to_string().contains("(list): ModuleList(\n    (0-1): 2 x Linear("));
}

#[test]
fn an_unbounded_type_parameter_takes_any_part() {
    #[derive(Module)]
    struct Residual<B> {
        body: B,
    }
    let block = Residual { body: sequential![Linear::new(2, 2)] };
    assert_eq!(block.state_dict().keys().next(), Some("body.0.weight"));
    assert_eq!(block.body.len(), 1);
}

#[test]
fn a_struct_may_print_its_own_way() {
    #[derive(Module)]
    #[module(no_display, extra_repr = settings)]
    struct Custom {
        r#type: Linear,
    }
    impl Custom {
        fn settings(&self) -> String {
            "depth=2".to_owned()
        }
    }
    impl std::fmt::Display for Custom {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "custom {}", self.extra_repr())
        }
    }
    let custom = Custom { r#type: Linear::new(1, 1) };
    assert_eq!(custom.to_string(), "custom depth=2");
    assert_eq!(custom.named_children()[0].0, "type");
}

struct Printed<'a>(&'a dyn Module);

impl std::fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        kiln_nn::fmt_module(self.0, f)
    }
}

#[test]
fn layers_print_as_pytorch_prints_them() {
    let cases: [(&dyn Module, &str); 13] = [
        (&Linear::new(3, 4).bias(false), "Linear(in_features=3, out_features=4, bias=False)"),
        (
            &Conv2d::new(4, 8, (3, 5)).stride(2).padding((1, 2)).dilation(2).groups(2).bias(false),
            "Conv2d(4, 8, kernel_size=(3, 5), stride=(2, 2), padding=(1, 2), dilation=(2, 2), groups=2, bias=False)",
        ),
        (
            &Conv2d::new(1, 1, 3).padding("same"),
            "Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=same)",
        ),
        (&MaxPool2d::new(2), "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"),
        (&AvgPool2d::new([2, 3]).stride(1), "AvgPool2d(kernel_size=(2, 3), stride=1, padding=0)"),
        (&Dropout::new(0.5), "Dropout(p=0.5, inplace=False)"),
        (&Flatten::new(), "Flatten(start_dim=1, end_dim=-1)"),
        (&ReLU::new(), "ReLU()"),
        (&GELU::new(), "GELU(approximate='none')"),
        (&LeakyReLU::default(), "LeakyReLU(negative_slope=0.01)"),
        (&Softmax::new(1), "Softmax(dim=1)"),
        (&kiln_nn::MSELoss::new(), "MSELoss()"),
        (&kiln_nn::CrossEntropyLoss::new(), "CrossEntropyLoss()"),
    ];
    for (module, text) in cases {
        assert_eq!(Printed(module).to_string(), text);
    }
    assert_eq!(Pair::from(2).to_string(), "2");
}

#[test]
fn sequential_runs_indexes_and_replaces() {
    let mut net = sequential![Flatten::new(), Linear::new(4, 3), ReLU].add_named("head", Linear::new(3, 2));
    assert_eq!(net.len(), 4);
    assert_eq!(net[1].as_module().type_name(), "Linear");
    assert!(net.get(4).is_none());
    assert_eq!(net.forward(&ones([5, 2, 2])).unwrap().dims(), [5, 2]);
    *net.get_mut(3).unwrap() = Box::new(Linear::new(3, 7));
    assert_eq!(net.forward(&ones([5, 2, 2])).unwrap().dims(), [5, 7]);
    net.push(Lambda::new(|x: &Tensor| x.sum_axes(&[1], false)));
    assert_eq!(net.forward(&ones([5, 2, 2])).unwrap().dims(), [5]);
    assert_eq!(net.named_children().last().unwrap().0, "4");
    let x = ones([2]);
    assert!(Sequential::new().forward(&x).unwrap().is_same(&x));
    let same: Sequential = (0..3).map(|_| Linear::new(2, 2)).collect();
    assert_eq!(same.parameters().len(), 6);
}

#[test]
fn train_and_eval_reach_every_flag() {
    let net = sequential![Linear::new(2, 2), sequential![Dropout::new(0.5)]];
    assert!(net.is_training());
    net.eval();
    assert!(
        net.named_modules()
            .iter()
            .all(|(_, m)| !m.is_training() || m.named_children().is_empty() && m.type_name() == "ReLU")
    );
    let x = ones([64, 2]);
    let (a, b) = (net.forward(&x).unwrap(), net.forward(&x).unwrap());
    assert!(a.equal(&b).unwrap());
    net.train();
    assert!(net.is_training() && net[1].is_training());
    assert!(Linear::new(1, 1).is_training());
}

#[test]
fn freezing_clearing_and_tying() {
    let net = sequential![Linear::new(2, 2), Linear::new(2, 2)];
    net.forward(&ones([1, 2])).unwrap().sum().unwrap().backward().unwrap();
    assert!(net.parameters().iter().all(|p| p.grad().is_some()));
    net.zero_grad();
    assert!(net.parameters().iter().all(|p| p.grad().is_none()));
    net[0].requires_grad_(false).unwrap();
    net.forward(&ones([1, 2])).unwrap().sum().unwrap().backward().unwrap();
    let with_grad: Vec<bool> = net.parameters().iter().map(|p| p.grad().is_some()).collect();
    assert_eq!(with_grad, [false, false, true, true]);

    let first = Linear::new(2, 2).bias(false);
    let mut second = Linear::new(2, 2).bias(false);
    second.weight = first.weight.clone();
    let tied = sequential![first, second];
    assert_eq!(tied.parameters().len(), 1, "a shared parameter counts once");
    assert_eq!(tied.state_dict().len(), 2, "and is saved under both names");
}

#[test]
fn a_change_of_dtype_reaches_the_handles_of_an_optimizer() {
    let net = Linear::new(2, 2);
    let held = net.parameters();
    net.forward(&ones([1, 2])).unwrap().sum().unwrap().backward().unwrap();
    net.to_dtype(DType::F64).unwrap();
    assert!(held.iter().all(|p| p.dtype() == DType::F64 && p.requires_grad() && p.is_leaf()));
    assert_eq!(held[0].grad().unwrap().dtype(), DType::F64, "gradients are converted too");
    let x = ones([1, 2]).to_dtype(DType::F64).unwrap();
    net.forward(&x).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(held[0].grad().unwrap().to_vec::<f64>().unwrap(), [2.0; 4], "1 from before and 1 from now");
    let error = net.to_dtype(DType::I64).unwrap_err().to_string();
    assert!(error.contains("floating point"), "{error}");
}

#[test]
fn apply_visits_children_before_parents() {
    let net = sequential![Linear::new(1, 1), sequential![ReLU]];
    let mut seen = Vec::new();
    net.apply(|m| {
        seen.push(m.type_name().to_owned());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["Linear", "ReLU", "Sequential", "Sequential"]);
    let failed = net.apply(|m| kiln_nn::init::eye_(&m.parameters().pop().unwrap_or_else(|| ones([1]))));
    assert!(failed.is_err());
}

#[test]
fn modules_work_from_several_threads() {
    let net = Arc::new(Net::new());
    let want = net.forward(&ones([2, 1, 28, 28])).unwrap().to_vec::<f32>().unwrap();
    let results: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| net.forward(&ones([2, 1, 28, 28])).unwrap().to_vec::<f32>().unwrap()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(results.iter().all(|r| *r == want));
}
