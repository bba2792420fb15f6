//! What printing gives.

use anyhow::Result;
use kiln::prelude::*;

use super::Replay;
use super::case::Case;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] =
    &[("print-forms", |c| Ok(print_forms(c)?)), ("print-options", |c| Ok(print_options(c)?))];

/// A shape in Python's words: Kiln prints what stands between the parentheses.
pub fn size_text(t: &Tensor) -> String {
    format!("torch.Size({})", t.shape())
}

fn print_forms(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let r = case.number("r")?;
    let x = Tensor::ones(2).requires_grad_(true)?;
    let forms = [
        ("tensor([1.0, 2.0])", tensor![1.0, 2.0]),
        ("tensor([0.1*r, -2.5, 100.0])", tensor![0.1 * r, -2.5, 100.0]),
        ("tensor([1e-5, 1.0])", tensor![1e-5, 1.0]),
        ("tensor([1e8, 1.0])", tensor![1e8, 1.0]),
        ("tensor([1000000.0])", tensor![1000000.0,]),
        ("tensor([12345.678, 0.001])", tensor![12345.678, 0.001]),
        ("tensor([1.0, nan, inf, -inf])", tensor![1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ("tensor([1.5, nan])", tensor![1.5, f64::NAN]),
        ("tensor([])", tensor![]),
        ("empty(0,3)", Tensor::empty([0, 3])),
        ("tensor([], int64)", Tensor::empty_with(0, I64)),
        ("tensor(7)", tensor!(7)),
        ("tensor(-0.5619)", tensor!(-0.5619)),
        ("tensor(1e-10)", tensor!(1e-10)),
        ("tensor(-115075.4375)", tensor!(-115075.4375)),
        ("tensor(204800.)", tensor!(204800.)),
        ("tensor(True)", tensor!(true)),
        ("tensor([True,False])", tensor![true, false]),
        ("tensor([1,-20,300])", tensor![1, -20, 300]),
        ("int32", tensor!([1, 2]; I32)),
        ("uint8", tensor!([1, 200]; U8)),
        ("float64", tensor!([1.0, 2.5]; F64)),
        ("float16", tensor!([1.0, 2.5]; F16)),
        ("bfloat16", tensor!([1.0, 2.5]; BF16)),
        ("randn(2,3)", Tensor::randn([2, 3])),
        ("randn(2,2,2)", Tensor::randn([2, 2, 2])),
        ("randn(3,12)*r", &Tensor::randn([3, 12]) * r),
        ("arange(1500).reshape(30,50)", Tensor::arange(1500).reshape([30, 50])?),
        ("arange(1001.)", Tensor::arange(1001.)),
        ("zeros(20,60)", Tensor::zeros([20, 60])),
        ("arange(24).reshape(2,3,4)", Tensor::arange(24).reshape([2, 3, 4])?),
        ("arange(60)", Tensor::arange(60)),
        ("ones(2, requires_grad)", x.clone()),
        ("4*x", 4.0 * &x),
        ("(4*x).norm()", (4.0 * &x).vector_norm(2.0, &[], false)?),
        ("x.sum()", x.sum()?),
        ("(x-1).mean()", (&x - 1).mean()?),
        ("x[0]", x.i(0)?),
        ("x.view(1,2)", x.view([1, 2])?),
        ("1-x", 1 - &x),
        ("x@x", x.matmul(&x)?),
        ("-x", -&x),
        ("x/2", &x / 2),
        ("x**2", x.pow(2)?),
        ("x.exp()", x.exp()?),
        ("relu", x.relu()?),
        ("x.detach()", x.detach()),
        ("float64 grad", tensor!([1.0]; F64).requires_grad_(true)?),
    ];
    let mut got: Vec<(&str, String)> = forms.iter().map(|(name, t)| (*name, t.to_string())).collect();
    let parameter = Parameter::new(tensor!([[0.5]]))?;
    let before_rsub = got.iter().position(|(name, _)| *name == "1-x").unwrap_or(got.len());
    got.insert(before_rsub, ("Parameter", parameter.to_string()));
    let got: Vec<Vec<String>> = got.into_iter().map(|(name, text)| vec![name.to_owned(), text]).collect();
    case.is("texts", got)
}

fn print_options(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    case.is("text", Tensor::randn([2, 9]).to_string())?;
    case.is("size_text", size_text(&Tensor::zeros([2, 3])))?;
    case.is("zero_dim_size", size_text(&tensor!(1.0)))?;
    let x = tensor!(0.123456789);
    // Python writes the class before the name.
    case.is("dtype_text", format!("torch.{}", x.dtype()))?;
    case.is("device_text", x.device().to_string())?;
    case.is("format", format!("{x:.6}"))?;
    case.is("format2", format!("{:.2}", tensor!(3.14159)))?;
    case.is("format_plain", tensor!(2.5).item()?.to_string())
}
