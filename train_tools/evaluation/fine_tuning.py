"""One fine-tuning of an arm, under the stock Trainer, with ELECTRA's own recipe."""

import math
import statistics
import tempfile
import time
from dataclasses import dataclass, field

import torch
from torch.utils.data import IterableDataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from .encoding import EncodedRows, encode
from .layer_rates import layerwise_parameter_groups
from .metrics import collapsed, score


# Of ELECTRA's recipe (google-research/electra, `configure_finetuning.py`): head's rate and decay from layer to layer.
RECIPE, RECIPE_OF_LARGE = (1e-4, 0.8), (5e-5, 0.9)
WARMUP, WEIGHT_DECAY, ADAM_EPSILON = 0.1, 0.01, 1e-6
# Google trains 3 epochs, and 10 on the smallest tasks, RTE and STS, of 2,500 and 5,700 rows.
EPOCHS, EPOCHS_OF_FEW, FEW_ROWS = 3, 10, 6000
LEAST_STEPS = 100  # an encoder and a new head are not done with a few dozens, however few rows there are


@dataclass(frozen=True)
class FineTuned:
    """What a fine-tuning got.

    Args:
        validation, scores (`dict[str, float]`): metrics on the validation rows, and on the test rows.
        predictions (`list`): for each test row a class, a number or the tags of its words.
        collapsed (`str` or `None`): why it is no answer.
        seconds (`float`), steps (`int`): it took.
        cut_off (`int`): test rows, or words of token classification, that are not read to their end.
    """

    validation: dict
    scores: dict
    predictions: list = field(repr=False)
    collapsed: str | None
    seconds: float
    steps: int
    cut_off: int


def default_epochs(rows, batch_size):
    """Epochs where nobody names them: 10 up to 6,000 rows and 3 above, as Google's recipe has it for small and for
    larger tasks, and as many more as 100 steps take.

    Args:
        rows (`int`): to learn from; batch_size (`int`)

    Returns:
        `int`
    """
    epochs = EPOCHS_OF_FEW if rows <= FEW_ROWS else EPOCHS
    return max(epochs, math.ceil(LEAST_STEPS / math.ceil(rows / batch_size)))


