"""Charts by matplotlib: as SVG inside a page, in colours of the page, or all of them in one PNG."""

import importlib.util
import io
import logging
import re
import warnings
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..shell import python_name
from .charts import Bars


logger = logging.getLogger(__name__)

SIZE = (4.3, 2.9)  # inches, of one chart: as wide as a phone at the font sizes below
COLUMNS = 3
PNG_DPI = 150
MARKERS = 12  # of a line at most
MOST_TICKS = 7  # numbers of rows that are named below an axis
OWN_FONT = "DejaVu Sans"  # comes with matplotlib
HANGUL = "가"
# Fonts with Hangul of the usual systems, by the beginnings of their names.
HANGUL_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Noto Sans CJK",
    "Source Han Sans",
    "Pretendard",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
    "Baekmuk",
)
# Colours of Okabe and Ito, which colour-blind readers can tell apart. Each is drawn as it is in a PNG; in a page the
# variable of the same name takes its place, so that one figure fits light and dark.
COLOURS = {
    "ink": "#222426",
    "faint": "#c9cdd1",
    "paper": "#fefefe",
    "blue": "#0072b2",
    "red": "#d55e00",
    "green": "#009e73",
    "sky": "#56b4e9",
    "orange": "#e69f00",
}
# Lines differ in dashes and markers too, bars in hatching.
LOOKS: dict[str, dict[str, Any]] = {
    "training": {"color": COLOURS["blue"], "linestyle": "-", "marker": ""},
    "held_out": {"color": COLOURS["red"], "linestyle": "--", "marker": "o"},
    "third": {"color": COLOURS["green"], "linestyle": ":", "marker": "^"},
    "constant": {"color": COLOURS["ink"], "linestyle": ":", "marker": ""},  # what reads nothing
    "before": {"color": COLOURS["red"], "linestyle": "--", "marker": "s"},
    "after": {"color": COLOURS["blue"], "linestyle": "-", "marker": "o"},
    "fourth": {"color": COLOURS["orange"], "linestyle": "-.", "marker": "D"},
    "fifth": {"color": COLOURS["sky"], "linestyle": (0, (6, 2)), "marker": "v"},
}
BAR_LOOKS = {
    "caught": {"facecolor": COLOURS["blue"], "hatch": ""},
    "missed": {"facecolor": COLOURS["orange"], "hatch": "////"},
    "right": {"facecolor": COLOURS["sky"], "hatch": ""},
    "false_alarms": {"facecolor": COLOURS["red"], "hatch": "\\\\\\\\"},
}
STYLE: dict[Any, Any] = {
    "figure.facecolor": COLOURS["paper"],
    "axes.facecolor": COLOURS["paper"],
    "savefig.facecolor": COLOURS["paper"],
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["faint"],
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "grid.color": COLOURS["faint"],
    "hatch.color": COLOURS["paper"],
    "font.size": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "electra-rtd",  # the same figures give the same bytes
    "text.parse_math": False,  # a name may hold a dollar sign
}
SVG_SPACES = re.compile(r"\{[^}]*\}")
REFERENCE = re.compile(r"#([\w-]+)")


def require_matplotlib():
    """Say how to install matplotlib where it is missing.

    Raises:
        ImportError: it is.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(f"A report needs matplotlib for its figures: `{python_name()} -m pip install matplotlib`.")


@cache
def fonts():
    """The fonts of figures: matplotlib's own, and an installed one with Hangul where there is one: `list[str]`."""
    from matplotlib import font_manager

    names = sorted({font.name for font in font_manager.fontManager.ttflist})
    candidates = (name for beginning in HANGUL_FONTS for name in names if name.startswith(beginning))
    with_hangul = next((name for name in candidates if _covers([name], HANGUL)), None)
    return [OWN_FONT] if with_hangul is None else [OWN_FONT, with_hangul]


def has_glyphs(text):
    """Whether a figure can show all characters of a text: `bool`."""
    return _covers(fonts(), text)


def _covers(families, text):
    from matplotlib import font_manager

    maps = [font_manager.get_font(font_manager.findfont(family)).get_charmap() for family in families]
    return all(any(ord(character) in one for one in maps) for character in text)


def draw_svg(chart):
    """A chart as SVG to stand in an HTML page: it scales, speaks for itself, and takes the page's colours.

    Args: chart ([`Lines`] or [`Bars`]).
    Returns: `str`
    """
    from matplotlib.figure import Figure

    with _style(fonts()):
        figure = Figure(figsize=_size(chart), layout="constrained")
        _draw(chart, figure.subplots())
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(written.getvalue(), chart)


def draw_png(charts, title, path):
    """All charts in one picture.

    Args: charts (`list` of [`Lines`] and [`Bars`]); title (`str`); path (`Path`): the file to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _style(fonts()):
        rows = max(1, -(-len(charts) // COLUMNS))
        height = max([SIZE[1], *(_size(chart)[1] for chart in charts)])
        layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
        figure = Figure(figsize=(SIZE[0] * COLUMNS, height * rows + 0.4), dpi=PNG_DPI, layout=layout)
        places = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for axes, chart in zip(places, charts, strict=False):
            _draw(chart, axes)
            axes.set_title(chart.title, loc="left", pad=28 if axes.get_legend() else 8, fontweight="bold")
        for axes in list(figure.axes)[len(charts) :]:
            axes.remove()
        if has_glyphs(title):  # never boxes: a name may be in any script
            figure.suptitle(title, x=0.012, ha="left", fontsize=14)
        figure.savefig(path, format="png", metadata={"Software": None})


@contextmanager
def _style(families):
    """Our looks whatever the user's matplotlibrc says; everything is as it was afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # In SVG the reader's fonts count, which have Hangul; ours are only measured. A PNG is asked before.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        matplotlib.rcParams["font.family"] = families
        yield


