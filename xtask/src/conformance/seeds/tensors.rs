//! Making tensors, their shapes and dtypes, and the operations that tutorials begin with.

use anyhow::Result;
use kiln::prelude::*;

use super::Replay;
use super::case::Case;
use super::printing::size_text;

/// The cases of this topic.
pub const CASES: &[(&str, Replay)] = &[
    ("tensor-from-nested-list", |c| Ok(from_nested_list(c)?)),
    ("empty", |c| Ok(empty(c)?)),
    ("zeros-ones-like", |c| Ok(zeros_ones_like(c)?)),
    ("eye", |c| Ok(eye(c)?)),
    ("full", |c| Ok(full(c)?)),
    ("randn-and-like", |c| Ok(randn_and_like(c)?)),
    ("zero-dim", |c| Ok(zero_dim(c)?)),
    ("add-forms", |c| Ok(add_forms(c)?)),
    ("indexing", |c| Ok(indexing(c)?)),
    ("reshape-views", |c| Ok(reshape_views(c)?)),
    ("numpy-shares-memory", |c| Ok(array_shares_memory(c)?)),
    ("from-numpy-shares-memory", |c| Ok(from_array_shares_memory(c)?)),
    ("device-branch", |c| Ok(device_branch(c)?)),
    ("tensor-constructor-rules", |c| Ok(constructor_rules(c)?)),
    ("arange", |c| Ok(arange(c)?)),
    ("linspace-logspace", |c| Ok(linspace_logspace(c)?)),
    ("sampling-constructors", |c| Ok(sampling(c)?)),
    ("clamp", |c| Ok(clamp(c)?)),
    ("erf-lerp-sigmoid", |c| Ok(erf_lerp_sigmoid(c)?)),
    ("argmax-argmin", |c| Ok(argmax_argmin(c)?)),
    ("min-max-forms", |c| Ok(min_max_forms(c)?)),
    ("sum-prod-cum", |c| Ok(sum_prod_cum(c)?)),
    ("norm-dist", |c| Ok(norm_dist(c)?)),
    ("statistics", |c| Ok(statistics(c)?)),
    ("comparisons", |c| Ok(comparisons(c)?)),
    ("isnan-isinf-isfinite", |c| Ok(special_values(c)?)),
    ("cat", |c| Ok(cat(c)?)),
    ("chunk", |c| Ok(chunk(c)?)),
    ("stack-and-mv", |c| Ok(stack_and_mv(c)?)),
    ("len-size-shape", |c| Ok(len_size_shape(c)?)),
    ("mixed-literal", |c| Ok(mixed_literal(c)?)),
    ("fancy-indexing", |c| Ok(fancy_indexing(c)?)),
    ("dtype-change", |c| Ok(dtype_change(c)?)),
];

fn from_nested_list(case: &Case<'_>) -> Result<()> {
    let x = tensor![[1, 2], [3, 4]];
    case.is("tensor", &x)?;
    case.is("text", x.to_string())?;
    case.is("size_text", size_text(&x))
}

fn empty(case: &Case<'_>) -> Result<()> {
    let x = Tensor::empty([3, 5]);
    case.is("shape", x.dims())?;
    case.is("dtype", x.dtype().name())?;
    case.is("like_shape", x.empty_like()?.dims())
}

fn zeros_ones_like(case: &Case<'_>) -> Result<()> {
    let zeros = Tensor::zeros([3, 5]);
    let ones = Tensor::ones_with([3, 5], I64);
    case.is("zeros", &zeros)?;
    case.is("zeros_like", zeros.zeros_like()?)?;
    case.is("ones", &ones)?;
    case.is("ones_like", ones.ones_like()?)?;
    case.is("text", ones.to_string())?;
    case.is("zeros_text", zeros.to_string())
}

fn eye(case: &Case<'_>) -> Result<()> {
    let x = Tensor::eye(4);
    case.is("eye_n", &x)?;
    case.is("eye_n_m", Tensor::eye_rect(4, 4))?;
    case.is("text", x.to_string())
}

