"""Sentences to token ids, once for each text, tokenizer and length."""

import logging

from datasets.fingerprint import Hasher


logger = logging.getLogger(__name__)

CHARACTERS_AT_ONCE = 4_000_000  # an encoding takes more than a hundred bytes for each


def tokenize_text(dataset, tokenizer, *, max_length, num_proc=None):
    """Tokenize a column `text`; one longer than `max_length` tokens becomes several sequences, so that none is lost.

    The result is cached by `datasets` under what it depends on: the text, the tokenizer and `max_length`.

    Args:
        dataset (`datasets.Dataset`): with the column `text`.
        tokenizer (`PreTrainedTokenizerBase`): a fast one.
        max_length (`int`): tokens in a sequence, special tokens included.
        num_proc (`int`, *optional*): processes.

    Returns:
        `datasets.Dataset`: with the column `input_ids` alone; a padding collator makes the attention mask.
    """

    # The tokenizers library itself, on all cores: 1.4 times as fast as `tokenizer(texts)`, whose results are the same
    # ids with much beside them.
    backend = bare_backend(tokenizer)
    backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
    backend.encode_special_tokens = tokenizer.split_special_tokens

    def tokenize(texts):
        ids = []
        for some in few_at_once(texts):
            for whole in backend.encode_batch_fast(some):
                ids += [part.ids for part in (whole, *whole.overflowing)]
        return {"input_ids": ids}

    # By hand: `datasets` would hash the tokenizer object, whose truncation settings change with its first use.
    how = [max_length, tokenizer.truncation_side, tokenizer.split_special_tokens]
    fingerprint = Hasher.hash([dataset._fingerprint, tokenizer_identity(tokenizer), *how])
    return dataset.map(
        tokenize,
        batched=True,
        input_columns="text",
        remove_columns=dataset.column_names,
        num_proc=num_proc,
        new_fingerprint=fingerprint,
        desc="Tokenizing",
    )


def tokenize_texts(arguments, texts, tokenizer, longest, name=""):
    """Tokenize both texts, and say how much that is.

    Args:
        arguments ([`AdaptArguments`])
        texts (two `datasets.Dataset` with the column `text`): to train on, and held out.
        tokenizer (`PreTrainedTokenizerFast`); longest (`int`): tokens that the pair reads at most.
        name (`str`): of the texts, where there are others.

    Returns:
        two `datasets.Dataset`, see [`tokenize_text`]

    Raises:
        ValueError: the sequences would be longer than that.
    """
    length = arguments.max_seq_length
    if length > longest:
        raise ValueError(f"`max_seq_length` is {length}: the pair reads {longest} tokens at most.")
    train, held_out = (
        tokenize_text(text, tokenizer, max_length=length, num_proc=arguments.preprocessing_num_workers)
        for text in texts
    )
    logger.info(
        f"{name and f'{name}: '}{len(train)} sequences to train on, {len(held_out)} held out, of up to {length} "
        "tokens."
    )
    return train, held_out


def tokenizer_identity(tokenizer):
    """A hash of all that decides which ids a fast tokenizer gives to a short text, and of nothing else.

    Args:
        tokenizer (`PreTrainedTokenizerFast`).

    Returns:
        `str`
    """
    return Hasher.hash(bare_backend(tokenizer).to_str())


def few_at_once(texts):
    """Texts in lists, each of so many characters that their encodings fit into memory."""
    some: list[str] = []
    characters = 0
    for text in texts:
        if some and characters + len(text) > CHARACTERS_AT_ONCE:
            yield some
            some, characters = [], 0
        some.append(text)
        characters += len(text)
    if some:
        yield some


def bare_backend(tokenizer):
    """A copy of a fast tokenizer's `tokenizers.Tokenizer`, without truncation and padding."""
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend
