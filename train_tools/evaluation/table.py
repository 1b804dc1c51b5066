"""An evaluation for a terminal: tables of at most 100 columns, and what they say in a sentence."""

from rich.cells import cell_len

from ..language import choose_language
from .result_texts import TEXTS
from .results import notes, tables, task_line, verdicts


WIDTH = 100
GAP = "  "


def table(evaluation, lang=None):
    """What an evaluation says.

    Args:
        evaluation ([`Evaluation`])
        lang (`str`, *optional*): `"ko"` or `"en"`, by default the locale's.

    Returns:
        `str`: several lines

    Raises:
        ValueError: there is no such language.
    """
    texts = TEXTS[choose_language(lang)]
    parts = [_wrapped(task_line(evaluation, texts))]
    parts += [_table(cells) for cells in tables(evaluation, texts)]
    beside = notes(evaluation, texts)
    if beside:
        parts.append("\n".join(map(_wrapped, beside)))
    said = verdicts(evaluation, texts)
    if said:
        parts.append("\n".join(map(_wrapped, said)))
    return "\n\n".join(parts)


def _table(cells):
    """Columns side by side, the first to the left and the others to the right; too many go below each other."""
    widths = [max(map(cell_len, column)) for column in zip(cells.head, *cells.rows, strict=True)]
    blocks, place = [], 1
    while place < len(widths):
        end, width = place, widths[0] + len(GAP)
        while end < len(widths) and (end == place or width + len(GAP) + widths[end] <= WIDTH):
            width += len(GAP) + widths[end]
            end += 1
        chosen = [0, *range(place, end)]
        lines = [[row[column] for column in chosen] for row in (cells.head, *cells.rows)]
        blocks.append("\n".join(_line(line, [widths[column] for column in chosen]) for line in lines))
        place = end
    return "\n".join([_wrapped(cells.caption), *blocks])


def _line(cells, widths):
    first, *rest = (" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
    right = "".join(f"{GAP}{pad}{cell}" for cell, pad in zip(cells[1:], rest, strict=True))
    return f"{GAP}{cells[0]}{first}{right}".rstrip()


def _wrapped(sentence):
    """A sentence in lines that fit, also where characters take two columns."""
    lines, line = [], ""
    for word in sentence.split(" "):
        if line and cell_len(f"{line} {word}") > WIDTH:
            lines.append(line)
            line = f"{GAP}{word}"
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
