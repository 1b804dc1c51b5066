"""The trained pair as a folder: weights in float16, tokenizer, and a card that says what it is and from what."""

import json
from pathlib import Path

import torch

from electra_rtd.hub_tools import layout
from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.staging import files_for_folder

from .tokens import CORPORA


MOST_BYTES = 16 * 10**6
CARD = Path(__file__).with_name("card.md")


def write_pair(model, work, folder, figures):
    """Write the pair into the package.

    Args:
        model ([`ElectraRTDForPreTraining`]); work (`Path`): has `tokenizer/`. folder (`Path`): is filled anew.
        figures (`str`): of held-out text, for the card.

    Raises:
        ValueError: weights that float16 cannot hold, or a folder of more than `MOST_BYTES`.
    """
    model = model.cpu().eval().half()
    spoilt = [name for name, weights in model.named_parameters() if not torch.isfinite(weights).all()]
    if spoilt:
        raise ValueError(f"float16 cannot hold {', '.join(spoilt)}: train again with a lower rate.")
    with files_for_folder(folder) as staged:
        model.save_pretrained(staged)
        load_tokenizer(work / "tokenizer").save_pretrained(staged)
        for file in staged.glob("*.py"):
            file.unlink()  # the package has them; a copy would be a second thing to keep true
        config = json.loads((staged / layout.CONFIG).read_text(encoding="utf-8"))
        config.pop("auto_map")
        (staged / layout.CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        licences = "\n".join(f"- {work}" for works in CORPORA.values() for work in works)
        (staged / layout.CARD).write_text(
            CARD.read_text(encoding="utf-8").replace("{licences}", licences).replace("{figures}", figures),
            encoding="utf-8",
        )
        size = sum(file.stat().st_size for file in staged.rglob("*"))
        if size > MOST_BYTES:
            raise ValueError(f"The pair has {size:,} bytes, {MOST_BYTES:,} are allowed: fewer layers or entries.")
