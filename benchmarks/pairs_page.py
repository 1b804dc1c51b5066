"""What `benchmarks.pairs` writes into docs/pairs.md: a figure and a table."""

import matplotlib

from . import ROOT
from .report import replace_between_markers


matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "electra-rtd"  # the same results, the same file
from matplotlib import pyplot  # noqa: E402 - after the choice of back end


PAGE = ROOT / "docs" / "pairs.md"
FIGURE = ROOT / "docs" / "pairs" / "generators.svg"
# Okabe and Ito's colours, which colour-blind readers tell apart; and a mark, for those who see none.
LOOKS = {
    "together": ("#000000", "o"),
    "cut": ("#0072B2", "s"),
    "cut, not tied": ("#56B4E9", "D"),
    "cut, alone first": ("#009E73", "v"),
    "borrowed": ("#E69F00", "^"),
    "borrowed, alone first": ("#D55E00", "x"),
}
PANELS = {
    "mlm_loss": "generator: loss (nats)",
    "auc": "discriminator: AUC, the same replacements for all",
    "own_auc": "discriminator: AUC, its own generator's replacements",
}


def draw(runs):
    """Curves over tokens. Args: runs (`list[dict]`): of `benchmarks.pairs`. Returns: `matplotlib.figure.Figure`."""
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(4.2 * len(PANELS), 3.4))
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        for run in runs:
            colour, mark = LOOKS[run["arm"]]
            tokens = [point["tokens"] / 1000 for point in run["points"]]
            values = [point[name] for point in run["points"]]
            axis.plot(tokens, values, color=colour, marker=mark, markersize=4, label=run["arm"])
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("thousand tokens read", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure


def table(runs):
    """Before and after, in Markdown. Args: runs (`list[dict]`): of `benchmarks.pairs`. Returns: `str`."""
    header = ["generator", "layers", "own parameters", "its loss", "AUC, same replacements", "AUC, its own", "seconds"]
    rows = []
    for run in runs:
        first, last = run["points"][0], run["points"][-1]
        changes = [f"{first[name]:.3f} → {last[name]:.3f}" for name in ("mlm_loss", "auc", "own_auc")]
        size = f"{run['generator_parameters'] / 1e6:.1f} M"
        rows.append([run["arm"], str(run["generator_layers"]), size, *changes, f"{run['seconds']:.0f}"])
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_page(runs):
    """Put both into the page. Args: runs (`list[dict]`): of `benchmarks.pairs`."""
    FIGURE.parent.mkdir(exist_ok=True)
    figure = draw(runs)
    figure.savefig(FIGURE, metadata={"Date": None})
    pyplot.close(figure)
    machine = runs[0]["machine"]
    facts = (
        f"{runs[0]['points'][-1]['tokens']:,} tokens each, seed {runs[0]['seed']}, {machine['threads']} threads of "
        f"{machine['device']}, torch {machine['torch']}, transformers {machine['transformers']}."
    )
    picture = f"![Loss and AUC over the tokens read](pairs/{FIGURE.name})"
    page = replace_between_markers(PAGE.read_text(encoding="utf-8"), "pairs", f"{picture}\n\n{table(runs)}\n\n{facts}")
    PAGE.write_text(page, encoding="utf-8")
