"""What tests of streams share, here and in other processes: a small corpus, a stream of it, a run that is seen."""

import json
from pathlib import Path

from transformers import Trainer, TrainerCallback

from electra_rtd.train_tools.streaming.callback import StreamCallback, read_state
from electra_rtd.train_tools.streaming.rows import StreamedRows, StreamPlan
from electra_rtd.train_tools.streaming.shards import find_source
from electra_rtd.train_tools.streaming.source_rows import Encoding


WORDS = "나 너 우리 학교 병원 환자 의사 약 비 눈".split()  # noqa: SIM905


def text_of(number):
    """A text that no other number has: its three digits as words, and more words behind them."""
    return " ".join(WORDS[int(digit)] for digit in f"{number:03d}" + "7" * (number % 5))


def write_corpus(folder, files=6, texts=20, first=0):
    """Files with one text after the other; returns the texts of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in range(files):
        numbers = range(first + file * texts, first + (file + 1) * texts)
        lines = [json.dumps({"text": text_of(number)}, ensure_ascii=False) for number in numbers]
        (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        written.append([text_of(number) for number in numbers])
    return written


def plan_of(sources, tokenizer, **changes):
    """A stream of sources, each a folder."""
    settings = {"weights": (1.0,) * len(sources), "buffer": 10, "batch": 2, "lanes": 1, "seed": 0, "groups": False}
    packs = changes.pop("packs", False)
    encoding = Encoding(tokenizer, 16, packs)
    found = tuple(find_source([str(source)]) for source in sources)
    return StreamPlan(sources=found, encoding=encoding, **{**settings, **changes})


class StopAt(TrainerCallback):
    """Saves, and ends the run, behind a step."""

    def __init__(self, step):
        self._step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self._step:
            control.should_save = control.should_training_stop = True


def train_on(plan, model, args, tokenizer, folder, *, stop=None, checkpoint=None):
    """Train with the stock Trainer. Returns: rows of ids of each batch that it trained on."""
    seen = []

    def see(module, args, inputs):
        rows, masks = inputs["input_ids"].tolist(), inputs["attention_mask"].tolist()
        seen.append([row[: sum(mask)] for row, mask in zip(rows, masks, strict=True)])

    steps = args.world_size * args.gradient_accumulation_steps
    settings = {"lanes": plan.lanes}
    starts = {}
    if checkpoint:
        step = int(Path(checkpoint).name.rsplit("-", 1)[-1])
        starts = read_state(checkpoint, settings, step * steps)
    Path(folder).mkdir(parents=True, exist_ok=True)
    rows = StreamedRows(plan, args.max_steps * steps, folder, starts=starts)
    handle = model.register_forward_pre_hook(see, with_kwargs=True)
    callbacks = [StreamCallback(rows, settings), *([StopAt(stop)] if stop else [])]
    trainer = Trainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=checkpoint)
    handle.remove()
    return seen
