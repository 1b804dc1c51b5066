"""The page of the inspector as a string: what it holds, what cannot break out of it, and what it refuses."""

import json
import re

import pytest

from electra_rtd.train_tools.inspector import inspector_page as page
from electra_rtd.train_tools.inspector.reading import Candidate, Reading, Token, join


def token(text, start, *, name=None, put=None, masked=False, probability=0.02, candidates=()):
    """A token of a reading: `put` is what the generator put there, where it is another token."""
    name = name or text
    return Token(
        token=name,
        start=start,
        end=start + len(text),
        masked=masked or put is not None,
        generator_read="[MASK]" if masked or put is not None else name,
        discriminator_read=put or name,
        replaced=put is not None,
        probability=probability,
        candidates=tuple(Candidate(*one) for one in candidates),
    )


SCHOOL = [("학교", 0.61), ("병원", 0.252), ("집", 0.04)]


def school(temperature, *, put="병원", probability=0.93):
    """ "나는 학교에 간다.": a replaced token, a false alarm on "간다", a lucky hit on "는"."""
    return Reading(
        "나는 학교에 간다.",
        (
            token("나", 0),
            token("는", 1, name="##는", masked=True, probability=0.1, candidates=[("##는", 0.9), ("##가", 0.1)]),
            token("학교", 3, put=put, masked=True, probability=probability, candidates=SCHOOL),
            token("에", 5, name="##에"),
            token("간다", 7, probability=0.75),
            token(".", 9),
        ),
        temperature,
    )


def odd(text="나는 학굥에 간다.", probability=0.875):
    candidates = [("##교", 0.8), ("##굥", 0.1), ("병원", 0.05)]
    tokens = (
        token("나는", 0),
        token("학", 3),
        token("굥", 4, name="##굥", probability=probability, candidates=candidates),
        token("에", 5, name="##에"),
        token("간다", 7),
        token(".", 9),
    )
    return Reading(text, tokens)


def render(documents, *, lang="en", **options):
    return page.render(documents, title="Report", model_name="tiny", lang=lang, **options)


