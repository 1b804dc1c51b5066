"""Export an encoder or a fine-tuned classifier to ONNX, check it against torch, and measure both.

  python -m examples.onnx_runtime --checkpoint adapted --output_dir onnx              # a pair: its discriminator
  python -m examples.onnx_runtime --checkpoint sentence-encoder --output_dir onnx     # of examples.sentence_encoder
  python -m examples.onnx_runtime --checkpoint classifier --output_dir onnx           # sequences or tokens classified

The graph takes batches of any size and length, with padding on either side. The folder has model.onnx, the tokenizer
and config.json, and appears only if every check agrees.
"""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.quiet import quiet
from electra_rtd.hub_tools.staging import check_is_free, new_folder
from electra_rtd.train_tools.evaluation.arms import load_encoder
from electra_rtd_launcher.options import CommandParser
from examples.calling import call, require

from .agreement import difference, make_batches, padding_matters
from .graph import Graph, export
from .speed import SHAPES, compare_speed, ragged_batch


LARGEST_DIFFERENCE = 1e-5  # a share of the largest number; float32, summed in another order
KINDS = ("electra", "bert")
CLASSIFIERS = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
}


def load_network(checkpoint):
    """The network to export, in float32 and eval mode: a classifier as it is, of anything else the encoder.

    Args: checkpoint (`str`): a pair, a stock encoder or a classifier: a folder or a Hub id.
    Returns: `PreTrainedModel`
    Raises: ValueError, OSError: there is no such network, or its weights are not those of its configuration.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
        name = (config.architectures or [""])[0]
    except (OSError, ValueError):
        name = ""  # `load_encoder` says what is wrong
    auto = next((auto for ending, auto in CLASSIFIERS.items() if name.endswith(ending)), None)
    if auto is None:
        network, _ = load_encoder(checkpoint)
    else:
        with quiet():
            network, info = auto.from_pretrained(
                checkpoint, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
        if info["missing_keys"]:
            raise ValueError(f"{checkpoint} lacks weights of {name} ({min(info['missing_keys'])}, ...).")
    if network.config.model_type not in KINDS:
        raise ValueError(
            f"{checkpoint} is of the type {network.config.model_type!r}. This example knows "
            f"{' and '.join(KINDS)}: others read other inputs."
        )
    return network.eval()


def course(checkpoint, output_dir, threads):
    """Export, check, measure, print. Arguments: the options of the command."""
    require("onnx", "onnxruntime", "onnxscript")
    import onnxruntime

    if threads < 1:
        raise ValueError(f"`threads={threads}`: it must be 1 or more.")
    check_is_free(output_dir)
    network, tokenizer = load_network(checkpoint), load_tokenizer(checkpoint)
    longest = network.config.max_position_embeddings
    torch.set_num_threads(threads)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    with new_folder(output_dir) as folder:
        graph = Graph(network)
        export(graph, folder / "model.onnx")
        session = onnxruntime.InferenceSession(folder / "model.onnx", settings, providers=["CPUExecutionProvider"])
        print(
            f"{type(network).__name__} -> {', '.join(graph.outputs)}. Batches, the largest difference from torch as a"
        )
        print("share of the largest number, and the largest change when other ids stand in the padding:\n")
        worst = 0.0
        for batch in make_batches(network.config):
            found, changed = difference(session, network, batch), padding_matters(session, batch)
            worst = max(worst, found, changed)
            shape = " x ".join(map(str, batch.input_ids.shape))
            print(f"  {batch.name:38} {shape:>9}   {found:.1e}   {changed:.1e}")
        if not worst <= LARGEST_DIFFERENCE:
            raise ValueError(f"The graph differs from torch by {worst:.2g} (allowed: {LARGEST_DIFFERENCE}): not kept.")
        network.config.save_pretrained(folder)
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)  # `truncation=True` cuts there
        tokenizer.save_pretrained(folder)
    print(f"\nOn this CPU, threads: {threads}, in turn; rows of a quarter of the length up to all of it:\n")
    for rows, length in SHAPES:
        batch = ragged_batch(network.config, rows, min(length, longest))
        of_torch, of_onnx, ratio = compare_speed(session, network, batch)
        print(
            f"  {batch.name:>9} tokens   torch {1000 * of_torch:7.1f} ms   ONNX Runtime {1000 * of_onnx:7.1f} ms   "
            f"{ratio:.2f} times as fast"
        )
    print(f"\n{output_dir}: {(Path(output_dir) / 'model.onnx').stat().st_size / 1e6:.1f} MB. Use it:\n")
    print(
        "  import onnxruntime\n  from transformers import AutoTokenizer\n\n"
        f"  session = onnxruntime.InferenceSession({str(Path(output_dir) / 'model.onnx')!r})\n"
        f"  tokenizer = AutoTokenizer.from_pretrained({str(output_dir)!r})\n"
        "  batch = tokenizer(\n"
        '      texts, padding=True, truncation=True, return_token_type_ids=True, return_tensors="np"\n'
        "  )\n"
        f"  values = session.run([{graph.outputs[-1]!r}], dict(batch))[0]"
    )


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*): of the command line. Returns: `int`, 0 where the graph agrees."""
    parser = CommandParser(prog="python -m examples.onnx_runtime", description=__doc__)
    parser.add("--checkpoint", required=True, help="a pair, a stock encoder, or a classifier fine-tuned from one")
    parser.add("--output_dir", required=True, help="a folder that does not exist yet")
    parser.add("--threads", type=int, default=torch.get_num_threads(), help="of torch and of ONNX Runtime")
    return call(parser, course, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
