"""What `pretrain` is told beside what every run is: which recipe, its vocabulary, and how rows are made of text."""

from dataclasses import dataclass, field
from typing import ClassVar

from .presets import PRESETS
from .run_arguments import SWITCH, RunArguments


# Numbers of a preset that are fields here: what a user leaves open is the preset's.
OF_PRESET = (
    "vocab_size",
    "do_lower_case",
    "max_seq_length",
    "packing",
    "mask_prob",
    "sampling_temperature",
    "disc_weight",
    "embedding_sharing",
    "generator_warmup",
)


@dataclass
class Recipe:
    """Which recipe. A class of its own because these fields come first in the manual page."""

    preset: str | None = field(
        default=None,
        metadata={"help": "The recipe: sizes, and every number of the training.", "choices": list(PRESETS)},
    )
    print_recipe: bool = field(
        default=False, metadata={"help": "Show every number of the recipe with its source, and train nothing."}
    )
    vocab_size: int | None = field(
        default=None, metadata={"help": "Entries of the vocabulary that is trained. By default the preset's."}
    )
    do_lower_case: bool | None = field(
        default=None,
        metadata={
            "help": "Train a vocabulary of lower case, without marks; false: as the text is, which Korean needs. By "
            "default the preset's.",
            **SWITCH,
        },
    )


@dataclass
class PretrainArguments(RunArguments, Recipe):
    """Which recipe, and which text to pretrain on. What is left open is filled in from the preset.

    Attributes:
        given (`tuple[str]`): those of `OF_PRESET` that were not left open.
    """

    _argument_group_name = "what to pretrain, and on which text"
    from_random_weights: ClassVar[bool] = True

    # None: the preset's, see below.
    max_seq_length: int = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Tokens in a row. By default the preset's."}
    )
    packing: str = field(  # type: ignore[assignment]
        default=None,
        metadata={
            "help": "Fill rows up to --max_seq_length with the sentences that follow each other, in two segments; no: "
            "one sentence a row. By default the preset's.",
            "choices": ["yes", "no"],
        },
    )
    document_column: str | None = field(
        default=None,
        metadata={
            "help": "Column that says which document a row is of: no packed row holds text of two. Without it a "
            "document is a file, or what stands between empty lines of a .txt file."
        },
    )

    def __post_init__(self):
        if self.preset not in PRESETS:
            wrong = "" if self.preset is None else f" There is no {self.preset!r}."
            raise ValueError(f"Give a recipe, `preset=PRESET`: one of {', '.join(PRESETS)}.{wrong}")
        self.given = tuple(name for name in OF_PRESET if getattr(self, name) is not None)
        self._check_vocabulary()
        numbers = PRESETS[self.preset].numbers
        for name in OF_PRESET:
            if getattr(self, name) is None and name in numbers:
                setattr(self, name, numbers[name].value)
        if self.document_column is not None and not self.packs:
            raise ValueError("`document_column` is about packed rows, and there are none: leave `packing=no` out.")
        longest = numbers["max_position_embeddings"].value
        if self.max_seq_length > longest:
            raise ValueError(
                f"`max_seq_length` is {self.max_seq_length}: the networks of {self.preset} read {longest} tokens at "
                "most."
            )
        super().__post_init__()
        if self.freeze and not self.generator_warmup:
            raise ValueError(
                "`freeze=generator` would keep its random weights: leave it out, or let the generator learn first "
                "with `generator_warmup=0.2`."
            )

    def _check_text(self):
        if not self.print_recipe:  # which needs none
            super()._check_text()

    def _check_vocabulary(self):
        if self.vocab_size is not None and self.vocab_size < 10:
            raise ValueError(f"`vocab_size` is {self.vocab_size}: it must be at least 10 entries.")
        for name in ("vocab_size", "do_lower_case"):
            if self.tokenizer and name in self.given:
                raise ValueError(
                    f"`{name}={getattr(self, name)}` is about a vocabulary that is trained, and `tokenizer` gives "
                    "one: leave one of them out."
                )

    @property
    def packs(self):
        return self.packing == "yes"
