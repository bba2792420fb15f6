//! Picking and placing by index tensors.

use crate::conformance::args::{Answer, Args, Out, Stop};

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let (axis, index) = (|| a.int(1, "dim"), || a.tensor(2, "index"));
    Ok(match name {
        "index_select" => a.x()?.index_select(axis()?, &index()?)?.into(),
        "gather" => a.x()?.gather(axis()?, &index()?)?.into(),
        "scatter_add" => a.x()?.scatter_add(axis()?, &index()?, &a.tensor(3, "src")?)?.into(),
        "masked_fill" => match a.value(2, "value")? {
            crate::conformance::args::Value::Number(s) => {
                a.x()?.masked_fill(&a.tensor(1, "mask")?, s)?.into()
            }
            crate::conformance::args::Value::Tensor(t) => {
                a.x()?.masked_fill(&a.tensor(1, "mask")?, t.item()?)?.into()
            }
        },
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(_name: &str, _a: &Args<'_>) -> Answer<()> {
    Err(Stop::NoRow)
}
