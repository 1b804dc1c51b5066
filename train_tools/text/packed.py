"""Text to packed rows: tokenized sentence by sentence, and put together by `packing.py`."""

import logging

from datasets import Features, Value
from datasets.fingerprint import Hasher

from ..packing import RowPacker
from .tokenizing import bare_backend, few_at_once, tokenizer_identity


logger = logging.getLogger(__name__)

RULES = 1  # raise it when the same text gives other rows than before: those in the cache are then made anew
try:
    from datasets import List
except ImportError:  # datasets before 4
    from datasets import Sequence as List
FEATURES = Features({"input_ids": List(Value("int32")), "token_type_ids": List(Value("int8"))})


def pack_text(dataset, tokenizer, *, max_length, seed=0, num_proc=None):
    """Tokenize the columns `text` and `document`, and pack sentences that follow each other to rows of full length.

    Like those of [`tokenize_text`], the rows are cached by `datasets` under what they depend on.

    Args:
        dataset (`datasets.Dataset`): with the columns `text` and `document`; where the number in `document` changes, a
            document ends.
        tokenizer (`PreTrainedTokenizerBase`): a fast one, with [CLS] and [SEP].
        max_length (`int`): tokens in a row, special tokens included.
        seed (`int`): of the chances, see [`RowPacker`].
        num_proc (`int`, *optional*): processes that tokenize.

    Returns:
        `datasets.Dataset`: with the columns `input_ids` and `token_type_ids`.

    Raises:
        ValueError: the tokenizer lacks one of the two.
    """
    if tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise ValueError(
            "`packing` puts rows together with [CLS] and [SEP], and the tokenizer has no such tokens: give "
            "`packing=no`, or another `tokenizer`."
        )
    how = [tokenizer_identity(tokenizer), tokenizer.split_special_tokens]
    sentences = dataset.map(
        _Sentences(bare_backend(tokenizer), tokenizer.split_special_tokens),
        batched=True,
        input_columns="text",
        remove_columns=["text"],
        num_proc=num_proc,
        new_fingerprint=Hasher.hash([dataset._fingerprint, *how]),
        desc="Tokenizing",
    )
    packing = _Packing(
        RowPacker(max_length, cls_id=tokenizer.cls_token_id, sep_id=tokenizer.sep_token_id, seed=seed), len(sentences)
    )
    return sentences.map(
        packing,
        batched=True,
        with_indices=True,
        remove_columns=sentences.column_names,
        features=FEATURES,
        new_fingerprint=Hasher.hash([sentences._fingerprint, RULES, max_length, seed]),
        desc="Packing",
    )


def pack_texts(texts, tokenizer, *, max_length, seed=0, num_proc=None):
    """Pack two texts, and say how much that is.

    Args: texts (two `datasets.Dataset`): to train on, and held out; the others as of [`pack_text`].
    Returns: two `datasets.Dataset`.
    """
    train, held_out = (
        pack_text(text, tokenizer, max_length=max_length, seed=seed, num_proc=num_proc) for text in texts
    )
    logger.info(
        f"{len(train)} packed sequences to train on, {len(held_out)} held out, of {max_length} tokens: "
        f"{padding_share(train, max_length):.1%} of the room in those to train on is empty."
    )
    return train, held_out


def padding_share(rows, max_length):
    """The share of a batch's cells that are padding, where every row is padded to `max_length`: `float` in [0, 1).

    Args: rows (`datasets.Dataset`): with `input_ids`; max_length (`int`).
    """
    batches = rows.with_format("arrow").iter(10_000)
    tokens = sum(len(batch["input_ids"].combine_chunks().flatten()) for batch in batches)
    return 1 - tokens / (len(rows) * max_length)


class _Sentences:
    """Texts to token ids, without special tokens and in full."""

    def __init__(self, backend, split_special_tokens):
        self._backend = backend
        self._backend.encode_special_tokens = split_special_tokens

    def __call__(self, texts):
        ids = []
        for some in few_at_once(texts):
            ids += [whole.ids for whole in self._backend.encode_batch_fast(some, add_special_tokens=False)]
        return {"ids": ids}


class _Packing:
    """Batches of sentences, in their order, to rows: what does not fill one waits for the next batch."""

    def __init__(self, packer, sentences):
        self._packer, self._sentences = packer, sentences
        self._document = None

    def __call__(self, batch, places):
        rows = []
        for ids, document in zip(batch["ids"], batch["document"], strict=True):
            if document != self._document:
                rows += self._packer.end_document()
                self._document = document
            rows += self._packer.add(ids)
        if places[-1] == self._sentences - 1:
            rows += self._packer.end_document()
        return {name: [row[name] for row in rows] for name in FEATURES}
