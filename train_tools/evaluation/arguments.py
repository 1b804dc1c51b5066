"""What `evaluate` is told: labels, encoders, and how much work it may be; with the words of its manual page."""

import math
import re
from dataclasses import dataclass, field

from ..language import LANGUAGES


KINDS = ("single", "pair", "regression", "tokens")  # as in `labels`, which needs libraries that a manual does not
FLOOR = "naive_bayes"  # the name of the floor among the arms
OUTPUT_DIR = "electra-rtd-evaluation"
# The three rates of the ELECTRA paper's fine-tunings (Table 7): 3e-4 for small, 1e-4 for base, 5e-5 for large.
LEARNING_RATES = (5e-5, 1e-4, 3e-4)
NAME = re.compile(r"[\w.+-]+")


@dataclass
class EvaluateArguments:
    """Which encoders to compare, on which labels, and with how much work."""

    _argument_group_name = "which encoders, on which labels"

    labels: str | None = field(
        default=None,
        metadata={
            "help": "Labelled rows: .csv .tsv .json .jsonl .parquet, each also .gz. They are split 60/20/20 into "
            "training, validation and test, with every class in its share."
        },
    )
    before: str | None = field(
        default=None,
        metadata={
            "help": "The encoder before: a pair (its discriminator is taken), a stock encoder, a Hub id, or "
            "random:PATH, the same network with random weights."
        },
    )
    after: str | None = field(default=None, metadata={"help": "The encoder after, likewise."})
    arms: list[str] | None = field(
        default=None,
        metadata={
            "help": "More encoders, or others: NAME=PATH ... All are compared with the first one: before, or else the "
            "first here."
        },
    )
    tokenizer: str | None = field(
        default=None, metadata={"help": "Tokenizer of encoders that have none beside them: a folder or a vocab.txt."}
    )
    task: str | None = field(
        default=None,
        metadata={
            "help": "Kind of task. By default what the columns look like: one text, two texts, two texts with a "
            "number, or words with tags.",
            "choices": list(KINDS),
        },
    )
    text_columns: list[str] | None = field(
        default=None, metadata={"help": "Column of the text; two columns for pairs. By default found by name."}
    )
    label_column: str | None = field(default=None, metadata={"help": "Column of the label. By default found by name."})
    group_column: str | None = field(
        default=None,
        metadata={"help": "Column that says which rows belong together (a page, a patient): they stay in one part."},
    )
    names: list[str] | None = field(
        default=None, metadata={"help": "Names of the classes or tags, where the file has their numbers, from 0 on."}
    )
    validation_file: str | None = field(default=None, metadata={"help": "Validation rows, in place of a part."})
    test_file: str | None = field(default=None, metadata={"help": "Test rows, in place of a part."})
    metric: str | None = field(
        default=None,
        metadata={
            "help": "What the verdict is about: accuracy, macro_f1 or micro_f1; spearman or pearson; f1, precision or "
            "recall. By default the first of its kind of task."
        },
    )
    seeds: int = field(
        default=5,
        metadata={"help": "Fine-tunings of each encoder: each seed has one head, order and dropout for all of them."},
    )
    train_rows: list[int] | None = field(
        default=None,
        metadata={"help": "Training rows, several numbers for a curve (50 200 1000). By default all there are."},
    )
    learning_rates: list[float] | None = field(
        default=None,
        metadata={
            "help": "The rates of the head that are tried for each encoder; the validation rows choose. By default "
            f"{' '.join(f'{rate:g}' for rate in LEARNING_RATES)}."
        },
    )
    grid_seeds: int = field(
        default=2, metadata={"help": "Seeds that the rates are tried with; the others have the chosen rate alone."}
    )
    layer_decay: float | None = field(
        default=None,
        metadata={"help": "Factor from a layer's rate to that of the one below. By default 0.8, and 0.9 for large."},
    )
    epochs: int | None = field(
        default=None,
        metadata={
            "help": "Epochs. By default 10, more where that is less than 100 steps, and 3 for more than 6,000 rows."
        },
    )
    batch_size: int = field(default=32, metadata={"help": "Rows of a step."})
    max_length: int = field(default=128, metadata={"help": "Tokens of a row at most; what is longer is cut."})
    probe: bool = field(
        default=False,
        metadata={"help": "No fine-tuning: a linear probe of each encoder's frozen features, which takes seconds."},
    )
    write_card: str | None = field(
        default=None, metadata={"help": "Folder of an encoder whose model card gets the results."}
    )
    output_dir: str = field(
        default=OUTPUT_DIR,
        metadata={
            "help": "Folder for evaluation.json and the runs. Whatever is done there already is not done again."
        },
    )
    lang: str | None = field(
        default=None,
        metadata={"help": "Language of the table. By default that of the locale.", "choices": list(LANGUAGES)},
    )

    def __post_init__(self):
        if not self.labels:
            raise ValueError("Give the labelled rows: `labels=FILE`.")
        self.encoders()
        for name, least in (("seeds", 1), ("grid_seeds", 1), ("batch_size", 1), ("max_length", 8), ("epochs", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"`{name}` is {value}: it must be {least} or more.")
        for rows in self.train_rows or ():
            if rows < 2:
                raise ValueError(f"`train_rows` is {rows}: it must be 2 or more, so that there is something to learn.")
        for rate in self.learning_rates or ():
            if not (math.isfinite(rate) and 0 < rate < 1):
                raise ValueError(f"`learning_rates` has {rate:g}: each must be more than 0 and below 1, such as 1e-4.")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"`layer_decay` is {self.layer_decay}: it must be more than 0, and at most 1.")
        if self.task is not None and self.task not in KINDS:
            raise ValueError(f"`task` is {self.task}: it must be one of {', '.join(KINDS)}.")

    def encoders(self):
        """The arms, the one that others are compared with first: `dict[str, str]`, name to path or Hub id.

        Raises:
            ValueError: there is none, or two have one name.
        """
        arms = {name: path for name, path in (("before", self.before), ("after", self.after)) if path}
        for given in self.arms or ():
            name, equals, path = given.partition("=")
            if not (equals and path and NAME.fullmatch(name)):
                raise ValueError(f"`arms` has {given!r}: give NAME=PATH, the name of letters, digits and - . + alone.")
            if name in arms or name == FLOOR:
                raise ValueError(f"`arms` has {given!r}, but the name {name} is taken: give another.")
            arms[name] = path
        if not arms:
            raise ValueError("Give the encoders to compare: `before=PATH` and `after=PATH`, or `arms=NAME=PATH`.")
        return arms

    @property
    def rates(self):
        """The grid of learning rates: `list[float]`, ascending."""
        return sorted(set(self.learning_rates or LEARNING_RATES))
