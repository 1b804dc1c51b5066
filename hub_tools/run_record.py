"""What a run leaves beside its model: a few JSON files. Their names, fields and format stand here and nowhere else.

- `adapt_results.json`, written by `adapt` and `pretrain`: the fields of [`AdaptResult`], and how the run was made:
  `settings` (`dict`), `datasets` (`list[str]`, Hub ids) and `fast` (`list` of `dict`: `setting`, `value`, `why`).
- `trainer_state.json`, written by the Trainer, into each checkpoint last of all: counts of steps, `log_history` (a row
  a log: training, held-out text and health have names of their own) and `stateful_callbacks`.
- `held_out.json`, written by both: `format`, and what [`describe_held_out`] says of the held-out text.
- `merge.json`, written by `merge` in place of all of these: `base`, `adapted`, `alpha`, the `class` that was merged,
  `weights` (a digest: whose it is), and `chosen`, how `alpha` was.
- `extension.json`, written by `extend-vocab`: `base`, the new `entries`, `weights` as above, and what the text was
  `before` and `after`: `words`, `tokens`, and how many of these were `unknown`.

[`read_record`] reads what somebody else made: bounded, and without values that no run writes. [`read_own`] is for the
folder that a run itself writes into, where a log of any length must not stand in its way.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import layout


RESULTS_FILE = "adapt_results.json"
STATE_FILE = "trainer_state.json"
HELD_OUT_FILE = "held_out.json"
MERGE_FILE = "merge.json"
EXTENSION_FILE = "extension.json"
HELD_OUT_FORMAT = 1
CLASSES = ("frequent", "rare", "korean", "latin", "digit", "other")  # of tokens, in `held_out.json`
EVALUATION = "eval_"  # how figures of held-out text begin in a log
LARGEST_NUMBER = 10**300  # a whole number above it is no figure, and no float
LARGEST_COUNT = 10**15
LONGEST_NAME = 200  # characters
# Fields of `adapt_results.json` with a kind of their own.
KINDS: dict[str, type] = {"settings": dict, "before": dict, "after": dict, "datasets": list, "fast": list}
KINDS |= {"general_before": dict, "general_after": dict}


@dataclass(frozen=True)
class TokenCounts:
    """How often a token of the held-out text was met, and what became of it.

    Args:
        token (`str`), kind (`str`): the token and its class. count (`int`): its occurrences.
        before, after (`dict[str, int]`): `masked`, `gen_top1`, `gen_top5`, `replaced`, `caught`, `false_alarms`.
    """

    token: str
    kind: str
    count: int
    before: dict[str, int]
    after: dict[str, int]


@dataclass(frozen=True)
class HeldOutRecord:
    """What `held_out.json` says.

    Args:
        before, after (`dict`): figures of the held-out text by name, with `calibration` and `classes`.
        tokens (`list` of [`TokenCounts`])
        general (`dict`, *optional*): `before` and `after` of held-out general text.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    tokens: list[TokenCounts]
    general: dict[str, dict[str, Any]] | None = None


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind, as far as its files tell; what they do not tell is empty.

    Args:
        log (`list[dict]`): the rows of the Trainer's `log_history`.
        state (`dict`): what else stands in `trainer_state.json`: its numbers, and `best_model_checkpoint`.
        results (`dict`): `adapt_results.json`.
        held_out ([`HeldOutRecord`] or `None`)
        merge (`dict`): `merge.json`, of weights that were not trained but merged.
        extension (`dict`): `extension.json`, of a vocabulary that was extended.
    """

    log: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    held_out: HeldOutRecord | None = None
    merge: dict[str, Any] = field(default_factory=dict)
    extension: dict[str, Any] = field(default_factory=dict)

    @property
    def training(self):
        """`list[dict]`: the rows of the log that training wrote."""
        return [row for row in self.log if "loss" in row]

    @property
    def evaluations(self):
        """`list[dict]`: the rows about held-out text."""
        return [row for row in self.log if f"{EVALUATION}loss" in row]

    @property
    def signs(self):
        """`list[dict]`: the rows that a `RTDHealthCallback` wrote: `step`, `health`, `message`."""
        return [row for row in self.log if "health" in row and "message" in row]

    @property
    def end(self):
        """`dict`: the row that the Trainer writes when training has ended; empty for a run that has not."""
        # `train_runtime` alone stands in every row where the Trainer counts tokens.
        return next((row for row in reversed(self.log) if "train_loss" in row), {})


# ---- Writing ------------------------------------------------------------------------------------------------------


def write_record(folder, state, results, held_out=None, *, replaces=None):
    """Write the record of a run.

    Args:
        folder (`Path`): one of `staging`, so that what moves from it into a run's folder is whole.
        state (`TrainerState`)
        results (`dict`): for `adapt_results.json`.
        held_out (`dict`, *optional*): for `held_out.json`; without it there will be no such file.
        replaces (`Path`, *optional*): the run's folder, which may hold the record of an earlier session.
    """
    state.save_to_json(str(folder / STATE_FILE))
    (folder / RESULTS_FILE).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if held_out is None and replaces is not None:
        (replaces / HELD_OUT_FILE).unlink(missing_ok=True)
    if held_out is not None:
        content = json.dumps({"format": HELD_OUT_FORMAT, **held_out}, allow_nan=False)
        (folder / HELD_OUT_FILE).write_text(content + "\n", encoding="utf-8")


def write_merge(folder, merge):
    """Write down that weights were merged, and of what.

    Args:
        folder (`Path`): holds the weights. merge (`dict`): `base`, `adapted`, `alpha`, `class` and `chosen`.
    """
    said = {name: value for name, value in merge.items() if value is not None}
    _write_beside_weights(folder, MERGE_FILE, said)


def write_extension(folder, extension):
    """Write down by what a vocabulary was extended.

    Args:
        folder (`Path`): holds the weights. extension (`dict`): `base`, `entries`, `before` and `after`.
    """
    _write_beside_weights(folder, EXTENSION_FILE, extension)


def _write_beside_weights(folder, name, said):
    content = json.dumps(
        {**said, "weights": layout.weights_digest(folder)}, indent=2, allow_nan=False, ensure_ascii=False
    )
    (folder / name).write_text(content + "\n", encoding="utf-8")


# ---- Reading one's own --------------------------------------------------------------------------------------------


def read_own(file):
    """The object in a JSON file of one's own run, of any size.

    Args:
        file (`Path`)

    Returns:
        `dict`: empty where the file is not there, half-written, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def earlier_results(folder, steps):
    """What a finished run has written down already.

    Args:
        folder (`str` or path): its output folder; steps (`int`): where the run ended.

    Returns:
        `dict`: `adapt_results.json`; empty where it is of another step, or not there.
    """
    results = read_own(Path(folder) / RESULTS_FILE)
    return results if results.get("steps") == steps else {}


