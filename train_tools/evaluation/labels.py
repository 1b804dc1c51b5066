"""A labelled file as rows of one task, and its parts: training, validation, test."""

import math
import random
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from ..text.records import read_records
from .extra import import_extra
from .label_columns import KINDS, choose_columns, is_missing, is_number


__all__ = ["KINDS", "Labels", "Split", "read_labels", "split_labels", "take_rows"]

FOLDS = 5  # one for test, one for validation, three for training
BINS = 10  # of a scale, each a stratum
LEAST_ROWS = 2 * FOLDS


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


@dataclass(frozen=True)
class Split:
    """Three [`Labels`] with the same `names`, and what a user should know about them (`notes`, a sentence each)."""

    train: Labels
    validation: Labels
    test: Labels
    notes: tuple = ()


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


def split_labels(labels, *, validation=None, test=None, seed=0):
    """Divide rows into training, validation and test: 60, 20 and 20 % of them.

    Each part has the classes in their shares (the ranges of a scale, the rarest tag of a sentence). Rows of one group
    never stand in two parts, nor do rows of the same text. Where `validation` or `test` is given, the other one is
    20 % of `labels`; where both are, all of `labels` is for training.

    Args:
        labels ([`Labels`]); validation, test ([`Labels`], *optional*): rows of other files; seed (`int`).

    Returns:
        [`Split`]: the names of all files together in each part.

    Raises:
        ValueError: too few rows or groups, or files of different tasks.
    """
    given = [part for part in (validation, test) if part is not None]
    for part in given:
        if (part.kind, part.pairs) != (labels.kind, labels.pairs):
            raise ValueError(
                f"The files are of different tasks: {_task(labels)} for training, {_task(part)} beside it. Give "
                "`task`, `text_columns` and `label_column`."
            )
    labels, *given = unite_names([labels, *given])
    rest = iter(given)
    validation = None if validation is None else next(rest)
    test = None if test is None else next(rest)
    units = _units(labels)
    notes = list(dict.fromkeys(note for part in (labels, *given) for note in part.notes))
    repeated = len(labels) - len({_key(text) for text in labels.texts})
    folds = [] if len(given) == 2 else _folds(labels, units, seed)
    held_out = iter(folds)
    if test is None:
        test = labels.take(next(held_out))
    if validation is None:
        validation = labels.take(next(held_out))
    labels = labels.take(sorted(index for fold in held_out for index in fold)) if folds else labels
    if folds and repeated:
        notes.append(f"{repeated:,} rows repeat the text of another row: the same text is never in two parts.")
    split = Split(labels, validation, test, tuple(notes))
    return replace(split, notes=(*notes, *_shared_between(split), *_lacking(split)))


def take_rows(labels, rows, seed):
    """Some rows, the classes in their shares, and every class once where there are as many rows as classes.

    Args:
        labels ([`Labels`]); rows (`int`): how many; seed (`int`): the rows of a seed are among the more rows of it.

    Returns:
        [`Labels`]

    Raises:
        ValueError: there are not as many.
    """
    if not 1 <= rows <= len(labels):
        raise ValueError(f"`train_rows={rows}`: there are {len(labels):,} rows for training. Give 1 to {len(labels)}.")
    strata = defaultdict(list)
    for index, stratum in enumerate(_strata(labels)):
        strata[stratum].append(index)
    draw = random.Random(seed)
    places = []
    for stratum in sorted(strata, key=lambda stratum: (-len(strata[stratum]), stratum)):
        members = strata[stratum]
        draw.shuffle(members)
        # The first of each stratum stands before all others; then all strata run out at the same time.
        places += [((rank + 0.5) / len(members) if rank else 0, index) for rank, index in enumerate(members)]
    chosen = sorted(places, key=lambda place: place[0])[:rows]  # stable: of the first ones, the large strata first
    return labels.take(sorted(index for _, index in chosen))


def unite_names(parts):
    """The parts with the same names in each: all names of all parts. Args, returns: `list[Labels]`."""
    if all(part.names == parts[0].names for part in parts):
        return list(parts)
    names = _sorted_names({name for part in parts for name in part.names})
    place = {name: number for number, name in enumerate(names)}
    united = []
    for part in parts:
        to = [place[name] for name in part.names]
        targets = [[to[tag] for tag in tags] for tags in part.targets] if part.kind == "tokens" else None
        united.append(replace(part, names=names, targets=targets or [to[target] for target in part.targets]))
    return united


def _lacks(row, columns):
    return any(is_missing(row[name]) for name in (*columns.texts, columns.label))


def _text(where, row, columns):
    values = [row[name] for name in columns.texts]
    if columns.kind == "tokens":
        if not isinstance(values[0], list) or not all(isinstance(word, str) and word for word in values[0]):
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


def _sorted_names(names):
    """Numbers by size, else by the alphabet."""
    if all(map(is_number, names)):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


