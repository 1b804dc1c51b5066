"""Adapt a KoELECTRA pair to your text with the stock `Trainer`, and write an encoder that any project can load.

    python examples/adapt_with_trainer.py --train_file sentences.csv --output_dir adapted

`electra-rtd adapt` does the same in one command, and chooses fast settings. Take this file to change what it does.
"""

import argparse

from datasets import load_dataset
from transformers import AutoTokenizer, Trainer, TrainingArguments

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools import export_discriminator
from electra_rtd.train_tools import RTDHealthCallback, RTDMetricsCallback


def main(argv=None):
    """Train, evaluate before and after, save the pair, export its encoder. Args: argv (`list[str]`, *optional*)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", default="monologg/koelectra-small-v3-generator")
    parser.add_argument("--discriminator", default="monologg/koelectra-small-v3-discriminator")
    parser.add_argument("--train_file", required=True, help="a CSV file with a column `text`")
    parser.add_argument("--output_dir", required=True, help="a new folder: the pair, and `encoder/` in it")
    parser.add_argument("--epochs", type=float, default=3)
    options = parser.parse_args(argv)

    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(options.generator, options.discriminator)
    tokenizer = AutoTokenizer.from_pretrained(options.discriminator)
    rows = load_dataset("csv", data_files=options.train_file, split="train").train_test_split(0.05, seed=0)
    rows = rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)
    trainer = Trainer(
        model,
        TrainingArguments(
            options.output_dir,
            learning_rate=5e-5,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=32,
            logging_steps=50,
            report_to="none",
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        callbacks=[RTDMetricsCallback(), RTDHealthCallback()],
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    for name in ("eval_disc_acc", "eval_disc_loss", "eval_mlm_loss"):
        print(f"{name:<16}{before[name]:>10.4f}{after[name]:>10.4f}")
    trainer.save_model()  # the pair: weights, tokenizer, and the code that loads it
    return export_discriminator(options.output_dir, f"{options.output_dir}/encoder", as_encoder=True)


if __name__ == "__main__":
    print(f"The encoder, a stock ELECTRA checkpoint: {main()}")
