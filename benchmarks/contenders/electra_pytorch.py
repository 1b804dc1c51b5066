"""`electra-pytorch`: its `Electra` class around stock networks whose outputs are reduced to logits."""

from electra_pytorch import Electra
from torch import nn

from .common import TrainingStep, pad_rows, stock_pair


class Logits(nn.Module):
    """Args: network (`PreTrainedModel`): whose logits are passed on."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *arguments, **kwargs):
        """Returns: the logits."""
        return self.network(*arguments, **kwargs).logits


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    tokenizer = setup.load_tokenizer()
    model = Electra(
        *map(Logits, stock_pair(setup)),
        num_tokens=setup.vocab_size,
        mask_token_id=tokenizer.mask_token_id,
        pad_token_id=tokenizer.pad_token_id,
        mask_ignore_token_ids=tokenizer.all_special_ids,
    )

    def losses(batch):
        results = model(batch["input_ids"], attention_mask=batch["attention_mask"])
        return {"loss": results.loss, "mlm_loss": results.mlm_loss, "disc_loss": results.disc_loss}

    return TrainingStep(model, losses, lambda rows: pad_rows(rows, tokenizer.pad_token_id), setup)
