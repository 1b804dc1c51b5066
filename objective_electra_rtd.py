# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""The steps of replaced token detection, each a function on tensors, and the random numbers of eval mode.

"paper": Clark et al., "ELECTRA", ICLR 2020, https://arxiv.org/abs/2003.10555. Shapes: B sequences in a batch, L tokens
in the longest, M masked tokens in the batch, V tokens in the vocabulary.
"""

from fractions import Fraction
from functools import lru_cache

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


NOT_A_LABEL = -100  # the index that losses ignore, as everywhere in `transformers`
POSITION, FATE, RANDOM_TOKEN, SAMPLE = range(4)  # streams of random numbers: what a step draws them for


def is_any_of(values, ids):
    """Where values (int64, any shape) are one of ids (`list[int]`): bool, the same shape."""
    found = torch.zeros_like(values, dtype=torch.bool)
    for one_id in ids:
        found |= values == one_id
    return found


def where_true(mask, count=None):
    """Cells of a mask (bool, any shape) that are true, counted through all its rows: int64, (count,).

    Their number (`int`), where it is known, spares an accelerator a stop to find it out.
    """
    if count is None or mask.is_cpu:
        return mask.flatten().nonzero().squeeze(-1)
    return mask.flatten().byte().argsort(descending=True, stable=True)[:count]


def choose_masked_positions(candidates, mask_prob, uniform, continues=None):
    """Exactly `ceil(mask_prob * candidates)` of each sequence's candidates, uniformly without replacement.

    Args: candidates (bool, (B, L)); mask_prob (`float`); uniform (float32 in [0, 1), (B, L)); continues (bool,
        (B, L), *optional*): tokens that continue the word before them, for whole words alone. Returns: bool, (B, L).
    """
    # In whole numbers: in floating point 0.07 * 100 is above 7, and in float32 0.15 * 100 is above 15.
    share = Fraction(str(mask_prob)).limit_denominator(10**9)
    counts = candidates.sum(dim=-1, keepdim=True)  # (B, 1)
    to_mask = (counts * share.numerator + share.denominator - 1) // share.denominator  # (B, 1)
    to_mask = to_mask.maximum((counts > 0).long())  # shares below 10**-9
    if continues is not None:
        return choose_masked_words(candidates, to_mask, uniform, continues)
    order = uniform.masked_fill(~candidates, 2.0).argsort(dim=-1, stable=True)  # (B, L): candidates first, shuffled
    ranks = order.argsort(dim=-1)  # (B, L): 0 to L - 1, each once, so that equal numbers do not change the count
    return candidates & (ranks < to_mask)


def choose_masked_words(candidates, to_mask, uniform, continues):
    """Words (candidates side by side, the later ones continuing) in random order, each that fits into what is left of
    to_mask (int64, (B, 1)) tokens, as BERT's `create_pretraining_data.py` takes them; where none fits, a shortest one.

    Args: the others as of [`choose_masked_positions`]. Returns: bool, (B, L).
    """
    starts = candidates & ~(continues & nn.functional.pad(candidates, (1, -1)))  # (B, L)
    places = torch.arange(starts.shape[-1], device=starts.device)  # (L,)
    first = (places * starts).cummax(dim=-1).values  # (B, L): the place where a token's word starts
    sizes = torch.zeros_like(first).scatter_add(-1, first, candidates.long())  # (B, L): of words, where they start
    order = uniform.masked_fill(~starts, 2.0).argsort(dim=-1, stable=True)  # (B, L): words first, shuffled
    sizes = sizes.gather(-1, order)
    left = sizes.masked_fill(sizes == 0, len(places)).amin(dim=-1, keepdim=True).maximum(to_mask)  # (B, 1)
    taken = torch.zeros_like(candidates)
    for _ in range(8):  # a round ends at the first word that is too long, and stays so; text needs five at most
        fits = ~taken & (sizes > 0) & (sizes <= left)
        fits = fits & ((sizes * fits).cumsum(dim=-1) <= left)
        taken, left = taken | fits, left - (sizes * fits).sum(dim=-1, keepdim=True)
    return candidates & taken.gather(-1, order.argsort(dim=-1)).gather(-1, first)


@torch.compiler.disable  # no part of a graph: a constant
@lru_cache(maxsize=4)  # an accelerator waits for it once
def continuation_table(hexadecimal, vocab_size, device):
    """Which tokens continue a word, by `config.continuation_tokens` (`str`): bool, (V,), on a device."""
    bits = f"{int(hexadecimal, 16):0{vocab_size}b}"[::-1]
    return torch.tensor([bit == "1" for bit in bits[:vocab_size]], device=device)


def hide_tokens(input_ids, masked_positions, config, uniform):
    """The generator's input: of the masked tokens some become `[MASK]`, some a random token, the rest stay.

    Args: input_ids (int64, (B, L)); masked_positions (bool, (B, L)); config ([`ElectraRTDConfig`]); uniform (function
        from a stream to float32 in [0, 1), (B, L)). Returns: int64, (B, L). Raises: ValueError: no `mask_token_id`.
    """
    if config.replace_prob > 0 and config.mask_token_id is None:
        raise ValueError(
            "`mask_token_id` is None, but `replace_prob` is above 0: set `model.config.mask_token_id = "
            "tokenizer.mask_token_id` and `model.config.special_token_ids = tokenizer.all_special_ids`."
        )
    fate = uniform(FATE)  # (B, L)
    if config.random_token_prob > 0:
        random_ids = random_ordinary_tokens(uniform(RANDOM_TOKEN), config.vocab_size, config.special_token_ids)
        becomes_random = masked_positions & (fate < config.replace_prob + config.random_token_prob)
        input_ids = torch.where(becomes_random, random_ids, input_ids)
    if config.replace_prob > 0:
        becomes_mask = masked_positions & (fate < config.replace_prob)
        input_ids = input_ids.masked_fill(becomes_mask, config.mask_token_id)
    return input_ids


def random_ordinary_tokens(uniform, vocab_size, special_token_ids):
    """Tokens drawn uniformly from the vocabulary without the special ones: int64, (B, L).

    Args: uniform (float32 in [0, 1), (B, L)); vocab_size (`int`); special_token_ids (`list[int]`).
    """
    special = sorted(set(special_token_ids))
    drawn = (uniform * (vocab_size - len(special))).long()
    for special_id in special:  # ascending: step over every special id at or below the number drawn
        drawn = drawn + (drawn >= special_id)
    return drawn


@torch.no_grad()
def sample_tokens(logits, temperature, uniform, excluded=None):
    """Samples of softmax(logits / temperature), by inverting its distribution function: one random number a row takes
    the place of noise over the vocabulary.

    Args: logits (float, (M, V)); temperature (`float`); uniform (float32 in [0, 1), (M,)); excluded (int64, (M,),
        *optional*): a token of each row that is not drawn, which no rounding can bring back. Returns: int64, (M,).
    """
    last = logits.shape[-1] - 1
    if excluded is not None:  # the last token stands in its place, and is drawn where that is
        there = torch.arange(last, device=logits.device) == excluded[:, None]  # (M, V - 1)
        others = torch.where(there, logits[:, last:], logits[:, :last])  # (M, V - 1)
        sampled = sample_tokens(others, temperature, uniform)
        return sampled.masked_fill(sampled == excluded, last)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    if torch.are_deterministic_algorithms_enabled():  # on CUDA, cumsum is so for integers alone
        probabilities = (probabilities * 2**32).long()
    cumulative = probabilities.cumsum(dim=-1).float()  # (M, V)
    # In (0, total]: the first entry that reaches it exists, and has a probability above 0.
    threshold = (1.0 - uniform)[:, None] * cumulative[:, -1:]  # (M, 1)
    sampled = torch.searchsorted(cumulative, threshold).squeeze(-1)  # (M,)
    return sampled.clamp(max=last)  # of logits that are NaN: the loss has to say so, not a crash


def replaced_token_detection_loss(logits, disc_labels, attended):
    """Mean binary cross-entropy over the attended tokens in nats, in float32.

    Args: logits (float, (B, L)); disc_labels (int64, (B, L)); attended (bool, (B, L)). Returns: float32, ().
    """
    targets = disc_labels.clamp(min=0).float()
    losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")  # (B, L)
    return (losses * attended).sum() / attended.sum().clamp(min=1)


def detection_accuracy(correct, masked_positions, attended):
    """Mean of the accuracies over masked and over unmasked attended tokens; of one group where the other is empty.

    Args: correct, masked_positions, attended (bool, (B, L)). Returns: float32, ().
    """
    groups = torch.stack([masked_positions, attended & ~masked_positions])  # (2, B, L)
    sizes = groups.sum(dim=(1, 2))  # (2,)
    accuracies = (groups & correct).sum(dim=(1, 2)) / sizes.clamp(min=1)  # (2,)
    return accuracies.sum() / (sizes > 0).sum().clamp(min=1)


def positions_from_first_token(attended):
    """Positions that count from each sequence's first token: int64, (B, L). Args: attended (bool, (B, L))."""
    first = attended.long().argmax(dim=-1, keepdim=True)  # (B, 1)
    return (torch.arange(attended.shape[1], device=attended.device) - first).clamp(min=0)


