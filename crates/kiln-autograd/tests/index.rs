//! Picking and placing elements: values, gradients and errors of PyTorch 2.15.

mod cases;

use cases::*;
use kiln_autograd::*;

#[test]
fn slices_along_an_axis() {
    case(
        "IndexSelectBackward0",
        |x, _| x.index_select(1, &i(&[3, 0, 3])),
        &[3, 3],
        &[2.25, -2.25, 2.25, -1.75, -0.25, -1.75, 0.25, 1.75, 0.25],
        &[1.0, 0.0, 0.0, 2.0, 2.5, 0.0, 0.0, 2.5, 1.5, 0.0, 0.0, 3.0],
        &[],
    );
    case(
        "IndexAddBackward0",
        |x, s| x.index_add(0, &i(&[2, 0, 2]), s),
        &[3, 4],
        &[0.3125, 2.0625, 0.8125, 5.5625, -0.25, 3.25, 0.75, -1.75, 3.875, 3.875, 6.875, 3.875],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[2.0, 2.5, 0.5, 1.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.5, 0.5, 1.0],
    );
    case(
        "IndexAddBackward0",
        |x, s| x.index_add_scaled(1, &i(&[1, 1, 0]), &s.narrow(1, 0, 3)?, -2.0),
        &[3, 4],
        &[-8.375, -3.5, -1.25, 2.25, -4.375, -3.5, 0.75, -1.75, -0.375, -9.5, 2.75, 0.25],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[-2.0, -2.0, -1.0, 0.0, -1.0, -1.0, -5.0, 0.0, -5.0, -5.0, -4.0, 0.0],
    );
    case(
        "IndexCopyBackward0",
        |x, s| x.index_copy(1, &i(&[2, 0]), &s.narrow(1, 1, 2)?),
        &[3, 4],
        &[3.0625, 1.25, 1.8125, 2.25, 2.0625, 3.25, 0.8125, -1.75, 1.0625, -0.75, 2.8125, 0.25],
        &[0.0, 1.0, 0.0, 2.0, 0.0, 0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[0.0, 1.5, 0.5, 0.0, 0.0, 1.0, 2.5, 0.0, 0.0, 0.5, 2.0, 0.0],
    );
    case(
        "IndexFillBackward0",
        |x, _| x.index_fill(1, &i(&[2, -1]), 7.0),
        &[3, 4],
        &[-2.25, 1.25, 7.0, 7.0, -0.25, 3.25, 7.0, 7.0, 1.75, -0.75, 7.0, 7.0],
        &[0.5, 1.0, 0.0, 0.0, 2.5, 0.5, 0.0, 0.0, 2.0, 2.5, 0.0, 0.0],
        &[],
    );
    case(
        "IndexFillBackward1",
        |x, s| x.index_fill(1, &i(&[2, 0, 2]), &s.select(0, 1)?.select(0, 2)?),
        &[3, 4],
        &[2.0625, 1.25, 2.0625, 2.25, 2.0625, 3.25, 2.0625, -1.75, 2.0625, -0.75, 2.0625, 0.25],
        &[0.0, 1.0, 0.0, 2.0, 0.0, 0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "IndexReduceBackward0",
        |x, s| x.index_reduce(0, &i(&[1, 1, 0]), s, ScatterReduction::Prod, true),
        &[3, 4],
        &[
            -3.515625,
            3.515625,
            -1.328125,
            5.203125,
            -0.3603515625,
            4.7861328125,
            4.7373046875,
            -7.6083984375,
            1.75,
            -0.75,
            2.75,
            0.25,
        ],
        &[
            0.78125,
            2.8125,
            1.59375,
            4.625,
            3.603515625,
            0.736328125,
            6.31640625,
            6.521484375,
            2.0,
            2.5,
            0.5,
            1.0,
        ],
        &[
            -1.6015625, 1.3203125, 1.546875, -8.6953125, -0.3515625, 2.9453125, 2.296875, -3.4453125, -1.125,
            1.25, -1.875, 4.5,
        ],
    );
    case(
        "IndexReduceBackward0",
        |x, s| x.index_reduce(0, &i(&[1, 1, 0]), s, ScatterReduction::Mean, false),
        &[3, 4],
        &[1.5625, 2.8125, 1.0625, 2.3125, 1.5625, 1.3125, 2.5625, 2.3125, 1.75, -0.75, 2.75, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 2.5, 0.5, 1.0],
        &[1.25, 0.25, 0.5, 0.75, 1.25, 0.25, 0.5, 0.75, 0.5, 1.0, 1.5, 2.0],
    );
    case(
        "IndexReduceBackward0",
        |x, s| x.index_reduce(0, &i(&[1, 1, 0]), s, ScatterReduction::Amax, true),
        &[3, 4],
        &[1.5625, 2.8125, 1.0625, 2.3125, 2.5625, 3.25, 3.0625, 3.3125, 1.75, -0.75, 2.75, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 2.5, 0.5, 1.0],
        &[0.0, 0.0, 1.0, 0.0, 2.5, 0.0, 0.0, 1.5, 0.5, 1.0, 1.5, 2.0],
    );
    case(
        "IndexReduceBackward0",
        |x, s| x.index_reduce(0, &i(&[1, 1, 0]), s, ScatterReduction::Amin, false),
        &[3, 4],
        &[1.5625, 2.8125, 1.0625, 2.3125, 0.5625, 0.8125, 2.0625, 1.3125, 1.75, -0.75, 2.75, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 2.5, 0.5, 1.0],
        &[2.5, 0.0, 0.0, 1.5, 0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 1.5, 2.0],
    );
}

#[test]
fn elements_of_the_flattened_tensor() {
    case(
        "TakeBackward0",
        |x, _| x.take(&i(&[5, -1, 5])),
        &[3],
        &[3.25, 0.25, 3.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        &[],
    );
    case(
        "PutBackward0",
        |x, s| x.put(&i(&[3, 8, 0]), &s.narrow(0, 0, 1)?.narrow(1, 0, 3)?, false),
        &[3, 4],
        &[3.0625, 1.25, -1.25, 0.5625, -0.25, 3.25, 0.75, -1.75, 1.8125, -0.75, 2.75, 0.25],
        &[0.0, 1.0, 1.5, 0.0, 2.5, 0.5, 1.0, 1.5, 0.0, 2.5, 0.5, 1.0],
        &[2.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "PutBackward0",
        |x, s| x.put(&i(&[3, 3, 0]), &s.narrow(0, 0, 1)?.narrow(1, 0, 3)?, true),
        &[3, 4],
        &[0.8125, 1.25, -1.25, 4.625, -0.25, 3.25, 0.75, -1.75, 1.75, -0.75, 2.75, 0.25],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[2.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn an_index_for_each_element() {
    case(
        "GatherBackward0",
        |x, _| x.gather(1, &i2([3, 2], &[0, 3, 1, 1, 2, 0])),
        &[3, 2],
        &[-2.25, 2.25, 3.25, 3.25, 2.75, 1.75],
        &[0.5, 0.0, 0.0, 1.0, 0.0, 3.5, 0.0, 0.0, 0.5, 0.0, 2.5, 0.0],
        &[],
    );
    case(
        "GatherBackward0",
        |x, _| x.take_along_dim(&i2([3, 1], &[0, 3, 1]), 1),
        &[3, 1],
        &[-2.25, -1.75, -0.75],
        &[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.5, 0.0, 0.0],
        &[],
    );
    case(
        "GatherBackward0",
        |x, _| x.take_along_dim(&i2([1, 4], &[0, 2, -1, 1]), 0),
        &[1, 4],
        &[-2.25, -0.75, 2.75, -1.75],
        &[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 1.5, 0.0],
        &[],
    );
    case(
        "GatherBackward0",
        |x, _| x.take_along_dim(&i(&[4, 4, 11]), None),
        &[3],
        &[-0.25, -0.25, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5],
        &[],
    );
    case(
        "ScatterBackward0",
        |x, s| x.scatter(1, &i2([2, 3], &[0, 3, 1, 1, 2, 0]), s),
        &[3, 4],
        &[0.5625, 3.0625, -1.25, 1.8125, 2.0625, 2.5625, 0.8125, -1.75, 1.75, -0.75, 2.75, 0.25],
        &[0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[0.5, 2.0, 1.0, 0.0, 0.5, 1.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "ScatterBackward1",
        |x, _| x.scatter(1, &i2([2, 3], &[0, 3, 1, 1, 2, 0]), 4.0),
        &[3, 4],
        &[4.0, 4.0, -1.25, 4.0, 4.0, 4.0, 4.0, -1.75, 1.75, -0.75, 2.75, 0.25],
        &[0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[],
    );
    case(
        "ScatterAddBackward0",
        |x, s| x.scatter_add(0, &i2([3, 4], &[0, 2, 1, 1, 2, 0, 0, 0, 1, 1, 2, 2]), s),
        &[3, 4],
        &[-1.6875, 2.0625, 0.8125, 5.5625, 1.3125, 6.0625, 3.8125, -0.4375, 4.3125, 1.0625, 3.8125, 2.5625],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[0.5, 2.5, 1.0, 1.5, 2.0, 1.0, 1.5, 2.0, 2.5, 0.5, 0.5, 1.0],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Sum,
                true,
            )
        },
        &[3, 4],
        &[0.875, 2.0625, 0.8125, 5.5625, 1.3125, 3.25, 3.8125, 1.875, 1.75, 3.875, 3.8125, 0.25],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[0.5, 2.5, 1.0, 1.5, 0.5, 1.0, 1.5, 2.0, 2.5, 2.5, 0.5, 1.5],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Sum,
                false,
            )
        },
        &[3, 4],
        &[3.125, 0.8125, 2.0625, 3.3125, 1.5625, 3.25, 3.0625, 3.625, 1.75, 4.625, 1.0625, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
        &[0.5, 2.5, 1.0, 1.5, 0.5, 1.0, 1.5, 2.0, 2.5, 2.5, 0.5, 1.5],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Prod,
                true,
            )
        },
        &[3, 4],
        &[
            -3.2431640625,
            1.015625,
            -2.578125,
            7.453125,
            -0.390625,
            3.25,
            2.296875,
            -5.3115234375,
            1.75,
            -3.8232421875,
            2.921875,
            0.25,
        ],
        &[
            0.720703125,
            0.8125,
            3.09375,
            6.625,
            3.90625,
            0.5,
            3.0625,
            4.552734375,
            2.0,
            12.744140625,
            0.53125,
            1.0,
        ],
        &[
            -2.8828125, -5.2734375, 0.75, -6.0703125, -0.6328125, 1.25, -1.875, 4.5, -0.625, -3.3984375,
            1.375, -3.4453125,
        ],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Prod,
                false,
            )
        },
        &[3, 4],
        &[
            1.44140625, 0.8125, 2.0625, 3.3125, 1.5625, 3.25, 3.0625, 3.03515625, 1.75, 5.09765625, 1.0625,
            0.25,
        ],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
        &[1.28125, 7.03125, 1.0, 3.46875, 0.28125, 1.0, 1.5, 2.0, 2.5, 4.53125, 0.5, 1.96875],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Mean,
                true,
            )
        },
        &[3, 4],
        &[
            0.291666666667,
            1.03125,
            0.40625,
            2.78125,
            0.65625,
            3.25,
            1.90625,
            0.625,
            1.75,
            1.291666666667,
            1.90625,
            0.25,
        ],
        &[0.166666666667, 0.5, 0.75, 1.0, 1.25, 0.5, 0.5, 0.5, 2.0, 0.833333333333, 0.25, 1.0],
        &[
            0.166666666667,
            0.833333333333,
            0.5,
            0.5,
            0.166666666667,
            0.5,
            0.75,
            1.0,
            1.25,
            0.833333333333,
            0.25,
            0.5,
        ],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Mean,
                false,
            )
        },
        &[3, 4],
        &[1.5625, 0.8125, 2.0625, 3.3125, 1.5625, 3.25, 3.0625, 1.8125, 1.75, 2.3125, 1.0625, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
        &[0.25, 1.25, 1.0, 0.75, 0.25, 1.0, 1.5, 2.0, 2.5, 1.25, 0.5, 0.75],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Amax,
                true,
            )
        },
        &[3, 4],
        &[2.5625, 1.25, 2.0625, 3.3125, 1.5625, 3.25, 3.0625, 2.3125, 1.75, 2.8125, 2.75, 0.25],
        &[0.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.5, 1.0],
        &[0.0, 0.0, 1.0, 0.0, 0.5, 0.0, 1.5, 2.0, 2.5, 2.5, 0.0, 1.5],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Amax,
                false,
            )
        },
        &[3, 4],
        &[2.5625, 0.8125, 2.0625, 3.3125, 1.5625, 3.25, 3.0625, 2.3125, 1.75, 2.8125, 1.0625, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
        &[0.0, 0.0, 1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 2.5, 0.5, 1.5],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Amin,
                true,
            )
        },
        &[3, 4],
        &[-2.25, 0.8125, -1.25, 2.25, -0.25, 3.25, 0.75, -1.75, 1.75, -0.75, 1.0625, 0.25],
        &[0.5, 0.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.0, 1.0],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                s,
                ScatterReduction::Amin,
                false,
            )
        },
        &[3, 4],
        &[0.5625, 0.8125, 2.0625, 3.3125, 1.5625, 3.25, 3.0625, 1.3125, 1.75, 1.8125, 1.0625, 0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
        &[0.5, 2.5, 1.0, 1.5, 0.0, 1.0, 1.5, 2.0, 2.5, 0.0, 0.5, 0.0],
    );
}

