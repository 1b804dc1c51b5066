"""Rows for new entries of a vocabulary, in every table of both networks, from the rows of their old parts.

A table's new row is the mean of the old parts' rows (Gee et al., "Fast Vocabulary Transfer for Language Model
Compression", EMNLP 2022, section 3). The bias of the generator's head is a matter of its own. With the mean alone an
entry would be as likely as its parts are on the average, though it is rarer, and hundreds of such entries take the
probability of everything else away. So the bias is the parts' mean, less how much rarer the entry is than they are, in
nats. `docs/vocabulary.md` has what each choice does to the held-out loss.
"""

import copy

import torch

from ..modeling_electra_rtd import ElectraRTDForPreTraining


def add_rows(model, first_id, parts, rarer):
    """Make room for new entries in both networks, in place, and fill it.

    Args:
        model ([`ElectraRTDForPreTraining`])
        first_id (`int`): of the new entries, which follow each other. Rows that are there already, as room, are
            written over.
        parts (`list[list[int]]`): of each new entry the ids that it was read by; those may be new ones before it.
        rarer (`list[float]`): of each, the logarithm of its occurrences over the (geometric) mean of its parts', at
            most 0.
    """
    tables = vocabulary_tables(model.config)
    needed = first_id + len(parts)
    if needed > model.config.vocab_size:
        model.resize_token_embeddings(needed, mean_resizing=False)  # the mean of all rows is not wanted
    parameters = dict(model.named_parameters(remove_duplicate=False))
    seen = set()
    with torch.no_grad():
        for name in sorted(tables & parameters.keys()):
            table = parameters[name]
            if id(table) in seen:
                continue  # tied
            seen.add(id(table))
            less = rarer if table.dim() == 1 else [0.0] * len(parts)  # biases have one number a token
            for number, (ids, difference) in enumerate(zip(parts, less, strict=True)):
                table[first_id + number] = table[ids].float().mean(dim=0) + difference


def vocabulary_tables(config):
    """The parameters of a pair that have a row for each token, whatever it shares: `set[str]`, their names."""
    shapes = []
    for more in (0, 1):
        config = copy.deepcopy(config)
        config.vocab_size += more
        with torch.device("meta"):
            model = ElectraRTDForPreTraining(config)
        shapes.append({name: table.shape for name, table in model.named_parameters(remove_duplicate=False)})
    return {name for name, shape in shapes[0].items() if shape != shapes[1][name]}
