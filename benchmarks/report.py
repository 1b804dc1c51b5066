"""The results as tables and figures of docs/performance.md: `make bench-report`.

A table stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`, where NAME is that of a file of results; all
else in the page is written by hand, and stays.
"""

import json
import re
import shutil
from pathlib import Path

import matplotlib
import numpy as np

from . import ROOT
from .gpu.table import gpu_tables
from .machine import RESULTS


matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "electra-rtd"  # the same results, the same file
from matplotlib import pyplot  # noqa: E402 - after the choice of back end
from matplotlib.ticker import LogLocator  # noqa: E402


PAGE = ROOT / "docs" / "performance.md"
FIGURES = ROOT / "docs" / "performance"
# Okabe and Ito's colours, which colour-blind readers tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
MIB = 2**20
GPU = "gpu-cuda"  # the one file of `make gpu`
ELSEWHERE = ("study-", "pairs-", "objectives-", "reliability-")  # files of commands that write pages of their own


def main():
    """Write the tables into the page, and the figures beside it."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    page = PAGE.read_text(encoding="utf-8")
    for path in sorted(path for path in RESULTS.glob("*.json") if path.suffixes == [".json"]):
        if path.stem.startswith(ELSEWHERE):
            continue
        if path.stem == GPU:
            page = replace_between_markers(page, GPU, gpu_tables(json.loads(path.read_text(encoding="utf-8"))))
            print(path.name)
            continue
        kind, runs = path.stem.split("-")[0], json.loads(path.read_text(encoding="utf-8"))
        text = TABLES[kind](runs)
        if kind in DRAWINGS:
            caption, draw = DRAWINGS[kind]
            _save(draw(runs), FIGURES / f"{path.stem}.svg")
            text = f"![{caption}](performance/{path.stem}.svg)\n\n{text}"
        page = replace_between_markers(page, path.stem, text)
        print(f"{path.name}: {len(runs)} runs")
    PAGE.write_text(page, encoding="utf-8")


def replace_between_markers(page, name, text):
    """Put text between the two markers of a name.

    Args:
        page (`str`): the whole page.
        name (`str`): of a file of results.
        text (`str`)

    Returns:
        `str`: the page.

    Raises:
        ValueError: the page does not have the two markers once each.
    """
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"docs/performance.md needs the lines {start} and {end}, once each, for results/{name}.json.")
    pattern = re.escape(start) + ".*?" + re.escape(end)
    return re.sub(pattern, lambda match: f"{start}\n{text.strip()}\n{end}", page, flags=re.DOTALL)


# ---- Tables ---------------------------------------------------------------------------------------------------------


def page_or_copy(page, output):
    """Where a page is to be written.

    Args: page (`Path`): of the project; output (`Path`, *optional*): a folder for a copy in its place, which is made.
    Returns: `Path`
    """
    if output is None:
        return page
    output.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(page, output / page.name))


def step_tables(runs):
    """Args: runs (`list[dict]`): of `benchmarks.step`. Returns: `str`."""
    return "\n\n".join(_step_table(run) for run in runs)


def _step_table(run):
    rows = [
        [
            name,
            f"{figures['real_tokens_per_second']:,.0f}",
            f"{figures['padded_tokens_per_second']:,.0f}",
            _ratio(figures["against"].get("plain")),
            _ratio(figures["against"].get("mlm")),
            _ratio(figures["against"].get("ours")),
            _utilisation(figures, run),
            f"{figures['peak_memory'] / MIB:,.0f}",
            _losses(figures["losses"]),
            figures["note"],
        ]
        for name, figures in run["contenders"].items()
    ]
    rows += [[name, *["n/a"] * 8, f"left out: {reason}"] for name, reason in run["failed"].items()]
    header = [
        "who",
        "real tokens/s",
        "with padding",
        "x plain",
        "x MLM",
        "x ours",
        "utilisation",
        "peak MiB",
        "losses at the end",
        "remarks",
    ]
    title = f"**{_title(run)}**, {run['batch_size']} rows a batch"
    facts = (
        f"{run['rounds']} rounds after {run['warmup']} of warm-up; {machine_words(run)}. Matrix product: "
        f"{run['matrix_product']['median'] / 1e9:,.0f} GFLOP/s{_data_sheet(run)}. Text: {run['text']}."
    )
    return f"{title}\n\n{markdown_table(header, rows)}\n\n{facts}"


def _title(run):
    return ", ".join(run[part] for part in ("shape", "dtype", "scenario", "title") if run.get(part))


def data_table(runs):
    """Args: runs (`list[dict]`): of `benchmarks.data`. Returns: `str`."""
    header = ["shape", "read and tokenized, sentences/s", "tokenized alone", "cache hit, s", "step waits for data"]
    rows = [
        [
            f"{run['shape']}, {run['dtype']}",
            f"{run['sentences_per_second']:,.0f}",
            f"{run['tokenized_per_second']:,.0f}",
            f"{run['cache_hit_seconds']:.2f}",
            f"{run['wait_share']:.2%}",
        ]
        for run in runs
    ]
    return markdown_table(header, rows) + "\n\n" + _facts(runs)


def trainer_table(runs):
    """Args: runs (`list[dict]`): of `benchmarks.end_to_end`. Returns: `str`."""
    header = ["shape", "`Trainer.train()`, real tokens/s", "bare step", "seconds of a step against bare", "all steps"]
    rows = [
        [
            f"{run['shape']}, {run['dtype']}",
            f"{run['trainer_tokens_per_second']:,.0f}",
            f"{run['bare_tokens_per_second']:,.0f}",
            _ratio(run["seconds_against_bare"], digits=3),
            f"{run['all_seconds_against_bare']:.3f}",
        ]
        for run in runs
    ]
    return markdown_table(header, rows) + "\n\n" + _facts(runs)


def watching_table(runs):
    """Args: runs (`list[dict]`): of `benchmarks.watching`. Returns: `str`."""
    every = list(runs[0]["overhead"])
    header = ["shape", "a step, s", "a view, s", *(f"overhead, a view every {steps} steps" for steps in every)]
    rows = [
        [
            run["shape"],
            f"{run['step_seconds']:.3f}",
            f"{run['view_seconds']:.3f}",
            *(f"{run['overhead'][steps]:.3%}" for steps in every),
        ]
        for run in runs
    ]
    return markdown_table(header, rows) + "\n\n" + _facts(runs)


def scaling_table(runs):
    """Args: runs (`list[dict]`): of `benchmarks.scaling`. Returns: `str`."""
    header = ["swept", "from, to", "exponent", "expected", "peak MiB", "by the formula"]
    rows = []
    for run in runs:
        first, last = run["points"][0], run["points"][-1]
        measured, predicted = (
            f"{first[name] / MIB:,.0f} to {last[name] / MIB:,.0f}" for name in ("peak_memory", "predicted_memory")
        )
        reach = f"{first['value']:,.0f} to {last['value']:,.0f}"
        rows.append([run["sweep"], reach, _ratio(run["exponent"]), run["expected"], measured, predicted])
    return markdown_table(header, rows) + "\n\n" + _facts(runs)


def markdown_table(header, rows):
    """Args: header (`list[str]`); rows (`list[list[str]]`). Returns: `str`, a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ratio(ratio, digits=2):
    if ratio is None:
        return "n/a"
    return f"{ratio['median']:.{digits}f} ({ratio['p10']:.{digits}f} to {ratio['p90']:.{digits}f})"


