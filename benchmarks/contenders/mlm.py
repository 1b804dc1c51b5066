"""Masked language modelling of the discriminator's network with stock classes: what people do today."""

import torch
from transformers import DataCollatorForLanguageModeling, ElectraForMaskedLM

from .common import TrainingStep


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    torch.manual_seed(setup.seed)
    model = ElectraForMaskedLM(setup.configs()[1])
    collator = DataCollatorForLanguageModeling(setup.load_tokenizer())

    def losses(batch):
        loss = model(**batch).loss
        return {"loss": loss, "mlm_loss": loss}

    return TrainingStep(model, losses, lambda rows: collator([{"input_ids": row} for row in rows]), setup)
