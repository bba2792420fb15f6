//! Images transformed as torchvision does: recorded values, the random stream, workers, misuse.

use kiln_data::kiln_autograd::{DType, Tensor, manual_seed};
use kiln_data::transforms::functional as f;
use kiln_data::transforms::*;
use kiln_data::{DataLoader, Dataset, Result, TensorDataset};

use crate::common::turn;

/// The two images of the recordings, `[3, 5, 6]`.
fn images() -> [Tensor; 2] {
    let bytes: Vec<u8> = (0..90u32).map(|i| ((i * i * 7 + i * 3) % 251) as u8).collect();
    let image = Tensor::from_vec(bytes, [3, 5, 6]).unwrap();
    let float = image.to_dtype(DType::F32).unwrap().div(251.0).unwrap();
    [image, float]
}

fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().to_vec::<f64>().unwrap()
}

fn weighted(values: &[f64]) -> f64 {
    values.iter().enumerate().map(|(i, v)| v * (i as f64).cos()).sum()
}

/// A line of the recordings.
struct Row<'a> {
    name: &'a str,
    count: usize,
    first: Vec<f64>,
    sum: f64,
}

fn recordings() -> Vec<Row<'static>> {
    let lines = include_str!("data/transforms.txt").lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split(" | ");
            let mut part = || parts.next().unwrap();
            let (name, count) = (part(), part().parse().unwrap());
            let first = part().split(' ').map(|v| v.parse().unwrap()).collect();
            Row { name, count, first, sum: part().parse().unwrap() }
        })
        .collect()
}

/// Compares an image's numbers with a line. Bytes must be the same; where they are rounded from weighted means, one of six
/// images' may lie on the other side of a half.
fn compare(row: &Row<'_>, got: &[f64], bytes: bool) {
    assert_eq!(got.len(), row.count, "{}", row.name);
    let rounded = ["resized", "rotat", "affine", "composed"].iter().any(|part| row.name.contains(part));
    let allowed = match (bytes, rounded) {
        (true, true) => 2.0,
        (true, false) => 1e-5 + 1e-8 * row.sum.abs(),
        (false, _) => 2e-5 * (row.count as f64).sqrt() * row.sum.abs().max(1.0),
    };
    let sum = weighted(got);
    assert!((sum - row.sum).abs() <= allowed, "{}: {sum}, torchvision has {}: {got:?}", row.name, row.sum);
}

type Function = fn(&Tensor) -> Result<Tensor>;

const FUNCTIONS: &[(&str, Function)] = &[
    ("resize 3x4", |i| f::resize(i, [3, 4], Interpolation::Bilinear, true)),
    ("resize 8x7", |i| f::resize(i, [8, 7], Interpolation::Bilinear, true)),
    ("resize 4 short", |i| Resize::new(4).apply(i)),
    ("resize 4 max", |i| Resize::new(4).max_size(5).apply(i)),
    ("resize plain", |i| Resize::new([3, 4]).antialias(false).apply(i)),
    ("resize cubic", |i| Resize::new((3, 9)).interpolation(Interpolation::Bicubic).apply(i)),
    ("resize nearest", |i| Resize::new([3, 9]).interpolation(Interpolation::Nearest).apply(i)),
    ("resize nearest exact", |i| Resize::new([3, 4]).interpolation(Interpolation::NearestExact).apply(i)),
    ("center crop 3", |i| CenterCrop::new(3).apply(i)),
    ("center crop large", |i| CenterCrop::new([8, 3]).apply(i)),
    ("crop over", |i| f::crop(i, -1, 2, 4, 6)),
    ("pad constant", |i| Pad::new([1, 2, 3, 0]).fill(1.0).apply(i)),
    ("pad edge", |i| Pad::new([1, 2]).padding_mode(PaddingMode::Edge).apply(i)),
    ("pad reflect", |i| Pad::new(2).padding_mode(PaddingMode::Reflect).apply(i)),
    ("pad symmetric", |i| Pad::new([2, 1, 3, 2]).padding_mode(PaddingMode::Symmetric).apply(i)),
    ("gray", |i| Grayscale::default().apply(i)),
    ("gray 3", |i| Grayscale::new(3).apply(i)),
    ("brightness", |i| f::adjust_brightness(i, 1.4)),
    ("contrast", |i| f::adjust_contrast(i, 1.7)),
    ("saturation", |i| f::adjust_saturation(i, 0.3)),
    ("hue", |i| f::adjust_hue(i, 0.2)),
    ("hue back", |i| f::adjust_hue(i, -0.4)),
    ("rotate", |i| f::rotate(i, 30.0, Interpolation::Nearest, false, None, None)),
    ("rotate bilinear", |i| f::rotate(i, -50.0, Interpolation::Bilinear, true, None, Some(3.0))),
    ("rotate center", |i| f::rotate(i, 70.0, Interpolation::Bilinear, false, Some([1.0, 1.0]), None)),
    ("affine", |i| {
        let how =
            Affine { angle: 20.0, translate: [1.0, -1.0], scale: 1.3, shear: [10.0, 5.0], center: None };
        f::affine(i, &how, Interpolation::Bilinear, Some(1.0))
    }),
];

