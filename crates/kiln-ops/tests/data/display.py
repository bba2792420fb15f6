"""Writes display.json beside this file: tensors, and the text PyTorch prints for them. Run: python display.py

A case has `shape`, `dtype`, `expected`, either `values` (row-major) or `pattern` ([mul, mod, sub, scale]: element i is
((i * mul) % mod - sub) * scale, rounded to the dtype), and, where they are not the usual ones, `options`, `device`, `grad_fn`,
`requires_grad`, `default_dtype`.
"""

import json
import math
import pathlib
import random

import torch

FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTS = ["uint8", "int8", "int16", "int32", "int64"]
DEFAULTS = dict(precision=4, threshold=1000, edgeitems=3, linewidth=80, sci_mode=None)
cases = []
draw = random.Random(20240611)


def number(x):
    if isinstance(x, float) and not math.isfinite(x):
        return "nan" if math.isnan(x) else "inf" if x > 0 else "-inf"
    return x


def add(tensor, options=None, pattern=None, device=None, default_dtype=None):
    case = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    if pattern:
        case["pattern"] = pattern
    else:
        case["values"] = [number(x) for x in tensor.detach().reshape(-1).tolist()]
    default_device = torch._C._get_default_device
    try:
        if options:
            case["options"] = options
            torch.set_printoptions(**{**DEFAULTS, **options})
        if device:
            case["device"] = device
            torch._C._get_default_device = lambda: "another"
        if default_dtype:
            case["default_dtype"] = default_dtype
            torch.set_default_dtype(getattr(torch, default_dtype))
        case["expected"] = repr(tensor)
    finally:
        torch.set_printoptions(**DEFAULTS)
        torch.set_default_dtype(torch.float32)
        torch._C._get_default_device = default_device
    if tensor.grad_fn is not None:
        case["grad_fn"] = type(tensor.grad_fn).__name__
    elif tensor.requires_grad:
        case["requires_grad"] = True
    cases.append(case)


def t(values, dtype="float32", shape=None):
    tensor = torch.tensor(values, dtype=getattr(torch, dtype))
    return tensor if shape is None else tensor.reshape(shape)


def patterned(shape, dtype, pattern):
    mul, mod, sub, scale = pattern
    index = torch.arange(math.prod(shape), dtype=torch.int64)
    values = (index * mul % mod - sub).double() * scale
    return values.to(getattr(torch, dtype)).reshape(shape)


inf, nan = math.inf, math.nan

# Short rows, chosen for the rules of notation, width and specials.
rows = [
    [1.0, 2.0], [0.1, -2.5, 100.0], [1e-5, 1.0], [1e8, 1.0], [1e8], [1.0000001e8, 2.0], [1000000.0], [12345.678, 0.001],
    [1.0, nan, inf, -inf], [1.5, nan], [nan], [inf, -inf], [nan, 0.0], [0.0, -0.0], [-0.0, 1.5], [-0.0, 3.0],
    [0.0, 1000.0, 1.0], [1001.0, 1.0], [1000.0, 1.0], [1000.5, 1.0], [0.0001, 0.05], [0.00009999, 0.0], [9.9999e-5, 0.05],
    [99999.0, 1e5], [123456.0, -7.0], [0.00005], [0.99995], [0.99994999], [2.5, 0.5, 1.5], [1e-10, inf], [1e-10, -inf, nan],
    [65504.0, -1.0], [3.0e38, 1.0], [1e-40], [1e-45, 0.0], [-1e-5, 1e-5], [0.03125, 0.09375], [1.00005, 1.00015], [-1.0],
    [1e3, 1.0, 0.0], [-12345.0, 678.0], [1.0, -inf], [1.0, -inf, 100.0], [0.5, -inf], [1e20, 1.0], [1e16, 3.0],
    [33.333333, 66.666667], [-0.00001], [1e-4], [2e-8, 1.0], [7.0], [1e8, 2e8], [-1e9, 1e9],
]
for row in rows:
    add(t(row))
    add(t(row, draw.choice(["float16", "bfloat16", "float64"])))