def _utilisation(figures, run):
    measured = f"{figures['utilisation']['median']:.0%}"
    if run["data_sheet_rate"]:
        return f"{measured} ({figures['useful_flops_per_second'] / run['data_sheet_rate']:.0%} of the data sheet)"
    return measured


def _data_sheet(run):
    return f", by the data sheet {run['data_sheet_rate'] / 1e9:,.0f}" if run["data_sheet_rate"] else ""


def _losses(losses):
    parts = [f"{name.removesuffix('_loss')} {value:.2f}" for name, value in losses.items() if name != "loss"]
    return ", ".join(parts) or f"sum {losses['loss']:.2f}"


def machine_words(run):
    """Args: run (`dict`): with `machine`, see [`describe_machine`]. Returns: `str`, processor, threads, releases."""
    machine = run["machine"]
    return (
        f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}, "
        f"transformers {machine['transformers']}"
    )


def _facts(runs):
    facts = dict.fromkeys(machine_words(run) + (f". Text: {run['text']}" if "text" in run else "") for run in runs)
    return " ".join(f"{fact}." for fact in facts)


# ---- Figures --------------------------------------------------------------------------------------------------------


def draw_ratios(runs):
    """Bars of real tokens a second against the plain step, a panel a run; whiskers from 10th to 90th percentile.

    Args: runs (`list[dict]`): of `benchmarks.step`. Returns: `matplotlib.figure.Figure`.
    """
    runs = [run for run in runs if "plain" in run["contenders"]]
    columns = min(3, max(1, len(runs)))
    lines = -(-len(runs) // columns)
    most = max((len(run["contenders"]) for run in runs), default=1)
    figure, axes = pyplot.subplots(
        max(1, lines), columns, figsize=(5.5 * columns, (0.3 * most + 1) * max(1, lines)), squeeze=False
    )
    for axis in axes.flat[len(runs) :]:
        axis.set_axis_off()
    for axis, run in zip(axes.flat, runs, strict=False):
        _draw_bars(axis, run)
    figure.tight_layout()
    return figure


def _draw_bars(axis, run):
    names = list(run["contenders"])
    ratios = [run["contenders"][name]["against"]["plain"] for name in names]
    medians = np.array([ratio["median"] for ratio in ratios])
    whiskers = np.abs(np.array([[ratio["p10"], ratio["p90"]] for ratio in ratios]).T - medians)
    colours = [BLUE if name.startswith("ours") else ORANGE if name == "mlm" else GREY for name in names]
    axis.barh(names, medians, xerr=whiskers, color=colours, error_kw={"elinewidth": 1, "capsize": 2})
    axis.axvline(1.0, color="black", linewidth=0.8)
    axis.invert_yaxis()  # the first name on top
    axis.set_xlabel("real tokens a second, plain step = 1")
    axis.set_title(_title(run), fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def draw_scaling(runs):
    """Seconds of a step over what is swept, with the fitted line, both axes logarithmic.

    Args: runs (`list[dict]`): of `benchmarks.scaling`. Returns: `matplotlib.figure.Figure`.
    """
    columns = min(3, len(runs))
    lines = -(-len(runs) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(4 * columns, 3.2 * lines), squeeze=False)
    for axis in axes.flat[len(runs) :]:
        axis.set_axis_off()
    for axis, run in zip(axes.flat, runs, strict=False):
        _draw_line(axis, run)
    figure.tight_layout()
    return figure


def _draw_line(axis, run):
    values = np.array([point["value"] for point in run["points"]])
    seconds = np.array([point["seconds"]["median"] for point in run["points"]])
    exponent, constant = np.polyfit(np.log(values), np.log(seconds), 1)
    axis.loglog(values, np.exp(constant) * values**exponent, color=ORANGE, label=f"exponent {exponent:.2f}")
    axis.loglog(values, seconds, "o", color=BLUE)
    axis.set_xticks(values, [f"{value:,.0f}" for value in values])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    # A decade at least, so that a flat line looks flat.
    middle = np.exp(np.log(seconds).mean())
    axis.set_ylim(min(seconds.min() / 1.3, middle / 3.2), max(seconds.max() * 1.3, middle * 3.2))
    axis.set_xlabel(run["sweep"])
    axis.set_ylabel("seconds a step")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure, path):
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


TABLES = {
    "step": step_tables,
    "data": data_table,
    "trainer": trainer_table,
    "watching": watching_table,
    "scaling": scaling_table,
}
DRAWINGS = {
    "step": ("Real tokens a second against the plain step", draw_ratios),
    "scaling": ("Seconds of a step over what is swept", draw_scaling),
}


if __name__ == "__main__":
    main()
