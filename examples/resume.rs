//! A training run that may be killed at any time: started again, it goes on with the next batch and ends with the same bits.
//!
//! `cargo run --release --example resume -- run.pt` trains and saves as it goes; with a number of steps behind the file it
//! stops after that many, as if it had been interrupted. Whatever the interruptions, the last line is that of an
//! uninterrupted run.

use kiln::prelude::*;

mod support;

const EPOCHS: i64 = 8;
/// Steps between two saves.
const EVERY: i64 = 20;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "resume.pt".to_owned());
    let stop: Option<i64> = args.next().and_then(|n| n.parse().ok());

    manual_seed(0);
    let train = DataLoader::new(ImageClasses::digits(Split::Train)?, 32).shuffle(true).num_workers(2);
    let test = DataLoader::new(ImageClasses::digits(Split::Test)?, 256);
    let model = sequential![
        Conv2d::new(1, 16, 3).padding(1),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(256, 64),
        ReLU::new(),
        Dropout::new(0.25),
        Linear::new(64, 10)
    ];
    let mut optimizer = Adam::new(model.parameters(), 2e-3);
    let mut scheduler = CosineAnnealingLR::new(EPOCHS).on(&mut optimizer)?;
    let (mut epoch, mut step) = (0, 0);

    if let Some(saved) = TrainingCheckpoint::load_if_exists(&path)? {
        (epoch, step) = (saved.get("epoch")?.to_i64()?, saved.get("step")?.to_i64()?);
        saved
            .restore()
            .model("model", &model)
            .optimizer("optimizer", &mut optimizer)
            .scheduler("scheduler", &mut scheduler)
            .loader("train", &train)
            .done()?;
        println!("going on from {path} in epoch {} behind step {step}", epoch + 1);
    }

    let loss_fn = CrossEntropyLoss::new();
    let until = stop.map(|n| step + n);
    while epoch < EPOCHS {
        for batch in &train {
            let (x, y) = batch?;
            optimizer.zero_grad();
            loss_fn.forward(&model.forward(&x)?, &y)?.backward()?;
            optimizer.step()?;
            step += 1;
            if step % EVERY == 0 {
                TrainingCheckpoint::new()
                    .model("model", &model)
                    .optimizer("optimizer", &optimizer)
                    .scheduler("scheduler", &scheduler)
                    .loader("train", &train)
                    .value("epoch", epoch)
                    .value("step", step)
                    .save(&path)?;
            }
            if Some(step) == until {
                println!("interrupted behind step {step}; the last save is in {path}");
                return Ok(());
            }
        }
        scheduler.step(&mut optimizer)?;
        epoch += 1;
        let (accuracy, loss) = support::evaluate(&model, &test)?;
        println!("epoch {epoch}  step {step:3}  test loss {loss:.4}  test accuracy {accuracy:.4}");
    }
    let (accuracy, loss) = support::evaluate(&model, &test)?;
    println!(
        "result: accuracy={accuracy:.4} loss={loss:.4} weights=sha256:{}",
        support::weights_hash(&model)?
    );
    Ok(())
}
