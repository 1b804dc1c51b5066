"""Parts of labelled rows: sizes and shares, what never crosses them, what is told, and some of the training rows."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from electra_rtd.train_tools.evaluation.labels import Labels, split_labels, take_rows


def classes(rows=100, shares=(0.7, 0.2, 0.1), **fields):
    """Rows of three classes in these shares, all texts different."""
    targets = [next(c for c in range(3) if row % 10 < round(10 * sum(shares[: c + 1]))) for row in range(rows)]
    return Labels("single", [f"글 {row}" for row in range(rows)], targets, ("a", "b", "c"), **fields)


def parts(split):
    return split.train, split.validation, split.test


def test_the_parts_are_60_20_and_20_percent_with_the_classes_in_their_shares():
    split = split_labels(classes())
    assert [len(part) for part in parts(split)] == [60, 20, 20]
    assert [Counter(part.targets) for part in parts(split)] == [
        {0: 42, 1: 12, 2: 6},
        {0: 14, 1: 4, 2: 2},
        {0: 14, 1: 4, 2: 2},
    ]
    assert sorted(text for part in parts(split) for text in part.texts) == sorted(classes().texts)
    assert split.notes == ()


def test_a_seed_is_one_split_and_another_seed_another():
    first, again, other = (split_labels(classes(), seed=seed).test.texts for seed in (1, 1, 2))
    assert first == again != other


def test_groups_never_cross_parts():
    groups = [str(row // 7) if row % 7 else None for row in range(200)]
    split = split_labels(classes(200, groups=groups))
    seen = [set(part.groups) - {None} for part in parts(split)]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert sum(len(part) for part in parts(split)) == 200
    assert all(30 <= len(part) <= 50 for part in parts(split)[1:])


def test_the_same_text_is_never_in_two_parts_and_joins_groups():
    texts = [f"글 {row // 2}" + " " * (row % 2) for row in range(100)]
    split = split_labels(replace(classes(), texts=texts))
    seen = [{text.strip() for text in part.texts} for part in parts(split)]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert split.notes == ("50 rows repeat the text of another row: the same text is never in two parts.",)
    # Every second group of four ends with the text that the next one begins with.
    texts = [f"글 {row - (row % 8 == 4)}" for row in range(104)]
    split = split_labels(replace(classes(104), texts=texts, groups=[str(row // 4) for row in range(104)]))
    assert all(len(set(part.groups)) == len(part) / 4 for part in parts(split))
    assert all({int(group) ^ 1 for group in part.groups} == set(map(int, part.groups)) for part in parts(split))


def test_a_given_file_is_its_part_and_the_rest_is_divided():
    own = Labels("single", ["남 1", "남 2", "글 3"], [0, 1, 0], ("a", "d"))
    split = split_labels(classes(), test=own)
    assert [len(part) for part in parts(split)] == [80, 20, 3]
    assert {part.names for part in parts(split)} == {("a", "b", "c", "d")}
    assert (split.test.texts, split.test.targets) == (own.texts, [0, 3, 0])
    assert "In the test rows, but not in the training rows: d." in split.notes
    assert "In the training rows, but not in the test rows: b, c." in split.notes
    both = split_labels(classes(), test=own, validation=own)
    assert [len(part) for part in parts(both)] == [100, 3, 3]
    assert "1 of 3 test rows have a text that is among the training rows." in both.notes


def test_a_class_of_one_row_is_told_where_a_part_lacks_it():
    labels = classes()
    split = split_labels(replace(labels, targets=[*labels.targets[:-1], 3], names=("a", "b", "c", "rare")))
    holders = [
        name for name, part in zip(("training", "validation", "test"), parts(split), strict=True) if 3 in part.targets
    ]
    assert len(holders) == 1
    assert sum("rare" in note for note in split.notes) == (2 if holders == ["training"] else 1)


def test_a_scale_is_divided_by_its_ranges():
    labels = Labels("regression", [f"글 {row}" for row in range(200)], [row / 10 for row in range(200)])
    for part in parts(split_labels(labels)):
        assert abs(sum(part.targets) / len(part) - 9.95) < 0.5
        assert Counter(int(target // 5) for target in part.targets).keys() == {0, 1, 2, 3}


def test_a_rare_tag_is_in_every_part():
    targets = [[0, 1, 0] if row % 20 == 0 else [0, 0, 0] for row in range(200)]
    labels = Labels("tokens", [[f"글{row}", "은", "글"] for row in range(200)], targets, ("O", "B-X"))
    assert [sum(tags == [0, 1, 0] for tags in part.targets) for part in parts(split_labels(labels))] == [6, 2, 2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (classes(9), "9 rows with different texts cannot be divided.*at least 10.*`test_file`"),
        (replace(classes(50), texts=["같다"] * 50), "1 rows with different texts cannot be divided"),
        (classes(50, groups=[str(row % 4) for row in range(50)]), "4 groups of rows cannot be divided.*at least 5"),
    ],
)
def test_too_few_to_divide_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        split_labels(labels)


def test_groups_that_leave_uneven_parts_are_told():
    groups = [group for group, rows in zip("abcde", (60, 30, 5, 3, 2), strict=True) for _ in range(rows)]
    note, *lacking = split_labels(classes(groups=groups)).notes
    assert all(note.startswith("In the ") for note in lacking)
    assert note == "The groups leave uneven parts: 65 rows for training, 5 for validation, 30 for test."


def test_files_of_different_tasks_are_refused():
    with pytest.raises(ValueError, match="different tasks: single for training, regression beside it"):
        split_labels(classes(), test=Labels("regression", ["가"], [0.5]))


@pytest.mark.parametrize("seed", range(5))
def test_fewer_rows_of_a_seed_are_among_its_more_rows(seed):
    labels = classes(300)
    sizes = [set(take_rows(labels, rows, seed).texts) for rows in (3, 10, 50, 200, 300)]
    assert [len(texts) for texts in sizes] == [3, 10, 50, 200, 300]
    assert all(few <= more for few, more in pairwise(sizes))
    assert set(take_rows(labels, 3, seed).targets) == {0, 1, 2}
    assert Counter(take_rows(labels, 50, seed).targets) == {0: 35, 1: 10, 2: 5}


def test_another_seed_takes_other_rows_and_too_many_are_refused():
    assert take_rows(classes(), 10, 0).texts != take_rows(classes(), 10, 1).texts
    with pytest.raises(ValueError, match=r"`train_rows=101`: there are 100 rows for training"):
        take_rows(classes(), 101, 0)
