"""Which columns of a labelled file are texts, labels and groups, and what kind of task they make."""

import difflib
import math
import re
from dataclasses import dataclass


KINDS = ("single", "pair", "regression", "tokens")
# Names that tasks use: lower case, the surer ones first.
LABEL_NAMES = (
    *("label", "labels", "gold_label", "target", "class", "category", "is_duplicate", "score", "similarity"),
    *("rating", "stars", "sentiment", "intent", "topic", "y"),
)
TEXT_NAMES = ("text", "sentence", "document", "review", "content", "sen")
PAIR_NAMES = (
    *(("sentence1", "sentence2"), ("question1", "question2"), ("premise", "hypothesis"), ("text1", "text2")),
    *(("text_a", "text_b"), ("sentence_a", "sentence_b"), ("text", "text_pair"), ("question", "sentence")),
)
TOKEN_NAMES = ("tokens", "words")
TAG_NAMES = ("tags", "ner_tags", "labels")
INDEX_NAMES = ("", "unnamed: 0", "id", "idx", "index", "guid", "uid")  # "": the index that pandas writes
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
MANY = 20  # different whole numbers; more of them may be classes or a scale


@dataclass(frozen=True)
class Columns:
    """What was taken for what: `kind`, one of `KINDS`; names of the columns; what a user should know, in sentences."""

    kind: str
    texts: tuple
    label: str
    group: str | None = None
    notes: tuple = ()


def choose_columns(records, *, task=None, text_columns=None, label_column=None, group_column=None):
    """Choose the columns, and the kind of task.

    Args:
        records ([`Records`])
        task (`str`, *optional*): one of `KINDS`.
        text_columns (`list[str]`, *optional*): one or two. label_column, group_column (`str`, *optional*).

    Returns:
        [`Columns`]

    Raises:
        ValueError: a column is not there, or not clear; it names those that are there, and the option.
    """
    if task not in (None, *KINDS):
        raise ValueError(f"`task={task}`: the kinds of task are {', '.join(KINDS)}.")
    text_columns = [text_columns] if isinstance(text_columns, str) else list(text_columns or ())
    if len(text_columns) > 2:
        raise ValueError(f"`text_columns` has {len(text_columns)} names. Give one, or two for pairs.")
    for name in (*text_columns, label_column, group_column):
        if name is not None:
            check_column(records, name)
    tokens = _token_columns(records, task, text_columns, label_column, group_column)
    if tokens is not None:
        return tokens
    kinds = {name: _holds(records, name) for name in records.columns}
    label = label_column or _find_label(records, kinds, {*text_columns, group_column})
    free = [name for name in records.columns if name not in (label, group_column) and kinds[name] == "text"]
    notes: tuple = ()
    if not text_columns:
        text_columns, notes = _find_texts(records, task, free)
    if label in text_columns:
        raise ValueError(f"{records.name}: the column {label!r} cannot be both text and label.")
    for name in (*text_columns, label):
        check_column(records, name)
    if task == "pair" and len(text_columns) != 2:
        raise ValueError(
            f"{records.name}: `task=pair` needs two columns of text, but found was {text_columns[0]!r}. "
            f"{_shown(records)} Give `text_columns` with two names."
        )
    if task == "single" and len(text_columns) != 1:
        raise ValueError(
            f"{records.name}: `task=single` needs one column of text, not {' and '.join(map(repr, text_columns))}. "
            "Give `text_columns` with one name."
        )
    kind = task or _kind_by_labels(records, label, len(text_columns))
    return Columns(kind, tuple(text_columns), label, group_column, notes)


def check_column(records, name):
    """Refuse a column that is not there, or there more than once. Raises: ValueError."""
    if name not in records.columns:
        near = difflib.get_close_matches(name, records.columns, n=1)
        meant = f" Do you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{records.name}: there is no column {name!r}. {_shown(records)}{meant}")
    if records.columns.count(name) > 1:
        raise ValueError(
            f"{records.name}: the header has {name!r} {records.columns.count(name)} times. Rename the others."
        )


