"""Useful floating-point operations of a training step, and the rate of plain matrix products to hold them against.

Counted are the matrix products of real tokens, two operations a multiplication with addition, and the backward pass as
twice the forward pass. Not counted: padding, elementwise work, the optimiser, anything computed twice.
"""

import math
import time

import torch


SQUARE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices whose product is timed
MASK_PROB = 0.15

# Dense rates in TFLOP/s from NVIDIA's data sheets, by the name that torch reports. Without sparsity, which the sheets
# of later cards include in their bold figures.
DATA_SHEET_TFLOPS = {
    "NVIDIA A100-SXM4-40GB": {"float32": 19.5, "bfloat16": 312.0},
    "NVIDIA A100-SXM4-80GB": {"float32": 19.5, "bfloat16": 312.0},
    "NVIDIA A100 80GB PCIe": {"float32": 19.5, "bfloat16": 312.0},
    "NVIDIA H100 80GB HBM3": {"float32": 67.0, "bfloat16": 989.5},
    "NVIDIA H100 PCIe": {"float32": 51.0, "bfloat16": 756.5},
    "NVIDIA H100 NVL": {"float32": 60.0, "bfloat16": 835.5},
    "NVIDIA H200": {"float32": 67.0, "bfloat16": 989.5},
    "NVIDIA H200 NVL": {"float32": 60.0, "bfloat16": 835.5},
    "NVIDIA GH200 480GB": {"float32": 67.0, "bfloat16": 989.5},
    "NVIDIA L4": {"float32": 30.3, "bfloat16": 121.0},
    "NVIDIA L40S": {"float32": 91.6, "bfloat16": 362.0},
}


def masked_tokens(length):
    """Masked tokens of one row: `ceil(0.15 * candidates)`, where `[CLS]` and `[SEP]` are no candidates.

    Args: length (`int`): tokens of the row. Returns: `int`.
    """
    return math.ceil(round(MASK_PROB * max(length - 2, 0), 6))


def encoder_flops(config, lengths):
    """Of one forward pass of an ELECTRA encoder.

    Args: config (`ElectraConfig`); lengths (`list[int]`): real tokens of each row. Returns: `int`.
    """
    hidden, tokens = config.hidden_size, sum(lengths)
    weights = config.num_hidden_layers * (4 * hidden**2 + 2 * hidden * config.intermediate_size)
    if config.embedding_size != hidden:
        weights += config.embedding_size * hidden
    # Queries with keys, and probabilities with values: each token meets those of its own row.
    attention = config.num_hidden_layers * 2 * 2 * hidden * sum(length**2 for length in lengths)
    return 2 * weights * tokens + attention


def mlm_flops(config, lengths):
    """Of one training step of masked language modelling, with the vocabulary head at masked positions alone.

    Args: config (`ElectraConfig`); lengths (`list[int]`). Returns: `int`.
    """
    masked = sum(masked_tokens(length) for length in lengths)
    head = config.hidden_size * config.embedding_size + config.embedding_size * config.vocab_size
    return 3 * (encoder_flops(config, lengths) + 2 * head * masked)


def rtd_flops(generator, discriminator, lengths):
    """Of one training step of replaced token detection.

    Args: generator, discriminator (`ElectraConfig`); lengths (`list[int]`). Returns: `int`.
    """
    head = discriminator.hidden_size**2 + discriminator.hidden_size
    detection = 3 * (encoder_flops(discriminator, lengths) + 2 * head * sum(lengths))
    return mlm_flops(generator, lengths) + detection


def useful_flops(name, configs, rows):
    """Of one step. Args: name (`str`); configs (two `ElectraConfig`s); rows (`list[list[int]]`). Returns: `int`."""
    generator, discriminator = configs
    lengths = [len(row) for row in rows]
    if name == "mlm":
        return mlm_flops(discriminator, lengths)
    without_backward = mlm_flops(generator, lengths) * 2 // 3 if name == "ours, generator frozen" else 0
    return rtd_flops(generator, discriminator, lengths) - without_backward


def data_sheet_rate(dtype):
    """FLOP/s of the GPU by its data sheet, or `None` for a card that is not in the table.

    Args: dtype (`str`): `"float32"` (without TF32, torch's default) or `"bfloat16"`. Returns: `float` or `None`.
    """
    if not torch.cuda.is_available():
        return None
    rates = DATA_SHEET_TFLOPS.get(torch.cuda.get_device_name())
    return None if rates is None else rates[dtype] * 1e12


class MatrixProduct:
    """The product of two square matrices, repeated: what the machine can do with the threads it has.

    Args: dtype (`str`); device (`torch.device`); size (`int`, *optional*): rows and columns.
    """

    repeats = 3

    def __init__(self, dtype, device, size=None):
        self.device, self.size = device, size or SQUARE[device.type]
        self.left, self.right = torch.randn(2, self.size, self.size, device=device, dtype=getattr(torch, dtype))

    def step(self, rows=None):
        """The best of a few products. Returns: `dict` with `flops` and `seconds` of one product."""
        return {"flops": 2 * self.size**3, "seconds": min(self._time_one() for _ in range(self.repeats))}

    def _time_one(self):
        with Stopwatch(self.device) as watch:
            self.left @ self.right
        return watch.seconds


class Stopwatch:
    """Seconds of what runs inside: by the device's own events on a GPU, by the clock on a CPU.

    Args: device (`torch.device`).
    """

    def __init__(self, device):
        self.on_gpu = device.type == "cuda"

    def __enter__(self):
        if self.on_gpu:
            torch.cuda.synchronize()
            self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.start.record()
        else:
            self.start = time.perf_counter()
        return self

    def __exit__(self, *error):
        if self.on_gpu:
            self.end.record()
            torch.cuda.synchronize()
            self.seconds = self.start.elapsed_time(self.end) / 1000  # milliseconds
        else:
            self.seconds = time.perf_counter() - self.start
