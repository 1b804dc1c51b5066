"""One process against several, and against accumulated gradients: the same rows, masks and samples, five steps."""

import os
import random
from pathlib import Path

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from electra_rtd import ElectraRTDForPreTraining, objective_electra_rtd
from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools import RTDProcessesCallback
from electra_rtd.train_tools.arguments import MINI_PAIR
from electra_rtd.train_tools.data import read_text, tokenize_text

from ..flops import masked_tokens
from ..forked import FSDP2, allow_fsdp_on_cpu, run_forked
from ..text import SAMPLE, SHARED


STEPS, ROWS = 5, 16  # rows of a step, over all processes
LONGEST, EQUAL = 64, 40  # tokens of a row: at most, and where all are equal
AGREE = 1e-5
MOST_TEXT = 3000  # sentences, drawn from all
LEARNING_RATE, EPSILON = 5e-4, 1e-6  # of ELECTRA-small, and of the paper's Adam
# Name: processes, rows of each batch, batches a step, whether by FSDP2.
WAYS = {
    "1 process x 16": (1, 16, 1, False),
    "2 processes x 8": (2, 8, 1, False),
    "4 processes x 4": (4, 4, 1, False),
    "1 process, 4 accumulated x 4": (1, 4, 4, False),
    "2 processes x 8, FSDP2": (2, 8, 1, True),
}


def measure(options):
    """Args: options (`argparse.Namespace`). Returns: `dict`: `weights`, `means`, `text`, `failures`."""
    text, rows = _rows(options)
    small = options.size == "small"
    names = list(WAYS)[:2] if small else list(WAYS)
    kinds = {"equal": [row[: EQUAL - 1] + row[-1:] for row in rows if len(row) >= EQUAL], "ragged": rows}
    weights, failures = {}, []
    for kind, of_kind in kinds.items():
        batch = _masked(of_kind[: STEPS * ROWS], options.seed)
        assert len(batch) == STEPS * ROWS
        trained = {name: _train(name, batch, options.work / kind) for name in names}
        weights[kind] = {name: _apart(trained[names[0]], trained[name]) for name in names[1:]}
        for name, apart in weights[kind].items():
            if kind == "equal" and apart["greatest"] > AGREE:
                failures.append(f"{name}: weights are {apart['greatest']:.1e} from those of one process, not {AGREE}")
    means = None if small else _means(rows, options.seed)
    return {"weights": weights, "means": means, "text": text, "failures": failures}


def _rows(options):
    documentation = SHARED / "ko_techdocs" / "python_ko.txt.gz"
    file = documentation if documentation.is_file() else SAMPLE
    text = read_text([str(file)]).dataset.shuffle(options.seed).select(range(MOST_TEXT))
    rows = tokenize_text(text, load_tokenizer(str(MINI_PAIR)), max_length=LONGEST)["input_ids"]
    return f"{MOST_TEXT:,} sentences of {file.name}", [list(row) for row in rows if len(row) >= 8]


def _masked(rows, seed):
    """Rows as a masking collator gives them: `[MASK]` at some places, and there the original as label."""
    draw, config = random.Random(seed), ElectraRTDForPreTraining.config_class.from_pretrained(MINI_PAIR)
    examples = []
    for row in rows:
        places = sorted(draw.sample(range(1, len(row) - 1), masked_tokens(len(row))))
        ids, labels = list(row), [-100] * len(row)
        for place in places:
            ids[place], labels[place] = config.mask_token_id, row[place]
        examples.append({"input_ids": ids, "labels": labels})
    return examples


class Collator:
    """Pads rows and labels. Args: pad_token_id (`int`)."""

    def __init__(self, pad_token_id):
        self.fill = {"input_ids": pad_token_id, "labels": -100}

    def __call__(self, rows):
        width = max(len(row["input_ids"]) for row in rows)
        batch = {
            name: torch.tensor([row[name] + [fill] * (width - len(row[name])) for row in rows])
            for name, fill in self.fill.items()
        }
        return {**batch, "attention_mask": (batch["input_ids"] != self.fill["input_ids"]).long()}


def _predict_and_force(head, predictions, original_ids, uniform, config, predict=objective_electra_rtd.predict):
    """Samples that follow from the token alone: every second one is put back, the others are replaced."""
    losses, hits, _ = predict(head, predictions, original_ids, uniform, config)
    return losses, hits, torch.where(original_ids % 2 == 0, original_ids, (original_ids * 7 + 3) % config.vocab_size)


def _train(name, batch, work):
    processes, rows, accumulated, in_parts = WAYS[name]
    folder = work / name.replace(" ", "-")
    environment = FSDP2 if in_parts else None
    run_forked(_steps, processes, batch, rows, accumulated, folder, environment=environment, timeout=600)
    return torch.load(folder / "weights.pt")


def _steps(batch, rows, accumulated, folder):
    """In one of the processes: the steps; the weights come into a file."""
    torch.set_num_threads(1)
    if os.environ.get("ACCELERATE_USE_FSDP"):
        allow_fsdp_on_cpu()
    objective_electra_rtd.predict = _predict_and_force
    model = ElectraRTDForPreTraining.from_pretrained(MINI_PAIR, dtype=torch.float32)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulated,
        max_steps=STEPS,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        adam_epsilon=EPSILON,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Dataset.from_list(batch),
        data_collator=Collator(model.config.pad_token_id),
        callbacks=[RTDProcessesCallback()],
    )
    trainer.train()
    weights = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()
        for name, value in model.named_parameters()
    }
    if arguments.process_index == 0:
        Path(folder).mkdir(parents=True, exist_ok=True)
        torch.save(weights, Path(folder) / "weights.pt")


