//! The embedded digits are scikit-learn's.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::common::shared;
use flate2::read::GzDecoder;
use kiln_data::digits;
use sha2::{Digest, Sha256};

#[test]
fn every_class_has_its_published_count() {
    let digits = digits::load();
    assert_eq!(digits.pixels.len(), digits::COUNT * digits::SIDE * digits::SIDE);
    assert_eq!(digits.pixels.iter().max(), Some(&digits::MAX_PIXEL));
    let mut counts = [0; digits::CLASSES];
    for &label in &digits.labels {
        counts[usize::from(label)] += 1;
    }
    // The class distribution of optdigits.tes in the data set's description.
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
}

#[test]
fn the_bytes_are_those_of_the_published_table() {
    let digits = digits::load();
    let mut hash = Sha256::new();
    hash.update(&digits.pixels);
    hash.update(&digits.labels);
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    // Computed by Python from the table.
    assert_eq!(hash, "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826");

    let Some(folder) = shared("data/sklearn-toy") else { return };
    let table = BufReader::new(GzDecoder::new(File::open(folder.join("digits.csv.gz")).unwrap()));
    let (mut pixels, mut labels): (Vec<u8>, Vec<u8>) = Default::default();
    for line in table.lines() {
        let row: Vec<u8> = line.unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
        pixels.extend(&row[..64]);
        labels.push(row[64]);
    }
    assert!(pixels == digits.pixels && labels == digits.labels);
}