def _coded(file, labels, names):
    """Places of the labels in the names, and the names."""
    for label in labels:
        if isinstance(label, (list, dict)):
            raise ValueError(f"{file}: a label is a list or an object ({label!r:.40}). One label a row is needed.")
    labels = [_label(label) for label in labels]
    if names is None:
        names = _sorted_names(set(labels))
    else:
        names = tuple(map(str, names))
        if len(set(names)) < len(names):
            raise ValueError(f"`names` has a name twice: {', '.join(names)}.")
        if set(labels) - set(names) and all(map(is_number, labels)) and not any(map(is_number, names)):
            labels = [_name_at(file, label, names) for label in labels]
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise ValueError(
            f"{file}: labels that `names` does not have: {', '.join(unknown[:5])}. It has: {_few(names)}."
        )
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
            f"{file}: tags must be O, or B-, I-, E- or S- and a type (B-PER), but there are {_few(wrong)}. If they "
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
        found[_key(text)].add(str(target))
    count = sum(len(labels) > 1 for labels in found.values())
    return (
        [f"{file}: {count:,} {'text is' if count == 1 else 'texts are'} there more than once, with different labels."]
        if count
        else []
    )


def _key(text):
    """What makes two texts the same: all but the white space."""
    return " ".join(text.split()) if isinstance(text, str) else tuple(" ".join(part.split()) for part in text)


def _units(labels):
    """Rows that must stay together: a number for each row, the same in all rows of one group or of one text."""
    parent = list(range(len(labels)))

    def root(index):
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict = {}
    groups = labels.groups or [None] * len(labels)
    for index, (text, group) in enumerate(zip(labels.texts, groups, strict=True)):
        for key in (("text", _key(text)), ("group", group)):
            if key != ("group", None):
                parent[root(index)] = root(first.setdefault(key, index))
    return [root(index) for index in range(len(labels))]


def _strata(labels):
    """What each row is drawn by: its class, the range of a scale it is in, or the rarest tag of its sentence."""
    if labels.kind == "regression":
        order = sorted(range(len(labels)), key=lambda index: labels.targets[index])
        rank = {index: place for place, index in enumerate(order)}
        bins = max(1, min(BINS, len(labels) // LEAST_ROWS))
        return [rank[index] * bins // len(labels) for index in range(len(labels))]
    if labels.kind == "tokens":
        counts = Counter(tag for tags in labels.targets for tag in set(tags))
        return [min(tags, key=lambda tag: (counts[tag], tag)) for tags in labels.targets]
    return labels.targets


def _folds(labels, units, seed):
    """The rows' numbers in each of five parts."""
    selection = import_extra("sklearn.model_selection")
    distinct = sorted(set(units))
    if len(distinct) < LEAST_ROWS:
        what = "groups of rows" if labels.groups else "rows with different texts"
        raise ValueError(
            f"{len(distinct)} {what} cannot be divided into training, validation and test: at least {LEAST_ROWS} are "
            "needed. Give more rows, or files of your own: `validation_file` and `test_file`."
        )
    strata = _strata(labels)
    if max(Counter(strata).values()) < FOLDS:
        strata = [0] * len(labels)  # no class is in every part: drawn without regard to them
    # Without groups a unit is one text, seldom more: divided as one row each, which takes a hundredth of the time.
    members = defaultdict(list)
    for index, unit in enumerate(units):
        members[unit].append(index)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # `_lacking` tells what came of it
        if labels.groups:
            by_groups = selection.StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
            return [part.tolist() for _, part in by_groups.split(units, strata, units)]
        by_texts = selection.StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        parts = [part for _, part in by_texts.split(distinct, [strata[members[unit][0]] for unit in distinct])]
    return [sorted(index for place in part for index in members[distinct[place]]) for part in parts]


def _shared_between(split):
    """Notes for texts and groups of the training rows that are in the other parts too, as in files that were given."""
    texts, groups = {_key(text) for text in split.train.texts}, set(split.train.groups or ()) - {None}
    notes = []
    for name, part in (("validation", split.validation), ("test", split.test)):
        same = sum(_key(text) in texts for text in part.texts)
        if same:
            notes.append(f"{same:,} of {len(part):,} {name} rows have a text that is among the training rows.")
        shared = groups & set(part.groups or ())
        if shared:
            notes.append(f"{len(shared):,} groups are among the training rows and the {name} rows.")
    return notes


def _lacking(split):
    """Notes for classes that a part lacks, and for parts far from their size."""
    notes = []
    present = {}
    for name, part in (("training", split.train), ("validation", split.validation), ("test", split.test)):
        if split.train.kind == "tokens":
            present[name] = {tag for tags in part.targets for tag in tags}
        else:
            present[name] = set(part.targets)
    for name in () if split.train.kind == "regression" else ("validation", "test"):
        for absent, where in (
            (present[name] - present["training"], f"{name} rows, but not in the training rows"),
            (present["training"] - present[name], f"training rows, but not in the {name} rows"),
        ):
            if absent:
                shown = _few([split.train.names[number] for number in sorted(absent)])
                notes.append(f"In the {where}: {shown}.")
    return notes


def _task(labels):
    return f"{labels.kind} (two texts)" if labels.pairs and labels.kind != "pair" else labels.kind


def _few(names):
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shown(columns):
    return f"Text: {', '.join(map(repr, columns.texts))}, label: {columns.label!r}."
