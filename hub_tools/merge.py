"""Part of the way back to the base: the weights of two checkpoints, interpolated.

What an adaptation gained and what it forgot both lie on the line between two sets of weights (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022; Ilharco et al., "Patching open-vocabulary models by interpolating
weights", NeurIPS 2022): a point between them often keeps most of both.
"""

import json
from pathlib import Path

import torch
import transformers
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from ..configuration_electra_rtd import ElectraRTDConfig
from . import layout
from .checks.exports import COMPUTES
from .export import export_discriminator, write_stock
from .loading import load_pair, open_tokenizer
from .names import public_name
from .run_record import write_merge
from .sharing import stock_discriminator
from .staging import new_folder
from .verify import require_ok, verify_folder


logger = logging.get_logger(__name__)

STOCK_TYPES = ("electra", "bert")
# What decides how a stock network reads text, beside its sizes; with the value that a file leaves out.
OF_A_NETWORK = (*COMPUTES, "model_type", "id2label")
OF_A_PAIR = ("embedding_sharing", "mask_token_id", "pad_token_id", "special_token_ids")
LISTED = 3  # differences in a message


def merge_checkpoints(base, adapted, alpha, output_dir, *, chosen=None):
    """Write the checkpoint with the weights `(1 - alpha) * base + alpha * adapted`.

    Both are pairs, or stock checkpoints of one class of ELECTRA or BERT, with the same sizes, vocabulary and tied
    weights. Of a pair and a stock discriminator, the pair's discriminator counts, and the result is a stock one. Of an
    encoder and a network with a head, both encoders are merged, and the head is left out: nobody has its other end.

    Everything is computed in float32 and stored in the type that the weights of `base` have. With `alpha=0` they are
    those of `base` bit for bit, with 1 those of `adapted` (as far as the type of `base` can hold them); a weight that
    is the same in both stays as it is. Configuration and tokenizer are those of `base`. `merge.json` says what was
    merged. A merged pair has its discriminator as a stock checkpoint in `discriminator/`, as after `adapt`.

    Args:
        base, adapted (`str` or path): folders or Hub ids.
        alpha (`float`): in [0, 1]; 0 is `base`.
        output_dir (`str` or path): a folder that does not exist yet, or is empty. It is whole or not there.
        chosen (`dict`, *optional*): how `alpha` was chosen, for `merge.json`: short texts and numbers.

    Returns:
        `Path`: `output_dir`

    Raises:
        ValueError: `alpha` is out of range, `output_dir` is not empty, the two do not fit together (the first
            differences are named), or weights are not finite.
        OSError: there is no such checkpoint, or it cannot be read.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise ValueError(f"`alpha` is {alpha!r}: it must be a number in [0, 1]; 0 is the base, 1 the adapted one.")
    with new_folder(output_dir) as folder:
        models = [_load(source) for source in (base, adapted)]
        ours, theirs = _counterparts(models, (base, adapted))
        names = (f"the base, {base},", f"the adapted one, {adapted},")
        _require_same("configuration", names, *map(_settings, (ours, theirs)))
        tokenizer = _common_tokenizer(base, adapted, names)
        _require_same("weights", names, *map(_shapes, (ours, theirs)))
        _require_same("tied weights", names, *map(_ties, (ours, theirs)))
        interpolate(ours, theirs, alpha, names)
        is_pair = ours.config.model_type == ElectraRTDConfig.model_type
        if is_pair:
            _write_pair(ours, tokenizer, folder)
        else:
            write_stock(ours, tokenizer, folder)
        kept = type(ours).__name__
        entry = {"base": public_name(base), "adapted": public_name(adapted), "alpha": alpha, "class": kept}
        write_merge(folder, {**entry, "chosen": chosen})
        if is_pair:
            require_ok(verify_folder(folder, source=str(output_dir)), "The merged pair is not written:")
    return Path(output_dir)


def interpolate(base, adapted, alpha, names=("the base", "the adapted one")):
    """Move the weights of one network towards those of another of the same shapes, in place.

    Args:
        base, adapted (`PreTrainedModel`): the first is changed; both on one device.
        alpha (`float`): in [0, 1].
        names (`tuple[str, str]`): what to call them in errors.

    Raises:
        ValueError: a weight is not finite, or what is no floating-point number differs.
    """
    seen = set()
    others = adapted.state_dict()
    with torch.no_grad():
        for name, ours in base.state_dict().items():
            theirs = others[name]
            if ours.data_ptr() in seen and ours.numel():
                continue  # tied: moved already
            seen.add(ours.data_ptr())
            if not ours.is_floating_point():
                if not torch.equal(ours, theirs):
                    raise ValueError(f"{name} holds whole numbers, which have nothing between them, and they differ.")
                continue
            for tensor, whose in zip((ours, theirs), names, strict=True):
                _require_finite(name, tensor, whose)
            if alpha:
                moved = theirs.float() if alpha == 1 else torch.lerp(ours.float(), theirs.float(), float(alpha))
                ours.copy_(moved)
                _require_finite(name, ours, f"{names[1]} in the type of the base, {ours.dtype},")


def _require_finite(name, tensor, whose):
    if not tensor.isfinite().all():
        raise ValueError(f"{name} of {whose} holds NaN or Inf: nothing is merged. Take an earlier, sound state.")


# ---- Two that fit together ------------------------------------------------------------------------------------------


def _load(source):
    """A pair or a stock network, in the type of its weights, with every weight that its configuration asks for."""
    try:
        fields, _ = PretrainedConfig.get_config_dict(source)
    except (OSError, ValueError) as error:
        raise OSError(f"{source} is no folder with a checkpoint, and no Hub id that can be had: {error}") from error
    if fields.get("model_type") == ElectraRTDConfig.model_type:
        return load_pair(source, dtype="auto")
    model_class = _stock_class(fields, source)
    model, info = model_class.from_pretrained(source, dtype="auto", output_loading_info=True)
    if info["missing_keys"]:
        raise ValueError(
            f"{source} lacks {len(info['missing_keys'])} weights of {model_class.__name__} "
            f"({min(info['missing_keys'])}, ...), the class that its config.json names in `architectures`: they would "
            "be random. Correct it there."
        )
    if info["unexpected_keys"]:
        logger.warning(
            f"{source} holds {len(info['unexpected_keys'])} weights that a {model_class.__name__} has not "
            f"({min(info['unexpected_keys'])}, ...): they are left out."
        )
    return model.eval()


def _stock_class(fields, source):
    model_type, architectures = fields.get("model_type"), fields.get("architectures")
    if model_type not in STOCK_TYPES:
        raise ValueError(
            f"{source} is a checkpoint of type {model_type!r}. What can be merged are pairs "
            f"({ElectraRTDConfig.model_type!r}) and stock checkpoints of {' and '.join(map(repr, STOCK_TYPES))}."
        )
    name = architectures[0] if isinstance(architectures, list) and len(architectures) == 1 else None
    model_class = getattr(transformers, name, None) if isinstance(name, str) else None
    if not _is_of(model_class, model_type):
        raise ValueError(
            f"{source}: `architectures` in its config.json is {architectures!r}, which names no class of "
            f"{model_type}, so nobody knows what its head is. Of an ELECTRA discriminator it is "
            '["ElectraForPreTraining"].'
        )
    return model_class


def _is_of(model_class, model_type):
    is_model = isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)
    return is_model and model_class.config_class.model_type == model_type


def _counterparts(models, sources):
    """The networks of two checkpoints that correspond, the base's first."""
    is_pair = [model.config.model_type == ElectraRTDConfig.model_type for model in models]
    if any(is_pair) and not all(is_pair):
        pair = is_pair.index(True)
        logger.info(
            f"{sources[pair]} is a pair, {sources[1 - pair]} a stock checkpoint: the pair's discriminator is merged "
            "with it, and a stock discriminator comes out. The pair's generator is left out."
        )
        models[pair] = stock_discriminator(models[pair])
    ours, theirs = models
    if type(ours) is type(theirs):
        return ours, theirs
    if type(theirs) is type(ours.base_model) or type(ours) is type(theirs.base_model):
        head, bare = (1, 0) if type(ours) is type(theirs.base_model) else (0, 1)
        logger.info(
            f"{sources[bare]} is a bare {type(models[bare]).__name__}: the encoders are merged, and the head of "
            f"{sources[head]} is left out, since {sources[bare]} has none."
        )
        return ours.base_model, theirs.base_model
    raise ValueError(
        f"{sources[0]} is a {type(ours).__name__}, {sources[1]} a {type(theirs).__name__}: only networks of one class "
        "can be merged. Save both as the same class; `electra-rtd export --as_encoder` writes a pair's bare encoder."
    )


