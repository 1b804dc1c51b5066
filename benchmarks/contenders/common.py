"""What all contenders do alike: padding, autocast, backward, clipping, the optimiser."""

from dataclasses import dataclass

import torch
from transformers import ElectraForMaskedLM, ElectraForPreTraining, PreTrainedTokenizerFast

from ..flops import Stopwatch
from ..shapes import pair_configs


LEARNING_RATE = 1e-4
MAX_GRAD_NORM = 1.0  # the Trainer's default
DISC_WEIGHT = 50.0  # paper, section 3.1


@dataclass(frozen=True)
class Setup:
    """What is built.

    Args:
        shape (`str` or `dict`): a name in `benchmarks.shapes.SHAPES`, or such a row.
        vocab_size (`int`): rows of the embedding tables.
        tokenizer (`str`): a folder; see [`load_tokenizer`].
        dtype (`str`): `"float32"`, or `"bfloat16"` for autocast over float32 weights.
        device (`str`)
        seed (`int`): of the weights and of all that is drawn in training.
        piece (`str`, *optional*): the piece of ours that is switched off.
        config_fields (`dict`, *optional*): of both configurations.
    """

    shape: str | dict
    vocab_size: int
    tokenizer: str
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0
    piece: str | None = None
    config_fields: dict | None = None

    def configs(self):
        """Returns: `tuple[ElectraConfig, ElectraConfig]`, generator and discriminator."""
        return pair_configs(self.shape, self.vocab_size, **(self.config_fields or {}))

    def load_tokenizer(self):
        """Returns: `PreTrainedTokenizerFast`."""
        return PreTrainedTokenizerFast.from_pretrained(self.tokenizer)


def stock_pair(setup):
    """Generator and discriminator with the same random weights for everybody.

    Args: setup ([`Setup`]). Returns: `ElectraForMaskedLM` and `ElectraForPreTraining`.
    """
    torch.manual_seed(setup.seed)
    generator, discriminator = setup.configs()
    return ElectraForMaskedLM(generator), ElectraForPreTraining(discriminator)


def pad_rows(rows, pad_token_id):
    """What a padding collator makes.

    Args: rows (`list[list[int]]`); pad_token_id (`int`). Returns: `dict` of int64 `(B, L)`.
    """
    length = max(map(len, rows))
    input_ids = torch.full((len(rows), length), pad_token_id)
    attention_mask = torch.zeros_like(input_ids)
    for row, tokens in enumerate(rows):
        input_ids[row, : len(tokens)] = torch.tensor(tokens)
        attention_mask[row, : len(tokens)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


class TrainingStep:
    """Forward, backward, clip, step and reset, timed as a whole. Collating is not: a loader does that meanwhile.

    Args:
        model (`nn.Module`): what is trained.
        losses (callable): from a batch to a `dict` of tensors, with the one to minimise under `"loss"`.
        collate (callable): from rows of token ids to a batch, a `dict` of int64 `(B, L)` with `input_ids`.
        setup ([`Setup`])
    """

    def __init__(self, model, losses, collate, setup):
        self.device = torch.device(setup.device)
        self.model = model.train().to(self.device)
        self.losses, self.collate = losses, collate
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
        self.autocast = setup.dtype == "bfloat16"

    def batch_of(self, rows):
        """Args: rows (`list[list[int]]`). Returns: `dict` of int64 `(B, L)` on the device."""
        return {name: values.to(self.device) for name, values in self.collate(rows).items()}

    def step(self, rows):
        """Args: rows (`list[list[int]]`). Returns: `dict` with seconds, counts of tokens, and the losses."""
        batch = self.batch_of(rows)
        with Stopwatch(self.device) as watch:
            losses = self.train_on(batch)
        return {
            "seconds": watch.seconds,
            "real_tokens": sum(map(len, rows)),
            "padded_tokens": batch["input_ids"].numel(),
            "losses": {name: float(value) for name, value in losses.items()},
        }

    def train_on(self, batch):
        """Args: batch (`dict` of int64 `(B, L)`). Returns: `dict` of detached losses, `()` each."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            losses = self.losses(batch)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {name: value.detach() for name, value in losses.items()}
