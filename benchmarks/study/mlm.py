"""Arm b: masked language modelling of the discriminator's encoder, with stock classes alone: what people do today."""

from transformers import DataCollatorForLanguageModeling, ElectraForMaskedLM, set_seed

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.data import read_text, tokenize_text

from .training import MAX_LENGTH, keep_encoder, train_stock, training_arguments


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
    return keep_encoder(model.electra, tokenizer, job, counter, log)
