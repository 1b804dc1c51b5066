"""Batches of many kinds, read by ONNX Runtime and by torch, side by side."""

from dataclasses import dataclass

import torch
from torch import nn

from .graph import INPUTS


@dataclass
class Batch:
    """A batch and what it is there for; int64 tensors of shape `(B, L)`."""

    name: str
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_type_ids: torch.Tensor

    @property
    def inputs(self):
        """The tensors by name."""
        return {name: getattr(self, name) for name in INPUTS}


def make_batches(config, seed=0):
    """Batches that a graph could get wrong.

    Args: config (`PretrainedConfig`): of the network; seed (`int`).
    Returns: `list[Batch]`
    """
    draw = torch.Generator().manual_seed(seed)
    longest = config.max_position_embeddings

    def batch(name, lengths, width=None, side="right", types=1):
        width = width or max(lengths)
        shape = len(lengths), width
        columns, counts = torch.arange(width), torch.tensor(lengths)[:, None]
        mask = columns < counts if side == "right" else columns >= width - counts
        ids = torch.randint(config.vocab_size, shape, generator=draw)  # padding holds any id at all
        return Batch(name, ids, mask.long(), torch.randint(types, shape, generator=draw))

    types = config.type_vocab_size
    holes = batch("holes in the mask", (9, 9, 9))
    holes.attention_mask = torch.randint(2, (3, 9), generator=draw)
    holes.attention_mask[:, 4] = 1
    return [
        batch("no padding", (12, 12)),
        batch("one row", (7,)),
        batch("rows of one token", (1, 1, 1)),
        batch("one row of one token", (1,)),
        batch("padding on the right", (12, 5, 1, 9), width=16),
        batch("padding on the left", (12, 5, 1, 9), width=16, side="left"),
        batch("segments", (12, 6, 10), types=types),
        batch("segments, padding on the left", (12, 6, 10), side="left", types=types),
        batch("many rows", tuple(1 + row % min(33, longest) for row in range(33))),
        batch("the longest rows", (longest, longest // 2), types=types),
        batch("the longest rows, padding on the left", (longest, longest // 2), side="left"),
        holes,
        batch("a row without tokens", (6, 0, 3)),
    ]


def run(session, batch):
    """Args: session (`onnxruntime.InferenceSession`); batch ([`Batch`]). Returns: `dict[str, torch.Tensor]`."""
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {name: values.numpy() for name, values in batch.inputs.items()})
    return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}


@torch.inference_mode()
def by_torch(network, batch):
    """What the stock network gives, one row at a time and without its padding: nothing that could leak is there.

    Args: network (`PreTrainedModel`): without the [`Graph`] around it; batch ([`Batch`]).
    Returns: `torch.Tensor`: `(B, L, H)`, 0 where there is no token; or `(B, classes)`, 0 in rows without tokens.
    """
    width = batch.input_ids.shape[1]
    rows = {}
    for row in batch.attention_mask.any(1).nonzero().flatten().tolist():
        places = batch.attention_mask[row].nonzero().flatten()
        first, last = int(places[0]), int(places[-1]) + 1
        output = network(**{name: values[row, first:last][None] for name, values in batch.inputs.items()})[0]
        if output.dim() == 3:
            mask = batch.attention_mask[row, first:last, None] > 0
            output = nn.functional.pad(torch.where(mask, output, 0.0), (0, 0, first, width - last))
        rows[row] = output[0]
    nothing = torch.zeros_like(next(iter(rows.values())))
    return torch.stack([rows.get(row, nothing) for row in range(len(batch.input_ids))])


def difference(session, network, batch):
    """How far ONNX Runtime is from torch.

    Args: session, network, batch: as above.
    Returns:
        `float`: the largest difference of any number that belongs to a token, or to a row with tokens, as a share of
        the largest of these numbers; infinite where anything that comes out is not finite.
    """
    outputs = run(session, batch)
    if not all(values.isfinite().all() for values in outputs.values()):
        return float("inf")
    first, *vectors = outputs.values()  # of tokens or sequences; the mean over tokens, where there is one
    expected, mask = by_torch(network, batch), batch.attention_mask
    there = mask[..., None] > 0 if expected.dim() == 3 else mask.any(1, keepdim=True)
    found = torch.where(there, first - expected, 0.0).abs().max()
    for vector in vectors:
        mean = expected.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        found = torch.maximum(found, (vector - mean).abs().max())
    return (found / expected.abs().max()).item()


def padding_matters(session, batch):
    """The largest change of any number of a token, or of a row with tokens, when the padding holds other ids and
    segments: `float`. Args: as above."""
    mask = batch.attention_mask
    emptied = Batch(batch.name, batch.input_ids * mask, mask, batch.token_type_ids * mask)
    before, after = run(session, batch), run(session, emptied)
    changes = [0.0]
    for name, values in before.items():
        kept = mask > 0 if values.dim() == 3 else mask.any(1)
        changes.append((values - after[name])[kept].abs().max().item())
    return max(changes)
