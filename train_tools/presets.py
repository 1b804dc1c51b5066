"""Published recipes of pretraining: every number, and where it stands."""

from dataclasses import dataclass
from typing import Any


PAPER = "Clark et al. 2020, table 6"
SECTION = "Clark et al. 2020, section 3.2"
CONFIGURE = "google-research/electra, configure_pretraining.py"
BUILD = "google-research/electra, build_pretraining_dataset.py"
OPTIMIZATION = "google-research/electra, model/optimization.py"
HELPERS = "google-research/electra, pretrain/pretrain_helpers.py"
MODELING = "google-research/electra, model/modeling.py"
TRAINING_UTILS = "google-research/electra, util/training_utils.py"
KOELECTRA = "monologg/KoELECTRA, README.md"
KOELECTRA_WORDS = "monologg/KoELECTRA, docs/wordpiece_vocab.md"
AS_THE_PAPER = "as the paper, says monologg/KoELECTRA, README.md"
MINI = "examples/mini_pair of electra-rtd"
OURS = "electra-rtd, to try things out"

# In the order in which a recipe is shown.
GROUPS = {
    "Discriminator": (
        "embedding_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
    ),
    "Generator": ("generator_size", "generator_layers", "embedding_sharing"),
    "Vocabulary and text": ("vocab_size", "do_lower_case", "strip_accents", "max_seq_length", "packing"),
    "Objective": (
        "mask_prob",
        "replace_prob",
        "sampling_temperature",
        "gen_weight",
        "disc_weight",
        "generator_warmup",
    ),
    "Optimiser": (
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "weight_decay",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "max_grad_norm",
    ),
    "Length of the run": ("batch", "max_steps"),
}


@dataclass(frozen=True)
class Number:
    """A number of a recipe (or a word, or true or false), and where it was published.

    Args: value; source (`str`).
    """

    value: Any
    source: str


@dataclass(frozen=True)
class Preset:
    """A recipe.

    Args:
        about (`str`): what it is, in a few words.
        numbers (`dict` from `str` to [`Number`]): names as in `GROUPS`: of `ElectraConfig` (of the discriminator), of
            `ElectraRTDConfig`, of `TrainingArguments`, and
            `generator_size`: hidden size of the generator, as a share of the discriminator's;
            `generator_layers`: how many the generator has;
            `do_lower_case`, `strip_accents`: of the tokenizer; `vocab_size`: entries, at most;
            `packing`: `"yes"` or `"no"`;
            `batch`: sequences of a step, of all processes together.
        notes (`list[str]`): what a user should know about it, a sentence or two each.
    """

    about: str
    numbers: dict
    notes: tuple = ()

    def value(self, name):
        """One number. Args: name (`str`). Returns: its value."""
        return self.numbers[name].value


def _of(source, **values):
    return {name: Number(value, source) for name, value in values.items()}


# What all published sizes share.
_SHARED = {
    **_of(MODELING, max_position_embeddings=512),
    **_of(PAPER, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1),
    **_of(SECTION, embedding_sharing="tied"),
    **_of(CONFIGURE, vocab_size=30522, do_lower_case=True),
    **_of(BUILD, strip_accents=True, packing="yes"),
    **_of(HELPERS, replace_prob=0.85),
    **_of(CONFIGURE, sampling_temperature=1.0, gen_weight=1.0, disc_weight=50.0),
    **_of(PAPER, lr_scheduler_type="linear", warmup_steps=10_000, weight_decay=0.01),
    **_of(PAPER, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-6),
    **_of(OPTIMIZATION, max_grad_norm=1.0),
}
_SMALL = {
    **_of(PAPER, num_hidden_layers=12, hidden_size=256, intermediate_size=1024, num_attention_heads=4),
    **_of(PAPER, embedding_size=128),
    **_of(CONFIGURE, generator_layers=12),
}
_BASE = {
    **_of(PAPER, num_hidden_layers=12, hidden_size=768, intermediate_size=3072, num_attention_heads=12),
    **_of(PAPER, embedding_size=768),
    **_of(CONFIGURE, generator_layers=12),
}
_OF_KOELECTRA = {
    **{name: Number(number.value, AS_THE_PAPER) for name, number in _SHARED.items()},
    **_of(KOELECTRA, vocab_size=35_000, do_lower_case=False, max_seq_length=512),
    **_of(KOELECTRA_WORDS, strip_accents=False),
    **_of(BUILD, packing="yes"),
    **_of(AS_THE_PAPER, mask_prob=0.15),
}
_KOELECTRA_NOTE = (
    "The vocabulary of KoELECTRA v3 was made with a morphological analyser (Mecab). One that is trained here is plain "
    "WordPiece; for theirs: `tokenizer=monologg/koelectra-base-v3-discriminator`."
)

