"""Which way of attention a run of `adapt` takes: by the boundaries of sequences on an accelerator, where one works."""

import logging
import re

import torch

from .fast import Choice
from .unpadded_attention import ROWS, WAYS, use_unpadded_attention, why_not


logger = logging.getLogger(__name__)

SETTING = "unpadded_attention"
WORDS = {
    "flash": "torch's flash operator",
    "efficient": "torch's memory-efficient operator",
    "nested": "torch's nested tensors",
    ROWS: "padded rectangles",
}


def wanted_way(arguments, model, training_args, resumed=None):
    """The way that a run is to take.

    Args:
        arguments ([`AdaptArguments`]), model ([`ElectraRTDForPreTraining`]), training_args (`TrainingArguments`)
        resumed (`dict`, *optional*): the fast settings of the run that goes on.

    Returns:
        `str` or `None`: one of `WAYS` or `"rows"`; `None` for the first that works.

    Raises:
        ValueError: the one that is asked for does not work on the CPU.
    """
    if arguments.unpadded_attention:
        if training_args.device.type == "cpu":  # elsewhere it depends on the precision, which is chosen later
            _refuse(arguments.unpadded_attention, model, training_args)
        return arguments.unpadded_attention
    if not arguments.fast or arguments.attention_in_parts or training_args.device.type == "cpu":
        return ROWS
    if not model._supports_attention_backend or training_args.torch_compile:  # a graph cannot hold the trial
        return ROWS
    return None if resumed is None else resumed.get(SETTING, ROWS)


def take_way(model, wanted, training_args, *, is_given):
    """Let a model attend by the way that is wanted, in the precision of a run.

    Args:
        model ([`ElectraRTDForPreTraining`]); wanted (`str` or `None`): see [`wanted_way`].
        training_args (`TrainingArguments`): with the precision that was chosen.
        is_given (`bool`): a user asked for it, and no other is taken.

    Returns:
        `list` of [`Choice`]: what was chosen.

    Raises:
        ValueError: a way that a user asked for does not work here, or the installed `transformers` has none to choose.
    """
    if wanted == ROWS:
        return []  # that is what the model files do
    if is_given:
        _refuse(wanted, model, training_args)
        use_unpadded_attention(model, wanted)
        return []
    names = list(dict.fromkeys(name for name in (wanted, *WAYS, ROWS) if name))
    passed_over = []
    for way in names:  # rows, which always work, are among them
        reason = _why_not(way, model, training_args)
        if reason is None:
            break
        passed_over.append(f"not {way}: {reason}")
    use_unpadded_attention(model, wanted)  # other numbers, as when samples are shown in float32, may get another way
    tried = [] if way == ROWS else ["by the boundaries of sequences, tried on short ones against plain attention"]
    return [Choice(SETTING, way, "; ".join([", ".join([WORDS[way], *tried]), *passed_over]))]


def warn_of_dropout(model):
    """Say where an attention has no dropout, and a configuration asks for some.

    Args:
        model ([`ElectraRTDForPreTraining`])
    """
    for config in (network.config for network in (model.generator, model.discriminator)):
        name, share = config._attn_implementation or "", config.attention_probs_dropout_prob
        if re.search("flash[-_]att(n|ention)[-_]?[34]", name) and share > 0:  # kernels of the Hub too
            logger.warning(
                f"{name} has no dropout: attention_probs_dropout_prob={share} has no effect. Set it to 0, or take "
                "another attention: `model.set_attn_implementation('sdpa')`."
            )
            return


def _refuse(way, model, training_args):
    reason = _why_not(way, model, training_args)
    if reason is not None:
        working = ", ".join(name for name in (*WAYS, ROWS) if _why_not(name, model, training_args) is None)
        raise ValueError(f"`{SETTING}={way}` does not work here ({reason}). Give one of {working}, or leave it out.")


def _why_not(way, model, training_args):
    """Why a way does not work in one of the networks, or `None`."""
    if way == "nested" and training_args.gradient_checkpointing:
        return "gradient checkpointing cannot keep nested tensors"
    reasons = (why_not(way, *kind) for kind in _kinds(model, training_args))
    return next((reason for reason in reasons if reason is not None), None)


def _kinds(model, training_args):
    """What each network attends with: device, type, heads, numbers a head, and dropout."""
    dtype = torch.bfloat16 if training_args.bf16 else torch.float16 if training_args.fp16 else torch.float32
    configs = [network.config for network in (model.generator, model.discriminator)]
    return [
        (
            training_args.device,
            dtype,
            config.num_attention_heads,
            config.hidden_size // config.num_attention_heads,
            config.attention_probs_dropout_prob,
        )
        for config in configs
    ]
