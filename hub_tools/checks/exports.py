"""Stock networks in subfolders: they are what `export` would write from the pair, and load with every weight."""

import torch
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining, ElectraModel

from .. import layout
from ..findings import ERROR, INFO, WARNING, Finding
from .settings import check_settings, some
from .tokenizers import check_export_tokenizer
from .weights import Weights, check_weights, expected_tensors


CLASSES = {"discriminator": ElectraForPreTraining, "generator": ElectraForMaskedLM}
# What a network computes depends on these; the weights fit other values of some as well.
COMPUTES = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "max_position_embeddings",
    "type_vocab_size",
    "pad_token_id",
    "tie_word_embeddings",
)


def check_exports(checkpoint, config, ties):
    """Each exported network against the same network in the pair.

    Args:
        checkpoint ([`CheckpointFiles`]): the pair in it has no errors.
        config ([`ElectraRTDConfig`]): of the pair.
        ties (`list` of `set[str]`): names of the pair that are one tensor.

    Yields:
        [`Finding`]
    """
    for part in layout.EXPORTS:
        names = [name for name in checkpoint.names if name.startswith(f"{part}/")]
        if f"{part}/{layout.CONFIG}" in names:
            yield from _check_export(checkpoint, part, config, ties)
        elif any(name.endswith(".safetensors") for name in names):
            yield Finding(ERROR, "no-config", f"{part}/{layout.CONFIG}", "is missing: export again.")


def _check_export(checkpoint, part, config, ties):
    path = f"{part}/{layout.CONFIG}"
    original = {"discriminator": config.discriminator_config, "generator": config.generator_config}[part]
    fields = checkpoint.read_json(path)
    if not isinstance(fields, dict) or fields.get("model_type") != ElectraConfig.model_type:
        yield _wrong(path, "is not of a stock ELECTRA")
        return
    findings = list(check_settings(fields, path, network=True))
    yield from findings
    if any(finding.level == ERROR for finding in findings):
        return
    export = ElectraConfig.from_dict(fields)
    others = [name for name in COMPUTES if getattr(export, name) != getattr(original, name)]
    if others:
        values = [f"`{name}` is {getattr(export, name)}, in the pair {getattr(original, name)}" for name in others]
        yield _wrong(path, f"is of another network: {some(values)}")
        return
    yield from _check_weights(checkpoint, part, original, ties, fields.get("architectures"), export.dtype)
    yield from check_export_tokenizer(checkpoint, original.vocab_size, f"{part}/")


def _check_weights(checkpoint, part, config, ties, architectures, dtype):
    with Weights(checkpoint) as pair, Weights(checkpoint, f"{part}/") as export:
        if not export.read and not export.problems:
            yield Finding(ERROR, "no-weights", export.name, "is missing: export again.")
            return
        is_encoder = not any(name.startswith("electra.") for name in export.files)
        model_class = ElectraModel if is_encoder else CLASSES[part]
        expected, own_ties = expected_tensors(model_class, config)
        findings = list(check_weights(export, expected, own_ties, dtype))
        if export.files and architectures and architectures != [model_class.__name__]:
            findings.append(_wrong(export.config, f"says {architectures}, the weights are {model_class.__name__}'s"))
        yield from findings
        if any(finding.level == ERROR for finding in findings):
            return
        prefix = f"{part}.electra." if is_encoder else f"{part}."
        for tensor in sorted(export.files):
            original, copy = _of_pair(prefix + tensor, pair, ties), export[tensor]
            if original.dtype != copy.dtype or not torch.equal(original, copy):
                yield Finding(
                    WARNING,
                    "stale-export",
                    export.name,
                    f"is not the pair's {part}: {tensor} differs. `electra-rtd export` or a push writes it anew.",
                )
                return
        yield Finding(INFO, "export", f"{part}/", f"is the pair's {part}, as a stock checkpoint.")


def _of_pair(name, pair, ties):
    """A tensor of the pair: stored under that name or one tied to it, or the generator's and a delta."""
    names = next((tied for tied in ties if name in tied), {name})
    stored = names & set(pair.files)
    if stored:
        return pair[min(stored)]
    delta = f"{name.removesuffix('weight')}delta"
    return _of_pair(name.replace("discriminator", "generator", 1), pair, ties) + pair[delta]


def _wrong(path, message):
    return Finding(ERROR, "export-config", path, f"{message}: export again, or push.")