fn full(case: &Case<'_>) -> Result<()> {
    let x = Tensor::full([2, 3], -1.0);
    let like = Tensor::full_with(x.shape(), -2, I32);
    case.is("full", &x)?;
    case.is("full_like", &like)?;
    case.is("texts", vec![x.to_string(), like.to_string()])
}

fn randn_and_like(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let x = Tensor::randn([3, 5]);
    let y = Tensor::randn_with(x.shape(), F64);
    case.is("randn", &x)?;
    case.is("randn_like", &y)?;
    case.is("text", x.to_string())?;
    case.is("text_double", y.to_string())
}

fn zero_dim(case: &Case<'_>) -> Result<()> {
    let (scalar, vector) = (tensor!(3.14), tensor![3.14,]);
    case.is("texts", vec![scalar.to_string(), vector.to_string()])?;
    case.is("sizes", vec![size_text(&scalar), size_text(&vector)])?;
    case.is("item", scalar.item()?.to_f64())?;
    case.is("dims", vec![scalar.rank(), vector.rank()])
}

fn add_forms(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let (x, y, z) = (Tensor::rand([2, 2]), Tensor::rand([2, 2]), Tensor::empty([2, 2]));
    let before = z.data();
    let sum = &x + &y;
    z.copy_(&x.add(&y)?)?;
    case.is("x", &x)?;
    case.is("sum", &sum)?;
    case.is("equal_forms", x.add(&y)?.equal(&sum)? && z.equal(&sum)?)?;
    case.is("out_keeps_storage", z.shares_storage(&before))?;
    let memory = y.data();
    y.add_(&x)?;
    case.is("y_after", &y)?;
    // A method in place gives no tensor back in Rust; that it works on `y` itself is what counts.
    case.is("inplace_returns_itself", y.shares_storage(&memory))?;
    case.is("z_text", z.to_string())?;
    z.zero_()?;
    case.is("z_zeroed", &z)
}

fn indexing(case: &Case<'_>) -> Result<()> {
    let x = tensor![[1, 2, 3], [4, 5, 6]];
    case.is("element", x.i((0, 0))?)?;
    case.is("element_text", x.i((0, 0))?.to_string())?;
    case.is("row", x.i(0)?)?;
    case.is("row_slice", x.i(0..1)?)?;
    case.is("block", x.i((0..1, 0..1))?)?;
    case.is("item", x.i((0..1, 0..1))?.item()?.to::<i64>())?;
    case.is("item_of_row", x.i(0)?.item())
}

fn reshape_views(case: &Case<'_>) -> Result<()> {
    let x = Tensor::randn([4, 4]);
    let column = x.i((.., NewAxis))?;
    let views = [
        ("view(-1,8)", x.view([-1, 8])?),
        ("view(-1,4,4)", x.view([-1, 4, 4])?),
        ("view(1,4,4)", x.view([1, 4, 4])?),
        ("unsqueeze(0)", x.unsqueeze(0)?),
        ("unsqueeze(1)", x.unsqueeze(1)?),
        ("x[None]", x.i(NewAxis)?),
        ("x[:,None]", column.clone()),
        ("view(16)", x.view(16)?),
        ("x[:,None].squeeze()", column.squeeze()?),
        ("x[:,None].squeeze(1)", column.squeeze_axis(1)?),
        ("x[:,None].squeeze(0)", column.squeeze_axis(0)?),
    ];
    for (name, view) in &views {
        case.is(&format!("shapes/{name}"), view.dims())?;
    }
    case.is("all_share_storage", views.iter().all(|(_, view)| view.shares_storage(&x)))?;
    case.is("view(3,5)", x.view([3, 5]))?;
    case.is("view_of_transposed", x.t()?.view(16))
}

fn array_shares_memory(case: &Case<'_>) -> Result<()> {
    let a = Tensor::ones(3);
    a.add_(1)?;
    case.is("array_after_tensor_add", a.as_ndarray::<f32>()?.iter().copied().collect::<Vec<_>>())?;
    *a.as_ndarray_mut::<f32>()? += 1.0;
    case.is("tensor_after_array_add", &a)
}

