"""Which texts of a source one lane reads, in which order, again and again; and where it is in them."""

import random
from itertools import islice


def shuffle(items, draw):
    """As `random.shuffle`, by `random()` alone: what else the module draws may change with Python.

    Args: items (`list`): changed in place; draw (`random.Random`).
    """
    for place in range(len(items) - 1, 0, -1):
        other = int(draw.random() * (place + 1))
        items[place], items[other] = items[other], items[place]


class LaneText:
    """An endless iterator over the texts of one lane.

    Lanes divide a source as `datasets.distributed.split_dataset_by_node` does: where the number of shards is a
    multiple of the number of lanes, each reads whole shards; else each reads all of them, and keeps one text in so
    many. Every pass over the source is complete over all lanes together: no text is left out, and none read twice.

    Args:
        source ([`Source`])
        lane, lanes (`int`): which one, of how many.
        seed (`int`, *optional*): draws the order of the shards in each pass; without it they stay in theirs.

    Iterating yields `tuple`: which document (any value; another one for another document) and the text; or `None`
    where a pass ends.
    """

    def __init__(self, source, lane, lanes, seed=None):
        self._source, self._seed = source, seed
        self._lane, self._lanes = lane, lanes
        self._whole = len(source.shards) % lanes == 0
        self._iterator = None
        self.load_state_dict({"pass": 0, "shard": 0, "text": 0, "seen": 0})

    def __iter__(self):
        return self

    def __next__(self):
        if self._iterator is None:
            self._iterator = self._read()
        return next(self._iterator)

    def state_dict(self):
        """Behind which text it is: `dict` for JSON: `pass`, `shard`, `text` in the shard, `seen` in the pass."""
        return {"pass": self._pass, "shard": self._shard, "text": self._text, "seen": self._seen}

    def load_state_dict(self, state):
        """Go on there. Args: state (`dict`): of [`state_dict`]."""
        self._pass, self._shard = state["pass"], state["shard"]
        self._text, self._seen = state["text"], state["seen"]
        self._iterator = None

    def _shards(self):
        shards = list(self._source.shards)
        if self._seed is not None:
            shuffle(shards, random.Random(f"{self._seed}:{self._pass}"))
        return shards[self._lane :: self._lanes] if self._whole else shards

    def _read(self):
        begun = self._seen > 0
        while True:
            shards, kept = self._shards(), begun
            while self._shard < len(shards):
                texts = self._source.texts(shards[self._shard])
                for document, text in islice(texts, self._text, None):
                    self._text += 1
                    self._seen += 1
                    if self._whole or (self._seen - 1) % self._lanes == self._lane:
                        kept = True
                        yield (self._pass, self._shard, document), text
                self._shard, self._text = self._shard + 1, 0
            if not kept:
                raise ValueError(
                    f"{self._source.name}: no text in part {self._lane + 1} of {self._lanes} (one for each worker of "
                    "each process). Give more text, or a smaller `dataloader_num_workers`."
                )
            self._pass, self._shard, self._seen, begun = self._pass + 1, 0, 0, False
            yield None
