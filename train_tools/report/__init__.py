"""A run looked at: one page of curves, figures and settings, from the files that it left."""

import logging
from pathlib import Path

from ...hub_tools.staging import files_for_folder
from ..language import choose_language
from . import figures
from .report_page import charts_of, render
from .report_texts import TEXTS
from .run import read_run


__all__ = ["read_run", "report_run"]

logger = logging.getLogger(__name__)

PAGE_FILE = "report.html"


def report_run(run, *, html=None, png=None, lang=None):
    """Write the report of a run: one self-contained HTML page and, if asked for, its figures as one PNG.

    Args:
        run (`str` or path): the output folder of `electra-rtd adapt`, or of any Trainer with `RTDMetricsCallback`.
        html (`str` or path, *optional*): the page to write, by default `report.html` in the run's folder.
        png (`str` or path, *optional*): the picture to write, by default none.
        lang (`str`, *optional*): `"ko"` or `"en"`, by default the locale's.

    Returns:
        `list[Path]`: the files that were written; each is whole, or as it was before.

    Raises: ImportError: matplotlib is not installed. ValueError: no folder, no `trainer_state.json` in it, a file that
        cannot be read, or no such language. OSError: a file cannot be written.
    """
    lang = choose_language(lang)
    targets = {"html": Path(html) if html is not None else Path(run) / PAGE_FILE}
    if png is not None:
        targets["png"] = Path(png)
    for kind, target in targets.items():
        if target.is_dir():
            raise ValueError(f"{kind} is {target}, a folder: give the name of a file.")
    figures.require_matplotlib()
    read = read_run(run)
    page = render(read, TEXTS[lang], lang)
    with files_for_folder(targets["html"].parent) as staged:
        # A lone surrogate in a name has no UTF-8; as an escape it can at least be read.
        (staged / targets["html"].name).write_bytes(page.encode("utf-8", "backslashreplace"))
    if png is not None:
        with files_for_folder(targets["png"].parent) as staged:
            _write_png(read, lang, staged / targets["png"].name)
    return list(targets.values())


def _write_png(run, lang, path):
    if lang == "ko" and not figures.hangul_fonts():
        logger.warning("No installed font has Hangul: the labels of the PNG are in English. Install Noto Sans CJK.")
        lang = "en"
    texts = TEXTS[lang]
    title = texts["png_title"].format(name=run.name, steps=f"{run.state.get('global_step') or 0:,}")
    figures.draw_png(charts_of(run, texts), title, path)
