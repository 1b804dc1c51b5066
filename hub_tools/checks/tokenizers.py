"""The tokenizer: there, readable without code of its own, and of the vocabulary that the networks know."""

import json
import math
import re
import reprlib

from transformers import PreTrainedTokenizerBase

from ...pairing_electra_rtd import special_ids
from .. import layout
from ..findings import ERROR, INFO, WARNING, Finding
from ..loading import find_tokenizer
from ..vocabulary import continuation_tokens
from .settings import some


# Bytes of one file; a tokenizer of many merges takes 130 for each token.
LARGEST_BASE, LARGEST_TOKEN = 2**20, 256
MOST_GROWTH = 64  # times: how much longer a normalizer may make a text
# Settings that hold a text, a list or a table, and do not choose what is loaded. Switches and numbers never do.
TEXTS = (
    "backend",
    "chat_template",
    "errors",
    "name_or_path",
    "padding_side",
    "processor_class",
    "special_tokens_map_file",  # a note of older releases, which nobody opens
    "tokenizer_class",
    "truncation_side",
    "truncation_strategy",
)
TABLES = (
    "added_tokens_decoder",
    "additional_special_tokens",
    "auto_map",  # judged by `check_configs`
    "chat_template",
    "extra_special_tokens",
    "model_input_names",
    "model_specific_special_tokens",
    "never_split",
)
ELSEWHERE = re.compile(r"_.*|.*_(file|files|path|dir|object)|init_inputs|vocab|merges")
WORD = re.compile(r"[\w -]*")  # no path


def check_tokenizer(checkpoint, config):
    """The tokenizer's ids against the configuration's.

    Args:
        checkpoint ([`CheckpointFiles`]): nothing in its configurations asks for code (`check_configs`).
        config ([`ElectraRTDConfig`]): the weights are of its vocabulary.

    Yields:
        [`Finding`]
    """
    tokenizer, findings = read_tokenizer(checkpoint, config.vocab_size)
    yield from findings
    if tokenizer is None:
        return
    if len(tokenizer) < config.vocab_size:
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
    ours, theirs = sorted(set(config.special_token_ids)), special_ids(tokenizer)
    if ours != theirs:
        yield Finding(
            WARNING,
            "tokenizer-ids",
            layout.CONFIG,
            f"`special_token_ids` are {reprlib.repr(ours)}, in the tokenizer {reprlib.repr(theirs)}: training may "
            "mask or draw special tokens.",
        )
    if config.mask_whole_words:
        yield from _check_words(config, tokenizer)


def _check_words(config, tokenizer):
    """Whether the configuration knows the words of its tokenizer."""
    try:
        theirs = int(continuation_tokens(tokenizer), 16)
    except ValueError as error:
        yield Finding(ERROR, "tokenizer-words", layout.CONFIG, str(error))
        return
    wrong = (int(config.continuation_tokens, 16) ^ theirs).bit_count()
    if wrong:
        yield Finding(
            ERROR,
            "tokenizer-words",
            layout.CONFIG,
            f"`mask_whole_words`: `continuation_tokens` is wrong about {wrong} tokens of the tokenizer, so that words "
            "are masked in part. Set it to `electra_rtd.hub_tools.continuation_tokens(tokenizer)`.",
        )


def check_export_tokenizer(checkpoint, vocab_size, prefix):
    """The tokenizer of an export against the pair's.

    Args:
        checkpoint ([`CheckpointFiles`]), vocab_size (`int`)
        prefix (`str`): the export's folder, with a `/` at its end.

    Yields:
        [`Finding`]
    """
    pairs, findings = read_tokenizer(checkpoint, vocab_size)
    if any(finding.level == ERROR for finding in findings):
        return  # `check_tokenizer` has said so
    exports, findings = read_tokenizer(checkpoint, vocab_size, prefix)
    if exports is not None or pairs is not None:
        yield from findings
    if exports is None or pairs is None:
        return
    for what, value in (("vocabulary", _vocabulary), ("special tokens", _special), ("way of reading text", _pipeline)):
        if value(exports) != value(pairs):
            yield Finding(
                ERROR,
                "export-tokenizer",
                f"{prefix}tokenizer.json",
                f"has another {what} than the pair's tokenizer: export again, or push.",
            )
            return


