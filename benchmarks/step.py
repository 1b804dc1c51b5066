"""The training step of ours and of others, in one run: `make bench-step`.

Every contender has a process of its own; they step in turn on the same rows, and ratios are paired round by round.
"""

import argparse
import tempfile
from statistics import fmean

from .batches import SCENARIOS, draw_batches
from .contenders import CONTENDERS, Contender
from .contenders.ours import PIECES
from .flops import data_sheet_rate, useful_flops
from .machine import add_machine_options, choose_device, describe_machine, write_run
from .rounds import paired_ratio, run_rounds, spread, start_workers, vocab_rows
from .shapes import SHAPES, pair_configs
from .text import add_text_options, read_rows


BATCH_SIZE = {"ragged": 16, "like-length": 16, "full": 4}
REFERENCES = ("plain", "mlm", "ours")
MATRIX_PRODUCT = "matrix product"
KEY = ("shape", "dtype", "scenario", "title")  # a run takes the place of one that is alike in these
LAST_STEPS = 10  # whose losses are averaged
DTYPES = ("float32", "bfloat16")


def available():
    """All contenders by name: those of the table, and ours without each of its pieces.

    Returns: `dict[str, Contender]`
    """
    pieces = {f"ours without {piece}": Contender("ours", piece=piece) for piece in PIECES}
    names = list(CONTENDERS)
    after_ours = names.index("plain")
    return {
        **{name: CONTENDERS[name] for name in names[:after_ours]},
        **pieces,
        **{name: CONTENDERS[name] for name in names[after_ours:]},
    }


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(prog="benchmarks.step", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["small", "base"])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES), help="bfloat16 is autocast")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--contenders", nargs="+", choices=available(), metavar="NAME", help="default: all that fit")
    parser.add_argument("--title", help="keeps the run beside others of its shape, dtype and scenario")
    parser.add_argument("--rounds", type=int, default=20, help="that are counted")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them")
    parser.add_argument("--batch-size", type=int, help=f"rows; default: {BATCH_SIZE}")
    add_machine_options(parser)
    add_text_options(parser)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line."""
    options = parse_arguments(arguments)
    text = read_rows(options)
    print(f"Text: {text.description}.")
    for shape in options.shape:
        for dtype in options.dtype:
            for scenario in options.scenario:
                run = measure(options, text, shape, dtype, scenario)
                path = write_run("step", choose_device(options.device), run, key=KEY)
                print_run(run)
                print(f"Written to {path.parent.name}/{path.name}; `make bench-report` shows it.\n")


def choose_contenders(names, scenario, device="cpu"):
    """Those of a scenario. Ours on like-length batches stands in for itself among the random ones only.

    Args: names (`list[str]` or `None`); scenario, device (`str`). Returns: `dict[str, Contender]`.
    """
    chosen = {
        name: contender
        for name, contender in available().items()
        if (contender.device in (None, device) if names is None else name in names)
    }
    if scenario != "ragged":
        chosen = {name: contender for name, contender in chosen.items() if contender.batches is None}
    return chosen


def measure(options, text, shape, dtype, scenario):
    """One run.

    Args:
        options (`argparse.Namespace`): see [`parse_arguments`].
        text ([`Text`])
        shape, dtype, scenario (`str`)

    Returns:
        `dict`: what goes into the file of results.
    """
    device = choose_device(options.device)
    batch_size = options.batch_size or BATCH_SIZE[scenario]
    contenders = choose_contenders(options.contenders, scenario, device.type)
    with tempfile.TemporaryDirectory() as folder:
        text.tokenizer.save_pretrained(folder)
        setup = {
            "shape": shape,
            "vocab_size": vocab_rows(text.tokenizer),
            "tokenizer": folder,
            "dtype": dtype,
            "device": device.type,
        }
        workers, failed = start_workers({**contenders, MATRIX_PRODUCT: Contender("matmul")}, setup, options.threads)
        try:
            batches = _batches(contenders, text, scenario, batch_size, options.warmup + options.rounds)
            reports, stopped = run_rounds(workers, batches, options.rounds, options.warmup)
        finally:
            for worker in workers.values():
                worker.close()
    failed.update(stopped)
    products = reports.pop(MATRIX_PRODUCT)
    batches = {name: batches[name][options.warmup :] for name in reports}
    return {
        "shape": shape,
        "dtype": dtype,
        "scenario": scenario,
        "title": options.title,
        "batch_size": batch_size,
        "rounds": options.rounds,
        "warmup": options.warmup,
        "text": text.description,
        "machine": describe_machine(device, options.threads),
        "matrix_product": spread([product["flops"] / product["seconds"] for product in products]),
        "data_sheet_rate": data_sheet_rate(dtype) if device.type == "cuda" else None,
        "contenders": summarise(reports, products, batches, shape, setup["vocab_size"]),
        "failed": failed,
    }


def _batches(contenders, text, scenario, batch_size, count):
    kinds = {contender.batches or scenario for contender in contenders.values()}
    drawn = {kind: draw_batches(text.rows, kind, batch_size, count) for kind in kinds}
    named = {name: drawn[contender.batches or scenario] for name, contender in contenders.items()}
    return {**named, MATRIX_PRODUCT: [None] * count}


def summarise(reports, products, batches, shape, vocab_size):
    """The figures of each contender.

    Args:
        reports (`dict[str, list[dict]]`): of each, one a round.
        products (`list[dict]`): of the matrix product in the same rounds.
        batches (`dict[str, list]`): rows of token ids of each, one batch a round.
        shape (`str`), vocab_size (`int`): for the useful operations.

    Returns:
        `dict[str, dict]`
    """
    rates = {name: [report["real_tokens"] / report["seconds"] for report in found] for name, found in reports.items()}
    configs = pair_configs(shape, vocab_size)
    figures = {}
    for name, found in reports.items():
        seconds = sum(report["seconds"] for report in found)
        figures[name] = {
            "note": available()[name].note,
            "seconds": spread([report["seconds"] for report in found]),
            "real_tokens_per_second": sum(report["real_tokens"] for report in found) / seconds,
            "padded_tokens_per_second": sum(report["padded_tokens"] for report in found) / seconds,
            "useful_flops_per_second": sum(useful_flops(name, configs, rows) for rows in batches[name]) / seconds,
            "utilisation": spread(
                [
                    useful_flops(name, configs, rows) / report["seconds"] / (product["flops"] / product["seconds"])
                    for rows, report, product in zip(batches[name], found, products, strict=True)
                ]
            ),
            "peak_memory": max(report["peak_memory"] for report in found),
            "losses": {
                part: fmean(report["losses"][part] for report in found[-LAST_STEPS:]) for part in found[0]["losses"]
            },
            # In real tokens per second: above 1 = faster than the reference.
            "against": {
                reference: paired_ratio(rates[name], rates[reference])
                for reference in REFERENCES
                if reference in rates
            },
        }
    return figures


def print_run(run):
    """Args: run (`dict`): of [`measure`]."""
    print(f"{run['shape']}, {run['dtype']}, {run['scenario']}, {run['batch_size']} rows, {run['rounds']} rounds")
    print(f"  matrix product: {run['matrix_product']['median'] / 1e9:.0f} GFLOP/s")
    for name, figures in run["contenders"].items():
        ratios = ", ".join(
            f"{ratio['median']:.2f} [{ratio['p10']:.2f}, {ratio['p90']:.2f}] x {reference}"
            for reference, ratio in figures["against"].items()
        )
        print(
            f"  {name:36} {figures['real_tokens_per_second']:8.0f} real tokens/s, "
            f"{figures['utilisation']['median']:4.0%} of the matrix product, "
            f"{figures['peak_memory'] / 2**20:6.0f} MiB, loss {figures['losses']['loss']:.2f}; {ratios}"
        )
    for name, reason in run["failed"].items():
        print(f"  {name:36} left out: {reason}")


if __name__ == "__main__":
    main()
