//! Where published weights are, and how to know them.

/// A published file of weights. `kiln::fetch_weights` has it downloaded once, checked and kept.
///
/// ```
/// use kiln_models::weights;
/// assert_eq!(weights::RESNET18.url(), "https://download.pytorch.org/models/resnet18-f37072fd.pth");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// The name of the file, which begins with the network's and has the first digits of the checksum in it.
    pub file: &'static str,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: &'static str,
    /// The size of the file in bytes.
    pub size: u64,
}

impl Weights {
    /// Where the file can be had.
    pub fn url(&self) -> String {
        format!("https://download.pytorch.org/models/{}", self.file)
    }
}

/// [`resnet18`](crate::resnet18), trained on ImageNet: `ResNet18_Weights.IMAGENET1K_V1` of torchvision.
pub const RESNET18: Weights = Weights {
    file: "resnet18-f37072fd.pth",
    sha256: "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    size: 46_830_571,
};

/// [`resnet50`](crate::resnet50), trained on ImageNet: `ResNet50_Weights.IMAGENET1K_V1` of torchvision.
pub const RESNET50: Weights = Weights {
    file: "resnet50-0676ba61.pth",
    sha256: "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    size: 102_530_333,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_begin_with_the_network_and_end_with_the_checksum() {
        for (weights, network) in [(RESNET18, "resnet18"), (RESNET50, "resnet50")] {
            assert_eq!(weights.sha256.len(), 64);
            assert_eq!(weights.file, format!("{network}-{}.pth", &weights.sha256[..8]));
        }
    }
}
