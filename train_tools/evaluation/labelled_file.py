"""A labelled file as rows of one task."""

import math
from collections import defaultdict
from dataclasses import dataclass, replace

from ..text.records import read_records
from .label_columns import choose_columns, is_missing, is_number


@dataclass(frozen=True)
class Labels:
    """Rows of one task.

    Args:
        kind (`str`): one of `KINDS`.
        texts (`list`): `str`, pairs of them (`tuple[str, str]`), or, for `"tokens"`, `list[str]`, of each row.
        targets (`list`): the class (`int`, a place in `names`), number (`float`) or tags (`list[int]`) of each row.
        names (`tuple[str, ...]`): of the classes or tags, in order; none for `"regression"`.
        groups (`list`, *optional*): the group of each row; rows of one group belong together. `None`: in none.
        columns (`dict`): what was taken for what: `text` (a list of names), `label`, `group`.
        notes (`tuple[str, ...]`): what a user should know about how the file was read, a sentence each.
    """

    kind: str
    texts: list
    targets: list
    names: tuple = ()
    groups: list | None = None
    columns: dict | None = None
    notes: tuple = ()

    def __len__(self):
        return len(self.texts)

    @property
    def pairs(self):
        """Whether a text is two texts; a scale has either."""
        return bool(self.texts) and isinstance(self.texts[0], tuple)

    def take(self, indices):
        """The rows of these numbers, in this order: [`Labels`]."""
        groups = None if self.groups is None else [self.groups[index] for index in indices]
        texts = [self.texts[index] for index in indices]
        return replace(self, texts=texts, targets=[self.targets[index] for index in indices], groups=groups)


def read_labels(path, *, task=None, text_columns=None, label_column=None, group_column=None, names=None):
    """Read a labelled file.

    Which columns are the text, or two texts, and the label is found by their names and by what they hold; where that
    is not clear, an error names what there is. Two texts make a pair; labels with fractions make a regression; lists
    of words (`tokens`) with lists of tags (`tags`: `O`, `B-PER`, `I-PER`, ...) make token classification. Rows without
    a text or a label are left out, which a note tells.

    Args:
        path (`str` or path): `.csv .tsv .json .jsonl .parquet`, each also `.gz`.
        task (`str`, *optional*): one of `KINDS`, where it should not be found by the columns.
        text_columns (`str` or `list[str]`, *optional*): the column of the text; two names for pairs.
        label_column (`str`, *optional*): the column of the label.
        group_column (`str`, *optional*): rows with the same value here (a page, a patient) stay in one part of a
            split.
        names (sequence of `str`, *optional*): the classes or tags in their order. Labels that are numbers count from
            0 in it, unless these names are numbers themselves. By default what the file has, sorted.

    Returns:
        [`Labels`]

    Raises:
        ValueError: the file cannot be read; a column is missing or not clear; labels do not fit the task, or are all
            alike. The message names the option.
    """
    records = read_records(path)
    columns = choose_columns(
        records, task=task, text_columns=text_columns, label_column=label_column, group_column=group_column
    )
    rows = [(number, row) for number, row in records.rows if not _lacks(row, columns)]
    notes = list(columns.notes)
    if not rows:
        raise ValueError(f"{records.name}: no row has both a text and a label. {_shown(columns)}")
    if len(rows) < len(records.rows):
        notes.append(f"{records.name}: {len(records.rows) - len(rows):,} rows without text or label are left out.")

    def where(number):
        return f"{records.name}, {records.unit} {number}"

    texts = [_text(where(number), row, columns) for number, row in rows]
    labels = [row[columns.label] for _, row in rows]
    if columns.kind == "regression":
        targets, names = [_number(where(number), row[columns.label]) for number, row in rows], ()
    elif columns.kind == "tokens":
        for (number, _), words, tags in zip(rows, texts, labels, strict=True):
            _check_tags(where(number), words, tags)
        targets, names = _coded_tags(records.name, labels, names)
    else:
        targets, names = _coded(records.name, labels, names)
        if task is None and len(names) > len(rows) / 2:
            raise ValueError(
                f"{records.name}: the label {columns.label!r} has {len(names)} classes in {len(rows)} rows. Is it the "
                f"right column? Give `label_column`, or `task={columns.kind}` if it is."
            )
    _check_variety(records.name, columns, targets)
    notes += _conflicts(records.name, texts, targets)
    groups = None
    if columns.group is not None:
        groups = [None if is_missing(row[columns.group]) else str(row[columns.group]) for _, row in rows]
    shown = {"text": list(columns.texts), "label": columns.label, "group": columns.group}
    return Labels(columns.kind, texts, targets, tuple(names), groups, shown, tuple(notes))


