"""The tokenizer: there, readable without code of its own, and of the vocabulary that the networks know."""

from transformers import PreTrainedTokenizerBase

from ...modeling_electra_rtd import find_tokenizer, special_ids
from .. import layout
from ..report import ERROR, INFO, WARNING, Finding


def check_tokenizer(checkpoint, config):
    """The tokenizer's ids against the configuration's.

    Args:
        checkpoint ([`CheckpointFiles`]): nothing in its configurations asks for code (`check_configs`).
        config ([`ElectraRTDConfig`])

    Yields:
        [`Finding`]
    """
    try:
        tokenizer = find_tokenizer(str(checkpoint.folder), trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare ones
        yield Finding(ERROR, "tokenizer-unreadable", layout.TOKENIZER_CONFIG, f"{type(error).__name__}: {error}")
        return
    if tokenizer is None:
        yield Finding(
            WARNING, "no-tokenizer", "tokenizer.json", "is missing: `tokenizer.save_pretrained(folder)` writes it."
        )
        return
    if not isinstance(tokenizer, PreTrainedTokenizerBase):  # the file may name any class of transformers
        yield Finding(
            ERROR, "tokenizer-unreadable", layout.TOKENIZER_CONFIG, f"makes a {type(tokenizer).__name__} of it."
        )
        return
    if len(tokenizer) > config.vocab_size:
        yield Finding(
            ERROR,
            "tokenizer-vocabulary",
            "tokenizer.json",
            f"has {len(tokenizer)} tokens, the networks know {config.vocab_size}: it is another model's.",
        )
    elif len(tokenizer) < config.vocab_size:
        yield Finding(
            INFO,
            "tokenizer-vocabulary",
            "tokenizer.json",
            f"has {len(tokenizer)} tokens, the networks have room for {config.vocab_size}.",
        )
    for field in ("mask_token_id", "pad_token_id"):
        ours, theirs = getattr(config, field), getattr(tokenizer, field)
        if ours != theirs:
            yield Finding(
                ERROR,
                "tokenizer-ids",
                layout.CONFIG,
                f"`{field}` is {ours}, in the tokenizer {theirs}: make them equal.",
            )
    if sorted(set(config.special_token_ids)) != special_ids(tokenizer):
        yield Finding(
            WARNING,
            "tokenizer-ids",
            layout.CONFIG,
            f"`special_token_ids` are {config.special_token_ids}, in the tokenizer {special_ids(tokenizer)}: "
            "training may mask or draw special tokens.",
        )
