"""Puts tables and figure into docs/study.md and docs/recipes.md; all else in them is written by hand, and stays."""

import re

from .. import ROOT
from ..report import page_or_copy
from .figure import draw_gains
from .results import Results
from .tables import advice, study_tables


PAGE, RECIPES = ROOT / "docs" / "study.md", ROOT / "docs" / "recipes.md"
FIGURE = "study-gains.svg"


def write_pages(content, form, output=None):
    """Write what is known by now.

    Args:
        content (`dict`): of the record; form ([`Form`])
        output (`Path`, *optional*): a folder for copies of the pages, in place of the project's own.

    Returns:
        `list[Path]`: what was written.
    """
    pages = [page_or_copy(page, output) for page in (PAGE, RECIPES)]
    study, recipes = pages
    results = Results(content, form.seeds)
    text = study_tables(results, form)
    figure = draw_gains(results) if form.name == "whole" else None
    if figure is not None:
        folder = study.parent / "study"
        folder.mkdir(exist_ok=True)
        figure.savefig(folder / FIGURE, metadata={"Date": None}, bbox_inches="tight")
        text = f"![What each arm gains over the base](study/{FIGURE})\n\n{text}"
        pages.append(folder / FIGURE)
    _put(study, form.name, text)
    if form.name == "whole":
        _put(recipes, "advice", advice(results, form))
    return pages


def _put(page, name, text):
    page.write_text(replace_between_markers(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def replace_between_markers(page, name, text):
    """Put text between the two markers of a name.

    Args: page (`str`): the whole page; name (`str`); text (`str`). Returns: `str`.
    Raises: ValueError: the page does not have the two markers once each.
    """
    start, end = f"<!-- study:{name} -->", f"<!-- /study:{name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"The page needs the lines {start} and {end}, once each.")
    pattern = re.escape(start) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda match: f"{start}\n{text.strip()}\n{end}", page, flags=re.DOTALL)
