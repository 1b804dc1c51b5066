"""What a generator is worth that is cut, borrowed, or trained together: `python -m benchmarks.pairs`.

The discriminator is always that of the pair in the package, the text Korean technical documentation, and every arm
reads the same batches. What is shown over the tokens read, on held-out text: the generator's loss, and the
discriminator's AUC. The arms' own replacements are no yardstick for that: those of a generator that knows nothing are
easy to see. So all discriminators are asked about the same ones too, by the pair's generator before adapting.

Arms that are in the file of results are not run again. It writes the figure and the table of docs/pairs.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    set_seed,
)
from transformers.utils import logging

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools.loading import load_pair, load_tokenizer
from electra_rtd.train_tools import RTDWarmUpCallback
from electra_rtd.train_tools.arguments import MINI_PAIR
from electra_rtd.train_tools.data import read_text, tokenize_text
from electra_rtd.train_tools.epoch_order import EpochOrder

from .environments import ENVIRONMENTS
from .machine import RESULTS, describe_machine, write_run
from .pairs_page import table, write_page
from .study.training import training_arguments
from .text import SHARED


DOMAIN = ["ko_techdocs/python_ko.txt.gz", "ko_techdocs/tensorflow_ko.txt.gz"]
HELD_OUT = ["ko_techdocs/validation.parquet"]
GENERAL = ["ko_general/nsmc_unlabeled.parquet", "ko_general/ko_misc.parquet"]  # what the pair was pretrained on
HELD_OUT_ROWS = 300  # evenly from all
MAX_LENGTH, ROWS = 128, 16  # tokens of a row, rows of a batch
RATE, BERT_RATE = 3e-4, 7e-4  # of `adapt --example`, and of a short pretraining
WORK = ENVIRONMENTS / "pairs"


@dataclass(frozen=True)
class Ground:
    """What all arms share: tokenizer, rows to train on (`Dataset`), batches of held-out text and what replaces it."""

    tokenizer: object
    rows: object
    held_out: list


def together(ground, options):
    """The pair as it was pretrained, its networks together."""
    return load_pair(MINI_PAIR, dtype=torch.float32)


def cut(ground, options, **fields):
    """The pair's discriminator, with a generator cut from it."""
    discriminator = together(ground, options).discriminator
    return ElectraRTDForPreTraining.from_discriminator_pretrained(discriminator, tokenizer=ground.tokenizer, **fields)


def cut_apart(ground, options):
    """The same, but for the embeddings: each network has its own."""
    return cut(ground, options, embedding_sharing="none")


def borrowed(ground, options):
    """The pair's discriminator, with the masked language model of a BERT of its vocabulary as generator."""
    bert = make_bert(ground.tokenizer, together(ground, options).generator, options)
    discriminator = together(ground, options).discriminator
    return ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        bert, discriminator, tokenizer=ground.tokenizer
    )


# How the pair is made, and for which share of the steps its generator learns alone at first.
ARMS = {
    "together": (together, 0),
    "cut": (cut, 0),
    "cut, not tied": (cut_apart, 0),
    "cut, alone first": (cut, 0.2),
    "borrowed": (borrowed, 0),
    "borrowed, alone first": (borrowed, 0.2),
}


def make_bert(tokenizer, generator, options):
    """A BERT of the pair's vocabulary, trained by masked language modelling on general text; made once.

    Its layers begin as those of the pair's generator, and its embeddings as that one's behind their projection. BERT
    has no projection, and a wider head, so it has to learn for a while.

    Args: tokenizer (`PreTrainedTokenizerFast`); generator (`ElectraForMaskedLM`); options (`argparse.Namespace`).
    Returns: `BertForMaskedLM`, in eval mode.
    """
    folder = WORK / f"bert-{options.bert_tokens}"
    if not (folder / "config.json").is_file():
        set_seed(0)
        electra, config = generator.electra, generator.config
        same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        same += ("max_position_embeddings", "type_vocab_size", "hidden_act")
        bert = BertForMaskedLM(BertConfig(**{name: getattr(config, name) for name in same}))
        bert.bert.encoder.load_state_dict(electra.encoder.state_dict())
        with torch.no_grad():
            for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
                projected = getattr(electra.embeddings, name).weight @ electra.embeddings_project.weight.T
                getattr(bert.bert.embeddings, name).weight.copy_(projected)
        rows = read_rows(GENERAL, tokenizer)
        steps = _steps(rows, options.bert_tokens)
        collator = DataCollatorForLanguageModeling(tokenizer)
        print(f"bert: {steps} steps of masked language modelling on general text", flush=True)
        train(bert, rows, collator, steps, BERT_RATE, options)
        bert.save_pretrained(folder)
    return BertForMaskedLM.from_pretrained(folder).eval()


