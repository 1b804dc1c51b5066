"""The text of a run, read: what is trained on, and what is held out."""

import logging
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from .data import read_text
from .text.finding import find_sources


logger = logging.getLogger(__name__)

EXAMPLE_WIDTH = 60  # columns of a terminal; a Korean syllable takes two


def read_texts(arguments, seed):
    """Read both texts, say what was read, and show one row of it.

    Args:
        arguments ([`AdaptArguments`]); seed (`int`): draws what is held out, where no text is given for that.

    Returns:
        two `datasets.Dataset` with the column `text`: to train on, and held out

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
        _warn_of_shared_files(read.sources, held_out.sources)
        return train, held_out.dataset
    if len(train) < 2:
        raise ValueError(
            "`train_file` holds one row of text: none is left to hold out. Give more, or `validation_file`."
        )
    held_out = min(max(1, round(len(train) * arguments.validation_split)), len(train) - 1)
    parts = train.train_test_split(test_size=held_out, seed=seed)
    return parts["train"], parts["test"]


def _read(name, sources, arguments):
    read = read_text(
        sources,
        text_column=arguments.text_column,
        hub_split="train" if name == "train_file" else "validation",
        hub_config=arguments.dataset_config_name,
        num_proc=arguments.preprocessing_num_workers,
    )
    dropped = f", {read.dropped_rows} empty rows dropped" if read.dropped_rows else ""
    logger.info(
        f"`{name}`: {len(read.dataset)} rows of column {read.column!r} in {len(read.sources)} file(s){dropped}."
    )
    for note in read.notes:
        logger.info(note)
    return read


def _refuse_configuration_of_files(arguments):
    sources = [*arguments.train_file, *(arguments.validation_file or [])]
    if all(find_sources([source]) is not None for source in sources):
        raise ValueError(
            f"`dataset_config_name` is {arguments.dataset_config_name}, but no Hub dataset is read, only "
            f"{', '.join(sources)}. Leave it out."
        )


def _warn_of_shared_files(train, held_out):
    """Text that is trained on says nothing as held-out text."""
    paths = {Path(source).resolve() for source in train if Path(source).is_file()}
    shared = [source for source in held_out if Path(source).resolve() in paths]
    if shared:
        logger.warning(
            f"`validation_file` {shared[0]} is part of `train_file` too: the figures of held-out text will be "
            "those of text that was trained on. Leave it out of `train_file`."
        )


def _shortened(text):
    """Text in quotation marks, on one line of a terminal."""
    text = " ".join(text[: 10 * EXAMPLE_WIDTH].split())
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    if cell_len(text) > EXAMPLE_WIDTH:
        text = f"{set_cell_size(text, EXAMPLE_WIDTH - 1).rstrip()}…"
    return f'"{text}"'
