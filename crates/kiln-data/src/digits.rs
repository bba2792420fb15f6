//! A small real data set inside the library: 1797 handwritten digits of 8 by 8 pixels.
//!
//! It is the test set of *Optical Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak (UCI Machine
//! Learning Repository, 1998, <https://doi.org/10.24432/C50P49>), under the CC BY 4.0 licence; the same
//! digits, in the same order, as scikit-learn's `load_digits`. `data/README.md` in this crate's sources tells
//! how it was packed.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;

/// The number of digits.
pub const COUNT: usize = 1797;
/// The height and width of a digit in pixels.
pub const SIDE: usize = 8;
/// The number of classes, the digits 0 to 9.
pub const CLASSES: usize = 10;
/// The value of a fully inked pixel; an empty one is 0.
pub const MAX_PIXEL: u8 = 16;

/// The digits and what they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    /// `[COUNT, SIDE, SIDE]` pixels in row-major order, each 0 to [`MAX_PIXEL`].
    pub pixels: Vec<u8>,
    /// `[COUNT]` labels, each 0 to 9.
    pub labels: Vec<u8>,
}

static PACKED: &[u8] = include_bytes!("../data/digits.bin.gz");

/// The data set, unpacked on the first call.
///
/// ```
/// use kiln_data::digits;
///
/// let digits = digits::load();
/// assert_eq!(digits.labels[..3], [0, 1, 2]);
/// // The second digit, a one: its fourth row of eight pixels.
/// assert_eq!(digits.pixels[64 + 3 * 8..][..8], [0, 7, 15, 16, 16, 2, 0, 0]);
/// ```
pub fn load() -> &'static Digits {
    static DIGITS: OnceLock<Digits> = OnceLock::new();
    DIGITS.get_or_init(|| {
        let mut pixels = Vec::with_capacity(COUNT * (SIDE * SIDE + 1));
        GzDecoder::new(PACKED).read_to_end(&mut pixels).expect("the embedded file is whole");
        let labels = pixels.split_off(COUNT * SIDE * SIDE);
        Digits { pixels, labels }
    })
}
