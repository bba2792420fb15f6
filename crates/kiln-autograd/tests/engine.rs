//! The backward engine's behaviour, against values worked out by hand or by PyTorch.

use kiln_autograd::*;

fn leaf(v: &[f32]) -> Tensor {
    Tensor::from_vec(v.to_vec(), [v.len()]).unwrap().requires_grad_(true).unwrap()
}

fn grad(t: &Tensor) -> Vec<f32> {
    t.grad().unwrap().to_vec().unwrap()
}

#[test]
fn gradients_accumulate_over_passes_and_uses() {
    let x = leaf(&[1.0, 2.0, 3.0]);
    let y = x.mul(&x).unwrap().add(&x).unwrap().sum().unwrap();
    y.backward().unwrap();
    assert_eq!(grad(&x), [3.0, 5.0, 7.0]);
    x.mul(2.0).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(grad(&x), [5.0, 7.0, 9.0]);
    x.zero_grad();
    assert!(x.grad().is_none());
}

#[test]
fn broadcasting_is_undone() {
    let x = leaf(&[1.0, 2.0, 3.0]);
    let b = Tensor::full([2, 1], 2.0).requires_grad_(true).unwrap();
    x.mul(&b).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(grad(&x), [4.0, 4.0, 4.0]);
    assert_eq!(grad(&b), [6.0, 6.0]);
    assert_eq!(b.grad().unwrap().dims(), [2, 1]);
}

#[test]
fn second_derivatives_through_create_graph() {
    let x = leaf(&[2.0]);
    let y = x.pow(3.0).unwrap();
    let options = BackwardOptions { create_graph: true, ..Default::default() };
    let g = kiln_autograd::grad(&[&y], &[&x], &[], options, false).unwrap()[0].clone().unwrap();
    assert_eq!(g.to_vec::<f32>().unwrap(), [12.0]);
    let gg = kiln_autograd::grad(&[&g], &[&x], &[], options, false).unwrap()[0].clone().unwrap();
    assert_eq!(gg.to_vec::<f32>().unwrap(), [12.0]);
    assert!(x.grad().is_none());
}

#[test]
fn a_second_pass_needs_the_graph() {
    let x = leaf(&[2.0]);
    let y = x.mul(&x).unwrap();
    y.backward_retain_graph().unwrap();
    y.backward().unwrap();
    assert_eq!(grad(&x), [8.0]);
    let error = y.backward().unwrap_err().to_string();
    assert!(error.contains("second time"), "{error}");
}

#[test]
fn a_changed_saved_tensor_is_noticed_through_detach_but_not_through_data() {
    let x = leaf(&[1.0, 2.0]);
    let y = x.exp().unwrap();
    let s = y.sum().unwrap();
    y.detach().zero_().unwrap();
    let error = s.backward().unwrap_err().to_string();
    assert!(error.contains("modified by an inplace operation") && error.contains("version 1"), "{error}");

    let y = x.exp().unwrap();
    let s = y.sum().unwrap();
    y.data().zero_().unwrap();
    s.backward().unwrap();
    assert_eq!(grad(&x), [0.0, 0.0]);
}

#[test]
fn leaves_and_their_views_are_not_changed_in_place() {
    let x = leaf(&[1.0, 2.0]);
    assert!(x.add_(1.0).unwrap_err().to_string().contains("leaf Variable that requires grad"));
    assert!(x.narrow(0, 0, 1).unwrap().add_(1.0).unwrap_err().to_string().contains("view of a leaf"));
    no_grad(|| x.add_(1.0)).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [2.0, 3.0]);
    assert!(x.is_leaf());
}

