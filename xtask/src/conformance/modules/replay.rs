//! One case of the `modules` part.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::{BackwardOptions, ErrorKind, Tensor, grad, manual_seed};
use kiln_nn::{Module, StateDict};
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::call::Decoded;
use crate::conformance::args::{Out, Stop};
use crate::conformance::bits;
use crate::conformance::tensors::{from_stored, to_got};
use crate::vectors::{Arg, DType, Outcome, Stored, Values};

/// A file of cases and their tensors.
pub struct File {
    /// The class, or `errors`.
    pub name: String,
    cases: Vec<Json>,
    bytes: Vec<u8>,
}

impl File {
    /// Reads `Class.json` and `Class.safetensors`.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut json: Json = serde_json::from_slice(&read(path)?).context("the cases are not JSON")?;
        let Json::Array(cases) = json["cases"].take() else { bail!("{name}.json has no cases") };
        Ok(Self { name, cases, bytes: read(&path.with_extension("safetensors"))? })
    }

    /// How many cases there are.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// The name of a case.
    pub fn id(&self, index: usize) -> String {
        self.cases[index]["id"].as_str().unwrap_or("?").to_owned()
    }

    fn tensor(&self, key: &str) -> Result<Tensor> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let view = file.tensor(key).with_context(|| format!("no tensor {key}"))?;
        let dtype = DType::from_file(view.dtype())?;
        from_stored(&Stored { dtype, shape: view.shape().to_vec(), bytes: view.data() })
    }

    /// The arguments of an array and an object; those in `leaves` require a gradient.
    fn decode(&self, args: &Json, kwargs: &Json, leaves: &Json) -> Result<Decoded> {
        let mut tensor = |key: &str, path: &str| -> Result<Tensor> {
            let tensor = self.tensor(key)?;
            Ok(if leaves.get(path).is_some() { tensor.requires_grad_(true)? } else { tensor })
        };
        Decoded::new(args, kwargs, &mut tensor)
    }
}

/// How a case ends that does not pass.
enum End {
    Failed(anyhow::Error),
    Unsupported(String),
}

impl<E: Into<anyhow::Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What a call's end means: an error of Kiln, or that there is no such thing.
fn end(stop: Stop, doing: &'static str) -> End {
    match stop {
        Stop::Missing(what) => End::Unsupported(what),
        Stop::Inexpressible(reason) => End::Unsupported(reason.to_owned()),
        Stop::NoRow => End::Unsupported("the class".to_owned()),
        Stop::Refused(error) => match error.kind() {
            ErrorKind::Unsupported { .. } => End::Unsupported(error.to_string()),
            _ => End::Failed(anyhow::Error::new(error).context(doing)),
        },
    }
}

/// Replays a case.
pub fn case(file: &File, index: usize) -> Outcome {
    let case = &file.cases[index];
    let result = if file.name == "errors" { error(file, case) } else { replay(file, case) };
    match result {
        Ok(()) => Outcome::Passed,
        Err(End::Failed(error)) => Outcome::Failed(format!("{error:#}")),
        Err(End::Unsupported(what)) => Outcome::Unsupported(what),
    }
}

fn class(case: &Json) -> Result<&str> {
    case["module"].as_str().context("no class")
}

/// Misuse: building, calling or reading must give an error.
fn error(file: &File, case: &Json) -> Result<(), End> {
    let name = class(case)?;
    let setup = file.decode(&case["args"], &case["kwargs"], &Json::Null)?;
    let built = setup.with(|setup| super::build(name, setup));
    let called = match (built, case["access"].as_str()) {
        (Err(stop), _) => Err(stop),
        (Ok(layer), Some("parameter_count")) => {
            layer.parameter_count().map(|n| Out::Plain(Arg::Int(n as i64)))
        }
        (Ok(_), Some(other)) => return Err(End::Unsupported(format!("the access {other}"))),
        (Ok(layer), None) => {
            layer.module().set_training(case["training"] != false);
            let given = file.decode(&case["forward"], &Json::Null, &Json::Null)?;
            given.with(|given| layer.call(given))
        }
    };
    match called {
        Ok(_) => Err(anyhow::anyhow!("must be refused, and was not").into()),
        Err(stop) => match end(stop, "refused") {
            End::Failed(_) => Ok(()),
            unsupported => Err(unsupported),
        },
    }
}

fn replay(file: &File, case: &Json) -> Result<(), End> {
    let name = class(case)?;
    let setup = file.decode(&case["args"], &case["kwargs"], &Json::Null)?;
    let layer = setup.with(|setup| super::build(name, setup)).map_err(|stop| end(stop, "building"))?;
    let module = layer.module();
    let lazy = case["lazy"] == true;
    let state = named(file, &case["state"])?;
    if !lazy {
        let state: StateDict = state.iter().map(|(name, t)| (name.clone(), t.clone())).collect();
        module.load_state_dict(&state).context("loading the state")?;
    }
    module.set_training(case["training"] != false);
    let forward = &case["forward"];
    let given = file.decode(&forward["args"], &forward["kwargs"], &case["grad_inputs"])?;
    let seed = case["seed"].as_u64().context("no seed")?;
    manual_seed(seed);
    let result = given.with(|given| layer.call(given)).map_err(|stop| end(stop, "calling"))?;

    // Lazy layers have no recorded deviation.
    let slack = |key: &str| f64::max(1e-5, 10.0 * case["f64_dev"][key].as_f64().unwrap_or(0.0));
    let mut outputs = BTreeMap::new();
    flatten("out".to_owned(), &case["output"], &result, &mut outputs)?;
    outputs.values().try_for_each(|(_, got)| bits::see(got))?;
    for (path, (key, got)) in &outputs {
        same(got, &file.tensor(key)?, slack("output")).with_context(|| path.clone())?;
    }
    gradients(file, case, module, &given, &outputs, slack("grads"))?;

    let after = named(file, &case["state_after"])?;
    let now = module.state_dict();
    for (name, want) in &after {
        let got = now.get(name).with_context(|| format!("no {name} after the call"))?;
        bits::see(got)?;
        same(got, want, slack("output")).with_context(|| format!("{name} after the call"))?;
    }
    for (name, before) in state.iter().filter(|(name, _)| !after.contains_key(*name)) {
        let got = now.get(name).with_context(|| format!("no {name} after the call"))?;
        same(got, before, 0.0).with_context(|| format!("{name}, which the call must not change"))?;
    }
    Ok(())
}

