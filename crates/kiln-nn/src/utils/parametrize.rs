//! Parameters that are computed from others: what PyTorch keeps in `torch.nn.utils.parametrize`.

use kiln_autograd::{Error, Here, Result, Tensor, no_grad};

use crate::module::{Forward, Module};
use crate::parts::{Parameter, PartRef, Parts};

/// A function that makes a layer's parameter out of what is learned in its place. Every [`Forward`] is one of a single
/// tensor.
pub trait Parametrization: Module {
    /// The parameter, computed from the learned tensors.
    ///
    /// # Errors
    /// They do not fit.
    fn compute(&self, originals: &[Tensor]) -> Result<Tensor>;

    /// The tensors to be learned that give `value`: what [`Parametrization::compute`] then gives should be near to it. By
    /// default the value itself.
    ///
    /// # Errors
    /// There are none.
    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![value.clone()])
    }

    /// Names under which the tensors behind a parameter may have been saved, beside it, and the names of today:
    /// see [`Module::former_names`].
    fn former_names_of(&self, _name: &str) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl<F: Forward> Parametrization for F {
    #[track_caller]
    fn compute(&self, originals: &[Tensor]) -> Result<Tensor> {
        match originals {
            [one] => self.call(one),
            _ => Err(Error::value("parametrize", format!("{} takes one tensor", self.type_name()))),
        }
    }
}

/// The tensors behind one parameter and the functions that lead from them to it (`ParametrizationList`).
struct List {
    name: String,
    originals: Vec<Parameter>,
    steps: Vec<Box<dyn Parametrization>>,
    /// The layer's own handle, which gets the result before each use of the layer.
    value: Tensor,
}

impl List {
    #[track_caller]
    fn compute(&self) -> Result<Tensor> {
        let originals: Vec<Tensor> = self.originals.iter().map(|p| p.tensor().clone()).collect();
        let mut steps = self.steps.iter();
        let Some(first) = steps.next() else { return Ok(self.value.clone()) };
        steps.try_fold(first.compute(&originals)?, |value, step| step.compute(&[value])).here()
    }

    /// The tensors to be learned for a value, found from the last function to the first.
    #[track_caller]
    fn originals_of(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        no_grad(|| {
            let mut tensors = vec![value.detach()];
            for step in self.steps.iter().rev() {
                let [one] = &tensors[..] else {
                    let text = "only the first parametrization of a tensor may have several tensors";
                    return Err(Error::value("parametrize", text));
                };
                tensors = step.right_inverse(one)?;
            }
            tensors.iter().map(Tensor::copy).collect()
        })
        .here()
    }
}

impl Module for List {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        for (i, original) in self.originals.iter().enumerate() {
            let name = if self.originals.len() == 1 { "original".into() } else { format!("original{i}") };
            parts.add(name, original);
        }
        for (i, step) in self.steps.iter().enumerate() {
            parts.add_module(i.to_string(), step.as_module());
        }
    }

    fn type_name(&self) -> &str {
        "ParametrizationList"
    }
}

/// All lists of a layer, by the names of the parameters.
#[derive(Default)]
struct Lists(Vec<List>);

impl Module for Lists {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        for list in &self.0 {
            parts.add(list.name.clone(), list);
        }
    }

    fn type_name(&self) -> &str {
        "ModuleDict"
    }
}

/// A layer some of whose parameters are computed from others before each use, as
/// `torch.nn.utils.parametrize.register_parametrization` makes it.
///
/// What is learned and saved are the tensors behind: `parametrizations.weight.original`, or `original0`, `original1` where
/// there are several. Make the optimizer after this. One thread at a time may train through the layer.
///
/// ```
/// use kiln_nn::utils::parametrize::Parametrized;
/// use kiln_nn::{Forward, Lambda, Linear, Module, Tensor};
/// let symmetric = Lambda::new(|x| x.triu(0)?.add(&x.triu(1)?.t()?));
/// let layer = Parametrized::new(Linear::new(3, 3)).register("weight", symmetric)?;
/// let weight = layer.get("weight")?;
/// assert!(weight.equal(&weight.t()?)?);
/// let names: Vec<String> = layer.state_dict().keys().map(str::to_owned).collect();
/// assert_eq!(names, ["bias", "parametrizations.weight.original"]);
/// assert_eq!(layer.forward(&Tensor::ones([2, 3]))?.dims(), [2, 3]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Parametrized<L> {
    layer: L,
    lists: Lists,
    name: String,
}

impl<L: Module> Parametrized<L> {
    /// A layer that has no computed parameters yet.
    pub fn new(layer: L) -> Parametrized<L> {
        let name = format!("Parametrized{}", layer.type_name());
        Parametrized { layer, lists: Lists::default(), name }
    }