PRESETS = {
    "electra-small": Preset(
        "ELECTRA-Small of the paper: 14M parameters, four days on one V100",
        {
            **_SHARED,
            **_SMALL,
            **_of(PAPER, generator_size=1 / 4, mask_prob=0.15, learning_rate=5e-4, batch=128, max_steps=1_000_000),
            **_of(CONFIGURE, max_seq_length=128),
        },
        (
            "google/electra-small-* is another one, ELECTRA-Small++: 512 tokens, 4,000,000 steps, more text, and a "
            "generator as wide as the discriminator.",
        ),
    ),
    "electra-base": Preset(
        "ELECTRA-Base of the paper: 110M parameters",
        {
            **_SHARED,
            **_BASE,
            **_of(PAPER, generator_size=1 / 3, mask_prob=0.15, learning_rate=2e-4, batch=256, max_steps=766_000),
            **_of(CONFIGURE, max_seq_length=512),
        },
    ),
    "electra-large": Preset(
        "ELECTRA-400K of the paper: 335M parameters",
        {
            **_SHARED,
            **_of(PAPER, num_hidden_layers=24, hidden_size=1024, intermediate_size=4096, num_attention_heads=16),
            **_of(PAPER, embedding_size=1024),
            **_of(CONFIGURE, generator_layers=24),
            **_of(PAPER, generator_size=1 / 4, mask_prob=0.25, learning_rate=2e-4, batch=2048, max_steps=400_000),
            **_of(CONFIGURE, max_seq_length=512),
        },
        ("google/electra-large-* is ELECTRA-1.75M: the same, for 1,750,000 steps.",),
    ),
    "koelectra-small-v3": Preset(
        "KoELECTRA-Small v3: Korean, as ELECTRA-Small++",
        {
            **_OF_KOELECTRA,
            **{name: Number(number.value, KOELECTRA) for name, number in _SMALL.items()},
            **_of(TRAINING_UTILS, intermediate_size=1024),
            **_of(KOELECTRA, generator_size=1.0, learning_rate=5e-4, batch=512, max_steps=800_000),
        },
        (_KOELECTRA_NOTE,),
    ),
    "koelectra-base-v3": Preset(
        "KoELECTRA-Base v3: Korean",
        {
            **_OF_KOELECTRA,
            **{name: Number(number.value, KOELECTRA) for name, number in _BASE.items()},
            **_of(TRAINING_UTILS, intermediate_size=3072),
            **_of(KOELECTRA, generator_size=1 / 3, learning_rate=2e-4, batch=256, max_steps=1_500_000),
        },
        (_KOELECTRA_NOTE,),
    ),
    "mini": Preset(
        "The pair in this package, as far as one run can make it",
        {
            **_SHARED,
            **_of(MINI, num_hidden_layers=4, hidden_size=256, intermediate_size=1024, num_attention_heads=4),
            **_of(MINI, embedding_size=128, max_position_embeddings=128, generator_size=1.0, generator_layers=2),
            **_of(MINI, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, embedding_sharing="tied"),
            **_of(MINI, vocab_size=8000, do_lower_case=False, strip_accents=False, max_seq_length=128, packing="no"),
            **_of(MINI, mask_prob=0.15, replace_prob=0.85, sampling_temperature=1.0, gen_weight=1.0, disc_weight=50.0),
            **_of(MINI, generator_warmup=0.7143, learning_rate=7e-4, lr_scheduler_type="linear"),
            **_of(MINI, warmup_steps=300, weight_decay=0.01, adam_beta1=0.9, adam_beta2=0.98, adam_epsilon=1e-6),
            **_of(MINI, max_grad_norm=1.0, batch=80, max_steps=6300),
        },
        (
            "The pair in the package was made in three steps, with token embeddings from counts first and two rates "
            "(python -m examples.mini_pair in the repository). Here the generator learns alone for as many steps as "
            "its masked language model did, and then both learn, at one falling rate.",
        ),
    ),
    "tiny": Preset(
        "To try things out: it learns little",
        {
            **_SHARED,
            **_of(OURS, num_hidden_layers=3, hidden_size=128, intermediate_size=512, num_attention_heads=2),
            **_of(OURS, embedding_size=64, generator_size=1 / 2, generator_layers=3),
            **_of(OURS, vocab_size=8000, do_lower_case=False, strip_accents=False, max_seq_length=128),
            **_of(OURS, mask_prob=0.15, learning_rate=5e-4, warmup_steps=100, batch=32, max_steps=1000),
        },
    ),
}
# What stands before the comma in a source, and where it is.
SOURCES = {
    "Clark et al. 2020": "https://arxiv.org/abs/2003.10555",
    "google-research/electra": "https://github.com/google-research/electra",
    "monologg/KoELECTRA": "https://github.com/monologg/KoELECTRA",
}
