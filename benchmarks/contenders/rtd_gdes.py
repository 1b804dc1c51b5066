"""`rtd-gdes`: its model, which knows DeBERTa alone, at the discriminator's width and depth, and its losses."""

import tempfile

import torch
from rtd_gdes.gdes.model import DebertaV3GDES
from rtd_gdes.gdes.trainer import _build_disc_labels, _disc_loss
from transformers import DataCollatorForLanguageModeling, DebertaV2Config, DebertaV2ForMaskedLM

from .common import DISC_WEIGHT, TrainingStep


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    tokenizer = setup.load_tokenizer()
    model = _random_model(setup)
    collator = DataCollatorForLanguageModeling(tokenizer)

    def losses(batch):
        disc_labels = _build_disc_labels(batch["input_ids"], tokenizer.mask_token_id)
        generated = model.forward_gen(**batch)
        detected = model.forward_disc(generated.logits.argmax(dim=-1), batch["attention_mask"])
        disc_loss = _disc_loss(detected, disc_labels, batch["attention_mask"])
        return {
            "loss": generated.loss + DISC_WEIGHT * disc_loss,
            "mlm_loss": generated.loss,
            "disc_loss": disc_loss,
        }

    return TrainingStep(model, losses, lambda rows: collator([{"input_ids": row} for row in rows]), setup)


def _random_model(setup):
    electra = setup.configs()[1]
    config = DebertaV2Config(
        vocab_size=setup.vocab_size,
        hidden_size=electra.hidden_size,
        num_hidden_layers=electra.num_hidden_layers,
        num_attention_heads=electra.num_attention_heads,
        intermediate_size=electra.intermediate_size,
        type_vocab_size=0,
        # The other settings of `microsoft/deberta-v3-base`.
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
    )
    torch.manual_seed(setup.seed)
    with tempfile.TemporaryDirectory() as folder:  # it loads checkpoints only
        DebertaV2ForMaskedLM(config).save_pretrained(folder)
        return DebertaV3GDES(folder)