/// The tensors of an object of keys.
fn named(file: &File, object: &Json) -> Result<BTreeMap<String, Tensor>> {
    let entries = object.as_object().into_iter().flatten();
    entries
        .map(|(name, key)| Ok((name.clone(), file.tensor(key.as_str().context("a key is no string")?)?)))
        .collect()
}

/// Lists the tensors of a result by path, each with the key of what is expected there.
fn flatten(
    path: String,
    want: &Json,
    got: &Out,
    into: &mut BTreeMap<String, (String, Tensor)>,
) -> Result<()> {
    let packed = want.get("packed_sequence");
    match (want, got) {
        (Json::Null, Out::Plain(Arg::None)) => Ok(()),
        (Json::Array(want), Out::List(got)) => {
            ensure!(want.len() == got.len(), "{path} has {} parts, expected {}", got.len(), want.len());
            let mut pairs = want.iter().zip(got).enumerate();
            pairs.try_for_each(|(i, (want, got))| flatten(format!("{path}.{i}"), want, got, into))
        }
        (Json::Object(_), Out::List(got)) if packed.is_some() && got.len() == 2 => {
            let packed = packed.unwrap_or(&Json::Null);
            flatten(format!("{path}.data"), &packed["data"], &got[0], into)?;
            flatten(format!("{path}.batch_sizes"), &packed["batch_sizes"], &got[1], into)
        }
        (Json::Object(object), Out::Tensor(got)) => {
            let key = object.get("t").and_then(Json::as_str).context("no key")?;
            into.insert(path, (key.to_owned(), got.clone()));
            Ok(())
        }
        _ => bail!("{path} is built otherwise than {want}"),
    }
}

/// The gradients of the sum of all `output * cotangent`.
fn gradients(
    file: &File,
    case: &Json,
    module: &dyn Module,
    given: &Decoded,
    outputs: &BTreeMap<String, (String, Tensor)>,
    slack: f64,
) -> Result<()> {
    let mut roots = Vec::new();
    let mut upstream = Vec::new();
    for (path, key) in case["cotangent"].as_object().into_iter().flatten() {
        let (_, output) = outputs.get(path).with_context(|| format!("no output {path}"))?;
        if output.requires_grad() {
            roots.push(output);
            upstream.push(file.tensor(key.as_str().context("a key is no string")?)?);
        }
    }
    let parameters: BTreeMap<String, Tensor> = module.named_parameters().into_iter().collect();
    let inputs: BTreeMap<&str, &Tensor> = given.tensors().collect();
    let mut leaves = Vec::new();
    for (path, key) in case["grad_inputs"].as_object().into_iter().flatten() {
        let leaf = inputs.get(path.as_str()).with_context(|| format!("no input {path}"))?;
        leaves.push((path, *leaf, key.as_str()));
    }
    for (name, key) in case["grad_params"].as_object().into_iter().flatten() {
        leaves.push((
            name,
            parameters.get(name).with_context(|| format!("no parameter {name}"))?,
            key.as_str(),
        ));
    }
    let found = match roots.is_empty() || leaves.is_empty() {
        true => vec![None; leaves.len()],
        false => {
            let tensors: Vec<&Tensor> = leaves.iter().map(|(_, t, _)| *t).collect();
            let cotangents: Vec<Option<&Tensor>> = upstream.iter().map(Some).collect();
            let options = BackwardOptions { retain_graph: false, create_graph: false };
            grad(&roots, &tensors, &cotangents, options, true).context("the backward pass")?
        }
    };
    found.iter().flatten().try_for_each(bits::see)?;
    for ((name, leaf, key), got) in leaves.iter().zip(found) {
        // No gradient counts as zeros, and zeros as none.
        let zeros = || leaf.detach().zeros_like();
        let want = key.map_or_else(|| Ok(zeros()?), |key| file.tensor(key))?;
        let got = got.map_or_else(zeros, Ok)?;
        same(&got, &want, slack).with_context(|| format!("the gradient of {name}"))?;
    }
    Ok(())
}

/// Whether the largest error is at most `slack` of the largest finite magnitude; integers must be equal.
fn same(got: &Tensor, want: &Tensor, slack: f64) -> Result<()> {
    let (got, want) = (to_got(got)?, to_got(want)?);
    ensure!(got.dtype == want.dtype, "dtype {}, expected {}", got.dtype, want.dtype);
    ensure!(got.shape == want.shape, "shape {:?}, expected {:?}", got.shape, want.shape);
    match (&got.values, &want.values) {
        (Values::Float(got), Values::Float(want)) => {
            let finite = want.iter().filter(|w| w.is_finite()).map(|w| w.abs());
            let room = slack * finite.fold(1e-3, f64::max);
            for (i, (g, w)) in got.iter().zip(want).enumerate() {
                let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= room;
                ensure!(same, "element {i} is {g}, expected {w} within {room:e}");
            }
            Ok(())
        }
        (got, want) => {
            ensure!(got == want, "{got:?}, expected {want:?}");
            Ok(())
        }
    }
}