def read_rows(files, tokenizer):
    """Rows of token ids (`Dataset` with `input_ids`). Args: files (`list[str]`): below the shared data."""
    text = read_text([str(SHARED / name) for name in files], text_column="text").dataset
    return tokenize_text(text, tokenizer, max_length=MAX_LENGTH)


def _steps(rows, tokens):
    some = rows.select(range(0, len(rows), -(-len(rows) // 2000)))["input_ids"]
    return max(2, round(tokens / (ROWS * sum(map(len, some)) / len(some))))


def prepare():
    """Returns: [`Ground`]."""
    tokenizer = load_tokenizer(MINI_PAIR)
    rows = read_rows(HELD_OUT, tokenizer)
    rows = rows.select(range(0, len(rows), -(-len(rows) // HELD_OUT_ROWS)))
    rows = sorted(rows["input_ids"], key=len)
    judge, held_out = load_pair(MINI_PAIR, dtype=torch.float32), []
    for start in range(0, len(rows), 2 * ROWS):
        batch = tokenizer.pad({"input_ids": rows[start : start + 2 * ROWS]}, return_tensors="pt")
        with torch.no_grad():
            read = judge(**batch)
        replaced = {**batch, "input_ids": read.disc_input_ids}
        held_out.append((dict(batch), replaced, read.disc_labels))
    return Ground(tokenizer, read_rows(DOMAIN, tokenizer), held_out)


@torch.no_grad()
def evaluate(model, held_out):
    """What a pair makes of held-out text.

    Args: model ([`ElectraRTDForPreTraining`]); held_out: see [`Ground`].
    Returns: `dict[str, float]`: `mlm_loss`; `own_auc`, on what its own generator writes; `auc`, on the same for all.
    """
    training = model.training
    model.eval()
    losses, own, same = [], [], []
    for batch, replaced, labels in held_out:
        read = model(**batch)
        losses.append((read.mlm_loss.item(), int(read.masked_positions.sum())))
        own.append((read.logits, read.disc_labels))
        same.append((model.discriminator(**replaced).logits, labels))
    model.train(training)
    masked = sum(count for _, count in losses)
    return {
        "mlm_loss": sum(loss * count for loss, count in losses) / masked,
        "own_auc": area_under_curve(own),
        "auc": area_under_curve(same),
    }


def area_under_curve(batches):
    """How often a replaced token has the higher logit of two; ties count half.

    Args: batches (`list` of logits and labels, each `(B, L)`; -100 = no token). Returns: `float`.
    """
    logits = torch.cat([logits[labels >= 0] for logits, labels in batches])
    labels = torch.cat([labels[labels >= 0] for _, labels in batches])
    replaced, original = logits[labels == 1], logits[labels == 0].sort().values
    below = torch.searchsorted(original, replaced) + torch.searchsorted(original, replaced, right=True)
    return (below.double().mean() / 2 / len(original)).item()


class Curve(TrainerCallback):
    """Evaluates before training, at even distances, and at the end.

    Args: held_out: see [`Ground`]; points (`int`): how many, the first one left out.
    Attributes: points (`list[dict]`): `tokens` read, and what [`evaluate`] says; seconds (`float`): it took.
    """

    def __init__(self, held_out, points):
        self.held_out, self.many, self.points, self.seconds, self._tokens = held_out, points, [], 0.0, 0

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.register_forward_pre_hook(self._count, with_kwargs=True)
        self._add(model)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        step, steps = state.global_step, state.max_steps
        if step == steps or step * self.many // steps > (step - 1) * self.many // steps:
            self._add(model)

    def _count(self, module, arguments, named):
        if module.training:
            self._tokens += int(named["attention_mask"].sum())

    def _add(self, model):
        began = time.perf_counter()
        self.points.append({"tokens": self._tokens, **evaluate(model, self.held_out)})
        self.seconds += time.perf_counter() - began
        said = "  ".join(f"{name} {value:.4f}" for name, value in self.points[-1].items() if name != "tokens")
        print(f"  {self._tokens:>9,} tokens  {said}", flush=True)


def run_arm(name, ground, options):
    """Train one arm. Returns: `dict`, for the file of results."""
    set_seed(options.seed)
    build, alone = ARMS[name]
    model = build(ground, options)
    print(f"{name}:", flush=True)
    curve, steps = Curve(ground.held_out, options.points), _steps(ground.rows, options.tokens)
    callbacks = [curve, RTDWarmUpCallback(alone)] if alone else [curve]
    seconds = train(model, ground.rows, DataCollatorWithPadding(ground.tokenizer), steps, RATE, options, *callbacks)
    shared = {id(weight) for weight in model.discriminator.parameters()}
    generator = model.generator.parameters()
    return {
        **_asked(name, options),
        "generator_layers": model.config.generator_config.num_hidden_layers,
        "generator_parameters": sum(weight.numel() for weight in generator if id(weight) not in shared),
        "embedding_sharing": model.config.embedding_sharing,
        "points": curve.points,
        "seconds": seconds - curve.seconds,
        "machine": describe_machine(torch.device("cpu"), options.threads),
    }


def train(model, rows, collator, steps, rate, options, *callbacks):
    """Train in place under the stock Trainer. Returns: `float`, the seconds it took."""
    with tempfile.TemporaryDirectory() as nothing:  # the Trainer wants a folder
        trainer = Trainer(
            model=model,
            args=training_arguments(Path(nothing), steps, rate, rows=ROWS, seed=options.seed, use_cpu=True),
            train_dataset=rows,
            data_collator=collator,
            callbacks=[*callbacks, EpochOrder()],
        )
        trainer.remove_callback(PrinterCallback)
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began


def _asked(name, options):
    """What tells runs apart."""
    bert_tokens = options.bert_tokens if ARMS[name][0] is borrowed else None
    return {"arm": name, "tokens": options.tokens, "seed": options.seed, "bert_tokens": bert_tokens}


def parse_arguments(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `argparse.Namespace`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--tokens", type=int, default=200_000, help="that every arm reads")
    parser.add_argument("--bert-tokens", type=int, default=400_000, help="that the borrowed BERT reads before")
    parser.add_argument("--points", type=int, default=8, help="evaluations while training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--try", dest="trial", action="store_true", help="write nothing into the project")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Args: arguments (`list[str]`, *optional*). Returns: `int`, the exit status."""
    options = parse_arguments(arguments)
    if not (SHARED / "ko_techdocs").is_dir():
        print(f"The text is not here: {' and '.join(DOMAIN)} below ../shared/data.", file=sys.stderr)
        return 1
    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    file = RESULTS / "pairs-cpu.json"
    runs = json.loads(file.read_text(encoding="utf-8")) if file.is_file() and not options.trial else []
    ground = prepare()
    for name in options.arms:
        if any(_asked(name, options).items() <= run.items() for run in runs):
            print(f"{name}: in {file.name} already")
            continue
        runs.append(run_arm(name, ground, options))
        if not options.trial:  # at once: whoever is interrupted goes on from here
            write_run("pairs", torch.device("cpu"), runs[-1], key=tuple(_asked(name, options)))
    runs = [run for run in runs if any(_asked(name, options).items() <= run.items() for name in ARMS)]
    print(table(runs))
    if not options.trial:
        write_page(runs)
        print("The figure and the table of docs/pairs.md are written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
