//! Bad input gives a clear error: no panic, nothing half done.

use std::fs;
use std::io::Write;

use kiln::prelude::*;

/// The message of a call that must fail, which must mention all of `words`.
fn fails<T>(result: Result<T>, words: &[&str]) -> String {
    let text = match result {
        Ok(_) => panic!("expected an error that mentions {words:?}"),
        Err(e) => e.to_string(),
    };
    for word in words {
        assert!(text.contains(word), "`{text}` does not mention `{word}`");
    }
    text
}

#[test]
fn shapes() {
    let _turn = crate::turn();
    let (a, b) = (Tensor::zeros([2, 3]), Tensor::zeros([4, 5]));
    fails(a.add(&b), &["add", "[2, 3]", "[4, 5]"]);
    fails(a.matmul(&b), &["matmul", "[2, 3]", "[4, 5]", "3", "4"]);
    fails(a.view([4, 2]), &["[4, 2]", "6"]);
    fails(a.transpose(0, 2), &["2"]);
    fails(a.select(0, 2), &["select", "2", "[2, 3]"]);
    fails(Tensor::from_vec(vec![1.0f32; 5], [2, 3]), &["5", "[2, 3]"]);
    fails(a.conv2d(&b, None, [1, 1], [0, 0], [1, 1], 1), &["conv2d", "[2, 3]"]);
    let x = Tensor::zeros([1, 3, 8, 8]);
    fails(Conv2d::new(4, 8, 3).forward(&x), &["conv2d", "4 channels", "3"]);
    fails(Linear::new(10, 2).forward(&a), &["linear", "10", "[2, 3]"]);
    fails(x.max_pool2d([9, 9], [1, 1], [0, 0], [1, 1], false), &["max_pool2d", "too small"]);
    fails(a.item(), &["6 elements"]);
}

#[test]
fn dtypes() {
    let (floats, ints) = (Tensor::zeros([2, 2]), tensor![[1, 2], [3, 4]]);
    fails(floats.matmul(&ints), &["matmul", "float32", "int64"]);
    fails(ints.mean(), &["mean", "int64"]);
    fails(ints.softmax(0), &["softmax", "int64"]);
    fails(floats.bitwise_and(1), &["bitwise_and", "float32"]);
    fails(ints.add_(0.5), &["float32", "int64"]);
    fails(ints.clone().requires_grad_(true), &["floating point", "int64"]);
    fails(floats.to_vec::<i64>(), &["float32", "int64"]);
    fails(tensor![true].sub(&tensor![false]), &["bool"]);
}

#[test]
fn classes_out_of_range() {
    let _turn = crate::turn();
    let logits = Tensor::zeros([2, 3]).requires_grad_(true).unwrap();
    for bad in [3i64, -1] {
        let target = Tensor::from_vec(vec![0i64, bad], [2]).unwrap();
        fails(CrossEntropyLoss::new().forward(&logits, &target), &["cross_entropy", &bad.to_string(), "3"]);
    }
    fails(CrossEntropyLoss::new().forward(&logits, &tensor![0, 1, 2]), &["[3]", "[2, 3]"]);
    fails(logits.index_select(0, &tensor![2]), &["2", "size 2"]);
}

#[test]
fn gradients() {
    let x = tensor![1.0, 2.0].requires_grad_(true).unwrap();
    fails(x.mul(2.0).unwrap().backward(), &["scalar", "[2]"]);
    fails(tensor![1.0].backward(), &["does not require grad"]);
    fails(x.add_(1.0), &["leaf"]);
    fails(x.set_grad(Some(Tensor::zeros([3]))), &["[2]", "[3]"]);
}

#[test]
fn a_refused_write_changes_nothing() {
    let x = Tensor::ones([3]);
    let wide = x.reshape([1, 3]).unwrap().expand([2, 3]).unwrap();
    fails(wide.add_(1.0), &["single memory location", "clone"]);
    fails(x.narrow(0, 0, 2).unwrap().add_(&x.narrow(0, 1, 2).unwrap()), &["single memory location"]);
    fails(x.add_(&Tensor::ones([2, 3])), &["[3]", "[2, 3]"]);
    assert_eq!((x.to_vec::<f32>().unwrap(), x.version()), (vec![1.0; 3], 0));
}

#[test]
fn data_sets() {
    let _turn = crate::turn();
    fails(TensorDataset::new((Tensor::zeros([3, 2]), Tensor::zeros([4]))).map(|_| ()), &["3", "4"]);
    let set = TensorDataset::new(Tensor::zeros([3, 2])).unwrap();
    fails(set.get(3), &["3"]);
}

#[test]
fn files() {
    let _turn = crate::turn();
    let folder = tempfile::tempdir().unwrap();
    let load = || ImageClasses::fashion_mnist(Split::Train, Some(folder.path()));
    fails(load(), &["train-images-idx3-ubyte"]);

    let images = folder.path().join("train-images-idx3-ubyte");
    let labels = folder.path().join("train-labels-idx1-ubyte");
    let write = |path: &std::path::Path, parts: &[&[u8]]| {
        let mut f = fs::File::create(path).unwrap();
        parts.iter().for_each(|p| f.write_all(p).unwrap());
    };
    // Two images of 28x28 announced, one there.
    write(&images, &[&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28], &[7; 784]]);
    write(&labels, &[&[0, 0, 8, 1, 0, 0, 0, 2, 0, 1]]);
    fails(load(), &["train-images-idx3-ubyte"]);
    // A label that is no class.
    write(&images, &[&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28], &[7; 2 * 784]]);
    write(&labels, &[&[0, 0, 8, 1, 0, 0, 0, 2, 0, 10]]);
    fails(load(), &["train-labels-idx1-ubyte", "10"]);
    write(&labels, &[&[0, 0, 8, 1, 0, 0, 0, 2, 0, 9]]);
    assert_eq!(load().unwrap().len(), 2);
    // Text instead of gzip.
    fs::remove_file(&images).unwrap();
    write(&folder.path().join("train-images-idx3-ubyte.gz"), &[b"not gzip at all"]);
    fails(load(), &["train-images-idx3-ubyte.gz"]);
}
