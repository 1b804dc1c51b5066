"""One of several processes that train on a stream, undisturbed and stopped; started by test_streaming.py.

torchrun --nproc_per_node 2 stream_worker.py FOLDER
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, TrainingArguments

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.train_tools.streaming import source_rows


FOLDER = Path(sys.argv[1])
source_rows.TEXTS = 7  # as in test_streaming.py
specification = importlib.util.spec_from_file_location("streamed", Path(__file__).with_name("streamed.py"))
streamed = importlib.util.module_from_spec(specification)
specification.loader.exec_module(streamed)


def train(name, **options):
    args = TrainingArguments(
        str(FOLDER / name),
        max_steps=8,
        per_device_train_batch_size=2,
        dataloader_num_workers=2,
        save_strategy="no",
        logging_steps=100,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    model = ElectraRTDForPreTraining.from_pretrained(FOLDER / "model")
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "model")
    plan = streamed.plan_of([FOLDER / "corpus"], tokenizer, lanes=4, buffer=2)
    state = FOLDER / f"{name}-{bool(options.get('checkpoint'))}-{args.process_index}"
    seen = streamed.train_on(plan, model.train(), args, tokenizer, state, **options)
    return args, seen, model.state_dict()


args, straight, weights = train("straight")
_, begun, _ = train("stopped", stop=5)
_, ended, resumed = train("stopped", checkpoint=str(FOLDER / "stopped" / "checkpoint-5"))
found = {
    "world": args.world_size,
    "straight": straight,
    "begun": begun,
    "ended": ended,
    "alike": all(torch.equal(weights[name], resumed[name]) for name in weights),
}
(FOLDER / f"seen-{args.process_index}.json").write_text(json.dumps(found))
