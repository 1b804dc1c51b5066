"""Where a run starts: two networks, a checkpoint or random weights, and the tokenizer that goes with them."""

import shutil

import pytest
import torch
from transformers import AutoTokenizer

from electra_rtd.hub_tools import continuation_tokens
from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.vocabulary import SPECIAL_TOKENS
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.from_scratch import train_tokenizer
from electra_rtd.train_tools.pretrain_arguments import PretrainArguments
from electra_rtd.train_tools.start import freeze_generator, load_start


SAME = {"hidden_size": 32, "num_attention_heads": 4}  # widths that two networks can share embeddings with


def start(**named):
    """The model and the tokenizer of a run that begins."""
    kind = PretrainArguments if "preset" in named else AdaptArguments
    return load_start(kind(train_file=["text.txt"], **named), None, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"generator": "g"}, r"`generator=g` is for a start from a `discriminator`: give `discriminator=D`"),
        ({"checkpoint": "c", "generator_layers": 2}, r"`generator_layers=2` is for a start .*, or leave `generator_l"),
        ({"discriminator": "d", "generator_layers": 0}, r"`generator_layers` is 0: it must be 1 or more"),
        ({"discriminator": "d", "freeze": "generator"}, r"`freeze=generator` .*new head.*`generator_warmup=0.2`"),
        ({"discriminator": "d", "checkpoint": "c"}, r"one start, not `discriminator` and `checkpoint`"),
        ({}, r"one start, not none: `discriminator=D` \(with.*random weights: `electra-rtd pretrain`"),
        ({"checkpoint": "c", "train_file": None}, r"`train_file=FILES`"),
    ],
)
def test_one_start_and_a_text_are_needed(fields, message):
    with pytest.raises(ValueError, match=message):
        AdaptArguments(**{"train_file": ["text.txt"], **fields})


def test_without_a_tokenizer_named_those_of_the_two_networks_are_compared(pair_folders, tmp_path):
    """`tests/model/test_model.py` has all that does not go together."""
    shutil.copytree(pair_folders[1], tmp_path / "shuffled")  # of equal size, but two words have changed places
    vocabulary = (tmp_path / "shuffled" / "tokenizer.json").read_text(encoding="utf-8")
    vocabulary = vocabulary.replace('"나":', '"_":').replace('"책":', '"나":').replace('"_":', '"책":')
    (tmp_path / "shuffled" / "tokenizer.json").write_text(vocabulary, encoding="utf-8")
    with pytest.raises(ValueError, match=r"(?s)different vocabularies.*80 and 80 tokens.*one release"):
        start(generator=str(pair_folders[0]), discriminator="shuffled")


def test_only_a_pair_can_be_gone_on_with(pair_folders):
    with pytest.raises(ValueError, match=r"type 'electra', not 'electra_rtd'.*--generator G"):
        start(checkpoint=str(pair_folders[1]))
    with pytest.raises((ValueError, OSError), match="nowhere"):
        start(checkpoint="./nowhere")


def test_a_sharing_that_there_is_not_is_refused(pair_folders):
    with pytest.raises(ValueError, match='"none", "tied", "gdes"'):
        start(generator=str(pair_folders[0]), discriminator=str(pair_folders[1]), embedding_sharing="es")


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [("tied", "none"), ("none", "tied"), ("tied", "gdes"), ("gdes", "none"), ("gdes", "tied"), ("none", "gdes")],
)
def test_a_pair_goes_on_with_another_sharing_than_it_was_saved_with(saved, wanted, make_model, tokenizer, tmp_path):
    """Neither a missing table, nor two that stay apart without a word."""
    pair = make_model(embedding_sharing=saved, generator=SAME, discriminator=SAME)
    pair.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = start(checkpoint=str(tmp_path), embedding_sharing=wanted)
    for name, weights in pair.discriminator.state_dict().items():  # what users keep
        torch.testing.assert_close(model.discriminator.state_dict()[name], weights, rtol=0, atol=1e-6)
        assert wanted == "gdes" or torch.equal(model.discriminator.state_dict()[name], weights), name
    tables = [network.get_input_embeddings().weight for network in (model.generator, model.discriminator)]
    assert (tables[0] is tables[1]) == (wanted == "tied")
    assert model.config.embedding_sharing == wanted


def test_a_tokenizer_beside_the_generator_alone_is_enough(pair_folders, save_pair, tmp_path):
    bare = save_pair(tmp_path / "bare")[1]
    _, tokenizer = start(generator=str(pair_folders[0]), discriminator=str(bare))
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(pair_folders[0]).get_vocab()


