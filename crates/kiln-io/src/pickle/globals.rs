//! The allow list: the names that a pickle may use, and those that are known but that Kiln has no counterpart for.

use kiln_autograd::DType;

use super::node::Node;
use crate::fault::{Outcome, unsupported, wrong};

/// A function or class with a meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    /// A dict of counts, as the milestones of a schedule are kept.
    Counter,
    Set,
    Bytes,
    ByteArray,
    /// `_codecs.encode`: how protocol 2 writes bytes.
    Encode,
    Size,
    Device,
    Tensor,
    Parameter,
    RebuildTensor,
    RebuildTensorV2,
    RebuildTensorV3,
    RebuildParameter,
    RebuildParameterWithState,
    /// A tensor with Python attributes.
    RebuildFromType,
    /// A storage class; none for untyped.
    Storage(Option<DType>),
}

/// The node of a name.
pub(crate) fn find<'a>(module: &str, name: &str) -> Outcome<Node<'a>> {
    use Global::*;
    let global = match (module, name) {
        ("collections", "OrderedDict") => OrderedDict,
        ("collections", "Counter") => Counter,
        ("builtins" | "__builtin__", "set") => Set,
        ("builtins" | "__builtin__", "bytes") => Bytes,
        ("builtins" | "__builtin__", "bytearray") => ByteArray,
        ("_codecs", "encode") => Encode,
        ("torch", "Size") => Size,
        ("torch", "device") => Device,
        ("torch" | "torch._tensor", "Tensor") => Tensor,
        ("torch.nn.parameter", "Parameter") => Parameter,
        ("torch._utils", "_rebuild_tensor") => RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v2") => RebuildTensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => RebuildTensorV3,
        ("torch._utils", "_rebuild_parameter") => RebuildParameter,
        ("torch._utils", "_rebuild_parameter_with_state") => RebuildParameterWithState,
        ("torch._tensor", "_rebuild_from_type_v2") => RebuildFromType,
        ("torch" | "torch.cuda", _) if name.ends_with("Storage") => match storage(name) {
            Some(global) => global,
            None => return unsupported_or_refused(module, name),
        },
        ("torch.storage", "UntypedStorage") => Storage(None),
        // Names that torch has, not the short forms that only Kiln reads.
        ("torch", _) => match DType::ALL.into_iter().find(|d| d.name() == name) {
            Some(dtype) => return Ok(Node::DType(dtype)),
            None => return unsupported_or_refused(module, name),
        },
        _ => return unsupported_or_refused(module, name),
    };
    Ok(Node::Global(global))
}

fn storage(name: &str) -> Option<Global> {
    let dtype = match name {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" => DType::U8,
        "BoolStorage" => DType::Bool,
        "UntypedStorage" => return Some(Global::Storage(None)),
        _ => return None,
    };
    Some(Global::Storage(Some(dtype)))
}

fn unsupported_or_refused<'a>(module: &str, name: &str) -> Outcome<Node<'a>> {
    let missing = match (module, name) {
        ("torch" | "torch.cuda", "ComplexFloatStorage" | "ComplexDoubleStorage") => "complex tensors",
        ("torch", "complex32" | "complex64" | "complex128") => "complex dtypes",
        ("builtins" | "__builtin__", "complex") => "complex numbers",
        ("torch" | "torch.cuda", _) if name.starts_with("Float8") || name.starts_with("float8") => {
            "float8 tensors"
        }
        ("torch", "uint16" | "uint32" | "uint64") => "tensors of unsigned integers wider than 8 bits",
        ("torch", _) if name.starts_with("QInt") || name.starts_with("QUInt") => "quantized tensors",
        ("torch._utils", "_rebuild_qtensor") => "quantized tensors",
        ("torch._utils", "_rebuild_sparse_tensor") => "sparse tensors",
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => "meta tensors",
        ("torch.serialization", "_get_layout") => "sparse tensors",
        _ => {
            let show = |text: &str| text.chars().take(80).collect::<String>().escape_debug().to_string();
            return wrong(format!(
                "the file asks for {}.{}, which is not among the functions and classes that tensors and containers are \
                 rebuilt with: nothing of it was called. Save the state dict instead of the whole object, \
                 torch.save(model.state_dict(), path)",
                show(module),
                show(name)
            ));
        }
    };
    unsupported(format!("the file has {missing} ({module}.{name}), which Kiln does not have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_names_are_found() {
        let refused = [
            ("os", "system"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("torch", "load"),
            ("torch", "os.system"),
            ("torch", "float"),
            ("torch.nn.modules.linear", "Linear"),
            ("collections", "OrderedDict.__init__"),
            ("torch.storage", "_load_from_bytes"),
        ];
        for (module, name) in refused {
            assert!(find(module, name).is_err(), "{module}.{name}");
        }
        assert!(matches!(find("torch", "float16"), Ok(Node::DType(DType::F16))));
        assert!(matches!(find("torch", "BoolStorage"), Ok(Node::Global(Global::Storage(Some(DType::Bool))))));
    }
}
