//! Layers of images: sampling, windows, shuffles, powers; and distances between rows.

use kiln_autograd::{F64, GridMode, GridPadding, Tensor, tensor};

use super::rows::{List, Row, rows};

rows! {
    "grid_sample" -0.9 to 0.9 [1, 2, 3, 3] [1, 2, 2, 2] => |x| {
        x[0].grid_sample(&x[1], GridMode::Bilinear, GridPadding::Zeros, false)
    };
    "grid_sample" -0.9 to 0.9 [1, 1, 3, 3] [1, 2, 2, 2] => |x| {
        x[0].grid_sample(&x[1], GridMode::Bicubic, GridPadding::Border, true)
    };
    "grid_sample" -1.4 to 1.4 [1, 1, 3, 3] [1, 2, 2, 2] => |x| {
        x[0].grid_sample(&x[1], GridMode::Bilinear, GridPadding::Reflection, false)
    };
    "grid_sample" -0.9 to 0.9 [1, 1, 2, 3, 2] [1, 1, 2, 1, 3] => |x| {
        x[0].grid_sample(&x[1], GridMode::Bilinear, GridPadding::Zeros, true)
    };
    "grid_sample" -0.9 to 0.9 [1, 1, 3, 3] [1, 2, 2, 2] => |x| {
        x[0].grid_sample(&x[1], GridMode::Nearest, GridPadding::Zeros, false)
    };
    "affine_grid" -2.0 to 2.0 [1, 2, 3] => |x| x[0].affine_grid(&[1, 1, 2, 3], false);
    "affine_grid" -2.0 to 2.0 [1, 3, 4] => |x| x[0].affine_grid(&[1, 1, 2, 1, 3], true);

    "im2col" -2.0 to 2.0 [1, 2, 4, 3] => |x| x[0].im2col([2, 2], [1, 1], [1, 0], [2, 1]);
    "col2im" -2.0 to 2.0 [1, 4, 6] => |x| x[0].col2im([3, 4], [2, 2], [1, 1], [0, 0], [1, 1]);
    "pixel_shuffle" -2.0 to 2.0 [1, 4, 2, 1] => |x| x[0].pixel_shuffle(2);
    "pixel_unshuffle" -2.0 to 2.0 [1, 1, 2, 4] => |x| x[0].pixel_unshuffle(2);
    "channel_shuffle" -2.0 to 2.0 [1, 4, 2] => |x| x[0].channel_shuffle(2);

    "lp_pool1d" 0.3 to 2.0 [1, 2, 6] => |x| x[0].lp_pool1d(3.0, [2], [2], false);
    "lp_pool2d" 0.3 to 2.0 [1, 1, 4, 3] => |x| x[0].lp_pool2d(2.0, [2, 2], [1, 1], false);
    "lp_pool3d" 0.3 to 2.0 [1, 1, 2, 2, 3] => |x| x[0].lp_pool3d(2.0, [2, 2, 2], [1, 1, 1], false);
    "max_unpool1d" -2.0 to 2.0 [1, 1, 3] => |x| {
        x[0].max_unpool1d(&tensor!([[[0, 3, 4]]]), [2], [2], [0], None)
    };
    "max_unpool2d" -2.0 to 2.0 [1, 1, 2, 2] => |x| {
        x[0].max_unpool2d(&tensor!([[[[0, 3], [9, 14]]]]), [2, 2], [2, 2], [0, 0], None)
    };
    "max_unpool3d" -2.0 to 2.0 [1, 1, 1, 1, 2] => |x| {
        x[0].max_unpool3d(&tensor!([[[[[5, 10]]]]]), [2, 2, 2], [2, 2, 2], [0, 0, 0], None)
    };
    "fractional_max_pool2d" -2.0 to 2.0 [1, 1, 5, 5] => |x| {
        x[0].fractional_max_pool2d([2, 2], [3, 2], Some(&tensor!([[[0.3, 0.7]]]; F64)))
    };
    "fractional_max_pool3d" -2.0 to 2.0 [1, 1, 3, 4, 3] => |x| {
        x[0].fractional_max_pool3d([2, 2, 2], [2, 2, 2], Some(&tensor!([[[0.3, 0.7, 0.5]]]; F64)))
    };
    "local_response_norm" -2.0 to 2.0 [1, 4, 2] => |x| x[0].local_response_norm(3, 0.5, 0.75, 1.0);

    "bilinear" -1.0 to 1.0 [2, 2] [2, 3] [2, 2, 3] [2] => |x| x[0].bilinear(&x[1], &x[2], Some(&x[3]));
    "cdist" -2.0 to 2.0 [3, 2] [2, 2] => |x| x[0].cdist(&x[1], 2.0);
    "cdist" -2.0 to 2.0 [3, 2] [2, 2] => |x| x[0].cdist(&x[1], 1.0);
    "cdist" -2.0 to 2.0 [2, 3, 2] [2, 2] => |x| x[0].cdist(&x[1], 3.0);
    "cdist" -2.0 to 2.0 [26, 1] [2, 1] => |x| x[0].cdist(&x[1], 2.0);
    "pdist" -2.0 to 2.0 [3, 2] => |x| x[0].pdist(2.0);
    "pdist" -2.0 to 2.0 [3, 2] => |x| x[0].pdist(1.0);
}
