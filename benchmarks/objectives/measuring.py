"""Held-out figures of a pair, under its own corruption and under one that is the same for all; and steps in turn."""

import time
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding
from transformers.utils import logging

from electra_rtd.train_tools.counts import BINS, area_under_curve, count_logits

from ..rounds import paired_ratio
from .variants import PLAIN, VARIANTS, load_variant


BATCH = 32  # rows of held-out text at a time


class Detection:
    """Counts how well tokens are told apart, batch by batch."""

    def __init__(self):
        self._histogram = torch.zeros(2, BINS, dtype=torch.long)
        self._loss, self._tokens, self._replaced, self._caught = 0.0, 0, 0, 0

    def add(self, logits, labels):
        """Args: logits (float, (B, L)); labels (int64, (B, L)): 1 = replaced, 0 = original, -100 = no token."""
        attended = labels >= 0  # (B, L)
        count_logits(self._histogram, logits.float(), labels.clamp(min=0), attended)
        shown, targets = logits[attended].float(), labels[attended].float()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(shown, targets, reduction="sum")
        self._loss += float(losses)
        self._tokens += len(targets)
        self._replaced += int(targets.sum())
        self._caught += int(((shown > 0) & (targets == 1)).sum())

    def figures(self):
        """Returns: `dict`: `disc_loss` (nats a token), `auc`, `recall` of replaced tokens, `replaced_share`."""
        return {
            "disc_loss": self._loss / max(self._tokens, 1),
            "auc": area_under_curve(self._histogram),
            "recall": self._caught / max(self._replaced, 1),
            "replaced_share": self._replaced / max(self._tokens, 1),
        }


@dataclass(frozen=True)
class Corrupted:
    """A held-out batch in the corruption that all variants are measured with: that of the start, in eval mode.

    Args:
        batch (`dict`): as the collator makes it.
        disc_input_ids, disc_labels (int64, (B, L)): with samples of the start's own generator.
        masked_input_ids (int64, (B, L)), masked_positions (bool, (B, L)): what a generator has to predict.
    """

    batch: dict
    disc_input_ids: torch.Tensor
    disc_labels: torch.Tensor
    masked_input_ids: torch.Tensor
    masked_positions: torch.Tensor


def batches_of(rows, tokenizer, size=BATCH):
    """Args: rows (`Dataset`): with `input_ids`. Returns: `list[dict]` of padded batches, in order."""
    return list(DataLoader(rows.remove_columns(_others(rows)), size, collate_fn=DataCollatorWithPadding(tokenizer)))


def _others(rows):
    return [name for name in rows.column_names if name not in ("input_ids", "attention_mask")]


@torch.no_grad()
def corrupt(pair, rows, tokenizer):
    """The corruption that is the same for all. Args: pair (`Path`): the start. Returns: `list` of [`Corrupted`]."""
    start = load_variant(PLAIN, pair).eval()
    made = []
    for batch in batches_of(rows, tokenizer):
        output = start(**batch)
        made.append(
            Corrupted(
                dict(batch),
                output.disc_input_ids,
                output.disc_labels,
                output.masked_input_ids,
                output.masked_positions,
            )
        )
    return made


@torch.no_grad()
def held_out_figures(model, corrupted):
    """What a pair makes of the held-out text.

    Args: model ([`ElectraRTDForPreTraining`]); corrupted (`list` of [`Corrupted`]).
    Returns: `dict` of two `dict`s: `own`, under the variant's own corruption and samples, with `mlm_loss` (nats a
        masked token); `common`, on what the start's generator corrupted, likewise.
    """
    model.eval()
    own, common = Detection(), Detection()
    losses, masked = {"own": 0.0, "common": 0.0}, {"own": 0, "common": 0}
    for one in corrupted:
        mask = one.batch["attention_mask"]
        output = model(**one.batch)
        own.add(output.logits, output.disc_labels)
        common.add(model.discriminator(one.disc_input_ids, attention_mask=mask).logits, one.disc_labels)
        labels = one.batch["input_ids"].masked_fill(~one.masked_positions, -100)
        same = model(one.masked_input_ids, attention_mask=mask, labels=labels)
        for name, seen in (("own", output), ("common", same)):
            count = int(seen.masked_positions.sum())
            losses[name] += float(seen.mlm_loss) * count
            masked[name] += count
    return {
        name: {"mlm_loss": losses[name] / max(masked[name], 1), **seen.figures()}
        for name, seen in (("own", own), ("common", common))
    }


def time_steps(names, pair, rows, tokenizer, *, rounds, size, warmup=2):
    """Seconds of a whole training step, all variants on the same batch in turn: A B C, A B C, ...

    Args:
        names (`list[str]`): variants; pair (`Path`); rows (`Dataset`): to train on; tokenizer.
        rounds (`int`): that count; size (`int`): rows of a batch; warmup (`int`): rounds before them.

    Returns:
        `dict`: `seconds`, for each variant those of every round; `against`, its ratio to the plain one, by rounds.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: (rounds + warmup) * size]
    batches = batches_of(rows.select(order.tolist()), tokenizer, size)
    steppers = {name: _stepper(load_variant(name, pair)) for name in names}
    seconds = {name: [] for name in names}
    for number, batch in enumerate(batches):
        turn = number % len(names)  # each begins a round as often as the others
        for name in [*names[turn:], *names[:turn]]:
            began = time.perf_counter()
            steppers[name](batch)
            if number >= warmup:
                seconds[name].append(round(time.perf_counter() - began, 5))
    against = {name: paired_ratio(seconds[name], seconds[PLAIN]) for name in names if PLAIN in names}
    return {"seconds": seconds, "against": against, "rows": size}


def _stepper(model):
    model.train()
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, fused=True)

    def step(batch):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()

    return step


def quiet():
    """What is loaded again and again is not news."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


assert PLAIN in VARIANTS