#[test]
fn in_place_through_a_view_changes_the_history_of_the_base() {
    // x = [1, 2, 3]; y = x * 2; y[1] *= 10; sum(y): dy/dx = [2, 20, 2]  (torch: tensor([ 2., 20.,  2.]))
    let x = leaf(&[1.0, 2.0, 3.0]);
    let y = x.mul(2.0).unwrap();
    let view = y.select(0, 1).unwrap();
    view.mul_(10.0).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [2.0, 40.0, 6.0]);
    assert_eq!(y.grad_fn().unwrap().name(), "CopySlices");
    assert_eq!(view.grad_fn().unwrap().name(), "AsStridedBackward0");
    y.sum().unwrap().backward_retain_graph().unwrap();
    assert_eq!(grad(&x), [2.0, 20.0, 2.0]);
    x.zero_grad();
    view.backward().unwrap();
    assert_eq!(grad(&x), [0.0, 20.0, 0.0]);
}

#[test]
fn assignment_into_a_plain_tensor_makes_it_part_of_the_graph() {
    let w = leaf(&[3.0]);
    let z = Tensor::full([4], 0.0);
    z.narrow(0, 1, 2).unwrap().copy_(&w).unwrap();
    assert!(z.requires_grad() && !z.is_leaf());
    z.mul(&Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [4]).unwrap())
        .unwrap()
        .sum()
        .unwrap()
        .backward()
        .unwrap();
    assert_eq!(grad(&w), [5.0]);
}

#[test]
fn a_million_operations_run_backward_and_die_without_recursion() {
    let x = leaf(&[1.0]);
    let mut y = x.clone();
    for _ in 0..1_000_000 {
        y = y.add(0.0).unwrap();
    }
    y.backward().unwrap();
    assert_eq!(grad(&x), [1.0]);
    drop(y);
    let mut z = x.clone();
    for _ in 0..1_000_000 {
        z = z.mul(1.0).unwrap();
    }
    drop(z);
}

#[test]
fn hooks_replace_gradients_and_can_be_removed() {
    let x = leaf(&[1.0]);
    let y = x.mul(2.0).unwrap();
    let handle = y.register_hook(|g| Ok(Some(g.mul(10.0)?))).unwrap();
    y.retain_grad().unwrap();
    y.mul(3.0).unwrap().backward_retain_graph().unwrap();
    assert_eq!(grad(&x), [60.0]);
    assert_eq!(grad(&y), [30.0]);
    handle.remove();
    x.zero_grad();
    y.mul(3.0).unwrap().backward().unwrap();
    assert_eq!(grad(&x), [6.0]);
}

#[test]
fn pieces_of_a_tensor_share_one_node() -> Result<()> {
    let x = Tensor::arange_with(0..12, F32).reshape([3, 4])?.copy()?.requires_grad_(true)?;
    for (name, pieces) in [
        ("UnbindBackward0", x.unbind(1)?),
        ("SplitBackward0", x.split(3, -1)?),
        ("SplitBackward0", x.chunk(2, 0)?),
        ("SplitBackward0", x.split_with_sizes(&[1, 0, 3], 1)?),
    ] {
        let node = pieces[0].grad_fn().expect("a node");
        for (i, piece) in pieces.iter().enumerate() {
            let own = piece.grad_fn().expect("a node");
            assert!(std::ptr::eq(&*node, &*own) && piece.output_nr() == i);
            assert!(piece.base().is_some_and(|base| base.is_same(&x)));
        }
        assert_eq!(node.name(), name);
    }
    // Pieces that are not used count as zeros.
    let rows = x.unbind(0)?;
    rows[2].mul(&rows[0])?.sum()?.backward()?;
    let gradient = x.grad().expect("a gradient").to_vec::<f32>()?;
    assert_eq!(gradient, [8., 9., 10., 11., 0., 0., 0., 0., 0., 1., 2., 3.]);
    // A piece that is changed in place changes the whole, whose other pieces keep their gradients.
    x.zero_grad();
    let y = x.mul(1.0)?;
    let parts = y.split(2, 1)?;
    parts[0].mul_(10.0)?;
    y.sum()?.add(&parts[1].sum()?)?.backward()?;
    let gradient = x.grad().expect("a gradient").to_vec::<f32>()?;
    assert_eq!(gradient, [10., 10., 2., 2.].repeat(3));
    Ok(())
}
