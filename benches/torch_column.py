"""PyTorch's column of `cargo xtask bench`.

Every entry of CASES does the work of the case of the same name in benches/cases.rs, timed by the protocol that
benches/harness.rs describes, and prints a JSON line with the same fields.

    python torch_column.py [--threads N] [--list] [CASE ...]     a trailing * matches any ending
    python torch_column.py --serve [--threads N]                 reads names from standard input, one a line; an
                                                                 empty line follows the answer to each
    python torch_column.py --memory CASE                         runs one iteration and prints by how much it raised the
                                                                 peak of the process' memory

Needs torch; the ResNet cases need torchvision as well, the image data set Pillow.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

WARM_UP, GROUP, LONG, VERY_LONG = 0.15, 50e-6, 1.0, 3.0
PATIENCE, FEW_SAMPLES, LAST_CALL, TOO_LONG_TO_REPEAT = 4.0, 3, 15.0, 6.0
BUSY, TRIES = 0.10, 3


# ---------------------------------------------------------------------------------------------------------- timing


def busy_seconds():
    """How long all cores together have been busy, or None where the system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:]]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    return (user + nice + system + irq + softirq + steal) / 100


def own_seconds():
    """CPU time of this process and of the workers that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def warm_up(run):
    """Returns how many calls make a sample."""
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    if first > VERY_LONG:
        return 1
    calls, start = 0, time.perf_counter()
    while calls == 0 or (first < LONG and time.perf_counter() - start < WARM_UP):
        run()
        calls += 1
    each = (time.perf_counter() - start) / calls
    return int(GROUP / each) + 1 if each < GROUP else 1


def sample(run, group, target, least):
    """One set of samples: its figures, and how long it took."""
    walls, cpus = [], []
    busy, own, start = busy_seconds(), own_seconds(), time.perf_counter()
    repeat = range(group)
    while True:
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        for _ in repeat:
            run()
        walls.append((time.perf_counter_ns() - wall) / 1e3 / group)
        cpus.append((time.process_time_ns() - cpu) / 1e3 / group)
        elapsed, count = time.perf_counter() - start, len(walls)
        if elapsed >= target and count >= least:
            break
        if elapsed > PATIENCE and count >= FEW_SAMPLES or elapsed > LAST_CALL:
            break
    other = None
    if busy is not None:
        other = max(0.0, busy_seconds() - busy - (own_seconds() - own)) / elapsed
    figures = {
        "median": statistics.median_high(walls),
        "min": min(walls),
        "iters": count * group,
        "cpu_us": statistics.median_high(cpus),
        "other_cpu": other,
    }
    return figures, elapsed


def measure(run, target=0.5, least=5):
    group = warm_up(run)
    best = None
    for attempt in range(1, TRIES + 1):
        figures, elapsed = sample(run, group, target, least)
        if best is None or figures["median"] < best["median"]:
            best = figures
        other = figures["other_cpu"]
        if other is None or other < BUSY or elapsed > TOO_LONG_TO_REPEAT or attempt == TRIES:
            break
        time.sleep(0.3)
    best["tries"] = attempt
    return best


# ----------------------------------------------------------------------------------------------------------- cases

# Name -> function that prepares the case and returns one iteration.
CASES = {}
# Cases whose figure is not for one iteration: name -> (metric, seconds of sampling, fewest samples).
PLANS = {}


def case(name, *arguments):
    """Registers the function below it, called with the arguments, as a case."""

    def register(prepare):
        CASES[name] = lambda: prepare(*arguments)
        return prepare

    return register


def unary(name, function, *shape):
    def prepare():
        x = torch.randn(*shape)
        return lambda: function(x)

    CASES[name] = prepare


def binary(name, function, left, right):
    def prepare():
        a, b = torch.randn(*left), torch.randn(*right)
        return lambda: function(a, b)

    CASES[name] = prepare


def both_ways(name, function, *shapes, scale=1.0):
    """Forward, sum, backward to every input."""

    def prepare():
        inputs = [(torch.randn(*shape) * scale).requires_grad_() for shape in shapes]

        def iteration():
            for tensor in inputs:
                tensor.grad = None
            function(*inputs).sum().backward()

        return iteration

    CASES[name] = prepare


def training(name, model, optimizer, loss, inputs, targets):
    """A step: clear gradients, forward, loss, backward, update."""

    def prepare():
        network, x, y = model(), inputs(), targets()
        update = optimizer(network.parameters())

        def step():
            update.zero_grad()
            value = loss(network(x), y)
            value.backward()
            update.step()

        return step

    CASES[name] = prepare


def gaussian(*shape):
    return lambda: torch.randn(*shape)


def pixels(batch):
    return lambda: torch.rand(batch, 1, 28, 28)


def labels(classes, batch):
    return lambda: torch.randint(0, classes, (batch,))


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


TEN_MILLION = 10_000_000

binary("op_add_1", torch.add, [1], [1])


@case("chain10_fwd_bwd_1")
def chain():
    x = torch.randn(1, requires_grad=True)
    c, d = torch.full([1], 1.01), torch.full([1], 0.5)

    def iteration():
        x.grad = None
        y = x
        for _ in range(5):
            y = y * c
            y = y + d
        y.backward()

    return iteration


binary("add_1e7", torch.add, [TEN_MILLION], [TEN_MILLION])
binary("add_1e5", torch.add, [100_000], [100_000])
binary("add_1e7_inplace", torch.Tensor.add_, [TEN_MILLION], [TEN_MILLION])


@case("add_1e7_out")
def add_into():
    a, b, result = torch.randn(TEN_MILLION), torch.randn(TEN_MILLION), torch.empty(TEN_MILLION)
    return lambda: torch.add(a, b, out=result)


unary("exp_1e7", torch.exp, TEN_MILLION)
unary("relu_1e7", torch.relu, TEN_MILLION)
unary("gelu_1e6", F.gelu, 1_000_000)
unary("sum_1e7", torch.sum, TEN_MILLION)
unary("sum_axis0_4096x4096", lambda x: x.sum(dim=0), 4096, 4096)
unary("softmax_4096x1000", lambda x: x.softmax(dim=-1), 4096, 1000)
unary("transpose_contig_4096x4096", lambda x: x.t().contiguous(), 4096, 4096)
unary("argmax_4096x1000", lambda x: x.argmax(dim=-1), 4096, 1000)
unary("topk_sort_1e6", torch.sort, 1_000_000)
unary("cumsum_1e7", lambda x: x.cumsum(dim=-1), TEN_MILLION)
unary("cumsum_2048x2048", lambda x: x.cumsum(dim=-1), 2048, 2048)
binary("strided_add_2048x2048_T", lambda a, b: a + b.t(), [2048, 2048], [2048, 2048])


@case("layernorm_4096x1024")
def layer_norm():
    x, weight, bias = torch.randn(4096, 1024), torch.randn(1024), torch.randn(1024)
    return lambda: F.layer_norm(x, [1024], weight, bias)


@case("index_select_1e6")
def index_select():
    source, positions = torch.randn(1_000_000), torch.randint(1_000_000, [1_000_000])
    return lambda: source.index_select(0, positions)


for size in (64, 128, 256, 512, 1024, 2048):
    binary(f"matmul_{size}", torch.matmul, [size, size], [size, size])
binary("bmm_32x128x64x128", torch.bmm, [32, 128, 64], [32, 64, 128])
binary("mv_4096", torch.mv, [4096, 4096], [4096])


def convolution(name, inputs, weights, stride=1, padding=0):
    def apply(x, w):
        return F.conv2d(x, w, stride=stride, padding=padding)

    binary(name, apply, inputs, weights)
    both_ways(f"{name}_fwdbwd", apply, inputs, weights, scale=0.1)


convolution("conv_lenet1_b64", [64, 1, 28, 28], [6, 1, 5, 5])
convolution("conv_3x3_64_56_b8", [8, 64, 56, 56], [64, 64, 3, 3], padding=1)
convolution("conv_3x3_512_7_b8", [8, 512, 7, 7], [512, 512, 3, 3], padding=1)
convolution("conv_1x1_256_14_b8", [8, 256, 14, 14], [256, 256, 1, 1])
convolution("conv7x7s2_3_224_b8", [8, 3, 224, 224], [64, 3, 7, 7], stride=2, padding=3)


def pool(x):
    return F.max_pool2d(x, kernel_size=2, stride=2)


unary("maxpool_2x2_b64x64x56x56", pool, 64, 64, 56, 56)
both_ways("maxpool_2x2_b64x64x56x56_fwdbwd", pool, [64, 64, 56, 56])


@case("batchnorm_b64x64x56x56_train", False)
@case("batchnorm_b64x64x56x56_train_fwdbwd", True)
def batch_norm(backward):
    x, layer = torch.randn(64, 64, 56, 56, requires_grad=backward), nn.BatchNorm2d(64)

    def forward():
        with torch.no_grad():
            return layer(x)

    def forward_and_backward():
        x.grad = None
        layer.zero_grad()
        layer(x).sum().backward()

    return forward_and_backward if backward else forward


training("linreg_b10", lambda: nn.Linear(2, 1), sgd(0.03), F.mse_loss, gaussian(10, 2), gaussian(10, 1))
training("linreg_1e5", lambda: nn.Linear(1, 1), sgd(0.03), F.mse_loss, gaussian(100_000, 1), gaussian(100_000, 1))
training(
    "softmaxreg_b256",
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
    sgd(0.1),
    F.cross_entropy,
    pixels(256),
    labels(10, 256),
)
training(
    "mlp_b128_adam",
    lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    ),
    lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    F.cross_entropy,
    pixels(128),
    labels(10, 128),
)


def lenet():
    features = [nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return nn.Sequential(*features, nn.Flatten(), *head)


training("lenet_b64_sgd", lenet, sgd(0.05), F.cross_entropy, pixels(64), labels(10, 64))


def resnet18():
    from torchvision.models import resnet18 as build

    return build(weights=None)


training("resnet18_b8_64px_sgd", resnet18, sgd(0.01), F.cross_entropy, gaussian(8, 3, 64, 64), labels(1000, 8))


@case("resnet18_infer_b1_224px")
def resnet_inference():
    network, image = resnet18().eval(), torch.randn(1, 3, 224, 224)

    @torch.inference_mode()
    def iteration():
        return network(image)

    return iteration


class Encoder(nn.Module):
    """Four pre-norm encoder layers, a last norm, the mean over the sequence and a linear classifier."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            d_model=256, nhead=8, dim_feedforward=1024, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 4, norm=nn.LayerNorm(256), enable_nested_tensor=False)
        self.classify = nn.Linear(256, 10)

    def forward(self, x):
        return self.classify(self.layers(x).mean(dim=1))


