"""An evaluation in the model card of a checkpoint that was evaluated: a section, and rows of its `model-index`."""

import statistics
from pathlib import Path

from huggingface_hub import EvalResult

from ...hub_tools.local_card import check_has_weights, write_evaluation
from ...hub_tools.names import is_hub_id
from .result_texts import TEXTS
from .results import file_names, notes, printable, scores, tables, task_line, verdicts, ways


EXPORT = "discriminator"  # of a pair: `adapt` and `merge` write it, and encoders are fine-tuned from it
LANGUAGE = "en"  # of a card, as of the rest of it
# Kind of a task to what the Hub calls it, and to a name for people.
TASKS = {
    "single": ("text-classification", "Classification of sentences"),
    "pair": ("text-classification", "Classification of pairs of sentences"),
    "regression": ("text-classification", "Regression"),
    "tokens": ("token-classification", "Token classification"),
}
# What the Hub calls a metric, where it has another name there.
HUB_METRICS = {"macro_f1": "f1", "micro_f1": "f1", "spearman": "spearmanr", "pearson": "pearsonr"}


def write_card(evaluation, folder):
    """Write an evaluation into the README of a checkpoint that was evaluated.

    The section has the tables and the verdict; the metadata get a valid `model-index`. What a person wrote stays, and
    a later push of the same weights keeps the evaluation. The file with the labels is named, and not where it lies.

    Args:
        evaluation ([`Evaluation`])
        folder (`str` or path): of an arm: a stock checkpoint, a pair, or the pair whose `discriminator/` is the arm.

    Returns:
        `Path`: of the README.

    Raises:
        ValueError: the folder is that of no arm, or its README cannot be read.
    """
    arm = arm_in(evaluation.arms, folder)
    name = f"{', '.join(file_names(evaluation.task))} ({evaluation.task['kind']})"
    return write_evaluation(folder, name, _section(evaluation, arm), _results(evaluation, arm))


def arm_in(arms, folder):
    """Which arm lies in a folder: to be asked before hours of fine-tuning.

    Args:
        arms (`dict[str, str]`): name to path or Hub id.
        folder (`str` or path)

    Returns:
        `str`: the name of the arm; the last, where several lie there.

    Raises:
        ValueError: none does, or it holds no checkpoint.
    """
    check_has_weights(folder)
    wanted = _network(Path(folder))
    found = [name for name, path in arms.items() if not is_hub_id(path) and _network(Path(path)) == wanted]
    if not found:
        listed = ", ".join(f"{name}={path}" for name, path in arms.items())
        raise ValueError(
            f"`write_card={folder}` holds none of the encoders that are evaluated ({listed}): its card would show "
            "figures of other weights. Give the folder of one of them."
        )
    return found[-1]


def _network(folder):
    """Where the encoder of a folder lies: a pair and its exported discriminator are one."""
    folder = folder.resolve()
    return folder / EXPORT if (folder / EXPORT / "config.json").is_file() else folder


def _section(evaluation, arm):
    texts = TEXTS[LANGUAGE]
    lines = [f"## Evaluation on {_plain(', '.join(file_names(evaluation.task)))}", ""]
    lines += [_plain(task_line(evaluation, texts)), "", _who(evaluation, arm), ""]
    lines += [f"**{_plain(sentence)}**\n" for sentence in verdicts(evaluation, texts, of=arm)]
    for cells in tables(evaluation, texts):
        lines += [f"{_plain(cells.caption)}:", "", _row(cells.head), _row(["---", *["---:"] * (len(cells.head) - 1)])]
        lines += [*map(_row, ([_plain(cell) for cell in row] for row in cells.rows)), ""]
    lines += [f"- {_plain(note)}" for note in notes(evaluation, texts)]
    versions = ", ".join(f"{name} {version}" for name, version in evaluation.versions.items())
    return "\n".join(
        [*lines, "", f"Measured by `electra-rtd evaluate`{_plain(f' ({versions})' if versions else '')}."]
    )


def _who(evaluation, arm):
    """Which arm this checkpoint is, and what the others are, as far as that can be said in public."""
    others = [f"`{_code(name)}` is `{_code(_shown(path))}`" for name, path in evaluation.arms.items() if name != arm]
    return "; ".join([f"`{_code(arm)}` is this checkpoint", *others]) + "."


def _shown(path):
    """A Hub id as it is; of a folder, its name and, for a part of a pair, that of the pair."""
    if is_hub_id(path):
        return path
    place = Path(str(path).removeprefix("random:")).resolve()
    name = f"{place.parent.name}/{place.name}" if place.name in (EXPORT, "generator") else place.name
    return f"random:{name}" if str(path).startswith("random:") else name


def _results(evaluation, arm):
    """The arm's mean scores with the most training rows: by fine-tuning, or by a probe where that is all."""
    task, way, rows = evaluation.task, ways(evaluation)[0], evaluation.train_rows[-1]
    task_type, task_name = TASKS[task["kind"]]
    names = {name: scores(evaluation, arm, rows, way, name) for name in _metrics(evaluation, arm, rows, way)}
    how = "linear probe" if way == "probe" else None
    results = []
    for name, found in names.items():
        said = [how] if how else [f"mean of {len(found)} seeds"] if len(found) > 1 else []
        results.append(
            EvalResult(
                task_type=task_type,
                task_name=task_name,
                dataset_type="text",
                dataset_name=", ".join(file_names(task)),
                dataset_split="test",
                dataset_args={"train_rows": rows, "test_rows": task["test"]},
                metric_type=HUB_METRICS.get(name, name),
                metric_name=", ".join([name, *said]),
                metric_value=round(statistics.fmean(found), 6),
            )
        )
    return results


def _metrics(evaluation, arm, rows, way):
    """The metrics of an arm that have a value, the task's own first: `list[str]`."""
    found = dict.fromkeys([evaluation.task["metric"]])
    found |= dict.fromkeys(name for run in evaluation.chosen(arm, rows, way) for name in run.scores)
    return [name for name in found if scores(evaluation, arm, rows, way, name)]


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _plain(text):
    """Text in which nothing is Markdown or HTML."""
    special = "\\`*_[]|<>~&"
    return "".join(f"\\{one}" if one in special else one for one in printable(text))


def _code(text):
    return printable(text).replace("`", "'")
