"""What `pretrain` is told beside what every run is: which recipe, its vocabulary, and how rows are made of text."""

from dataclasses import dataclass, field

from .run_arguments import RunArguments


PACKING = ("yes", "no")


@dataclass
class Recipe:
    """Which recipe. A class of its own because these fields come first in the manual page."""

    preset: str | None = field(
        default=None, metadata={"help": "The recipe: sizes of both networks, and every number of the training."}
    )
    vocab_size: int | None = field(
        default=None, metadata={"help": "Entries of the vocabulary that is trained. By default the preset's."}
    )


@dataclass
class PretrainArguments(RunArguments, Recipe):
    """Which recipe, and which text to pretrain on."""

    _argument_group_name = "what to pretrain, and on which text"

    packing: str = field(
        default="yes",
        metadata={
            "help": "Fill rows up to --max_seq_length with the sentences that follow each other, in two segments; no: "
            "one row of the text a row.",
            "choices": list(PACKING),
        },
    )
    document_column: str | None = field(
        default=None,
        metadata={
            "help": "Column that says which document a row is of: no packed row then holds text of two. Rows of one "
            "document stand together in the text."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if self.vocab_size is not None and self.vocab_size < 10:
            raise ValueError(f"`vocab_size` is {self.vocab_size}: it must be at least 10 entries.")
