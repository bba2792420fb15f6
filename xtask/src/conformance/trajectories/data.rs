//! What a run is trained on: the stored tensors, or the same ones drawn from seeds.

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::{DType, Generator, Tensor, TensorOptions, manual_seed};
use serde_json::Value as Json;

use super::super::recording::{Recording, seed};

/// Inputs as the network sees them, targets, and the rows of every step.
pub struct Data {
    pub x: Tensor,
    pub y: Tensor,
    pub batches: Vec<Vec<i64>>,
}

/// Bytes become numbers from 0 to 1.
fn seen(x: Tensor) -> Result<Tensor> {
    Ok(match x.dtype() {
        DType::U8 => x.to_dtype(DType::F32)?.div(255.0)?,
        _ => x,
    })
}

fn recorded_batches(case: &Json) -> Result<Vec<Vec<i64>>> {
    let steps = case["batches"].as_array().context("no batches")?;
    let rows = |step: &Json| step.as_array()?.iter().map(Json::as_i64).collect::<Option<Vec<i64>>>();
    steps.iter().map(|step| rows(step).context("rows that are no numbers")).collect()
}

impl Data {
    /// The stored tensors and rows.
    pub fn given(file: &Recording, case: &Json) -> Result<Self> {
        Ok(Self {
            x: seen(file.tensor("data.x")?)?,
            y: file.tensor("data.y")?,
            batches: recorded_batches(case)?,
        })
    }

    /// The same, drawn: they must be what is stored.
    pub fn draw(file: &Recording, case: &Json) -> Result<Self> {
        let numbers = case["data"]["arguments"].as_array().context("no arguments of the data")?;
        let number =
            |i: usize| -> Result<i64> { numbers.get(i).and_then(Json::as_i64).context("too few arguments") };
        let data_seed = seed(&numbers[0])?;
        let size = |i: usize| -> Result<usize> { Ok(usize::try_from(number(i)?)?) };
        let n = size(1)?;
        let (x, y) = match case["data"]["kind"].as_str().unwrap_or("?") {
            "image" => image(data_seed, n, size(2)?, size(3)?, number(4)?)?,
            "token" => token(data_seed, n, size(2)?, number(3)?, number(4)?)?,
            "line" => line(data_seed, n)?,
            other => bail!("no data named {other}"),
        };
        for (name, drawn) in [("data.x", &x), ("data.y", &y)] {
            let same = drawn.dims() == file.tensor(name)?.dims() && drawn.equal(&file.tensor(name)?)?;
            ensure!(same, "other {name} than recorded");
        }
        let recorded = recorded_batches(case)?;
        let batches = batches(seed(&case["seed"])?.wrapping_add(1), n, &recorded)?;
        ensure!(batches == recorded, "other batches than recorded");
        Ok(Self { x: seen(x)?, y, batches })
    }

    /// Some rows of both.
    pub fn rows(&self, rows: &[i64]) -> Result<(Tensor, Tensor)> {
        let rows = Tensor::from_vec(rows.to_vec(), [rows.len()])?;
        Ok((self.x.index_select(0, &rows)?, self.y.index_select(0, &rows)?))
    }
}

/// Permutations of all rows, cut into whole batches, as many as were recorded.
fn batches(start: u64, n: usize, recorded: &[Vec<i64>]) -> Result<Vec<Vec<i64>>> {
    let size = recorded.first().map_or(0, Vec::len);
    ensure!(size > 0 && size <= n, "batches of {size} from {n} rows");
    let mut generator = Generator::new(start);
    let mut out: Vec<Vec<i64>> = Vec::new();
    while out.len() < recorded.len() {
        let order = Tensor::randperm_generator(n, TensorOptions::new().dtype(DType::I64), &mut generator);
        let order = order.to_vec::<i64>()?;
        out.extend(order.chunks_exact(size).map(<[i64]>::to_vec));
    }
    out.truncate(recorded.len());
    Ok(out)
}

/// A prototype per class and noise, as bytes.
fn image(start: u64, n: usize, channels: usize, side: usize, classes: i64) -> Result<(Tensor, Tensor)> {
    let g = &mut Generator::new(start);
    let float = TensorOptions::new().dtype(DType::F32);
    let prototypes = Tensor::rand_generator([classes as usize, channels, side, side], float, g);
    let y = Tensor::randint_generator(0, classes, [n], TensorOptions::new().dtype(DType::I64), g)?;
    let noise = Tensor::rand_generator([n, channels, side, side], float, g);
    let mixed = prototypes.index_select(0, &y)?.mul(0.45)?.add(&noise.mul(0.55)?)?;
    Ok((mixed.mul(255.0)?.floor()?.to_dtype(DType::U8)?, y))
}

/// Sequences in which the token numbered like the class comes up often.
fn token(start: u64, n: usize, length: usize, vocabulary: i64, classes: i64) -> Result<(Tensor, Tensor)> {
    let g = &mut Generator::new(start);
    let int = TensorOptions::new().dtype(DType::I64);
    let y = Tensor::randint_generator(0, classes, [n], int, g)?;
    let x = Tensor::randint_generator(0, vocabulary, [n, length], int, g)?;
    let m = Tensor::rand_generator([n, length], TensorOptions::new().dtype(DType::F32), g);
    let often = y.unsqueeze(1)?.expand([n, length])?;
    Ok((often.where_self(&m.lt(0.3)?, &x)?, y))
}

/// Points near a plane.
fn line(start: u64, n: usize) -> Result<(Tensor, Tensor)> {
    manual_seed(start);
    let x = Tensor::normal(0.0, 1.0, [n, 2])?;
    let w = Tensor::from_vec(vec![2f32, -3.4], [2])?;
    let y = x.mv(&w)?.add(4.2)?;
    let y = y.add(&Tensor::normal(0.0, 0.01, [n])?)?;
    Ok((x, y.unsqueeze(1)?))
}
