"""One of two processes, of which the second meets a loss that is infinite; started by test_finite.py.

torchrun --nproc_per_node 2 finite_worker.py FOLDER

FOLDER holds `model` (with its tokenizer) and `rows`. `results.json` comes into it: what each process made of it.
"""

import json
import math
import sys

import torch
from accelerate.utils import gather_object
from datasets import load_from_disk
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

import electra_rtd  # noqa: F401 - registers the model
from electra_rtd.train_tools import NonFiniteError, RTDFiniteCallback


def main(folder):
    torch.set_num_threads(1)
    found = {}
    for on_nonfinite in ("skip", "stop"):
        args = TrainingArguments(
            f"{folder}/{on_nonfinite}",
            per_device_train_batch_size=2,
            max_steps=3,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            ddp_find_unused_parameters=False,
        )
        model, guard, forwards = AutoModel.from_pretrained(f"{folder}/model"), RTDFiniteCallback(on_nonfinite), []

        def spoil(module, arguments, output, args=args, forwards=forwards):
            forwards.append(1)
            if args.process_index == 1 and len(forwards) == 2:
                output.loss = output.loss + math.inf  # whose gradient is finite: nobody else would see it
            return output

        model.register_forward_hook(spoil)
        trainer = Trainer(
            model=model,
            args=args,
            train_dataset=load_from_disk(f"{folder}/rows"),
            processing_class=AutoTokenizer.from_pretrained(f"{folder}/model"),
            callbacks=[guard],
        )
        message = ""
        try:
            trainer.train()
        except NonFiniteError as error:
            message = str(error)
        weights = float(torch.stack([value.double().sum() for value in model.state_dict().values()]).sum())
        mine = {"message": message, "step": trainer.state.global_step, "skipped": guard.skipped, "weights": weights}
        found[on_nonfinite] = gather_object([mine])
    if args.process_index == 0:
        with open(f"{folder}/results.json", "w", encoding="utf-8") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
