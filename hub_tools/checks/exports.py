"""Stock networks in subfolders: they are the pair's, and safetensors too."""

import torch

from .. import layout
from ..report import ERROR, INFO, WARNING, Finding
from .weights import Weights


def check_exports(checkpoint, ties):
    """Each exported network against the same network in the pair.

    Args:
        checkpoint ([`CheckpointFiles`])
        ties (`list` of `set[str]`): names of the pair that are one tensor.

    Yields:
        [`Finding`]
    """
    for part in layout.EXPORTS:
        if checkpoint.is_here(f"{part}/{layout.CONFIG}"):
            yield from _check_export(checkpoint, part, ties)


def _check_export(checkpoint, part, ties):
    with Weights(checkpoint) as pair, Weights(checkpoint, f"{part}/") as export:
        yield from export.problems
        if not export.files:
            yield Finding(ERROR, "no-weights", f"{part}/{layout.WEIGHTS}", "is missing: export again.")
            return
        found = set()
        for tensor in sorted(export.files):
            original = _same_tensor(f"{part}.{tensor}", pair, ties) or _same_tensor(
                f"{part}.electra.{tensor}", pair, ties
            )
            if original is None or not torch.equal(pair[original], export[tensor]):
                yield Finding(
                    WARNING,
                    "stale-export",
                    f"{part}/{layout.WEIGHTS}",
                    f"is not the pair's {part}: {tensor} differs. `electra-rtd export` or a push writes it anew.",
                )
                return
            found.add(original)
        lacking = sorted({name for name in pair.files if name.startswith(f"{part}.electra.")} - found)
        if lacking:
            yield Finding(
                WARNING,
                "stale-export",
                f"{part}/{layout.WEIGHTS}",
                f"lacks {lacking[0]} of the pair, which loading would draw at random. `electra-rtd export` or a push "
                "writes it anew.",
            )
            return
        yield Finding(INFO, "export", f"{part}/", f"is the pair's {part}, as a stock checkpoint.")


def _same_tensor(name, pair, ties):
    """The name under which the pair's file holds a tensor."""
    if name in pair.files:
        return name
    tied = next((tied for tied in ties if name in tied), ())
    return next((other for other in sorted(tied) if other in pair.files), None)
