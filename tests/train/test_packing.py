"""Packing against a second implementation that is as plain as can be, and against what its rows promise."""

import random

import pytest

from electra_rtd.train_tools.packing import ONE_SEGMENT, SHORT, RowPacker, pack_rows


CLS, SEP = 1, 2


def documents_of(seed, documents=30):
    """Random documents: `list` of `list` of sentences; each token is a number that no other has."""
    draw, number = random.Random(seed), iter(range(10, 10**9))
    return [
        [[next(number) for _ in range(draw.choice((1, 3, 10, 40, 200)))] for _ in range(draw.randint(1, 30))]
        for _ in range(documents)
    ]


def boundaries(documents):
    for sentences in documents:
        yield from sentences
        yield None


def plain(documents, max_length, seed):
    """The same rows, written token by token: (`first`, `second`) of each, and its document."""
    rows = []
    for number, sentences in enumerate(documents):
        waiting = [[token, place] for place, sentence in enumerate(sentences) for token in sentence]  # place: sentence
        arrived = 0  # sentences that have come
        while True:
            chance = random.Random(f"{seed}:{len(rows)}")
            single, short, where = (chance.random() for _ in range(3))
            target = 5 + int(where * (max_length - 4)) if short < SHORT else max_length
            need = target - 2 if single < ONE_SEGMENT else target - 3
            half = 10**9 if single < ONE_SEGMENT else (target - 3) // 2
            while arrived < len(sentences) and sum(place < arrived for _, place in waiting) < need:
                arrived += 1
            here = [(token, place) for token, place in waiting if place < arrived]
            if not here:
                break
            first, second = [], []
            for place in dict.fromkeys(place for _, place in here):
                sentence = [token for token, other in here if other == place]
                fits = len(first) + len(sentence) < half
                if not second and (not first or fits or (len(first) < half and chance.random() < 0.5)):
                    first += sentence
                else:
                    second += sentence
            first = first[: max_length - 2]
            second = second[: max(0, max_length - 3 - len(first))]
            rows.append((first, second, number))
            waiting = waiting[len(first) + len(second) :]
    return rows


@pytest.mark.parametrize(("max_length", "seed"), [(8, 0), (32, 1), (128, 2), (5, 3)])
def test_rows_are_those_of_a_plain_implementation(max_length, seed):
    documents = documents_of(seed)
    expected = plain(documents, max_length, seed)
    rows = list(pack_rows(boundaries(documents), max_length, cls_id=CLS, sep_id=SEP, seed=seed))
    assert len(rows) == len(expected)
    for row, (first, second, _) in zip(rows, expected, strict=True):
        behind = [*second, SEP] if second else []
        assert row["input_ids"] == [CLS, *first, SEP, *behind]
        assert row["token_type_ids"] == [0] * (len(first) + 2) + [1] * len(behind)


@pytest.mark.parametrize("max_length", [16, 128])
def test_nothing_is_lost_nothing_crosses_documents_and_rows_are_full(max_length):
    documents = documents_of(4)
    of = {token: number for number, one in enumerate(documents) for sentence in one for token in sentence}
    rows = list(pack_rows(boundaries(documents), max_length, cls_id=CLS, sep_id=SEP))
    contents = [[token for token in row["input_ids"] if token > SEP] for row in rows]
    assert [token for content in contents for token in content] == list(of)
    assert all(len({of[token] for token in content}) == 1 for content in contents)
    assert all(len(row["input_ids"]) <= max_length for row in rows)
    followed = [
        len(row["input_ids"])
        for row, here, then in zip(rows, contents, contents[1:], strict=False)
        if of[here[0]] == of[then[0]]
    ]
    full = sum(length >= max_length - 1 for length in followed) / len(followed)
    assert 1 - 2 * SHORT < full < 1  # some are short on purpose


def test_most_rows_have_two_segments_of_about_half_and_some_have_one():
    sentences = [[10] * 7] * 20_000
    rows = list(pack_rows(sentences, 128, cls_id=CLS, sep_id=SEP))
    of_full = [row["token_type_ids"] for row in rows if len(row["token_type_ids"]) == 128]
    one = sum(1 not in types for types in of_full) / len(of_full)
    assert abs(one - ONE_SEGMENT) < 0.03
    firsts = [types.index(1) for types in of_full if 1 in types]
    assert min(firsts) >= 52
    assert max(firsts) <= 80


def test_without_boundaries_the_text_is_one_document():
    rows = list(pack_rows([[10] * 5] * 100, 64, cls_id=CLS, sep_id=SEP, seed=5))
    assert sum(map(len, (row["input_ids"] for row in rows))) > 500
    assert all(len(row["input_ids"]) >= 63 for row in rows[:-1] if 1 in row["token_type_ids"])


def test_a_packer_goes_on_from_its_state():
    documents = list(boundaries(documents_of(6)))
    whole = RowPacker(32, cls_id=CLS, sep_id=SEP, seed=9)
    expected, states = [], []
    for ids in documents:
        states.append((len(expected), whole.state_dict()))
        expected += whole.end_document() if ids is None else whole.add(ids)
    for place in (1, len(documents) // 2, len(documents) - 1):
        before, state = states[place]
        later = RowPacker(32, cls_id=CLS, sep_id=SEP, seed=9)
        later.load_state_dict(state)
        rows = [row for ids in documents[place:] for row in (later.end_document() if ids is None else later.add(ids))]
        assert rows == expected[before:]


def test_too_short_rows_are_refused():
    with pytest.raises(ValueError, match="`max_length` is 4: a packed row has 5"):
        RowPacker(4, cls_id=CLS, sep_id=SEP)