def callback_state(checkpoint, class_name):
    """The arguments of a callback that a checkpoint holds.

    Args:
        checkpoint (`str` or path): a folder with `trainer_state.json`.
        class_name (`str`): of an `ExportableState`.

    Returns:
        `dict`; empty where the checkpoint was saved without the callback.
    """
    state = json.loads((Path(checkpoint) / STATE_FILE).read_text(encoding="utf-8"))
    return state.get("stateful_callbacks", {}).get(class_name, {}).get("args", {})


# ---- Reading what somebody else made ------------------------------------------------------------------------------


def read_record(folder, *, state_in=None, forgiving=False):
    """Read the record of a run: bounded in bytes, depth and count, and without values that no run writes.

    Args:
        folder (`str` or path): of the run.
        state_in (`str` or path, *optional*): the checkpoint whose `trainer_state.json` is read, in place of the run's.
        forgiving (`bool`): a file that cannot be read counts as one that is not there.

    Returns:
        [`RunRecord`]

    Raises:
        ValueError: a file cannot be read, or is not what a run writes; the message names it.
    """

    def read(path, understand, missing):
        if not path.is_file():
            return missing
        try:
            return understand(read_object(path), path)
        except ValueError:
            if forgiving:
                return missing
            raise

    state = read(Path(state_in or folder) / STATE_FILE, _state, {"log_history": []})
    return RunRecord(
        log=state.pop("log_history"),
        state=state,
        results=read(Path(folder) / RESULTS_FILE, _results, {}),
        held_out=read(Path(folder) / HELD_OUT_FILE, _held_out, None),
        merge=read(Path(folder) / MERGE_FILE, _merge, {}),
        extension=read(Path(folder) / EXTENSION_FILE, _extension, {}),
    )


def read_object(path):
    """The object in a JSON file that may hold anything.

    Args:
        path (`Path`)

    Returns:
        `dict`

    Raises:
        ValueError: it cannot be read, is beyond the bounds, or holds something else.
    """
    try:
        content = layout.read_json(path, layout.LARGEST_JSON)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}. Restore the file, or run the training again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, not an object: it is not what a run writes.")
    return content