    /// Computes the parameter of this name by a function, or by one more behind those that compute it already. The tensors
    /// behind start from what gives the present value, as far as the function can be inverted.
    ///
    /// # Errors
    /// The layer has no parameter of its own of that name; the function fails or changes the shape or dtype.
    #[track_caller]
    pub fn register(mut self, name: &str, parametrization: impl Parametrization) -> Result<Parametrized<L>> {
        const OP: &str = "register_parametrization";
        let known = self.lists.0.iter().position(|list| list.name == name);
        let value = match known {
            Some(at) => self.lists.0[at].value.clone(),
            None => own_parameter(&self.layer, name)
                .cloned()
                .ok_or_else(|| {
                    let text = format!("{} has no parameter {name} of its own", self.layer.type_name());
                    Error::value(OP, text)
                })
                .here()?,
        };
        let (shape, dtype, learned) = match known {
            Some(at) => (value.shape(), value.dtype(), self.lists.0[at].originals[0].requires_grad()),
            None => (value.shape(), value.dtype(), value.requires_grad()),
        };
        parametrization.set_training(self.layer.is_training());
        let before = match known {
            Some(at) => no_grad(|| self.lists.0[at].compute()).here()?,
            None => value.detach(),
        };
        let at = known.unwrap_or_else(|| {
            let list = List { name: name.to_owned(), originals: Vec::new(), steps: Vec::new(), value };
            self.lists.0.push(list);
            self.lists.0.len() - 1
        });
        let list = &mut self.lists.0[at];
        list.steps.push(Box::new(parametrization));
        list.originals = list
            .originals_of(&before)?
            .into_iter()
            .map(|tensor| {
                let original = Parameter::new(tensor)?;
                original.tensor().clone().requires_grad_(learned)?;
                Ok(original)
            })
            .collect::<Result<_>>()
            .here()?;
        let now = no_grad(|| list.compute()).here()?;
        if now.shape() != shape || now.dtype() != dtype {
            return Err(Error::value(
                OP,
                format!(
                    "Registering a parametrization may not change the shape or the dtype of the tensor: it was {shape:?} \
                     of {dtype}, it would be {:?} of {}",
                    now.shape(),
                    now.dtype()
                ),
            ));
        }
        list.value.set_result(&now)?;
        Ok(self)
    }

    /// The layer with its parameters computed anew: for calls that [`Forward`] does not cover, as those of an LSTM.
    ///
    /// # Errors
    /// A parametrization fails.
    #[track_caller]
    pub fn layer(&self) -> Result<&L> {
        for list in &self.lists.0 {
            list.value.set_result(&list.compute()?)?;
        }
        Ok(&self.layer)
    }

    /// A computed parameter's present value.
    ///
    /// # Errors
    /// There is none of that name, or its parametrization fails.
    #[track_caller]
    pub fn get(&self, name: &str) -> Result<Tensor> {
        self.list(name)?.compute()
    }

    /// The learned tensors behind a computed parameter.
    ///
    /// # Errors
    /// There is none of that name.
    #[track_caller]
    pub fn originals(&self, name: &str) -> Result<&[Parameter]> {
        Ok(&self.list(name)?.originals)
    }

    /// Gives a computed parameter this value, as far as its parametrization can be inverted (`layer.weight = value`).
    ///
    /// # Errors
    /// There is none of that name; the value does not fit.
    #[track_caller]
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let list = self.list(name)?;
        let tensors = list.originals_of(value)?;
        let fits = tensors.len() == list.originals.len()
            && tensors.iter().zip(&list.originals).all(|(a, b)| a.shape() == b.shape());
        if !fits {
            let text = format!("the shape {:?} does not fit the parameter {name}", value.shape());
            return Err(Error::shape("parametrize", text));
        }
        no_grad(|| list.originals.iter().zip(&tensors).try_for_each(|(own, new)| own.copy_(new))).here()
    }

    /// The plain layer, its parameters with the values that they had last (`remove_parametrizations`).
    ///
    /// # Errors
    /// A parametrization fails.
    #[track_caller]
    pub fn remove(self) -> Result<L> {
        for list in &self.lists.0 {
            let learned = list.originals.iter().any(|original| original.requires_grad());
            let value = no_grad(|| list.compute()).here()?.detach().copy()?;
            list.value.set_result(&value)?;
            list.value.clone().requires_grad_(learned)?;
        }
        Ok(self.layer)
    }

    /// The plain layer, each parameter being the learned tensor behind it (`leave_parametrized=False`).
    ///
    /// # Errors
    /// There are several tensors behind a parameter.
    #[track_caller]
    pub fn remove_to_original(self) -> Result<L> {
        if self.lists.0.iter().any(|list| list.originals.len() != 1) {
            let text =
                "leaving the original is only possible for parametrizations of one tensor; use remove()";
            return Err(Error::value("remove_parametrizations", text));
        }
        for list in &self.lists.0 {
            list.value.set_result(&list.originals[0])?;
        }
        Ok(self.layer)
    }

    #[track_caller]
    fn list(&self, name: &str) -> Result<&List> {
        self.lists
            .0
            .iter()
            .find(|list| list.name == name)
            .ok_or_else(|| {
                Error::value("parametrize", format!("{} computes no parameter {name}", self.type_name()))
            })
            .here()
    }
}

/// A parameter directly in a module.
pub(super) fn own_parameter<'a>(module: &'a dyn Module, name: &str) -> Option<&'a Tensor> {
    let mut parts = Parts::default();
    module.parts(&mut parts);
    parts.iter().find_map(|(own, part)| match part {
        PartRef::Parameter(parameter) if own == name => Some(parameter.tensor()),
        _ => None,
    })
}

impl<L: Module> Module for Parametrized<L> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add_own_of(&self.layer, |name| self.lists.0.iter().any(|list| list.name == name));
        parts.add("parametrizations", &self.lists);
    }

    fn type_name(&self) -> &str {
        &self.name
    }

    fn extra_repr(&self) -> String {
        self.layer.extra_repr()
    }

    fn former_names(&self) -> Vec<(String, String)> {
        let lists = self.lists.0.iter();
        lists
            .flat_map(|list| list.steps.first().map(|s| s.former_names_of(&list.name)).unwrap_or_default())
            .collect()
    }
}

impl<L: Forward> Forward for Parametrized<L> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.layer()?.forward(input)
    }
}

impl<L: Module> std::fmt::Display for Parametrized<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::print::fmt_module(self, f)
    }
}

impl<L: Module> std::fmt::Debug for Parametrized<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::print::fmt_module(self, f)
    }
}
