"""Is it the same objective on this device, and in every layout of a batch?"""

from unittest import mock

import torch

from electra_rtd import objective_electra_rtd
from electra_rtd.train_tools import unpadded_attention

from ..ground import Skipped, compare, demand, difference, samples_without_logits, set_attention, step


LOWER = 2e-2  # what float16 and bfloat16 may differ by, in a loss
LOWER_GRADIENTS = 5e-2
# Attentions of `transformers` that read row starts, and the package that each needs.
FLASH = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "kernels-community/flash-attn2": "kernels",
    "kernels-community/flash-attn3": "kernels",
}


def same_as_on_the_cpu(ground):
    """Float32 in eval mode: positions and inputs are equal, samples but for a few, the losses nearly.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError.
    """
    model = ground.model()
    lengths = ground.lengths() * 4  # on a GPU more than a thousand samples, of which one may differ
    with torch.no_grad():
        found = model(**ground.batch(lengths))
        expected = model.to("cpu")(**ground.batch(lengths, device="cpu"))
    for name in ("masked_positions", "masked_input_ids"):
        differ = int((found[name].cpu() != expected[name]).sum())
        demand(differ == 0, f"{name}: {differ} of {expected[name].numel()} differ from those on a CPU")
    masked = expected.masked_positions
    equal = float((found.disc_input_ids.cpu() == expected.disc_input_ids)[masked].float().mean())
    demand(equal >= 0.999, f"samples: {equal:.2%} of {int(masked.sum())} are those on a CPU (99.9 % have to be)")
    figures = {"masked tokens": int(masked.sum()), "equal samples": equal}
    for name in ("mlm_loss", "disc_loss", "loss"):
        figures[name] = difference(found[name], expected[name])
        demand(figures[name] <= 1e-4, f"{name} is {float(found[name]):.6f}, on a CPU {float(expected[name]):.6f}")
    return figures


def flat_as_padded(ground):
    """Without padding and with it, under stock attentions: losses and gradients.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError.
    """
    figures = {}
    for attention in ("eager", "sdpa"):
        figures |= _flat_against_padded(ground, attention)
    return figures


def flash_packages(ground):
    """The same under each flash attention that is installed, in bfloat16, whose padded way is that of `sdpa`.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError; Skipped: none is here.
    """
    figures, missing = {}, {}
    reference = _padded(ground.model(), ground, torch.bfloat16)
    for attention in FLASH:
        model = ground.model()
        try:
            set_attention(model, attention)
        except Exception as error:  # not here, not to be had without a network, or built for another torch
            missing[attention] = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
            continue
        with samples_without_logits():
            found = step(model, ground.batch(), ground.autocast(torch.bfloat16))
        figures |= compare(attention, found, reference, LOWER, LOWER_GRADIENTS)
    if not figures:
        raise Skipped("; ".join(f"{attention}: {why}" for attention, why in missing.items()))
    return figures | missing


def ways_as_rows(ground):
    """Each way of attention by row boundaries against padded rectangles, in each number format that it takes.

    Args: ground ([`Ground`]). Returns: `dict` of figures, and why a way does not work here.
    Raises: AssertionError; Skipped: no way but rectangles works here.
    """
    figures, unusable, compared = {}, {}, 0
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        kind = str(dtype).removeprefix("torch.")
        rectangles = _by_way(ground, unpadded_attention.ROWS, dtype)
        for way in unpadded_attention.WAYS:
            reason = why_not(ground, way, dtype)
            if reason is not None:
                unusable[f"{way}, {kind}"] = reason
                continue
            allowed = (1e-5, 1e-4) if dtype == torch.float32 else (LOWER, LOWER_GRADIENTS)
            figures |= compare(f"{way}, {kind}", _by_way(ground, way, dtype), rectangles, *allowed)
            compared += 1
    if not compared:
        raise Skipped("; ".join(f"{way}: {reason}" for way, reason in unusable.items()))
    return {**figures, "not here": unusable}


def why_not(ground, way, dtype):
    """Args: ground; way (`str`); dtype. Returns: `str`, why it does not work for the ground's networks, or `None`."""
    for part in ("generator", "discriminator"):
        heads = ground.sizes[part] // ground.sizes["head"]
        reason = unpadded_attention.why_not(way, ground.device, dtype, heads, ground.sizes["head"])
        if reason is not None:
            return reason
    return None


def _by_way(ground, way, dtype):
    model = ground.model()
    unpadded_attention.use_unpadded_attention(model, way)
    with samples_without_logits():
        return step(model, ground.batch(), ground.autocast(dtype))


def head_in_parts(ground):
    """Logits of a few masked tokens at a time, against all at once.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError.
    """
    steps, masked = {}, 0
    for tokens in (5, 2**30):
        at_once = dict.fromkeys(("cpu", "cuda"), tokens * ground.vocab_size)
        with mock.patch.object(objective_electra_rtd, "LOGITS_AT_ONCE", at_once), samples_without_logits():
            steps[tokens] = step(ground.model(), ground.batch())
        masked = int(steps[tokens][0].masked_positions.sum())
    demand(masked > 10, f"{masked} masked tokens make no three parts of 5")
    return {"masked tokens": masked, **compare("in parts of 5 tokens", steps[5], steps[2**30])}


def _flat_against_padded(ground, attention):
    model = ground.model(attention=attention)
    with samples_without_logits():
        found = step(model, ground.batch())
    return compare(attention, found, _padded(model, ground, torch.float32))


def _padded(model, ground, dtype):
    """A step that is padded: who asks for hidden states gets the batch's shape."""
    with samples_without_logits():
        return step(model, ground.batch(), ground.autocast(dtype), output_hidden_states=True)
