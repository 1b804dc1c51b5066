"""Which entries a vocabulary gets: what they save, and what they must never change. Pure functions on words."""

import random

import pytest

from electra_rtd.train_tools import new_entries
from electra_rtd.train_tools.new_entries import WordPieces, choose_entries, missing_inside


LETTERS = "abcde"
CLOSED = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]


def chosen(counts, entries, most, **options):
    vocabulary = WordPieces(entries)
    return [one.entry for one in choose_entries(counts, vocabulary, most, **options)], vocabulary


def any_word(draw, longest=9):
    return "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, longest)))


# ---- Reading ----


def test_words_are_read_by_the_longest_entry_each_time():
    vocabulary = WordPieces(["un", "##aff", "##able", "##a", "##affa", "una"])
    assert vocabulary.read("unaffable") == (["una", "##f", "##f", "##able"], ["##f"])
    assert not vocabulary.can_read("unaffable")
    vocabulary.entries.remove("una")
    assert vocabulary.read("unaffable")[0][:2] == ["un", "##affa"]  # and then it stands before `##b`
    vocabulary.entries.remove("##affa")
    assert vocabulary.read("unaffable") == (["un", "##aff", "##able"], []) and vocabulary.can_read("unaffable")


def test_a_word_that_is_too_long_is_unknown():
    vocabulary = WordPieces(CLOSED, longest_word=4)
    assert vocabulary.can_read("abcd") and not vocabulary.can_read("abcde")


# ---- What is chosen ----


def test_the_entry_that_saves_most_tokens_comes_first():
    counts = {"abc": 10, "de": 15, "ab": 1}
    # abc: 10 words, two tokens each; de: 15 words, one token each; ab: then one word.
    assert chosen(counts, CLOSED, 3)[0] == ["abc", "de", "ab"]


def test_equally_good_ones_come_in_the_order_of_their_letters_whatever_the_order_of_the_text():
    words = ["de", "cd", "bc", "ab"]
    assert chosen(dict.fromkeys(words, 5), CLOSED, 4)[0] == chosen(dict.fromkeys(words[::-1], 5), CLOSED, 4)[0]
    assert chosen(dict.fromkeys(words, 5), CLOSED, 4)[0] == ["ab", "bc", "cd", "de"]


def test_what_is_saved_is_exact_where_words_overlap():
    draw = random.Random(0)
    counts = {any_word(draw): draw.randint(1, 20) for _ in range(300)}

    def tokens(vocabulary):
        return sum(count * len(vocabulary.read(word)[0]) for word, count in counts.items())

    vocabulary = WordPieces([*CLOSED, "abc", "##de", "##bcd"])
    before = tokens(vocabulary)
    one = choose_entries(counts, vocabulary, 1)
    assert before - tokens(vocabulary) == one[0].saved > 0


def test_an_entry_that_lengthens_other_words_has_that_counted_against_it():
    # `abc` saves one token in 10 words. In `abcde`, 8 words, it ends in the middle of `##cde`: ab ##cde is two tokens,
    # abc ##d ##e three.
    entries = [*CLOSED, "ab", "##cde"]
    counts = {"abc": 10, "abcde": 8, "ed": 3}
    assert WordPieces(entries).read("abcde")[0] == ["ab", "##cde"]
    (first, *_), _ = chosen(counts, entries, 1)
    assert first == "abcde"  # 8: more than what `abc` is worth, 10 - 8
    assert chosen({"abc": 10, "abcde": 8, "ed": 3}, entries, 1, never=["abcde"])[0] == ["ed"]


def test_what_later_entries_make_useless_is_replaced():
    # `ab` looks best at first, and is not read any more once `abc` and `abd` are there.
    counts = {"abc": 50, "abd": 49, "abe": 1, "de": 30}
    entries, vocabulary = chosen(counts, CLOSED, 3)
    assert sorted(entries) == ["abc", "abd", "de"]
    assert vocabulary.read("abe")[0] == ["a", "##b", "##e"]


def test_entries_that_are_too_rare_are_not_taken_and_fewer_come_than_were_asked_for():
    counts = {"abc": 10, "de": 4, "ea": 3}
    assert chosen(counts, CLOSED, 100, fewest=4)[0] == ["abc", "de"]


def test_a_missing_character_is_worth_the_word_that_it_hides():
    counts = {"abz": 5, "ab": 6}
    entries, vocabulary = chosen(counts, CLOSED, 2)
    assert entries[0] == "##z"  # 5 words of 3 characters; `ab` would save 6 tokens
    assert vocabulary.can_read("abz") and not vocabulary.can_read("zab")


def test_a_word_that_lacks_two_characters_gets_both():
    entries, vocabulary = chosen({"yxa": 5}, CLOSED, 2)
    assert sorted(entries) == ["##x", "y"] and vocabulary.can_read("yxa")


def test_few_words_are_enough_for_a_choice(monkeypatch):
    monkeypatch.setattr(new_entries, "MOST_WORDS", 2)
    assert chosen({"abc": 9, "de": 8, "cd": 7}, CLOSED, 9)[0] == ["abc", "de"]


# ---- What is never changed ----


@pytest.mark.parametrize("seed", range(4))
def test_a_word_without_a_new_entry_is_read_as_before_and_no_readable_word_becomes_unknown(seed):
    draw = random.Random(seed)
    old = {*CLOSED, *(any_word(draw, 4) for _ in range(30)), *(f"##{any_word(draw, 4)}" for _ in range(30))}
    counts = {any_word(draw): draw.randint(1, 9) for _ in range(200)}
    before = WordPieces(old)
    new, after = chosen(counts, old, 60)
    assert len(new) == 60
    changed = 0
    for word in (*counts, *(any_word(draw, 14) for _ in range(3000))):
        assert before.can_read(word) and after.can_read(word)
        if not {*new} & {*after.read(word)[0]}:
            assert after.read(word) == before.read(word)
        else:
            changed += 1
    assert changed > 500


def test_without_the_single_characters_a_new_entry_would_make_a_word_unreadable():
    # `ab ##cd` is readable; with `abc` it is `abc` and a `d` for which there is nothing.
    entries = ["a", "b", "c", "##b", "##c", "ab", "##cd"]
    vocabulary = WordPieces(entries)
    assert vocabulary.can_read("abcd")
    vocabulary.add("abc")
    assert not vocabulary.can_read("abcd")
    assert missing_inside(WordPieces(entries), lambda _: True) == ["##d"]
    vocabulary.add("##d")
    assert vocabulary.can_read("abcd")


@pytest.mark.parametrize("seed", range(4))
def test_with_the_missing_single_characters_nothing_readable_is_lost(seed):
    draw = random.Random(seed)
    old = {any_word(draw, 4) for _ in range(40)} | {f"##{any_word(draw, 3)}" for _ in range(12)} | set(LETTERS)
    before, after = WordPieces(old), WordPieces(old)
    for entry in missing_inside(after, lambda _: True):
        after.add(entry)
    words = [any_word(draw, 8) for _ in range(3000)]
    readable = [word for word in words if before.can_read(word)]
    assert 100 < len(readable) < 3000
    assert all(after.read(word) == before.read(word) for word in readable)  # by themselves they change nothing
    choose_entries(dict.fromkeys(words[:300], 3), after, 80)
    assert all(after.can_read(word) for word in readable)


def test_entries_that_no_word_can_hold_need_no_characters():
    assert missing_inside(WordPieces([*CLOSED, "[unused1]", "##xy"]), str.isalpha) == ["##x", "##y"]
