"""Charts by matplotlib: each as a picture in a page, as it writes it, or all of them in one PNG."""

import base64
import importlib.util
import io
import warnings
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..shell import python_name


SIZE = (3.1, 2.1)  # inches, of one chart: a quarter of a wide page, and most of a phone
COLUMNS = 4
PNG_DPI = 150
MARKERS = 12  # of a line at most
OWN_FONT = "DejaVu Sans"  # comes with matplotlib
HANGUL_FONTS = ["Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans KR", "Source Han Sans KR", "Pretendard"]
HANGUL_FONTS += ["NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic", "UnDotum", "Baekmuk Dotum"]
INK, FAINT, PAPER = "#222426", "#c9cdd1", "#ffffff"  # a page turns the colours around where it is dark
# Colours of Okabe and Ito, which colour-blind readers can tell apart; lines differ in dashes and markers too.
BLUE, RED = "#0072b2", "#d55e00"
LOOKS: dict[str, dict[str, Any]] = {
    "training": {"color": BLUE, "linestyle": "-", "marker": ""},
    "held_out": {"color": RED, "linestyle": "--", "marker": "o"},
    "constant": {"color": INK, "linestyle": ":", "marker": ""},  # what reads nothing
    "before": {"color": RED, "linestyle": "--", "marker": "s"},
    "after": {"color": BLUE, "linestyle": "-", "marker": "o"},
}
STYLE: dict[Any, Any] = {
    **{f"{name}.facecolor": PAPER for name in ("figure", "axes", "savefig")},
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize", "axes.titlesize"), 9),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
    "svg.fonttype": "none",  # text stays text: small, and in a font of the reader's
    "svg.hashsalt": "electra-rtd",  # the same figures give the same bytes
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.family": ["sans-serif"],
}


def require_matplotlib():
    """Say how to install matplotlib where it is missing. Raises: ImportError."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(f"A report needs matplotlib for its figures: `{python_name()} -m pip install matplotlib`.")


@cache
def hangul_fonts():
    """The installed fonts with Hangul: `list[str]`."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in HANGUL_FONTS if name in installed]


def draw_svg(chart):
    """A chart as the address of a picture that stands in the page itself: `str`. Args: chart ([`Chart`])."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=SIZE, layout="constrained")
        _draw(chart, figure.subplots())
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(written.getvalue()).decode()}"


def draw_png(charts, title, path):
    """All charts in one picture. Args: charts (`list` of [`Chart`]); title (`str`); path (`Path`): the file."""
    from matplotlib.figure import Figure

    with _style():
        rows = max(1, -(-len(charts) // COLUMNS))
        size = SIZE[0] * COLUMNS, 1.2 * SIZE[1] * rows + 0.4
        figure = Figure(figsize=size, dpi=PNG_DPI, layout="constrained")
        places = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for axes, chart in zip(places, charts, strict=False):
            _draw(chart, axes)
            axes.set_title(chart.title, loc="left", pad=26 if axes.get_legend() else 8, fontweight="bold")
        for axes in list(figure.axes)[len(charts) :]:
            axes.remove()
        if max(title) < "\u0500" or hangul_fonts():  # never boxes
            figure.suptitle(title, x=0.012, ha="left", fontsize=14)
        figure.savefig(path, format="png", metadata={"Software": None})


@contextmanager
def _style():
    """Our looks whatever the user's matplotlibrc says; everything is as it was afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # In SVG the reader's fonts count, which have Hangul; ours are only measured. A PNG is asked before.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "font.sans-serif": [OWN_FONT, *hangul_fonts()]})
        yield


def _draw(chart, axes):
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

    axes.set_axisbelow(True)
    axes.set_xlabel(chart.x_label)
    axes.grid(axis="y", linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick if chart.shares else _number_tick))
    for series in chart.series:
        _draw_series(series, axes)
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, zorder=0)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        axes.xaxis.set_major_formatter(FuncFormatter(_percent_tick))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_number_tick))
    if len(chart.series) > 1:  # above the axes: no line can run under it
        place = {"loc": "lower left", "bbox_to_anchor": (-0.12, 0.99), "ncols": 3, "frameon": False}
        axes.legend(**place, borderpad=0.1, handlelength=1.5, columnspacing=1, handletextpad=0.5)


def _draw_series(series, axes):
    look = dict(LOOKS[series.look])
    if len(series.points) < 3:  # a line between two points would claim to know what lies between
        look |= {"linestyle": "", "marker": look["marker"] or "o"}
    steps, values = zip(*series.points, strict=True)
    every = max(1, len(steps) // MARKERS)
    axes.plot(steps, values, label=series.label, linewidth=1.5, markersize=3.5, markevery=every, **look)
    if series.bounds:
        low, high = zip(*series.bounds, strict=True)
        axes.vlines(steps, low, high, color=look["color"], linewidth=0.8)


def _number_tick(value, _):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent_tick(value, _):
    return f"{100 * value:.3g}%"
