"""What `adapt` is told beside what every run is: where to start, and which general text is replayed."""

from dataclasses import dataclass, field
from pathlib import Path

from .run_arguments import RunArguments


DEFAULT_SHARE = 0.1  # of `replay_file` in an epoch
SAMPLE = Path(__file__).parent / "sample"  # README.md in it says whose the texts are
SAMPLE_FILE = SAMPLE / "ko_books.csv"
MINI_PAIR = Path(__file__).parent / "mini_pair"  # a pretrained pair, small enough to travel with the package


@dataclass
class Starts:
    """Where `adapt` can start. A class of its own because these fields come first in the manual page."""

    generator: str | None = field(
        default=None,
        metadata={
            "help": "Pretrained generator to start from, with --discriminator: a folder or a Hub id, of ELECTRA or of "
            "BERT's masked language model, of the same vocabulary. Without it, one is cut from the discriminator."
        },
    )
    discriminator: str | None = field(
        default=None,
        metadata={"help": "Pretrained discriminator to start from: a folder or a Hub id."},
    )
    generator_layers: int | None = field(
        default=None,
        metadata={
            "help": "How many layers the generator has, of the first ones. By default all of --generator; cut from "
            "the discriminator, a third of that one's, and at least two."
        },
    )
    checkpoint: str | None = field(
        default=None, metadata={"help": "Go on from this electra_rtd checkpoint instead: a folder or a Hub id."}
    )


@dataclass
class AdaptArguments(RunArguments, Starts):
    """What to adapt, and to which text. One start: discriminator (with its generator), or checkpoint."""

    _argument_group_name = "what to adapt, and to which text"

    replay_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "General text, such as the pair was pretrained on, of which some is mixed into every epoch, so "
            "that the pair keeps what it knew; given in the ways of --train_file."
        },
    )
    replay_share: float | None = field(
        default=None,
        metadata={
            "help": "Share of an epoch's sequences that are general text, drawn anew for each epoch: 0.1 with "
            "--replay_file."
        },
    )
    replay_validation_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "General text to hold out: what the pair loses there stands beside what it gains. By default as "
            "many rows of --replay_file as are held out of the domain's text, a tenth of them at most."
        },
    )
    replay_text_column: str | None = field(
        default=None, metadata={"help": "Column of the general text. By default as for --train_file."}
    )

    def __post_init__(self):
        self._check_generator()
        given = {
            "`discriminator`": self.discriminator is not None,
            "`checkpoint`": self.checkpoint,
        }
        starts = [name for name, value in given.items() if value]
        if len(starts) != 1:
            raise ValueError(
                f"Give one start, not {' and '.join(starts) or 'none'}: `discriminator=D` (with `generator=G` where "
                "there is one), or `checkpoint=C`. From random weights: `electra-rtd pretrain`."
            )
        super().__post_init__()
        self._check_replay()

    def _check_generator(self):
        for name in ("generator", "generator_layers"):
            if getattr(self, name) is not None and self.discriminator is None:
                raise ValueError(
                    f"`{name}={getattr(self, name)}` is for a start from a `discriminator`: give `discriminator=D`, "
                    f"or leave `{name}` out."
                )
        if self.generator_layers is not None and self.generator_layers < 1:
            raise ValueError(f"`generator_layers` is {self.generator_layers}: it must be 1 or more.")
        if self.freeze and self.discriminator and not self.generator and not self.generator_warmup:
            raise ValueError(
                "`freeze=generator` would keep the new head of a generator that is cut from the discriminator: give "
                "`generator=G`, or let it learn first with `generator_warmup=0.2`."
            )

    def _check_replay(self):
        for name in ("replay_share", "replay_validation_file", "replay_text_column"):
            if getattr(self, name) is not None and not self.replay_file:
                raise ValueError(f"`{name}` is about general text, and there is none: give `replay_file=FILES` too.")
        if self.replay_file and self.replay_share is None:
            self.replay_share = DEFAULT_SHARE
        if self.replay_share is not None and not 0 < self.replay_share < 1:
            raise ValueError(
                f"`replay_share` is {self.replay_share}: it must be between 0 and 1, such as {DEFAULT_SHARE}. Without "
                "`replay_file` nothing is replayed."
            )

    def networks(self):
        return [self.generator, self.discriminator, self.checkpoint, *super().networks()]

    def texts(self):
        return [*super().texts(), *(self.replay_file or []), *(self.replay_validation_file or [])]