#[test]
fn functions_give_torchvision_s_values() -> Result<()> {
    let rows = recordings();
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}"));
    let check = |row: &Row<'_>, image: &Tensor, bytes: bool| {
        let got = numbers(image);
        for (got, want) in got.iter().zip(&row.first) {
            let allowed = match bytes {
                true => f64::from(row.name.contains("rotat")),
                false => 2e-5 * want.abs().max(0.1),
            };
            assert!((got - want).abs() <= allowed, "{}: {got} for {want}", row.name);
        }
        compare(row, &got, bytes);
    };
    let [bytes, float] = images();
    for (name, function) in FUNCTIONS {
        let (a, b) = (function(&bytes)?, function(&float)?);
        assert_eq!((a.dtype(), b.dtype()), (DType::U8, DType::F32), "{name}");
        check(row(&format!("{name} u8")), &a, true);
        check(row(&format!("{name} float")), &b, false);
        // A batch is transformed as its images are.
        let batch = function(&Tensor::stack(&[&bytes, &bytes], 0)?)?;
        assert_eq!(numbers(&batch.select(0, 1)?), numbers(&a), "{name}");
    }
    let normal = Normalize::new([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]).apply(&float)?;
    check(row("normalize"), &normal, false);
    check(row("to float"), &ToTensor.apply(&bytes)?, false);
    check(row("to u8"), &ConvertImageDtype(DType::U8).apply(&float)?, true);
    check(row("to i16"), &ConvertImageDtype(DType::I16).apply(&bytes)?, true);
    Ok(())
}

fn random() -> Vec<(&'static str, Box<dyn Transform>)> {
    let bilinear = Interpolation::Bilinear;
    let affine = RandomAffine::new(30.0).translate(0.2, 0.3).scale(0.7, 1.4);
    let composed = Compose::new()
        .then(RandomCrop::new(4).padding(1))
        .then(RandomHorizontalFlip::default())
        .then(Resize::new(6))
        .then(RandomErasing::new(0.5));
    vec![
        ("crop", Box::new(RandomCrop::new(3))),
        ("crop pad", Box::new(RandomCrop::new([4, 6]).padding(2).fill(1.0))),
        (
            "crop needed",
            Box::new(RandomCrop::new(8).pad_if_needed(true).padding_mode(PaddingMode::Symmetric)),
        ),
        ("hflip", Box::new(RandomHorizontalFlip::default())),
        ("vflip", Box::new(RandomVerticalFlip::new(0.7))),
        ("resized", Box::new(RandomResizedCrop::new(4))),
        ("resized wide", Box::new(RandomResizedCrop::new([3, 5]).scale(0.9, 1.0).ratio(3.0, 5.0))),
        ("jitter", Box::new(ColorJitter::new().brightness(0.4).contrast(0.3).saturation(0.2).hue(0.1))),
        ("jitter some", Box::new(ColorJitter::new().contrast_range(0.5, 2.0).hue(0.5))),
        ("random gray", Box::new(RandomGrayscale::new(0.5))),
        ("erasing", Box::new(RandomErasing::new(0.8))),
        ("erasing values", Box::new(RandomErasing::new(1.0).scale(0.1, 0.6).value([1.0, 2.0, 3.0]))),
        ("erasing random", Box::new(RandomErasing::new(0.9).value(Erasure::Random))),
        ("rotation", Box::new(RandomRotation::new(40.0))),
        (
            "rotation bilinear",
            Box::new(RandomRotation::between(10.0, 60.0).interpolation(bilinear).fill(2.0)),
        ),
        ("affine", Box::new(affine.shear_both((-10.0, 10.0), (-5.0, 20.0)).interpolation(bilinear))),
        ("affine shear", Box::new(RandomAffine::new(0.0).degrees(5.0, 10.0).shear(15.0).fill(1.0))),
        ("apply", Box::new(RandomApply::new(Grayscale::new(3), 0.6))),
        ("composed", Box::new(composed)),
    ]
}

#[test]
fn random_transforms_draw_torchvision_s_numbers() -> Result<()> {
    let _turn = turn();
    let rows = recordings();
    let mut replayed = 0;
    for (name, transform) in random() {
        for (image, ending) in images().iter().zip(["u8", "float"]) {
            let wanted = format!("random {name} {ending}");
            let Some(row) = rows.iter().find(|row| row.name == wanted) else { continue };
            manual_seed(11);
            let mut all = Vec::new();
            for _ in 0..6 {
                all.extend(numbers(&transform.apply(image)?));
            }
            let next = Tensor::rand(1).to_vec::<f32>()?[0];
            assert!((f64::from(next) - row.first[0]).abs() < 1e-6, "{wanted}: the stream stands elsewhere");
            compare(row, &all, ending == "u8");
            replayed += 1;
        }
    }
    assert_eq!(replayed, rows.iter().filter(|row| row.name.starts_with("random ")).count());
    Ok(())
}

