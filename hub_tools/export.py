"""One network of a pair as a stock checkpoint, which needs no code of ours."""

import json
from pathlib import Path

from transformers.utils import logging

from ..modeling_electra_rtd import ElectraRTDForPreTraining
from . import layout
from .checks.configs import ATTENTION_KEYS, RESERVED_KEYS
from .loading import find_tokenizer, load_pair
from .staging import new_folder


logger = logging.get_logger(__name__)

# What `save_pretrained` may write into a stock configuration beside its class's own fields; the last one in releases
# before 5.
STOCK_FIELDS = {"architectures", "dtype", "transformers_version", "position_embedding_type"}
# In the file of a tokenizer: who reads it, from where, and with what code. `verify` refuses most of them.
OF_LOADERS = {
    *ATTENTION_KEYS,
    *RESERVED_KEYS,
    "_name_or_path",
    "auto_map",
    "is_local",
    "local_files_only",
    "tokenizer_file",
    "transformers_weights",
    "trust_remote_code",
}


def export_discriminator(checkpoint, output_dir, *, as_encoder=False):
    """Write the discriminator as a stock `ElectraForPreTraining` folder with its tokenizer.

    No custom code, no `auto_map`: every `AutoModelFor...` head loads it with nothing missing but the head.

    Args:
        checkpoint (`str`, path or `ElectraRTDForPreTraining`): a folder, a Hub id, or a loaded model (which has no
            tokenizer to write).
        output_dir (`str` or path): a folder that does not exist yet, or is empty.
        as_encoder (`bool`): write the bare `ElectraModel`, without the head that spots replaced tokens.

    Returns:
        `Path`: `output_dir`

    Raises:
        ValueError: `output_dir` is not empty, or the checkpoint is not an `electra_rtd` checkpoint.
    """
    return _export("discriminator", checkpoint, output_dir, as_encoder)


def export_generator(checkpoint, output_dir, *, as_encoder=False):
    """Write the generator as a stock `ElectraForMaskedLM` folder; see [`export_discriminator`]."""
    return _export("generator", checkpoint, output_dir, as_encoder)


def _export(part, checkpoint, output_dir, as_encoder):
    with new_folder(output_dir) as folder:
        model, tokenizer = _load(checkpoint)
        network = getattr(model, part)
        write_stock(network.electra if as_encoder else network, tokenizer, folder)
    return Path(output_dir)


def write_stock(network, tokenizer, folder):
    """Write a network of a stock class and its tokenizer, with nothing in their files that asks for code.

    Args:
        network (`PreTrainedModel`), tokenizer (`PreTrainedTokenizerBase` or `None`)
        folder (`Path`): is there, and empty.
    """
    network.save_pretrained(folder)
    _keep_stock_fields(folder / layout.CONFIG, {*type(network.config)().to_dict(), *STOCK_FIELDS})
    if tokenizer is not None:
        tokenizer.chat_template = None  # a program in a file of its own; ELECTRA does not chat
        tokenizer.save_pretrained(folder)
        _drop_settings_of_loaders(folder / layout.TOKENIZER_CONFIG)


def _keep_stock_fields(path, names):
    """Drop what a stock configuration does not have: a hostile pair may carry an `auto_map` in there, or worse."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    stock = {name: value for name, value in fields.items() if name in names and _is_flat(value)}
    if stock != fields:
        path.write_text(json.dumps(stock, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _is_flat(value):
    """Whether a value of a configuration holds nothing but numbers, texts, and lists or tables of these."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not any(isinstance(inner, (dict, list)) for inner in values)


def _drop_settings_of_loaders(path):
    """A tokenizer keeps whatever stood in its file, the name of code to run among it; a stock one has none of that."""
    if path.is_file():
        fields = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: value for name, value in fields.items() if name not in OF_LOADERS and not name.startswith("__")}
        if kept != fields:
            path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _load(checkpoint):
    if isinstance(checkpoint, ElectraRTDForPreTraining):
        return checkpoint, None
    model = load_pair(checkpoint)
    tokenizer = find_tokenizer(checkpoint)
    if tokenizer is None:
        logger.warning(
            f"{checkpoint} has no tokenizer, so the export has none either: save it beside the model first."
        )
    return model, tokenizer
