"""Rows of text written once, as an Arrow file in the cache of `datasets`."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
from datasets import Dataset


FOLDER = "electra_rtd_text"
ROWS, FACTS = "rows.arrow", "facts.json"
AT_ONCE = 1000  # rows
CHARACTERS_AT_ONCE = 4_000_000
TEXT = ("text", pa.string())
DOCUMENT = ("document", pa.int64())


def cached_rows(key, make, *, with_documents=False):
    """The rows under a key, made where they are not there yet.

    Args:
        key (`str`): a hash of all that decides which rows come out.
        make (callable): takes a function that writes one text and the number of its document; returns facts about
            them, a `dict` for JSON.
        with_documents (`bool`): keep these numbers.

    Returns:
        `Dataset` with the column `text`, and `document` where it is wanted; and the facts.
    """
    parent = Path(datasets.config.HF_DATASETS_CACHE) / FOLDER
    folder = parent / key
    if not (folder / FACTS).is_file():
        parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=parent))
        try:
            with _Writer(staged / ROWS, with_documents) as writer:
                facts = make(writer.write)
            (staged / FACTS).write_text(json.dumps(facts), encoding="utf-8")
            _move(staged, folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return Dataset.from_file(str(folder / ROWS)), json.loads((folder / FACTS).read_text(encoding="utf-8"))


def _move(staged, folder):
    try:
        os.rename(staged, folder)
    except OSError:
        if not (folder / FACTS).is_file():  # otherwise another process was first
            raise


class _Writer:
    def __init__(self, path, with_documents):
        self._schema = pa.schema([TEXT, DOCUMENT] if with_documents else [TEXT])
        self._stream = pa.ipc.new_stream(str(path), self._schema)
        self._begin()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self._flush()
        self._stream.close()

    def write(self, text, document=0):
        self._texts.append(text)
        self._documents.append(document)
        self._characters += len(text)
        if len(self._texts) >= AT_ONCE or self._characters >= CHARACTERS_AT_ONCE:
            self._flush()

    def _begin(self):
        self._texts, self._documents, self._characters = [], [], 0

    def _flush(self):
        try:
            column = pa.array(self._texts, type=pa.string())
        except UnicodeEncodeError:  # half of a character, as JSON may hold it ("\ud83d"): no encoding has that
            whole = [text.encode("utf-8", "replace").decode("utf-8") for text in self._texts]
            column = pa.array(whole, type=pa.string())
        columns = [column, pa.array(self._documents, type=pa.int64())][: len(self._schema)]
        self._stream.write_batch(pa.record_batch(columns, schema=self._schema))
        self._begin()
