"""Which language the views speak."""

import string

import pytest

from electra_rtd.train_tools import language
from electra_rtd.train_tools.inspector.inspector_texts import TEXTS as INSPECTOR
from electra_rtd.train_tools.language import LANGUAGES, choose_language
from electra_rtd.train_tools.report.report_texts import TEXTS as REPORT


NAMES = ("LC_ALL", "LC_MESSAGES", "LANG")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
    ],
)
def test_the_locale_decides_in_the_order_of_posix(monkeypatch, environment, expected):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert choose_language() == expected


@pytest.mark.parametrize(
    ("system", "expected"), [("Korean_Korea", "ko"), ("English_United States", "en"), (None, "en")]
)
def test_where_no_variable_is_set_the_system_decides(monkeypatch, system, expected):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(language.locale, "getlocale", lambda: (system, "UTF-8"))
    assert choose_language() == expected


def test_what_is_asked_for_wins(monkeypatch):
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert choose_language("en") == "en"
    with pytest.raises(ValueError, match=r"'fr'.*'ko' or 'en'"):
        choose_language("fr")


def gaps(texts):
    """The gaps of every text, by its name: `{number}`; of texts in groups too."""
    if isinstance(texts, dict):
        return {name: gaps(text) for name, text in texts.items()}
    return {gap for _, gap, _, _ in string.Formatter().parse(texts) if gap}


@pytest.mark.parametrize("texts", [INSPECTOR, REPORT], ids=["inspector", "report"])
def test_both_languages_have_the_same_texts_with_the_same_gaps(texts):
    assert set(texts) == set(LANGUAGES)
    assert gaps(texts["ko"]) == gaps(texts["en"])


def test_the_terminal_says_everything_in_each_language():
    assert all(INSPECTOR["ko"][name] != INSPECTOR["en"][name] for name in INSPECTOR["en"])