def _apart(ones, others):
    """How far two sets of weights are apart: `greatest`, `where`, and `share` of how far training moved them."""
    start = dict(ElectraRTDForPreTraining.from_pretrained(MINI_PAIR, dtype=torch.float32).named_parameters())
    differences = {name: (others[name] - value).abs().max().item() for name, value in ones.items()}
    where = max(differences, key=lambda name: differences[name])
    between = sum((others[name] - value).square().sum().item() for name, value in ones.items()) ** 0.5
    moved = sum((value - start[name].detach()).square().sum().item() for name, value in ones.items()) ** 0.5
    return {"greatest": differences[where], "where": where, "share": between / moved}


# ---- A mean over processes of the means over their tokens -----------------------------------------------------------


def _means(rows, seed, steps=200):
    """What a mean of means is from the mean over all tokens of a step, on the pair in the package."""
    chosen = rows[: ROWS * 8 * 8]
    losses = _losses(chosen)
    draw = random.Random(seed)
    found = {}
    for order in ("random", "of like length"):
        for processes in (2, 4, 8):
            found[f"{order}, {processes} x {ROWS}"] = _compared(losses, order, processes, steps, draw)
    return found


def _losses(rows):
    """Of each row: tokens, masked tokens, and the sums of both losses."""
    model = ElectraRTDForPreTraining.from_pretrained(MINI_PAIR, dtype=torch.float32).eval()
    found = []
    with torch.no_grad():
        for row in rows:
            output = model(input_ids=torch.tensor([row]))
            tokens, masked = len(row), int(output.masked_positions.sum())
            found.append((tokens, masked, tokens * output.disc_loss.item(), masked * output.mlm_loss.item()))
    return found


def _compared(losses, order, processes, steps, draw):
    apart: dict = {"disc_loss": [], "mlm_loss": []}
    weights = []
    by_length = sorted(losses)
    for _ in range(steps):
        if order == "random":
            rows = draw.sample(losses, processes * ROWS)
        else:  # as the Trainer groups: the rows of a step are of like length, and sorted
            first = draw.randrange(len(losses) - processes * ROWS)
            rows = by_length[first : first + processes * ROWS]
        shares = [rows[n : n + ROWS] for n in range(0, len(rows), ROWS)]
        for name, count, total in (("disc_loss", 0, 2), ("mlm_loss", 1, 3)):
            of_means = sum(sum(r[total] for r in share) / sum(r[count] for r in share) for share in shares) / processes
            of_all = sum(r[total] for r in rows) / sum(r[count] for r in rows)
            apart[name].append(of_means / of_all - 1)
        mean = sum(r[0] for r in rows) / processes
        weights += [mean / sum(r[0] for r in share) for share in shares]
    figures = {}
    for name, values in apart.items():
        figures[name] = {
            "bias": sum(values) / len(values),
            "typical": (sum(value**2 for value in values) / len(values)) ** 0.5,
            "greatest": max(abs(value) for value in values),
        }
    figures["weight"] = {"least": min(weights), "greatest": max(weights)}
    return figures


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`, Markdown."""
    ways = list(figures["weights"]["equal"])
    lines = [
        f"Weights after {STEPS} steps of {ROWS} rows, against one process with batches of {ROWS} (the pair in the "
        f"package, dropout 0, AdamW with a rate of {LEARNING_RATE:g} and an epsilon of {EPSILON:g}, masks and samples "
        f"forced). *Equal* rows have {EQUAL} tokens each, *ragged* ones are real sentences of at most {LONGEST}. The "
        "greatest difference of any weight, and the distance as a share of how far training moved the weights:",
        "",
        "| way | equal rows | ragged rows | ragged, share of the movement |",
        "| --- | --- | --- | --- |",
    ]
    for way in ways:
        equal, ragged = figures["weights"]["equal"][way], figures["weights"]["ragged"][way]
        lines.append(f"| {way} | {equal['greatest']:.1e} | {ragged['greatest']:.1e} | {ragged['share']:.1%} |")
    if figures["means"]:
        lines += [
            "",
            "Ragged rows differ since each process takes the mean over its own tokens, and the processes the mean of "
            "these; accumulated batches likewise. Against the mean over all tokens of a step, over 200 steps:",
            "",
            "| order of rows, processes x rows | weight of a token | `disc_loss` | `mlm_loss` |",
            "| --- | --- | --- | --- |",
        ]
        for name, found in figures["means"].items():
            weight = f"{found['weight']['least']:.2f} to {found['weight']['greatest']:.2f}"
            cells = [_means_cell(found[part]) for part in ("disc_loss", "mlm_loss")]
            lines.append(f"| {name} | {weight} | {cells[0]} | {cells[1]} |")
        lines += [
            "",
            "*Typical* is the root of the mean square; in brackets the mean with its sign, and the greatest.",
        ]
    return "\n".join([*lines, "", f"Text: {figures['text']}."])


def _means_cell(part):
    return f"{part['typical']:.2%} ({part['bias']:+.2%}; {part['greatest']:.2%})"