def data_of(html):
    """What the page gives its script, read as a browser reads it: up to the first closing tag."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


BREAKS_OUT = "</script><img src=x onerror=alert(1)><!--"


def test_texts_and_tokens_cannot_break_out_of_the_page():
    hostile = Reading(
        BREAKS_OUT,
        (token(BREAKS_OUT, 0, name=f"##{BREAKS_OUT}", put=BREAKS_OUT, candidates=[(BREAKS_OUT, 0.5)]),),
        1.0,
    )
    html = page.render([{1.0: hostile}], title=BREAKS_OUT, model_name=f'"{BREAKS_OUT}', lang="en")
    assert "<img" not in html and "<!--" not in html
    assert html.count("</script>") == 2  # the page's own: the data and the script
    assert data_of(html)["documents"][0]["candidates"] == {"0": [[BREAKS_OUT, 500]]}


def test_the_same_readings_give_the_same_bytes():
    documents = [{0.5: school(0.5, put="집"), 1.0: school(1.0)}]
    assert render(documents) == render(documents)


@pytest.mark.parametrize(
    ("lang", "closing", "total"),
    [
        (
            "en",
            "1 of 6 tokens wrong; 1 of 1 replaced tokens caught",
            "All 2 texts: 3 of 12 tokens wrong; 1 of 2 replaced tokens caught",
        ),
        (
            "ko",
            "토큰 6개 중 1개 틀림, 바뀐 토큰 1개 중 1개 잡아냄",
            "글 2편 전체: 토큰 12개 중 3개 틀림, 바뀐 토큰 2개 중 1개 잡아냄",
        ),
    ],
)
def test_closing_lines_count_what_is_wrong_and_what_is_caught(lang, closing, total):
    html = render([{1.0: school(1.0)}, {1.0: school(1.0, probability=0.2)}], lang=lang)
    assert f'<html lang="{lang}">' in html
    assert f'<p class="closing">{closing}</p>' in html
    assert f'aria-live="polite">{total}</p>' in html


def test_the_page_asks_nothing_of_the_network():
    html = render([{None: odd()}])
    assert "default-src 'none'" in html
    assert re.findall(r'(?:src|href|action)="([^"]*)"', html) == ["#t0-2"]
    assert "url(" not in html and "@import" not in html and "http://" not in html and "https://" not in html


def test_it_opens_at_the_temperature_asked_for():
    documents = [{0.5: school(0.5, put="집"), 1.0: school(1.0)}]
    assert 'data-note="집 ✓"' in render(documents)
    html = render(documents, at=1.0)
    assert 'data-note="병원 ✓"' in html and 'data-note="집 ✓"' not in html
    assert '<output id="temperature-value" for="temperature">1</output>' in html


def test_one_temperature_has_no_slider():
    assert 'type="range"' not in render([{1.0: school(1.0)}])


def test_views_that_are_equal_travel_once():
    same = {0.5: school(0.5), 1.0: school(1.0), 2.0: school(2.0, put="집", probability=0.3)}
    document = data_of(render([same]))["documents"][0]
    assert document["view_at"] == [0, 0, 1]
    assert [view["put"]["2"] for view in document["views"]] == ["병원", "집"]


def test_rounding_never_changes_a_verdict():
    view = data_of(render([{1.0: school(1.0, probability=0.50004)}]))["documents"][0]["views"][0]
    assert view["probabilities"][2] == 500
    assert view["marks"] == ".lc.f."


def test_pieces_are_one_text():
    first, second = school(1.0), Reading(" 집.", (token("집", 1, put="산"), token(".", 2)), 1.0)
    html = render([{1.0: join(first.text + second.text, [first, second], 1.0)}])
    assert "3 of 8 tokens wrong" not in html and "2 of 8 tokens wrong; 1 of 2 replaced tokens caught" in html
    assert data_of(html)["documents"][0]["views"][0]["put"] == {"1": "##는", "2": "병원", "6": "산"}
    assert html.count("<article") == 1


def test_a_carriage_return_reaches_the_browser_as_one():
    assert "&#13;\n" in render([{1.0: Reading("나\r\n너", (token("나", 0), token("너", 3)), 1.0)}])


@pytest.mark.parametrize(
    ("text", "lang"), [("나는 school", "ko"), ("a school", "en"), ("école", ""), ("1 2", ""), ("\u1112\u1161", "ko")]
)
def test_a_text_says_its_own_language(text, lang):
    html = render([{1.0: Reading(text, (token(text, 0),), 1.0)}])
    assert f'class="text" role="group" aria-labelledby="h0" lang="{lang}"' in html


def test_odd_words_are_listed_oddest_first_with_the_word_that_the_generator_would_write():
    html = render([{None: odd()}, {None: odd(probability=0.991)}])
    rows = re.findall(r'<a href="#(.*?)">(.*?)</a></th><td>(.*?)</td><td>(.*?)</td>', html)
    assert rows == [
        ("t1-2", "학굥에", "99.1 %", "학교에 · 병원"),
        ("t0-2", "학굥에", "87.5 %", "학교에 · 병원"),
    ]
    assert 'type="range"' not in html
    assert "replaced" not in re.sub(r"<script.*|<style.*?</style>", "", html, flags=re.DOTALL)
    assert "1 of 6 tokens look odd" in html and "All 2 texts: 2 of 12 tokens look odd" in html


def test_a_long_list_of_odd_words_says_how_many_are_left():
    html = render([{None: odd()}] * 53)
    assert html.count('<th scope="row">') == 50
    assert "… and 3 more, marked in the text" in html


def test_a_false_alarm_on_an_unknown_character_says_that_it_is_unk():
    tokens = (token("☕", 0, name="[UNK]", probability=0.9), token("<unk>", 2, probability=0.9))
    assert re.findall('data-note="(.*?)">(.*?)<', render([{1.0: Reading("☕ <unk>", tokens, 1.0)}]))[-2:] == [
        ("[UNK] !", "☕"),
        ("!", "&lt;unk&gt;"),  # the text says it itself
    ]
    assert 'data-note="[UNK] ?"' in render([{None: Reading("☕ <unk>", tokens)}])


def test_a_text_without_anything_odd_says_so():
    assert "어색한 곳이 없습니다" in render([{None: odd(probability=0.5)}], lang="ko")


def test_a_text_without_tokens_is_a_text():
    html = render([{1.0: Reading("", (), 1.0)}])
    assert "There is no token in this text." in html


def test_five_hundred_sentences_stay_small():
    words = 30
    text = "학교에 " * words

    def reading(temperature):
        tokens = tuple(
            token("학교에", 4 * n, masked=n % 7 == 0, probability=(n * temperature % 10) / 10, candidates=SCHOOL * 2)
            if n % 7 == 0
            else token("학교에", 4 * n, probability=(n * temperature % 10) / 10)
            for n in range(words)
        )
        return Reading(text, tokens, temperature)

    html = render([{one: reading(one) for one in (0.5, 1.0, 1.5, 2.0)}] * 500)
    assert len(html.encode()) < 3e6


def test_documents_of_different_temperatures_are_refused():
    with pytest.raises(ValueError, match=r"`documents\[1\]` has the temperatures \[2.0\].*\[1.0\]"):
        render([{1.0: school(1.0)}, {2.0: school(2.0)}])


def test_another_text_at_another_temperature_is_refused():
    with pytest.raises(ValueError, match=r"`documents\[0\]` has another text"):
        render([{1.0: school(1.0), 2.0: odd("x" * 10)}])


def test_a_temperature_that_was_not_computed_is_refused():
    with pytest.raises(ValueError, match=r"`at` is 3.0: it must be one of the temperatures \[1.0\]"):
        render([{1.0: school(1.0)}], at=3.0)
