"""Arm b: masked language modelling of the discriminator's encoder, with stock classes alone: what people do today."""

from transformers import DataCollatorForLanguageModeling, ElectraForMaskedLM, ElectraForPreTraining, set_seed

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.data import read_text, tokenize_text

from .training import MAX_LENGTH, train_stock, training_arguments


def train_mlm(job):
    """Train, and put the encoder back into a discriminator.

    `ElectraForMaskedLM.from_pretrained(discriminator)` gives the encoder a head of which the transform is new and the
    projection is tied to the embeddings, as for everybody who calls it.

    Args: job ([`Job`]). Returns: the fields of [`Trained`], a `dict`.
    """
    tokenizer = load_tokenizer(job.start.discriminator)
    rows = tokenize_text(read_text([str(job.corpus.train)]).dataset, tokenizer, max_length=MAX_LENGTH)
    set_seed(job.seed)  # of the new head
    model = ElectraForMaskedLM.from_pretrained(job.start.discriminator)
    arguments = training_arguments(job.folder / "run", job.steps, job.rate, rows=job.rows, seed=job.seed)
    counter, log = train_stock(model, rows, DataCollatorForLanguageModeling(tokenizer), tokenizer, arguments)
    save_encoder(model.electra, job.start.discriminator, tokenizer, job.folder / "discriminator")
    return {
        "discriminator": "discriminator",
        "steps": job.steps,
        "tokens": counter.tokens,
        "seconds": counter.seconds,
        "losses": last_losses(log),
    }


def save_encoder(encoder, discriminator, tokenizer, folder):
    """Write a discriminator with another encoder; its RTD head is the old one, which fine-tuning does not read.

    Args: encoder (`ElectraModel`); discriminator (`Path`); tokenizer (`PreTrainedTokenizerFast`); folder (`Path`).
    """
    whole = ElectraForPreTraining.from_pretrained(discriminator)
    whole.electra.load_state_dict(encoder.state_dict())
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def last_losses(log):
    """Args: log (`list[dict]`): of the Trainer. Returns: `dict`: the first loss that it logged, and the last."""
    losses = [row["loss"] for row in log if "loss" in row]
    return {"first": losses[0], "last": losses[-1]} if losses else {}
