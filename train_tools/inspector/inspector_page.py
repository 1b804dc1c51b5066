"""The page of `electra-rtd inspect --html`: one file, no network, that shows what both networks make of texts.

The page holds every text once, as readable HTML at the temperature it opens with. What changes with the temperature,
and the details of the tokens, travel as JSON beside it, and a short script (`page.js.j2`) puts them in place.
"""

import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from ..language import choose_language
from .inspector_texts import TEXTS
from .reading import SIGNS, closing


# The letter of a mark in the JSON. What is right and what is plain look alike: a page has one of the two.
LETTERS = {"caught": "c", "missed": "m", "false_alarm": "f", "lucky": "l", "lucky_alarm": "g", "odd": "o"}
ODD_WORDS = 50  # at most, in the list above the texts
SPECIAL = re.compile(r"\[[^\]]+\]|<[^>]+>")  # [UNK]: a token that does not show what it stands for


def render(documents, *, model_name, title=None, at=None, lang=None):
    """A self-contained page: texts coloured by P(replaced), with replacements, verdicts and candidates.

    Args:
        documents (`list` of `dict`): one for each text. A key is a temperature (`float`), or the only key is `None`,
            where the text was read as it is. A value is the [`Reading`] of the whole text.
        model_name (`str`), title (`str`, *optional*): stand at the head.
        at (`float`, *optional*): the temperature that the page opens with; left out, the first.
        lang (`str`, *optional*): `"ko"` or `"en"`; left out, that of the locale.

    Returns:
        `str`: HTML, the same for the same arguments

    Raises:
        ValueError: the documents do not have the same temperatures, or `at` is none of them.
    """
    lang = choose_language(lang)
    temperatures = _temperatures(documents)
    if at is not None and at not in temperatures:
        raise ValueError(f"`at` is {at}: it must be one of the temperatures {temperatures}, or left out.")
    opens_with = temperatures.index(at) if at is not None else 0
    suspicious = temperatures == [None]
    texts = dict(TEXTS[lang]["page"])
    odd_page = texts.pop("odd_page")
    texts |= odd_page if suspicious else {}
    by_temperature = [list(readings) for readings in zip(*(document.values() for document in documents), strict=True)]
    totals = [
        texts["total"].format(texts=len(documents), closing=closing(readings, TEXTS[lang]))
        for readings in by_temperature
    ]
    shown = [_document(list(document.values()), number, opens_with, lang) for number, document in enumerate(documents)]
    odd_words = _odd_words(by_temperature[0]) if suspicious and documents else []
    data = {
        "texts": texts,
        "marks": {letter: mark for mark, letter in LETTERS.items()} | {".": "plain" if suspicious else "right"},
        "temperatures": ["" if one is None else f"{one:g}" for one in temperatures],
        "totals": totals,
        "documents": [document["data"] for document in shown],
    }
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            lang=lang,
            texts=texts,
            title=texts["title"] if title is None else title,
            model_name=model_name,
            suspicious=suspicious,
            opens_with=opens_with,
            documents=shown,
            odd_words=odd_words[:ODD_WORDS],
            odd_words_left=len(odd_words) - ODD_WORDS,
            legend=[mark for mark in LETTERS if (mark == "odd") == suspicious],
            signs=SIGNS,
            data=data,
        )
    )


def _temperatures(documents):
    """Those of all documents, in their order: a text that was read as it is has the one temperature `None`."""
    sets = [list(document) for document in documents]
    for number, of_this in enumerate(sets):
        if of_this != sets[0] or not of_this:
            raise ValueError(
                f"`documents[{number}]` has the temperatures {of_this}, the first document {sets[0]}: give every "
                "document the same ones, in the same order, at least one."
            )
        if len({reading.text for reading in documents[number].values()}) > 1:
            raise ValueError(f"`documents[{number}]` has another text at each temperature: it must be the same one.")
    return sets[0] if sets else [None]


def _document(readings, number, opens_with, lang):
    """A text of the page: what stands in it, and the `data` that its script needs. Views that are equal are one."""
    text, tokens = readings[0].text, readings[0].tokens
    every = [_view(reading, lang) for reading in readings]
    views = [view for n, view in enumerate(every) if view not in every[:n]]
    candidates = {n: one.candidates for n, one in enumerate(tokens) if one.candidates}
    data = {
        "names": {n: one.token for n, one in enumerate(tokens) if one.token != text[one.start : one.end]},
        "read": {n: one.generator_read for n, one in enumerate(tokens) if one.masked},
        "candidates": {n: [[one.token, _per_mille(one)] for one in some] for n, some in candidates.items()},
        "views": views,
        "view_at": [views.index(view) for view in every],
    }
    html = _html(readings[opens_with], every[opens_with], number)
    closing_line = every[opens_with]["closing"] if tokens else TEXTS[lang]["page"]["empty"]
    return {"data": data, "html": html, "lang": _language_of(text), "closing": closing_line}


