"""What can be checked of a checkpoint that has no manifest: less than hashes, and more than the Trainer looks at."""

import re
import zipfile
from pathlib import Path

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools import layout
from ..hub_tools.checks.weights import Weights, check_weights, expected_tensors
from ..hub_tools.findings import ERROR
from ..hub_tools.run_record import STATE_FILE, read_own
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from .damage import find_damage


# The optimiser's state, by the Trainer itself, by FSDP and by DeepSpeed.
OPTIMIZER_STATES = ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*")
IN_PARTS = ("pytorch_model_fsdp*", "global_step*")  # weights as FSDP and DeepSpeed keep them
DEEPSPEED = "global_step*"  # which may keep the schedule itself
SCHEDULE = "scheduler.pt"
RANDOM_NUMBERS = "rng_state*.pth"  # one for each process


def why_incomplete(checkpoint):
    """The first fault of a checkpoint that has no manifest, as far as its files tell.

    Looked at: JSON, tokenizer and heads of safetensors can be read; what `torch.save` wrote agrees with the sums in
    it; the state of the Trainer is of this step; states of optimiser, schedule and random numbers are all there, or
    none of them (`save_only_model`); the weights are those that the configuration asks for, and finite. A changed
    weight that is still a number is not seen, nor is anything in the parts that FSDP and DeepSpeed write.

    Args:
        checkpoint (`Path`)

    Returns:
        `str` or `None`: in words
    """
    return (
        find_damage(checkpoint)
        or _why_other_state(checkpoint)
        or _why_states_are_missing(checkpoint)
        or _why_wrong_sums(checkpoint)
        or _why_wrong_weights(checkpoint)
    )


def has_optimizer(checkpoint):
    """Whether a run can go on from a checkpoint: `save_only_model` leaves the optimiser's state out.

    Args: checkpoint (`str` or path). Returns: `bool`
    """
    return any(_has(checkpoint, pattern) for pattern in OPTIMIZER_STATES)


def _has(checkpoint, pattern):
    return any(True for _ in Path(checkpoint).glob(pattern))


def _why_other_state(checkpoint):
    state, named = read_own(checkpoint / STATE_FILE), re.fullmatch(r"checkpoint-(\d+)", checkpoint.name)
    if type(state.get("global_step")) is not int:
        return f"{STATE_FILE} has no global_step"
    if named and state["global_step"] != int(named[1]):
        return f"{STATE_FILE} is of step {state['global_step']}"
    if not isinstance(state.get("log_history"), list):
        return f"{STATE_FILE} has no log_history"
    return None


def _why_states_are_missing(checkpoint):
    there = {
        "the optimiser's state (optimizer.pt)": has_optimizer(checkpoint),
        f"the schedule's state ({SCHEDULE})": _has(checkpoint, SCHEDULE) or _has(checkpoint, DEEPSPEED),
        "the state of the random numbers (rng_state.pth)": _has(checkpoint, RANDOM_NUMBERS),
    }
    missing = [what for what, is_there in there.items() if not is_there]
    if missing and len(missing) < len(there):
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    several = [int(file.stem.removeprefix("rng_state_")) for file in checkpoint.glob("rng_state_[0-9]*.pth")]
    absent = sorted(set(range(max(several, default=-1) + 1)) - set(several))
    return f"rng_state_{absent[0]}.pth is missing" if absent else None


def _why_wrong_sums(checkpoint):
    for file in sorted(checkpoint.iterdir()):
        if not (layout.TRAINER_STATE.fullmatch(file.name) or file.name == layout.TRAINING_ARGS):
            continue
        try:
            with zipfile.ZipFile(file) as archive:
                wrong = archive.testzip()
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            wrong = error
        if wrong:
            return f"{file.name} does not agree with the sums in it ({wrong})"
    return None


def _why_wrong_weights(checkpoint):
    if any(_has(checkpoint, pattern) for pattern in IN_PARTS):
        return None
    files = layout.CheckpointFiles(checkpoint, layout.list_files(checkpoint), str(checkpoint))
    with Weights(files) as weights:
        if not weights.read:
            return f"{layout.WEIGHTS} is missing"
        if read_own(checkpoint / layout.CONFIG).get("model_type") != ElectraRTDConfig.model_type:
            return None  # somebody's own model
        try:
            config = ElectraRTDConfig.from_pretrained(checkpoint)
            expected, ties = expected_tensors(ElectraRTDForPreTraining, config)
        except Exception as error:  # whatever the classes make of settings that do not fit together
            return f"{layout.CONFIG} makes no model ({str(error).splitlines()[0]})"
        findings = check_weights(weights, expected, ties, config.dtype)
        wrong = next((one for one in findings if one.level == ERROR), None)
        return wrong and f"{wrong.path}: {wrong.message.rstrip('.')}"
