"""The results as Markdown: what docs/study.md and docs/recipes.md show."""

import math
import statistics
from dataclasses import replace

from ..gpu.table import table
from .adaptation import Adaptation, shown_tokens
from .arms import ARMS
from .corpora import CORPORA
from .plan import ABLATED_CORPUS, ABLATIONS, ablated, plan
from .results import harm, shown_arm
from .starts import STARTS
from .tasks import CONTROLS, PRIMARY, TASKS


COLLAPSED = "A fine-tuning that collapses (one class for all rows) is named, and is in no mean and no difference."
NOBODY = "Nobody has run it yet: here the table is going to be."


def study_tables(results, form):
    """All tables of a form.

    Args: results ([`Results`]); form ([`Form`]). Returns: `str`.
    """
    if not results.scores:
        return f"{NOBODY}\n\n{not_run(results, form)}"
    parts = [main_question(results), *_mains(results), curves(results), harm_table(results)]
    parts += [timing_table(results), facts(results), not_run(results, form)]
    return "\n\n".join(part for part in parts if part)


def main_question(results):
    """RTD against MLM on the domain's own task, whatever the budget. Args: results ([`Results`]). Returns: `str`."""
    rows = []
    for scored in results.scores:
        of = scored.of
        if of.arm != "mlm" or scored.task != PRIMARY[of.corpus] or of.changes:
            continue
        rtd = results.rival(scored, "rtd", budget="tokens")
        if rtd is None:
            continue
        found = results.difference(scored, rtd)
        rows.append(
            [
                of.start,
                of.corpus,
                f"{scored.task}, {scored.rows:,} rows",
                f"equal {of.budget}",
                str(of.seed),
                _score(scored),
                _score(rtd),
                _interval(found),
                found.verdict,
            ]
        )
    if not rows:
        return ""
    header = ["start", "text", "task", "budget", "training seed", "b. MLM", "c. RTD", "c less b", "RTD is"]
    title = "**RTD against MLM** (arm c against arm b; differences in points, with 95 % intervals)"
    return f"{title}\n\n{table(header, rows)}"


def _mains(results):
    """A table of all arms for each start and text."""
    for start in STARTS:
        for corpus in CORPORA:
            mine = [one for one in results.scores if one.of.start == start and one.of.corpus in (corpus, "")]
            mine = [one for one in mine if not one.of.changes and one.of.share == 1]
            tasks = [PRIMARY[corpus], *CONTROLS[corpus]]
            if any(one.of.trains and one.of.corpus == corpus and one.task in tasks for one in mine):
                yield _main(results, start, corpus, tasks)


def _main(results, start, corpus, tasks):
    columns = {task: _by_arm(results, start, corpus, task) for task in tasks}
    arms = {of: None for column in columns.values() for of in column}
    rows = []
    for of in sorted(arms, key=lambda of: (list(ARMS).index(of.arm), of.budget != "tokens", of.seed, of.alpha or 0)):
        training = results.training(of) if of.trains else None
        name, budget = shown_arm(of)
        facts = [f"{training['tokens'] / 1e6:.2f}M", f"{training['seconds'] / 60:.0f}"] if training else ["", ""]
        rate = f"{of.rate:g}" if of.rate else ""
        cells = [_against_base(results, columns[task].get(of)) for task in tasks]
        rows.append([name, budget, rate, *facts, *cells])
    floors = [results.floor(task, TASKS[task].rows) for task in tasks]
    rows.append(["naive Bayes", "", "", "", "", *("" if one is None else f"{one:.3f}" for one in floors)])
    header = ["arm", "budget", "rate", "tokens", "minutes"]
    header += [f"{task}, {TASKS[task].metric.replace('_', ' ')}" for task in tasks]
    title = f"**{start}, {corpus}**: {STARTS[start]}; {CORPORA[corpus].terms}."
    tasks_say = "; ".join(f"*{task}*: {TASKS[task].says}, {TASKS[task].rows:,} labelled rows" for task in tasks)
    return f"{title}\n\n{table(header, rows)}\n\n{tasks_say}. {COLLAPSED}"


def _by_arm(results, start, corpus, task):
    """Adaptation, with the corpus left out where nothing is trained, to its score with all rows."""
    found = {}
    for one in results.scores:
        wanted = (one.of.start, one.task, one.rows) == (start, task, TASKS[task].rows)
        mine = one.of.corpus == corpus or not one.of.trains
        if wanted and mine and not one.of.changes and one.of.share == 1:
            key = one.of if one.of.trains else type(one.of)(start, corpus, one.of.arm)
            found[key] = one
    return found


