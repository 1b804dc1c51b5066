"""The figure of docs/study.md: what each arm gains over the base, with intervals."""

import matplotlib

from .plan import TASKS


matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "electra-rtd"  # the same results, the same file
from matplotlib import pyplot  # noqa: E402 - after the choice of back end


# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {"mlm": "#E69F00", "rtd": "#0072B2"}
GREY = "#777777"


def draw_gains(results):
    """A panel for each start, text and task: points and 95 % intervals of each arm against the base.

    Args: results ([`Results`]). Returns: `matplotlib.figure.Figure`, or `None` where nothing is to be shown.
    """
    panels: dict = {}
    for one in results.scores:
        base = results.base(one)
        plain = one.of.trains and not one.of.changes and one.of.share == 1
        if plain and base is not None and one.rows == TASKS[one.task].rows:
            found = results.difference(base, one)
            if found.low is not None:
                panels.setdefault((one.of.start, one.of.corpus, one.task), []).append((one.of, found))
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    most = max(map(len, panels.values()))
    size = (6.5 * columns, (0.32 * most + 1.1) * lines)
    figure, axes = pyplot.subplots(lines, columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, ((start, corpus, task), arms) in zip(axes.flat, panels.items(), strict=False):
        for place, (of, found) in enumerate(arms):
            error = [[100 * (found.difference - found.low)], [100 * (found.high - found.difference)]]
            colour = COLOURS.get(of.arm, GREY)
            axis.errorbar(100 * found.difference, place, xerr=error, fmt="o", color=colour, capsize=3, markersize=4)
        names = [" ".join(filter(None, (of.arm, of.budget == "time" and "(equal time)", _more(of)))) for of, _ in arms]
        axis.set_yticks(range(len(arms)), names, fontsize=8)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.invert_yaxis()  # the first on top
        axis.set_title(f"{start}, {corpus}: {task}", fontsize=9)
        axis.set_xlabel("points above the base, 95 % interval", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _more(of):
    """What tells adaptations of one arm apart."""
    parts = [f"alpha {of.alpha:g}"] if of.alpha is not None else []
    return " ".join([*parts, f"seed {of.seed}"] if of.seed else parts)
