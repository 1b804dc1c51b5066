"""`ElectraRTDForPreTraining` as a user trains it, whole or with one of its pieces switched off."""

import torch

from electra_rtd import ElectraRTDForPreTraining, modeling_electra_rtd, objective_electra_rtd, unpadding_electra_rtd

from .common import TrainingStep, pad_rows, stock_pair


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`TrainingStep`]."""
    tokenizer = setup.load_tokenizer()
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(*stock_pair(setup), tokenizer=tokenizer)
    if setup.piece is not None:
        PIECES[setup.piece](model)

    def losses(batch):
        output = model(**batch)
        return {"loss": output.loss, "mlm_loss": output.mlm_loss, "disc_loss": output.disc_loss}

    return TrainingStep(model, losses, lambda rows: pad_rows(rows, tokenizer.pad_token_id), setup)


# ---- Switches: each takes the model, and puts the plain way in the place of one piece ------------------------------


def padded_batches(model):
    """Padding is computed, as by stock ELECTRA."""

    def padded(attended, position_ids, *without_padding):
        return unpadding_electra_rtd.PaddedBatch(attended, position_ids)

    modeling_electra_rtd.UnpaddedBatch = padded


def one_group(model):
    """All rows are as wide as the longest in attention: of a CPU, which has rectangles of similar length."""
    unpadding_electra_rtd.cut_by_length = lambda lengths: [0]


def logits_at_once(model):
    """The logits of all masked tokens exist from the forward to the backward pass."""
    objective_electra_rtd.LOGITS_AT_ONCE = {}
    objective_electra_rtd.LOGITS_AT_ONCE_ELSEWHERE = 2**62


def dense_logits(model):
    """Logits at every token, of which those of masked tokens are kept: all of them at once."""
    logits_at_once(model)  # in parts, who is masked would be looked for in each part
    seen = {}

    def every_token(layout, masked, hidden):
        seen["masked"] = layout.tokens[masked]  # (M,), among the tokens
        return hidden.squeeze(0)  # (T, H)

    class Head(torch.nn.Module):
        """The head for every token, and of its logits those of masked tokens."""

        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, predictions):
            return self.head(predictions)[seen["masked"]]  # (T, V) to (M, V)

    model.generator.generator_lm_head = Head(model.generator.generator_lm_head)
    unpadding_electra_rtd.UnpaddedBatch.at = every_token


def gumbel_noise(model):
    """A random number for every entry of the vocabulary, in the place of one for every masked position."""

    @torch.no_grad()
    def sample_tokens(logits, temperature, uniform, excluded=None):
        exponential = torch.empty_like(logits, dtype=torch.float32).exponential_()  # (M, V)
        return (logits.float() / temperature - exponential.log()).argmax(dim=-1)  # (M,)

    objective_electra_rtd.sample_tokens = sample_tokens


# Name -> switch. To measure another piece, write its plain way above and name the piece here: it becomes a contender,
# "ours without <name>". A switch may patch the model or the module, since each contender has a process of its own.
PIECES = {
    "padding-free": padded_batches,
    "groups of rows": one_group,
    "bounded vocabulary head": logits_at_once,
    "masked positions only": dense_logits,
    "inverse-CDF sampling": gumbel_noise,
}
