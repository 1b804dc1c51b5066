"""A fresh process that trains, or evaluates, and says how much memory that took: a line of JSON.

`python -m benchmarks.reliability.memory_worker SETUP`, where SETUP is JSON: the arguments of `run`.
"""

import json
import sys
import time

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining
from electra_rtd.train_tools import RTDMetricsCallback, estimate_memory
from electra_rtd.train_tools.arguments import MINI_PAIR

from ..machine import PeakMemory
from ..shapes import pair_configs


STEPS = 3  # the first one has no averages of AdamW yet
SPECIAL = {"mask_token_id": 4, "pad_token_id": 0, "special_token_ids": [0, 1, 2, 3, 4]}
VOCAB = 35_000
# Ways to evaluate: fields of `TrainingArguments`.
WAYS: dict[str, dict] = {
    "evaluate": {},
    "predict": {},
    "predict, prediction_loss_only": {"prediction_loss_only": True},
    "predict, eval_accumulation_steps": {"eval_accumulation_steps": 1},
    "evaluate, compute_metrics": {},
    "evaluate, compute_metrics, prediction_loss_only": {"prediction_loss_only": True},
}


def build(shape, vocab=None):
    """A pair. Args: shape (`str`): `mini`, or of `benchmarks.shapes`, with random weights; vocab (`int`)."""
    if shape == "mini":
        return ElectraRTDForPreTraining.from_pretrained(MINI_PAIR, dtype=torch.float32)  # its file holds float16
    generator, discriminator = pair_configs(shape, vocab or VOCAB)
    config = ElectraRTDConfig(generator_config=generator, discriminator_config=discriminator, **SPECIAL)
    return ElectraRTDForPreTraining(config)


def batch_of(rows):
    """A batch of rows of one length. Args: rows (`list[dict]`)."""
    input_ids = torch.tensor([row["input_ids"] for row in rows])
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}


def text(vocab, length, count):
    """Rows of random tokens: `datasets.Dataset`."""
    draw = torch.Generator().manual_seed(0)
    return Dataset.from_dict({"input_ids": torch.randint(5, vocab, (count, length), generator=draw).numpy()})


def run(
    folder,
    what="train",
    shape="mini",
    rows=8,
    length=64,
    batches=1,
    vocab=None,
    accumulation=1,
    checkpointing=False,
    bf16=False,
    device="cpu",
):
    """Train three steps, or evaluate.

    Args:
        folder (`str`); what (`str`): `train`, or one of `WAYS`; shape (`str`): see [`build`].
        rows, length, batches (`int`): of a batch, and how many to evaluate; vocab (`int`, *optional*): V.
        accumulation (`int`), checkpointing, bf16 (`bool`), device (`str`): as of `TrainingArguments`.

    Returns:
        `dict`: `measured` (bytes), `estimated` ([`estimate_memory`]), `seconds` of a processor, `figures` (names of
        those of evaluation).
    """
    trains = what == "train"
    args = TrainingArguments(
        folder,
        per_device_train_batch_size=rows,
        per_device_eval_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        gradient_checkpointing=checkpointing,
        bf16=bf16,
        max_steps=STEPS,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
        optim="adamw_torch_fused",
        **({} if trains else WAYS[what]),
    )
    # What libraries load at their first use is no part of it.
    first = Trainer(
        model=build("tiny", 99),
        args=args,
        train_dataset=text(99, 8, STEPS * rows * accumulation),
        data_collator=batch_of,
        callbacks=[RTDMetricsCallback(detailed=True)],
    )
    first.train()
    first.evaluate(text(99, 8, rows))
    del first
    data = text(vocab or 8000, length, rows * (STEPS * accumulation if trains else batches))
    memory, began = PeakMemory(args.device), time.process_time()
    model = build(shape, vocab)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=data,
        data_collator=batch_of,
        callbacks=[RTDMetricsCallback(detailed=True)],
        compute_metrics=_count if "compute_metrics" in what else None,
    )
    figures = {}
    if trains:
        trainer.train()
    elif what.startswith("predict"):
        figures = trainer.predict(data).metrics
    else:
        figures = trainer.evaluate(data)
    return {
        "measured": memory.bytes(),
        "estimated": estimate_memory(
            model.config,
            rows,
            length,
            training=trains,
            device=args.device.type,
            dtype=torch.bfloat16 if bf16 else None,
            accumulates=accumulation > 1,
            checkpointing=checkpointing,
        ),
        "seconds": time.process_time() - began,
        "figures": sorted(figures),
    }


def _count(seen):
    return {"rows": 0 if seen.predictions is None else len(seen.predictions[0])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(run(**json.loads(sys.argv[1]))))
