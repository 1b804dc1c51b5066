"""Adapt a pair, and follow the run in TensorBoard or in trackio while it trains.

    pip install tensorboard
    python examples/track_training.py tensorboard --train_file sentences.csv --output_dir adapted
    tensorboard --logdir adapted/runs

    pip install trackio
    python examples/track_training.py trackio --train_file sentences.csv --output_dir adapted
    trackio show --project electra-rtd

Look at `disc_auc` first: 0.5 is guessing, 1 is perfect. `mlm_loss`, `disc_loss`, `gen_acc`, `disc_acc` are there too.
Other tools of the Trainer (`wandb`, `mlflow`, ...) work in the same way: their name is the first argument.
"""

import argparse

from transformers import TrainingArguments

from electra_rtd.train_tools import AdaptArguments, adapt


def main(argv=None):
    """Adapt, with a report of each log. Args: argv (`list[str]`, *optional*). Returns: [`AdaptResult`]."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report_to", help="`tensorboard`, `trackio`, or another name that the Trainer knows")
    parser.add_argument("--generator", default="monologg/koelectra-small-v3-generator")
    parser.add_argument("--discriminator", default="monologg/koelectra-small-v3-discriminator")
    parser.add_argument("--train_file", nargs="+", required=True, help="files with one sentence or paragraph a row")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--epochs", type=float, default=3)
    options = parser.parse_args(argv)

    what = AdaptArguments(
        generator=options.generator, discriminator=options.discriminator, train_file=options.train_file
    )
    how = TrainingArguments(
        options.output_dir,
        report_to=options.report_to,
        project="electra-rtd",  # trackio's name for runs that stand side by side
        run_name=options.output_dir,
        learning_rate=5e-5,
        num_train_epochs=options.epochs,
        logging_steps=10,
    )
    return adapt(what, how)


if __name__ == "__main__":
    result = main()
    print(f"disc_auc {result.before['disc_auc']:.3f} -> {result.after['disc_auc']:.3f}; {result.checkpoint}")
