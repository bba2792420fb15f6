//! What goes wrong in a graph is told with the operation and the place.

use kiln_autograd::{Result, Tensor, detect_anomaly, graph, is_anomaly_enabled, set_detect_anomaly, tensor};

#[test]
fn the_operation_and_line_of_the_first_nan_are_named() -> Result<()> {
    let guard = detect_anomaly();
    let x = tensor![0., 1.].requires_grad_(true)?;
    let (y, line) = (x.sqrt()?, line!());
    let loss = y.mul(0.)?.sum()?;
    let text = loss.backward().expect_err("0 / 0").to_string();
    assert!(text.contains("Function 'SqrtBackward0' returned nan values in its 0th output"), "{text}");
    assert!(text.contains(&format!("anomaly.rs:{line}:")), "{text}");
    drop(guard);
    assert!(!is_anomaly_enabled());
    x.sqrt()?.mul(0.)?.sum()?.backward()?;
    assert!(x.grad().expect("a gradient").isnan()?.any()?.item()?.to::<bool>());
    Ok(())
}

#[test]
fn the_mode_nests_and_graphs_from_outside_are_checked_too() -> Result<()> {
    let x = tensor![-1.,].requires_grad_(true)?;
    let (root, line) = (x.sqrt()?, line!());
    let loss = root.sum()?;
    let _on = detect_anomaly();
    {
        let _off = set_detect_anomaly(false);
        assert!(!is_anomaly_enabled());
    }
    let text = loss.backward().expect_err("the root of -1").to_string();
    // The stack was not walked, but the method was told its caller.
    assert!(text.contains("SqrtBackward0") && text.contains(&format!("anomaly.rs:{line}:")), "{text}");
    Ok(())
}

#[test]
fn a_changed_tensor_is_told_with_both_operations_and_versions() -> Result<()> {
    let x = tensor![1., 2.].requires_grad_(true)?;
    let y = x.exp()?;
    let z = y.square()?;
    y.add_(1)?;
    let text = z.sum()?.backward().expect_err("changed").to_string();
    for fact in ["output 0 of ExpBackward0", "at version 1", "expected version 0", "saved by PowBackward0"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let _guard = detect_anomaly();
    let y = x.exp()?;
    let (z, line) = (y.square()?, line!());
    y.add_(1)?;
    let text = z.sum()?.backward().expect_err("changed").to_string();
    assert!(text.contains(&format!("anomaly.rs:{line}:")), "{text}");
    Ok(())
}

#[test]
fn derivatives_that_hold_nothing_can_be_used_twice() -> Result<()> {
    let x = tensor![1., 2.].requires_grad_(true)?;
    let y = x.reshape([2, 1])?.add(1)?.sum()?.neg()?;
    y.backward()?;
    y.backward()?;
    assert_eq!(x.grad().expect("a gradient").to_vec::<f32>()?, [-2., -2.]);
    for y in [x.square()?, x.exp()?, x.mul(&x)?] {
        let y = y.sum()?;
        y.backward()?;
        assert!(y.backward().expect_err("released").to_string().contains("retain_graph=True"));
    }
    Ok(())
}

#[test]
fn graphs_are_drawn() -> Result<()> {
    let x = Tensor::zeros([2, 3]).requires_grad_(true)?;
    let y = x.mul(&x)?.sum()?;
    let dot = graph::to_dot(&y);
    let lines: Vec<&str> = dot.lines().map(str::trim).collect();
    assert!(lines.iter().any(|l| l.contains("label=\"leaf [2, 3] float32\"")), "{dot}");
    // Both operands are the leaf.
    assert_eq!(lines.iter().filter(|l| **l == "n2 -> n1;").count(), 2, "{dot}");
    assert_eq!(lines.iter().filter(|l| l.contains("SumBackward0")).count(), 1);
    assert_eq!(lines.last(), Some(&"}"));
    assert!(graph::to_dot(&x.detach()).lines().count() == 5);
    let node = y.grad_fn().expect("a node").next_functions().remove(0).expect("an operand").0;
    let (leaf, _) = node.next_functions().remove(0).expect("an operand");
    assert!(leaf.is_of_leaf(&x) && !node.is_of_leaf(&x) && !leaf.is_of_leaf(&x.copy()?));
    Ok(())
}

#[test]
fn missing_gradients_are_explained() -> Result<()> {
    let explain = |t: &Tensor, fact: &str| {
        let text = kiln_autograd::explain_grad(t);
        assert!(text.contains(fact), "{fact}: {text}");
    };
    let x = tensor![1., 2.].requires_grad_(true)?;
    explain(&x, "no backward pass has reached it");
    explain(&x.detach(), "does not require a gradient");
    explain(&tensor![1, 2], "only floating point");
    let y = x.mul(2)?;
    explain(&y, "retain_grad");
    y.retain_grad()?;
    explain(&y, "no backward pass has come through");
    y.sum()?.backward()?;
    explain(&x, "has a gradient");
    explain(&y, "has a gradient");
    Ok(())
}
