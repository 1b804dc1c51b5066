"""Which language a view speaks: Korean or English."""

import locale
import os
from pathlib import Path

import yaml


LANGUAGES = ("ko", "en")


def choose_language(lang=None):
    """The language asked for, or else that of the locale: Korean where it is Korean, English everywhere else.

    Args:
        lang (`str`, *optional*): `"ko"` or `"en"`.

    Returns:
        `str`: `"ko"` or `"en"`

    Raises:
        ValueError: there is no such language.
    """
    if lang is None:
        return "ko" if _locale_name().lower().startswith(("ko", "korean")) else "en"
    if lang not in LANGUAGES:
        raise ValueError(f"`lang` is {lang!r}: it must be {' or '.join(map(repr, LANGUAGES))}, or left out.")
    return lang


def read_texts(module):
    """The words of a view in every language, from `texts.en.yaml` and `texts.ko.yaml` beside a module.

    Args:
        module (`str` or path): `__file__` of the module.

    Returns:
        `dict[str, dict]`: by language, then by name
    """
    files = {lang: Path(module).with_name(f"texts.{lang}.yaml") for lang in LANGUAGES}
    return {lang: yaml.safe_load(file.read_text(encoding="utf-8")) for lang, file in files.items()}


def _locale_name():
    """In the order in which programs read the environment; where it is empty (Windows), what the system says."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return os.environ[name]
    return locale.getlocale()[0] or ""
