"""The share of `[UNK]` in the training text: tokens that are never masked, and teach nothing.

Where it is large, the objective is empty: nothing is masked, the loss is 0, and a run looks like a success. Most often
text and vocabulary fit, and only their form differs, which is found out by trying.
"""

import json
import logging
import unicodedata
from collections import Counter
from itertools import product
from typing import Literal

import numpy as np
from tokenizers.normalizers import BertNormalizer

from ..pairing_electra_rtd import special_ids


logger = logging.getLogger(__name__)

# A vocabulary that fits has less than 0.4 % on real text, one without punctuation 14 %; Hangul that is taken apart, by
# the tokenizer or in the text, makes it 57 to 94 %.
WORTH_A_WARNING = 0.01
WRONG = 0.25
SAMPLE_ROWS, SAMPLE_LETTERS = 500, 2000  # rows that remedies are tried on, and letters of each
FORMS: tuple[Literal["NFC", "NFD", "NFKC"], ...] = ("NFC", "NFD", "NFKC")
SETTINGS = ("do_lower_case", "strip_accents")


def check_unknown_tokens(train_set, train_text, tokenizer, name="to train on"):
    """Log the share of `[UNK]` in the tokenized text; where it is large, with the words, the cause and the remedy.

    Args:
        train_set (`datasets.Dataset`): with the column `input_ids`; all of it is counted.
        train_text (`datasets.Dataset`): with the column `text`; remedies are tried on a sample.
        tokenizer (`PreTrainedTokenizerFast`)
        name (`str`): of the tokens, in the message.

    Raises:
        ValueError: more than a quarter of the tokens are `[UNK]`.
    """
    if tokenizer.unk_token_id is None:  # byte-level: every text has tokens
        return
    step = -(-len(train_text) // SAMPLE_ROWS)
    sample = (text[:SAMPLE_LETTERS] for text in train_text.select(range(0, len(train_text), step))["text"])
    unknown, tokens = count_unknown(train_set, tokenizer)
    refuse_unknown(unknown, tokens, sample, tokenizer, name)


def refuse_unknown(unknown, tokens, sample, tokenizer, name):
    """As [`check_unknown_tokens`], of what is counted already.

    Args:
        unknown, tokens (`int`): see [`count_unknown`]; sample (iterable of `str`): texts that remedies are tried on.
        tokenizer (`PreTrainedTokenizerFast`); name (`str`): of the tokens, in the message.

    Raises:
        ValueError: more than a quarter of the tokens are `[UNK]`.
    """
    share = unknown / max(tokens, 1)
    message = f"{_percent(share)} of the {tokens:,} tokens {name} are {tokenizer.unk_token}"
    if share <= WORTH_A_WARNING:
        logger.info(f"{message}.")
        return
    sample = list(sample)
    message = f"{message}, which is never masked: {_frequent_words(tokenizer, sample)}. {_remedy(tokenizer, sample)}"
    if share > WRONG:
        raise ValueError(message)
    logger.warning(message)


def count_unknown(train_set, tokenizer):
    """Count in a tokenized data set.

    Args:
        train_set (`datasets.Dataset`): with the column `input_ids`.
        tokenizer (`PreTrainedTokenizerFast`)

    Returns:
        `tuple[int, int]`: `[UNK]`, and all tokens that are not special, `[UNK]` included
    """
    special = sorted({*special_ids(tokenizer)} - {tokenizer.unk_token_id})
    unknown = tokens = 0
    for batch in train_set.with_format("arrow").iter(10_000):
        ids = batch["input_ids"].combine_chunks().flatten().to_numpy()
        unknown += int((ids == tokenizer.unk_token_id).sum())
        tokens += len(ids) - int(np.isin(ids, special).sum())
    return unknown, tokens


def _frequent_words(tokenizer, texts):
    encodings = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    words = Counter(
        text[start:end]
        for text, encoding in zip(texts, encodings, strict=True)
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        if token_id == tokenizer.unk_token_id
    )
    return ", ".join(f"{word} ({count})" for word, count in words.most_common(8)) or "rare words"


def _remedy(tokenizer, texts):
    """What to do, found by trying: other forms of the text, and other settings of the tokenizer."""
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    normalizer, unknown = backend.normalizer, tokenizer.unk_token_id
    before = _share(backend, unknown, texts)
    settings: list = [None]
    if isinstance(normalizer, BertNormalizer):
        settings += [dict(zip(SETTINGS, values, strict=True)) for values in product((False, True), repeat=2)]
    trials = sorted(product((None, *FORMS), settings), key=lambda trial: sum(map(bool, trial)))
    shares = []
    for form, setting in trials:
        backend.normalizer = _set(normalizer, setting) if setting else normalizer
        changed = [unicodedata.normalize(form, text) for text in texts] if form else texts
        shares.append(round(_share(backend, unknown, changed), 3))
    after = min(shares)
    form, setting = trials[shares.index(after)]  # of those that are as good, one that changes least
    if after > before / 2:
        return (
            "Neither another Unicode form of the text nor other casing or marks would help: the vocabulary does not "
            "hold this text. Where one is trained, give a larger `vocab_size`; else take a pair and a tokenizer of "
            "the text's language."
        )
    steps = []
    if form:
        steps.append(
            f"The text is in another Unicode form than the vocabulary. Write it in {form}, for instance: python -c "
            f'\'import sys, unicodedata; sys.stdout.writelines(unicodedata.normalize("{form}", line) for line in '
            f"sys.stdin)' < text.txt > text.{form.lower()}.txt."
        )
    if setting:
        steps.append(
            "The tokenizer takes casing or marks off that the vocabulary has, or leaves those that it lacks: its "
            f"tokenizer_config.json should say {json.dumps(setting)[1:-1]}. Or give the vocabulary alone: "
            "`tokenizer=FOLDER/vocab.txt`."
        )
    return f"{' '.join(steps)} Then {_percent(after)} would be (of {len(texts)} rows)."


def _set(normalizer, setting):
    return BertNormalizer(
        lowercase=setting["do_lower_case"],
        strip_accents=setting["strip_accents"],
        handle_chinese_chars=normalizer.handle_chinese_chars,
    )


def _share(backend, unknown, texts):
    encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
    ids = [token_id for encoding in encodings for token_id in encoding.ids]
    return ids.count(unknown) / max(len(ids), 1)


def _percent(share):
    return f"{100 * share:.2g} %"
