//! Reductions, scans, orders, products.

use kiln_autograd::{Interpolation, Tensor, einsum, tensor};

use super::rows::{List, Row, rows};

rows! {
    "sum" -2.0 to 2.0 [2, 3] => |x| x[0].sum();
    "sum_axes" -2.0 to 2.0 [2, 3, 2] => |x| x[0].sum_axes(&[0, -1], true);
    "sum_to_size" -2.0 to 2.0 [2, 3] => |x| x[0].sum_to_size([1, 3]);
    "nansum" -2.0 to 2.0 [2, 3] => |x| x[0].nansum(&[1], false);
    "nanmean" -2.0 to 2.0 [2, 3] => |x| x[0].nanmean(&[1], false);
    "mean" -2.0 to 2.0 [2, 3] => |x| x[0].mean();
    "mean_axes" -2.0 to 2.0 [2, 3] => |x| x[0].mean_axes(&[0], false);
    "prod" 0.5 to 2.0 [2, 3] => |x| x[0].prod();
    "prod_axes" 0.5 to 2.0 [2, 3] => |x| x[0].prod_axes(&[1], false);
    "amax" -2.0 to 2.0 [2, 3] => |x| x[0].amax(&[1], false);
    "amin" -2.0 to 2.0 [2, 3] => |x| x[0].amin(&[1], false);
    "max" -2.0 to 2.0 [2, 3] => |x| x[0].max();
    "min" -2.0 to 2.0 [2, 3] => |x| x[0].min();
    "max_axis" -2.0 to 2.0 [2, 3] => |x| x[0].max_axis(1, false);
    "min_axis" -2.0 to 2.0 [2, 3] => |x| x[0].min_axis(1, true);
    "var_axes" -2.0 to 2.0 [2, 4] => |x| x[0].var_axes(&[1], 1.0, false);
    "std_axes" -2.0 to 2.0 [2, 4] => |x| x[0].std_axes(&[1], 1.0, false);
    "var" -2.0 to 2.0 [2, 3] => |x| x[0].var();
    "std" -2.0 to 2.0 [2, 3] => |x| x[0].std();
    "std_mean" -2.0 to 2.0 [2, 4] => |x| x[0].std_mean(&[1], 1.0, false);
    "var_mean" -2.0 to 2.0 [2, 4] => |x| x[0].var_mean(&[1], 0.0, true);
    "logsumexp" -2.0 to 2.0 [2, 3] => |x| x[0].logsumexp(&[1], false);
    "cumsum" -2.0 to 2.0 [2, 3] => |x| x[0].cumsum(1);
    "cumprod" 0.5 to 2.0 [2, 3] => |x| x[0].cumprod(1);
    "logcumsumexp" -2.0 to 2.0 [2, 3] => |x| x[0].logcumsumexp(1);
    "cummax" -2.0 to 2.0 [2, 4] => |x| x[0].cummax(1);
    "cummin" -2.0 to 2.0 [2, 4] => |x| x[0].cummin(1);
    "diff" -2.0 to 2.0 [2, 4] => |x| x[0].diff(2, 1, None, None);
    "sort" -2.0 to 2.0 [2, 4] => |x| x[0].sort(1, true);
    "msort" -2.0 to 2.0 [3, 2] => |x| x[0].msort();
    "topk" -2.0 to 2.0 [2, 4] => |x| x[0].topk(2, 1, true);
    "kthvalue" -2.0 to 2.0 [2, 4] => |x| x[0].kthvalue(2, 1, false);
    "median" -2.0 to 2.0 [2, 4] => |x| x[0].median();
    "median_axis" -2.0 to 2.0 [2, 3] => |x| x[0].median_axis(1, false);
    "nanmedian" -2.0 to 2.0 [2, 4] => |x| x[0].nanmedian();
    "nanmedian_axis" -2.0 to 2.0 [2, 3] => |x| x[0].nanmedian_axis(1, true);
    "mode" -2.0 to 2.0 [2, 3] => |x| x[0].mode(1, false);
    "quantile" -2.0 to 2.0 [2, 4] => |x| x[0].quantile(0.3, 1, false, Interpolation::Linear);

    "matmul" -2.0 to 2.0 [2, 2, 3] [3, 2] => |x| x[0].matmul(&x[1]);
    "mm" -2.0 to 2.0 [2, 3] [3, 2] => |x| x[0].mm(&x[1]);
    "bmm" -2.0 to 2.0 [2, 2, 3] [2, 3, 2] => |x| x[0].bmm(&x[1]);
    "mv" -2.0 to 2.0 [2, 3] [3] => |x| x[0].mv(&x[1]);
    "dot" -2.0 to 2.0 [3] [3] => |x| x[0].dot(&x[1]);
    "linear" -2.0 to 2.0 [2, 3] [4, 3] [4] => |x| x[0].linear(&x[1], Some(&x[2]));
    "linear" -2.0 to 2.0 [2, 3] [4, 3] => |x| x[0].linear(&x[1], None);
    "addmm" -2.0 to 2.0 [2, 2] [2, 3] [3, 2] => |x| x[0].addmm(&x[1], &x[2], 0.5, 2.0);
    "addmv" -2.0 to 2.0 [2] [2, 3] [3] => |x| x[0].addmv(&x[1], &x[2], 0.5, 2.0);
    "addr" -2.0 to 2.0 [2, 3] [2] [3] => |x| x[0].addr(&x[1], &x[2], 0.5, 2.0);
    "addbmm" -2.0 to 2.0 [2, 2] [2, 2, 3] [2, 3, 2] => |x| x[0].addbmm(&x[1], &x[2], 0.5, 2.0);
    "baddbmm" -2.0 to 2.0 [2, 2, 2] [2, 2, 3] [2, 3, 2] => |x| x[0].baddbmm(&x[1], &x[2], 0.5, 2.0);
    "outer" -2.0 to 2.0 [2] [3] => |x| x[0].outer(&x[1]);
    "inner" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].inner(&x[1]);
    "vdot" -2.0 to 2.0 [3] [3] => |x| x[0].vdot(&x[1]);
    "vecdot" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].vecdot(&x[1], -1);
    "tensordot" -2.0 to 2.0 [2, 3, 2] [2, 3] => |x| x[0].tensordot(&x[1], &[2, 1], &[0, 1]);
    "matrix_power" -1.0 to 1.0 [3, 3] => |x| x[0].matrix_power(3);
    "einsum" -2.0 to 2.0 [2, 3] [3, 2] => |x| einsum("ij,jk->ki", &[&x[0], &x[1]]);
    "kron" -2.0 to 2.0 [2, 2] [1, 3] => |x| x[0].kron(&x[1]);
    "trace" -2.0 to 2.0 [3, 3] => |x| x[0].trace();

    "vector_norm" -2.0 to 2.0 [2, 3] => |x| x[0].vector_norm(2.0, &[1], false);
    "vector_norm" -2.0 to 2.0 [2, 3] => |x| x[0].vector_norm(3.0, &[], false);
    "dist" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].dist(&x[1], 2.0);
    "pairwise_distance" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].pairwise_distance(&x[1], 2.0, 1e-6, false);
    "normalize" -2.0 to 2.0 [2, 3] => |x| x[0].normalize(2.0, &[1], 1e-12);
    "cosine_similarity" -2.0 to 2.0 [2, 3] [2, 3] => |x| x[0].cosine_similarity(&x[1], 1, 1e-8);
    "renorm" -2.0 to 2.0 [2, 3] => |x| x[0].renorm(2.0, 0, 1.0);

    "index_add" -2.0 to 2.0 [3, 2] [2, 2] => |x| x[0].index_add(0, &tensor![2, 0], &x[1]);
    "index_add_scaled" -2.0 to 2.0 [3, 2] [2, 2] => |x| x[0].index_add_scaled(0, &tensor![2, 2], &x[1], 0.5);
}
