"""`zeldarose`: the training step of its RTD task."""

import warnings

import torch
from transformers import ElectraForMaskedLM, ElectraForTokenClassification
from zeldarose.datasets.transform import TextBatch
from zeldarose.tasks.rtd import RTDTaskConfig, RTDTrainingModel

from .common import DISC_WEIGHT, TrainingStep, pad_rows


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    tokenizer = setup.load_tokenizer()
    generator, discriminator = setup.configs()
    torch.manual_seed(setup.seed)
    model = RTDTrainingModel(
        generator=ElectraForMaskedLM(generator),
        discriminator=ElectraForTokenClassification(discriminator),
        mask_token_index=tokenizer.mask_token_id,
        vocabulary_size=setup.vocab_size,
        task_config=RTDTaskConfig(discriminator_loss_weight=DISC_WEIGHT),
    )
    warnings.filterwarnings("ignore", message="You are trying to `self.log\\(\\)`")  # its logger needs its trainer
    special_ids = torch.tensor(tokenizer.all_special_ids, device=setup.device)

    def losses(batch):
        tokens, attended = batch["input_ids"], batch["attention_mask"].bool()
        special = torch.isin(tokens, special_ids)
        return {"loss": model.training_step(TextBatch(tokens, attended, special, torch.zeros_like(tokens)), 0)}

    return TrainingStep(model, losses, lambda rows: pad_rows(rows, tokenizer.pad_token_id), setup)