def _settings(model):
    """What a configuration says of how a network computes: name to value."""
    config = model.config
    if config.model_type != ElectraRTDConfig.model_type:
        return _of_network(config)
    networks = {"generator": config.generator_config, "discriminator": config.discriminator_config}
    settings = {name: getattr(config, name) for name in OF_A_PAIR}
    for part, network in networks.items():
        settings |= {f"{part}.{name}": value for name, value in _of_network(network).items()}
    return settings


def _of_network(config):
    fields = config.to_dict()  # stock classes have not all of them, and not in all releases
    settings = {name: fields[name] for name in OF_A_NETWORK if name in fields}
    return {**settings, "position_embedding_type": fields.get("position_embedding_type", "absolute")}


def _shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _ties(model):
    """The names that are one tensor: each of them to the first."""
    first: dict[int, str] = {}
    names = ((name, id(tensor)) for name, tensor in model.state_dict(keep_vars=True).items())
    ties = {name: first.setdefault(key, name) for name, key in names}
    return {name: other for name, other in ties.items() if name != other}


def _require_same(what, names, ours, theirs):
    differing = [name for name in (*ours, *(theirs.keys() - ours.keys())) if ours.get(name) != theirs.get(name)]
    if differing:
        listed = "; ".join(
            f"{name}: {ours.get(name, 'not there')} and {theirs.get(name, 'not there')}" for name in differing[:LISTED]
        )
        more = f"; and {len(differing) - LISTED} more" if len(differing) > LISTED else ""
        raise ValueError(
            f"The {what} of {names[0]} and of {names[1]} differ, so that nothing lies between them: {listed}{more}. "
            "Only a checkpoint and what was adapted from it can be merged."
        )


def _common_tokenizer(base, adapted, names):
    """The tokenizer of both, or of the one that has one; `None` where none has."""
    ours, theirs = open_tokenizer(base), open_tokenizer(adapted)
    if ours is None or theirs is None:
        return ours or theirs
    _require_same("vocabularies", names, ours.get_vocab(), theirs.get_vocab())
    _require_same("tokenizers", names, *map(_reading, (ours, theirs)))
    return ours


def _reading(tokenizer):
    """How a tokenizer reads text, beside its vocabulary."""
    special = dict(tokenizer.special_tokens_map)
    if not tokenizer.is_fast:
        return {"class": type(tokenizer).__name__, **special}
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: parts.get(name) for name in ("normalizer", "pre_tokenizer", "model")} | special


# ---- Out ------------------------------------------------------------------------------------------------------------


def _write_pair(model, tokenizer, folder):
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    export_discriminator(folder, folder / layout.EXPORTS[0])