training(
    "transformer_b8_s128_d256_l4_h8_adamw",
    Encoder,
    lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    F.cross_entropy,
    gaussian(8, 128, 256),
    labels(10, 8),
)


@case("lstm_b32_s64_h256", nn.LSTM)
@case("gru_b32_s64_h256", nn.GRU)
def recurrent(build):
    layer, x = build(128, 256, batch_first=True), torch.randn(32, 64, 128)

    def iteration():
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return iteration


def heads(requires_grad=False):
    return [torch.randn(8, 8, 1024, 64, requires_grad=requires_grad) for _ in range(3)]


@case("attention_b8_h8_s1024_d64")
def attention():
    q, k, v = heads()
    return lambda: F.scaled_dot_product_attention(q, k, v)


@case("attention_b8_h8_s1024_d64_fwdbwd")
def attention_backward():
    operands = heads(requires_grad=True)

    def iteration():
        for t in operands:
            t.grad = None
        F.scaled_dot_product_attention(*operands).sum().backward()

    return iteration


class Images(torch.utils.data.Dataset):
    """60,000 random images of bytes, each turned into floats from 0 to 1 when asked for, with or without the image
    object that torchvision's data sets make on the way."""

    def __init__(self, as_image):
        self.bytes = torch.randint(256, [60_000, 28, 28], dtype=torch.uint8)
        self.labels = torch.randint(10, [60_000]).tolist()
        self.convert = None
        if as_image:
            from PIL import Image
            from torchvision.transforms import ToTensor

            to_tensor = ToTensor()
            self.convert = lambda pixels: to_tensor(Image.fromarray(pixels.numpy()))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        pixels = self.bytes[index]
        image = self.convert(pixels) if self.convert else pixels.to(torch.float32).div_(255)[None]
        return image, self.labels[index]


