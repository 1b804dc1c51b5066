"""The text of a run, read: what is trained on, and what is held out."""

import logging
from pathlib import Path

import numpy as np
from rich.cells import cell_len, set_cell_size

from .data import read_text
from .text.finding import find_sources


logger = logging.getLogger(__name__)

HELD_OUT_BY = {"train_file": "validation_file", "replay_file": "replay_validation_file"}
AT_MOST = 10  # one in so many rows of the general text is held out
LEAST_RUNS, MOST_IN_RUN = 10, 128  # of rows that follow each other, held out where the order is kept
EXAMPLE_WIDTH = 60  # columns of a terminal; a Korean syllable takes two


def read_texts(arguments, seed):
    """Read both texts, say what was read, and show one row of it.

    Args:
        arguments ([`AdaptArguments`]); seed (`int`): draws what is held out, where no text is given for that.

    Returns:
        two `datasets.Dataset` with the column `text`: to train on, and held out; where rows are packed, in the order
        of the text, with the number of its document in the column `document`

    Raises:
        ValueError: a text cannot be read, or is too short.
    """
    if arguments.dataset_config_name:
        _refuse_configuration_of_files(arguments)
    read = _read("train_file", arguments.train_file, arguments)
    train = read.dataset
    logger.info(f"An example of what is trained on: {_shortened(train[0]['text'])}")
    if arguments.validation_file:
        held_out = _read("validation_file", arguments.validation_file, arguments)
        _warn_of_shared_files("train_file", read.sources, "validation_file", held_out.sources)
        return train, held_out.dataset
    held_out_rows = max(1, round(len(train) * arguments.validation_split))
    if arguments.packs:
        _refuse_one_row("train_file", train)
        return part_in_order(train, held_out_rows, seed)
    return _parted("train_file", train, held_out_rows, seed)


def read_general(arguments, seed, held_out_rows):
    """Read the general text that is replayed, and that of it which is held out.

    Args:
        arguments ([`AdaptArguments`]): with `replay_file`; seed (`int`): as above.
        held_out_rows (`int`): rows of the domain's text that are held out: so many of this one too, where no text is
            given for that, and at most one of `AT_MOST`.

    Returns:
        two `datasets.Dataset`, as above

    Raises:
        ValueError: a text cannot be read, or is too short.
    """
    read = _read("replay_file", arguments.replay_file, arguments)
    for name in ("train_file", "validation_file"):
        sources = getattr(arguments, name)
        _warn_of_shared_files("replay_file", read.sources, name, (sources and find_sources(sources)) or [])
    if arguments.replay_validation_file:
        held_out = _read("replay_validation_file", arguments.replay_validation_file, arguments)
        _warn_of_shared_files("replay_file", read.sources, "replay_validation_file", held_out.sources)
        return read.dataset, held_out.dataset
    return _parted("replay_file", read.dataset, max(1, min(held_out_rows, len(read.dataset) // AT_MOST)), seed)


def part_in_order(text, held_out, seed):
    """Hold out runs of rows that follow each other, and leave both parts in their order.

    Args:
        text (`datasets.Dataset`): with the columns `text` and `document`, of two rows or more.
        held_out (`int`): rows; at least one is left to train on.
        seed (`int`): draws which.

    Returns:
        two `datasets.Dataset` with the same columns: to train on, and held out. Each run is a document of its own in
        `document`, and so is what is left on either side: text that is not side by side is not packed side by side.
    """
    held_out = min(held_out, len(text) - 1)
    length = min(MOST_IN_RUN, max(1, round(held_out / LEAST_RUNS)))
    runs = np.arange(len(text)) // length
    order = np.random.RandomState(seed).permutation(runs[-1] + 1)
    sizes = np.bincount(runs)[order].cumsum()
    chosen = order[: max(1, int(np.searchsorted(sizes, held_out, side="right")))]
    is_held_out = np.isin(runs, chosen)
    documents = np.concatenate([batch["document"] for batch in text.with_format("numpy").iter(10_000)])
    begins = np.ones(len(text), dtype=bool)
    begins[1:] = (documents[1:] != documents[:-1]) | (is_held_out[1:] != is_held_out[:-1])
    numbered = text.remove_columns("document").add_column("document", begins.cumsum())
    return numbered.select(np.flatnonzero(~is_held_out)), numbered.select(np.flatnonzero(is_held_out))


def _refuse_one_row(name, text):
    if len(text) < 2:
        raise ValueError(
            f"`{name}` holds one row of text: none is left to hold out. Give more, or `{HELD_OUT_BY[name]}`."
        )


def _parted(name, text, held_out, seed):
    _refuse_one_row(name, text)
    parts = text.train_test_split(test_size=min(held_out, len(text) - 1), seed=seed)
    return parts["train"], parts["test"]


def _read(name, sources, arguments):
    read = read_text(
        sources,
        text_column=arguments.replay_text_column if name.startswith("replay") else arguments.text_column,
        hub_split="validation" if name in HELD_OUT_BY.values() else "train",
        hub_config=arguments.dataset_config_name,
        num_proc=arguments.preprocessing_num_workers,
        documents=arguments.packs,
        document_column=arguments.document_column if arguments.packs else None,
    )
    dropped = f", {read.dropped_rows} empty rows dropped" if read.dropped_rows else ""
    logger.info(
        f"`{name}`: {len(read.dataset)} rows of column {read.column!r} in {len(read.sources)} file(s){dropped}."
    )
    for note in read.notes:
        logger.info(note)
    return read


def _refuse_configuration_of_files(arguments):
    sources = arguments.texts()
    if all(find_sources([source]) is not None for source in sources):
        raise ValueError(
            f"`dataset_config_name` is {arguments.dataset_config_name}, but no Hub dataset is read, only "
            f"{', '.join(sources)}. Leave it out."
        )


def _warn_of_shared_files(name, sources, other, others):
    """Text that is trained on says nothing as held-out text; and the domain's own is no general text."""
    paths = {Path(source).resolve() for source in sources if Path(source).is_file()}
    shared = [source for source in others if Path(source).resolve() in paths]
    if not shared:
        return
    if other == "train_file":
        effect = "what is replayed is the domain's text, which keeps nothing of what the pair knew"
    else:
        effect = "the figures of held-out text will be those of text that was trained on"
    logger.warning(f"`{other}` {shared[0]} is part of `{name}` too: {effect}. Leave it out of `{name}`.")


def _shortened(text):
    """Text in quotation marks, on one line of a terminal."""
    text = " ".join(text[: 10 * EXAMPLE_WIDTH].split())
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    if cell_len(text) > EXAMPLE_WIDTH:
        text = f"{set_cell_size(text, EXAMPLE_WIDTH - 1).rstrip()}…"
    return f'"{text}"'
