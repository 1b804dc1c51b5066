"""ONNX Runtime and torch in turn, on the same batches with the same number of threads."""

import statistics
import time

import torch

from .agreement import Batch, run


ROUNDS = 9
SHAPES = ((1, 16), (8, 64), (32, 128))  # rows, and tokens of the longest of them


def ragged_batch(config, rows, length, seed=0):
    """Rows of a quarter of the length up to all of it, padded on the right: [`Batch`].

    Args: config (`PretrainedConfig`); rows, length (`int`); seed (`int`).
    """
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(max(1, length // 4), length + 1, (rows, 1), generator=draw)
    lengths[0] = length
    ids = torch.randint(config.vocab_size, (rows, length), generator=draw)
    mask = (torch.arange(length) < lengths).long()
    return Batch(f"{rows} x {length}", ids, mask, torch.zeros_like(ids))


@torch.inference_mode()
def compare_speed(session, network, batch, rounds=ROUNDS):
    """Seconds of a batch in torch and in ONNX Runtime, torch first, in turn.

    Args: session (`InferenceSession`); network (`PreTrainedModel`); batch ([`Batch`]); rounds (`int`), after two that
        are not counted.

    Returns:
        `tuple[float, float, float]`: median seconds of torch and of ONNX Runtime, and the median over the rounds of
        torch's seconds divided by ONNX Runtime's: more than 1 where ONNX Runtime is faster.
    """
    seconds = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        network(**batch.inputs)
        between = time.perf_counter()
        run(session, batch)
        seconds.append((between - begin, time.perf_counter() - between))
    counted = seconds[2:]
    of_torch, of_onnx = (statistics.median(column) for column in zip(*counted, strict=True))
    return of_torch, of_onnx, statistics.median(one / other for one, other in counted)
