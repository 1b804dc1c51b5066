"""General text among the domain's: a share of every epoch, drawn anew for each, so that a pair keeps what it knew."""

import logging
import math

import torch
from datasets import concatenate_datasets
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..hub_tools.run_record import callback_state
from .epoch_order import epoch_of, sampler_of


logger = logging.getLogger(__name__)

SEEDS_OF_RUN = 1_000_003  # between the seeds of two runs: a pass of one is no pass of the next


class ReplayedText(torch.utils.data.Dataset):
    """An epoch: every sequence of the domain's text, and between them, evenly, some of the general text's.

    [`draw`] chooses these. From epoch to epoch they go through the general text in an order drawn by the seed, so that
    all of it is seen before any of it is seen again; then in another order. An epoch has as many of them whatever its
    number, and which they are depends on the seed and that number alone: so in every process, and in a resumed run.

    Args:
        domain, general (`datasets.Dataset`): with the column `input_ids` alone.
        share (`float` in (0, 1)): of the epoch's sequences, those of the general text: exact to half a sequence, and
            at least one.
        seed (`int`)

    Attributes:
        drawn (`int`): sequences of the general text in an epoch; is_general (bool, (length,)): where they stand.
    """

    def __init__(self, domain, general, share, seed):
        self.domain, self.general = domain, general
        self.drawn = max(1, round(len(domain) * share / (1 - share)))
        self._seed = seed
        self._rows = concatenate_datasets([domain, general])
        self._lengths = None
        length = len(domain) + self.drawn
        before = torch.arange(length + 1) * self.drawn // length  # general ones before each place
        self.is_general = before.diff() > 0
        # Shared, so that processes which make batches, and live longer than an epoch, see what is drawn later.
        self._places = torch.empty(length, dtype=torch.long).share_memory_()  # rows of `_rows`
        self._places[~self.is_general] = torch.arange(len(domain))
        self.draw(0)

    def draw(self, epoch):
        """Choose the general text of an epoch. Args: epoch (`int`): from 0 on."""
        size, first = len(self.general), epoch * self.drawn
        passes = range(first // size, (first + self.drawn - 1) // size + 1)
        orders = torch.cat([torch.randperm(size, generator=self._generator(one)) for one in passes])
        skipped = first - passes[0] * size
        self._places[self.is_general] = len(self.domain) + orders[skipped : skipped + self.drawn]

    def _generator(self, number):
        return torch.Generator().manual_seed(self._seed * SEEDS_OF_RUN + number)

    def lengths(self):
        """`list[int]`: tokens of each sequence of the epoch."""
        if self._lengths is None:
            self._lengths = torch.tensor(_lengths(self._rows))
        return self._lengths[self._places].tolist()

    def __len__(self):
        return len(self._places)

    def __getitem__(self, place):
        return self._rows[int(self._places[place])]  # IndexError at the end, by which a loop over it stops

    def __getitems__(self, places):
        return self._rows.__getitems__(self._places[places].tolist())

    def __iter__(self):
        return iter(self._rows.select(self._places.tolist()))


class ReplayDraw(TrainerCallback, ExportableState):
    """Draws the general text of each epoch when it begins; writes into the checkpoints what is replayed.

    Args: text ([`ReplayedText`]): the Trainer's training data.
    """

    def __init__(self, text):
        self._text = text

    def state(self):
        return {"args": describe_replay(self._text), "attributes": {}}

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        self._text.draw(epoch_of(args, state, train_dataloader))
        sampler = sampler_of(train_dataloader)
        if hasattr(sampler, "lengths"):  # taken when it was made, of the sequences that were there then
            sampler.lengths = self._text.lengths()


def describe_replay(text):
    """What a run that goes on has to replay alike.

    Args: text: training data of a run. Returns: `dict`: sequences of the general text and of those an epoch has; empty
        where nothing is replayed.
    """
    return {"general": len(text.general), "drawn": text.drawn} if isinstance(text, ReplayedText) else {}


def warn_of_other_replay(checkpoint, text):
    """Say that a run which goes on replays otherwise than before.

    Args: checkpoint (`str` or `None`): of the run that is resumed; text: its training data now.
    """
    if checkpoint is None:
        return
    then, now = callback_state(checkpoint, ReplayDraw.__name__), describe_replay(text)
    if then != now:
        words = [
            f"{one['drawn']:,} of {one['general']:,} general sequences an epoch" if one else "no general text"
            for one in (then, now)
        ]
        logger.warning(
            f"The run that is resumed replayed {words[0]}, it goes on with {words[1]}: the rest of it will differ "
            "from what it would have been. To go on as before, give `replay_file` and `replay_share` as they were."
        )


def say_replay(text, share):
    """Say how much is replayed, and where the general text is too little for that.

    Args: text ([`ReplayedText`]); share (`float`): what was asked for.
    """
    lengths, is_general = torch.tensor(text.lengths()), text.is_general
    of_tokens = lengths[is_general].sum().item() / lengths.sum().item()
    logger.info(
        f"Replay: {text.drawn:,} of {len(text):,} sequences of an epoch are general text "
        f"({text.drawn / len(text):.1%}, {of_tokens:.1%} of its tokens), drawn for each from {len(text.general):,}."
    )
    if text.drawn > len(text.general):
        logger.warning(
            f"`replay_share={share:g}` takes {text.drawn:,} general sequences an epoch, and `replay_file` has "
            f"{len(text.general):,}: each is read up to {math.ceil(text.drawn / len(text.general))} times an epoch, "
            "and may be learnt by heart. Give more general text, or a smaller share."
        )


def _lengths(rows):
    """Tokens of each row: `list[int]`."""
    lengths: list[int] = []
    for batch in rows.with_format("arrow").iter(10_000):
        lengths += batch["input_ids"].combine_chunks().value_lengths().to_pylist()
    return lengths
