"""Labelled rows and their parts: training, validation, test, and some of the training rows."""

import random
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from .extra import import_extra
from .label_columns import KINDS
from .labelled_file import Labels, few, read_labels, sorted_names, text_key


__all__ = ["KINDS", "Labels", "Split", "read_labels", "split_labels", "take_rows", "unite_names"]

FOLDS = 5  # one for test, one for validation, three for training
BINS = 10  # of a scale, each a stratum
LEAST_ROWS = 2 * FOLDS
USUAL_SHARE = (0.1, 0.3)  # of a held-out part; where groups make it smaller or larger, a note says so


@dataclass(frozen=True)
class Split:
    """Three [`Labels`] with the same `names`, and what a user should know about them (`notes`, a sentence each)."""

    train: Labels
    validation: Labels
    test: Labels
    notes: tuple = ()


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
    repeated = len(labels) - len({text_key(text) for text in labels.texts})
    folds = [] if len(given) == 2 else _folds(labels, units, seed)
    held_out = iter(folds)
    if test is None:
        test = labels.take(next(held_out))
    if validation is None:
        validation = labels.take(next(held_out))
    labels = labels.take(sorted(index for fold in held_out for index in fold)) if folds else labels
    if folds and repeated:
        notes.append(f"{repeated:,} rows repeat the text of another row: the same text is never in two parts.")
    split = Split(labels, validation, test)
    return replace(split, notes=(*notes, *_shared_between(split), *_uneven(split, bool(folds)), *_lacking(split)))


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
    names = sorted_names({name for part in parts for name in part.names})
    place = {name: number for number, name in enumerate(names)}
    united = []
    for part in parts:
        to = [place[name] for name in part.names]
        targets = [[to[tag] for tag in tags] for tags in part.targets] if part.kind == "tokens" else None
        united.append(replace(part, names=names, targets=targets or [to[target] for target in part.targets]))
    return united


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
        for key in (("text", text_key(text)), ("group", group)):
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
    what, least = ("groups of rows", FOLDS) if labels.groups else ("rows with different texts", LEAST_ROWS)
    if len(distinct) < least:
        raise _cannot_divide(f"{len(distinct)} {what}", f"at least {least} are needed")
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
            parts = [part.tolist() for _, part in by_groups.split(units, strata, units)]
            if not all(parts):
                raise _cannot_divide(f"{len(distinct)} groups of rows", "their sizes or classes are too different")
            return sorted(parts, key=lambda part: abs(len(part) - len(labels) / FOLDS))  # training takes the odd ones
        by_texts = selection.StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        parts = [part for _, part in by_texts.split(distinct, [strata[members[unit][0]] for unit in distinct])]
    return [sorted(index for place in part for index in members[distinct[place]]) for part in parts]


def _cannot_divide(what, reason):
    return ValueError(
        f"{what} cannot be divided into training, validation and test: {reason}. Give more rows, or files of your "
        "own: `validation_file` and `test_file`."
    )


def _shared_between(split):
    """Notes for texts and groups of the training rows that are in the other parts too, as in files that were given."""
    texts, groups = {text_key(text) for text in split.train.texts}, set(split.train.groups or ()) - {None}
    notes = []
    for name, part in (("validation", split.validation), ("test", split.test)):
        same = sum(text_key(text) in texts for text in part.texts)
        if same:
            notes.append(f"{same:,} of {len(part):,} {name} rows have a text that is among the training rows.")
        shared = groups & set(part.groups or ())
        if shared:
            notes.append(f"{len(shared):,} groups are among the training rows and the {name} rows.")
    return notes


def _uneven(split, divided):
    """A note where the groups of a file left no way to parts of the usual size."""
    sizes = [len(part) for part in (split.train, split.validation, split.test)]
    smallest, largest = (share * sum(sizes) for share in USUAL_SHARE)
    if not divided or split.train.groups is None or smallest <= min(sizes[1:]) <= max(sizes[1:]) <= largest:
        return []
    return [
        "The groups leave uneven parts: {:,} rows for training, {:,} for validation, {:,} for test.".format(*sizes)
    ]


def _lacking(split):
    """Notes for classes that a part lacks."""
    notes, present = [], {}
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
                shown = few([split.train.names[number] for number in sorted(absent)])
                notes.append(f"In the {where}: {shown}.")
    return notes


def _task(labels):
    return f"{labels.kind} (two texts)" if labels.pairs and labels.kind != "pair" else labels.kind
