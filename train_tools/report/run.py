"""A run as a report shows it, read from its files alone: no model is loaded."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...hub_tools.run_record import EVALUATION, STATE_FILE, RunRecord, is_number, read_object, read_record
from ..evaluation import results
from ..evaluation.evaluation import EVALUATION_FILE, Evaluation
from ..evaluation.result_texts import TEXTS
from ..language import LANGUAGES


CONFIG_FILE = "config.json"
EVALUATIONS = (EVALUATION_FILE, f"evaluation/{EVALUATION_FILE}")  # where `evaluate` may have written for a run


@dataclass(frozen=True)
class Run(RunRecord):
    """The record of a run, and whose it is.

    Args:
        name (`str`): of its folder.
        source (`str`): which `trainer_state.json` was read, relative to the folder.
        config (`dict`): the model's `config.json`, empty where there is none.
        evaluation ([`Evaluation`] or `None`): on labels, where there is one in the folder, or in `evaluation/` in it.
        **fields: as of [`RunRecord`].
    """

    name: str = ""
    source: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    evaluation: Evaluation | None = None

    @property
    def vocab_size(self):
        """`int` or `None`: tokens in the vocabulary, where the run's files say."""
        network = self.config.get("discriminator_config")
        return (network.get("vocab_size") if isinstance(network, dict) else None) or self.results.get("vocab_size")

    @property
    def has_named_evaluations(self):
        """`bool`: whether there are evaluations of several sets, `eval_NAME_loss`."""
        return any(re.fullmatch(rf"{EVALUATION}.+_runtime", key) for row in self.log for key in row)

    def points(self, name, *, held_out=False):
        """A figure over the steps, without values that are no finite numbers.

        Args: name (`str`), without `eval_`; held_out (`bool`): of the held-out text, not of training.
        Returns: `list` of (step, value), one a step.
        """
        rows, key = (self.evaluations, EVALUATION + name) if held_out else (self.training, name)
        return sorted({row["step"]: row[key] for row in rows if "step" in row and is_number(row.get(key))}.items())

    def not_finite(self):
        """Figures that were logged as NaN or infinite: `dict[str, list[int]]`, the steps by name."""
        found: dict[str, list[int]] = {}
        for row in [*self.training, *self.evaluations]:
            for name, value in row.items():
                if isinstance(value, float) and not math.isfinite(value):
                    found.setdefault(name, []).append(row.get("step", 0))
        return found

    def on_labels(self, lang):
        """What an evaluation says: `dict` of `task` (`str`), `tables`, `verdicts` and `notes` (`list`); or `None`."""
        return self.evaluation and _describe(self.evaluation, lang)


def _describe(evaluation, lang):
    made = {name: getattr(results, name)(evaluation, TEXTS[lang]) for name in ("tables", "verdicts", "notes")}
    return {"task": results.task_line(evaluation, TEXTS[lang]), **made}


def read_run(folder):
    """Read a run: the output folder of `electra-rtd adapt` or of a stock Trainer, or one checkpoint of it.

    Args: folder (`str` or path). Returns: [`Run`].
    Raises: ValueError: there is no such folder, no `trainer_state.json` in it, or a file that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give the `output_dir` of a run.")
    state_in = _find_state(folder)
    record = read_record(folder, state_in=state_in)
    configurations = [path / CONFIG_FILE for path in (folder, state_in) if (path / CONFIG_FILE).is_file()]
    return Run(
        **vars(record),
        name=folder.resolve().name,
        source=(state_in / STATE_FILE).relative_to(folder).as_posix(),
        config=read_object(configurations[0]) if configurations else {},
        evaluation=_read_evaluation(folder),
    )


def _read_evaluation(folder):
    found = next((folder / name for name in EVALUATIONS if (folder / name).is_file()), None)
    if found is None:
        return None
    evaluation = Evaluation.read(found)
    try:
        _describe(evaluation, LANGUAGES[0])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{found} is no evaluation: {error!r}. Let `electra-rtd evaluate` write it again.") from error
    return evaluation


def _find_state(folder):
    """Where `trainer_state.json` lies: with the run, else in its last checkpoint, as a stock Trainer leaves it."""
    if (folder / STATE_FILE).is_file():
        return folder
    checkpoints = {
        int(path.parent.name.removeprefix("checkpoint-")): path.parent
        for path in folder.glob(f"checkpoint-*/{STATE_FILE}")
        if path.parent.name.removeprefix("checkpoint-").isdecimal()
    }
    if not checkpoints:
        raise ValueError(
            f"{folder} holds no {STATE_FILE}, and no checkpoint-N in it does. Give the `output_dir` of a run; a "
            "stock Trainer writes this file with `trainer.save_state()` and into each checkpoint."
        )
    return checkpoints[max(checkpoints)]