for row in [[1e300, 1e-300], [5e-324], [1.7976931348623157e308], [-1e-100, 2.0], [123456789.125], [0.1 + 0.2, 1 / 3]]:
    add(t(row, "float64"))
for scalar in [-0.5619, 1e-10, -115075.4375, 204800.0, 0.0, -0.0, nan, inf, -inf, 1e9, 12345.0, 0.00012345, 7.0]:
    for dtype in draw.sample(FLOATS, 2):
        add(t(scalar, dtype))
for scalar, dtype in [(7, "int64"), (-3, "int32"), (255, "uint8"), (True, "bool"), (False, "bool"), (-128, "int8")]:
    add(t(scalar, dtype))

# Integers and truth values.
for row in [[1, -20, 300], [0], [-9223372036854775808, 9223372036854775807], [10**12, -1]]:
    add(t(row, "int64"))
add(t([1, 2], "int32"))
add(t([1, 200], "uint8"))
add(t([-128, 127, 0], "int8"))
add(t([-32768, 5], "int16"))
add(t([True, False], "bool"))
add(t([True, True], "bool"))
add(t([False] * 30, "bool", (3, 10)))

# Nothing.
for dtype in FLOATS + INTS + ["bool"]:
    for shape in draw.sample([(0,), (0, 3), (2, 0), (1, 0, 5), (0, 0)], 2):
        add(torch.empty(shape, dtype=getattr(torch, dtype)))
add(torch.empty(0, requires_grad=True))
add(torch.empty(0, 3) * torch.ones((), requires_grad=True))
add(torch.empty((1000000, 0, 1000000)))
add(torch.empty((1000000, 0, 1000000)), device="cpu")

# Shapes.
shapes = [
    (1, 1), (2, 3), (3, 12), (2, 2, 2), (1, 1, 1, 1), (2, 1, 3), (3, 1, 1), (2, 2, 2, 2), (1, 2, 1, 2, 1), (60,), (1, 30),
    (4, 1), (2, 9), (17,), (25,), (2, 3, 4),
]
for shape in shapes:
    for dtype in ["float32", draw.choice(FLOATS), draw.choice(INTS + ["bool"])]:
        n = math.prod(shape)
        if dtype in FLOATS:
            scale = draw.choice([1.0, 1.0, 1e-3, 1e5, 30.0])
            add(t([draw.gauss(0, 1) * scale for _ in range(n)], dtype, shape))
        elif dtype == "bool":
            add(t([draw.random() < 0.5 for _ in range(n)], dtype, shape))
        else:
            high = draw.choice([5, 100, 127])
            low = 0 if dtype == "uint8" else -draw.choice([0, high])
            add(t([draw.randint(low, high) for _ in range(n)], dtype, shape))

# Summaries. Extremes lie outside of the printed ends in some of them, and must not count.
big = [
    (1001,), (1000,), (30, 50), (20, 60), (7, 200), (6, 200), (200, 6), (200, 7), (5, 5, 50), (10, 11, 12), (2, 600),
    (600, 2), (1, 2000), (2000, 1), (7, 7, 7, 7), (4, 3, 100, 2), (1500, 1, 1), (6, 6, 6, 6), (1001, 1, 1, 1), (3, 3, 3, 3, 20),
]
patterns = [
    [1, 10**7, 0, 1.0], [7919, 1009, 500, 0.01], [7919, 1009, 500, 1.0], [104729, 100003, 50000, 0.37], [31, 2, 0, 1.0],
    [31, 17, 8, 1e-6], [1, 1, 0, 1.0], [1, 10**7, 0, 0.25],
]
for shape in big:
    for pattern in draw.sample(patterns, 3):
        dtype = draw.choice(["float32", "float32", "float64", "float16", "bfloat16", "int64", "int32", "bool"])
        if dtype in ("int64", "int32"):
            pattern = pattern[:3] + [1.0]
        add(patterned(shape, dtype, pattern), pattern=pattern)

