"""One of several processes that evaluate and train with detailed metrics; started by test_detailed_in_processes.py.

torchrun --nproc_per_node 2 detailed_worker.py FOLDER ROWS BATCH_SIZE ...

FOLDER holds `model` (with its tokenizer) and `rows`; the first ROWS are held out. `results.json` comes into it.
"""

import json
import sys

import torch
from accelerate.utils import gather_object
from datasets import load_from_disk
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

import electra_rtd  # noqa: F401 - registers the model
from electra_rtd.train_tools import RTDMetricsCallback, RTDProcessesCallback


def main(folder, rows, *batch_sizes):
    torch.set_num_threads(1)
    dataset = load_from_disk(f"{folder}/rows")
    results = []
    for batch_size in batch_sizes:
        callback = RTDMetricsCallback(detailed=True, by_token=True)
        args = TrainingArguments(
            f"{folder}/run",
            per_device_train_batch_size=2,
            per_device_eval_batch_size=int(batch_size),
            max_steps=2,
            logging_steps=2,
            gradient_accumulation_steps=2,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=AutoModel.from_pretrained(f"{folder}/model"),
            args=args,
            train_dataset=dataset,
            eval_dataset=dataset.select(range(int(rows))),
            processing_class=AutoTokenizer.from_pretrained(f"{folder}/model"),
            callbacks=[callback, RTDProcessesCallback()],  # it evaluates before it trains
        )
        counts, kept_logits = [], []  # of this process, in training
        trainer.model.register_forward_hook(
            lambda module, arguments, output, kept=kept_logits: (
                kept.append(logits(output)) if module.training else None
            )
        )
        trainer.model.register_forward_hook(
            lambda module, arguments, output, kept=counts: kept.append(count(output)) if module.training else None
        )
        metrics = trainer.evaluate()
        table, calibration = callback.held_out.table.tolist(), callback.held_out.calibration()
        trainer.train()
        counts = trainer.accelerator.reduce(torch.stack(counts).sum(dim=0)).tolist()
        kept_logits = gather_object(kept_logits)
        log = next(entry for entry in trainer.state.log_history if "loss" in entry)
        results.append({"metrics": metrics, "table": table, "calibration": calibration, "log": log, "counts": counts})
        results[-1]["logits"] = kept_logits
    if trainer.is_world_process_zero():
        with open(f"{folder}/results.json", "w") as file:
            json.dump({"world": args.world_size, "results": results}, file)


def logits(output):
    """Of a batch: the logits of its tokens, and their labels."""
    attended = output.disc_labels >= 0
    return output.logits.detach()[attended].tolist(), output.disc_labels[attended].tolist()


def count(output):
    """tokens, masked, replaced, caught: int64, (4,)."""
    replaced = output.disc_labels == 1
    caught = replaced & (output.disc_predictions == 1)
    return torch.stack([part.sum() for part in (output.disc_labels >= 0, output.masked_positions, replaced, caught)])


if __name__ == "__main__":
    main(*sys.argv[1:])
