"""Arms c, e and g: replaced token detection by `adapt`, as a user calls it, but for what it would choose by itself."""

import shutil

from transformers import ElectraForPreTraining

from electra_rtd.train_tools import AdaptArguments, adapt

from .minilm import generator_of
from .training import MAX_LENGTH, training_arguments


def train_rtd(job):
    """Args: job ([`Job`]). Returns: the fields of [`Trained`], a `dict`."""
    changes = dict(job.changes)
    if changes.get("replay_share"):
        changes["replay_file"] = [str(job.corpus.general)]
    start = {"checkpoint": str(job.start.pair)}
    if changes.pop("generator", None) == "new":
        start = {"discriminator": str(job.start.discriminator), "generator": str(new_generator(job))}
        changes.setdefault("embedding_sharing", "tied")
    arguments = AdaptArguments(
        **start,
        **changes,
        train_file=[str(job.corpus.train)],
        validation_file=[str(job.corpus.held_out)],
        max_seq_length=MAX_LENGTH,
        sample_steps=0,
        fast=False,  # the settings of all arms are the same, and are given
        lang="en",
    )
    output = job.folder / "run"
    result = adapt(arguments, training_arguments(output, job.steps, job.rate, rows=job.rows, seed=job.seed))
    shutil.move(result.discriminator, job.folder / "discriminator")
    shutil.rmtree(output)  # the pair: the encoder is what is evaluated, and both networks take room
    return {
        "discriminator": "discriminator",
        "steps": result.steps,
        "tokens": result.tokens_seen,
        "seconds": result.seconds,
        "before": _numbers(result.before),
        "after": _numbers(result.after),
        "health": [row["health"] for row in result.health],
    }


def new_generator(job):
    """A generator that has learnt nothing: the discriminator's embeddings and half of its layers, with a new head.

    Args: job ([`Job`]). Returns: `Path`
    """
    discriminator = ElectraForPreTraining.from_pretrained(job.start.discriminator)
    layers = max(1, discriminator.config.num_hidden_layers // 2)
    folder = job.folder / "generator"
    generator_of(discriminator, layers, seed=job.seed).save_pretrained(folder)
    return folder


def _numbers(figures):
    return {name: round(value, 5) for name, value in figures.items() if isinstance(value, (int, float))}
