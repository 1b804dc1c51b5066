# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""The steps of replaced token detection, each a function on tensors, and the random numbers of eval mode.

"paper": Clark et al., "ELECTRA", ICLR 2020, https://arxiv.org/abs/2003.10555. Shapes: B sequences in a batch, L tokens
in the longest, M masked tokens in the batch, V tokens in the vocabulary.
"""

from contextlib import contextmanager
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import nn


NOT_A_LABEL = -100  # the index that losses ignore, as everywhere in `transformers`


def is_any_of(values, ids):
    """Where values (int64, any shape) are one of ids (`list[int]`): bool, the same shape."""
    found = torch.zeros_like(values, dtype=torch.bool)
    for one_id in ids:
        found |= values == one_id
    return found


def choose_masked_positions(candidates, mask_prob, uniform):
    """Exactly `ceil(mask_prob * candidates)` of each sequence's candidates, uniformly without replacement.

    Args: candidates (bool, (B, L)); mask_prob (`float`); uniform (float32 in [0, 1), (B, L)). Returns: bool, (B, L).
    """
    # In whole numbers: in floating point 0.07 * 100 is above 7, and in float32 0.15 * 100 is above 15.
    share = Fraction(str(mask_prob)).limit_denominator(10**9)
    counts = candidates.sum(dim=-1, keepdim=True)  # (B, 1)
    to_mask = (counts * share.numerator + share.denominator - 1) // share.denominator  # (B, 1)
    to_mask = to_mask.maximum((counts > 0).long())  # shares below 10**-9
    order = uniform.masked_fill(~candidates, 2.0).argsort(dim=-1, stable=True)  # (B, L): candidates first, shuffled
    ranks = order.argsort(dim=-1)  # (B, L): 0 to L - 1, each once, so that equal numbers do not change the count
    return candidates & (ranks < to_mask)


def random_ordinary_tokens(uniform, vocab_size, special_token_ids):
    """Tokens drawn uniformly from the vocabulary without the special ones.

    Args: uniform (float32 in [0, 1), (B, L)); vocab_size (`int`); special_token_ids (`list[int]`).
    Returns: int64, (B, L).
    """
    special = sorted(set(special_token_ids))
    drawn = (uniform * (vocab_size - len(special))).long()
    for special_id in special:  # ascending: step over every special id at or below the number drawn
        drawn = drawn + (drawn >= special_id)
    return drawn


@torch.no_grad()
def sample_tokens(logits, temperature, uniform):
    """Samples of softmax(logits / temperature), by inverting its distribution function: one random number a row takes
    the place of noise over the vocabulary.

    Args: logits (float, (M, V)); temperature (`float`); uniform (float32 in [0, 1), (M,)). Returns: int64, (M,).
    """
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    cumulative = probabilities.cumsum(dim=-1)  # (M, V)
    # In (0, total]: the first entry that reaches it exists, and has a probability above 0.
    threshold = (1.0 - uniform)[:, None] * cumulative[:, -1:]  # (M, 1)
    sampled = torch.searchsorted(cumulative, threshold).squeeze(-1)  # (M,)
    return sampled.clamp(
        max=logits.shape[-1] - 1
    )  # of logits that are not numbers: the loss has to say so, not a crash


def masked_language_modeling_loss(logits, original_ids):
    """Sum of the cross-entropies of masked tokens in nats, in float32; 0 with a gradient where there are none.

    Args: logits (float, (M, V)); original_ids (int64, (M,)). Returns: float32, ().
    """
    return nn.functional.cross_entropy(logits.float(), original_ids, reduction="sum")


def replaced_token_detection_loss(logits, disc_labels, attended):
    """Mean binary cross-entropy over the attended tokens in nats, in float32.

    Args: logits (float, (B, L)); disc_labels (int64, (B, L)); attended (bool, (B, L)). Returns: float32, ().
    """
    targets = disc_labels.clamp(min=0).float()
    losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")  # (B, L)
    return (losses * attended).sum() / attended.sum().clamp(min=1)


def correct_first_choices(logits, original_ids):
    """How many of the masked tokens are the generator's first choice.

    Args: logits (float, (M, V)); original_ids (int64, (M,)). Returns: float32, ().
    """
    return (logits.argmax(dim=-1) == original_ids).float().sum()


def detection_accuracy(correct, masked_positions, attended):
    """Mean of the accuracies over masked and over unmasked attended tokens; of one group where the other is empty.

    Args: correct, masked_positions, attended (bool, (B, L)). Returns: float32, ().
    """
    groups = torch.stack([masked_positions, attended & ~masked_positions])  # (2, B, L)
    sizes = groups.sum(dim=(1, 2))  # (2,)
    accuracies = (groups & correct).sum(dim=(1, 2)) / sizes.clamp(min=1)  # (2,)
    return accuracies.sum() / (sizes > 0).sum().clamp(min=1)


def positions_from_first_token(attended):
    """Positions that count from each sequence's first token.

    Args: attended (bool, (B, L)). Returns: int64, (B, L).
    """
    first = attended.long().argmax(dim=-1, keepdim=True)  # (B, 1)
    return (torch.arange(attended.shape[1], device=attended.device) - first).clamp(min=0)


# ---- The vocabulary head, bounded -----------------------------------------------------------------------------------

HEAD_LOGITS = 2**23  # at a time: 32 MiB in float32, and as much again for each thing that is made of them


class Generated(NamedTuple):
    """What came of the masked tokens: mean loss in nats and accuracy, float32, (); sampled tokens, int64, (M,)."""

    mlm_loss: torch.Tensor
    gen_acc: torch.Tensor
    sampled_ids: torch.Tensor


@torch.compiler.disable  # how many parts there are follows from the tokens
def generate(generator, hidden, original_ids, temperature, uniform):
    """Predict the masked tokens, and sample what replaces them.

    Args: generator (`ElectraForMaskedLM`); hidden (float, (M, H)), of its encoder; original_ids (int64, (M,));
        temperature (`float`); uniform (float32 in [0, 1), (M,)). Returns: [`Generated`].
    """
    predictions = generator.generator_predictions(hidden)  # (M, embedding_size)
    at_once = max(1, HEAD_LOGITS // generator.config.vocab_size)
    arguments = generator.generator_lm_head, predictions, original_ids, temperature, uniform
    few = len(original_ids) <= at_once
    loss, hits, sampled_ids = predict(*arguments) if few else predict_in_parts(*arguments, at_once)
    count = max(len(original_ids), 1)
    return Generated(loss / count, hits / count, sampled_ids)


def predict(head, predictions, original_ids, temperature, uniform):
    """Sum of the losses of masked tokens, right first choices, and samples; arguments as of [`generate`].

    Args: head (module); predictions (float, (M, embedding_size)). Returns: float32, (); float32, (); int64, (M,).
    """
    logits = head(predictions)  # (M, V)
    loss = masked_language_modeling_loss(logits, original_ids)
    logits = logits.detach()
    return loss, correct_first_choices(logits, original_ids), sample_tokens(logits, temperature, uniform)


def predict_in_parts(head, predictions, original_ids, temperature, uniform, at_once):
    """[`predict`], for `at_once` tokens at a time: memory for logits has a bound at any number of masked tokens.

    The logits of a part are gone before those of the next, and long before the backward pass: their gradient is
    computed beside the loss.
    """
    weights = weights_of(head)
    learned = [one for one in (predictions, *weights.values()) if one.requires_grad and torch.is_grad_enabled()]
    # Copies without history collect the gradients.
    rows = predictions.detach().requires_grad_(predictions.requires_grad)
    weights = {name: weight.detach().requires_grad_(weight.requires_grad) for name, weight in weights.items()}
    leaves = [tensor for tensor in (rows, *weights.values()) if tensor.requires_grad]
    total, hits, sampled_ids = 0.0, 0.0, []
    for few, ids, numbers in zip(*(one.split(at_once) for one in (rows, original_ids, uniform)), strict=True):
        with torch.set_grad_enabled(bool(learned)), computing_with(weights, head):
            loss, correct, sampled = predict(head, few, ids, temperature, numbers)
        if learned:
            loss.backward(inputs=leaves)
        total, hits = total + loss.detach(), hits + correct
        sampled_ids.append(sampled)
    if learned:
        total = WithGradients.apply(total, [leaf.grad for leaf in leaves], *learned)
    return total, hits, torch.cat(sampled_ids)


def weights_of(module):
    """A module's weights by name, also where a wrapper put tensors in the place of its parameters: copies for one
    of several devices (`DataParallel`), or views of a flat parameter (FSDP).

    Args: module (`nn.Module`). Returns: `dict[str, torch.Tensor]`.
    """
    return {
        f"{prefix}.{name}".lstrip("."): value
        for prefix, part in module.named_modules()
        for name, value in (*part.named_parameters(recurse=False), *vars(part).items())
        if isinstance(value, torch.Tensor)
    }


@contextmanager
def computing_with(weights, module):
    """A module computes with other tensors: attributes, which Python finds before parameters of the same names.
    (`torch.func.functional_call` does not reach what FSDP has put there.)

    Args: weights (`dict[str, torch.Tensor]`): by names as of [`weights_of`]; module (`nn.Module`).
    """
    paths = [name.rpartition(".") for name in weights]
    places = [(vars(module.get_submodule(prefix)), name) for prefix, _, name in paths]
    before = [attributes.get(name) for attributes, name in places]
    try:
        for (attributes, name), weight in zip(places, weights.values(), strict=True):
            attributes[name] = weight
        yield
    finally:
        for (attributes, name), value in zip(places, before, strict=True):
            if value is None:
                attributes.pop(name, None)
            else:
                attributes[name] = value


class WithGradients(torch.autograd.Function):
    """A value whose gradients are known: value (float, ()), gradients (`list`), of inputs in their order."""

    @staticmethod
    def forward(ctx, value, gradients, *inputs):
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        return None, None, *(None if one is None else one * upstream for one in ctx.saved_tensors)


# ---- The random numbers of eval mode --------------------------------------------------------------------------------

POSITION, FATE, RANDOM_TOKEN, SAMPLE = range(4)  # streams: what a step draws numbers for
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
    """Scramble the low 32 bits, so that every bit of the result depends on every bit of the argument.

    Args: values (int64 >= 0, any shape). Returns: int64 in [0, 2**32), the same shape.
    """
    values = values & BITS_32
    for _ in range(2):
        values = (((values >> 16) ^ values) * 0x45D9F3B) & BITS_32  # the product is below 2**59: nothing overflows
    return (values >> 16) ^ values


def gradient_if(needed):
    """A context in which gradients are recorded only where they are needed: one for a loss of weight 0 is not."""
    return torch.set_grad_enabled(needed and torch.is_grad_enabled())
