//! A network trained on photographs learns to tell clothes: ResNet-18, frozen but for a new last layer, on Fashion-MNIST.
//!
//! `cargo run --release --example finetune_resnet18` fetches the weights (45 MB) once; `-- --weights PATH` takes a file in
//! torchvision's format instead. Where neither is to be had, the frozen layers are random ones, which shows the steps but
//! learns less. `-- --help` tells the other options; `KILN_DATA` may name a folder that has the data set.

use std::path::PathBuf;
use std::sync::Arc;

use kiln::data::Subset;
use kiln::models::{ResNet, resnet18, weights};
use kiln::prelude::*;
use lexopt::prelude::*;

mod support;

const USAGE: &str = "options:
  --weights PATH  a file of resnet18's weights, as torchvision publishes it
  --train N       how many pictures to train with (6000)
  --test N        how many pictures to test with (1000)
  --epochs N      how often to see them (3)
  --size N        the height and width that pictures are brought to (56)";

struct Options {
    weights: Option<PathBuf>,
    train: usize,
    test: usize,
    epochs: usize,
    size: usize,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        let mut options = Options { weights: None, train: 6000, test: 1000, epochs: 3, size: 56 };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("weights") => options.weights = Some(arguments.value()?.into()),
                Long("train") => options.train = arguments.value()?.parse()?,
                Long("test") => options.test = arguments.value()?.parse()?,
                Long("epochs") => options.epochs = arguments.value()?.parse()?,
                Long("size") => options.size = arguments.value()?.parse()?,
                Long("help") => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

/// The first pictures of a split, as a network for photographs wants them: three channels, larger, and normalised with
/// ImageNet's means and deviations.
struct Photographs {
    pictures: Subset<ImageClasses>,
    size: usize,
}

impl Photographs {
    fn new(split: Split, count: usize, size: usize) -> Result<Photographs> {
        let all = ImageClasses::fashion_mnist(split, None)?;
        let count = count.min(all.len());
        Ok(Photographs { pictures: Subset::new(Arc::new(all), (0..count).collect())?, size })
    }

    /// `[n, 1, height, width] -> [n, 3, size, size]`.
    fn prepare(&self, gray: &Tensor) -> Result<Tensor> {
        let sizes = [self.size, self.size];
        let gray = gray.interpolate(&sizes, InterpolateMode::Linear, Alignment::default())?;
        let mean = tensor![0.485, 0.456, 0.406].view([3, 1, 1])?;
        let deviation = tensor![0.229, 0.224, 0.225].view([3, 1, 1])?;
        gray.sub(&mean)?.div(&deviation)
    }
}

impl Dataset for Photographs {
    type Item = (Tensor, i64);

    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn get(&self, index: usize) -> Result<(Tensor, i64)> {
        let (gray, class) = self.pictures.get(index)?;
        Ok((self.prepare(&gray.unsqueeze(0)?)?.squeeze_axis(0)?, class))
    }

    fn get_batch(&self, indices: &[usize]) -> Result<(Tensor, Tensor)> {
        let (gray, classes) = self.pictures.get_batch(indices)?;
        Ok((self.prepare(&gray)?, classes))
    }
}

/// Loads published weights: from the file that was named, else from the cache or the network. False if there are none.
fn load_weights(model: &ResNet, path: Option<PathBuf>) -> Result<bool> {
    let path = match path.map_or_else(|| kiln::fetch_weights(&weights::RESNET18), Ok) {
        Ok(path) => path,
        Err(error) => {
            println!("no published weights: {error}");
            return Ok(false);
        }
    };
    model.load_state_dict(&kiln::load(&path)?)?;
    println!("weights from {}", path.display());
    Ok(true)
}

/// Lets batch norm see some pictures: layers that were never trained have no statistics of what flows through them.
fn collect_statistics(model: &ResNet, loader: &DataLoader<Photographs>) -> Result<()> {
    println!("the frozen layers stay random; a few batches give them their statistics");
    for batch in loader.iter().take(20) {
        model.features(&batch?.0)?;
    }
    Ok(())
}

/// The hash of everything but the last layer, the statistics included.
fn frozen_hash(model: &ResNet) -> Result<String> {
    let state = model.state_dict().into_iter().filter(|(name, _)| !name.starts_with("fc."));
    support::state_hash(&state.collect())
}

fn main() -> Result<()> {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            std::process::exit(2);
        }
    };
    manual_seed(0);
    let train =
        DataLoader::new(Photographs::new(Split::Train, options.train, options.size)?, 64).shuffle(true);
    let test = DataLoader::new(Photographs::new(Split::Test, options.test, options.size)?, 100);

    let mut model = resnet18(1000)?;
    let published = load_weights(&model, options.weights)?;
    model.requires_grad_(false)?;
    if !published {
        collect_statistics(&model, &train)?;
    }
    model.fc = Linear::new(512, 10);
    let before = frozen_hash(&model)?;
    let learned: Vec<String> = model
        .named_parameters()
        .into_iter()
        .filter(|(_, p)| p.requires_grad())
        .map(|(name, _)| name)
        .collect();
    println!("learned: {}", learned.join(", "));

    let mut optimizer = SGD::new(model.parameters(), 0.05).momentum(0.9);
    let (mut accuracy, mut loss) = support::evaluate(&model, &test)?;
    println!("before    test loss {loss:.4}  test accuracy {accuracy:.4}");
    for epoch in 1..=options.epochs {
        // In training mode batch norm would go on collecting statistics.
        model.eval();
        let seen = support::train_epoch(&model, &train, &mut optimizer, &format!("epoch {epoch:2}"))?;
        (accuracy, loss) = support::evaluate(&model, &test)?;
        println!("epoch {epoch:2}  loss {seen:.4}  test loss {loss:.4}  test accuracy {accuracy:.4}");
    }
    let after = frozen_hash(&model)?;
    println!("frozen layers before: sha256:{before}\nfrozen layers after:  sha256:{after}");
    assert_eq!(before, after, "only fc may change");
    println!(
        "result: accuracy={accuracy:.4} loss={loss:.4} weights=sha256:{}",
        support::weights_hash(&model)?
    );
    Ok(())
}
