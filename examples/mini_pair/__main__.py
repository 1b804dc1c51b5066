"""Pretrain the mini pair, or go on: `python -m examples.mini_pair --data ../shared/data --work .mini_pair`."""

import argparse
import math
import time
from pathlib import Path

import torch

from .neighbours import embeddings_of_neighbours
from .packing import write_pair
from .tokens import HELD_OUT, read_tokens, write_tokens
from .training import EMBEDDING, Phase, masked_language_model, measure, pair_from, train


MASKED = Phase("masked", steps=4500, learning_rate=7e-4)
DETECTION = Phase("detection", steps=1800, learning_rate=3e-4, first_epoch=50)
GENERATOR_LAYERS = 2
PACKAGE = Path(__file__).resolve().parents[2] / "train_tools" / "mini_pair"


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line. Returns: `int`, 0 where the pair is written."""
    parser = argparse.ArgumentParser(prog="examples.mini_pair", description=__doc__)
    parser.add_argument("--data", type=Path, default=PACKAGE.parents[2] / "shared" / "data", help="the corpora")
    parser.add_argument("--work", type=Path, default=Path(".mini_pair"), help="token ids, vocabulary and states")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="the pair")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop then; the next call goes on")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    stop = time.monotonic() + 60 * options.minutes
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not (options.work / "tokens.npz").exists():
        write_tokens(options.data, options.work)
    tokens = read_tokens(options.work)
    masked = masked_language_model(tokens, embeddings_of_neighbours(tokens, EMBEDDING))
    if not train(masked, tokens, MASKED, options.work, device, stop):
        return 1
    pair = pair_from(masked.cpu(), tokens, GENERATOR_LAYERS)
    if not train(pair, tokens, DETECTION, options.work, device, stop):
        return 1
    figures = ", ".join(f"{name} {value:.3f}" for name, value in measure(pair, tokens, device).items())
    write_pair(pair, options.work, options.output, f"On {HELD_OUT:,} rows that were held out: {figures}.")
    print(options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
