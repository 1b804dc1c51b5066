"""What every run of training is told, `adapt` and `pretrain` alike; with the words of its manual page."""

from dataclasses import dataclass, field
from typing import ClassVar

from .callbacks.warm_up import UNTIL_FLAT, warm_up_length
from .compiled_layers import IN_GRAPH
from .language import LANGUAGES
from .schedule import FIELDS, Schedule, setting
from .streaming.options import check_stream_fields
from .unpadded_attention import ROWS, WAYS


OR_SCHEDULE = "FROM:TO changes it over the run; FROM:TO:cosine@0.5 on half a wave, over the first half of it."
SWITCH = {"nargs": "?", "const": True}  # of an option that is true, false, or not given: `--option`, `--option false`


@dataclass
class RunArguments:
    """Which text, how it is read, the objective, and how the run behaves. Where it starts, its subclasses say.

    Attributes:
        from_random_weights (`bool`): whether the networks know nothing at first.
        packs (`bool`): whether sentences that follow each other are packed into rows: the text keeps its order then.
    """

    from_random_weights: ClassVar[bool] = False

    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer: a folder, a Hub id or a vocab.txt. By default that of the discriminator or of the "
            "checkpoint; pretrain trains a WordPiece vocabulary on the text."
        },
    )
    train_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Text to train on: files (.csv .tsv .json .jsonl .parquet .txt, each also .gz or .zst), "
            "folders, globs, or one Hub dataset id. One sentence or paragraph a row."
        },
    )
    validation_file: list[str] | None = field(
        default=None,
        metadata={"help": "Held-out text, given in the same ways. By default a share of the training text."},
    )
    validation_split: float = field(
        default=0.05, metadata={"help": "Share of the training rows to hold out when there is no --validation_file."}
    )
    text_column: str | None = field(
        default=None,
        metadata={"help": "Column that holds the text. By default the only text column, or the one named text."},
    )
    dataset_config_name: str | None = field(
        default=None, metadata={"help": "Which configuration of a Hub dataset to read, where it has several."}
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Read the text while training on it: for text larger than memory and disk. Needs --max_steps; a "
            "text that ends before is begun again. --dataloader_num_workers: processes that read and tokenize."
        },
    )
    shuffle_buffer: int | None = field(
        default=None,
        metadata={
            "help": "With --streaming: rows that each reader holds and shuffles, 10,000 by default; 0: the order of "
            "the text."
        },
    )
    mixture: list[float] | None = field(
        default=None,
        metadata={
            "help": "With --streaming: weights of the sources that --train_file names, one for each: shares of the "
            "rows. A source that ends is begun again."
        },
    )
    validation_rows: int | None = field(
        default=None,
        metadata={
            "help": "With --streaming: hold out so many texts, the first of each source: 1,000 without "
            "--validation_file."
        },
    )
    max_seq_length: int = field(
        default=128, metadata={"help": "Tokens in a sequence. Longer text becomes several sequences, so none is lost."}
    )
    preprocessing_num_workers: int | None = field(
        default=None,
        metadata={
            "help": "Processes that tokenize text and prepare a Hub dataset. By default one, which tokenizes on all "
            "cores."
        },
    )
    mask_prob: float | str | Schedule | None = field(
        default=None,
        metadata={"help": f"Share of tokens that are masked. By default the checkpoint's, else 0.15. {OR_SCHEDULE}"},
    )
    disc_weight: float | str | Schedule | None = field(
        default=None,
        metadata={"help": f"Weight of the discriminator's loss. By default the checkpoint's, else 50. {OR_SCHEDULE}"},
    )
    sampling_temperature: float | str | Schedule | None = field(
        default=None,
        metadata={
            "aliases": ["--temperature"],
            "help": "How flat the generator's choice is. By default the checkpoint's, else 1, as in the paper. Above "
            "1 only for tiny text, where the samples of a generator that knows little are hard to tell from the text. "
            f"{OR_SCHEDULE}",
        },
    )
    generator_warmup: float | str | None = field(
        default=None,
        metadata={
            "help": "The generator learns alone at first, without the discriminator's cost: for this share of the "
            f"steps (0.1), or {UNTIL_FLAT}, which is until its held-out loss stops falling. Then both learn, or, with "
            "--freeze generator, the discriminator alone."
        },
    )
    exclude_original: bool | None = field(
        default=None,
        metadata={
            "help": "The generator's samples never equal the original: every masked token is replaced. By default as "
            "the checkpoint says, else false, as in the paper.",
            **SWITCH,
        },
    )
    mask_whole_words: bool | None = field(
        default=None,
        metadata={
            "help": "Mask all pieces of a word, or none; for WordPiece vocabularies. By default as the checkpoint "
            "says, else false, as in the paper.",
            **SWITCH,
        },
    )
    embedding_sharing: str | None = field(
        default=None,
        metadata={
            "help": "none, tied or gdes (the generator's without gradient, plus a delta). By default the "
            "checkpoint's; none for a pretrained pair, tied from scratch."
        },
    )
    freeze: str | None = field(
        default=None,
        metadata={
            "help": "Train the discriminator alone: the generator keeps its weights, and costs no backward pass. With "
            "--generator_warmup, after that.",
            "choices": ["generator"],
        },
    )
    attention_in_parts: bool = field(
        default=False,
        metadata={
            "help": "On a CPU, for rows of hundreds of tokens: less memory and time, a few rows of attention at once."
        },
    )
    unpadded_attention: str | None = field(
        default=None,
        metadata={
            "help": "How a batch without padding attends on an accelerator. By default the first of these that works "
            "there, which a line beginning with fast: names; rows are padded rectangles, and always work.",
            "choices": [*WAYS, ROWS],
        },
    )
    compile_layers: str | None = field(
        default=None,
        metadata={
            "help": "Compile the networks' layers, which small models on a GPU may gain from. By default long runs "
            "there time a few steps both ways, and a line beginning with fast: says what came out.",
            "choices": ["yes", "no"],
        },
    )
    fast: bool = field(
        default=True,
        metadata={"help": "Choose fast settings where none are given; each is printed. --no_fast chooses nothing."},
    )
    on_collapse: str = field(
        default="warn",
        metadata={
            "help": "When the log shows that the run is dead: warn, or stop it too (exit status 1).",
            "choices": ["warn", "stop"],
        },
    )
    on_nonfinite: str = field(
        default="stop",
        metadata={
            "help": "When a loss or a gradient is NaN or infinite: stop before that step is taken (exit status 1), or "
            "skip it.",
            "choices": ["stop", "skip"],
        },
    )
    sample_steps: int = field(
        default=500, metadata={"help": "Show what becomes of two held-out sentences every so many steps; 0: never."}
    )
    lang: str | None = field(
        default=None,
        metadata={
            "help": "Language of what training shows: these sentences and the log. By default that of the locale.",
            "choices": list(LANGUAGES),
        },
    )
    resume: bool = field(default=False, metadata={"help": "Go on from the newest whole checkpoint in --output_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Remove what an earlier run left in --output_dir first."})

    def __post_init__(self):
        self._check_text()
        if not 0 < self.validation_split < 1:
            raise ValueError(
                f"`validation_split` is {self.validation_split}: it must be between 0 and 1, such as 0.05."
            )
        check_stream_fields(self)
        if self.max_seq_length < 8:
            raise ValueError(f"`max_seq_length` is {self.max_seq_length}: it must be at least 8 tokens.")
        if self.sample_steps < 0:
            raise ValueError(f"`sample_steps` is {self.sample_steps}: it must be 0 (never) or more.")
        for name in FIELDS:
            if getattr(self, name) is not None:
                setattr(self, name, setting(name, getattr(self, name)))
        if self.generator_warmup is not None:
            self.generator_warmup = warm_up_length(self.generator_warmup)
        if self.attention_in_parts and self.unpadded_attention:
            raise ValueError(
                "`attention_in_parts` is for a CPU, `unpadded_attention` for an accelerator: give one of them."
            )
        if self.compile_layers == "yes" and self.unpadded_attention not in (None, *IN_GRAPH):
            raise ValueError(
                f"`compile_layers=yes` cannot do `unpadded_attention={self.unpadded_attention}`, which no graph "
                f"holds: give one of {', '.join(IN_GRAPH)}, or leave one of the two out."
            )
        if self.resume and self.overwrite:
            raise ValueError("`resume` goes on with what `overwrite` removes: give one of them.")

    def _check_text(self):
        if not self.train_file:
            raise ValueError("Give the text to train on: `train_file=FILES`.")

    @property
    def packs(self):
        return False

    def networks(self):
        """What weights and tokenizer come from: `list` of folder, file, Hub id or `None`."""
        return [self.tokenizer]

    def sources(self):
        """What the run reads: `list` of folder, file, Hub id or `None`."""
        return [*self.networks(), *self.texts()]

    def texts(self):
        """The texts of the run: `list[str]` of files, folders, globs and Hub ids."""
        return [*(self.train_file or []), *(self.validation_file or [])]
