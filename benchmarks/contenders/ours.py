"""`ElectraRTDForPreTraining` as a user trains it, whole or with one of its pieces switched off."""

import torch

from electra_rtd import ElectraRTDForPreTraining, modeling_electra_rtd

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


def dense_logits(model):
    """Logits at every position, of which those at masked positions are kept."""
    seen = {}
    choose = modeling_electra_rtd.choose_masked_positions
    transform = model.generator.generator_predictions.forward
    project = model.generator.generator_lm_head.forward

    def choose_and_remember(*arguments):
        seen["masked"] = choose(*arguments)  # (B, L)
        return seen["masked"]

    def remember_hidden(module, arguments, output):
        seen["hidden"] = output[0]  # (B, L, H)

    modeling_electra_rtd.choose_masked_positions = choose_and_remember
    model.generator.electra.register_forward_hook(remember_hidden)
    model.generator.generator_predictions.forward = lambda hidden: transform(seen["hidden"])  # (B, L, E)
    model.generator.generator_lm_head.forward = lambda hidden: project(hidden)[seen["masked"]]  # (M, V)


def gumbel_noise(model):
    """A random number for every entry of the vocabulary, in the place of one for every masked position."""

    @torch.no_grad()
    def sample_tokens(logits, temperature, uniform):
        exponential = torch.empty_like(logits, dtype=torch.float32).exponential_()  # (M, V)
        return (logits.float() / temperature - exponential.log()).argmax(dim=-1)  # (M,)

    modeling_electra_rtd.sample_tokens = sample_tokens


# Name -> switch. To measure another piece, write its plain way above and name the piece here: it becomes a contender,
# "ours without <name>". A switch may patch the model or the module, since each contender has a process of its own.
PIECES = {
    "masked positions only": dense_logits,
    "inverse-CDF sampling": gumbel_noise,
}
