"""Who steps in `benchmarks.step`, each in a file of its own with one function, `build(setup)`.

It returns an object with `step(rows) -> dict`. A new contender is a file and a row in `CONTENDERS`; a new piece of
ours to be switched off is a row in `ours.PIECES`.
"""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A row of the table.

    Args:
        module (`str`): the file in this folder.
        note (`str`): what it computes, and where that differs from ELECTRA's objective.
        environment (`str`, *optional*): the packages of `benchmarks.environments` that it needs.
        batches (`str`, *optional*): the scenario of its batches, where it is not that of the run.
        piece (`str`, *optional*): the piece of ours that is switched off.
        device (`str`, *optional*): where it is another than the others, `"cuda"`; elsewhere it is measured by name.
    """

    module: str
    note: str = ""
    environment: str | None = None
    batches: str | None = None
    piece: str | None = None
    device: str | None = None


BY_BOUNDARIES = "ours, by boundaries"  # what `adapt` trains on a GPU; "ours" is the model files alone
CONTENDERS = {
    "ours": Contender("ours"),
    BY_BOUNDARIES: Contender("by_boundaries", "attention as `adapt` has it on a GPU", device="cuda"),
    "ours, like-length": Contender("ours", "on batches of like length", batches="like-length"),
    "ours, generator frozen": Contender("frozen", "as `adapt --freeze generator`: its forward pass alone"),
    "ours, attention in parts": Contender("in_parts", "as `adapt --attention_in_parts`"),
    "plain": Contender("plain", "stock classes, dense logits, Gumbel noise, padded"),
    "mlm": Contender("mlm", "masked language modelling of the discriminator alone: one network"),
    "electra-pytorch": Contender("electra_pytorch", "the same objective", environment="electra-pytorch"),
    "txtai": Contender(
        "txtai", "masks 80/10/10 by the stock collator; always shares word embeddings", environment="txtai"
    ),
    "simpletransformers": Contender(
        "simpletransformers", "always [MASK]; shares word embeddings by default", environment="simpletransformers"
    ),
    "zeldarose": Contender(
        "zeldarose",
        "wrong objective: the discriminator reads the masked input, not samples, and is told the generator's mistakes",
        environment="zeldarose",
    ),
    "rtd-gdes": Contender(
        "rtd_gdes",
        "another network and objective: one DeBERTa for both; argmax, no samples; lucky hits count as replaced",
        environment="rtd-gdes",
    ),
}


def build(module, setup):
    """The contender of a file.

    Args: module (`str`); setup ([`Setup`]). Returns: an object with `step(rows) -> dict`.
    """
    return importlib.import_module(f".{module}", __name__).build(setup)
