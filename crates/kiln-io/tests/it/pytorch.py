"""Reads what Kiln wrote with PyTorch's restricted reader and NumPy, compares, and writes the same objects."""
import math
import sys
from collections import Counter, OrderedDict
from pathlib import Path

import numpy
import torch

folder = Path(sys.argv[1])
base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def from_bits(dtype, patterns):
    return torch.tensor(patterns, dtype=BITS[dtype.itemsize]).view(dtype)


dtypes = OrderedDict(
    bool=torch.tensor([True, False, True]),
    uint8=torch.tensor([0, 255, 17], dtype=torch.uint8),
    int8=torch.tensor([-128, 127], dtype=torch.int8),
    int16=torch.tensor([-32768, 32767, 300], dtype=torch.int16),
    int32=torch.tensor([[-(2**31)], [2**31 - 1]], dtype=torch.int32),
    int64=torch.tensor([[-(2**63), 2**63 - 1, 9007199254740993]]),
    float16=from_bits(torch.float16, [0x7BFF, -0x400, -0x8000, 1]),
    bfloat16=from_bits(torch.bfloat16, [0x7F7F, 0x7F80, -0x8000, 1]),
    float32=from_bits(torch.float32, [0x3FC00000, 0x7FC00000, 0x7F800000, -0x80000000, 1]),
    float64=torch.tensor([[0.1, -math.inf], [sys.float_info.max, 5e-324]], dtype=torch.float64),
)
want = {
    "none": None,
    "bools": [True, False],
    "ints": [0, 1, 255, 256, 65536, -1, -129, -(2**31), 2**63 - 1, -(2**63)],
    "big": 2**64 - 1,
    "floats": [0.0, -0.0, 0.1, 1e300, math.inf, -math.inf],
    "texts": ["", "plain", "ü 漢字 😀", "line\nline"],
    "bytes": bytes(range(256)),
    "no bytes": b"",
    "tuple": (1, (2.5, "three")),
    "one": (1,),
    "unit": (),
    "empty list": [],
    "set": {1, "b"},
    "size": torch.Size([2, 0, 3]),
    "dtype": torch.bfloat16,
    "cpu": torch.device("cpu"),
    "cuda": torch.device("cuda:1"),
    # In Python True and 1 are one key; 7 and True are two.
    "keys": {7: "an integer as key", True: "a bool as key", "ü 漢字": "a text as key", (1, "a"): "a tuple as key"},
    "ordered": dtypes,
    "base": base,
    "transposed": base.T,
    "row": base[2:3],
    "expanded": base[:, 3:4].expand(4, 5),
    "scalar": torch.tensor(3.25, dtype=torch.float64),
    "no elements": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
    "leaf": torch.ones(2, requires_grad=True),
}
want["tied"] = want["parameter"]


def same(got, want, at):
    assert type(got) is type(want), (at, type(got), type(want))
    if isinstance(want, torch.Tensor):
        assert (got.dtype, got.shape, got.stride()) == (want.dtype, want.shape, want.stride()), at
        assert (got.storage_offset(), got.requires_grad) == (want.storage_offset(), want.requires_grad), at
        ints = BITS[want.dtype.itemsize]
        assert torch.equal(got.detach().view(ints), want.detach().view(ints)), at
    elif isinstance(want, dict):
        assert list(got) == list(want), (at, list(got), list(want))
        for key, value in want.items():
            same(got[key], value, (at, key))
    elif isinstance(want, (list, tuple)) and not isinstance(want, torch.Size):
        assert len(got) == len(want), at
        for i, value in enumerate(want):
            same(got[i], value, (at, i))
    else:
        assert got == want and repr(got) == repr(want) or isinstance(want, set) and got == want, (at, got, want)


for name in ["kiln.pt", "kiln_legacy.pt"]:
    for mapped in [False, True]:
        if mapped and "legacy" in name:
            continue
        got = torch.load(folder / name, weights_only=True, mmap=mapped)
        same(got, want, name)
        assert got["tied"] is got["parameter"], name
        with torch.no_grad():
            got["row"].fill_(-1)
        assert got["base"][2].tolist() == [-1] * 6 and got["transposed"][:, 2].tolist() == [-1] * 6, name
same(torch.load(folder / "kiln.pt", weights_only=False), want, "unrestricted")

# What schedules keep in a Counter becomes a dict.
counter = {"milestones": Counter([30, 80, 30])}
torch.save(counter, folder / "counter.pt")
torch.save(want, folder / "torch.pt")
torch.save(want, folder / "torch_legacy.pt", _use_new_zipfile_serialization=False)

random = torch.load(folder / "kiln_random.pt", weights_only=True)
torch.set_rng_state(random["state"])
assert torch.equal(torch.rand(4), random["next"])
torch.manual_seed(123)
torch.randn(5)
random = {"state": torch.get_rng_state()}
random["next"] = torch.randn(20)
torch.save(random, folder / "torch_random.pt")

arrays = {name: t.numpy() for name, t in dtypes.items() if name != "bfloat16"}
with numpy.load(folder / "kiln.npz", allow_pickle=False) as got:
    assert list(got) == list(arrays), list(got)
    for name, array in arrays.items():
        for found in [got[name], numpy.load(folder / f"kiln_{name}.npy", allow_pickle=False)]:
            assert (found.dtype, found.shape) == (array.dtype, array.shape), name
            assert found.tobytes() == array.tobytes(), name
        numpy.save(folder / f"torch_{name}.npy", array)
numpy.savez_compressed(folder / "torch.npz", **arrays)

# The third format, where its package is there.
try:
    from safetensors.torch import load_file, save_file
except ImportError:
    print("skipped: no safetensors package")
else:
    got = load_file(folder / "kiln.safetensors")
    same({name: got[name] for name in dtypes}, dict(dtypes), "safetensors")
    save_file(dict(dtypes), folder / "torch.safetensors", {"format": "pt"})
