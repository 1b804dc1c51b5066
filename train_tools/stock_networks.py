"""A run that starts from stock checkpoints: a discriminator, and a generator that is named or cut from it."""

import logging

from transformers import PretrainedConfig

from ..modeling_electra_rtd import ElectraRTDForPreTraining


logger = logging.getLogger(__name__)

CUT = "cut from the discriminator"  # what the record of a run says of such a generator
DEFAULT_DEPTH = 12  # of a configuration that does not say, ELECTRA's as BERT's


def join_networks(arguments, tokenizer, overrides, is_new=True):
    """The pair of stock checkpoints, and a line about a generator that is not simply the named one.

    Args:
        arguments ([`AdaptArguments`]): with `discriminator`; without `generator`, one is cut from it.
        tokenizer (`PreTrainedTokenizerFast`)
        overrides (`dict`): fields of [`ElectraRTDConfig`] that are given.
        is_new (`bool`): a run begins, and the line is said: one that is resumed has its own weights.

    Returns:
        [`ElectraRTDForPreTraining`]

    Raises:
        ValueError: they do not fit together, a part is missing, or the layers asked for are not there.
        OSError: there is nothing of that name.
    """
    join = _cut if arguments.generator is None else _join
    model, what, advice = join(arguments, tokenizer, overrides)
    if is_new and what:
        logger.info(f"generator: {what}; {_size(model)}.{advice}")
    return model


def _cut(arguments, tokenizer, overrides):
    if arguments.freeze:  # which needs a generator with embeddings of its own
        overrides = {"embedding_sharing": "none", **overrides}
    model = ElectraRTDForPreTraining.from_discriminator_pretrained(
        arguments.discriminator, tokenizer=tokenizer, generator_layers=arguments.generator_layers, **overrides
    )
    kept, depth = model.config.generator_config.num_hidden_layers, model.config.num_hidden_layers
    advice = "" if arguments.generator_warmup else " `generator_warmup=0.2` lets it learn alone first."
    what = f"{CUT}, as none is named: its embeddings, {_layers(kept, depth)} and a new head"
    return model, what, advice


def _join(arguments, tokenizer, overrides):
    try:
        fields = PretrainedConfig.get_config_dict(arguments.generator)[0]
    except OSError as error:
        raise OSError(f"`generator` is {arguments.generator!r}, which could not be loaded: {error}") from error
    layers = arguments.generator_layers
    depth, is_bert = fields.get("num_hidden_layers", DEFAULT_DEPTH), fields.get("model_type") == "bert"
    if layers is not None:
        if layers > depth:
            raise ValueError(f"`generator_layers` is {layers}: {arguments.generator} has {depth}.")
        overrides = {**overrides, "generator_num_hidden_layers": layers}
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        arguments.generator, arguments.discriminator, tokenizer=tokenizer, **overrides
    )
    kind = "BERT, whose layers and head are ELECTRA's under other names: " if is_bert else ""
    what = f"{kind}{_layers(layers or depth, depth)} of {arguments.generator}"
    return model, what if is_bert or layers is not None else None, ""


def _layers(kept, depth):
    return f"all {depth} layers" if kept == depth else f"the first {kept} of {depth} layers"


def _size(model):
    """How many parameters the generator has, and which of them are the discriminator's too."""
    weights = {id(weight): weight.numel() for weight in model.generator.parameters()}
    shared = sum(weights[one] for one in weights.keys() & set(map(id, model.discriminator.parameters())))
    sharing = model.config.embedding_sharing
    what = {"none": "none of them shared", "gdes": "its tables read by both"}.get(
        sharing, f"{_millions(shared)} shared"
    )
    return f"{_millions(sum(weights.values()))} parameters, {what} (embedding_sharing={sharing})"


def _millions(number):
    return f"{number / 1e6:.1f} million" if number >= 50_000 else f"{number:,}"
