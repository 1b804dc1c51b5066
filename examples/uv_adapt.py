# /// script
# requires-python = ">=3.10"
# dependencies = ["accelerate>=1.3", "datasets>=3.2", "huggingface_hub>=0.36", "torch>=2.4", "transformers>=4.57"]
# ///
"""Adapt a pair without setting anything up: `uv` makes the environment, on this machine or in a job of the Hub.

electra-rtd is on no package index, so `--with` says where it is. In a clone:

    uv run --with . examples/uv_adapt.py --train_file sentences.csv --output_dir adapted

In a job, from the address of a git repository that you can read, with a data set of the Hub; a job keeps no files, so
`--push_to` publishes the pair, as a private repository:

    hf jobs uv run --flavor t4-small --timeout 2h --secrets HF_TOKEN --with "electra-rtd @ git+https://ADDRESS" \
      examples/uv_adapt.py --train_file USER/DATASET --output_dir adapted --push_to USER/NAME
"""

import argparse
import sys

from transformers import TrainingArguments


try:
    from electra_rtd.hub_tools import push_checkpoint
    from electra_rtd.train_tools import AdaptArguments, adapt
except ModuleNotFoundError as error:
    if error.name != "electra_rtd":
        raise
    sys.exit("electra-rtd is missing, and on no package index: `uv run --with FOLDER_OF_THE_CLONE ...` brings it.")


def main(argv=None):
    """Adapt, and publish if asked to. Args: argv (`list[str]`, *optional*). Returns: [`AdaptResult`]."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", default="monologg/koelectra-small-v3-generator")
    parser.add_argument("--discriminator", default="monologg/koelectra-small-v3-discriminator")
    parser.add_argument("--train_file", nargs="+", required=True, help="files, or one data set of the Hub")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--push_to", metavar="USER/NAME", help="repository on the Hub for the adapted pair")
    options = parser.parse_args(argv)

    start = {"generator": options.generator, "discriminator": options.discriminator}
    how = TrainingArguments(options.output_dir, learning_rate=5e-5, num_train_epochs=options.epochs, report_to="none")
    result = adapt(AdaptArguments(**start, train_file=options.train_file), how)
    if options.push_to:
        push_checkpoint(result.checkpoint, options.push_to, private=True)
    return result


if __name__ == "__main__":
    result = main()
    print(f"disc_auc {result.before['disc_auc']:.3f} -> {result.after['disc_auc']:.3f}; {result.checkpoint}")