def fine_tune(
    arm,
    split,
    *,
    seed,
    learning_rate=None,
    decay=None,
    epochs=None,
    batch_size=32,
    max_length=128,
    weight_decay=WEIGHT_DECAY,
    encoder_of_rows=encode,
    on_rows=None,
):
    """Fine-tune an arm on labelled rows, and score it.

    The stock Trainer, with AdamW over [`layerwise_parameter_groups`], a warm-up over a tenth of the steps and a linear
    decay to 0. The seed decides head, order of rows and dropout, so that two arms of one seed differ in what they
    started from alone. Nothing is written, and the state at the end is scored: no rows are spent on choosing an epoch.

    Args:
        arm ([`Arm`])
        split ([`Split`]): rows to learn from, validation rows and test rows.
        seed (`int`)
        learning_rate (`float`, *optional*): of the head; by default 1e-4, and 5e-5 for large encoders.
        decay (`float`, *optional*): factor from a layer to the one below it; by default 0.8, and 0.9 for large ones.
        epochs (`int`, *optional*): by default [`default_epochs`].
        batch_size (`int`), max_length (`int`): rows of a step; tokens of a row.
        weight_decay (`float`): but for biases and normalisations.
        encoder_of_rows (callable): [`encode`], or one that remembers what it encoded.
        on_rows (callable, *optional*): called with the number of rows that were read since the last call: three for
            each that is learned from, which takes about three times as long.

    Returns:
        [`FineTuned`]

    Raises:
        ValueError: a number is out of range, or the arm cannot do the task.
    """
    started = time.perf_counter()
    rate_of_recipe, decay_of_recipe = RECIPE_OF_LARGE if arm.is_large else RECIPE
    learning_rate, decay = learning_rate or rate_of_recipe, decay or decay_of_recipe
    epochs = epochs or default_epochs(len(split.train), batch_size)
    report = on_rows or (lambda rows: None)
    longest = min(max_length, arm.longest)
    options = {"token_types": arm.takes_token_types}
    train, validation, test = (
        encoder_of_rows(part, arm.tokenizer, longest, **options)
        for part in (split.train, split.validation, split.test)
    )
    kind = split.train.kind
    scale = _Scale.of(split.train.targets) if kind == "regression" else _Scale()
    model = arm.model(kind, len(split.train.names), seed)
    plan = _Plan(train, batch_size, epochs, seed, scale)
    with tempfile.TemporaryDirectory() as folder:  # the Trainer wants one, and leaves it empty
        args = TrainingArguments(
            output_dir=folder,
            max_steps=len(plan.batches),
            per_device_train_batch_size=1,  # a batch of the plan
            lr_scheduler_type="linear",
            warmup_steps=round(WARMUP * len(plan.batches)),
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            eval_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            accelerator_config={"dispatch_batches": False},
        )
        if args.n_gpu > 1:
            args._n_gpu = 1  # a step's rows come as one batch, which several cards cannot share
        model.to(args.device)
        optimizer = torch.optim.AdamW(
            layerwise_parameter_groups(model, learning_rate, decay, weight_decay=weight_decay),
            eps=ADAM_EPSILON,
            fused=args.device.type in ("cpu", "cuda"),
        )
        trainer = Trainer(  # which seeds torch's generator: from here on nothing but dropout draws from it
            model=model,
            args=args,
            train_dataset=plan,
            data_collator=_the_batch,
            optimizers=(optimizer, None),
            callbacks=[_OnSteps(plan, report)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    predictions = {}
    for name, rows in (("validation", validation), ("test", test)):
        predictions[name] = _predict(model, rows, split.train, scale, report)
    names = split.train.names
    return FineTuned(
        validation=score(kind, predictions["validation"], split.validation.targets, names),
        scores=score(kind, predictions["test"], split.test.targets, names),
        predictions=predictions["test"],
        collapsed=collapsed(kind, predictions["test"], split.test.targets, names),
        seconds=time.perf_counter() - started,
        steps=len(plan.batches),
        cut_off=test.cut_off,
    )


@dataclass(frozen=True)
class _Scale:
    """Numbers to learn are brought near 0 and 1, which a new head gives from the beginning."""

    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, targets):
        return cls(statistics.fmean(targets), statistics.pstdev(targets) or 1.0)


class _Plan(IterableDataset):
    """The batches of all epochs, in their order."""

    def __init__(self, rows: EncodedRows, batch_size, epochs, seed, scale):
        generator = torch.Generator().manual_seed(seed)
        self.batches = [batch for _ in range(epochs) for batch in rows.order(batch_size, generator)]
        self._rows, self._scale = rows, scale

    def __iter__(self):
        for indices in self.batches:
            batch = self._rows.batch(indices)
            if self._rows.kind == "regression":
                batch["labels"] = (batch["labels"] - self._scale.mean) / self._scale.spread
            yield batch


class _OnSteps(TrainerCallback):
    def __init__(self, plan, report):
        self._plan, self._report = plan, report

    def on_step_end(self, args, state, control, **kwargs):
        self._report(3 * len(self._plan.batches[state.global_step - 1]))


def _the_batch(batches):
    (batch,) = batches
    return batch


@torch.inference_mode()
def _predict(model, rows, train, scale, report):
    """A class, a number or the tags of the words for each row."""
    model.eval()
    predictions: list = [None] * len(rows)
    outside = _outside(train) if rows.kind == "tokens" else 0
    for indices in rows.by_length(64):
        batch = {name: value.to(model.device) for name, value in rows.batch(indices, labels=False).items()}
        logits = model(**batch).logits.float().cpu()  # (B, C), or (B, L, C) for tokens
        if rows.kind == "regression":
            said = (logits[:, 0] * scale.spread + scale.mean).tolist()
        else:
            said = logits.argmax(-1).tolist()
        for index, one in zip(indices, said, strict=True):
            if rows.kind == "tokens":
                number, places = rows.words[index]
                one = [one[places[word]] if word in places else outside for word in range(number)]
            predictions[index] = one
        report(len(indices))
    return predictions


def _outside(train):
    """The tag of a word that was not read: `O`, or the most frequent one where there is none."""
    if "O" in train.names:
        return train.names.index("O")
    return statistics.mode(tag for tags in train.targets for tag in tags)
