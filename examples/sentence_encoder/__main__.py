"""Which layer of an encoder knows best how similar sentences are? Keep those up to it, for sentence-transformers.

  python -m examples.sentence_encoder --checkpoint adapted --validation_file dev.tsv --test_file test.tsv \\
    --output_dir sentence-encoder

A file has two sentences and a score a row (more is more similar, on any scale): `sentence1`, `sentence2` and `score`,
or columns that you name. The layer is chosen by the validation rows alone; the test rows say what it is worth.
"""

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.staging import check_is_free
from electra_rtd.train_tools.evaluation.arms import load_encoder
from electra_rtd.train_tools.evaluation.labels import read_labels
from electra_rtd.train_tools.evaluation.metrics import score
from electra_rtd.train_tools.evaluation.verdict import compare
from electra_rtd_launcher.options import CommandParser
from examples.calling import call, require

from .folder import write_folder
from .layers import first_layers, similarities, tokens_in_common


COMPARED = 64  # sentences by which the folder is proven
LEAST_ROWS = 10  # for a correlation


def read_pairs(path, text_columns=None, label_column=None):
    """Rows of two sentences and a score: [`Labels`]. Arguments and errors as those of `read_labels`."""
    rows = read_labels(path, task="regression", text_columns=text_columns, label_column=label_column)
    if not rows.pairs:
        raise ValueError(
            f"{path}: one column of text was found, {rows.columns['text'][0]!r}, but similarity is of two. Give "
            "`text_columns` with two names."
        )
    if len(rows) < LEAST_ROWS:
        raise ValueError(f"{path} has {len(rows)} rows with two sentences and a score: give at least {LEAST_ROWS}.")
    return rows


def spearman(values, rows):
    """Rank correlation of similarities with the scores of the rows: `float` in [-1, 1]."""
    return score("regression", [float(value) for value in values], rows.targets)["spearman"]


def course(checkpoint, validation_file, test_file, output_dir, text_columns, label_column, max_length, batch_size):
    """Measure every layer, write the folder, say what it is worth. Arguments: the options of the command."""
    require("sentence_transformers")
    if batch_size < 1:
        raise ValueError(f"`batch_size={batch_size}`: it must be 1 or more.")
    check_is_free(output_dir)
    validation, *test = (read_pairs(path, text_columns, label_column) for path in (validation_file, test_file) if path)
    encoder, _ = load_encoder(checkpoint)
    encoder.eval()
    tokenizer = load_tokenizer(checkpoint)
    longest = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    max_length = longest if max_length is None else max_length
    if not 3 <= max_length <= longest:
        raise ValueError(f"`max_length={max_length}`: this encoder reads 3 to {longest} tokens.")

    measured = similarities(encoder, tokenizer, validation.texts, max_length, batch_size)
    of_layers = [spearman(values, validation) for values in measured]
    best = of_layers.index(max(of_layers))  # the first of equals: fewer layers are faster
    last = len(of_layers) - 1
    shared = spearman(tokens_in_common(tokenizer, validation.texts), validation)
    print(f"Spearman on {len(validation):,} pairs of {validation_file}, with the mean over tokens:\n")
    print(f"  tokens in common, no network   {shared:6.3f}")
    for layer, value in enumerate(of_layers):
        name = "the embeddings alone" if layer == 0 else f"after layer {layer}"
        print(f"  {name:30} {value:6.3f}{'  <- the best' if layer == best else ''}")
    if max(of_layers) <= shared:
        print("\nNo layer is better than counting tokens in common: train this encoder on pairs before you use it.")

    if test:
        print(f"\n{of_test_rows(encoder, tokenizer, test[0], test_file, (best, last), max_length, batch_size)}")
    texts = [text for pair in validation.texts for text in pair][:COMPARED]
    difference = write_folder(encoder, tokenizer, best, texts, max_length, output_dir)
    sizes = [sum(one.numel() for one in network.parameters()) for network in (first_layers(encoder, best), encoder)]
    print(
        f"\n{output_dir}: {best} of {last} layers, {sizes[0] / 1e6:.1f} of {sizes[1] / 1e6:.1f} M parameters, at most "
        f"{max_length} tokens.\n{len(texts)} sentences get the same vectors from it as measured (largest difference "
        f"{difference:.1e}).\n\n"
        f"  from sentence_transformers import SentenceTransformer\n"
        f"  vectors = SentenceTransformer({str(output_dir)!r}).encode(sentences)\n\n"
        "It has never been trained on sentences. docs/exits.md shows how to go on, with pairs of your own."
    )


def of_test_rows(encoder, tokenizer, rows, name, layers, max_length, batch_size):
    """What the best and the last layer are worth on test rows, and whether they differ by more than chance: `str`."""
    measured = similarities(encoder, tokenizer, rows.texts, max_length, batch_size)
    best, last = (measured[layer].tolist() for layer in layers)
    shared = spearman(tokens_in_common(tokenizer, rows.texts), rows)
    said = f"On {len(rows):,} pairs of {name}: {spearman(best, rows):.3f} after layer {layers[0]}, "
    said += f"{spearman(last, rows):.3f} after the last one, {shared:.3f} by tokens in common."
    if layers[0] == layers[1]:
        return f"{said}\nThe last layer is the best one."
    found = compare("regression", "spearman", [last], [best], rows.targets, deterministic=True)
    interval = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    return f"{said}\nAgainst the last one: {interval}, {found.verdict} (95 %, for the chance of these rows)."


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line. Returns: `int`, 0 if all went well."""
    parser = CommandParser(prog="python -m examples.sentence_encoder", description=__doc__)
    parser.add("--checkpoint", required=True, help="a pair, whose discriminator is taken, or a stock encoder")
    parser.add("--validation_file", required=True, help="scored pairs: .csv .tsv .json .jsonl .parquet (.gz)")
    parser.add("--test_file", help="scored pairs by which nothing is chosen")
    parser.add("--output_dir", required=True, help="a folder that does not exist yet")
    parser.add("--text_columns", nargs="+", help="two columns of sentences; by default found by name")
    parser.add("--label_column", help="column of the score; by default found by name")
    parser.add("--max_length", type=int, help="tokens of a sentence that are read; by default what the encoder can")
    parser.add("--batch_size", type=int, default=32, help="pairs at a time")
    return call(parser, course, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
