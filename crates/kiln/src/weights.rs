//! [`fetch_weights`]: published weights on this machine.

use std::path::PathBuf;

use kiln_autograd::Result;
use kiln_data::download::{Checksum, Download};
use kiln_models::weights::Weights;

/// The path of a file of published weights in the cache folder (`KILN_CACHE`), downloaded if it is not there yet. What
/// is there is checked by size and SHA-256, and fetched anew if it is damaged.
///
/// ```no_run
/// use kiln::models::{resnet18, weights};
/// use kiln::prelude::*;
/// # fn main() -> Result<()> {
/// let net = resnet18(1000)?;
/// net.load_state_dict(&kiln::load(kiln::fetch_weights(&weights::RESNET18)?)?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The file is not in the cache and cannot be had: there is no network, or the feature `download` is off. The message
/// names the place where a copy of the file would be found.
#[track_caller]
pub fn fetch_weights(weights: &Weights) -> Result<PathBuf> {
    let (name, url) = (format!("weights/{}", weights.file), weights.url());
    let checksum = Checksum::Sha256(weights.sha256);
    Ok(Download { name: &name, urls: &[&url], checksum, size: weights.size }.fetch()?)
}
