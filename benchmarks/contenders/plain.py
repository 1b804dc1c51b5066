"""A plain step of replaced token detection, written from the paper's text (section 2) on stock classes."""

import torch
from torch import nn

from .common import DISC_WEIGHT, TrainingStep, pad_rows, stock_pair


MASK_PERCENT = 15
NOT_A_LABEL = -100  # the index that the stock losses ignore


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    generator, discriminator = stock_pair(setup)
    tokenizer = setup.load_tokenizer()
    special_ids = torch.tensor(tokenizer.all_special_ids, device=setup.device)

    def losses(batch):
        input_ids = batch["input_ids"]
        masked = draw_mask(~torch.isin(input_ids, special_ids))  # (B, L)
        masked_input_ids = input_ids.masked_fill(masked, tokenizer.mask_token_id)  # (B, L)
        return rtd_losses(generator, discriminator, masked=masked, masked_input_ids=masked_input_ids, **batch)

    model = nn.ModuleList([generator, discriminator])
    return TrainingStep(model, losses, lambda rows: pad_rows(rows, tokenizer.pad_token_id), setup)


def draw_mask(candidates):
    """15 % of each row's candidates, rounded up. Args: candidates (bool, (B, L)). Returns: bool, (B, L)."""
    to_mask = (candidates.sum(dim=-1, keepdim=True) * MASK_PERCENT + 99) // 100  # (B, 1), rounded up
    noise = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, 2.0)  # candidates first
    return candidates & (noise.argsort(dim=-1).argsort(dim=-1) < to_mask)


@torch.no_grad()
def gumbel_sample(logits):
    """Samples of softmax(logits). Args: logits (float, (M, V)). Returns: int64, (M,)."""
    noise = -torch.rand_like(logits, dtype=torch.float32).clamp(min=1e-20).log()
    return (logits.float() - noise.clamp(min=1e-20).log()).argmax(dim=-1)


def rtd_losses(generator, discriminator, input_ids, attention_mask, masked, masked_input_ids, sample=gumbel_sample):
    """The two losses and their weighted sum.

    Args:
        generator (`ElectraForMaskedLM`), discriminator (`ElectraForPreTraining`)
        input_ids, attention_mask, masked_input_ids (int64, `(B, L)`): original tokens, 1 = token, generator's input.
        masked (bool, `(B, L)`): where the generator predicts.
        sample (callable): from logits `(M, V)` to token ids `(M,)`.

    Returns:
        `dict` of float32 `()`
    """
    labels = input_ids.masked_fill(~masked, NOT_A_LABEL)  # (B, L)
    generated = generator(masked_input_ids, attention_mask=attention_mask, labels=labels)  # logits: (B, L, V)
    # A GPU's host waits here for the places, once a step. Stock classes make it wait too, for masks that may hide
    # nothing and in the loss of the discriminator: a plain implementation has that.
    places = masked.nonzero(as_tuple=True)  # (M,) each
    replaced_ids = input_ids.clone()
    replaced_ids[places] = sample(generated.logits[places])
    disc_labels = (replaced_ids != input_ids).float()  # (B, L)
    detected = discriminator(replaced_ids, attention_mask=attention_mask, labels=disc_labels)
    loss = generated.loss + DISC_WEIGHT * detected.loss
    return {"loss": loss, "mlm_loss": generated.loss, "disc_loss": detected.loss}