def read_tokenizer(checkpoint, vocab_size, prefix=""):
    """The tokenizer of a folder, and whether its files say one thing.

    Args:
        checkpoint ([`CheckpointFiles`]), vocab_size (`int`): what the networks know.
        prefix (`str`): a subfolder with a `/` at its end, or nothing.

    Returns:
        `tuple`: the tokenizer, or `None` where there is none or it is not to be used; a `list` of [`Finding`]s
    """
    files = _Files(checkpoint, prefix)
    findings = [*_check_sizes(files, vocab_size), *_check_settings(files)]
    if findings:
        return None, findings
    try:
        tokenizer = find_tokenizer(checkpoint.folder / prefix)
    except BaseException as error:  # the tokenizers library raises bare ones, and panics that are no `Exception`
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return None, [files.unreadable(f"{type(error).__name__}: {error}")]
    if tokenizer is None:
        return None, [
            Finding(
                WARNING,
                "no-tokenizer",
                f"{prefix}tokenizer.json",
                "is missing: `tokenizer.save_pretrained(folder)` writes it.",
            )
        ]
    if not isinstance(tokenizer, PreTrainedTokenizerBase):  # the file may name any class of transformers
        return None, [files.unreadable(f"makes a {type(tokenizer).__name__} of it.")]
    most = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0))
    if most > vocab_size:
        return None, [
            Finding(
                ERROR,
                "tokenizer-vocabulary",
                f"{prefix}tokenizer.json",
                f"has {most} tokens, the networks know {vocab_size}: it is another model's.",
            )
        ]
    findings = list(_check_agreement(files, tokenizer))
    return (None if any(finding.level == ERROR for finding in findings) else tokenizer), findings


class _Files:
    """The files of one tokenizer."""

    def __init__(self, checkpoint, prefix):
        self.checkpoint, self.prefix = checkpoint, prefix

    def sizes(self):
        """Every file that a class of tokenizers may read, with its bytes."""
        for name in self.checkpoint.names:
            in_folder = name.startswith(self.prefix) and "/" not in name.removeprefix(self.prefix)
            is_read = name.removeprefix(self.prefix) in layout.TOKENIZER or name.endswith((".model", "merges.txt"))
            if in_folder and is_read and self.checkpoint.is_here(name):
                yield name, self.checkpoint.path(name).stat().st_size

    def json(self, name):
        """What a file holds; `None` where there is none."""
        name = self.prefix + name
        return self.checkpoint.read_json(name) if self.checkpoint.is_here(name) else None

    def unreadable(self, message):
        return Finding(ERROR, "tokenizer-unreadable", self.prefix + layout.TOKENIZER_CONFIG, message)


def _check_sizes(files, vocab_size):
    most = LARGEST_BASE + LARGEST_TOKEN * vocab_size
    for name, size in files.sizes():
        if size > most:
            yield Finding(
                ERROR,
                "tokenizer-vocabulary",
                name,
                f"has {size:,} bytes: for the {vocab_size} tokens that the networks know, {most:,} are plenty.",
            )


def _check_settings(files):
    try:
        settings, special = files.json(layout.TOKENIZER_CONFIG) or {}, files.json("special_tokens_map.json") or {}
        content = files.json("tokenizer.json") or {}
    except ValueError as error:
        yield files.unreadable(f"ValueError: {error}")
        return
    if not all(isinstance(value, dict) for value in (settings, special, content)):
        yield files.unreadable("one of its files holds a list or a value, where a table belongs.")
        return
    wrong = [f"`{key}`" for key, value in settings.items() if not _is_harmless(key, value)]
    if wrong:
        yield _setting(files, layout.TOKENIZER_CONFIG, wrong)
    wrong = [f"`{key}`" for key in special if not key.endswith("_token") and key not in TABLES]
    if wrong:  # releases take them for settings
        yield _setting(files, "special_tokens_map.json", wrong)
    if _growth(content.get("normalizer")) > MOST_GROWTH:
        yield files.unreadable("its normalizer makes texts far longer, which no vocabulary needs.")


