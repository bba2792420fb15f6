//! Every differentiable method against finite differences, first and second derivatives; and a check that every method
//! has its row.

mod derivatives {
    pub mod arrange;
    pub mod elementwise;
    #[cfg(feature = "fft")]
    pub mod fourier;
    pub mod images;
    pub mod layers;
    pub mod linalg;
    pub mod reduce;
    pub mod rows;
    pub mod saved;
    pub mod sequences;
    pub mod special;
    pub mod spoiled;
}

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

#[cfg(feature = "fft")]
use derivatives::fourier;
use derivatives::rows::{NOT_DIFFERENTIABLE, ODD, REFUSED, Row, TWICE_NOT};
use derivatives::{arrange, elementwise, images, layers, linalg, reduce, saved, sequences, special, spoiled};
use kiln_autograd::{
    BackwardOptions, GradcheckOptions, Result, Tensor, enable_grad, func, grad, gradcheck, gradgradcheck,
    no_grad,
};

const TABLES: [&[Row]; 8] = [
    elementwise::ROWS,
    special::ROWS,
    reduce::ROWS,
    linalg::ROWS,
    arrange::ROWS,
    layers::ROWS,
    images::ROWS,
    sequences::ROWS,
];

/// Checks a table; all that is wrong is told at once.
fn check(rows: &[Row]) {
    let options = GradcheckOptions { check_forward_ad: true, ..GradcheckOptions::default() };
    let mut wrong = Vec::new();
    for row in rows {
        let inputs = row.inputs();
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let once = TWICE_NOT.contains(&row.name);
        if let Err(error) = gradcheck(row.f, &inputs, &options) {
            wrong.push(format!("{}: {error}", row.name));
        }
        if let (false, Err(error)) = (once, check_composed(row, &inputs)) {
            wrong.push(format!("{} (both modes): {error}", row.name));
        }
        let twice = gradgradcheck(row.f, &inputs, None, &GradcheckOptions::default());
        match (twice, TWICE_NOT.contains(&row.name)) {
            (Err(error), false) => wrong.push(format!("{} (twice): {error}", row.name)),
            (Ok(_), true) => wrong.push(format!("{}: has a second derivative after all", row.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Numbers of mixed signs in the shape of `t`.
fn mixed(t: &Tensor, seed: usize) -> Result<Tensor> {
    let numbers: Vec<f64> = (0..t.numel()).map(|i| ((i * 7 + seed * 3) % 11) as f64 / 8.0 - 0.6).collect();
    Tensor::from_vec(numbers, t.shape())
}

/// The derivative of `v J` in the direction `t`, which is `t H_v` for the second derivatives `H_v` of `v y`: by forward
/// mode over reverse mode, by reverse over forward and by reverse over reverse, which finite differences have proved.
fn check_composed(row: &Row, inputs: &[&Tensor]) -> Result<()> {
    let directions = inputs.iter().enumerate().map(|(i, x)| mixed(x, i)).collect::<Result<Vec<_>>>()?;
    let directions: Vec<&Tensor> = directions.iter().collect();
    let weigh = |ys: &[Tensor]| -> Result<Tensor> {
        let mut sum = Tensor::zeros_with([], inputs[0]);
        for (i, y) in ys.iter().enumerate().filter(|(_, y)| y.dtype().is_float() && y.requires_grad()) {
            sum = sum.add(&y.mul(&mixed(y, i + 5)?)?.sum()?)?;
        }
        Ok(sum)
    };
    let gradients = |xs: &[Tensor], y: &Tensor, create_graph: bool| -> Result<Vec<Tensor>> {
        let xs: Vec<&Tensor> = xs.iter().collect();
        if !y.requires_grad() {
            return xs.iter().map(|x| x.zeros_like()).collect();
        }
        let options = BackwardOptions { retain_graph: create_graph, create_graph };
        let found = grad(&[y], &xs, &[], options, true)?;
        found.into_iter().zip(xs).map(|(g, x)| g.map_or_else(|| x.zeros_like(), Ok)).collect()
    };
    let leaves = inputs.iter().map(|x| x.detach().requires_grad_(true)).collect::<Result<Vec<_>>>()?;
    // Reverse over reverse.
    let first = gradients(&leaves, &weigh(&(row.f)(&leaves)?)?, true)?;
    let mut along = Tensor::zeros_with([], inputs[0]);
    for (g, v) in first.iter().zip(&directions) {
        along = along.add(&g.mul(*v)?.sum()?)?;
    }
    let expected = gradients(&leaves, &along, false)?;
    // Forward over reverse, on inputs that require a gradient only inside.
    let plain: Vec<Tensor> = inputs.iter().map(|x| x.detach()).collect();
    let plain: Vec<&Tensor> = plain.iter().collect();
    let pull = |xs: &[Tensor]| {
        let xs = xs.iter().map(|x| x.clone().requires_grad_(true)).collect::<Result<Vec<_>>>()?;
        enable_grad(|| gradients(&xs, &weigh(&(row.f)(&xs)?)?, false))
    };
    let forward = func::jvp_many(pull, &plain, &directions)?.1;
    let silent = no_grad(|| func::jvp_many(pull, &plain, &directions))?.1;
    // Reverse over forward.
    let references: Vec<&Tensor> = leaves.iter().collect();
    let slopes = func::jvp_many(row.f, &references, &directions)?.1;
    let reverse = gradients(&leaves, &weigh(&slopes)?, false)?;
    for (how, found) in
        [("forward over reverse", forward), ("without recording", silent), ("reverse over forward", reverse)]
    {
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            let (a, b): (Vec<f64>, Vec<f64>) = (a.detach().to_vec()?, b.detach().to_vec()?);
            let near =
                |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-8 + 1e-6 * b.abs() || a.is_nan() && b.is_nan();
            if !a.iter().zip(&b).all(near) {
                let text = format!("{how}, input {i}: {a:?} instead of {b:?}");
                return Err(kiln_autograd::Error::autograd("check", text));
            }
        }
    }
    Ok(())
}

#[test]
fn elementwise() {
    check(elementwise::ROWS);
}

#[test]
fn reductions_and_products() {
    check(reduce::ROWS);
}

#[test]
fn rearrangements() {
    check(arrange::ROWS);
}

#[test]
fn layers_and_losses() {
    check(layers::ROWS);
}

#[test]
fn special_functions_and_statistics() {
    check(special::ROWS);
}

#[test]
fn matrices() {
    check(linalg::ROWS);
}

#[test]
fn images_and_distances() {
    check(images::ROWS);
}

#[test]
fn sequences_and_their_losses() {
    check(sequences::ROWS);
}

/// Fourier transforms are functions, so that no row below is asked for.
#[cfg(feature = "fft")]
#[test]
fn fourier_transforms() {
    check(fourier::ROWS);
}

/// What a row fails with when its inputs are spoiled names a line of the tables: never one of the library, nor none.
#[test]
fn errors_name_the_line_of_the_row() {
    let (mut wrong, mut errors) = (Vec::new(), 0);
    for row in TABLES.into_iter().flatten() {
        for (what, inputs) in spoiled::inputs(row) {
            let error = match catch_unwind(AssertUnwindSafe(|| (row.f)(&inputs))) {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => error,
                Err(_) => {
                    wrong.push(format!("{what}: a panic"));
                    continue;
                }
            };
            errors += 1;
            if !error.place().is_some_and(|place| place.file().contains("derivatives")) {
                wrong.push(format!("{what}: {error}"));
            }
        }
    }
    assert!(errors > 1000, "only {errors} errors: are the inputs spoiled?");
    assert!(
        wrong.is_empty(),
        "{} of {errors} errors name no line of the rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_graph_keeps_more_alive_than_its_derivative_needs() {
    let mut wrong = Vec::new();
    for row in TABLES.iter().flat_map(|rows| rows.iter()) {
        match saved::kept(row) {
            Ok(kept) => wrong.extend(kept),
            Err(error) => wrong.push(format!("{}: {error}", row.name)),
        }
    }
    let known = |name: &&&str| !TABLES.iter().any(|rows| rows.iter().any(|row| row.name == **name));
    let gone: Vec<&&str> = saved::NOTHING.iter().chain(saved::RESULT).filter(known).collect();
    assert!(wrong.is_empty() && gone.is_empty(), "{}\nno rows: {gone:?}", wrong.join("\n"));
}

/// The names of the methods that a source file defines, in-place forms left out.
fn methods(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    for (i, line) in lines.iter().enumerate() {
        if let Some(rest) = line.strip_prefix("pub fn ") {
            let Some((name, arguments)) = rest.split_once('(') else { continue };
            let name = name.split('<').next().unwrap_or(name);
            let first =
                if arguments.is_empty() { lines.get(i + 1).copied().unwrap_or("") } else { arguments };
            if (first.starts_with("&self") || first.contains("&[&Tensor]")) && !name.starts_with('$') {
                found.push(name.to_owned());
            }
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_name = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_lowercase())
                && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match words.as_slice() {
            // A row of a table of elementwise functions: `exp exp_: Exp, ..`.
            [name, in_place, ..] if is_name(name) && *in_place == format!("{name}_:") => {
                found.push((*name).to_owned())
            }
            // A row of a table by the number of axes: `conv1d conv_transpose1d 1 ..;`.
            [_, _, ..] if line.ends_with(';') => {
                let names: Vec<&&str> = words.iter().take_while(|w| is_name(w)).collect();
                let axes = words.get(names.len()).map(|w| w.trim_end_matches(';'));
                let row = names.len() >= 2 || words.len() >= 3 && names.len() == 1;
                if row && matches!(axes, Some("1" | "2" | "3")) {
                    found.extend(names.into_iter().map(|w| (*w).to_owned()));
                }
            }
            _ => {}
        }
    }
    found.retain(|name| !name.ends_with('_'));
    found
}

#[test]
fn every_differentiable_method_has_a_row() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops");
    let mut known: BTreeSet<&str> = TABLES.iter().flat_map(|rows| rows.iter().map(|row| row.name)).collect();
    for names in [NOT_DIFFERENTIABLE, REFUSED, ODD] {
        known.extend(names);
    }
    let mut seen = BTreeSet::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen.extend(methods(&std::fs::read_to_string(&path).expect("a source file")));
        }
    }
    assert!(seen.len() > 250, "only {} methods were found: did the sources change their form?", seen.len());
    let missing: Vec<&String> = seen.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "methods without a row in tests/derivatives: {missing:?}");
    let gone: Vec<&&str> = known.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(gone.is_empty(), "rows of methods that do not exist: {gone:?}");
}

#[test]
fn sources_are_read_as_they_are_written() {
    let source = "pub fn a(&self) -> X {\npub fn b_(&self) {\npub fn c<'a>(\n&self,\npub fn d(x: &[&Tensor]) {\npub fn e(n: i64)\n\
                  f f_: F, x, |g, y| y;\nconv1d conv2d 1 \"one\";\nlet x = 1;\n";
    assert_eq!(methods(source), ["a", "c", "d", "f", "conv1d", "conv2d"]);
}
