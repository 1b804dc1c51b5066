"""Text to token ids: the vocabulary, and the rows of the corpora in one file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


VOCAB_SIZE = 8000
MAX_LENGTH = 128  # tokens of a row; what is longer is cut
HELD_OUT = 1500  # rows
# Openly licensed and Korean: files below `../shared/data`, and whose work is in them.
CORPORA = {
    "ko_general/nsmc_unlabeled.parquet": ["e9t/nsmc, film reviews: CC0 1.0"],
    "ko_general/ko_misc.parquet": [
        "KLUE-benchmark/KLUE (ner, dp, nli): CC BY-SA 4.0",
        "kakaobrain/KorNLUDatasets (xnli): CC BY-SA 4.0",
        "UniversalDependencies/UD_Korean-Kaist and UD_Korean-GSD: CC BY-SA 4.0",
        "jungyeul/korean-parallel-corpora (news): CC BY-SA 3.0",
        "songys/Chatbot_data: MIT",
    ],
}


@dataclass(frozen=True)
class Tokens:
    """Rows of token ids, with special tokens.

    Args:
        rows (`list` of int64 arrays), lengths (int64, (rows,)).
        train, held_out (int64 arrays): which rows, drawn once.
        size (`int`): entries of the vocabulary. special (`dict[str, int]`): `mask`, `pad`, `cls`, `sep`, `unk`.
    """

    rows: list
    lengths: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    size: int
    special: dict

    def batch(self, indices):
        """Args: indices (`list[int]`): of rows. Returns: `input_ids` and `attention_mask`, int64, (rows, longest)."""
        longest = max(self.lengths[index] for index in indices)
        input_ids = torch.full((len(indices), longest), self.special["pad"])
        attention_mask = torch.zeros_like(input_ids)
        for place, index in enumerate(indices):
            input_ids[place, : self.lengths[index]] = torch.from_numpy(self.rows[index])
            attention_mask[place, : self.lengths[index]] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def epoch(self, seed, tokens, among=4096):
        """Every training row once, in batches of similar length.

        Args:
            seed (`int`): of the order. tokens (`int`): of a batch, at most.
            among (`int`): so many rows, drawn at random, are sorted by length.

        Returns:
            `list[list[int]]`: indices of rows, a list a batch
        """
        random = np.random.RandomState(seed)
        order, batches = random.permutation(self.train), []
        for start in range(0, len(order), among):
            batch, filled = [], 0
            for index in sorted(order[start : start + among], key=lambda index: self.lengths[index]):
                if filled + self.lengths[index] > tokens:
                    batches.append(batch)
                    batch, filled = [], 0
                batch.append(index)
                filled += self.lengths[index]
            batches.append(batch)
        random.shuffle(batches)
        return batches


def write_tokens(data, folder):
    """Train the vocabulary, and write the token ids: the one step that needs this package and `datasets` installed.

    Args:
        data (`Path`): the folder of the corpora.
        folder (`Path`): gets `tokenizer/` and `tokens.npz`, 9 MB, which travels to a machine with a GPU.
    """
    import pyarrow.parquet as parquet

    from electra_rtd.train_tools.from_scratch import train_tokenizer

    texts = [text for file in CORPORA for text in parquet.read_table(data / file)["text"].to_pylist()]
    tokenizer = train_tokenizer(texts, VOCAB_SIZE)
    tokenizer.model_max_length = MAX_LENGTH
    tokenizer.save_pretrained(folder / "tokenizer")
    rows = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("mask", "pad", "cls", "sep", "unk")}
    np.savez_compressed(
        folder / "tokens.npz",
        ids=np.concatenate([np.array(row, dtype=np.uint16) for row in rows]),
        lengths=np.array([len(row) for row in rows], dtype=np.uint16),
        size=len(tokenizer),
        **special,
    )


def read_tokens(folder):
    """Args: folder (`Path`): with `tokens.npz`. Returns: [`Tokens`]."""
    with np.load(Path(folder) / "tokens.npz") as file:
        special = {name: int(file[name]) for name in ("mask", "pad", "cls", "sep", "unk")}
        lengths = file["lengths"].astype(np.int64)
        rows = np.split(file["ids"].astype(np.int64), lengths.cumsum()[:-1])
        size = int(file["size"])
    order = np.random.RandomState(0).permutation(len(rows))
    return Tokens(rows, lengths, order[HELD_OUT:], order[:HELD_OUT], size, special)
