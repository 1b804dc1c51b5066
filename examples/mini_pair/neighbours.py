"""Embeddings from which words stand beside which, so that a network begins with words that mean something.

Positive pointwise mutual information of neighbours, and its largest singular vectors (Levy and Goldberg, 2014,
https://arxiv.org/abs/1402.3722; contexts smoothed by .75 as in Levy, Goldberg and Dagan, 2015).
"""

import numpy as np
import torch


WINDOW = 5  # tokens on each side; one at a distance of k counts 1 / k
SCALE = 0.04  # standard deviation of an entry; random ones have 0.02


def embeddings_of_neighbours(tokens, size):
    """Token embeddings from the training rows alone.

    Args:
        tokens ([`Tokens`]); size (`int`): E, of an embedding.

    Returns:
        float32, (V, E)
    """
    counts = count_neighbours(tokens)
    share = counts.sum(1) / counts.sum()
    context = share**0.75 / (share**0.75).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / counts.sum() / share[:, None] / context)
    information = torch.from_numpy(np.where(information > 0, information, 0.0)).float()  # NaN and -inf become 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vectors, values, _ = torch.svd_lowrank(information, q=size + 32, niter=4)  # (V, E + 32), (E + 32,)
    embeddings = vectors[:, :size] * values[:size].sqrt()
    return embeddings / embeddings.square().mean().sqrt() * SCALE


def count_neighbours(tokens):
    """Args: tokens ([`Tokens`]). Returns: float64, (V, V), symmetric: weighted counts, 0 for special tokens."""
    ids = np.concatenate([tokens.rows[index] for index in np.sort(tokens.train)])
    row = np.repeat(np.arange(len(tokens.train)), tokens.lengths[np.sort(tokens.train)])
    counts = np.zeros(tokens.size**2)
    for distance in range(1, WINDOW + 1):
        here, there = ids[:-distance], ids[distance:]
        same = row[:-distance] == row[distance:]
        counts += np.bincount(here[same] * tokens.size + there[same], minlength=tokens.size**2) / distance
    counts = counts.reshape(tokens.size, tokens.size)
    special = list(tokens.special.values())
    counts[special], counts[:, special] = 0, 0
    return counts + counts.T
