"""Cost of our step against tokens, row length, padding, vocabulary, width and depth: `make bench-scaling`.

One of them is swept at a time, the others stay. The points of a sweep step in turn, each in a process of its own, and
a power law is fitted to their times by least squares over the logarithms.
"""

import argparse
import random
import tempfile
from dataclasses import dataclass, field

import numpy as np

from electra_rtd import ElectraRTDConfig
from electra_rtd.train_tools import estimate_memory

from .contenders.common import Setup
from .machine import add_machine_options, choose_device, describe_machine, write_run
from .rounds import Worker, run_rounds, spread
from .shapes import pair_configs
from .step import DTYPES
from .text import add_text_options, read_rows


ROWS, LENGTH = 16, 64  # of the point that all sweeps share
WIDTH, DEPTH, VOCAB = 256, 4, 35_000
EMBEDDING = 128
HEAD_SIZE = 64
REAL_TOKENS = ROWS * LENGTH


@dataclass(frozen=True)
class Point:
    """One batch and one pair of networks that are alike.

    Args:
        value (`float`): of what is swept.
        lengths (`list[int]`): tokens of each row.
        width (`int`): hidden size.
        depth (`int`): layers.
        vocab (`int`): rows of the embedding tables.
    """

    value: float
    lengths: list[int] = field(default_factory=lambda: [LENGTH] * ROWS)
    width: int = WIDTH
    depth: int = DEPTH
    vocab: int = VOCAB

    def shape(self):
        """Returns: `dict`, as in `benchmarks.shapes.SHAPES`."""
        network = {
            "embedding_size": EMBEDDING,
            "hidden_size": self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.width // HEAD_SIZE,
        }
        return {"generator": network, "discriminator": network}


def padded_lengths(share):
    """Rows of `REAL_TOKENS` tokens in all, one of them so long that padding takes its share of the batch.

    Args: share (`float`): of padding, in [0, 1 - 1 / ROWS). Returns: `list[int]`, `ROWS` lengths.
    """
    longest = round(LENGTH / (1 - share))
    others, rest = divmod(REAL_TOKENS - longest, ROWS - 1)
    return [longest, *(others + (row < rest) for row in range(ROWS - 1))]


# Name -> what the exponent should be, and the points.
SWEEPS = {
    "tokens in the batch": ("1: linear", [Point(rows * LENGTH, [LENGTH] * rows) for rows in (8, 16, 32, 64)]),
    "row length, as many tokens": (
        "0, and above it where attention's products count",
        [Point(length, [length] * (2048 // length)) for length in (32, 64, 128, 256, 512)],
    ),
    "padded tokens, as many real ones": (
        "0: padding costs nothing",
        [Point(REAL_TOKENS / (1 - share), padded_lengths(share)) for share in (0.0, 0.25, 0.5, 0.75)],
    ),
    "vocabulary": (
        "0 to 1: head, embedding's gradient and optimiser alone",
        [Point(vocab, vocab=vocab) for vocab in (VOCAB, 2 * VOCAB, 4 * VOCAB)],
    ),
    "width": ("1 to 2", [Point(width, width=width) for width in (128, 256, 512)]),
    "depth": ("up to 1", [Point(depth, depth=depth) for depth in (2, 4, 8, 16)]),
}


def predicted_memory(generator, discriminator, lengths):
    """Bytes that a process takes for a training step, in float32 and without padding, beside what libraries hold.

    Args: generator, discriminator (`ElectraConfig`); lengths (`list[int]`): tokens of each row. Returns: `int`.
    """
    config = ElectraRTDConfig(generator_config=generator, discriminator_config=discriminator)
    return estimate_memory(config, len(lengths), max(lengths), lengths=lengths)["resident"]


# ---- Measuring ------------------------------------------------------------------------------------------------------


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", nargs="+", choices=SWEEPS, default=list(SWEEPS), metavar="NAME")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--rounds", type=int, default=15, help="that are counted")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them")
    add_machine_options(parser)
    add_text_options(parser)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line."""
    options = parse_arguments(arguments)
    device = choose_device(options.device)
    tokenizer = read_rows(options).tokenizer
    for name in options.sweep:
        expected, points = SWEEPS[name]
        run = {
            "sweep": name,
            "expected": expected,
            "dtype": options.dtype,
            "rounds": options.rounds,
            "machine": describe_machine(device, options.threads),
            **measure(options, points, tokenizer),
        }
        path = write_run("scaling", device, run, key=("sweep", "dtype"))
        exponent = run["exponent"]
        print(f"{name}: exponent {exponent['median']:.2f} [{exponent['p10']:.2f}, {exponent['p90']:.2f}] ({expected})")
        for point in run["points"]:
            measured, predicted = (point[name] / 2**20 for name in ("peak_memory", "predicted_memory"))
            seconds = point["seconds"]["median"]
            print(f"  {point['value']:8.0f}: {seconds:.3f} s, {measured:.0f} MiB, {predicted:.0f} by the formula")
    print(f"Written to {path.parent.name}/{path.name}; `make bench-report` shows it.")


def measure(options, points, tokenizer):
    """One sweep.

    Args: options (`argparse.Namespace`); points (`list[Point]`); tokenizer (`PreTrainedTokenizerFast`).
    Returns: `dict` with the fitted exponent and the points.
    """
    count, workers = options.warmup + options.rounds, {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        try:
            for number, point in enumerate(points):
                setup = Setup(
                    shape=point.shape(),
                    vocab_size=point.vocab,
                    tokenizer=folder,
                    dtype=options.dtype,
                    device=choose_device(options.device).type,
                )
                workers[str(number)] = Worker("ours", setup, options.threads)
            batches = {str(number): [random_rows(point, tokenizer)] * count for number, point in enumerate(points)}
            reports, failed = run_rounds(workers, batches, options.rounds, options.warmup)
        finally:
            for worker in workers.values():
                worker.close()
    if failed:
        raise RuntimeError(f"Points that failed: {failed}")
    seconds = [[report["seconds"] for report in reports[str(number)]] for number in range(len(points))]
    exponents = [fit_exponent([point.value for point in points], of_round) for of_round in zip(*seconds, strict=True)]
    return {
        "exponent": spread(exponents),
        "points": [
            {
                "value": point.value,
                "seconds": spread(times),
                "peak_memory": max(report["peak_memory"] for report in reports[str(number)]),
                "predicted_memory": predicted_memory(*pair_configs(point.shape(), point.vocab), point.lengths),
            }
            for number, (point, times) in enumerate(zip(points, seconds, strict=True))
        ],
    }


def random_rows(point, tokenizer):
    """Rows of ordinary tokens between `[CLS]` and `[SEP]`.

    Args: point ([`Point`]); tokenizer (`PreTrainedTokenizerFast`). Returns: `list[list[int]]`.
    """
    draw = random.Random(0)
    ordinary = range(max(tokenizer.all_special_ids) + 1, min(point.vocab, len(tokenizer)))
    return [
        [tokenizer.cls_token_id, *draw.choices(ordinary, k=length - 2), tokenizer.sep_token_id]
        for length in point.lengths
    ]


def fit_exponent(values, seconds):
    """The `b` of `seconds = a * values ** b`, by least squares over the logarithms.

    Args: values, seconds (`list[float]`). Returns: `float`.
    """
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


if __name__ == "__main__":
    main()