def _is_harmless(key, value):
    if (key in TEXTS and isinstance(value, str)) or (key in TABLES and isinstance(value, (dict, list))):
        return True
    if ELSEWHERE.fullmatch(key):
        return key in TEXTS and value is None
    if key.endswith("_token"):
        return value is None or isinstance(value, (str, dict, bool))
    if key.endswith("_kwargs") and isinstance(value, dict):
        return all(_is_harmless(inner, value[inner]) for inner in value)
    return not isinstance(value, (dict, list)) and (not isinstance(value, str) or bool(WORD.fullmatch(value)))


def _setting(files, name, wrong):
    return Finding(
        ERROR,
        "tokenizer-setting",
        files.prefix + name,
        f"{some(wrong)} may make loaders read another vocabulary than the one checked: save the tokenizer again.",
    )


def _growth(normalizer):
    """How many times longer a normalizer of tokenizer.json can make a text: a chain of them grows like a power."""
    if not isinstance(normalizer, dict):
        return 1
    steps = normalizer.get("normalizers")
    if isinstance(steps, list):
        return math.prod(map(_growth, steps)) if len(steps) <= MOST_GROWTH else math.inf
    if normalizer.get("type") in ("Replace", "Prepend"):
        pattern = normalizer.get("pattern")
        replaced = pattern.get("String") if isinstance(pattern, dict) else None
        length = len(replaced) if isinstance(replaced, str) and replaced else 1
        return max(1, len(str(normalizer.get("content", normalizer.get("prepend", "")))) / length)
    return 1


def _check_agreement(files, tokenizer):
    """Releases differ in which file they obey, so all of them have to say the same."""
    vocabulary = tokenizer.get_vocab()
    content = files.json("tokenizer.json")
    path = files.prefix + "tokenizer.json"
    ids = {} if content is None else _ids_of(content)
    if any(vocabulary.get(token) != token_id for token, token_id in ids.items()):
        yield _disagree(path, layout.TOKENIZER_CONFIG)
    elif content is not None and tokenizer.is_fast and _parts(tokenizer) != _json_parts(content):
        yield Finding(
            WARNING,
            "tokenizer-files",
            path,
            "says another way of reading text (casing, marks, words) than tokenizer_config.json, and releases of "
            "transformers obey different ones. Save the tokenizer again.",
        )
    if content is not None and files.checkpoint.is_here(files.prefix + "vocab.txt"):
        text = files.checkpoint.path(files.prefix + "vocab.txt").read_bytes().decode("utf-8", "replace")
        lines = {line.rstrip("\r"): number for number, line in enumerate(text.split("\n")) if line.strip()}
        if any(vocabulary.get(token) != number for token, number in lines.items()):
            yield _disagree(path, "vocab.txt")
    for key, value in (files.json("special_tokens_map.json") or {}).items():
        named = value.get("content") if isinstance(value, dict) else value
        if key.endswith("_token") and named != tokenizer.special_tokens_map.get(key):
            yield _disagree(path, "special_tokens_map.json")
            break
    added = files.json("added_tokens.json") or {}
    if not isinstance(added, dict) or any(vocabulary.get(token) != token_id for token, token_id in added.items()):
        yield _disagree(path, "added_tokens.json")


def _disagree(path, other):
    return Finding(
        ERROR,
        "tokenizer-files",
        path,
        f"and {other} give tokens different ids or tasks, and releases of transformers obey different ones. Save the "
        "tokenizer again, and remove the files that this does not write.",
    )


def _ids_of(content):
    """Tokens and ids of a tokenizer.json that could be read."""
    vocabulary = content["model"]["vocab"]
    ids = (
        dict(vocabulary) if isinstance(vocabulary, dict) else {row[0]: number for number, row in enumerate(vocabulary)}
    )
    return {**ids, **{token["content"]: token["id"] for token in content.get("added_tokens") or []}}


def _json_parts(content):
    return [content.get(part) for part in ("normalizer", "pre_tokenizer")]


def _parts(tokenizer):
    backend = tokenizer.backend_tokenizer
    return [
        json.loads(part.__getstate__()) if part is not None else None
        for part in (backend.normalizer, backend.pre_tokenizer)
    ]


def _vocabulary(tokenizer):
    return tokenizer.get_vocab()


def _special(tokenizer):
    return tokenizer.special_tokens_map, tokenizer("")["input_ids"]


def _pipeline(tokenizer):
    return _parts(tokenizer) if tokenizer.is_fast else type(tokenizer)
