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
    pub mod sequences;
    pub mod special;
}

use std::collections::BTreeSet;
use std::path::PathBuf;

#[cfg(feature = "fft")]
use derivatives::fourier;
use derivatives::rows::{NOT_DIFFERENTIABLE, ODD, REFUSED, Row, TWICE_NOT};
use derivatives::{arrange, elementwise, images, layers, linalg, reduce, sequences, special};
use kiln_autograd::{GradcheckOptions, Tensor, gradcheck, gradgradcheck};

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
    let options = GradcheckOptions::default();
    let mut wrong = Vec::new();
    for row in rows {
        let inputs = row.inputs();
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        if let Err(error) = gradcheck(row.f, &inputs, &options) {
            wrong.push(format!("{}: {error}", row.name));
        }
        let twice = gradgradcheck(row.f, &inputs, None, &options);
        match (twice, TWICE_NOT.contains(&row.name)) {
            (Err(error), false) => wrong.push(format!("{} (twice): {error}", row.name)),
            (Ok(_), true) => wrong.push(format!("{}: has a second derivative after all", row.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