def _view(reading, lang):
    """What a text looks like at one temperature: `dict`. `notes` is what stands below a token."""
    marks = [reading.mark(one) for one in reading.tokens]
    return {
        "probabilities": [_per_mille(one) for one in reading.tokens],
        "marks": "".join(LETTERS.get(mark, ".") for mark in marks),
        "notes": {
            n: _note(reading, one, mark)
            for n, (one, mark) in enumerate(zip(reading.tokens, marks, strict=True))
            if mark in LETTERS
        },
        "put": {n: one.discriminator_read for n, one in enumerate(reading.tokens) if one.masked},
        "closing": closing([reading], TEXTS[lang]),
    }


def _note(reading, token, mark):
    """The token that stands there now, or a special one that the text does not show, and the sign."""
    read = token.discriminator_read
    if not token.replaced and (read == reading.text[token.start : token.end] or not SPECIAL.fullmatch(read)):
        return SIGNS[mark]
    # `##` goes where it goes without saying, and stays where it tells something.
    return f"{read.removeprefix('##') if token.token.startswith('##') else read} {SIGNS[mark]}"


def _html(reading, view, number):
    """A text as HTML: words in spans, in them tokens in spans, and every character of it once."""
    parts, done, n = [], 0, 0
    for word in reading.words:
        parts += [_exact(reading.text[done : word.start]), Markup('<span class="w">')]
        done = max(done, word.start)
        for token in word.tokens:  # tokens of one character (an emoji in bytes) have the same place: show it once
            start, end = max(done, token.start), max(done, token.end)
            mark, note = reading.mark(token), view["notes"].get(n)
            parts += [
                _exact(reading.text[done:start]),
                Markup('<span class="t {}" style="--p:{}%"').format(mark, view["probabilities"][n] / 10),
                Markup(' id="t{}-{}"').format(number, n) if mark == "odd" else "",
                Markup(' data-note="{}"').format(note) if note else "",
                Markup(">"),
                _exact(reading.text[start:end]),
                Markup("</span>"),
            ]
            done, n = end, n + 1
        parts.append(Markup("</span>"))
    return Markup("").join([*parts, _exact(reading.text[done:])])


def _odd_words(readings):
    """The words of texts read as they are that hold an odd token, oddest first: `list` of `dict`."""
    found = []
    for number, reading in enumerate(readings):
        first = 0  # of the word's tokens in the text
        for word in reading.words:
            place = max(range(len(word.tokens)), key=lambda n: word.tokens[n].probability)
            oddest = word.tokens[place]
            if oddest.called_replaced:
                before, after = reading.text[word.start : oddest.start], reading.text[oddest.end : word.end]
                continues = oddest.token.startswith("##")
                instead = [
                    before + one.token.removeprefix("##") + after
                    if one.token.startswith("##") == continues
                    else one.token
                    for one in oddest.candidates
                    if one.token != oddest.token
                ]
                shown = {"text": reading.text[word.start : word.end], "instead": instead}
                found.append({**shown, "per_mille": _per_mille(oddest), "link": f"t{number}-{first + place}"})
            first += len(word.tokens)
    return sorted(found, key=lambda word: -word["per_mille"])


def _language_of(text):
    """The `lang` of a text for voices and line breaks: `"ko"` with Hangul, `"en"` in ASCII letters, else unknown."""
    if re.search("[가-힣\u1100-\u11ff\u3131-\u318e]", text):
        return "ko"
    letters = [character for character in text if character.isalpha()]
    return "en" if letters and all(one.isascii() for one in letters) else ""


def _per_mille(one):
    """Of a [`Token`] or a [`Candidate`]."""
    return round(one.probability * 1000)


def _exact(text):
    """Text as HTML that a browser gives back character by character: it would make a line feed of a bare `\\r`."""
    return Markup(escape(text).replace("\r", Markup("&#13;")))


def _environment():
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "sort_keys": False}
    return environment
