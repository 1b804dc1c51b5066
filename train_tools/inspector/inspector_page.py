"""The page of `electra-rtd inspect --html`: one file, no network, that shows what both networks make of texts.

The page holds every text once, as readable HTML at the temperature it opens with. What changes with the temperature,
and the details of the tokens, travel as JSON beside it, and a short script (`page.js.j2`) puts them in place.
"""

from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from ..language import choose_language
from .inspector_texts import TEXTS
from .reading import CAUGHT, FALSE_ALARM, MISSED, Token, Word


# A mark: its letter in the JSON and its sign in the page, which says without colour what the colour says.
LETTERS = {
    "caught": "c",
    "missed": "m",
    "false_alarm": "f",
    "lucky": "l",  # masked, and the generator put the original back
    "lucky_alarm": "g",
    "right": ".",
    "odd": "o",  # the last two: of a text as it is
    "plain": ".",
}
SIGNS = {"caught": "✓", "missed": "✗", "false_alarm": "!", "lucky": "=", "lucky_alarm": "= !", "odd": "?"}
ODD_WORDS = 50  # at most, in the list above the texts


def render(documents, *, title, model_name, at=None, lang=None):
    """A self-contained page: texts coloured by P(replaced), with replacements, verdicts and candidates.

    Args:
        documents (`list` of `dict`): one for each text. A key is a temperature (`float`), or the only key is `None`,
            where the text was read as it is. A value is the [`Reading`] of the whole text.
        title, model_name (`str`): stand at the head.
        at (`float`, *optional*): the temperature that the page opens with; left out, the first.
        lang (`str`, *optional*): `"ko"` or `"en"`; left out, that of the locale.

    Returns:
        `str`: HTML, the same for the same arguments

    Raises:
        ValueError: the documents do not have the same temperatures, or `at` is none of them.
    """
    lang = choose_language(lang)
    temperatures = _temperatures(documents)
    opens_with = _place_of(at, temperatures)
    suspicious = temperatures == [None]
    texts = _page_texts(lang, suspicious)
    shown = [_Document(number, document, texts) for number, document in enumerate(documents)]
    odd_words = _odd_words(shown) if suspicious else []
    totals = [_total(shown, column, texts) for column in range(len(temperatures))]
    data = {
        "texts": texts,
        "marks": {LETTERS[mark]: mark for mark in LETTERS if mark != ("right" if suspicious else "plain")},
        "temperatures": [_number(one) for one in temperatures],
        "totals": totals,
        "documents": [document.data() for document in shown],
    }
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            lang=lang,
            texts=texts,
            title=title,
            model_name=model_name,
            suspicious=suspicious,
            temperatures=data["temperatures"],
            opens_with=opens_with,
            documents=shown,
            totals=totals,
            odd_words=odd_words[:ODD_WORDS],
            odd_words_left=max(0, len(odd_words) - ODD_WORDS),
            legend=("odd",) if suspicious else ("caught", "missed", "false_alarm", "lucky", "lucky_alarm"),
            signs=SIGNS,
            data=data,
        )
    )


@dataclass(frozen=True)
class _OddWord:
    """A word that the discriminator finds odd. Args: text; probability; instead: words of the generator; link."""

    text: str
    probability: float
    instead: tuple[str, ...]
    link: str


@dataclass(frozen=True)
class _Span:
    """A token in the page. Args: before: text between the last token and this one; text; number: in the document."""

    before: str
    text: str
    number: int


class _Document:
    """One text of the page.

    Args: number (`int`), from 0; by_temperature (`dict` of temperature to [`Reading`]); texts (`dict`).
    """

    def __init__(self, number, by_temperature, texts):
        self.number = number
        self.readings = list(by_temperature.values())
        if len({reading.text for reading in self.readings}) > 1:
            raise ValueError(f"`documents[{number}]` has another text at each temperature: it must be the same one.")
        self.views = [_view(reading, texts) for reading in self.readings]

    @property
    def reading(self):
        """What does not change with the temperature can be asked of any reading: the first."""
        return self.readings[0]

    @property
    def lang(self):
        return _language_of(self.reading.text)

    @property
    def words(self):
        """`list` of `(gap, spans)`: the text before a word, and its tokens; `tail` is what follows the last word."""
        words, number, done = [], 0, 0
        for word in self.reading.words:
            gap, spans = self.reading.text[done : word.start], []
            done = max(done, word.start)
            for token in word.tokens:  # tokens of one character (an emoji in bytes) have the same place: show it once
                start, end = max(done, token.start), max(done, token.end)
                spans.append(_Span(self.reading.text[done:start], self.reading.text[start:end], number))
                number, done = number + 1, end
            words.append((gap, spans))
        return words

    @property
    def tail(self):
        return self.reading.text[max((token.end for token in self.reading.tokens), default=0) :]

    def data(self):
        """What the script needs: `dict`. Views that are equal stand there once."""
        text, tokens = self.reading.text, self.reading.tokens
        unlike = {n: one.token for n, one in enumerate(tokens) if one.token != text[one.start : one.end]}
        candidates = {
            n: [[other.token, _per_mille(other.probability)] for other in one.candidates]
            for n, one in enumerate(tokens)
            if one.candidates
        }
        views = [view for n, view in enumerate(self.views) if view not in self.views[:n]]
        return {
            "names": unlike,
            "read": {n: one.generator_read for n, one in enumerate(tokens) if one.masked},
            "candidates": candidates,
            "views": views,
            "view_at": [views.index(view) for view in self.views],
        }


