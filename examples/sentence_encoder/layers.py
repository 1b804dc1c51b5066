"""How similar two sentences are, by the mean over their tokens after each layer of an encoder."""

import copy

import torch

from electra_rtd.train_tools.evaluation.layer_rates import encoder_layers


@torch.inference_mode()
def sentence_vectors(encoder, tokenizer, texts, max_length):
    """The mean over the tokens of each text, [CLS] and [SEP] among them, after each layer.

    Args:
        encoder (`PreTrainedModel`), tokenizer (`PreTrainedTokenizerFast`)
        texts (`list[str]`): one batch. max_length (`int`): tokens of a text that are read.

    Returns:
        `torch.Tensor` of shape `(layers + 1, texts, hidden size)`; the first are those of the embeddings alone.
    """
    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    states = torch.stack(encoder(**batch, output_hidden_states=True).hidden_states)  # (layers + 1, B, L, H)
    attended = batch["attention_mask"][..., None]  # (B, L, 1)
    return (states * attended).sum(2) / attended.sum(1)


def similarities(encoder, tokenizer, pairs, max_length, batch_size):
    """The cosine between the two sentences of each pair, after each layer.

    Args: pairs (`list[tuple[str, str]]`); batch_size (`int`): pairs at a time; others as in [`sentence_vectors`].
    Returns: `torch.Tensor` of shape `(layers + 1, pairs)`.
    """
    order = sorted(range(len(pairs)), key=lambda row: sum(map(len, pairs[row])))  # little padding
    found = torch.empty(encoder.config.num_hidden_layers + 1, len(pairs))
    for start in range(0, len(pairs), batch_size):
        rows = order[start : start + batch_size]
        one, other = (
            sentence_vectors(encoder, tokenizer, [pairs[row][side] for row in rows], max_length) for side in (0, 1)
        )
        found[:, rows] = torch.cosine_similarity(one, other, dim=-1)
    return found


def tokens_in_common(tokenizer, pairs):
    """What needs no network: the share of the tokens of two sentences that both have (Jaccard).

    Args: tokenizer; pairs (`list[tuple[str, str]]`). Returns: `list[float]`, each in [0, 1].
    """
    sides = [tokenizer(list(side), add_special_tokens=False)["input_ids"] for side in zip(*pairs, strict=True)]
    both = [(set(one), set(other)) for one, other in zip(*sides, strict=True)]
    return [len(one & other) / max(1, len(one | other)) for one, other in both]


def first_layers(encoder, number):
    """A copy of an encoder that ends behind one of its layers.

    Args: encoder (`PreTrainedModel`); number (`int`): of layers that stay, from 0 on.
    Returns: `PreTrainedModel` of the same class.
    """
    cut = copy.deepcopy(encoder)
    del encoder_layers(cut)[number:]
    cut.config.num_hidden_layers = number
    return cut