#[test]
fn zeros_and_ties_in_reductions() {
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.mul(&x.detach().gt(0)?.to_dtype(DType::F64)?)?.scatter_reduce(
                0,
                &i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]),
                &s.sub(1.8125)?,
                ScatterReduction::Prod,
                true,
            )
        },
        &[3, 4],
        &[0.0, -1.25, -0.0, 3.375, 0.0, 3.25, 0.9375, 0.0, 1.75, -0.0, -2.0625, 0.25],
        &[-0.0, -1.0, 0.0, 3.0, -0.0, 0.5, 1.25, -0.0, 2.0, 0.0, -0.375, 1.0],
        &[-0.0, -0.0, 0.75, -0.0, 0.0, 1.25, -0.0, 4.5, -0.0, -0.0, 1.375, 0.0],
    );
    case(
        "ScatterReduceBackward0",
        |x, s| {
            x.mul(0.0)?.scatter_reduce(
                0,
                &i2([1, 4], &[0, 2, 1, 1]),
                &s.narrow(0, 0, 1)?.mul(0.0)?,
                ScatterReduction::Amax,
                true,
            )
        },
        &[3, 4],
        &[-0.0, 0.0, -0.0, 0.0, -0.0, 0.0, 0.0, -0.0, 0.0, -0.0, 0.0, 0.0],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn views_of_copies() {
    case(
        "SelectScatterBackward0",
        |x, s| x.select_scatter(&s.select(0, 1)?, 0, -1),
        &[3, 4],
        &[-2.25, 1.25, -1.25, 2.25, -0.25, 3.25, 0.75, -1.75, 2.5625, 0.8125, 2.0625, 3.3125],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 0.0, 0.0, 0.0, 0.0],
        &[0.0, 0.0, 0.0, 0.0, 2.0, 2.5, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "SliceScatterBackward0",
        |x, s| x.slice_scatter(&s.narrow(1, 0, 2)?, 1, Some(0), None, 2),
        &[3, 4],
        &[0.5625, 1.25, 1.8125, 2.25, 2.5625, 3.25, 0.8125, -1.75, 1.5625, -0.75, 2.8125, 0.25],
        &[0.0, 1.0, 0.0, 2.0, 0.0, 0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[0.5, 1.5, 0.0, 0.0, 2.5, 1.0, 0.0, 0.0, 2.0, 0.5, 0.0, 0.0],
    );
    case(
        "DiagonalScatterBackward0",
        |x, s| x.diagonal_scatter(&s.narrow(1, 0, 1)?.squeeze()?, 1, 0, 1),
        &[3, 4],
        &[-2.25, 0.5625, -1.25, 2.25, -0.25, 3.25, 2.5625, -1.75, 1.75, -0.75, 2.75, 1.5625],
        &[0.5, 0.0, 1.5, 2.0, 2.5, 0.5, 0.0, 1.5, 2.0, 2.5, 0.5, 0.0],
        &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn masks() {
    case(
        "MaskedFillBackward0",
        |x, _| x.masked_fill(&x.detach().gt(0.5)?, 9.0),
        &[3, 4],
        &[-2.25, 9.0, -1.25, 9.0, -0.25, 9.0, 9.0, -1.75, 9.0, -0.75, 9.0, 0.25],
        &[0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[],
    );
    case(
        "MaskedFillBackward1",
        |x, s| x.masked_fill(&x.detach().gt(0.5)?, &s.select(0, 0)?.select(0, 1)?),
        &[3, 4],
        &[-2.25, 1.8125, -1.25, 1.8125, -0.25, 1.8125, 1.8125, -1.75, 1.8125, -0.75, 1.8125, 0.25],
        &[0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "MaskedFillBackward0",
        |x, _| x.narrow(0, 0, 1)?.masked_fill(&x.detach().gt(0.5)?, 9.0),
        &[3, 4],
        &[-2.25, 9.0, -1.25, 9.0, -2.25, 9.0, 9.0, 2.25, 9.0, 1.25, 9.0, 2.25],
        &[3.0, 2.5, 1.5, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        &[],
    );
    case(
        "MaskedSelectBackward0",
        |x, _| x.masked_select(&x.detach().gt(0.5)?),
        &[6],
        &[1.25, 2.25, 3.25, 0.75, 1.75, 2.75],
        &[0.0, 0.5, 0.0, 1.0, 0.0, 1.5, 2.0, 0.0, 2.5, 0.0, 0.5, 0.0],
        &[],
    );
    case(
        "MaskedSelectBackward0",
        |x, _| x.narrow(0, 1, 1)?.masked_select(&x.detach().gt(0.5)?),
        &[6],
        &[3.25, -1.75, 3.25, 0.75, -0.25, 0.75],
        &[0.0, 0.0, 0.0, 0.0, 2.5, 2.0, 2.5, 1.0, 0.0, 0.0, 0.0, 0.0],
        &[],
    );
    case(
        "MaskedScatterBackward0",
        |x, s| x.masked_scatter(&x.detach().gt(0.5)?, s),
        &[3, 4],
        &[-2.25, 0.5625, -1.25, 1.8125, -0.25, 3.0625, 1.3125, -1.75, 2.5625, -0.75, 0.8125, 0.25],
        &[0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[1.0, 2.0, 0.5, 1.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn index_tensors() {
    case(
        "IndexBackward0",
        |x, _| x.index(&[Some(&i(&[2, 0, -1]))]),
        &[3, 4],
        &[1.75, -0.75, 2.75, 0.25, -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25],
        &[2.5, 0.5, 1.0, 1.5, 0.0, 0.0, 0.0, 0.0, 2.5, 3.5, 2.0, 3.0],
        &[],
    );
    case(
        "IndexBackward0",
        |x, _| x.index(&[Some(&i2([2, 1], &[2, 0])), Some(&i(&[1, 1, -1]))]),
        &[2, 3],
        &[-0.75, -0.75, 0.25, 1.25, 1.25, 2.25],
        &[0.0, 4.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 1.5],
        &[],
    );
    case(
        "IndexBackward0",
        |x, _| x.index(&[None, Some(&i(&[3, 3]))]),
        &[3, 2],
        &[2.25, 2.25, -1.75, -1.75, 0.25, 0.25],
        &[0.0, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 3.5, 0.0, 0.0, 0.0, 3.0],
        &[],
    );
    case(
        "IndexBackward0",
        |x, _| x.index(&[Some(&x.detach().gt(0.5)?)]),
        &[6],
        &[1.25, 2.25, 3.25, 0.75, 1.75, 2.75],
        &[0.0, 0.5, 0.0, 1.0, 0.0, 1.5, 2.0, 0.0, 2.5, 0.0, 0.5, 0.0],
        &[],
    );
    case(
        "IndexBackward0",
        |x, _| x.reshape([3, 2, 2])?.index(&[Some(&i(&[0, 2])), None, Some(&i(&[1, 1]))]),
        &[2, 2],
        &[1.25, 2.25, -0.75, 0.25],
        &[0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 2.0],
        &[],
    );
    case(
        "IndexPutBackward0",
        |x, s| x.index_put(&[Some(&i(&[0, 2]))], &s.narrow(0, 1, 1)?, false),
        &[3, 4],
        &[2.5625, 0.8125, 2.0625, 3.3125, -0.25, 3.25, 0.75, -1.75, 2.5625, 0.8125, 2.0625, 3.3125],
        &[0.0, 0.0, 0.0, 0.0, 2.5, 0.5, 1.0, 1.5, 0.0, 0.0, 0.0, 0.0],
        &[0.0, 0.0, 0.0, 0.0, 2.5, 3.5, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "IndexPutBackward0",
        |x, s| x.index_put(&[Some(&i(&[0, 0])), Some(&i(&[1, 1]))], &s.select(0, 0)?.narrow(0, 0, 2)?, true),
        &[3, 4],
        &[-2.25, 3.625, -1.25, 2.25, -0.25, 3.25, 0.75, -1.75, 1.75, -0.75, 2.75, 0.25],
        &[0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0, 1.5, 2.0, 2.5, 0.5, 1.0],
        &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "IndexPutBackward0",
        |x, s| x.index_put(&[Some(&x.detach().gt(0.5)?)], &s.select(0, 0)?.select(0, 3)?, false),
        &[3, 4],
        &[-2.25, 1.3125, -1.25, 1.3125, -0.25, 1.3125, 1.3125, -1.75, 1.3125, -0.75, 1.3125, 0.25],
        &[0.5, 0.0, 1.5, 0.0, 2.5, 0.0, 0.0, 1.5, 0.0, 2.5, 0.0, 1.0],
        &[0.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn rows_of_a_table() {
    case(
        "EmbeddingBackward0",
        |x, _| x.embedding(&i2([2, 3], &[0, 2, 2, 1, 0, 2]), None, false),
        &[2, 3, 4],
        &[
            -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25, 1.75, -0.75, 2.75, 0.25, -0.25, 3.25, 0.75,
            -1.75, -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25,
        ],
        &[1.5, 2.5, 3.5, 4.5, 1.5, 2.0, 2.5, 0.5, 5.0, 4.0, 3.0, 4.5],
        &[],
    );
    case(
        "EmbeddingBackward0",
        |x, _| x.embedding(&i2([2, 3], &[0, 2, 2, 1, 0, 2]), -1, false),
        &[2, 3, 4],
        &[
            -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25, 1.75, -0.75, 2.75, 0.25, -0.25, 3.25, 0.75,
            -1.75, -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25,
        ],
        &[1.5, 2.5, 3.5, 4.5, 1.5, 2.0, 2.5, 0.5, 0.0, 0.0, 0.0, 0.0],
        &[],
    );
    // Gradients scaled by frequency are not those of the values, so differences do not agree with theirs.
    case_once(
        "EmbeddingBackward0",
        |x, _| x.embedding(&i2([2, 3], &[0, 2, 2, 1, 0, 2]), 1, true),
        &[2, 3, 4],
        &[
            -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25, 1.75, -0.75, 2.75, 0.25, -0.25, 3.25, 0.75,
            -1.75, -2.25, 1.25, -1.25, 2.25, 1.75, -0.75, 2.75, 0.25,
        ],
        &[0.75, 1.25, 1.75, 2.25, 0.0, 0.0, 0.0, 0.0, 1.666666666667, 1.333333333333, 1.0, 1.5],
        &[],
    );
}

#[test]
fn in_place_forms() {
    let at = || i(&[2, 0, 2]);
    in_place(&|x, s| x.index_add(0, &at(), s), |x, s| x.index_add_(0, &at(), s));
    in_place(&|x, s| x.index_add_scaled(0, &at(), s, 3), |x, s| x.index_add_scaled_(0, &at(), s, 3));
    in_place(&|x, s| x.index_copy(0, &i(&[2, 0, 1]), s), |x, s| x.index_copy_(0, &i(&[2, 0, 1]), s));
    in_place(&|x, _| x.index_fill(0, &at(), 2.0), |x, _| x.index_fill_(0, &at(), 2.0));
    in_place(&|x, s| x.put(&i(&(0..12).collect::<Vec<_>>()), s, true), |x, s| {
        x.put_(&i(&(0..12).collect::<Vec<_>>()), s, true)
    });
    let each = || i2([3, 4], &[0, 2, 1, 1, 0, 0, 0, 0, 1, 2, 2, 1]);
    in_place(&|x, s| x.scatter(1, &i2([2, 2], &[0, 3, 2, 1]), s), |x, s| {
        x.scatter_(1, &i2([2, 2], &[0, 3, 2, 1]), s)
    });
    in_place(&|x, s| x.scatter_add(0, &each(), s), |x, s| x.scatter_add_(0, &each(), s));
    use ScatterReduction::*;
    for (reduce, own) in [(Sum, true), (Prod, true), (Prod, false), (Mean, true), (Amax, true), (Amin, false)]
    {
        in_place(&|x, s| x.scatter_reduce(0, &each(), s, reduce, own), |x, s| {
            x.scatter_reduce_(0, &each(), s, reduce, own)
        });
        if reduce != Sum {
            in_place(&|x, s| x.index_reduce(0, &at(), s, reduce, own), |x, s| {
                x.index_reduce_(0, &at(), s, reduce, own)
            });
        }
    }
    let mask = || inputs().0.detach().gt(0.5).unwrap();
    in_place(&|x, _| x.masked_fill(&mask(), 4), |x, _| x.masked_fill_(&mask(), 4));
    in_place(&|x, s| x.masked_fill(&mask(), &s.sum()?), |x, s| x.masked_fill_(&mask(), &s.sum()?));
    in_place(&|x, s| x.masked_scatter(&mask(), s), |x, s| x.masked_scatter_(&mask(), s));
    for accumulate in [false, true] {
        in_place(&|x, s| x.index_put(&[None, Some(&i(&[3, 1]))], &s.narrow(1, 0, 2)?, accumulate), |x, s| {
            x.index_put_(&[None, Some(&i(&[3, 1]))], &s.narrow(1, 0, 2)?, accumulate)
        });
    }
}

#[test]
fn a_change_of_a_view_shows_in_its_base() {
    // The second column of a matrix is filled; the same as filling with a mask.
    in_place(
        &|x, s| x.masked_fill(&Tensor::from_vec([false, true, false, false].repeat(3), [3, 4])?, &s.sum()?),
        |x, s| {
            let column = x.select(1, 1)?;
            column.masked_fill_(&Tensor::full([3], true), &s.sum()?)
        },
    );
}

#[test]
fn an_index_may_cover_a_part_of_the_source() {
    let index = i2([1, 2], &[1, 0]);
    for reduce in [ScatterReduction::Prod, ScatterReduction::Amax] {
        let (_, _, s) = gradients(&|x, s| x.scatter_reduce(0, &index, s, reduce, true));
        assert!(s[2..].iter().all(|&g| g == 0.0));
    }
    second_derivatives(&|x, s| x.scatter_reduce(0, &index, s, ScatterReduction::Prod, true));
}

#[test]
fn the_second_derivative_of_a_product_with_two_zeros_in_one_place_is_an_error() {
    let (x, s) = inputs();
    let y = x
        .scatter_reduce(0, &i2([2, 1], &[0, 0]), &s.mul(0.0).unwrap(), ScatterReduction::Prod, true)
        .unwrap();
    let options = BackwardOptions { create_graph: true, ..Default::default() };
    let g = grad(&[&y.sum().unwrap()], &[&s], &[], options, false).unwrap()[0].clone().unwrap();
    fails(g.sum().unwrap().backward(), "double backward");
}

#[test]
fn where_elements_are() {
    // torch.nonzero(torch.tensor([[0, 3], [4, 0]])), torch.where of it
    let x = i2([2, 2], &[0, 3, 4, 0]);
    assert_eq!(x.nonzero().unwrap().to_vec::<i64>().unwrap(), [0, 1, 1, 0]);
    assert_eq!(x.argwhere().unwrap().dims(), [2, 2]);
    let places = x.where_().unwrap();
    assert_eq!(places[1].to_vec::<i64>().unwrap(), [1, 0]);
    let again = x.index(&places.iter().map(Some).collect::<Vec<_>>()).unwrap();
    assert_eq!(again.to_vec::<i64>().unwrap(), [3, 4]);
    assert_eq!(Tensor::scalar(5i64).unwrap().nonzero().unwrap().dims(), [1, 0]);
}

#[test]
fn classes_places_and_counts() {
    // torch.nn.functional.one_hot(torch.tensor([2, 0]))
    assert_eq!(i(&[2, 0]).one_hot(None).unwrap().to_vec::<i64>().unwrap(), [0, 0, 1, 1, 0, 0]);
    assert_eq!(i(&[2, 0]).one_hot(4).unwrap().dims(), [2, 4]);
    // torch.bucketize(torch.tensor([1., 3., 9.]), torch.tensor([1., 3., 5.]), right=...)
    let bounds = f(&[1.0, 3.0, 5.0]);
    let right = SearchOptions { right: true, ..Default::default() };
    let values = f(&[1.0, 3.0, 9.0]);
    assert_eq!(
        values.bucketize(&bounds, SearchOptions::default()).unwrap().to_vec::<i64>().unwrap(),
        [0, 1, 3]
    );
    assert_eq!(values.bucketize(&bounds, right).unwrap().to_vec::<i64>().unwrap(), [1, 2, 3]);
    // torch.searchsorted(torch.tensor([5., 1., 3.]), torch.tensor([2., 4.]), sorter=torch.tensor([1, 2, 0]))
    let places =
        f(&[5.0, 1.0, 3.0]).searchsorted(&f(&[2.0, 4.0]), Some(&i(&[1, 2, 0])), SearchOptions::default());
    assert_eq!(places.unwrap().to_vec::<i64>().unwrap(), [1, 2]);
    // torch.bincount(torch.tensor([1, 3, 1]), minlength=5), with weights
    assert_eq!(i(&[1, 3, 1]).bincount(None, 5).unwrap().to_vec::<i64>().unwrap(), [0, 2, 0, 1, 0]);
    let sums = i(&[1, 3, 1]).bincount(Some(&f(&[0.5, 1.0, 2.0])), 0).unwrap();
    assert_eq!(sums.to_vec::<f64>().unwrap(), [0.0, 2.5, 0.0, 1.0]);
    // torch.histc(torch.tensor([1., 2., 1.]), bins=4, min=0, max=3)
    assert_eq!(
        f(&[1.0, 2.0, 1.0]).histc(4, 0.0, 3.0).unwrap().to_vec::<f64>().unwrap(),
        [0.0, 2.0, 1.0, 0.0]
    );
    // torch.unravel_index(torch.tensor([5, 7, -1]), (2, 3))
    let places = i(&[5, 7, -1]).unravel_index([2, 3]).unwrap();
    assert_eq!(places[0].to_vec::<i64>().unwrap(), [1, 0, 1]);
    assert_eq!(places[1].to_vec::<i64>().unwrap(), [2, 1, 2]);
}

#[test]
fn errors() {
    let (x, s) = inputs();
    fails(x.index_select(0, &i(&[3])), "out of");
    fails(x.index_select(2, &i(&[0])), "Dimension out of range");
    fails(x.index_add(0, &i(&[0]), &s), "Number of indices (1) should be equal to source.size(dim): (3)");
    fails(x.index_fill(0, &i(&[0]), &s), "only supports a 0-dimensional value tensor");
    fails(x.index_reduce(0, &i(&[0, 1, 2]), &s, ScatterReduction::Sum, true), "prod, mean, amax or amin");
    fails(x.gather(0, &i(&[0])), "same number of dimensions");
    fails(x.scatter(0, &i2([4, 4], &[0; 16]), &s), "no larger");
    fails(x.masked_fill(&s, 0.0), "only supports boolean masks");
    fails(x.masked_scatter(&x.ge(-9.0).unwrap(), &s.narrow(0, 0, 1).unwrap()), "< number of ones in mask");
    fails(x.index(&[]), "at least one index");
    fails(x.index(&[Some(&s)]), "tensors used as indices must be long, int, byte or bool tensors");
    fails(x.index_put(&[Some(&i(&[0]))], &i(&[1]), false), "dtypes match");
    fails(x.select_scatter(&s, 0, 0), "expected src to have a size equal to the slice of self");
    fails(x.embedding(&i(&[3]), None, false), "out of");
    fails(x.embedding(&i(&[0]), 3, false), "padding_idx must be within num_embeddings");
    fails(i(&[-1]).one_hot(None), "Class values must be non-negative");
    fails(s.unravel_index([3]), "expected 'indices' to be integer dtype");
    fails(i(&[-1]).bincount(None, 0), "non-negative");
    fails(x.take(&i(&[12])), "out of");
    fails(x.put(&i(&[0, 1]), &s, false), "same number of elements");
}
