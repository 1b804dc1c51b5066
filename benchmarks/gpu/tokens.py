"""The file of token ids that a machine without `datasets` measures with: written once, read anywhere."""

import hashlib
import json
import zipfile
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from .. import ROOT


DEFAULT = ROOT / ".gpu" / "tokens.npz"
FORMAT = 1
ARRAYS = ("ids", "lengths", "facts")
SPECIAL = ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
HOW_TO_MAKE = "Make it where the package is installed, `make gpu-data`, and take it along: `--tokens FILE`."


@dataclass(frozen=True)
class Tokens:
    """Sentences as token ids.

    Args:
        rows (`list[list[int]]`): of each sentence, from `[CLS]` to `[SEP]`.
        vocab_size (`int`): rows of the embedding tables.
        special_ids (`dict[str, int]`): of each name in `SPECIAL`.
        text (`str`): which text and vocabulary, without paths of a machine.
        licence (`str`): of the text.
        digest (`str`): tells files apart; empty where there is no file.
    """

    rows: list[list[int]]
    vocab_size: int
    special_ids: dict[str, int]
    text: str
    licence: str
    digest: str = ""

    def tokenizer(self):
        """What collators ask: special ids and a vocabulary of as many entries. It knows numbers, and no words.

        Returns: `PreTrainedTokenizerFast`.
        """
        named = {token_id: f"[{name.removesuffix('_token').upper()}]" for name, token_id in self.special_ids.items()}
        vocabulary = {named.get(token_id, f"#{token_id}"): token_id for token_id in range(self.vocab_size)}
        model = models.WordPiece(vocab=vocabulary, unk_token=named[self.special_ids["unk_token"]])
        names = {name: named[token_id] for name, token_id in self.special_ids.items()}
        return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **names)


def write_tokens(path, tokens):
    """Args: path (`Path`): its folder is made; tokens ([`Tokens`]). Returns: `int`, bytes of the file."""
    facts = {"format": FORMAT, "vocab_size": tokens.vocab_size, "special_ids": tokens.special_ids}
    facts |= {"text": tokens.text, "licence": tokens.licence}
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:  # numpy would put `.npz` behind any other name
        np.savez_compressed(
            file,
            ids=np.array([token for row in tokens.rows for token in row], np.uint16 if fits(tokens) else np.uint32),
            lengths=np.array([len(row) for row in tokens.rows], np.uint16),
            facts=np.array(json.dumps(facts, ensure_ascii=False)),
        )
    return path.stat().st_size


def fits(tokens):
    """Whether ids fit into 16 bits. Args: tokens ([`Tokens`]). Returns: `bool`."""
    return tokens.vocab_size <= 2**16


def read_tokens(path):
    """What [`write_tokens`] wrote.

    Args: path (`Path`). Returns: [`Tokens`]. Raises: OSError: it is not there; ValueError: another file, or broken.
    """
    if not path.is_file():
        raise OSError(f"There is no file of token ids at {path}. {HOW_TO_MAKE}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, lengths, facts = (arrays[name] for name in ARRAYS)
            facts = json.loads(str(facts))
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file of token ids, or a broken one ({error}). {HOW_TO_MAKE}") from error
    problem = _problem(ids, lengths, facts)
    if problem is not None:
        raise ValueError(f"{path} cannot be used: {problem}. {HOW_TO_MAKE}")
    ends = lengths.astype(np.int64).cumsum()
    rows = [ids[end - length : end].tolist() for end, length in zip(ends, lengths.astype(np.int64), strict=True)]
    fields = {name: facts[name] for name in ("vocab_size", "special_ids", "text", "licence")}
    return Tokens(rows, digest=hashlib.sha256(path.read_bytes()).hexdigest()[:12], **fields)


def _problem(ids, lengths, facts):
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        return f"its format is {facts.get('format') if isinstance(facts, dict) else 'unknown'}, not {FORMAT}"
    missing = {"vocab_size", "special_ids", "text", "licence"} - facts.keys()
    if missing:
        return f"it does not say its {', '.join(sorted(missing))}"
    if ids.ndim != 1 or lengths.ndim != 1 or ids.dtype.kind != "u" or lengths.dtype.kind != "u":
        return "its ids and lengths are no rows of whole numbers"
    if not len(lengths) or lengths.min() < 3 or int(lengths.sum()) != len(ids):
        return f"it has {len(ids)} ids for {len(lengths)} sentences, whose lengths say {int(lengths.sum())}"
    if set(facts["special_ids"]) != set(SPECIAL) or len(set(facts["special_ids"].values())) != len(SPECIAL):
        return f"it must name five different ids, {', '.join(SPECIAL)}"
    largest, vocab_size = max(int(ids.max()), *facts["special_ids"].values()), facts["vocab_size"]
    return f"it holds the id {largest}, but its vocabulary has {vocab_size}" if largest >= vocab_size else None