def epoch(as_image, workers):
    if workers and torch.get_num_threads() == 1:
        raise ValueError("the CPU time of worker processes is not counted: compare with 2 threads")
    loader = torch.utils.data.DataLoader(Images(as_image), batch_size=256, shuffle=True, num_workers=workers)

    def iteration():
        for _ in loader:
            pass

    return iteration


for count in (0, 4):
    for image, ending in ((True, ""), (False, "_tensor")):
        loader_case = f"dataloader_60000x784_b256_w{count}{ending}"
        case(loader_case, image, count)(epoch)
        PLANS[loader_case] = ("us_per_epoch", 0.3, 2)


# ------------------------------------------------------------------------------------------------------------ main


def answer(name):
    """The line of one case."""
    line = {"peer": os.environ.get("BENCH_PEER", "torch"), "case": name}
    common = {"round": int(os.environ.get("BENCH_ROUND", "0"))}
    metric, target, least = PLANS.get(name, ("us_per_iter", 0.5, 5))
    try:
        torch.manual_seed(0)
        figures = measure(CASES[name](), target, least)
    except Exception as error:  # a case that this installation cannot run must not end the others
        return {**line, "metric": "skip", "why": repr(error)[:200], **common}
    digits = {"median": 4, "min": 4, "cpu_us": 4, "other_cpu": 2}
    figures = {k: round(v, digits[k]) if k in digits and v is not None else v for k, v in figures.items()}
    return {**line, "metric": metric, **figures, "threads": torch.get_num_threads(), **common}


def peak_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def memory(name):
    """The line of one case whose memory is looked at."""
    torch.manual_seed(0)
    run = CASES[name]()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")
    before = peak_kib()
    run()
    more = peak_kib() - before
    return {"peer": "torch", "case": name, "metric": "peak_kib", "more": more, "threads": torch.get_num_threads()}


def chosen(patterns):
    def matches(name, pattern):
        return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern

    return [name for name in CASES if not patterns or any(matches(name, pattern) for pattern in patterns)]


def main():
    parser = argparse.ArgumentParser(description="PyTorch's column of cargo xtask bench")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--serve", action="store_true", help="read names from standard input")
    parser.add_argument("--memory", action="store_true", help="memory, not time")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        for name in map(str.strip, sys.stdin):
            if name in CASES:
                print(json.dumps(answer(name)))
            print(flush=True)
        return
    look = memory if options.memory else answer
    for name in chosen(options.cases):
        print(name if options.list else json.dumps(look(name)), flush=True)


if __name__ == "__main__":
    main()