def curves(results):
    """Few labels to many, for arms a, b and c. Args: results ([`Results`]). Returns: `str`."""
    rows = []
    for task, about in TASKS.items():
        for one in results.scores:
            if one.task == task and about.curve and one.of.arm == "rtd" and not one.of.seed and not one.of.changes:
                base, mlm = results.base(one), results.rival(one, "mlm")
                if base is None or mlm is None or one.of.share != 1:
                    continue
                floor = results.floor(task, one.rows)
                rows.append(
                    [
                        f"{one.of.start}, {one.of.corpus}",
                        task,
                        one.rows,
                        "" if floor is None else f"{floor:.3f}",
                        *map(_score, (base, mlm, one)),
                        _interval(results.difference(base, one)),
                        _interval(results.difference(mlm, one)),
                    ]
                )
    if len({row[2] for row in rows}) < 2:
        return ""
    rows = [[*row[:2], f"{row[2]:,}", *row[3:]] for row in sorted(rows, key=lambda row: (row[0], row[1], row[2]))]
    header = ["start, text", "task", "labelled rows", "naive Bayes", "a. base", "b. MLM", "c. RTD"]
    header += ["c less a", "c less b"]
    return f"**Label counts** (equal tokens; points with 95 % intervals)\n\n{table(header, rows)}"


def harm_table(results):
    """Args: results ([`Results`]). Returns: `str`."""
    rows = []
    for (start, arm), counts in harm(results).items():
        merged = _share(counts["merged"], counts["merged_runs"])
        alphas = ", ".join(f"{alpha:g}" for alpha in counts["alphas"])
        plain, gated = (_share(counts[name], counts["runs"]) for name in ("plain", "gated"))
        rows.append([start, ARMS[arm].says, plain, gated, merged, alphas])
    if not rows:
        return ""
    header = ["start", "arm", "below the base: plain", "gated", "merged", "alphas chosen"]
    return (
        f"**Harm**: runs (a seed of fine-tuning on a task) that score below the same seed of the base\n\n"
        f"{table(header, rows)}\n\n*Gated*: adapted weights are taken only where they are better on the validation "
        "rows. *Merged*: what is best on the validation rows is taken, of base, merges and adapted weights."
    )


def timing_table(results):
    """Args: results ([`Results`]). Returns: `str`."""
    rows = []
    for name, figures in results.found.items():
        if name.startswith("timing: "):
            start, corpus, arm = name.removeprefix("timing: ").split(", ")
            ratio, each = figures["step_against_rtd"], figures["seconds_a_step"]
            speeds = [figures["tokens_a_step"][one] / each[one] for one in (arm, "rtd")]
            against = f"{ratio['median']:.2f} ({ratio['p10']:.2f} to {ratio['p90']:.2f})"
            rows.append([start, corpus, ARMS[arm].says, *(f"{speed:,.0f}" for speed in speeds), against])
    if not rows:
        return ""
    header = ["start", "text", "arm", "tokens a second", "of arm c", "seconds of a step against arm c"]
    return f"**Time of a step**, in turn with arm c (c, arm, c, arm, ...)\n\n{table(header, rows)}"


def facts(results):
    """Commands, versions, machines. Args: results ([`Results`]). Returns: `str`."""
    content = results.content
    entries = [entry for entry in content["found"].values() if "machine" in entry]
    about = "{device}, {threads} threads, torch {torch}, transformers {transformers}, Python {python}"
    machines = dict.fromkeys(about.format(**entry["machine"]) for entry in entries)
    commands = dict.fromkeys(run["command"] for run in content["runs"])
    codes = dict.fromkeys(entry["code"] for entry in entries)
    hours = sum(entry["seconds"] for entry in entries) / 3600
    starts = ", ".join(f"{name} {digest}" for name, digest in content.get("starts", {}).items())
    lines = [
        f"Machine: {'; '.join(machines)}. Begun {content['runs'][0]['started']}, last "
        f"{content['runs'][-1]['started']}; {hours:.1f} hours of training and fine-tuning.",
        f"Commands: {'; '.join(f'`{command}`' for command in commands)}.",
        *_edges(results),
        f"Weights of the starts (first digits of their hash): {starts}. State of the code: {', '.join(codes)}.",
    ]
    return "\n".join(lines)