fn from_array_shares_memory(case: &Case<'_>) -> Result<()> {
    let array = kiln::ndarray::Array1::<f64>::ones(3);
    let b = Tensor::from_ndarray(array)?;
    case.is("text", b.to_string())?;
    *b.as_ndarray_mut::<f64>()? += 1.0;
    case.is("tensor_after_array_add", b.to_vec::<f64>()?)?;
    b.add_(1)?;
    case.is("array_after_tensor_add", b.as_ndarray::<f64>()?.iter().copied().collect::<Vec<_>>())?;
    case.is("dtype", b.dtype().name())
}

fn device_branch(case: &Case<'_>) -> Result<()> {
    case.remark("measured_here")?;
    let x = Tensor::rand([4, 4]);
    let Ok(device) = gpu() else {
        case.remark("with_accelerator")?;
        return case.is("without", "CUDA isn't available!");
    };
    case.remark("without")?;
    let y = x.ones_like()?.to(device)?;
    let z = x.to(device)? + y;
    let back = z.to((Device::CPU, F64))?;
    let same = back.equal(&(&x + 1.0).to(F64)?)?;
    case.criterion("with_accelerator", same && back.dtype() == F64)
}

fn constructor_rules(case: &Case<'_>) -> Result<()> {
    let mut source = vec![vec![1, 2], vec![3, 4]];
    let copied = Tensor::new(&source)?;
    source[0][0] = 99;
    let made = [
        tensor![],
        tensor![1,],
        tensor!(1.0),
        tensor![[1, 2], [3, 4]],
        tensor![[1.0, 2.0], [3.0, 4.0]],
        copied,
        tensor![true, false],
        tensor![1.0, 2.5],
    ];
    case.is("texts", made.iter().map(Tensor::to_string).collect::<Vec<_>>())?;
    case.is("dtypes", made.iter().map(|t| t.dtype().name()).collect::<Vec<_>>())?;
    case.is("shapes", made.iter().map(Tensor::dims).collect::<Vec<_>>())?;
    case.is("ragged", Tensor::new(vec![vec![1, 2], vec![3]]))
}

fn arange(case: &Case<'_>) -> Result<()> {
    let x = Tensor::arange(10);
    case.is("arange10", &x)?;
    let x = Tensor::arange(12).view([3, 4])?;
    case.is("view", &x)?;
    case.is("stepped", Tensor::arange_step(0, 12, 3)?)?;
    case.is("text", x.to_string())?;
    case.is("float", Tensor::arange_with(4, F32))?;
    case.is("float_step", Tensor::arange_step(0.0, 1.0, 0.25)?)?;
    case.is("zero_step", Tensor::arange_step(0, 1, 0))
}

fn linspace_logspace(case: &Case<'_>) -> Result<()> {
    case.is("linspace", Tensor::linspace(1, 10, 3))?;
    case.is("logspace", Tensor::logspace(0, 2, 3, 10.0))?;
    let big = Tensor::linspace(-3, 3, 100_000).view([-1, 1])?;
    case.is("big", &big)?;
    case.is("big_last", big.i((-1, 0))?)?;
    case.is("big_at_12345", big.i((12345, 0))?)
}

fn sampling(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let a = Tensor::randn([2, 3]);
    let draws = vec![
        a.clone(),
        a.randn_like()?,
        Tensor::normal(2.0, 0.5, 3)?,
        Tensor::rand(4),
        a.rand_like()?,
        Tensor::randint(0, 10, 5)?,
        a.randint_like(2, 9)?,
        Tensor::randperm(8),
    ];
    case.is("draws", draws)
}

fn clamp(case: &Case<'_>) -> Result<()> {
    let a = case.tensor("a")?;
    case.is("both", a.clamp(-0.9, 0.9)?)?;
    case.is("min0", a.clamp_min(0)?)?;
    case.is("max0", a.clamp_max(0)?)
}

fn erf_lerp_sigmoid(case: &Case<'_>) -> Result<()> {
    let a = case.tensor("a")?;
    case.is("erf", a.erf()?)?;
    case.is("sigmoid", a.sigmoid()?)?;
    let lerp = Tensor::zeros(10).lerp(&Tensor::ones(10), case.number("weight")?)?;
    case.is("lerp", &lerp)?;
    case.is("text", lerp.to_string())
}

