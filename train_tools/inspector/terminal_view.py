"""Readings in a terminal: token under token, with the verdict, and what the generator thought of."""

from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..language import choose_language
from .inspector_texts import TEXTS
from .reading import CAUGHT, FALSE_ALARM, MISSED, SIGNS
from .reading import closing as closing_of


STYLES = {CAUGHT: "bold green", MISSED: "bold red", FALSE_ALARM: "bold yellow"}
STYLES |= {"lucky_alarm": "bold yellow", "odd": "bold yellow"}  # any other is dim
OPENING, CLOSING = "«", "»"  # around a replacement, so that it shows without colours


def sample_view(readings, *, step, epoch, width, lang=None):
    """Held-out texts during training, under a heading with epoch and step.

    Args: readings (`list` of [`Reading`]); step (`int`); epoch (`float` or `None`); width (`int`): columns of the
        terminal; lang (`str`, *optional*): `"ko"` or `"en"`. Returns: a renderable of `rich`.
    """
    texts = TEXTS[choose_language(lang)]
    heading = texts["sample"].format(epoch="-" if epoch is None else f"{epoch:.2f}", step=step)
    parts: list = [Rule(Text(heading), align="left", characters="─")]
    for reading in readings:
        parts += [*interlinear(reading, texts, width), Text(closing(reading, texts)), Text("")]
    return Group(*parts[:-1], legend(readings[0], texts))


def text_view(reading, *, number, of, width, lang=None):
    """One text with all its tokens, and a table of those that there is something to say about.

    Args: reading ([`Reading`]); number, of (`int`): which of how many texts; width (`int`); lang (`str`, *optional*).
    """
    texts = TEXTS[choose_language(lang)]
    heading = texts["text"].format(number=number, of=of)
    if reading.temperature is not None:
        heading += f" · {texts['temperature'].format(temperature=reading.temperature)}"
    rows = [(word, token) for word in reading.words for token in word.tokens if token.masked or token.called_replaced]
    found = _table(reading, rows, texts) if rows else Text(texts["nothing"], style="dim")
    lines = interlinear(reading, texts, width)
    return Group(Rule(Text(heading), align="left"), *lines, Text(""), found, Text(""), Text(closing(reading, texts)))


def print_readings(readings, *, lang=None):
    """Print texts, one after the other, and the legend.

    Args: readings (`list` of [`Reading`]), of one kind; lang (`str`, *optional*): `"ko"` or `"en"`.
    """
    console = Console(highlight=False)
    for number, reading in enumerate(readings, start=1):
        console.print(text_view(reading, number=number, of=len(readings), width=console.width, lang=lang))
        console.print()
    if readings:
        console.print(legend(readings[0], TEXTS[choose_language(lang)]))


def legend(reading, texts):
    """The line that explains the signs. Args: reading ([`Reading`]); texts (`dict`). Returns: `Text`."""
    return Text(texts["legend_odd" if reading.temperature is None else "legend"], style="dim")


def closing(reading, texts):
    """The line that ends a text. Args: reading ([`Reading`]); texts (`dict`), of a language. Returns: `str`."""
    return closing_of([reading], texts)


def interlinear(reading, texts, width):
    """The tokens side by side, below each what became of it; as many blocks as the width needs.

    Args: reading ([`Reading`]); texts (`dict`); width (`int`). Returns: `list` of `rich.table.Table`.
    """
    corrupted = reading.temperature is not None
    names = ["original", "generator", "replacement", "verdict"] if corrupted else ["original", "probability_odd"]
    labels = [Text(texts[name], style="dim") for name in names]
    label_width = max(label.cell_len for label in labels)
    columns = [_column(token, corrupted) for token in reading.tokens]
    return [part for block in _blocks(labels, columns, width - label_width - 2) for part in (Text(""), block)][1:]


def _column(token, corrupted):
    """The cells of one token, from above: `list` of `Text`."""
    read, says = token.discriminator_read, token.verdict if corrupted else "odd"
    is_plain = not (token.called_replaced or token.replaced)
    sign = SIGNS["plain"] if is_plain else f"{SIGNS[says]}{token.probability:.0%}"
    verdict = Text(sign, style="dim" if is_plain else STYLES[says])
    if not corrupted:
        return [Text(token.token, style="bold" if token.called_replaced else ""), verdict]
    return [
        Text(token.token),
        Text(token.generator_read, style="cyan" if token.masked else "dim"),
        Text(f"{OPENING}{read}{CLOSING}", style="bold magenta") if token.replaced else Text(read, style="dim"),
        verdict,
    ]


def _blocks(labels, columns, width):
    """Columns in tables, each as wide as fits, and never empty: `list` of `rich.table.Table`."""
    groups: list[list] = []
    used = width + 1  # the first column opens a group
    for column in columns:
        wide = max(cell.cell_len for cell in column) + 1
        if used + wide > width:
            groups.append([])
            used = 0
        groups[-1].append(column)
        used += wide
    tables = []
    for group in groups:
        table = Table.grid(padding=(0, 1, 0, 0))
        for number in range(len(group) + 1):
            table.add_column(no_wrap=True, overflow="fold" if number else "ellipsis")
        for row in zip(labels, *group, strict=True):
            table.add_row(*row)
        tables.append(table)
    return tables


def _table(reading, rows, texts):
    corrupted = reading.temperature is not None
    table = Table(show_edge=False, pad_edge=False)
    odds = "probability" if corrupted else "probability_odd"
    for name in ["token", "word", *(["became"] if corrupted else []), odds, "result", "candidates"]:
        table.add_column(texts[name], justify="right" if name == odds else "left")
    for word, token in rows:
        mark = reading.mark(token)
        became = [Text(token.discriminator_read if token.replaced else "")]
        table.add_row(
            Text(token.token),
            Text(reading.text[word.start : word.end]),
            *(became if corrupted else []),
            Text(f"{token.probability:.0%}"),
            Text(texts["odd_token" if mark == "odd" else mark], style=STYLES.get(mark, "dim")),
            Text("  ".join(f"{one.token} {one.probability:.0%}" for one in token.candidates)),
        )
    return table
