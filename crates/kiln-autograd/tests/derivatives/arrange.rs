//! Views, copies, joins, indices, masks.

use kiln_autograd::{
    Alignment, DType, Indexing, InterpolateMode, MemoryFormat, PadMode, ScatterReduction, Tensor, tensor,
};

use super::rows::{List, Row, rows};

rows! {
    "view" -2.0 to 2.0 [2, 6] => |x| x[0].view([3, 4]);
    "reshape" -2.0 to 2.0 [2, 6] => |x| x[0].t()?.reshape([3, 4]);
    "view_as" -2.0 to 2.0 [2, 2] => |x| x[0].view_as(&tensor![1., 2., 3., 4.]);
    "reshape_as" -2.0 to 2.0 [2, 2] => |x| x[0].reshape_as(&tensor![1., 2., 3., 4.]);
    "flatten" -2.0 to 2.0 [2, 2, 2] => |x| x[0].flatten(1, -1);
    "unflatten" -2.0 to 2.0 [2, 4] => |x| x[0].unflatten(1, [2, 2]);
    "permute" -2.0 to 2.0 [2, 3, 2] => |x| x[0].permute(&[2, 0, 1]);
    "transpose" -2.0 to 2.0 [2, 3] => |x| x[0].transpose(0, 1);
    "swapaxes" -2.0 to 2.0 [2, 3] => |x| x[0].swapaxes(0, 1);
    "t" -2.0 to 2.0 [2, 3] => |x| x[0].t();
    "movedim" -2.0 to 2.0 [2, 3, 2] => |x| x[0].movedim(&[0], &[2]);
    "expand" -2.0 to 2.0 [2, 1] => |x| x[0].expand([2, 3]);
    "expand_as" -2.0 to 2.0 [2, 1] => |x| x[0].expand_as(&Tensor::zeros([2, 3]));
    "broadcast_to" -2.0 to 2.0 [2, 1] => |x| x[0].broadcast_to([3, 2, 2]);
    "unsqueeze" -2.0 to 2.0 [2] => |x| x[0].unsqueeze(0);
    "squeeze" -2.0 to 2.0 [1, 2, 1] => |x| x[0].squeeze();
    "squeeze_axis" -2.0 to 2.0 [1, 2, 1] => |x| x[0].squeeze_axis(0);
    "squeeze_axes" -2.0 to 2.0 [1, 2, 1] => |x| x[0].squeeze_axes(&[0, 2]);
    "narrow" -2.0 to 2.0 [4, 2] => |x| x[0].narrow(0, 1, 2);
    "slice" -2.0 to 2.0 [5] => |x| x[0].slice(0, Some(0), None, 2);
    "select" -2.0 to 2.0 [3, 2] => |x| x[0].select(0, 1);
    "diagonal" -2.0 to 2.0 [3, 3] => |x| x[0].diagonal(1, 0, 1);
    "split" -2.0 to 2.0 [5, 2] => |x| x[0].split(2, 0);
    "split_with_sizes" -2.0 to 2.0 [5, 2] => |x| x[0].split_with_sizes(&[1, 4], 0);
    "chunk" -2.0 to 2.0 [5, 2] => |x| x[0].chunk(2, 0);
    "unbind" -2.0 to 2.0 [2, 3] => |x| x[0].unbind(1);
    "unfold" -2.0 to 2.0 [5] => |x| x[0].unfold(0, 3, 1);
    "as_strided" -2.0 to 2.0 [6] => |x| x[0].as_strided(&[3, 2], &[1, 2], Some(1));

    "copy" -2.0 to 2.0 [2, 3] => |x| x[0].copy();
    "contiguous" -2.0 to 2.0 [2, 3] => |x| x[0].t()?.contiguous();
    "copy_in" -2.0 to 2.0 [1, 2, 2, 2] => |x| x[0].copy_in(MemoryFormat::ChannelsLast);
    "contiguous_in" -2.0 to 2.0 [1, 2, 2, 2] => |x| x[0].contiguous_in(MemoryFormat::ChannelsLast);
    "to" -2.0 to 2.0 [2] => |x| x[0].to((kiln_autograd::Device::CPU, DType::F64));
    "to_dtype" -2.0 to 2.0 [2] => |x| x[0].to_dtype(DType::F64);
    "to_dtype_in" -2.0 to 2.0 [1, 2, 2, 2] => |x| x[0].to_dtype_in(DType::F64, MemoryFormat::ChannelsLast);
    "to_device" -2.0 to 2.0 [2] => |x| x[0].to_device(x[0].device());

    "cat" -2.0 to 2.0 [2, 2] [1, 2] => |x| Tensor::cat(&[&x[0], &x[1]], 0);
    "stack" -2.0 to 2.0 [2, 2] [2, 2] => |x| Tensor::stack(&[&x[0], &x[1]], 1);
    "hstack" -2.0 to 2.0 [2, 2] [2, 1] => |x| Tensor::hstack(&[&x[0], &x[1]]);
    "vstack" -2.0 to 2.0 [2, 2] [1, 2] => |x| Tensor::vstack(&[&x[0], &x[1]]);
    "dstack" -2.0 to 2.0 [2, 2] [2, 2] => |x| Tensor::dstack(&[&x[0], &x[1]]);
    "column_stack" -2.0 to 2.0 [2] [2] => |x| Tensor::column_stack(&[&x[0], &x[1]]);
    "atleast_1d" -2.0 to 2.0 [] => |x| x[0].atleast_1d();
    "atleast_2d" -2.0 to 2.0 [2] => |x| x[0].atleast_2d();
    "atleast_3d" -2.0 to 2.0 [2] => |x| x[0].atleast_3d();
    "broadcast_tensors" -2.0 to 2.0 [2, 1] [3] => |x| Tensor::broadcast_tensors(&[&x[0], &x[1]]);
    "block_diag" -2.0 to 2.0 [2, 2] [1, 2] => |x| Tensor::block_diag(&[&x[0], &x[1]]);
    "meshgrid" -2.0 to 2.0 [2] [3] => |x| Tensor::meshgrid(&[&x[0], &x[1]], Indexing::Ij);
    "cartesian_prod" -2.0 to 2.0 [2] [3] => |x| Tensor::cartesian_prod(&[&x[0], &x[1]]);
    "combinations" -2.0 to 2.0 [3] => |x| x[0].combinations(2, false);
    "tensor_split" -2.0 to 2.0 [5] => |x| x[0].tensor_split(2, 0);
    "hsplit" -2.0 to 2.0 [2, 4] => |x| x[0].hsplit(2);
    "vsplit" -2.0 to 2.0 [4, 2] => |x| x[0].vsplit(2);
    "dsplit" -2.0 to 2.0 [1, 2, 4] => |x| x[0].dsplit(2);

    "repeat" -2.0 to 2.0 [2] => |x| x[0].repeat(&[2, 3]);
    "tile" -2.0 to 2.0 [2, 2] => |x| x[0].tile(&[2]);
    "repeat_interleave" -2.0 to 2.0 [2, 2] => |x| x[0].repeat_interleave(2, 0);
    "repeat_interleave_by" -2.0 to 2.0 [2, 2] => |x| x[0].repeat_interleave_by(&tensor![1, 3], 0);
    "flip" -2.0 to 2.0 [2, 3] => |x| x[0].flip(&[1]);
    "fliplr" -2.0 to 2.0 [2, 3] => |x| x[0].fliplr();
    "flipud" -2.0 to 2.0 [2, 3] => |x| x[0].flipud();
    "roll" -2.0 to 2.0 [2, 3] => |x| x[0].roll(&[1], &[1]);
    "rot90" -2.0 to 2.0 [2, 3] => |x| x[0].rot90(1, &[0, 1]);
    "pad" -2.0 to 2.0 [1, 2, 4] => |x| x[0].pad(&[1, 2], PadMode::Reflect);
    "pad" -2.0 to 2.0 [1, 2, 4] => |x| x[0].pad(&[1, 2], PadMode::Replicate);
    "constant_pad_nd" -2.0 to 2.0 [2, 3] => |x| x[0].constant_pad_nd(&[1, -1, 0, 2], 0.5);
    "interpolate" -2.0 to 2.0 [1, 1, 3, 3] => |x| {
        x[0].interpolate(&[4, 2], InterpolateMode::Linear, Alignment { align_corners: false, scales: None })
    };
    "interpolate" -2.0 to 2.0 [1, 1, 4] => |x| {
        x[0].interpolate(&[7], InterpolateMode::Nearest, Alignment { align_corners: false, scales: None })
    };
    "interpolate" -2.0 to 2.0 [1, 1, 3, 3] => |x| {
        x[0].interpolate(&[4, 4], InterpolateMode::Bicubic, Alignment { align_corners: true, scales: None })
    };

    "tril" -2.0 to 2.0 [3, 3] => |x| x[0].tril(0);
    "triu" -2.0 to 2.0 [3, 3] => |x| x[0].triu(1);
    "diag" -2.0 to 2.0 [3] => |x| x[0].diag(1);
    "diag" -2.0 to 2.0 [3, 3] => |x| x[0].diag(0);
    "diag_embed" -2.0 to 2.0 [2, 2] => |x| x[0].diag_embed(0, -2, -1);
    "diagflat" -2.0 to 2.0 [2, 2] => |x| x[0].diagflat(0);

    "index_select" -2.0 to 2.0 [3, 2] => |x| x[0].index_select(0, &tensor![2, 0, 2]);
    "index_copy" -2.0 to 2.0 [3, 2] [2, 2] => |x| x[0].index_copy(0, &tensor![2, 0], &x[1]);
    "index_fill" -2.0 to 2.0 [3, 2] => |x| x[0].index_fill(0, &tensor![2, 0], 0.5);
    "index_reduce" 0.5 to 2.0 [3, 2] [2, 2] => |x| {
        x[0].index_reduce(0, &tensor![2, 0], &x[1], ScatterReduction::Prod, true)
    };
    "take" -2.0 to 2.0 [3, 2] => |x| x[0].take(&tensor![5, 0, 5]);
    "put" -2.0 to 2.0 [3, 2] [2] => |x| x[0].put(&tensor![4, 1], &x[1], true);
    "index" -2.0 to 2.0 [3, 2] => |x| x[0].index(&[Some(&tensor![2, 0, 2])]);
    "index_put" -2.0 to 2.0 [3, 2] [2, 2] => |x| x[0].index_put(&[Some(&tensor![2, 0])], &x[1], false);
    "gather" -2.0 to 2.0 [2, 3] => |x| x[0].gather(1, &tensor![[0, 0], [2, 1]]);
    "take_along_dim" -2.0 to 2.0 [2, 3] => |x| x[0].take_along_dim(&tensor![[0, 0], [2, 1]], 1);
    "scatter" -2.0 to 2.0 [2, 3] [2, 2] => |x| x[0].scatter(1, &tensor![[0, 1], [2, 1]], &x[1]);
    "scatter_add" -2.0 to 2.0 [2, 3] [2, 2] => |x| x[0].scatter_add(1, &tensor![[0, 0], [2, 1]], &x[1]);
    "scatter_reduce" 0.5 to 2.0 [2, 3] [2, 2] => |x| {
        x[0].scatter_reduce(1, &tensor![[0, 0], [2, 1]], &x[1], ScatterReduction::Mean, true)
    };
    "scatter_reduce" 0.5 to 2.0 [2, 3] [2, 2] => |x| {
        x[0].scatter_reduce(1, &tensor![[0, 0], [2, 1]], &x[1], ScatterReduction::Amax, true)
    };
    "select_scatter" -2.0 to 2.0 [3, 2] [2] => |x| x[0].select_scatter(&x[1], 0, 1);
    "slice_scatter" -2.0 to 2.0 [4, 2] [2, 2] => |x| x[0].slice_scatter(&x[1], 0, Some(0), None, 2);
    "diagonal_scatter" -2.0 to 2.0 [3, 3] [3] => |x| x[0].diagonal_scatter(&x[1], 0, 0, 1);
    "masked_fill" -2.0 to 2.0 [2, 3] => |x| x[0].masked_fill(&tensor![true, false, true], 0.5);
    "masked_select" -2.0 to 2.0 [2, 3] => |x| x[0].masked_select(&tensor![true, false, true]);
    "masked_scatter" -2.0 to 2.0 [2, 3] [4] => |x| {
        x[0].masked_scatter(&tensor![[true, false, true], [false, false, true]], &x[1])
    };
    "embedding" -2.0 to 2.0 [4, 2] => |x| x[0].embedding(&tensor![[1, 3], [1, 0]], None, false);
}