def sorted_names(names):
    """Names of classes in order: numbers by size, else by the alphabet. Args: names (set of `str`)."""
    if all(map(is_number, names)):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


def text_key(text):
    """What makes two texts the same: all but the white space. Args: text: as in [`Labels`]."""
    return " ".join(text.split()) if isinstance(text, str) else tuple(" ".join(part.split()) for part in text)


def few(names):
    """The first of some names, for a message. Args: names (`list` or `tuple` of `str`)."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _lacks(row, columns):
    return any(is_missing(row[name]) for name in (*columns.texts, columns.label))


def _text(where, row, columns):
    values = [row[name] for name in columns.texts]
    if columns.kind == "tokens":
        if not isinstance(values[0], list) or not all(isinstance(word, str) and word.strip() for word in values[0]):
            raise ValueError(f"{where}: {columns.texts[0]!r} must be a list of words, none of them empty.")
        return values[0]
    for name, value in zip(columns.texts, values, strict=True):
        if not isinstance(value, str):
            raise ValueError(f"{where}: {name!r} holds {value!r:.40}, not text.")
    return values[0] if len(values) == 1 else tuple(values)


def _number(where, value):
    number = float(value) if is_number(value) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: the label {value!r:.40} is no number, as `task=regression` needs.")
    return number


def _label(value):
    """A label as text: `3`, `3.0` and `"3.0"` are one, as files of other kinds write it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    whole, point, fraction = text.partition(".")
    return whole if point and not fraction.strip("0") and is_number(whole) else text


def _coded(file, labels, names):
    """Places of the labels in the names, and the names."""
    for label in labels:
        if isinstance(label, (list, dict)):
            raise ValueError(f"{file}: a label is a list or an object ({label!r:.40}). One label a row is needed.")
    labels = [_label(label) for label in labels]
    if names is None:
        names = sorted_names(set(labels))
    else:
        names = tuple(map(str, names))
        if len(set(names)) < len(names):
            raise ValueError(f"`names` has a name twice: {', '.join(names)}.")
        if set(labels) - set(names) and all(map(is_number, labels)) and not any(map(is_number, names)):
            labels = [_name_at(file, label, names) for label in labels]
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise ValueError(f"{file}: labels that `names` does not have: {', '.join(unknown[:5])}. It has: {few(names)}.")
    place = {name: number for number, name in enumerate(names)}
    return [place[label] for label in labels], names


def _name_at(file, label, names):
    if not label.isdigit() or int(label) >= len(names):
        raise ValueError(f"{file}: the label {label} is no place in `names`, which has {len(names)}, from 0 on.")
    return names[int(label)]


def _check_tags(where, words, tags):
    if not isinstance(tags, list) or len(tags) != len(words):
        count = f"{len(tags)} tags" if isinstance(tags, list) else "no list of tags"
        raise ValueError(f"{where}: {len(words)} words, but {count}. Every word needs one tag.")


def _coded_tags(file, rows, names):
    flat, names = _coded(file, [tag for tags in rows for tag in tags], names)
    wrong = [name for name in names if name != "O" and not (name[:2] in ("B-", "I-", "E-", "S-") and len(name) > 2)]
    if wrong:
        raise ValueError(
            f"{file}: tags must be O, or B-, I-, E- or S- and a type (B-PER), but there are {few(wrong)}. If they "
            "are numbers, give the names of the tags in their order: `names`."
        )
    tags = iter(flat)
    return [[next(tags) for _ in row] for row in rows], names


def _check_variety(file, columns, targets):
    values = {tag for tags in targets for tag in tags} if columns.kind == "tokens" else set(targets)
    if len(values) == 1:
        raise ValueError(
            f"{file}: every row has the same label ({columns.label!r}): there is nothing to tell apart. Is it the "
            "right column (`label_column`)?"
        )


def _conflicts(file, texts, targets):
    """A note for the texts that stand there with different labels: a network cannot learn both."""
    found = defaultdict(set)
    for text, target in zip(texts, targets, strict=True):
        found[text_key(text)].add(str(target))
    count = sum(len(labels) > 1 for labels in found.values())
    what = "text is" if count == 1 else "texts are"
    return [f"{file}: {count:,} {what} there more than once, with different labels."] if count else []


def _shown(columns):
    return f"Text: {', '.join(map(repr, columns.texts))}, label: {columns.label!r}."
