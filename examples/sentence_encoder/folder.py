"""An encoder and its tokenizer as a folder of sentence-transformers, proven to give the vectors that were measured."""

import tempfile
from pathlib import Path

import torch

from electra_rtd.hub_tools.export import write_stock
from electra_rtd.hub_tools.quiet import quiet
from electra_rtd.hub_tools.staging import new_folder

from .layers import first_layers, sentence_vectors


LARGEST_DIFFERENCE = 1e-5


def write_folder(encoder, tokenizer, layer, texts, max_length, output_dir):
    """Write the first layers of an encoder with mean pooling; the folder is there whole and right, or not at all.

    Args:
        encoder (`PreTrainedModel`), tokenizer (`PreTrainedTokenizerFast`)
        layer (`int`): after which the mean is taken: as many layers stay.
        texts (`list[str]`): what is compared; one batch.
        max_length (`int`): tokens of a text that are read.
        output_dir (`str` or path): a folder that does not exist yet, or is empty.

    Returns:
        `float`: the largest difference between what the folder gives and what the whole encoder has at that layer.

    Raises:
        ValueError: the vectors differ by more than `LARGEST_DIFFERENCE`, or `output_dir` is not empty.
    """
    from sentence_transformers import SentenceTransformer  # takes seconds

    tokenizer.model_max_length = max_length  # what the folder reads at most
    with new_folder(output_dir) as folder, quiet():
        with tempfile.TemporaryDirectory() as stock:
            write_stock(first_layers(encoder, layer), tokenizer, Path(stock))
            # A stock folder gets mean pooling behind it; what comes of it is compared below.
            SentenceTransformer(stock, device="cpu").save(str(folder))
        loaded = SentenceTransformer(str(folder), device="cpu")
        given = loaded.encode(texts, batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False)
        expected = sentence_vectors(encoder, tokenizer, texts, max_length)[layer]
        difference = (torch.as_tensor(given).cpu() - expected).abs().max().item()
        if not difference <= LARGEST_DIFFERENCE:
            raise ValueError(
                f"The first {layer} layers of this {type(encoder).__name__} alone give vectors that differ by "
                f"{difference:.2g} from those that it has after layer {layer} (allowed: {LARGEST_DIFFERENCE}): it "
                "computes something behind its last layer. Take an ELECTRA or BERT encoder."
            )
    return difference
