"""One lane of a stream: sources mixed by weight, shuffled a block at a time, in batches; and its state."""

import random
from itertools import accumulate

from .lane_text import shuffle


class Lane:
    """The batches of one lane, by their numbers.

    Rows come in blocks, which are whole numbers of batches: a block is read, mixed and shuffled, then given; then the
    next one is read. So between two blocks nothing is in memory, and where a lane is can be said in a few numbers:
    what a run that goes on reads again is one block, no more, and it is shuffled as it was.

    Args:
        sources (`list` of [`SourceRows`])
        weights (`list[float]`): of the sources.
        block (`int`): rows of a block, see [`block_size`]; batch (`int`): rows of a batch.
        seed (`str`): of what is drawn: the sources of a block's rows, and their order.
        shuffles (`bool`): whether the rows of a block change places.
        groups (`bool`): whether batches are of similar length within a block.
        start (`dict`, *optional*): of [`state_dict`]: where it begins.
    """

    def __init__(self, sources, weights, *, block, batch, seed, shuffles=True, groups=False, start=None):
        self._sources, self._ends = sources, list(accumulate(weights))
        self._block, self._batch, self._seed = block, batch, seed
        self._shuffles, self._groups = shuffles, groups
        self._start = start or self.state_dict(0)
        self._number = -1  # of the block in memory
        self._rows: list = []
        self._restart()

    def batch(self, number):
        """Rows of a batch. Args: number (`int`): from 0 on. Returns: `list` of rows, as [`SourceRows`] yields them."""
        block, place = divmod(number, self._block // self._batch)
        if block < self._number:
            self._restart()
        if block < self._start["block"]:
            raise ValueError(f"Batch {number} was read before the checkpoint: the stream goes on behind it.")
        while self._number < block:
            self._fill()
        return self._rows[place * self._batch : (place + 1) * self._batch]

    def state_dict(self, block=None):
        """Where the block behind the one in memory begins: `dict` for JSON. Args: block (`int`): its number."""
        block = self._number + 1 if block is None else block
        return {"block": block, "sources": [source.state_dict() for source in self._sources]}

    def next_block(self):
        """The number of the block behind the one in memory: `int`."""
        return self._number + 1

    def _restart(self):
        for source, state in zip(self._sources, self._start["sources"], strict=True):
            source.load_state_dict(state)
        self._number, self._rows = self._start["block"] - 1, []

    def _fill(self):
        self._number, self._rows = self._number + 1, []  # the old block goes before the new one comes
        draw = random.Random(f"{self._seed}:{self._number}")
        for _ in range(self._block):
            self._rows.append(next(self._sources[self._drawn(draw)]))
        if self._shuffles:
            shuffle(self._rows, draw)
        if self._groups:
            self._rows = _grouped(self._rows, self._batch, draw)

    def _drawn(self, draw):
        if len(self._sources) == 1:
            return 0
        number = draw.random() * self._ends[-1]
        return next(place for place, end in enumerate(self._ends) if number < end or end == self._ends[-1])


def block_size(buffer, batch):
    """Rows of a block: at least `buffer`, and whole batches. Args: buffer, batch (`int`). Returns: `int`."""
    return max(1, -(-buffer // batch)) * batch


def _grouped(rows, batch, draw):
    """Batches of similar length, in a drawn order."""
    ordered = sorted(rows, key=lambda row: len(row[0]))
    batches = [ordered[first : first + batch] for first in range(0, len(ordered), batch)]
    shuffle(batches, draw)
    return [row for one in batches for row in one]