def _edges(results):
    """Where a better rate of fine-tuning may lie beyond the grid."""
    edges = [one.figures["edge"] for one in results.scores]
    if not any(edges):
        return []
    counts = ", ".join(f"the {edge} in {edges.count(edge)}" for edge in ("lowest", "highest") if edge in edges)
    return [f"Of the fine-tuning rates, the chosen one was {counts} of {len(edges)} scores: it is an end of the grid."]


def not_run(results, form):
    """What of the plan is not in the tables. Args: results ([`Results`]); form ([`Form`]). Returns: `str`."""
    done = set(results.content.get("done", []))
    pieces = plan(form)
    missing = [piece for piece in pieces if piece.name not in done]
    if not missing:
        return f"All {len(pieces)} pieces of the plan were run."
    hours = sum(piece.seconds for piece in missing) / 3600
    names = "; ".join(piece.name for piece in missing)
    return (
        f"Not run: {len(missing)} of {len(pieces)} pieces, an estimated {hours:.0f} hours.\n\n"
        f"<details><summary>Which</summary>\n\n{names}\n\n</details>"
    )


# ---- Advice ---------------------------------------------------------------------------------------------------------


def advice(results, form):
    """A line for each ablation, with its figures. Args: results ([`Results`]); form ([`Form`]). Returns: `str`."""
    lines = [f"- **{name}**: {_advice(results, name, form)}" for name in ABLATIONS]
    return "\n".join(lines)


def _advice(results, name, form):
    task = PRIMARY[ABLATED_CORPUS]
    of_task = [one for one in results.every if (one.task, one.rows) == (task, TASKS[task].rows)]
    default = Adaptation("mini", ABLATED_CORPUS, "rtd", form.tokens_of["mini"])
    plain = _find([one for one in of_task if one in results.scores], default)
    if plain is None:
        return NOBODY
    said, best = [f"default {_score(plain)}"], None
    for adaptation in ablated(form)[name]:
        scored = _find(of_task, adaptation)
        if scored is None or scored.of == plain.of:
            continue
        found = results.difference(plain, scored)
        said.append(f"{_changed(adaptation)} {_score(scored)} ({_interval(found)}, {found.verdict})")
        if found.verdict == "better" and (best is None or found.difference > best[0]):
            best = found.difference, _changed(adaptation)
    if len(said) == 1:
        return NOBODY
    word = "keep the default: nothing tried is shown to be better" if best is None else f"take {best[1]}"
    return f"{word}. {'; '.join(said)} ({task}, {TASKS[task].metric}, {form.seeds} seeds; one training each)."


def _find(scores, wanted):
    for one in scores:
        of = one.of if wanted.rate is not None else replace(one.of, rate=None)
        if of == wanted:
            return one
    return None


def _changed(adaptation):
    said = [f"`{field}={value}`" for field, value in adaptation.changes]
    said += [f"{adaptation.share:.0%} of the text"] if adaptation.share != 1 else []
    said += [f"rate {adaptation.rate:g}"] if adaptation.rate is not None else []
    return ", ".join(said) or shown_tokens(adaptation.tokens)


# ---- Cells ----------------------------------------------------------------------------------------------------------


def _score(scored):
    runs = len(scored.figures["runs"])
    if scored.collapsed == runs:
        return f"all {runs} collapsed"
    return f"{scored.mean:.3f}" + (f" ({scored.collapsed} of {runs} collapsed)" if scored.collapsed else "")


def _against_base(results, scored):
    if scored is None:
        return ""
    base = results.base(scored)
    if base is None or not scored.of.trains:
        runs = [run for run in scored.figures["runs"] if run["collapsed"] is None]
        values = [run["scores"][scored.figures["metric"]] for run in runs]
        return f"{_score(scored)} ± {statistics.stdev(values):.3f}" if len(values) > 1 else _score(scored)
    return f"{_score(scored)}, {_interval(results.difference(base, scored))}"


def _interval(found):
    """In points of a hundred."""
    if not math.isfinite(found.difference):
        return "no pair of runs"
    if found.low is None:
        return f"{100 * found.difference:+.1f}"
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _share(count, of):
    return f"{count} of {of} ({count / of:.0%})" if of else ""