def test_a_tokenizer_that_does_not_fit_the_checkpoint_is_refused(saved_pair, make_tokenizer):
    make_tokenizer(extra_words=["강아지"]).save_pretrained("larger")
    with pytest.raises(ValueError, match=r"does not fit .* has 81 tokens.*checkpoint 80 and.*Leave `tokenizer` out"):
        start(checkpoint=str(saved_pair), tokenizer="larger")
    model, tokenizer = start(checkpoint=str(saved_pair))
    assert len(tokenizer) == model.config.vocab_size == 80


def test_a_bare_vocabulary_is_a_tokenizer(tmp_path):
    (tmp_path / "vocab").mkdir()
    entries = [*SPECIAL_TOKENS, "책", "비", "##다", "온", "Python"]
    (tmp_path / "vocab" / "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
    model, tokenizer = start(preset="tiny", tokenizer="vocab")
    tokenizer.save_pretrained("saved")
    read = AutoTokenizer.from_pretrained("saved")("책 온다 Python python")["input_ids"]
    assert read == [2, 5, 8, 7, 9, 1, 3]  # cased, as the vocabulary is
    assert model.config.vocab_size == 10 and model.config.mask_token_id == 4


@pytest.mark.parametrize(
    ("entries", "text", "tokens"),
    [
        (["책", "비"], "책 비", ["책", "비"]),  # nothing says that it is uncased, and lower case would break Hangul
        (["책", "python"], "책 Python", ["책", "python"]),
        (["책", "Python"], "책 Python python", ["책", "Python", "[UNK]"]),
        (["python", "cafe"], "Python café", ["python", "cafe"]),
    ],
)
def test_a_bare_vocabulary_is_uncased_only_where_it_says_so(entries, text, tokens, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *entries]) + "\n", encoding="utf-8")
    assert load_tokenizer(tmp_path / "vocab.txt").tokenize(text) == tokens


def test_a_trained_vocabulary_finds_the_korean_words_it_was_trained_on():
    tokenizer = train_tokenizer(["오늘 책을 읽는다"] * 9, vocab_size=100)
    assert tokenizer.tokenize("오늘 책을 읽는다") == ["오늘", "책을", "읽는다"]


def test_a_frozen_generator_samples_without_dropout_and_nothing_else_changes(make_model, make_batch):
    model, batch = make_model(dropout=0.3).train(), make_batch()
    freeze_generator(model)
    one, other = (model.generator(**batch).logits for _ in range(2))
    assert torch.equal(one, other)
    one, other = (model.discriminator(**batch).logits for _ in range(2))
    assert not torch.equal(one, other)
    assert model.config.generator_config.hidden_dropout_prob == 0.3, "what is saved says what it said"
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == [
        f"generator.{name}" for name, _ in model.generator.named_parameters()
    ]


# ---- Corruption ----


def pair_of(folders):
    return {"generator": str(folders[0]), "discriminator": str(folders[1])}


@pytest.mark.parametrize("kind", ["pair", "checkpoint", "scratch"])
def test_each_start_takes_the_switches_of_corruption_and_knows_its_words(kind, pair_folders, saved_pair, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "책", "##다"]) + "\n", encoding="utf-8")
    starts = {
        "pair": pair_of(pair_folders),
        "checkpoint": {"checkpoint": str(saved_pair)},
        "scratch": {"preset": "tiny", "tokenizer": str(tmp_path / "vocab.txt")},
    }
    model, tokenizer = start(**starts[kind], exclude_original=True, mask_whole_words=True)
    assert model.config.exclude_original is model.config.mask_whole_words is True
    number = int(model.config.continuation_tokens, 16)
    continued = [token for token, token_id in tokenizer.get_vocab().items() if number >> token_id & 1]
    assert continued and all(token.startswith("##") for token in continued)


def test_a_checkpoints_switches_stay_and_can_be_turned_off(make_model, tokenizer, tmp_path):
    words = continuation_tokens(tokenizer)
    make_model(exclude_original=True, mask_whole_words=True, continuation_tokens=words).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = start(checkpoint=str(tmp_path))
    assert model.config.exclude_original and model.config.mask_whole_words
    model, _ = start(checkpoint=str(tmp_path), exclude_original=False, mask_whole_words=False)
    assert not model.config.exclude_original and not model.config.mask_whole_words


def test_whole_words_of_a_vocabulary_without_pieces_are_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "책", "비"]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"`mask_whole_words` is for WordPiece vocabularies.* has 0 such tokens of 7"):
        start(preset="tiny", tokenizer=str(tmp_path / "vocab.txt"), mask_whole_words=True)