# ---- The generator's predictions, a few tokens at a time ------------------------------------------------------------

# Logits at a time: in float32 32 MiB on a CPU, and 256 MiB elsewhere, where more parts are more launches of every
# kernel; and as much again for each thing that is made of them.
LOGITS_AT_ONCE = {"cpu": 2**23}
LOGITS_AT_ONCE_ELSEWHERE = 2**26


@torch.compiler.disable  # how many parts there are follows from the tokens
def generate(generator, hidden, original_ids, config, uniform):
    """Predict the masked tokens, and sample what replaces them.

    Memory for logits has a bound at any number of masked tokens: those of a part are gone before those of the next,
    and are computed again for its gradient.

    Args: generator (`ElectraForMaskedLM`); hidden (float, (M, H)), of its encoder; original_ids (int64, (M,)); config
        ([`ElectraRTDConfig`]); uniform (float32 in [0, 1), (M,)).
    Returns: mean loss in nats, float32, (); share of right first choices, float32, (); samples, int64, (M,).
    """
    predictions = generator.generator_predictions(hidden)  # (M, embedding_size)
    at_once = LOGITS_AT_ONCE.get(hidden.device.type, LOGITS_AT_ONCE_ELSEWHERE) // generator.config.vocab_size
    parts = [tensor.split(max(1, at_once)) for tensor in (predictions, original_ids, uniform)]
    head = generator.generator_lm_head
    if len(parts[0]) == 1:
        found = [predict(head, predictions, original_ids, uniform, config)]
    else:
        again = {"use_reentrant": False, "preserve_rng_state": False}  # nothing random is drawn in there
        found = [checkpoint(predict, head, *part, config, **again) for part in zip(*parts, strict=True)]
    losses, hits, sampled_ids = zip(*found, strict=True)
    count = max(len(original_ids), 1)
    return sum(losses) / count, sum(hits) / count, torch.cat(sampled_ids)


