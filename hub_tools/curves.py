"""The small plot of a model card: losses against steps."""

import importlib.util

from transformers.utils import logging


logger = logging.get_logger(__name__)

PANELS = {"loss": "loss", "mlm_loss": "mlm_loss (generator)", "disc_loss": "disc_loss (discriminator)"}
TRAINING, HELD_OUT = "#1f77b4", "#d62728"


def plot_losses(log, path):
    """Draw what a Trainer logged, training and held-out text in one panel a loss.

    Args:
        log (`list[dict]`): `log_history`.
        path (`Path`): the PNG file to write.

    Returns:
        `bool`: whether there was something to draw, and matplotlib to draw it
    """
    panels = {name: title for name, title in PANELS.items() if _points(log, name) or _points(log, f"eval_{name}")}
    if not panels:
        return False
    if importlib.util.find_spec("matplotlib") is None:
        logger.info("The card has no plot of the losses: `pip install matplotlib` adds it.")
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(panels), 2.6), dpi=110, layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for prefix, label, colour, marker in (("", "training", TRAINING, ""), ("eval_", "held out", HELD_OUT, "o")):
            points = _points(log, prefix + name)
            if points:
                marker = marker if len(points) > 1 else "o"  # one point makes no line
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3, lw=1.2, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("steps", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Software": None})  # the same log gives the same bytes: nothing to send again
    return True


def _points(log, name):
    return [(row["step"], row[name]) for row in log if "step" in row and isinstance(row.get(name), (int, float))]
