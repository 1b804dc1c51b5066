"""Text in: files, folders, globs or a Hub dataset to one column of sentences, and sentences to token ids."""

import glob
import gzip
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Value, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from datasets.fingerprint import Hasher


# Ending -> builder of `datasets` and its options. Each also with `.gz` behind it.
# Tab-separated files hold quotation marks as text: that is what such corpora (NSMC, KorSTS) do.
# Only an empty cell is empty: the words NA, None and null are text.
EMPTY_CELLS = {"keep_default_na": False, "na_values": [""]}
FORMATS = {
    ".csv": ("csv", EMPTY_CELLS),
    ".tsv": ("csv", {"sep": "\t", "quoting": 3, **EMPTY_CELLS}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".parquet": ("parquet", {}),
    ".txt": ("text", {}),
}


@dataclass(frozen=True)
class TextData:
    """What [`read_text`] read.

    Args:
        dataset (`datasets.Dataset`): one column, `text`, without empty rows.
        sources (`list[str]`): the files, or the Hub dataset.
        column (`str`): the column that the text stood in.
        dropped_rows (`int`): rows left out because they were empty.
    """

    dataset: Dataset
    sources: list[str]
    column: str
    dropped_rows: int


def read_text(sources, *, text_column=None, hub_split="train", num_proc=None):
    """Read text through `datasets`.

    Args:
        sources (`str`, path, or a list of them): files (`.csv .tsv .json .jsonl .parquet .txt`, each also `.gz`),
            folders with all that is below them, globs, or one Hub dataset id.
        text_column (`str`, *optional*): the column with the text; by default the only string column.
        hub_split (`str`): the split of a Hub dataset that is read.
        num_proc (`int`, *optional*): processes.

    Returns:
        [`TextData`]

    Raises:
        ValueError: nothing is there, a file is empty, not UTF-8 or of an unknown kind, or the column is not clear.
    """
    sources = [sources] if isinstance(sources, (str, Path)) else list(sources)
    files = _find_files(sources)
    if files is None:
        tables = [_load_hub_dataset(str(sources[0]), hub_split)]
        names = [str(sources[0])]
    else:
        _refuse_empty(files)
        names = [str(file) for file in files]
        tables = [_load_files(group) for group in _by_format(files)]
    columns = [_choose_column(table, text_column, names) for table in tables]
    texts = [_only_text(table, column) for table, column in zip(tables, columns, strict=True)]
    dataset = concatenate_datasets(texts)
    try:
        kept = dataset.filter(_is_not_empty, batched=True, input_columns="text", num_proc=num_proc, desc="Empty rows")
    except UnicodeDecodeError as error:  # JSON is decoded only now
        raise ValueError(_explain_decoding(error, files)) from error
    if len(kept) == 0:
        raise ValueError(
            f"{_shown(names)}: no row of the column {columns[0]!r} holds text ({len(dataset)} rows read). Give files "
            "with one sentence or paragraph a row."
        )
    return TextData(kept, names, columns[0], len(dataset) - len(kept))


def tokenize_text(dataset, tokenizer, *, max_length, num_proc=None):
    """Tokenize a column `text`; one longer than `max_length` tokens becomes several sequences, so that none is lost.

    The result is cached by `datasets` under what it depends on: the text, the tokenizer and `max_length`.

    Args:
        dataset (`datasets.Dataset`): with the column `text`.
        tokenizer (`PreTrainedTokenizerBase`): a fast one.
        max_length (`int`): tokens in a sequence, special tokens included.
        num_proc (`int`, *optional*): processes.

    Returns:
        `datasets.Dataset`: with the column `input_ids` alone; a padding collator makes the attention mask.
    """

    # The tokenizers library itself, on all cores: 1.4 times as fast as `tokenizer(texts)`, whose results are the same
    # ids with much beside them.
    backend = _bare_backend(tokenizer)
    backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
    backend.encode_special_tokens = tokenizer.split_special_tokens

    def tokenize(texts):
        encodings = backend.encode_batch_fast(texts)
        return {"input_ids": [part.ids for whole in encodings for part in (whole, *whole.overflowing)]}

    # By hand: `datasets` would hash the tokenizer object, whose truncation settings change with its first use.
    how = [max_length, tokenizer.truncation_side, tokenizer.split_special_tokens]
    fingerprint = Hasher.hash([dataset._fingerprint, tokenizer_identity(tokenizer), *how])
    return dataset.map(
        tokenize,
        batched=True,
        input_columns="text",
        remove_columns=dataset.column_names,
        num_proc=num_proc,
        new_fingerprint=fingerprint,
        desc="Tokenizing",
    )


def tokenizer_identity(tokenizer):
    """A hash of all that decides which ids a fast tokenizer gives to a short text, and of nothing else.

    Args:
        tokenizer (`PreTrainedTokenizerFast`).

    Returns:
        `str`
    """
    return Hasher.hash(_bare_backend(tokenizer).to_str())


def _bare_backend(tokenizer):
    """A copy of a fast tokenizer's `tokenizers.Tokenizer`, without truncation and padding."""
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _is_not_empty(texts):
    return [text is not None and text.strip() != "" for text in texts]


def _find_files(sources):
    """The files that the sources stand for, sorted within each; `None` where the one source is a Hub dataset id."""
    files = []
    for source in map(str, sources):
        path = Path(source).expanduser()
        if path.is_file():
            files.append(path)
        elif path.is_dir():
            files += _inside(path)
        elif any(character in source for character in "*?["):
            files += _matching(source)
        elif len(sources) == 1 and _may_be_hub_dataset(source):
            return None
        else:
            raise ValueError(f"No such file or folder: {source}. Give a file ({_endings()}), a folder or a glob.")
    return list(dict.fromkeys(files))


def _inside(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _format(path) is not None)
    if not files:
        raise ValueError(f"The folder {folder} holds no text file. Read are {_endings()}, each also with .gz.")
    return files


def _matching(pattern):
    files = sorted(
        Path(name) for name in glob.glob(str(Path(pattern).expanduser()), recursive=True) if Path(name).is_file()
    )
    if not files:
        raise ValueError(f"No file matches {pattern}. Check the pattern (`ls {pattern}`).")
    return files


def _format(path):
    """The entry of `FORMATS` for a file name, or `None`."""
    return FORMATS.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def _may_be_hub_dataset(source):
    parts = source.split("/")
    return _format(Path(source)) is None and len(parts) <= 2 and all(parts) and not source.startswith((".", "~"))


def _by_format(files):
    """Files in groups of one format, since one call of `load_dataset` reads one."""
    groups = defaultdict(list)
    for file in files:
        found = _format(file)
        if found is None:
            raise ValueError(f"{file} is of an unknown kind. Read are {_endings()}, each also with .gz.")
        groups[found[0], found[1].get("sep")].append(file)
    return groups.values()


def _load_files(files):
    builder, options = _format(files[0])
    try:
        data_files = [str(file) for file in files]
        return load_dataset(builder, data_files=data_files, split="train", trust_remote_code=False, **options)
    except DatasetGenerationError as error:
        raise ValueError(_explain(error, files)) from error
    except ValueError as error:
        if "corresponds to no data" in str(error) or "pass `features`" in str(error):
            raise ValueError(f"{_shown(files)}: no rows. Give one sentence or paragraph a row.") from error
        raise ValueError(f"{_shown(files)} could not be read as {builder}: {error}") from error


def _load_hub_dataset(name, split):
    try:
        return load_dataset(name, split=split, trust_remote_code=False)
    except (DatasetNotFoundError, ConnectionError, ValueError) as error:
        raise ValueError(
            f"{name} is no file or folder here, and no dataset of that name with a split {split!r} could be read from "
            f"the Hub: {error} Check the path, or the dataset's name, its splits and your access to it."
        ) from error


def _explain(error, files):
    """A message that names the file and the mend, for what `datasets` reports as a failed generation."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    decoding = [cause for cause in causes if isinstance(cause, UnicodeDecodeError)]
    if decoding:
        return _explain_decoding(decoding[0], files)
    return f"{_shown(files)} could not be read as {_format(files[0])[0]}: {causes[-1]}"


def _explain_decoding(error, files):
    file = next((file for file in files if not _is_utf8(file)), files[0])
    return (
        f"{file} is not UTF-8: {error}. Convert it, for instance `iconv -f CP949 -t UTF-8 {file} > utf8{file.suffix}`."
    )


def _is_utf8(file):
    opened = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as stream:
            for _ in stream:
                pass
    except UnicodeDecodeError:
        return False
    return True


def _refuse_empty(files):
    for file in files:
        if file.stat().st_size == 0:
            raise ValueError(f"{file} is empty (0 bytes). Give files with one sentence or paragraph a row.")


def _choose_column(table, wanted, names):
    columns = table.column_names
    if wanted is not None:
        if wanted not in columns:
            raise ValueError(f"{_shown(names)}: there is no column {wanted!r}. The columns are: {', '.join(columns)}.")
        return wanted
    texts = [name for name, feature in table.features.items() if _is_string(feature)]
    if len(texts) == 1:
        return texts[0]
    if "text" in texts:
        return "text"
    if not texts:
        raise ValueError(f"{_shown(names)}: no column holds text. The columns are: {', '.join(columns)}.")
    raise ValueError(
        f"{_shown(names)}: {len(texts)} columns hold text: {', '.join(texts)}. Choose one: --text-column {texts[0]}."
    )


def _is_string(feature):
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _only_text(table, column):
    table = table.select_columns([column])
    table = table if column == "text" else table.rename_column(column, "text")
    # Some readers make `large_string`, which cannot be joined with the others' `string`.
    return table if table.features["text"].dtype == "string" else table.cast_column("text", Value("string"))


def _shown(names):
    return str(names[0]) if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _endings():
    return " ".join(FORMATS)
