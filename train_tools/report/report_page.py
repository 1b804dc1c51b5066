"""The page of a run: everything that it shows, put into the template."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from . import charts, figures, measures, tables
from .tables import number, percent, printable


TEMPLATE = Path(__file__).parent / "report.html.j2"


def charts_of(run, texts):
    """Every chart of a run, in the order of the page: `list` of [`charts.Lines`] and [`charts.Bars`]."""
    drawn = [chart for _, section in charts.curve_sections(run, texts) for chart in section]
    if run.held_out is None:
        return drawn
    return [*drawn, *charts.confusion_charts(run, texts), *charts.calibration_charts(run, texts)]


def render(run, texts, lang):
    """One self-contained HTML page.

    Args: run ([`Run`]); texts (`dict`): of the language. lang (`str`): `"ko"` or `"en"`.
    Returns: `str`
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        texts=texts,
        lang=lang,
        name=printable(run.name),
        source=run.source,
        headline=tables.headline(run, texts),
        unfinished=_unfinished(run, texts),
        best_checkpoint=tables.best_checkpoint(run, texts),
        findings=_findings(run, texts),
        missing=_missing(run, texts),
        comparison=tables.comparison(run, texts),
        both_texts=tables.both_texts(run, texts),
        sections=[(name, [_drawn(chart) for chart in section]) for name, section in charts.curve_sections(run, texts)],
        has_speed=any(
            chart.name == "tokens_per_second" for _, section in charts.curve_sections(run, texts) for chart in section
        ),
        limit=measures.CURVE_POINTS,
        held_out=_held_out(run, texts),
        settings=tables.settings(run, texts),
        datasets=", ".join(map(printable, run.results.get("datasets", []))),
    )


def _drawn(chart):
    return {"chart": chart, "svg": Markup(figures.draw_svg(chart))}  # matplotlib and ElementTree have escaped it


def _held_out(run, texts):
    """The parts that `held_out.json` makes possible, or `None`."""
    if run.held_out is None:
        return None
    errors = [measures.calibration_error(getattr(run.held_out, side)["calibration"]) for side in ("before", "after")]
    return {
        "confusion": tables.confusion(run, texts),
        "confusion_charts": [_drawn(chart) for chart in charts.confusion_charts(run, texts)],
        "calibration_charts": [_drawn(chart) for chart in charts.calibration_charts(run, texts)],
        "calibration_note": texts["calibration_note"].format(
            bins=len(run.held_out.after["calibration"]["count"]), before=percent(errors[0]), after=percent(errors[1])
        ),
        "token_tables": tables.token_tables(run, texts),
        "least": measures.LEAST_OCCURRENCES,
    }


def _findings(run, texts):
    """What was found to be wrong: `list` of (step, name, message)."""
    found = [(row.get("step", 0), printable(row["health"]), printable(row["message"])) for row in run.signs]
    for name, steps in run.not_finite().items():
        message = texts["not_finite"].format(name=printable(name), count=len(steps), step=f"{min(steps):,}")
        found.append((min(steps), "nan", message))
    shown = [(texts["finding_at"].format(step=number(step)), name, message) for step, name, message in sorted(found)]
    return [*shown, *((texts["held_out_after"], name, message) for name, message in tables.no_success(run, texts))]


def _missing(run, texts):
    missing = {
        "missing_results": not run.results,
        "missing_held_out": run.held_out is None,
        "missing_evaluations": not (run.evaluations or run.has_named_evaluations),
        "missing_named_evaluations": run.has_named_evaluations,
    }
    return [texts[name] for name, is_missing in missing.items() if is_missing]


def _unfinished(run, texts):
    if run.end or run.results:
        return None
    step, steps = (number(run.state.get(name)) for name in ("global_step", "max_steps"))
    return texts["unfinished"].format(step=step, all=steps)
