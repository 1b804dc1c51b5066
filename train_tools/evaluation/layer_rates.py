"""ELECTRA's layer-wise learning rates: the deeper a layer, the less of it a fine-tuning changes."""

from torch import nn


def layerwise_parameter_groups(model, learning_rate, decay, *, weight_decay=0.01):
    """Groups for an optimiser, as ELECTRA is fine-tuned (google-research/electra, `model/optimization.py`).

    With n layers, the head learns at the full rate, layer i (from 0) at `learning_rate * decay ** (n + 1 - i)`, and
    the embeddings with their projection at `learning_rate * decay ** (n + 2)`. So the last layer has two steps of
    decay, not one: Google's code leaves the step between it and the head empty. A pooler, which ELECTRA does not have,
    stands on it here. Biases and the weights of normalisations have no weight decay.

        optimizer = torch.optim.AdamW(layerwise_parameter_groups(model, 1e-4, 0.8))
        Trainer(model=model, args=args, train_dataset=rows, optimizers=(optimizer, None))

    Args:
        model (`PreTrainedModel`): an encoder, with a head or without, whose layers are in one list: ELECTRA, BERT,
            RoBERTa, DeBERTa, ModernBERT and the like.
        learning_rate (`float`): of the head. Google's: 1e-4, and 5e-5 for large models.
        decay (`float`): factor from a layer to the one below it, in (0, 1]. Google's: 0.8, and 0.9 for large models.
        weight_decay (`float`)

    Returns:
        `list[dict]`: `params`, `lr` and `weight_decay`, from the embeddings to the head. Each parameter that is
        trained is in exactly one; those that are frozen (`requires_grad` is `False`) are in none.

    Raises:
        ValueError: a number is out of range, or the model has no such list of layers.
    """
    if not learning_rate > 0:
        raise ValueError(f"`learning_rate` is {learning_rate}: it must be more than 0, such as 1e-4.")
    if not 0 < decay <= 1:
        raise ValueError(f"`decay` is {decay}: it must be more than 0, and at most 1 (the same rate everywhere).")
    layers = encoder_layers(model.base_model)
    depths = _depths(model, layers)
    undecayed = _undecayed(model)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():  # a tied one comes once
        if parameter.requires_grad:
            key = depths[id(parameter)], id(parameter) in undecayed
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * decay ** (len(layers) + 2 - depth),
            "weight_decay": 0.0 if is_undecayed else weight_decay,
        }
        for (depth, is_undecayed), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]


def encoder_layers(encoder):
    """The list of an encoder's layers, from the first to the last.

    Args:
        encoder (`PreTrainedModel`): without head.

    Returns:
        `nn.ModuleList`

    Raises:
        ValueError: there is none.
    """
    number = encoder.config.num_hidden_layers
    lists = {name: one for name, one in encoder.named_modules() if isinstance(one, nn.ModuleList)}
    found = lists.get("encoder.layer") or next((one for one in lists.values() if len(one) == number), None)
    if found is None:
        raise ValueError(
            f"{type(encoder).__name__} has no list of {number} layers, which layer-wise rates go by: take an encoder "
            "such as ELECTRA, BERT or RoBERTa."
        )
    return found


def _depths(model, layers):
    """`dict`: `id` of a parameter to its depth: 0 for embeddings, 1 for the first layer, ..., n + 2 for the head."""
    encoder = model.base_model
    depths = {id(parameter): len(layers) + 2 for parameter in model.parameters()}
    depths |= {id(parameter): len(layers) + 1 for parameter in encoder.parameters()}  # what is found nowhere below
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) or name.rpartition(".")[2].startswith("embeddings"):
            depths |= {id(parameter): 0 for parameter in module.parameters()}
    for number, layer in enumerate(layers):
        depths |= {id(parameter): number + 1 for parameter in layer.parameters()}
    return depths


def _undecayed(model):
    """`set`: `id`s of biases and of the weights of normalisations."""
    found = set()
    for module in model.modules():
        is_norm = type(module).__name__.endswith("Norm")  # LayerNorm, RMSNorm, and libraries' own of these names
        for name, parameter in module.named_parameters(recurse=False):
            if is_norm or name == "bias" or name.endswith("_bias"):
                found.add(id(parameter))
    return found
