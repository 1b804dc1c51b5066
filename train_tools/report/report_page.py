"""The page of a run: everything that it shows, put into the template."""

from pathlib import Path

import jinja2

from . import charts, figures, measures, tables
from .tables import number, percent, printable
from .translated import sign


def charts_of(run, texts):
    """Every chart of a run, in the order of the page: `list` of [`Chart`]."""
    drawn = [chart for _, section, _ in charts.curve_sections(run, texts) for chart in section]
    return drawn if run.held_out is None else [*drawn, charts.calibration(run, texts)[0]]


def render(run, texts, lang):
    """One self-contained HTML page: `str`. Args: run ([`Run`]); texts (`dict`); lang (`str`): `"ko"` or `"en"`."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"draw": figures.draw_svg}
    sections = charts.curve_sections(run, texts)
    shown = {
        "findings": _findings(run, texts, lang),
        "evaluation": run.on_labels(lang),
        "held_out": tables.comparison(run, texts),
        "both_texts": tables.both_texts(run, texts),
        "curves": sections,
        **(_token_by_token(run, texts) if run.held_out is not None else {}),
        "settings": tables.settings(run, texts, lang),
    }
    head = {"name": printable(run.name), "source": run.source, "headline": tables.headline(run, texts)}
    head |= {"unfinished": _unfinished(run, texts), "missing": _missing(run, texts)}
    return environment.get_template("report.html.j2").render(
        texts=texts,
        lang=lang,
        best_checkpoint=tables.best_checkpoint(run, texts),
        contents=[name for name, content in shown.items() if content or name in ("findings", "settings")],
        has_speed=any(chart.name == "tokens_per_second" for _, section, _ in sections for chart in section),
        counts={"limit": measures.CURVE_POINTS, "least": measures.LEAST_OCCURRENCES},
        datasets=", ".join(map(printable, run.results.get("datasets", []))),
        **head,
        **shown,
    )


def _token_by_token(run, texts):
    """The parts that `held_out.json` makes possible."""
    errors = [measures.calibration_error(getattr(run.held_out, side)["calibration"]) for side in ("before", "after")]
    bins = len(run.held_out.after["calibration"]["count"])
    note = texts["calibration_note"].format(bins=bins, before=percent(errors[0]), after=percent(errors[1]))
    return {
        "confusion": tables.confusion(run, texts),
        "calibration": (*charts.calibration(run, texts), note),
        "token_tables": tables.token_tables(run, texts),
    }


def _findings(run, texts, lang):
    """What was found to be wrong: `list` of (when, name, message)."""
    found = [(row.get("step", 0), printable(row["health"]), sign(row, run.log, number, lang)) for row in run.signs]
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
