"""The data path: tokenizing, cache hits, and how long a training step waits for its batch: `make bench-data`."""

import tempfile
import time
from pathlib import Path

import datasets

from electra_rtd.train_tools.data import read_text, tokenize_text

from .batches import MAX_LENGTH
from .end_to_end import BATCH_SIZE, parse_arguments, run_trainer
from .machine import choose_device, describe_machine, write_run
from .text import Text, default_text, default_tokenizer, describe_text


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line."""
    options = parse_arguments(arguments, description=__doc__)
    device = choose_device(options.device)
    datasets.disable_progress_bars()
    data = read_text(default_text(options.text))
    tokenizer, vocabulary = default_tokenizer(options.vocab, data.dataset["text"])
    path_figures, rows = measure_data_path(default_text(options.text), tokenizer)
    description = describe_text(data, vocabulary)
    print(f"Text: {description}.")
    steps = run_trainer(options, Text(rows, tokenizer, description), with_bare_step=False)
    run = {
        "shape": options.shape,
        "dtype": options.dtype,
        "batch_size": BATCH_SIZE,
        "steps": options.steps,
        "text": description,
        "machine": describe_machine(device, options.threads),
        **path_figures,
        "wait_share": sum(steps["wait"]) / sum(steps["trainer"]),
    }
    path = write_run("data", device, run, key=("shape", "dtype"))
    print(
        f"{run['sentences_per_second']:.0f} sentences/s read and tokenized, {run['tokenized_per_second']:.0f} only "
        f"tokenized. A cache hit takes {run['cache_hit_seconds']:.2f} s. "
        f"A step waits for its batch {run['wait_share']:.2%} of the time."
    )
    print(f"Written to {path.parent.name}/{path.name}; `make bench-report` shows it.")


def measure_data_path(files, tokenizer):
    """Read and tokenize into an empty cache, and once more from it.

    Args:
        files (`list[str]`), tokenizer (`PreTrainedTokenizerFast`)

    Returns:
        `dict[str, float]` and `list[list[int]]`: the figures, and the rows of token ids.
    """
    kept = datasets.config.HF_DATASETS_CACHE
    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder)  # what `load_dataset` reads at each call
        try:
            read_seconds, tokenize_seconds, sentences, rows = _read_and_tokenize(files, tokenizer)
            hit_seconds = sum(_read_and_tokenize(files, tokenizer)[:2])
        finally:
            datasets.config.HF_DATASETS_CACHE = kept
    return {
        "sentences": sentences,
        "sentences_per_second": sentences / (read_seconds + tokenize_seconds),
        "tokenized_per_second": sentences / tokenize_seconds,
        "cache_hit_seconds": hit_seconds,
    }, rows


def _read_and_tokenize(files, tokenizer):
    start = time.perf_counter()
    dataset = read_text(files).dataset
    read = time.perf_counter()
    tokenized = tokenize_text(dataset, tokenizer, max_length=MAX_LENGTH)
    end = time.perf_counter()
    return read - start, end - read, len(dataset), [list(row) for row in tokenized["input_ids"]]


if __name__ == "__main__":
    main()