def is_missing(value):
    """Whether a cell holds nothing: null, an empty text or list, or NaN."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value == [] or (isinstance(value, float) and math.isnan(value))


def is_number(value):
    """Whether a value is a number, or a text that is one."""
    if isinstance(value, str):
        return NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _holds(records, name):
    """What a column holds: `"text"`, `"numbers"`, `"lists"` or `"nothing"`."""
    values = [row[name] for _, row in records.rows if not is_missing(row[name])]
    if not values:
        return "nothing"
    if any(isinstance(value, (list, dict)) for value in values):
        return "lists"
    return "numbers" if all(is_number(value) or isinstance(value, bool) for value in values) else "text"


def _token_columns(records, task, text_columns, label_column, group_column):
    """The columns of token classification; `None` where the task is another one."""
    if task not in (None, "tokens"):
        return None
    lists = [name for name in records.columns if _holds(records, name) == "lists"]
    tokens = text_columns or [name for name in TOKEN_NAMES if name in lists][:1]
    tags = label_column or next((name for name in TAG_NAMES if name in lists and name not in tokens), None)
    if len(tokens) == 1 and tags is not None and tokens[0] in lists and tags in lists:
        return Columns("tokens", tuple(tokens), tags, group_column)
    if task == "tokens":
        raise ValueError(
            f"{records.name}: `task=tokens` needs a column of lists of words (`tokens`) and one of lists of tags "
            f'(`tags`), as in {{"tokens": ["Seoul", "is"], "tags": ["B-LOC", "O"]}}. {_shown(records)} Give '
            "`text_columns` and `label_column` if they are called otherwise."
        )
    return None


def _find_label(records, kinds, taken):
    here = [name for name in records.columns if name not in taken]
    known = [name for known in LABEL_NAMES for name in here if name.lower() == known]
    known = [name for name in known if kinds[name] != "nothing"] or known
    if known and (len(known) == 1 or known[0].lower() == "label"):
        return known[0]
    numbers = [name for name in here if kinds[name] == "numbers" and name.lower() not in INDEX_NAMES]
    if not known and len(numbers) == 1:
        return numbers[0]
    could = known or numbers
    found = f"It could be {' or '.join(map(repr, could))}. " if could else ""
    raise ValueError(
        f"{records.name}: which column is the label is not clear. {found}{_shown(records)} Give `label_column`."
    )


def _find_texts(records, task, free):
    """The columns of the text, and notes."""
    lower = {name.lower(): name for name in free}
    if task != "single":
        for first, second in PAIR_NAMES:
            if first in lower and second in lower:
                return [lower[first], lower[second]], ()
    free = [name for name in free if name.lower() not in INDEX_NAMES]
    if len(free) == 2 and task == "pair":
        return free, ()
    for name in TEXT_NAMES:
        if name in lower and task != "pair":
            others = [other for other in free if other != lower[name]]
            note = (
                f"{records.name}: the text is the column {lower[name]!r}; {', '.join(map(repr, others))} also "
                f"{'holds' if len(others) == 1 else 'hold'} text. For pairs, give `text_columns` with two names."
            )
            return [lower[name]], (note,) if others else ()
    if len(free) == 1 or (len(free) == 2 and task != "single"):
        return free, ()
    found = f"{len(free)} columns hold text: {', '.join(map(repr, free))}. " if free else "No column holds text. "
    raise ValueError(
        f"{records.name}: which column is the text is not clear. {found}{_shown(records)} Give `text_columns`: one "
        "name, or two for pairs."
    )


def _kind_by_labels(records, label, texts):
    """The kind where nobody said it: numbers with a fraction are a scale, a few whole numbers are classes."""
    classes = "single" if texts == 1 else "pair"
    values = [row[label] for _, row in records.rows if not is_missing(row[label])]
    if not all(is_number(value) for value in values):
        return classes
    numbers = {float(value) for value in values}
    if not all(number.is_integer() for number in numbers if math.isfinite(number)):
        return "regression"
    if len(numbers) > MANY:
        raise ValueError(
            f"{records.name}: the label {label!r} has {len(numbers)} different whole numbers. Are they classes or a "
            f"scale? Give `task={classes}` or `task=regression`."
        )
    return classes


def _shown(records):
    return f"The columns are: {', '.join(map(repr, records.columns))}."
