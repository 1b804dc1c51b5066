"""The folder that a step whose numbers are not finite leaves: what it takes to take the step again, and no pickle.

`_nonfinite-step-N` in the output folder (the Trainer publishes what does not begin with `_`, and this is a user's
text) holds

- `nonfinite.json`: what was found, and the settings of the step (`write_step` says which);
- `batch.safetensors`: for each micro-batch `0.input_ids` and the other arguments of `forward`, and `0.random.cpu`, the
  state of torch's generator before it (`0.random.cuda` beside it, on a card);
- the pair as it was, as `save_pretrained` writes it: where its weights are finite, and no process has but a part.
"""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from ..hub_tools.run_record import read_object
from ..hub_tools.staging import new_folder
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from .nonfinite import LOSSES, MicroBatch, not_finite, take_again
from .start import freeze_generator


FOLDER_NAME = re.compile(r"_nonfinite-step-(\d+)")
MOST_FOLDERS = 3  # in an output folder: each may hold a copy of the weights
SAID, BATCH = "nonfinite.json", "batch.safetensors"
FORMAT = 1
PRECISIONS = {None: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
SHOWN_ROWS, SHOWN_TOKENS = 64, 12  # of a batch in words


def folders_of(output_dir):
    """Those in an output folder, the lowest step first. Args: output_dir (`str` or path). Returns: `list[Path]`."""
    found = [child for child in Path(output_dir).glob("_nonfinite-step-*") if FOLDER_NAME.fullmatch(child.name)]
    return sorted(found, key=lambda child: int(child.name.rpartition("-")[2]))


def write_step(output_dir, step, model, batches, finding, *, dtype, said, tokenizer=None, with_weights=True):
    """Write down a step, in the place of an earlier one of the same number. The oldest go where there are too many.

    Args:
        output_dir (`str` or path); step (`int`): from 1.
        model ([`ElectraRTDForPreTraining`]): as it was in the step.
        batches (`list` of [`MicroBatch`]); finding ([`Finding`])
        dtype (`torch.dtype` or `None`): of mixed precision.
        said (`dict` of what JSON knows): what else is to be known: seed, learning rate, process, checkpoint.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): for the first words of each row.
        with_weights (`bool`): write the pair too.

    Returns:
        `Path`: the folder.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(output_dir) / f"_nonfinite-step-{step}"
    generator = [one.requires_grad for one in model.generator.parameters()]
    described = {
        "format": FORMAT,
        "step": step,
        **asdict(finding),
        "what": finding.what(),
        **said,
        "precision": PRECISIONS[dtype],
        "generator_alone": model.generator_alone,
        "generator_frozen": not any(generator),
        "options": [batch.options for batch in batches],
        "losses": [dict(zip(LOSSES, map(str, batch.losses.tolist()), strict=True)) for batch in batches],
        "words": [first_words(batch, tokenizer) for batch in batches],
        "has_weights": with_weights,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    tensors: dict[str, torch.Tensor] = {}
    for number, batch in enumerate(batches):
        named = batch.inputs | {f"random.{kind}": state for kind, state in batch.random.items()}
        tensors |= {f"{number}.{name}": value.cpu().contiguous() for name, value in named.items()}
    others = [folder for folder in folders_of(output_dir) if folder != target]
    for folder in [*others[: max(0, len(others) - MOST_FOLDERS + 1)], target]:
        shutil.rmtree(folder, ignore_errors=True)
    with new_folder(target) as partial:
        if with_weights:
            model.save_pretrained(partial)
        save_file(tensors, partial / BATCH)
        text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        (partial / SAID).write_text(text + "\n", encoding="utf-8")
    return target


def first_words(batch, tokenizer):
    """How a batch's rows begin.

    Args: batch ([`MicroBatch`]); tokenizer (`PreTrainedTokenizerBase` or `None`).
    Returns: `list[str]`, of `SHOWN_ROWS` at most: words, or token ids where no tokenizer is known.
    """
    ids = batch.inputs["input_ids"][:SHOWN_ROWS]  # (rows, L)
    mask = batch.inputs.get("attention_mask")
    attended = torch.ones_like(ids) if mask is None else mask[:SHOWN_ROWS]
    rows = [row[there == 1][:SHOWN_TOKENS].tolist() for row, there in zip(ids.cpu(), attended.cpu(), strict=True)]
    if not hasattr(tokenizer, "decode"):
        return [" ".join(map(str, row)) for row in rows]
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]


def reproduce(folder, *, weights=None, device="cpu"):
    """Take the step again that a run wrote down because its numbers were not finite.

        found = reproduce("out/_nonfinite-step-37")
        found["losses"][0]["mlm_loss"]  # nan

    On the device of the run it draws the numbers that the run drew; on another one, others.

    Args:
        folder (`str` or path): `_nonfinite-step-N` in the output folder of the run.
        weights (`str` or path, *optional*): the pair to take it with; by default the one in the folder.
        device (`str` or `torch.device`)

    Returns:
        `dict`: `losses`, a `dict[str, float]` for each micro-batch (`loss`, `mlm_loss`, `disc_loss`); `gradients`,
        `dict[str, int]`, of the whole step: how many numbers of which gradient are not finite, the first in the
        backward pass first; `said`, the `dict` of `nonfinite.json`.

    Raises:
        ValueError: the folder is not what a run writes, or it has no weights and none are given.
        OSError: it cannot be read.
    """
    folder = Path(folder)
    said = read_object(folder / SAID)
    dtypes = {name: dtype for dtype, name in PRECISIONS.items()}
    if said.get("format") != FORMAT or said.get("precision") not in dtypes:
        raise ValueError(f"{folder / SAID} has the format {said.get('format')!r}: this release reads {FORMAT}.")
    if weights is None and not said["has_weights"]:
        raise ValueError(f"{folder} holds no weights: give `weights`, such as {said.get('checkpoint')}.")
    model = ElectraRTDForPreTraining.from_pretrained(weights or folder, dtype=torch.float32).to(device).train()
    model.generator_alone = bool(said["generator_alone"])
    if said["generator_frozen"]:
        freeze_generator(model)
    tensors, losses = load_file(folder / BATCH), []
    with torch.random.fork_rng():
        for number, options in enumerate(said["options"]):
            losses.append(take_again(model, _read(tensors, number, options), dtypes[said["precision"]]).tolist())
    gradients = [(name, one.grad) for name, one in model.named_parameters() if one.grad is not None]
    return {
        "losses": [dict(zip(LOSSES, row, strict=True)) for row in losses],
        "gradients": not_finite(reversed(gradients)),
        "said": said,
    }


def _read(tensors, number, options):
    """A [`MicroBatch`], as it was written."""
    own = {name.partition(".")[2]: value for name, value in tensors.items() if name.partition(".")[0] == str(number)}
    random = {name.removeprefix("random."): value for name, value in own.items() if name.startswith("random.")}
    return MicroBatch({name: value for name, value in own.items() if not name.startswith("random.")}, options, random)
