"""`txtai`: the model of its task "token-detection", with the collator that its trainer takes."""

from transformers import DataCollatorForLanguageModeling
from txtai.models.tokendetection import TokenDetection

from .common import DISC_WEIGHT, TrainingStep, stock_pair


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    tokenizer = setup.load_tokenizer()
    generator, discriminator = stock_pair(setup)
    for network in (generator, discriminator):
        network.set_attn_implementation("eager")  # as its trainer does
    model = TokenDetection(generator, discriminator, tokenizer, weight=DISC_WEIGHT)
    collator = DataCollatorForLanguageModeling(tokenizer)

    def losses(batch):
        return {"loss": model(**batch)[0]}

    return TrainingStep(model, losses, lambda rows: collator([{"input_ids": row} for row in rows]), setup)
