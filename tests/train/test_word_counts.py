"""Words as a tokenizer parts them, counted in bounded memory."""

import pytest

from electra_rtd.hub_tools.vocabulary import SPECIAL_TOKENS, word_piece
from electra_rtd.train_tools.word_counts import count_words


def backend(*entries, **settings):
    return word_piece([*SPECIAL_TOKENS, *entries], **settings).backend_tokenizer


def test_words_are_those_of_the_tokenizer_itself():
    counted = count_words(["Café, CAFÉ 학교의 [MASK] 学校"], backend("cafe", do_lower_case=True))
    # Lower case without marks, which takes Hangul apart too; Chinese characters alone; no special token.
    assert counted.counts["cafe"] == 2 and counted.counts["学"] == counted.counts["校"] == counted.counts[","] == 1
    assert "mask" not in counted.counts and "학교의" not in counted.counts
    cased = count_words(["Café, CAFÉ 학교의"], backend("Cafe", do_lower_case=False, strip_accents=False))
    assert cased.counts == {",": 1, "CAFÉ": 1, "Café": 1, "학교의": 1}
    assert (cased.texts, cased.characters, cased.left_out) == (1, 14, 0)


def test_the_rarer_half_is_forgotten_where_there_are_too_many():
    texts = [f"a w{number} b a" for number in range(100)]
    counted = count_words(texts, backend("a"), most_words=10)
    assert counted.counts["a"] == 200 and counted.counts["b"] == 100 and len(counted.counts) <= 10
    assert sum(counted.counts.values()) + counted.left_out == 400
    assert list(counted.counts)[:2] == ["a", "b"]


def test_texts_are_gone_through_once_and_a_long_row_is_parted():
    counted = count_words((text for text in ["a b " * 500_001]), backend("a"))
    assert counted.counts["b"] == 500_001 and counted.sample == [("a b " * 500)]


@pytest.mark.parametrize(("texts", "said"), [("a text", "one text"), (["a", 3], "holds a int"), ([None], "NoneType")])
def test_what_is_no_list_of_texts_is_refused(texts, said):
    with pytest.raises(ValueError, match=f"`texts` .*{said}"):
        count_words(texts, backend("a"))
