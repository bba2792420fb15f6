"""Writes indexing.json: random calls of PyTorch's joining and indexing functions with their results.

    python indexing.py [cases per function] [seed] > indexing.json

Values are small integers, so that floats compare exactly.
"""

import json
import random
import sys

import torch
import torch.nn.functional as F

CASES = int(sys.argv[1]) if len(sys.argv) > 1 else 10
rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
DTYPES = FLOATS + [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
cases = []


def number(v):
    return v if v == v and v not in (float("inf"), float("-inf")) else repr(v)


def encode(t):
    """The memory of a tensor and how it lies in it."""
    flat = torch.as_strided(t, (t.untyped_storage().nbytes() // t.element_size(),), (1,), 0)
    return {
        "dtype": str(t.dtype).removeprefix("torch."),
        "base": [number(v) for v in flat.tolist()],
        "size": list(t.shape),
        "stride": list(t.stride()),
        "offset": t.storage_offset(),
    }


def lay_out(t):
    """The same elements in another layout."""
    kind = rng.randrange(4)
    if kind == 0 and t.dim() > 1:
        order = list(range(t.dim()))
        rng.shuffle(order)
        back = [order.index(i) for i in range(t.dim())]
        return t.permute(order).contiguous().permute(back)
    if kind == 1 and t.dim() > 0:
        axis = rng.randrange(t.dim())
        shape = list(t.shape)
        shape[axis] = 2 * shape[axis] + 1
        wide = torch.ones(shape, dtype=t.dtype)
        part = wide.narrow(axis, 1, shape[axis] - 1)
        part = part[(slice(None),) * axis + (slice(None, None, 2),)]
        part.copy_(t)
        return part
    return t.contiguous()


def expanded(shape, make):
    """A tensor of the shape whose elements repeat along one axis."""
    if not shape:
        return make(shape)
    axis = rng.randrange(len(shape))
    return make(shape[:axis] + [1] + shape[axis + 1 :]).expand(shape)


def tensor(shape, dtype=None, repeats=True):
    dtype = dtype or rng.choice(DTYPES)
    low = 0 if dtype == torch.uint8 else -9

    def make(shape):
        return torch.tensor([rng.randint(low, 9) for _ in range(prod(shape))]).reshape(shape).to(dtype)

    if repeats and rng.random() < 0.15:
        return expanded(list(shape), make)
    return lay_out(make(list(shape)))


def prod(shape):
    out = 1
    for n in shape:
        out *= n
    return out


def shape(low=0, high=3, sizes=(0, 1, 2, 3, 3, 4, 4, 5)):
    return [rng.choice(sizes) for _ in range(rng.randint(low, high))]


def axis(rank):
    return rng.randint(-max(rank, 1), max(rank, 1) - 1)


def index(n, shape, negative=False, dtype=torch.int64):
    """Positions below n."""
    if n == 0:
        shape = [0 if i == 0 else s for i, s in enumerate(shape)] or [0]

    def make(shape):
        low = -n if negative else 0
        return torch.tensor([rng.randint(low, n - 1) for _ in range(prod(shape))], dtype=dtype).reshape(shape)

    if n > 0 and rng.random() < 0.2:
        return expanded(list(shape), make)
    return lay_out(make(list(shape)))


def mask(shape):
    def make(shape):
        return torch.tensor([rng.random() < 0.4 for _ in range(prod(shape))], dtype=torch.bool).reshape(shape)

    return expanded(list(shape), make) if rng.random() < 0.2 else lay_out(make(list(shape)))


def record(op, call, tensors, **args):
    entry = {"op": op, "in": [None if t is None else encode(t) for t in tensors], "args": args}
    try:
        out = call(*tensors)
        out = list(out) if isinstance(out, (list, tuple)) else [out]
        entry["out"] = [encode(t.contiguous().clone()) for t in out]
    except (RuntimeError, IndexError, ValueError, NotImplementedError) as e:
        entry["error"] = str(e).splitlines()[0]
    cases.append(entry)


def size_at(t, a):
    return t.shape[a] if t.dim() else 1


def times(n, make):
    for _ in range(n):
        make()


def joining():
    def cat():
        base = shape(1, 3)
        a = axis(len(base))
        parts = []
        for _ in range(rng.randint(1, 3)):
            s = list(base)
            s[a] = rng.randint(0, 3)
            parts.append(tensor(s))
        if rng.random() < 0.3:
            parts.append(torch.zeros(0))
        if rng.random() < 0.1:
            parts.append(tensor(shape(1, 3)))
        record("cat", lambda *p: torch.cat(p, a), parts, axis=a)

    def stack():
        s = shape()
        a = rng.randint(-len(s) - 1, len(s))
        parts = [tensor(s) for _ in range(rng.randint(1, 3))]
        record("stack", lambda *p: torch.stack(p, a), parts, axis=a)

    def repeat():
        x = tensor(shape())
        r = [rng.randint(0, 3) for _ in range(rng.randint(max(x.dim() - 1, 0), x.dim() + 1))]
        record("repeat", lambda x: x.repeat(r), [x], list=r)
        record("tile", lambda x: x.tile(r), [x], list=r)

    def interleave():
        x = tensor(shape(1, 3))
        a = rng.choice([None, axis(x.dim())])
        r = rng.randint(0, 3)
        record("repeat_interleave", lambda x: x.repeat_interleave(r, a), [x], n=r, axis=a)
        x = tensor(shape(1, 3))
        a = rng.choice([None, axis(x.dim())])
        n = x.numel() if a is None else x.shape[a]
        r = lay_out(torch.tensor([rng.randint(0, 3) for _ in range(rng.choice([n, n, n, 1]))], dtype=torch.int64))
        record("repeat_interleave_by", lambda x, r: x.repeat_interleave(r, a), [x, r], axis=a)

    def flip():
        x = tensor(shape())
        axes = [axis(x.dim()) for _ in range(rng.randint(0, 2))]
        record("flip", lambda x: x.flip(axes), [x], list=axes)
        axes = [axis(x.dim()) for _ in range(rng.randint(0, 2))]
        shifts = [rng.randint(-7, 7) for _ in (axes or [0])]
        record("roll", lambda x: x.roll(shifts, axes), [x], shifts=shifts, list=axes)

    def rot():
        x = tensor(shape(2, 3))
        axes = [axis(x.dim()), axis(x.dim())]
        k = rng.randint(-5, 5)
        record("rot90", lambda x: x.rot90(k, axes), [x], n=k, list=axes)

    def triangle():
        x = tensor(shape(2, 4))
        d = rng.randint(-5, 5)
        record("tril", lambda x: x.tril(d), [x], n=d)
        record("triu", lambda x: x.triu(d), [x], n=d)
        x = tensor(shape(2, 4), repeats=False)
        record("tril_", lambda x: x.clone().tril_(d), [x], n=d)

    def pad():
        x = tensor(shape(1, 4, (1, 2, 3, 4)), rng.choice(FLOATS + [torch.int64]))
        p = [rng.randint(-2, 3) for _ in range(2 * rng.randint(1, x.dim()))]
        record("pad", lambda x: F.pad(x, p, value=7), [x], list=p, mode="constant")
        k = rng.randint(1, 3)
        for mode in ["reflect", "replicate", "circular"]:
            # What a circle that was cut to less than it must repeat becomes is left open by PyTorch.
            sizes = (4, 5) if mode == "circular" else (2, 3, 4, 5)
            x = tensor(shape(k + 1, k + 2, sizes), rng.choice(FLOATS + [torch.int64]))
            p = [rng.randint(-1, 2) for _ in range(2 * k)]
            record("pad", lambda x: F.pad(x, p, mode=mode), [x], list=p, mode=mode)

    for make in [cat, stack, repeat, interleave, flip, rot, triangle, pad]:
        times(CASES, make)


def along_axis():
    def select():
        x = tensor(shape())
        a = axis(x.dim())
        i = index(size_at(x, a), [rng.randint(0, 4)] if x.dim() else [1], dtype=rng.choice([torch.int64, torch.int32]))
        record("index_select", lambda x, i: x.index_select(a, i), [x, i], axis=a)

    def update():
        x = tensor(shape(0, 3, (1, 2, 3, 4, 5)), repeats=False)
        a = axis(x.dim())
        n = rng.randint(0, 4) if x.dim() else 1
        i = index(size_at(x, a), [n])
        s = list(x.shape)
        if s:
            s[a] = n
        src = tensor(s or [1] if not x.dim() else s, x.dtype)
        if not x.dim():
            src = src.reshape([])
        alpha = rng.choice([1, 1, 2, -3])
        if x.dtype != torch.bool:
            record("index_add", lambda x, i, s: x.index_add(a, i, s, alpha=alpha), [x, i, src], axis=a, n=alpha)
        record("index_copy", lambda x, i, s: x.index_copy(a, i, s), [x, i, src], axis=a)
        i = index(size_at(x, a), [n], negative=True)
        record("index_fill", lambda x, i: x.index_fill(a, i, 3), [x, i], axis=a, n=3)
        if x.dtype != torch.bool:
            red = rng.choice(["prod", "mean", "amax", "amin"])
            inc = rng.random() < 0.5
            i = index(size_at(x, a), [n])
            call = lambda x, i, s: x.index_reduce(a, i, s, red, include_self=inc)
            record("index_reduce", call, [x, i, src], axis=a, reduce=red, include_self=inc)

    def take():
        x = tensor(shape(0, 3, (1, 2, 3)), repeats=False)
        i = index(x.numel(), shape(0, 2), negative=True)
        record("take", lambda x, i: x.take(i), [x, i])
        src = tensor(i.shape, x.dtype)
        acc = rng.random() < 0.5
        if acc or len(set((i % x.numel()).flatten().tolist())) == i.numel():
            record("put", lambda x, i, s: x.put(i, s, acc), [x, i, src], accumulate=acc)

    def gather():
        x = tensor(shape(0, 3, (1, 2, 3, 4)), repeats=False)
        a = axis(x.dim())
        s = [rng.randint(0, n) for n in x.shape]
        if s:
            s[a] = rng.randint(0, 5)
        i = index(size_at(x, a), s)
        record("gather", lambda x, i: x.gather(a, i), [x, i], axis=a)
        src = tensor([n + rng.randint(0, 1) for n in s], x.dtype)
        if i.numel() == 0 or rng.random() < 0.5:
            # Positions that differ along the axis: PyTorch does not say which of several values stays.
            s = [rng.randint(1, n) for n in x.shape]
            i = torch.rand(list(x.shape)).argsort(a) if x.dim() else torch.tensor(0)
            i = lay_out(i[tuple(slice(0, n) for n in s)])
            src = tensor(s, x.dtype)
            record("scatter", lambda x, i, s: x.scatter(a, i, s), [x, i, src], axis=a)
        record("scatter_value", lambda x, i: x.scatter(a, i, 3), [x, i], axis=a, n=3)
        record("scatter_add", lambda x, i, s: x.scatter_add(a, i, s), [x, i, src], axis=a)
        red = rng.choice(["sum", "prod", "mean", "amax", "amin"])
        inc = rng.random() < 0.5
        call = lambda x, i, s: x.scatter_reduce(a, i, s, red, include_self=inc)
        record("scatter_reduce", call, [x, i, src], axis=a, reduce=red, include_self=inc)

    def along():
        x = tensor(shape(1, 3, (1, 2, 3, 4)))
        a = axis(x.dim())
        s = [rng.choice([1, n]) for n in x.shape]
        s[a] = rng.randint(0, 4)
        i = index(x.shape[a], s, negative=True)
        record("take_along_dim", lambda x, i: torch.take_along_dim(x, i, a), [x, i], axis=a)

    for make in [select, update, take, gather, along]:
        times(CASES, make)


def masks():
    def fill():
        x = tensor(shape(), repeats=False)
        m = mask([rng.choice([1, n]) for n in x.shape])
        record("masked_fill", lambda x, m: x.masked_fill(m, 5), [x, m], n=5)
        record("masked_fill_", lambda x, m: x.clone().masked_fill_(m, 5), [x, m], n=5)
        record("masked_select", lambda x, m: x.masked_select(m), [x, m])
        src = tensor([rng.randint(0, 40)], x.dtype)
        record("masked_scatter", lambda x, m, s: x.masked_scatter(m, s), [x, m, src])
        record("nonzero", lambda x: x.nonzero(), [x])
        record("nonzero_by_axis", lambda x: torch.where(x), [x])

    times(CASES, fill)


def advanced():
    def make():
        x = tensor(shape(1, 4, (1, 2, 3, 4)), repeats=False)
        common = shape(0, 2, (1, 2, 3))
        ix, a = [], 0
        while a < x.dim():
            kind = rng.random()
            if kind < 0.35:
                ix.append(None)
                a += 1
            elif kind < 0.85:
                s = [rng.choice([1, n]) for n in common][rng.randint(0, len(common)) :]
                ix.append(index(x.shape[a], s, negative=True))
                a += 1
            else:
                k = rng.randint(1, x.dim() - a)
                ix.append(mask(x.shape[a : a + k]))
                a += k
        while ix and ix[-1] is None:
            ix.pop()
        if not ix:
            return
        record("index", lambda x, *ix: torch.ops.aten.index(x, list(ix)), [x, *ix])
        try:
            result = torch.ops.aten.index(x, ix).shape
        except (RuntimeError, IndexError):
            return
        values = tensor([rng.choice([1, n]) for n in result][rng.randint(0, len(result)) :], x.dtype)
        call = lambda x, v, *ix: torch.ops.aten.index_put(x, list(ix), v, True)
        record("index_put", call, [x, values, *ix], accumulate=True)
        one = tensor([], x.dtype)
        call = lambda x, v, *ix: torch.ops.aten.index_put(x, list(ix), v, False)
        record("index_put", call, [x, one, *ix], accumulate=False)

    times(3 * CASES, make)


def tables():
    def embedding():
        w = tensor([rng.randint(1, 5), rng.randint(0, 4)], rng.choice(FLOATS))
        i = index(w.shape[0], shape(0, 2), dtype=rng.choice([torch.int64, torch.int32]))
        record("embedding", lambda w, i: F.embedding(i, w), [w, i])
        grad = tensor([*i.shape, w.shape[1]], w.dtype)
        padding = rng.choice([-1, rng.randrange(w.shape[0])])
        # PyTorch rounds half precision at every step here.
        scale = rng.random() < 0.3 and w.dtype in (torch.float32, torch.float64)
        rows = w.shape[0]
        call = lambda g, i: torch.ops.aten.embedding_dense_backward(g, i, rows, padding, scale)
        record("embedding_grad", call, [grad, i], rows=rows, padding=padding, scale=scale)
        i = index(4, shape(0, 2))
        n = rng.choice([-1, 4, 5, 2])
        record("one_hot", lambda i: F.one_hot(i, n), [i], n=n)

    def search():
        rows = shape(0, 2, (1, 2))
        dtype = rng.choice([d for d in DTYPES if d != torch.bool])
        s = lay_out(tensor([*rows, rng.randint(0, 6)], dtype).sort(-1).values)
        v = tensor([*rows, rng.randint(0, 4)], rng.choice([dtype, torch.float32]))
        right, small = rng.random() < 0.5, rng.random() < 0.3
        call = lambda s, v: torch.searchsorted(s, v, right=right, out_int32=small)
        record("searchsorted", call, [s, v], right=right, out_int32=small)
        s = lay_out(tensor([rng.randint(0, 6)], dtype).sort(-1).values)
        v = tensor(shape(), dtype)
        call = lambda v, s: torch.bucketize(v, s, right=right, out_int32=small)
        record("bucketize", call, [v, s], right=right, out_int32=small)

    def counts():
        n = rng.randint(0, 8)
        x = index(6, [n], dtype=rng.choice([torch.int64, torch.int32, torch.uint8]))
        least = rng.randint(0, 8)
        record("bincount", lambda x: torch.bincount(x, minlength=least), [x], n=least)
        w = tensor([n], rng.choice([torch.float32, torch.float64, torch.int64]))
        record("bincount", lambda x, w: torch.bincount(x, w, least), [x, w], n=least)
        x = tensor(shape(), rng.choice(FLOATS))
        bins = rng.randint(1, 7)
        low, high = rng.choice([(0, 0), (-3, 4), (0, 5), (2, 2)])
        record("histc", lambda x: torch.histc(x, bins, low, high), [x], n=bins, low=low, high=high)

    for make in [embedding, search, counts]:
        times(CASES, make)


torch.manual_seed(rng.randrange(1000))
for family in [joining, along_axis, masks, advanced, tables]:
    family()
json.dump({"torch": torch.__version__, "cases": cases}, sys.stdout, separators=(",", ":"))
