//! Orders in which loaders and samplers take elements.

use anyhow::{Context, Result, ensure};
use kiln_autograd::Generator;
use kiln_autograd::kiln_ops::random::sampling::{
    RandomOrder, draw_seed, random_split, split_lengths, subset_order, weighted_order,
};
use serde_json::Value as Json;

use super::super::recording::{Stop, missing, seed};

fn indices(value: &Json) -> Result<Vec<i64>> {
    let items = value.as_array().context("no list of indices")?;
    items.iter().map(|i| i.as_i64().with_context(|| format!("{i} is no index"))).collect()
}

fn floats(value: &Json) -> Result<Vec<f64>> {
    let items = value.as_array().context("no list of numbers")?;
    items.iter().map(|i| i.as_f64().with_context(|| format!("{i} is no number"))).collect()
}

fn count(value: &Json) -> Result<usize> {
    Ok(value.as_u64().with_context(|| format!("{value} is no count"))? as usize)
}

fn same<T: PartialEq + std::fmt::Debug>(got: &T, want: &T) -> Result<()> {
    ensure!(got == want, "{got:?}, expected {want:?}");
    Ok(())
}

/// The next two numbers of a stream: they differ when another number of values was taken before.
fn probe(generator: &mut Generator) -> Result<Vec<i64>> {
    let mut values = [0i64; 2];
    generator.random_from_to(&mut values, 0, 1 << 24)?;
    Ok(values.to_vec())
}

/// Replays a case.
pub fn case(case: &Json) -> Result<(), Stop> {
    let mut stream = Generator::new(seed(&case["seed"])?);
    let replacement = case["replacement"] == true;
    match case["kind"].as_str().unwrap_or("?") {
        "RandomSampler" => {
            let n = count(&case["n"])?;
            let samples = case["num_samples"].as_u64().map_or(n, |s| s as usize);
            let order = RandomOrder::new(n, samples, replacement)?.collect(&mut stream)?;
            same(&order, &indices(&case["order"])?)?
        }
        "SubsetRandomSampler" => {
            let order = subset_order(&mut stream, &indices(&case["indices"])?)?;
            same(&order, &indices(&case["order"])?)?
        }
        "WeightedRandomSampler" => {
            let (weights, samples) = (floats(&case["weights"])?, count(&case["num_samples"])?);
            let order = weighted_order(&mut stream, &weights, samples, replacement)?;
            same(&order, &indices(&case["order"])?)?
        }
        "random_split" => {
            let given = floats(&case["lengths"])?;
            let lengths = match case.get("n") {
                Some(n) => split_lengths(count(n)?, &given)?,
                None => given.iter().map(|&l| l as usize).collect(),
            };
            let (order, cuts) = random_split(&mut stream, lengths.iter().sum(), &lengths)?;
            let parts: Vec<Vec<i64>> = cuts.into_iter().map(|cut| order[cut].to_vec()).collect();
            let want = case["parts"].as_array().context("no parts")?;
            same(&parts, &want.iter().map(indices).collect::<Result<_>>()?)?
        }
        kind @ ("loader" | "loader-sequential") => loader(case, stream, kind == "loader")?,
        "worker-seeds" => workers(case, &mut stream)?,
        other => return missing(format!("the sampler {other}")),
    }
    Ok(())
}

/// Two epochs of a loader, and what its streams give next.
fn loader(case: &Json, mut stream: Generator, shuffled: bool) -> Result<()> {
    let n = count(&case["n"])?;
    let own = case["generator"] == "generator";
    let mut default = if own { Generator::new(seed(&case["default_seed"])?) } else { stream.clone() };
    let batch = count(&case["batch_size"])?;
    let drop_last = case["drop_last"] == true;
    for want in case["epochs"].as_array().context("no epochs")? {
        let _base_seed = draw_seed(if own { &mut stream } else { &mut default });
        let order = match (shuffled, own) {
            (false, _) => (0..n as i64).collect(),
            (true, true) => RandomOrder::shuffle(n)?.collect(&mut stream)?,
            (true, false) => {
                RandomOrder::shuffle(n)?.collect(&mut Generator::new(draw_seed(&mut default)))?
            }
        };
        let batches = order.chunks(batch).filter(|b| !drop_last || b.len() == batch).map(<[i64]>::to_vec);
        let want = want.as_array().context("no batches")?;
        same(&batches.collect::<Vec<_>>(), &want.iter().map(indices).collect::<Result<_>>()?)?;
    }
    same(&probe(&mut default)?, &indices(&case["probe_default"])?)?;
    match own {
        true => same(&probe(&mut stream)?, &indices(&case["probe_generator"])?),
        false => Ok(()),
    }
}

/// The seeds of workers, and what they draw.
fn workers(case: &Json, stream: &mut Generator) -> Result<()> {
    let base = draw_seed(stream);
    let workers = 0..count(&case["workers"])? as u64;
    let mut streams: Vec<Generator> = workers.map(|k| Generator::new(base.wrapping_add(k))).collect();
    for item in case["items"].as_array().context("no items")? {
        let worker = streams.get_mut(count(&item[0])?).context("no such worker")?;
        same(&worker.initial_seed(), &seed(&item[1])?)?;
        for want in floats(&item[2])? {
            same(&f64::from(worker.unit32()), &want)?;
        }
    }
    Ok(())
}
