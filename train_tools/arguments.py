"""What `adapt` is told: where to start, and which text; with the words of its manual page."""

from dataclasses import dataclass, field
from pathlib import Path

from .callbacks.warm_up import UNTIL_FLAT, warm_up_length
from .compiled_layers import IN_GRAPH
from .from_scratch import SIZES
from .language import LANGUAGES
from .schedule import FIELDS, Schedule, setting
from .unpadded_attention import ROWS, WAYS


OR_SCHEDULE = "FROM:TO changes it over the run; FROM:TO:cosine@0.5 on half a wave, over the first half of it."
DEFAULT_SHARE = 0.1  # of `replay_file` in an epoch
SAMPLE = Path(__file__).parent / "sample"  # README.md in it says whose the texts are
SAMPLE_FILE = SAMPLE / "ko_books.csv"
SWITCH = {"nargs": "?", "const": True}  # of an option that is true, false, or not given: `--option`, `--option false`
MINI_PAIR = Path(__file__).parent / "mini_pair"  # a pretrained pair, small enough to travel with the package


@dataclass
class AdaptArguments:
    """What to adapt, and to which text. One start: discriminator (with its generator), checkpoint, or from_scratch."""

    _argument_group_name = "what to adapt, and to which text"

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
    from_scratch: str | None = field(
        default=None,
        metadata={
            "help": "Start from random weights instead. Set --learning_rate then: 5e-4 for tiny and small, 2e-4 for "
            "base.",
            "choices": list(SIZES),
        },
    )
    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer: a folder, a Hub id or a vocab.txt. By default the discriminator's, or the "
            "checkpoint's; "
            "from scratch a WordPiece vocabulary is trained on the text."
        },
    )
    vocab_size: int = field(default=8000, metadata={"help": "Entries of the vocabulary that --from_scratch trains."})
    train_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Text to train on: files (.csv .tsv .json .jsonl .parquet .txt, each also .gz), folders, globs, "
            "or one Hub dataset id. One sentence or paragraph a row."
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
    resume: bool = field(default=False, metadata={"help": "Go on from the last complete checkpoint in --output_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Remove what an earlier run left in --output_dir first."})

    def __post_init__(self):
        self._check_generator()
        given = {
            "`discriminator`": self.discriminator is not None,
            "`checkpoint`": self.checkpoint,
            "`from_scratch`": self.from_scratch,
        }
        starts = [name for name, value in given.items() if value]
        if len(starts) != 1:
            raise ValueError(
                f"Give one start, not {' and '.join(starts) or 'none'}: `discriminator=D` (with "
                f"`generator=G` where there is one), `checkpoint=C`, or `from_scratch` ({', '.join(SIZES)})."
            )
        if not self.train_file:
            raise ValueError("Give the text to train on: `train_file=FILES`.")
        if not 0 < self.validation_split < 1:
            raise ValueError(
                f"`validation_split` is {self.validation_split}: it must be between 0 and 1, such as 0.05."
            )
        self._check_replay()
        if self.max_seq_length < 8:
            raise ValueError(f"`max_seq_length` is {self.max_seq_length}: it must be at least 8 tokens.")
        if self.vocab_size < 10:
            raise ValueError(f"`vocab_size` is {self.vocab_size}: it must be at least 10 entries.")
        if self.sample_steps < 0:
            raise ValueError(f"`sample_steps` is {self.sample_steps}: it must be 0 (never) or more.")
        for name in FIELDS:
            if getattr(self, name) is not None:
                setattr(self, name, setting(name, getattr(self, name)))
        if self.generator_warmup is not None:
            self.generator_warmup = warm_up_length(self.generator_warmup)
        if self.freeze and self.from_scratch and not self.generator_warmup:
            raise ValueError(
                "`freeze=generator` keeps its random weights with `from_scratch`: leave one of them out, or let it "
                "learn first with `generator_warmup=0.2`."
            )
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

    def sources(self):
        """What the run reads: `list` of folder, file, Hub id or `None`."""
        networks = [self.generator, self.discriminator, self.checkpoint, self.tokenizer]
        return [*networks, *self.texts()]

    def texts(self):
        """The texts of the run: `list[str]` of files, folders, globs and Hub ids."""
        texts = (self.train_file, self.validation_file, self.replay_file, self.replay_validation_file)
        return [source for sources in texts for source in sources or []]
