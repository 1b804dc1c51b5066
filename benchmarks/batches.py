"""How rows of token ids become batches. It reads no text: a machine without `datasets` can import it."""

import random

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices


VOCAB_SIZE = 35_000  # KoELECTRA's; the tables of a smaller vocabulary are padded to it
MAX_LENGTH = 128  # tokens of a sentence
FULL_LENGTH = 512  # tokens of a full row
SCENARIOS = ("ragged", "like-length", "full")


def draw_batches(rows, scenario, batch_size, count, seed=0):
    """Batches as a training run would see them.

    Args:
        rows (`list[list[int]]`): token ids of each sentence.
        scenario (`str`): `"ragged"` shuffles the sentences, `"like-length"` groups them as the stock Trainer does,
            `"full"` joins them to rows of 512 tokens without padding.
        batch_size (`int`): rows.
        count (`int`): batches; drawn again where the text does not have that many.
        seed (`int`).

    Returns:
        `list[list[list[int]]]`: rows of token ids of each batch.
    """
    if scenario == "full":
        rows = join_rows(rows, FULL_LENGTH)
    if len(rows) < batch_size:
        raise ValueError(f"The text has {len(rows)} rows, a batch {batch_size}: give more text, or a smaller batch.")
    batches, epoch = [], seed
    while len(batches) < count:
        batches += _epoch(rows, scenario, batch_size, epoch)
        epoch += 1
    return batches[:count]


def _epoch(rows, scenario, batch_size, seed):
    if scenario == "like-length":
        generator = torch.Generator().manual_seed(seed)
        order = get_length_grouped_indices([len(row) for row in rows], batch_size, generator=generator)
    else:
        order = random.Random(seed).sample(range(len(rows)), len(rows))
    batches = [[rows[index] for index in order[at : at + batch_size]] for at in range(0, len(order), batch_size)]
    whole = [batch for batch in batches if len(batch) == batch_size]
    # Within a group the Trainer's batches run from long to short: a few of them in a row would not be a fair sample.
    return random.Random(seed).sample(whole, len(whole))


def join_rows(rows, length):
    """Rows of exactly `length` tokens, cut from all sentences one behind the other; the rest is left out.

    Args: rows (`list[list[int]]`): each from `[CLS]` to `[SEP]`; length (`int`). Returns: `list[list[int]]`.
    """
    first, last = rows[0][0], rows[0][-1]
    stream = [token for row in rows for token in row[1:-1]]
    inner = length - 2
    return [[first, *stream[at : at + inner], last] for at in range(0, len(stream) - inner + 1, inner)]
