"""A pair and a tokenizer from nothing but text: the sizes of a preset, and a WordPiece vocabulary."""

from collections import Counter

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from tokenizers import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from transformers import ElectraConfig

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools.vocabulary import SPECIAL_TOKENS, word_piece
from ..modeling_electra_rtd import ElectraRTDForPreTraining
from ..pairing_electra_rtd import special_ids
from .presets import GROUPS, PRESETS


OF_THE_PAIR = ("embedding_sharing", "mask_prob", "replace_prob", "sampling_temperature", "gen_weight", "disc_weight")
SIZES = {"small": "electra-small", "base": "electra-base", "large": "electra-large"}  # as Google's code calls them


def build_pair(size, tokenizer, **config_overrides):
    """A randomly initialised pair with the sizes and the objective of a preset.

    Args:
        size (`str`): a preset's name, such as `"electra-small"`; also `"small"`, `"base"` or `"large"`.
        tokenizer (`PreTrainedTokenizerBase`): gives vocabulary size and special ids.
        **config_overrides: fields of `ElectraRTDConfig`.

    Returns:
        `ElectraRTDForPreTraining`

    Raises:
        ValueError: unknown size.
    """
    size = SIZES.get(size, size)
    if size not in PRESETS:
        raise ValueError(f"There is no size {size!r}: choose one of {', '.join([*PRESETS, *SIZES])}.")
    generator, discriminator = network_configs(PRESETS[size], len(tokenizer), tokenizer.pad_token_id)
    fields = {
        "mask_token_id": tokenizer.mask_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "special_token_ids": special_ids(tokenizer),
        **{name: PRESETS[size].value(name) for name in OF_THE_PAIR},
        **config_overrides,
    }
    config = ElectraRTDConfig.from_generator_discriminator_configs(generator, discriminator, **fields)
    return ElectraRTDForPreTraining(config)


def network_configs(preset, vocab_size, pad_token_id=0):
    """The two networks of a preset.

    Args: preset ([`Preset`]); vocab_size (`int`); pad_token_id (`int`).
    Returns: two `ElectraConfig`: of the generator, and of the discriminator.
    """
    fields = {name: preset.value(name) for name in GROUPS["Discriminator"]}
    common = {"vocab_size": vocab_size, "pad_token_id": pad_token_id}
    width = round(fields["hidden_size"] * preset.value("generator_size"))
    of_generator = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": preset.value("generator_layers"),
        "num_attention_heads": max(1, width // 64),  # heads of 64, as in Google's code
    }
    return ElectraConfig(**common, **(fields | of_generator)), ElectraConfig(**common, **fields)


def train_tokenizer(texts, vocab_size, *, do_lower_case=False, strip_accents=False):
    """Train a WordPiece vocabulary.

    Args:
        texts (collection of `str`): the domain's text; is gone through three times.
        vocab_size (`int`): entries at most.
        do_lower_case (`bool`), strip_accents (`bool`): what is done to a text first. Stripping marks takes Hangul
            syllables apart.

    Returns:
        `BertTokenizerFast`: the same for the same text, in every process and every run.
    """
    # One process does the work for all.
    how = {"lowercase": do_lower_case, "strip_accents": strip_accents}
    entries = [_train_vocabulary(texts, vocab_size, how) if PartialState().is_main_process else []]
    broadcast_object_list(entries)
    return word_piece(entries[0], do_lower_case=do_lower_case, strip_accents=strip_accents)


def _train_vocabulary(texts, vocab_size, how):
    alphabet = alphabet_of(_normalized(texts, how), vocab_size)

    def train(first_entries, size):
        trainer = BertWordPieceTokenizer(**how)
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


def _normalized(texts, how):
    """Texts as the tokenizer sees their characters, but for the spaces that it puts around some of them."""
    if not any(how.values()):
        return texts
    normalizer = BertNormalizer(clean_text=False, handle_chinese_chars=False, **how)
    return (normalizer.normalize_str(text) for text in texts)


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
