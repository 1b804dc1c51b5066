"""Fine-tune an ELECTRA encoder with layer-wise learning rates, as the authors of ELECTRA do.

    python examples/finetune_layerwise.py --encoder adapted/discriminator --train_file reviews.csv --output_dir tuned

The file has the columns `text` and `label`; labels are numbers from 0. `--decay 1` is the same rate for every layer.
"""

import argparse

import torch
from datasets import load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from electra_rtd.train_tools import layerwise_parameter_groups


def main(argv=None):
    """Train a classifier. Args: argv (`list[str]`, *optional*). Returns: `dict`: the figures of the held-out rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, help="any stock encoder: a folder or a Hub id")
    parser.add_argument("--train_file", required=True, help="a CSV file with the columns `text` and `label`")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--learning_rate", type=float, default=1e-4, help="of the head; 5e-5 for large encoders")
    parser.add_argument(
        "--decay", type=float, default=0.8, help="factor from a layer to the one below it; 0.9 if large"
    )
    parser.add_argument("--epochs", type=float, default=3)
    options = parser.parse_args(argv)

    rows = load_dataset("csv", data_files=options.train_file, split="train").train_test_split(0.2, seed=0)
    labels = sorted(set(rows["train"]["label"]) | set(rows["test"]["label"]))
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    rows = rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)
    model = AutoModelForSequenceClassification.from_pretrained(options.encoder, num_labels=len(labels))
    optimizer = torch.optim.AdamW(layerwise_parameter_groups(model, options.learning_rate, options.decay))
    trainer = Trainer(
        model,
        TrainingArguments(
            options.output_dir,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=32,
            warmup_steps=10,
            logging_steps=20,
            report_to="none",
        ),
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        compute_metrics=lambda seen: {"accuracy": float((seen.predictions.argmax(-1) == seen.label_ids).mean())},
        optimizers=(optimizer, None),  # the Trainer makes the schedule, which scales every rate by the same factor
    )
    trainer.train()
    trainer.save_model()
    return trainer.evaluate()


if __name__ == "__main__":
    print(f"Accuracy on the held-out rows: {main()['eval_accuracy']:.3f}")