fn argmax_argmin(case: &Case<'_>) -> Result<()> {
    let a = case.tensor("a")?;
    case.is("argmax", a.argmax(None, false)?)?;
    case.is("argmin1", a.argmin(1, false)?)?;
    case.is("argmin0", a.argmin(0, false)?)?;
    case.is("argmax_keepdim", a.argmax(1, true)?)?;
    // Rust has no second name for an argument: the last axis, counted from either end.
    case.is("axis_alias", a.argmax(1, false)?.equal(&a.argmax(-1, false)?)?)
}

fn min_max_forms(case: &Case<'_>) -> Result<()> {
    let (a, b) = (case.tensor("a")?, case.tensor("b")?);
    case.is("min", a.min()?)?;
    case.is("max", a.max()?)?;
    let (values, indices) = a.min_axis(1, false)?;
    case.is("min_dim1_values", values)?;
    case.is("min_dim1_indices", indices)?;
    let (values, indices) = a.max_axis(0, false)?;
    case.is("max_dim0_values", values)?;
    case.is("max_dim0_indices", indices)?;
    case.is("min_other", a.minimum(&b)?)?;
    case.is("max_other", a.maximum(&b)?)
}

fn sum_prod_cum(case: &Case<'_>) -> Result<()> {
    let a = case.tensor("a")?;
    case.is("sum", a.sum()?)?;
    case.is("sum1", a.sum_axes(&[1], false)?)?;
    case.is("sum_keep", a.sum_axes(&[1], true)?)?;
    case.is("prod", a.prod()?)?;
    case.is("prod0", a.prod_axes(&[0], false)?)?;
    let n = Tensor::arange(1..10);
    case.is("cumprod", n.cumprod(0)?)?;
    case.is("cumsum", n.cumsum(0)?)?;
    case.is("sum_dtype", n.to_dtype(F64)?.sum()?)?;
    case.is("sum_uint8", tensor!([100, 200]; U8).sum()?)?;
    case.is("sum_bool", tensor![true, true, false].sum()?)
}

fn norm_dist(case: &Case<'_>) -> Result<()> {
    let a = Tensor::full([3, 4], case.number("fill")?);
    let norm = a.vector_norm(2.0, &[], false)?;
    let rows = a.vector_norm(2.0, &[1], false)?;
    case.is("norm", &norm)?;
    case.is("norm1", &rows)?;
    case.is("norm_p1", a.vector_norm(1.0, &[], false)?)?;
    let dist = Tensor::ones([2, 3]).dist(&Tensor::zeros([2, 3]), 2.0)?;
    case.is("dist", &dist)?;
    case.is("sqrt6", tensor!(6.0).sqrt()?)?;
    case.is("texts", vec![norm.to_string(), rows.to_string(), dist.to_string()])
}

fn statistics(case: &Case<'_>) -> Result<()> {
    let a = case.tensor("a")?;
    case.is("mean", a.mean()?)?;
    case.is("std", a.std()?)?;
    case.is("var", a.var()?)?;
    case.is("var_population", a.var_axes(&[], 0.0, false)?)?;
    let (mode, at) = a.mode(-1, false)?;
    case.is("mode", vec![mode, at])?;
    case.is("median", a.median()?)?;
    let m = a.view([2, 3])?;
    let (median, at) = m.median_axis(1, false)?;
    case.is("median1", vec![median, at])?;
    case.is("mean0", m.mean_axes(&[0], false)?)?;
    case.is("std1", m.std_axes(&[1], 1.0, false)?)?;
    case.is("mean_of_ints", tensor![1, 2].mean())
}

fn comparisons(case: &Case<'_>) -> Result<()> {
    let (a, b) = (case.tensor("a")?, case.tensor("b")?);
    case.is("ne", a.ne(&b)?)?;
    case.is("eq", a.eq(&b)?)?;
    case.is("gt", a.gt(&b)?)?;
    case.is("ge", a.ge(&b)?)?;
    case.is("lt", a.lt(&b)?)?;
    case.is("le", a.le(&b)?)?;
    let (value, at) = a.kthvalue(2, -1, false)?;
    case.is("kthvalue2", vec![value, at])?;
    let (values, at) = a.topk(2, -1, true)?;
    case.is("topk2", vec![values, at])?;
    let (values, at) = a.sort(-1, false)?;
    case.is("sort", vec![values, at])?;
    case.is("sort_desc", a.argsort(-1, true)?)?;
    case.is("text", a.gt(&b)?.to_string())
}