def predict(head, predictions, original_ids, uniform, config):
    """Sums of the losses of masked tokens and of right first choices, and samples; arguments as of [`generate`].

    Args: head (module); predictions (float, (M, embedding_size)). Returns: float32, (); float32, (); int64, (M,).
    """
    logits = head(predictions)  # (M, V)
    # In float32; 0 with a gradient where nothing is masked.
    loss = nn.functional.cross_entropy(logits.float(), original_ids, reduction="sum")
    logits = logits.detach()
    hits = (logits.argmax(dim=-1) == original_ids).float().sum()
    excluded = original_ids if config.exclude_original else None
    return loss, hits, sample_tokens(logits, config.sampling_temperature, uniform, excluded)


# ---- The random numbers of eval mode --------------------------------------------------------------------------------

BITS_32 = 0xFFFFFFFF


def seeded_uniform_numbers(seed, original_ids, attended):
    """Uniform numbers that depend on the seed and on a sequence's own tokens alone: the same sequence gets the same
    ones wherever it stands, however it is padded and on whatever device, and no generator is touched.

    Args: seed (`int`); original_ids (int64, (B, L)); attended (bool, (B, L)).
    Returns: a function from a stream to float32 in [0, 1), (B, L).
    """
    ordinals = attended.cumsum(dim=-1)  # (B, L): the n-th token of its sequence, wherever padding stands
    tokens = mix_bits(original_ids + mix_bits(ordinals))  # (B, L)
    digests = mix_bits((tokens * attended).sum(dim=-1, keepdim=True) + (seed & BITS_32))  # (B, 1)

    def uniform(stream):
        bits = mix_bits(mix_bits(digests + stream) + ordinals)  # (B, L)
        return (bits >> 8).float() / 2**24  # 24 bits: all that float32 holds exactly

    return uniform


def mix_bits(values):
    """Scramble the low 32 bits of values (int64 >= 0, any shape): int64 in [0, 2**32), the same shape, of which every
    bit depends on every bit of the argument.
    """
    values = values & BITS_32
    for _ in range(2):
        values = (((values >> 16) ^ values) * 0x45D9F3B) & BITS_32  # the product is below 2**59: nothing overflows
    return (values >> 16) ^ values
