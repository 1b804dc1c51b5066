"""How far back to the base? Merged checkpoints evaluated on labels, and the nearest to the base that is as good."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ...hub_tools.merge import merge_checkpoints
from ...hub_tools.names import public_name
from ...hub_tools.staging import check_is_free
from ..language import choose_language
from .evaluate import evaluate, read_split
from .evaluation import Evaluation
from .result_texts import TEXTS
from .results import file_names
from .verdict import compare


ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
WORK = "-alphas"  # behind the name of the output folder: the runs, which the same command goes on with
ARM = "alpha_"


@dataclass(frozen=True)
class ChosenAlpha:
    """What [`choose_alpha`] found.

    Args:
        alpha (`float`): the one that was taken; 0 is the base.
        best (`float`): the one with the best mean score, which may be by chance.
        folder (`str`): of the merged checkpoint.
        evaluation ([`Evaluation`]): an arm for each alpha; the base is the first.
    """

    alpha: float
    best: float
    folder: str
    evaluation: Evaluation


def choose_alpha(base, adapted, output_dir, arguments, alphas=ALPHAS):
    """Merge two checkpoints at the alpha that development labels speak for.

    Each alpha is fine-tuned (or probed) as [`evaluate`] does it, with the same seeds, rows and grid of rates. From the
    base on, the first alpha is taken that the best one does not beat: a larger one has to be better by more than
    chance (`verdict.compare`), else the base is kept. What these labels say of the chosen alpha is a little too good,
    since they chose it: measure on others.

    The runs are kept in a folder beside `output_dir`, named like it with `-alphas` behind: the same call again does
    what is left.

    Args:
        base, adapted (`str` or path): as in [`merge_checkpoints`].
        output_dir (`str` or path): for the merged checkpoint: a folder that does not exist yet, or is empty.
        arguments ([`EvaluateArguments`]): the labels, and how much work. Its encoders and `output_dir` are not looked
            at; `train_rows` may have one number at most.
        alphas (iterable of `float`): in [0, 1]; 0 is always among them.

    Returns:
        [`ChosenAlpha`]

    Raises:
        ValueError: the two do not fit together, an alpha is out of range, or the labels cannot be used.
        OSError: there is no such checkpoint, or a folder cannot be written.
        KeyboardInterrupt: with what is kept, for a person.
    """
    check_is_free(output_dir)
    alphas = _checked(alphas)
    if len(arguments.train_rows or ()) > 1:
        raise ValueError(f"`train_rows` is {arguments.train_rows}: give one number, since one alpha is chosen.")
    evaluation, test = _evaluate(base, adapted, output_dir, arguments, alphas)
    alpha, best = pick(evaluation, test)
    chosen = {
        "labels": ", ".join(file_names(evaluation.task)),
        "metric": evaluation.task["metric"],
        "scores": {f"{one:g}": round(_mean(evaluation, one), 6) for one in alphas},
    }
    merge_checkpoints(base, adapted, alpha, output_dir, chosen=chosen)
    return ChosenAlpha(alpha, best, str(output_dir), evaluation)


def _evaluate(base, adapted, output_dir, arguments, alphas):
    """The evaluation of all alphas, which is kept beside the output folder, and the test rows."""
    work = Path(output_dir).with_name(Path(output_dir).name + WORK)
    work.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".merged-", dir=work) as merged:
            arms = {_arm(alpha): str(Path(merged) / f"{alpha:g}") for alpha in alphas}
            for alpha, folder in zip(alphas, arms.values(), strict=True):
                merge_checkpoints(base, adapted, alpha, folder)
            given = {"arms": [f"{name}={folder}" for name, folder in arms.items()], "output_dir": str(work)}
            arguments = replace(arguments, **given, before=None, after=None, write_card=None)
            evaluation = evaluate(arguments)
    finally:
        if not any(work.iterdir()):
            work.rmdir()
    evaluation.arms = {_arm(alpha): _named(base, adapted, alpha) for alpha in alphas}
    evaluation.write(work)
    return evaluation, read_split(arguments).test


def pick(evaluation, test):
    """The least alpha that the best one does not beat by more than chance.

    Args:
        evaluation ([`Evaluation`]): with predictions; its arms are alphas, ascending.
        test ([`Labels`]): the rows that they are of.

    Returns:
        `tuple[float, float]`: the alpha to take, and the one with the best mean
    """
    alphas = [float(name.removeprefix(ARM)) for name in evaluation.arms]
    best = max(alphas, key=lambda alpha: (_mean(evaluation, alpha), -alpha))
    predictions = {alpha: [run.predictions for run in _runs(evaluation, alpha)] for alpha in alphas}
    deterministic = _runs(evaluation, best)[0].seed is None
    for alpha in alphas[: alphas.index(best)]:
        found = compare(
            test.kind,
            evaluation.task["metric"],
            predictions[alpha],
            predictions[best],
            test.targets,
            test.names,
            groups=test.groups,
            deterministic=deterministic,
        )
        if found.verdict != "better":
            return alpha, best
    return best, best


def reason(chosen, lang=None):
    """Why this alpha was taken.

    Args:
        chosen ([`ChosenAlpha`])
        lang (`str`, *optional*): `"ko"` or `"en"`, by default the locale's.

    Returns:
        `str`: one paragraph
    """
    texts = TEXTS[choose_language(lang)]
    which = "best" if chosen.alpha == chosen.best else "nearer"
    if chosen.alpha == 0:
        which = f"base_{which}"
    said = texts[f"alpha_{which}"].format(alpha=f"{chosen.alpha:g}", best=f"{chosen.best:g}")
    return f"{said} {texts['alpha_note']}"


def _checked(alphas):
    for alpha in alphas:
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
            raise ValueError(f"`alphas` has {alpha!r}: each must be a number in [0, 1]; 0 is the base.")
    return sorted({0.0, *map(float, alphas)})


def _arm(alpha):
    return f"{ARM}{alpha:g}"


def _named(base, adapted, alpha):
    """What an arm is: a name without a place on this disk, since the merged checkpoint is gone."""
    return f"{1 - alpha:g} of {public_name(base)} + {alpha:g} of {public_name(adapted)}"


def _runs(evaluation, alpha):
    way = "probe" if any(run.way == "probe" for run in evaluation.runs) else "fine_tuning"
    return evaluation.chosen(_arm(alpha), evaluation.train_rows[-1], way)


def _mean(evaluation, alpha):
    way = _runs(evaluation, alpha)[0].way
    mean = evaluation.mean(_arm(alpha), evaluation.train_rows[-1], way)
    return float("-inf") if mean is None else mean