fn special_values(case: &Case<'_>) -> Result<()> {
    let x = tensor![1.0, f64::INFINITY, 2.0, f64::NEG_INFINITY, f64::NAN];
    case.is("isnan", tensor![1.0, f64::NAN, 2.0].isnan()?)?;
    case.is("isinf", x.isinf()?)?;
    case.is("isfinite", x.isfinite()?)?;
    case.is("text", x.to_string())?;
    case.is("texts", vec![x.isnan()?.to_string()])
}

fn cat(case: &Case<'_>) -> Result<()> {
    case.seed()?;
    let (a, b) = (Tensor::randn([2, 3]), Tensor::randn([4, 3]));
    let (c, d) = (Tensor::randn([3, 4]), Tensor::randn([3, 5]));
    let columns = Tensor::cat(&[&c, &d], 1)?;
    case.is("rows", Tensor::cat(&[&a, &b], 0)?)?;
    case.is("columns", &columns)?;
    case.is("text", columns.to_string())?;
    case.is("mismatch", Tensor::cat(&[&a, &c], 0))
}

fn chunk(case: &Case<'_>) -> Result<()> {
    let x = Tensor::arange(20).view([4, 5])?;
    let (rows, columns) = (x.chunk(2, 0)?, x.chunk(2, 1)?);
    case.is("views", rows.iter().chain(&columns).all(|part| part.shares_storage(&x)))?;
    // Python prints a tuple.
    case.is("text", format!("{:?}", (&columns[0], &columns[1])))?;
    case.is("rows", rows)?;
    case.is("columns", columns)
}

fn stack_and_mv(case: &Case<'_>) -> Result<()> {
    let x = tensor![1.4, 5.0, 11.0, 16.0, 21.0];
    let columns = Tensor::stack(&[&x, &Tensor::ones(5)], 1)?;
    let y = columns.mv(&Tensor::new(case.numbers("w")?)?)?;
    case.is("X_text", columns.to_string())?;
    case.is("X", &columns)?;
    case.is("mv", &y)?;
    case.is("squares", y.square()?.sum()?)
}

fn len_size_shape(case: &Case<'_>) -> Result<()> {
    let x = Tensor::randn([1000, 2]);
    case.is("len", x.size(0)?)?;
    case.is("size", size_text(&x))?;
    case.is("size0", x.size(0)?)?;
    case.is("numel", x.numel())?;
    case.is("from_shape", Tensor::zeros(x.shape()).dims())?;
    case.is("reshape", Tensor::randn(1000).reshape([-1, 1])?.dims())
}

fn mixed_literal(case: &Case<'_>) -> Result<()> {
    let x = tensor![2., -3.4];
    case.is("tensor", &x)?;
    case.is("text", x.to_string())?;
    case.is("as_double", x.to_dtype(F64)?.to_vec::<f64>()?)
}

fn fancy_indexing(case: &Case<'_>) -> Result<()> {
    let p = case.tensor("p")?;
    case.is("picked", p.i(([0, 1, 2, 3], case.ints("y")?))?)?;
    case.is("rows", p.i([3, 0, 3])?)?;
    case.is("column", p.i((.., 1))?)?;
    case.is("negative", p.i(-1)?)?;
    case.is("out_of_range", p.i([4]))
}

fn dtype_change(case: &Case<'_>) -> Result<()> {
    let x = tensor![1.7, -2.7, 0.0];
    case.is("to_int", x.to_dtype(I64)?)?;
    case.is("bool", x.to_dtype(BOOL)?)?;
    case.is("double", x.to_dtype(F64)?.to_string())?;
    case.is("float", f64::try_from(&tensor![2.5,])?)?;
    case.is("int", i64::try_from(&tensor![3.7,])?)?;
    case.is("float_of_two", f64::try_from(&tensor![1.0, 2.0]))
}
