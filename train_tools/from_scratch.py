"""A pair and a tokenizer from nothing but text: the sizes of the paper, and a WordPiece vocabulary."""

import re
import tempfile
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast, ElectraConfig

from ..configuration_electra_rtd import ElectraRTDConfig
from ..modeling_electra_rtd import ElectraRTDForPreTraining, find_tokenizer


# Paper, table 6: small and base. `tiny` is for trying things out.
SIZES = {
    "tiny": {"embedding_size": 64, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2},
    "small": {"embedding_size": 128, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4},
    "base": {"embedding_size": 768, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}
GENERATOR_WIDTH = {"tiny": 1 / 2, "small": 1 / 4, "base": 1 / 3}  # of the discriminator's

HANGUL = re.compile("[가-힣]")
MAX_LENGTH = 512  # tokens: the positions that stock ELECTRA has
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def build_pair(size, tokenizer, **config_overrides):
    """A randomly initialised pair with tied embeddings, as in the paper (section 3.2).

    Args:
        size (`str`): `"tiny"`, `"small"` or `"base"`.
        tokenizer (`PreTrainedTokenizerBase`): gives vocabulary size and special ids.
        **config_overrides: fields of `ElectraRTDConfig`.

    Returns:
        `ElectraRTDForPreTraining`

    Raises:
        ValueError: unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"There is no size {size!r}: choose one of {', '.join(SIZES)}.")
    discriminator = _electra_config(len(tokenizer), **SIZES[size])
    width = round(discriminator.hidden_size * GENERATOR_WIDTH[size])
    generator = _electra_config(
        len(tokenizer),
        embedding_size=discriminator.embedding_size,
        hidden_size=width,
        num_hidden_layers=discriminator.num_hidden_layers,
        num_attention_heads=max(1, width // 64),  # heads of 64, as in Google's code
    )
    fields = {
        "mask_token_id": tokenizer.mask_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "special_token_ids": sorted(set(tokenizer.all_special_ids)),
        "embedding_sharing": "tied",
        **config_overrides,
    }
    config = ElectraRTDConfig.from_generator_discriminator_configs(generator, discriminator, **fields)
    return ElectraRTDForPreTraining(config)


def train_tokenizer(texts, vocab_size):
    """Train a cased WordPiece vocabulary.

    Args:
        texts (iterable of `str`): the domain's text.
        vocab_size (`int`): entries at most, unless the text has more characters than that.

    Returns:
        `BertTokenizerFast`: the same in every process.
    """
    # Which of two equally frequent pieces comes in is left to chance, so one process chooses for all.
    entries = [_train_vocabulary(texts, vocab_size) if PartialState().is_main_process else []]
    broadcast_object_list(entries)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text("\n".join(entries[0]) + "\n", encoding="utf-8")
        return _word_piece(folder, do_lower_case=False)


def _train_vocabulary(texts, vocab_size):
    # Stripping accents would take Hangul syllables apart.
    trainer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    trainer.train_from_iterator(texts, vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, min_frequency=2)
    return SPECIAL_TOKENS + sorted(set(trainer.get_vocab()) - set(SPECIAL_TOKENS))


def load_tokenizer(source):
    """A tokenizer from a Hub id, a folder, or a bare WordPiece vocabulary.

    A vocabulary alone does not say whether it is cased. It is taken as uncased where it has Latin letters and none of
    them is a capital.

    Args:
        source (`str` or path): a Hub id, a folder with a tokenizer, or a `vocab.txt` or a folder with nothing else.

    Returns:
        `PreTrainedTokenizerFast`

    Raises:
        ValueError: there is no tokenizer, a slow one, or one without mask or padding token.
    """
    path = Path(source)
    folder = path.parent if path.name == "vocab.txt" else path
    if (folder / "vocab.txt").is_file() and not (folder / "tokenizer_config.json").is_file():
        entries = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        letters = "".join(entry for entry in entries if not entry.startswith("["))
        uncased = re.search("[a-z]", letters) is not None and letters == letters.lower()
        tokenizer = _word_piece(folder, do_lower_case=uncased, strip_accents=False if HANGUL.search(letters) else None)
    else:
        tokenizer = find_tokenizer(source)
    if tokenizer is None:
        raise ValueError(f"{source} holds no tokenizer (tokenizer.json or vocab.txt). Name one with --tokenizer.")
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer of {source} is a slow one ({type(tokenizer).__name__}): a fast one is needed."
        )
    for name in ("mask_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise ValueError(
                f"The tokenizer of {source} has no {name.replace('_', ' ')}. Take the one that the pair was trained "
                "with: an ELECTRA tokenizer has [PAD] and [MASK]."
            )
    return tokenizer


def _word_piece(folder, do_lower_case, strip_accents=None):
    # From a folder: the keyword for the file is not the same in all releases, and the wrong one is ignored.
    # Lower case strips accents by default, which takes Hangul syllables apart: none would be found any more.
    return BertTokenizerFast.from_pretrained(
        folder, do_lower_case=do_lower_case, strip_accents=strip_accents, model_max_length=MAX_LENGTH
    )


def _electra_config(vocab_size, hidden_size, **fields):
    return ElectraConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=MAX_LENGTH,
        **fields,
    )