def is_number(value):
    """Whether a value is a finite number that a float can hold: `bool`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST_NUMBER


def _state(content, path):
    log = content.get("log_history")
    if not isinstance(log, list):
        raise ValueError(f"{path} has no log_history: it is not what a Trainer writes. Give another run.")
    numbers = {name: value for name, value in content.items() if is_number(value) and name != "best_model_checkpoint"}
    best = content.get("best_model_checkpoint")
    texts = {"best_model_checkpoint": best} if isinstance(best, str) else {}
    return {**numbers, **texts, "log_history": _rows_of_log(log)}


def _rows_of_log(log):
    """Rows whose values are texts, truth values and numbers that a float can hold; `step` is a whole number."""
    rows = [{key: value for key, value in row.items() if _is_plain(value)} for row in log if isinstance(row, dict)]
    return [row for row in rows if type(row.get("step", 0)) is int and row.get("step", 0) >= 0]


def _is_plain(value):
    return isinstance(value, (str, bool, float)) or value is None or is_number(value)


def _results(content, path):
    results: dict[str, Any] = {
        key: value for key, value in content.items() if isinstance(value, KINDS.get(key, object))
    }
    for key, kind in (("datasets", str), ("fast", dict)):
        if key in results:
            results[key] = [item for item in results[key] if isinstance(item, kind)]
    return results


def _merge(content, path):
    """What was merged; nothing where the file is about other weights than those beside it."""
    names = {name: content.get(name) for name in ("base", "adapted", "class")}
    are_names = all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names.values())
    alpha, chosen = content.get("alpha"), content.get("chosen")
    if not are_names or not is_number(alpha) or not 0 <= alpha <= 1:
        raise ValueError(f"{path} does not say what was merged: it is not what `electra-rtd merge` writes.")
    if content.get("weights") != layout.weights_digest(path.parent):
        return {}
    return {**names, "alpha": alpha, "chosen": chosen if isinstance(chosen, dict) else {}}


def _extension(content, path):
    """By what a vocabulary was extended; nothing where the file is about other weights than those beside it."""
    base, entries = content.get("base"), content.get("entries")
    try:
        sides = {
            side: {name: content[side][name] for name in ("words", "tokens", "unknown")}
            for side in ("before", "after")
        }
        for counts in sides.values():
            _require_counts(counts["unknown"], counts["words"], counts["tokens"])
            _require_counts(1, counts["words"])
        are_texts = isinstance(entries, list) and all(isinstance(entry, str) for entry in [base, *entries])
        if not are_texts or max(map(len, [base, *entries])) > LONGEST_NAME:
            raise ValueError("an entry is no short text")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not what `electra-rtd extend-vocab` writes ({error}).") from error
    if content.get("weights") != layout.weights_digest(path.parent):
        return {}
    return {"base": base, "entries": entries, **sides}


def _held_out(content, path):
    if content.get("format") != HELD_OUT_FORMAT:
        raise ValueError(
            f"{path} has format {content.get('format')!r}, this release reads {HELD_OUT_FORMAT}: use the release of "
            "electra-rtd that wrote it, or remove the file to get a report without it."
        )
    try:
        columns = content["tokens"]
        sides = [_rows_of_columns(columns[side]) for side in ("before", "after")]
        names = zip(columns["token"], columns["class"], columns["count"], *sides, strict=True)
        general = {side: content["general"][side] for side in ("before", "after")} if "general" in content else None
        held_out = HeldOutRecord(content["before"], content["after"], [TokenCounts(*row) for row in names], general)
        _check_held_out(held_out)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not complete ({error}): remove it to get a report without it.") from error
    return held_out


def _rows_of_columns(columns):
    """Columns of counts as one `dict` a row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _check_held_out(held_out):
    """Refuse counts that cannot be: shares and logarithms are made of them."""
    for stats in (held_out.before, held_out.after, *(held_out.general or {}).values()):
        bins, width = stats["calibration"], len(stats["calibration"]["count"])
        columns = [bins["count"], bins["replaced"], bins["mean_probability"], bins["edges"][1:], bins["edges"][:-1]]
        for count, replaced, mean, *edges in zip(*columns, strict=True):
            _require_counts(replaced, count)
            if not all(map(is_number, edges if mean is None and not count else [mean, *edges])):
                raise ValueError(f"a bin of {width} says {mean!r}")
        for counts in stats["classes"].values():
            _require_counts(counts["caught"], counts["replaced"], counts["tokens"])
            _require_counts(counts["false_alarms"], counts["tokens"] - counts["replaced"])
    for token in held_out.tokens:
        if not isinstance(token.token, str) or not isinstance(token.kind, str):
            raise ValueError(f"a token is {token.token!r}")
        for counts in (token.before, token.after):
            _require_counts(counts["gen_top5"], counts["masked"])
            _require_counts(counts["caught"], counts["replaced"])
            _require_counts(counts["replaced"] - counts["caught"] + counts["false_alarms"], token.count)


def _require_counts(*counts):
    """Whole numbers from 0 on, none larger than the next."""
    if any(type(count) is not int for count in counts) or list(counts) != sorted(counts) or counts[0] < 0:
        raise ValueError(f"counts are {counts}, each at most the next")
    if counts[-1] > LARGEST_COUNT:
        raise ValueError(f"a count is above {LARGEST_COUNT:,}")
