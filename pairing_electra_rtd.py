# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""Two pretrained checkpoints, or a discriminator alone, to one pair: networks, tokenizer and its special ids.

Of the model files, this one alone reads files, from folders or the Hub.
"""

import torch
from transformers import (
    AutoTokenizer,
    BertForMaskedLM,
    BertTokenizerFast,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import has_file, logging


logger = logging.get_logger(__name__)

NETWORKS = {"generator": ElectraForMaskedLM, "discriminator": ElectraForPreTraining}


def pair_networks(generator, discriminator, tokenizer, overrides):
    """Load two networks and find out what the configuration of their pair has to say.

    Args: generator (`None`: cut one), discriminator (`str`, path or loaded model); tokenizer
        (`PreTrainedTokenizerBase`, *optional*); overrides (`dict`): see [`ElectraRTDForPreTraining`]'s class methods.
    Returns: `ElectraForMaskedLM`, `ElectraForPreTraining`, and the fields of their [`ElectraRTDConfig`], a `dict`.
    """
    of_generator, of_discriminator = (_pop_prefixed(overrides, f"{name}_") for name in NETWORKS)
    if tokenizer is None:
        sources = (discriminator, of_discriminator), (generator, of_generator)
        named = [(one, kwargs) for one, kwargs in sources if not isinstance(one, (PreTrainedModel, type(None)))]
        tokenizer = common_tokenizer({str(one): find_tokenizer(one, **kwargs) for one, kwargs in named})
    if tokenizer is not None:
        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"The tokenizer ({type(tokenizer).__name__}, {len(tokenizer)} tokens) has no mask token, which the "
                "generator's input needs. Take the tokenizer that the generator was trained with."
            )
        ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
        overrides = {**ids, "special_token_ids": special_ids(tokenizer), **overrides}
    if generator is not None:
        generator = _load_network("generator", generator, of_generator)
    discriminator = _load_network("discriminator", discriminator, of_discriminator)
    if generator is None:
        layers = of_generator.pop("layers", None)
        generator = _load_network("generator", _cut_generator(discriminator, layers), of_generator)
    if tokenizer is not None and len(tokenizer) > discriminator.config.vocab_size == generator.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} tokens, the networks {discriminator.config.vocab_size}. Take the "
            "tokenizer that they were trained with, or call `resize_token_embeddings(len(tokenizer))` on both first."
        )
    tables = [network.get_input_embeddings().weight.float() for network in (generator, discriminator)]
    if overrides.get("embedding_sharing") == "tied" and not torch.equal(*tables):
        logger.warning(
            'The two checkpoints have different embeddings. With `embedding_sharing="tied"` the generator now reads '
            'the discriminator\'s, and its loss starts high; `embedding_sharing="none"` keeps both.'
        )
    return generator, discriminator, overrides


def _cut_generator(discriminator, layers):
    deepest = discriminator.config.num_hidden_layers
    layers = min(deepest, max(2, deepest // 3)) if layers is None else layers
    if isinstance(layers, bool) or not isinstance(layers, int) or not 1 <= layers <= deepest:
        raise ValueError(f"`generator_layers` is {layers!r}: of the discriminator's layers, it can be 1 to {deepest}.")
    fields = {**discriminator.config.to_dict(), "num_hidden_layers": layers, "tie_word_embeddings": True}
    generator = ElectraForMaskedLM(ElectraConfig(**fields))
    generator.electra.load_state_dict(discriminator.electra.state_dict(), strict=False)  # deeper layers stay out
    return generator


def _from_bert(bert):
    """`ElectraForMaskedLM` with the logits of a `BertForMaskedLM`, whose modules have other names there."""
    if bert.config.hidden_act != "gelu":
        raise ValueError(
            f"`generator` is a BERT of `hidden_act={bert.config.hidden_act!r}`: the head of ELECTRA's generator has "
            "'gelu' alone, and would predict otherwise. Take another one, or cut it from the discriminator."
        )
    fields, known = bert.config.to_dict(), ElectraConfig().to_dict().keys() - {"model_type", "architectures"}
    fields = {name: fields[name] for name in known & fields.keys()} | {"embedding_size": bert.config.hidden_size}
    generator, head = ElectraForMaskedLM(ElectraConfig(**fields)), bert.cls.predictions
    generator.electra.load_state_dict(bert.bert.state_dict())
    generator.generator_predictions.load_state_dict(head.transform.state_dict())
    generator.generator_lm_head.load_state_dict(head.decoder.state_dict())
    return generator


def _load_network(name, source, kwargs):
    model_class = NETWORKS[name]
    if isinstance(source, PreTrainedModel):
        if kwargs:
            raise ValueError(f"`{name}_{min(kwargs)}` is for loading a {name} by its name, and this one has none.")
        if isinstance(source, BertForMaskedLM) and name == "generator":
            return _from_bert(source)
        if not isinstance(source, model_class):
            raise ValueError(f"`{name}` is a {type(source).__name__}: it must be a {model_class.__name__}.")
        return source
    try:
        model_type = PretrainedConfig.get_config_dict(source, **kwargs)[0].get("model_type", "electra")
        if model_type == "bert" and name == "generator":
            model_class = BertForMaskedLM
        elif model_type != "electra":
            raise ValueError(
                f"`{name}` is {str(source)!r}, of the model type {model_type!r}: it must be a stock ELECTRA (or, as "
                "generator, a 'bert' with its head). A whole pair, 'electra_rtd', loads with `from_pretrained`."
            )
        model, info = model_class.from_pretrained(source, output_loading_info=True, **kwargs)
    except OSError as error:
        raise OSError(f"`{name}` is {str(source)!r}, which could not be loaded: {error}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"`{name}` is {str(source)!r}, which lacks {len(missing)} weights of {model_class.__name__} "
            f"({missing[0]}, ...). Does it have that head, and are generator and discriminator not swapped? To "
            f"start from random weights on purpose, pass `{model_class.__name__}.from_pretrained(...)` itself."
        )
    left_over = sorted(key for key in info["unexpected_keys"] if ".encoder.layer." in key)
    if left_over and "num_hidden_layers" not in kwargs:
        raise ValueError(
            f"`{name}` is {str(source)!r}, which holds weights of more layers than its configuration names, "
            f"{model.config.num_hidden_layers} ({left_over[0]}, ...). Correct `num_hidden_layers` in its config.json, "
            f"or leave the others out on purpose: `{name}_num_hidden_layers=`."
        )
    return _from_bert(model) if isinstance(model, BertForMaskedLM) else model


def common_tokenizer(opened):
    """The first tokenizer that some sources have, or `None`; an error where two have different vocabularies.
    Args: opened (`dict`): the name of each source to its tokenizer or `None`."""
    found = {source: tokenizer for source, tokenizer in opened.items() if tokenizer is not None}
    vocabularies = [tokenizer.get_vocab() for tokenizer in found.values()]
    if any(vocabulary != vocabularies[0] for vocabulary in vocabularies):
        sizes = " and ".join(str(len(vocabulary)) for vocabulary in vocabularies)
        raise ValueError(
            f"{' and '.join(found)} have different vocabularies: their tokenizers, of {sizes} tokens, map tokens to "
            "other ids. Choose two of one release, or pass the `tokenizer=` that you know both were trained with."
        )
    return next(iter(found.values()), None)


def find_tokenizer(source, **kwargs):
    """The tokenizer of source (`str` or path: a folder or a Hub id), or `None`; kwargs: those of `from_pretrained`."""
    trust = kwargs.get("trust_remote_code", False)  # without it, nobody is asked
    kwargs = {name: kwargs[name] for name in ("cache_dir", "local_files_only", "revision", "token") if name in kwargs}
    # Where both files are missing, `AutoTokenizer` of some releases makes up a vocabulary of the special tokens alone.
    files = [file for file in ("tokenizer.json", "vocab.txt") if has_file(source, file, **kwargs)]
    if not files:
        return None
    fields = PretrainedConfig.get_config_dict(source, **kwargs)[0] if has_file(source, "config.json", **kwargs) else {}
    if {"model_type", "tokenizer_class"} & {*fields, *get_tokenizer_config(source, **kwargs)}:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust, **kwargs)
    # Nothing names a class: the first file has all there is, the second is a WordPiece vocabulary, as ELECTRA's are.
    loader = PreTrainedTokenizerFast if files[0] == "tokenizer.json" else BertTokenizerFast
    return loader.from_pretrained(source, **kwargs)


def special_ids(tokenizer):
    """Ids of a tokenizer's special tokens, also of those that were added: `list[int]`, ascending."""
    added = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(added.union(tokenizer.all_special_ids))


def _pop_prefixed(kwargs, prefix):
    names = [name for name in kwargs if name.startswith(prefix)]
    return {name[len(prefix) :]: kwargs.pop(name) for name in names}
