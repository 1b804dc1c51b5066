"""What the Trainer gets: a data set whose rows are read when they are asked for."""

import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from .lane import Lane, block_size
from .lane_text import LaneText
from .source_rows import SourceRows


class StreamError(ValueError):
    """A text could not be read; what torch puts around it in a worker process is taken off again."""

    def __init__(self, message):
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].rstrip())


@dataclass(frozen=True)
class StreamPlan:
    """All that decides which rows a stream has, and in which order.

    Args:
        sources (`tuple` of [`Source`]), weights (`tuple[float]`)
        encoding ([`Encoding`])
        buffer (`int`): rows that are shuffled among each other, 0 for none.
        batch (`int`): rows of a batch; lanes (`int`): how many read, a multiple of the training processes.
        seed (`int`)
        groups (`bool`): batches of similar length.
    """

    sources: tuple
    weights: tuple
    encoding: Any
    buffer: int
    batch: int
    lanes: int
    seed: int
    groups: bool = False

    @property
    def batches_in_block(self):
        return block_size(self.buffer, self.batch) // self.batch

    def lane(self, number, start=None):
        """One lane. Args: number (`int`); start (`dict`, *optional*): of its state. Returns: [`Lane`]."""
        rows = []
        for place, source in enumerate(self.sources):
            # Alike in all lanes, so that these divide each pass among themselves.
            order = f"{self.seed}:{place}" if self.buffer else None
            text = LaneText(source, number, self.lanes, order)
            rows.append(SourceRows(text, self.encoding, f"{self.seed}:{place}:{number}"))
        return Lane(
            rows,
            self.weights,
            block=block_size(self.buffer, self.batch),
            batch=self.batch,
            seed=f"{self.seed}:{number}",
            shuffles=self.buffer > 0,
            groups=self.groups,
            start=start,
        )


class StreamedRows(torch.utils.data.Dataset):
    """The rows of a run of a known number of batches.

    For the Trainer it is a data set like any other, with a length: its sampler must be sequential, see
    [`StreamCallback`]. Batch `b` of the run, counted over all processes, is the next one of lane `b % lanes`. The
    Trainer gives each process every so manieth batch, and torch each worker process every so manieth of these: where
    the lanes are as many, or a multiple, each lane is read by one worker alone, which reads nothing else. So which
    rows a batch has depends on the plan and its number only: not on when it is asked for, what was asked for before,
    or what a process had made already and nobody used when it died.

    Args:
        plan ([`StreamPlan`])
        batches (`int`): of the run, in all processes.
        folder (path): here the lanes write where their blocks begin, see [`state_of`].
        kept (`int`): batches of a lane that may have been made, but not trained on.
        starts (`dict[int, dict]`, *optional*): states of lanes, for a run that goes on.
    """

    def __init__(self, plan, batches, folder, *, kept=8, starts=None):
        self.plan, self.batches, self.folder = plan, batches, Path(folder)
        self._kept, self._starts = kept, starts or {}
        self._lanes: dict[int, Lane] = {}  # in the process that reads them
        self._begins: dict[int, list] = {}

    def __len__(self):
        return self.batches * self.plan.batch

    def __getitem__(self, place):
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._rows(place // self.plan.batch)[place % self.plan.batch]

    def __getitems__(self, places):
        size = self.plan.batch
        first, offset = divmod(places[0], size)
        if offset == 0 and places == list(range(first * size, (first + 1) * size)):
            return self._rows(first)
        return [self[place] for place in places]

    def state_of(self, lane, batches):
        """Where a lane has to begin to go on behind its first batches.

        Args: lane (`int`); batches (`int`): of this lane, that are used. Returns: `dict`, or `None` for the start.
        """
        block = batches // self.plan.batches_in_block
        file = self._file(lane)
        begins = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        known = [begin for begin in begins if begin["block"] <= block]
        return known[-1] if known else self._starts.get(lane)

    def _rows(self, number):
        try:
            rows = self._read(number)
        except (ValueError, OSError) as error:
            raise StreamError(str(error)) from error
        return [_row(*row) for row in rows]

    def _read(self, number):
        turn, lane = divmod(number, self.plan.lanes)
        if lane not in self._lanes:
            self._lanes[lane] = self.plan.lane(lane, self._starts.get(lane))
            self._begins[lane] = [self._lanes[lane].state_dict()]
        before = self._lanes[lane].next_block()
        rows = self._lanes[lane].batch(turn)
        if self._lanes[lane].next_block() != before:
            self._keep(lane, turn)
        return rows

    def _keep(self, lane, turn):
        """Write down where the next block begins, and forget what is too old to be asked for."""
        oldest = (turn - self._kept) // self.plan.batches_in_block
        begins = [*self._begins[lane], self._lanes[lane].state_dict()]
        begins = [one for one, after in pairwise(begins) if after["block"] > oldest] + begins[-1:]
        self._begins[lane] = begins
        staged = self._file(lane).with_suffix(".new")
        staged.write_text(json.dumps(begins), encoding="utf-8")
        os.replace(staged, self._file(lane))

    def _file(self, lane):
        return self.folder / f"lane-{lane:05d}.json"


def _row(ids, segments):
    row = {"input_ids": ids.tolist()}
    return row if segments is None else {**row, "token_type_ids": segments.tolist()}