/// Which samples of eight a loader flips, after a seed.
fn flipped(workers: usize) -> Result<Vec<f32>> {
    manual_seed(5);
    let flip = RandomHorizontalFlip::default();
    let image = Tensor::from_vec(vec![0f32, 1.0], [1, 1, 2])?.expand([8, 1, 1, 2])?.copy()?;
    let data = TensorDataset::new(image)?.map(move |image: Tensor| flip.apply(&image));
    let loader = DataLoader::new(data, 2).num_workers(workers);
    let mut firsts = Vec::new();
    for batch in &loader {
        firsts.extend(batch?.to_vec::<f32>()?.chunks(2).map(|pixels| pixels[0]));
    }
    Ok(firsts)
}

/// PyTorch 2.15 with torchvision: `DataLoader(.., batch_size=2, num_workers=n)` over eight images after `manual_seed(5)`.
#[test]
fn workers_draw_from_streams_of_their_own() -> Result<()> {
    let _turn = turn();
    assert_eq!(flipped(0)?, HERE);
    assert_eq!(flipped(2)?, TWO_WORKERS);
    assert_eq!(flipped(3)?, THREE_WORKERS);
    Ok(())
}

const HERE: [f32; 8] = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0];
const TWO_WORKERS: [f32; 8] = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0];
const THREE_WORKERS: [f32; 8] = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0];

#[test]
fn misuse_gives_errors() {
    let [bytes, float] = images();
    let flat = Tensor::from_vec(vec![1u8; 6], [2, 3]).unwrap();
    let five = Tensor::from_vec(vec![1u8; 20], [5, 2, 2]).unwrap();
    let empty = Tensor::from_vec(Vec::<f32>::new(), [3, 0, 4]).unwrap();
    let cases: Vec<(Result<Tensor>, &str)> = vec![
        (CenterCrop::new(2).apply(&flat), "channels, height, width"),
        (RandomCrop::new(7).apply(&bytes), "larger than input image size"),
        (Resize::new(0).apply(&bytes), "greater than 0"),
        (Resize::new(4).max_size(4).apply(&bytes), "strictly greater"),
        (Resize::new(4).apply(&empty), "cannot be resized"),
        (Resize::new([usize::MAX, 2]).apply(&bytes), "no memory"),
        (Resize::new([1 << 60, 1 << 20]).apply(&bytes), "no memory"),
        (Resize::new([2, 2]).apply(&empty), "greater than 0"),
        (RandomResizedCrop::new(2).apply(&empty), "empty"),
        (RandomResizedCrop::new(2).ratio(2.0, 1.0).apply(&bytes), "ratio"),
        (Normalize::new([0.5], [0.5]).apply(&bytes), "should be a float tensor"),
        (Normalize::new([0.5], [0.0]).apply(&float), "division by zero"),
        (Normalize::new([0.5, 0.5], [1.0]).apply(&float), "3 channels"),
        (Grayscale::default().apply(&five), "1 or 3"),
        (Grayscale::new(2).apply(&bytes), "1 or 3"),
        (ColorJitter::new().hue(0.6).apply(&bytes), "hue"),
        (ColorJitter::new().brightness_range(-1.0, 1.0).apply(&bytes), "brightness"),
        (f::adjust_contrast(&bytes, f64::NAN), "non-negative"),
        (RandomErasing::new(1.0).value([1.0, 2.0]).apply(&bytes), "single value"),
        (RandomErasing::new(1.0).scale(0.5, 2.0).apply(&bytes), "scale"),
        (Pad::new(6).padding_mode(PaddingMode::Symmetric).apply(&bytes), "mirrored"),
        (RandomAffine::new(0.0).translate(2.0, 0.0).apply(&bytes), "translation"),
        (RandomRotation::new(f64::NAN).apply(&bytes), "degrees"),
        (f::rotate(&bytes, 1.0, Interpolation::Bicubic, false, None, None), "unsupported"),
        (ConvertImageDtype(DType::I64).apply(&float), "safely"),
    ];
    for (result, part) in cases {
        let error = result.expect_err(part).to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(f::erase(&bytes, 4, 4, &Tensor::ones([3, 2, 3])).is_err());
    assert!(Pad::new(-9).apply(&bytes).is_err());
    for extreme in [i64::MIN, i64::MIN + 1, i64::MAX] {
        for mode in [PaddingMode::Constant, PaddingMode::Edge, PaddingMode::Reflect] {
            assert!(Pad::new(extreme).padding_mode(mode).apply(&bytes).is_err());
        }
        let _ = Pad::new(extreme).padding_mode(PaddingMode::Symmetric).apply(&bytes);
        let _ = f::crop(&bytes, extreme, extreme, usize::MAX, 1);
    }
    assert!(CenterCrop::new(usize::MAX).apply(&bytes).is_err());
    assert!(RandomCrop::new(usize::MAX).pad_if_needed(true).apply(&bytes).is_err());
}