def _size(chart):
    if isinstance(chart, Bars):
        return SIZE[0], max(SIZE[1], 1.1 + 0.21 * len(chart.rows))
    return SIZE


def _draw(chart, axes):
    axes.set_axisbelow(True)
    axes.set_xlabel(chart.x_label)
    if isinstance(chart, Bars):
        _draw_bars(chart, axes)
    else:
        _draw_lines(chart, axes)
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > 1:
        # Above the axes: no line can run under it.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, borderpad=0.2)


def _draw_lines(chart, axes):
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator

    if chart.diagonal:
        axes.plot([0, 1], [0, 1], color=COLOURS["faint"], linewidth=1.2)
    if chart.zero:
        axes.axhline(0, color=COLOURS["ink"], linewidth=0.8)
    for series in chart.series:
        _draw_series(series, axes)
    axes.grid(axis="y", linewidth=0.6)
    over_probabilities = chart.diagonal or chart.counts
    locator = FixedLocator([0, 0.25, 0.5, 0.75, 1]) if over_probabilities else MaxNLocator(4, integer=True)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick if over_probabilities else _number_tick))
    if chart.counts:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, numticks=5))
        axes.minorticks_off()
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick if chart.shares else _number_tick))
    if over_probabilities:
        axes.set_xlim(-0.02, 1.02)
    if chart.ticks:
        _place_counts(chart.ticks, axes)
    if chart.diagonal:
        axes.set_ylim(-0.02, 1.02)


def _place_counts(ticks, axes):
    """Numbers of rows on x, as far apart as they are as factors; as many of them named as fit."""
    axes.set_xscale("log")
    axes.minorticks_off()
    named = ticks[:: -(-len(ticks) // MOST_TICKS)]
    axes.set_xticks(named, [f"{count:,}" for count in named])
    axes.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.3)


def _draw_series(series, axes):
    look = dict(LOOKS[series.look])
    count = len(series.points)
    if count < 3:  # a line between two points would claim to know what lies between
        look |= {"linestyle": "", "marker": look["marker"] or "o"}
    steps, values = zip(*series.points, strict=True)
    every = max(1, count // MARKERS)
    axes.plot(steps, values, label=series.label, linewidth=1.6, markersize=4.5, markevery=every, **look)
    if series.bounds:
        low, high = zip(*series.bounds, strict=True)
        axes.vlines(steps, low, high, color=look["color"], linewidth=0.8)


def _draw_bars(chart, axes):
    places = list(range(len(chart.rows)))
    start = [0.0] * len(places)
    for label, look, shares in chart.parts:
        axes.barh(places, shares, left=start, height=0.75, label=label, linewidth=0, **BAR_LOOKS[look])
        start = [left + share for left, share in zip(start, shares, strict=True)]
    axes.set_yticks(places, chart.rows)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])


def _number_tick(value, _):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent_tick(value, _):
    return f"{100 * value:.3g}%"


# ---- From a file of its own to a part of a page ----


def _for_page(written, chart):
    """The SVG element that matplotlib wrote, without what would clash with the page or with other figures in it."""
    root = ElementTree.fromstring(written)
    for element in list(root.iter()):
        element.tag = SVG_SPACES.sub("", element.tag)
        attributes = {SVG_SPACES.sub("", name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({name: _in_page(value, chart.name) for name, value in attributes.items()})
    used = set(REFERENCE.findall(" ".join(value for element in root.iter() for value in element.attrib.values())))
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in ("metadata", "style")]:
            parent.remove(child)  # the page has its own style, and theirs would reach all of it
        if parent.get("id") is not None and f"{chart.name}-{parent.get('id')}" not in used:
            del parent.attrib["id"]
        elif parent.get("id") is not None:
            parent.set("id", f"{chart.name}-{parent.get('id')}")
    _describe(root, chart)
    return ElementTree.tostring(root, encoding="unicode")


def _in_page(value, name):
    for variable, colour in COLOURS.items():
        value = value.replace(colour, f"var(--{variable})")
    if value.startswith("#") or "url(#" in value:
        value = REFERENCE.sub(rf"#{name}-\1", value)
    return re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", value)


def _describe(root, chart):
    """Text for those who do not see the figure, and its size left to the page."""
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    ids = [f"{chart.name}-title", f"{chart.name}-description"]
    root.attrib.update({"class": "chart", "role": "img", "aria-labelledby": " ".join(ids)})
    for place, (tag, text) in enumerate((("title", chart.title), ("desc", chart.description))):
        element = ElementTree.Element(tag, {"id": ids[place]})
        element.text = text
        root.insert(place, element)