# What the first pages of tutorials print.
torch.manual_seed(1)
for random_tensor in [torch.randn(2, 3), torch.randn(2, 2, 2), torch.randn(3, 12)]:
    add(random_tensor)
count = [1, 10**7, 0, 1.0]
for shape, dtype in [((30, 50), "int64"), ((1001,), "float32"), ((2, 3, 4), "int64"), ((60,), "int64")]:
    add(patterned(shape, dtype, count), pattern=count)
add(patterned((20, 60), "float32", [0, 1, 0, 1.0]), pattern=[0, 1, 0, 1.0])
for dtype in ["float64", "float16", "bfloat16"]:
    add(t([1.0, 2.5], dtype))
add(t([1.0, 1.0]))
for scalar in [-0.5619, -115075.4375]:
    add(t(scalar))
add(t([], "int64"))
add(t([0.5]).requires_grad_())

# Options.
for options in [
    {"precision": 2}, {"precision": 0}, {"precision": 8}, {"sci_mode": True}, {"sci_mode": False}, {"linewidth": 40},
    {"linewidth": 10}, {"linewidth": 200}, {"linewidth": 0}, {"precision": 10, "sci_mode": True, "linewidth": 60},
]:
    add(t([draw.gauss(0, 1) for _ in range(24)], "float32", (2, 12)), options)
    add(t([1e-7, 1e7, 0.0], "float64"), options)
    add(t([1.0, 2.0, 0.0, inf], "float32"), options)
    add(t([0.0, 0.0, nan], "float32"), options)
    add(t([1, 20, 300], "int32"), options)
for options in [
    {"threshold": 5}, {"threshold": 0}, {"edgeitems": 1, "threshold": 5}, {"edgeitems": 0, "threshold": 5}, {"edgeitems": 0},
    {"precision": 2, "edgeitems": 2, "threshold": 11}, {"edgeitems": 5, "threshold": 20, "linewidth": 30},
]:
    for shape, pattern in [((12,), patterns[1]), ((3, 4), patterns[7]), ((2, 9, 3), patterns[0]), ((), patterns[1]), ((1,), patterns[7])]:
        add(patterned(shape, "float32", pattern), options, pattern)
add(patterned((30, 50), "float32", patterns[1]), {"linewidth": 30}, patterns[1])
add(patterned((2000,), "float64", patterns[3]), {"linewidth": 30}, patterns[3])

# Suffixes, also where they need a line of their own.
x = torch.ones(2, requires_grad=True)
for y in [x, 4 * x, (4 * x).norm(), x.sum(), (x - 1).mean(), x[0], x.view(1, 2), 1 - x, x @ x, -x, x / 2, x**2, x.exp(), x.relu()]:
    add(y)
add(t([1.0], "float64").requires_grad_())
for n in range(1, 12):
    add(torch.arange(n).float().requires_grad_() * 1.5)
    add((torch.arange(n, dtype=torch.float64) * 1.25).requires_grad_())
    add(torch.arange(n, dtype=torch.int16) * 111, device="cpu")
    add((torch.arange(n, dtype=torch.float16) + 0.5).requires_grad_() * 2, device="cpu")
add(t([1.5, 2.5], "float64"), default_dtype="float64")
add(t([1.5, 2.5], "float32"), default_dtype="float64")
add(t([], "float64"), default_dtype="float64")
add(t([], "float32"), default_dtype="float64")
add(t([[1.5]] * 3, "bfloat16").requires_grad_() + 1, {"linewidth": 20}, device="cpu")

path = pathlib.Path(__file__).with_suffix(".json")
lines = ",\n".join(json.dumps(case) for case in cases)
path.write_text('{"pytorch": "%s", "cases": [\n%s\n]}\n' % (torch.__version__.split("+")[0], lines))
print(len(cases), "cases,", path.stat().st_size, "bytes")