def _temperatures(documents):
    sets = [list(document) for document in documents]
    for number, one in enumerate(sets):
        if one != sets[0] or not one:
            raise ValueError(
                f"`documents[{number}]` has the temperatures {one}, and `documents[0]` has {sets[0]}: "
                "give every document the same ones, in the same order, at least one."
            )
    return sets[0] if sets else [None]


def _place_of(at, temperatures):
    if at is None:
        return 0
    if at not in temperatures:
        raise ValueError(f"`at` is {at}: it must be one of the temperatures {temperatures}, or left out.")
    return temperatures.index(at)


def _page_texts(lang, suspicious):
    """The texts of the page without their prefix; those of a page of suspicious words take the place of others."""
    texts = {key.removeprefix("page_"): text for key, text in TEXTS[lang].items() if key.startswith("page_")}
    texts["closing"] = TEXTS[lang]["odd" if suspicious else "closing"]
    special = {key: text for key, text in texts.items() if key.endswith("_suspicious")}
    for key, text in special.items():
        del texts[key]
        if suspicious:
            texts[key.removesuffix("_suspicious")] = text
    return texts


def _view(reading, texts):
    """What a text looks like at one temperature: `dict`. `notes` is what stands below a token."""
    marks = [_mark(one, reading.temperature is not None) for one in reading.tokens]
    notes = {n: _note(one, mark) for n, (one, mark) in enumerate(zip(reading.tokens, marks, strict=True))}
    return {
        "probabilities": [_per_mille(one.probability) for one in reading.tokens],
        "marks": "".join(LETTERS[mark] for mark in marks),
        "notes": {n: note for n, note in notes.items() if note},
        "put": {n: one.discriminator_read for n, one in enumerate(reading.tokens) if one.masked},
        "closing": _closing([reading], texts),
    }


def _mark(token, corrupted):
    if not corrupted:
        return "odd" if token.called_replaced else "plain"
    if token.verdict in (CAUGHT, MISSED):
        return token.verdict
    if token.masked:
        return "lucky_alarm" if token.verdict == FALSE_ALARM else "lucky"
    return token.verdict


def _note(token: Token, mark):
    put = [_as_in_text(token.discriminator_read, token.token)] if token.replaced else []
    return " ".join([*put, SIGNS[mark]]) if mark in SIGNS else ""


def _as_in_text(other, original):
    """A token that stands where another stood: `##` goes where it goes without saying, and stays where it tells."""
    return other.removeprefix("##") if original.startswith("##") else other


def _closing(readings, texts):
    tokens = [token for reading in readings for token in reading.tokens]
    return texts["closing"].format(
        tokens=len(tokens),
        odd=sum(token.called_replaced for token in tokens),
        wrong=sum(reading.wrong for reading in readings),
        replaced=sum(reading.replaced for reading in readings),
        caught=sum(reading.caught for reading in readings),
    )


def _total(documents, column, texts):
    closing = _closing([document.readings[column] for document in documents], texts)
    return texts["total"].format(texts=len(documents), closing=closing)


def _odd_words(documents):
    """The words of texts read as they are that hold an odd token, oddest first: `list` of [`_OddWord`]."""
    words = []
    for document in documents:
        number = 0  # of the word's first token in its document
        for word in document.reading.words:
            oddest = max(range(len(word.tokens)), key=lambda n: word.tokens[n].probability)
            if word.tokens[oddest].called_replaced:
                link = f"t{document.number}-{number + oddest}"
                words.append(_odd_word(document.reading.text, word, word.tokens[oddest], link))
            number += len(word.tokens)
    return sorted(words, key=lambda word: -word.probability)


def _odd_word(text, word: Word, oddest: Token, link):
    before, after = text[word.start : oddest.start], text[oddest.end : word.end]
    continues = oddest.token.startswith("##")
    instead = [
        before + one.token.removeprefix("##") + after if one.token.startswith("##") == continues else one.token
        for one in oddest.candidates
        if one.token != oddest.token
    ]
    return _OddWord(text[word.start : word.end], oddest.probability, tuple(instead), link)


def _language_of(text):
    """The `lang` of a text for voices and line breaks: `"ko"` with Hangul, `"en"` in ASCII letters, else unknown."""
    letters = [character for character in text if character.isalpha()]
    if any("가" <= one <= "힣" or "\u1100" <= one <= "\u11ff" or "\u3131" <= one <= "\u318e" for one in letters):
        return "ko"
    return "en" if letters and all(one.isascii() for one in letters) else ""


def _per_mille(probability):
    return round(probability * 1000)


def _percent(per_mille, texts):
    return texts["percent"].format(number=f"{per_mille / 10:.1f}")


def _number(temperature):
    return "" if temperature is None else f"{temperature:g}"


def _exact(text):
    """Text as HTML that a browser gives back character by character: it would make a line feed of a bare `\\r`."""
    return Markup(escape(text).replace("\r", Markup("&#13;")))


def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "sort_keys": False}
    environment.filters |= {"exact": _exact, "percent": _percent, "per_mille": _per_mille}
    return environment
