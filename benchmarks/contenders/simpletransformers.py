"""`simpletransformers`: its ELECTRA language model, its masking, its weights of the losses."""

from types import SimpleNamespace

import torch
from simpletransformers.custom_models.models import ElectraForLanguageModelingModel
from simpletransformers.language_modeling.language_modeling_utils import mask_tokens

from .common import DISC_WEIGHT, TrainingStep, pad_rows


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    tokenizer = setup.load_tokenizer()
    generator, discriminator = setup.configs()
    torch.manual_seed(setup.seed)
    model = ElectraForLanguageModelingModel(
        discriminator, generator_config=generator, discriminator_config=discriminator
    )
    masking = SimpleNamespace(mlm_probability=0.15, model_type="electra")

    def collate(rows):
        batch = pad_rows(rows, tokenizer.pad_token_id)
        batch["input_ids"], batch["labels"] = mask_tokens(batch["input_ids"], tokenizer, masking)
        return batch

    def losses(batch):
        mlm_loss, disc_loss = model(batch["input_ids"], batch["labels"], batch["attention_mask"])[:2]
        return {"loss": mlm_loss + DISC_WEIGHT * disc_loss, "mlm_loss": mlm_loss, "disc_loss": disc_loss}

    return TrainingStep(model, losses, collate, setup)
