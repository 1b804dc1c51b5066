"""A pair and a tokenizer from nothing but text: the sizes of the paper, and a WordPiece vocabulary."""

from collections import Counter

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from tokenizers import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from transformers import ElectraConfig

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools.vocabulary import MAX_LENGTH, SPECIAL_TOKENS, word_piece
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from ..pairing_electra_rtd import special_ids


# Paper, table 6: small and base. `tiny` is for trying things out.
SIZES = {
    "tiny": {"embedding_size": 64, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2},
    "small": {"embedding_size": 128, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4},
    "base": {"embedding_size": 768, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}
GENERATOR_WIDTH = {"tiny": 1 / 2, "small": 1 / 4, "base": 1 / 3}  # of the discriminator's


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
        "special_token_ids": special_ids(tokenizer),
        "embedding_sharing": "tied",
        **config_overrides,
    }
    config = ElectraRTDConfig.from_generator_discriminator_configs(generator, discriminator, **fields)
    return ElectraRTDForPreTraining(config)


def train_tokenizer(texts, vocab_size):
    """Train a cased WordPiece vocabulary.

    Args:
        texts (collection of `str`): the domain's text; is gone through three times.
        vocab_size (`int`): entries at most.

    Returns:
        `BertTokenizerFast`: the same for the same text, in every process and every run.
    """
    # One process does the work for all.
    entries = [_train_vocabulary(texts, vocab_size) if PartialState().is_main_process else []]
    broadcast_object_list(entries)
    # Stripping marks would take Hangul syllables apart.
    return word_piece(entries[0], do_lower_case=False, strip_accents=False)


def _train_vocabulary(texts, vocab_size):
    alphabet = alphabet_of(texts, vocab_size)

    def train(first_entries, size):
        trainer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
        trainer.train_from_iterator(
            texts,
            vocab_size=size,
            special_tokens=first_entries,
            min_frequency=2,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=size > 0,  # the bars of one training are enough
        )
        return sorted(set(trainer.get_vocab()) - set(SPECIAL_TOKENS))

    # Of two equally frequent pairs the one whose entries have the lower numbers is merged, and `tokenizers` numbers
    # "##x" in the order of a hash map, another in each process (huggingface/tokenizers#1794). So the first training,
    # without merges, says which there are, and the second one has them numbered.
    characters = train(SPECIAL_TOKENS, 0)
    return SPECIAL_TOKENS + train(SPECIAL_TOKENS + characters, vocab_size)


class TextsOf:
    """The texts of a data set, which can be gone through again; in batches, a hundred times as fast as its column.

    Args:
        dataset (`datasets.Dataset`): with the column `text`.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        for batch in self.dataset.iter(1000):
            yield from batch["text"]


def alphabet_of(texts, vocab_size):
    """Which characters get entries: the most frequent ones, all where these fill nine tenths of a vocabulary at most.

    A word with a character that has no entry is `[UNK]`, while a word without pieces is only longer. Of 60,000 Korean
    reviews with 2,372 characters, 18 % have such a word with 1,000 characters, and 0.013 % with all.

    Args:
        texts (iterable of `str`)
        vocab_size (`int`)

    Returns:
        `list[str]`: equally frequent ones in the order of the text.
    """
    counts: Counter = Counter()
    within: set = set()  # what stands behind another character has a second entry, for there
    for text in texts:
        counts.update(text)
        within.update(*(word[1:] for word in text.split()))
    alone = BertNormalizer(lowercase=False)  # puts spaces around a Chinese character: that is a word by itself
    alphabet: list[str] = []
    room = 0.9 * vocab_size - len(SPECIAL_TOKENS)
    for character, _ in counts.most_common():
        normal = alone.normalize_str(character)
        if not normal.strip():
            continue  # spaces, and what is taken out of a text
        room -= 2 if character in within and normal == character else 1
        if room < 0 and alphabet:
            break
        alphabet.append(character)
    return alphabet


def _electra_config(vocab_size, hidden_size, **fields):
    return ElectraConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=MAX_LENGTH,
        **fields,
    )
