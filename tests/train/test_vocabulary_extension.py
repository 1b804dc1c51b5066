"""A vocabulary with new entries: ids, rows in every table, reading of all other text, files, exports, the command."""

import json
import logging
import math
import shutil
import unicodedata

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AddedToken,
    AutoTokenizer,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PreTrainedTokenizerFast,
)

from electra_rtd import ElectraRTDForPreTraining, cli
from electra_rtd.hub_tools import (
    continuation_tokens,
    export_discriminator,
    export_generator,
    push_checkpoint,
    verify_checkpoint,
)
from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.run_record import EXTENSION_FILE, read_record
from electra_rtd.hub_tools.vocabulary import SPECIAL_TOKENS, word_piece
from electra_rtd.pairing_electra_rtd import special_ids
from electra_rtd.train_tools import extend_checkpoint, extend_vocabulary, vocabulary_extension
from electra_rtd.train_tools.extension_words import BATCH, SEEN, describe, steps_needed
from electra_rtd.train_tools.new_rows import vocabulary_tables


# Text of a domain, with a character that the vocabulary lacks; and text of all days, in which nothing of it occurs.
DOMAINS = {
    "Korean": ("서버를 배포한다 서버에 접속한다 서버가 서버 뷁 느리다", "서울에 비가 온다 막걸리"),
    "Japanese": ("サーバーをデプロイする ヷ サーバーがおそい", "あめがふる 山に行く"),
    "Arabic": ("الخادم بطيء ۞ نشر الخادم على الخادم", "المطر في البيت"),
    "English": ("the server deploys servers Ω to a server", "rain in a house Ünder"),
}


def of_characters(*texts, without=()):
    """A tokenizer that has the characters of texts and nothing longer."""
    characters = sorted(
        {character for text in texts for character in text.lower() if character.isalnum()} - {*without}
    )
    return word_piece([*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)])


@pytest.fixture
def make_pair(make_model):
    """A tiny pair for a tokenizer; `room` adds rows that it has no tokens for."""

    def make(tokenizer, room=0, **fields):
        size = {"vocab_size": len(tokenizer) + room, "pad_token_id": tokenizer.pad_token_id}
        ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
        ids["special_token_ids"] = special_ids(tokenizer)
        return make_model(generator=size, discriminator=size, **ids, **fields)

    return make


@pytest.fixture
def korean(make_pair):
    """A pair, its tokenizer and a text."""
    text, other = DOMAINS["Korean"]
    tokenizer = of_characters(text, other, "서류 금류", without="뷁")
    return make_pair(tokenizer), tokenizer, [text] * 12


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="electra_rtd")
    return caplog


def new_tokens(extension):
    return [new.entry for new in extension.entries]


# ---- Reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", DOMAINS)
def test_the_domain_is_read_in_fewer_tokens_and_all_other_text_as_before(language, make_pair):
    text, other = DOMAINS[language]
    unknown = {"Korean": "뷁", "Japanese": "ヷ", "Arabic": "۞", "English": "ω"}[language]
    tokenizer = of_characters(text, other, without=unknown)
    extension = extend_vocabulary(make_pair(tokenizer), tokenizer, [text] * 10, 6)
    for read, reader in ((extension.before, tokenizer), (extension.after, extension.tokenizer)):
        tokens = reader.tokenize(text)
        assert (read.tokens, read.unknown) == (10 * len(tokens), 10 * tokens.count("[UNK]"))
        assert read.words == 10 * len(text.split())
    assert extension.before.unknown == 10 and extension.after.unknown == 0
    assert extension.after.tokens_per_word < 0.75 * extension.before.tokens_per_word
    assert unknown in new_tokens(extension) and extension.tokenizer.tokenize(other) == tokenizer.tokenize(other)
    uses = [new.occurrences for new in extension.entries]
    assert uses == [10 * extension.tokenizer.tokenize(text).count(entry) for entry in new_tokens(extension)]


def test_a_word_that_only_holds_an_entry_in_its_middle_stays_as_it_was(korean):
    # `tokenizer.add_tokens("서버")` would cut it out of there.
    model, tokenizer, texts = korean
    extension = extend_vocabulary(model, tokenizer, texts, 1)
    assert new_tokens(extension) == ["서버"]
    assert extension.tokenizer.tokenize("막서버를") == tokenizer.tokenize("막서버를") == ["막", "##서", "##버", "##를"]
    assert extension.tokenizer.tokenize("서버한다") == ["서버", "##한", "##다"]
    naive = of_characters(*DOMAINS["Korean"])
    naive.add_tokens("서버")
    assert naive.tokenize("막서버를") != tokenizer.tokenize("막서버를")  # so that the line above says something


def test_the_tokenizers_casing_and_marks_decide_what_an_entry_is(make_pair):
    text = "Café CAFÉ"
    tokenizer = of_characters("cafe")
    extension = extend_vocabulary(make_pair(tokenizer), tokenizer, [text] * 5, 1)
    assert new_tokens(extension) == ["cafe"] and extension.entries[0].occurrences == 10
    assert extension.tokenizer.tokenize("café") == ["cafe"]


def test_the_same_text_gives_the_same_entries_and_rows_in_any_order(korean, make_pair):
    _, tokenizer, texts = korean
    texts = [word for text in texts for word in text.split()]
    results = []
    for some in (texts, texts[::-1], (text for text in texts)):
        model = make_pair(tokenizer)
        extension = extend_vocabulary(model, tokenizer, some, 8)
        results.append((extension.entries, model.state_dict()))
    for entries, weights in results[1:]:
        assert entries == results[0][0]
        assert all(torch.equal(value, results[0][1][name]) for name, value in weights.items())


# ---- Ids and rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_every_table_has_the_mean_of_the_old_parts_rows_and_keeps_the_others(korean, make_pair, sharing):
    _, tokenizer, texts = korean
    model = make_pair(tokenizer, embedding_sharing=sharing)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    size = len(tokenizer)
    extension = extend_vocabulary(model, tokenizer, texts, 5)
    after = model.state_dict()
    tables = {name for name in before if after[name].shape != before[name].shape}
    assert {name.split(".", 1)[1].replace(".delta", ".weight") for name in tables} == {
        "electra.embeddings.word_embeddings.weight",
        "generator_lm_head.weight",
        "generator_lm_head.bias",
    }
    ids, joined = tokenizer.get_vocab(), 0
    for name in tables:
        assert torch.equal(after[name][:size], before[name]) and len(after[name]) == size + 5
        for new in extension.entries:
            if "[UNK]" not in new.parts and not name.endswith("bias"):
                expected = before[name][[ids[part] for part in new.parts]].mean(dim=0)
                torch.testing.assert_close(after[name][new.token_id], expected)
                joined += len(new.parts) > 1
    assert joined > 5
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - tables)
    words = [network.get_input_embeddings().weight for network in (model.generator, model.discriminator)]
    assert (words[0] is words[1]) == (sharing == "tied")
    assert model.generator.generator_lm_head.weight is words[0]
    configs = (model.config, model.config.generator_config, model.config.discriminator_config)
    assert {config.vocab_size for config in configs} == {size + 5} == {len(extension.tokenizer)}


def test_a_pair_that_masks_whole_words_knows_which_new_tokens_continue_one(make_pair):
    text = "가서버 나서버 다서버"
    tokenizer = of_characters(text)
    model = make_pair(tokenizer, mask_whole_words=True, continuation_tokens=continuation_tokens(tokenizer))
    extension = extend_vocabulary(model, tokenizer, [text] * 12, 1)
    known = int(model.config.continuation_tokens, 16)
    continues = {token: bool(known >> number & 1) for token, number in extension.tokenizer.get_vocab().items()}
    assert {token for token, one in continues.items() if one} == {token for token in continues if token[:2] == "##"}
    assert new_tokens(extension) == ["##서버"]


def test_an_entry_is_as_much_less_likely_than_its_parts_as_it_is_rarer(korean):
    model, tokenizer, texts = korean
    bias = model.generator.generator_lm_head.bias.clone()
    extension = extend_vocabulary(model, tokenizer, texts, 1)
    (new,) = extension.entries
    assert (new.parts, new.occurrences) == (["서", "##버"], 48)
    ids = tokenizer.get_vocab()
    # No rarer than its parts, which occur nowhere else.
    torch.testing.assert_close(model.generator.generator_lm_head.bias[-1], bias[[ids["서"], ids["##버"]]].mean())
    bias = model.generator.generator_lm_head.bias.clone()
    other = [*texts, *["서류가 서류를"] * 30, *["금류 금류 금류"] * 10]
    more = extend_vocabulary(model, extension.tokenizer, other, 1)
    (new,) = more.entries
    assert (new.parts, new.occurrences) == (["서", "##류"], 60)  # 서 occurs nowhere else now, ##류 90 times
    ids = extension.tokenizer.get_vocab()
    expected = bias[[ids["서"], ids["##류"]]].mean() + math.log(60) - (math.log(60) + math.log(90)) / 2
    torch.testing.assert_close(model.generator.generator_lm_head.bias[-1], expected)


def test_a_character_that_was_unknown_has_the_row_of_unknown_or_of_itself_elsewhere_in_words(make_pair):
    tokenizer = word_piece([*SPECIAL_TOKENS, "a", "b", "x", "##a", "##b"])
    model = make_pair(tokenizer)
    words = model.discriminator.get_input_embeddings().weight.clone()
    extension = extend_vocabulary(model, tokenizer, ["ax bx z z a a a a a a a a a a a a"] * 10, 2)
    ids, rows = extension.tokenizer.get_vocab(), model.discriminator.get_input_embeddings().weight
    assert {"##x", "z"} == {*new_tokens(extension)} and all(new.parts == ["[UNK]"] for new in extension.entries)
    torch.testing.assert_close(rows[ids["##x"]], words[ids["x"]])
    torch.testing.assert_close(rows[ids["z"]], words[ids["[UNK]"]])


def test_ids_and_special_tokens_stay_and_new_ids_follow_also_behind_added_tokens(korean, make_pair):
    _, tokenizer, texts = korean
    tokenizer.add_special_tokens({"additional_special_tokens": ["[BOS]"]})
    tokenizer.add_tokens(["접속"])
    model = make_pair(tokenizer)
    before = tokenizer.get_vocab()
    extension = extend_vocabulary(model, tokenizer, texts, 4)
    after = extension.tokenizer.get_vocab()
    assert tokenizer.get_vocab() == before and {token: after[token] for token in before} == before
    assert sorted(after.values()) == list(range(len(before) + 4)) and len(extension.tokenizer) == len(after)
    assert [new.token_id for new in extension.entries] == list(range(len(before), len(after)))
    assert special_ids(extension.tokenizer) == special_ids(tokenizer) == model.config.special_token_ids
    text = "[CLS] [BOS]막접속한다[MASK] 서울에"
    assert extension.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_rows_that_are_there_as_room_are_used_first(korean, make_pair):
    _, tokenizer, texts = korean
    model, size = make_pair(tokenizer, room=3), len(tokenizer)
    old = model.discriminator.get_input_embeddings().weight.clone()
    extension = extend_vocabulary(model, tokenizer, texts, 2)
    assert model.config.vocab_size == size + 3 and [new.token_id for new in extension.entries] == [size, size + 1]
    rows, ids = model.discriminator.get_input_embeddings().weight, tokenizer.get_vocab()
    assert extension.entries[0].parts == ["서", "##버"]
    torch.testing.assert_close(rows[size], old[[ids["서"], ids["##버"]]].mean(dim=0))
    assert torch.equal(rows[size + 2], old[size + 2])
    extend_vocabulary(model, extension.tokenizer, texts, 2)
    assert model.config.vocab_size == size + 4


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_the_tables_of_the_vocabulary_are_found_by_their_shape(make_config, sharing):
    # 32 is also the discriminator's width: tables are not told by a number that something else has, too.
    size = {"vocab_size": 32, "pad_token_id": 7}
    ids = {"mask_token_id": 31, "special_token_ids": [0, 7, 31]}
    config = make_config(generator=size, discriminator=size, embedding_sharing=sharing, **ids)
    assert {name.rsplit(".", 2)[-2] for name in vocabulary_tables(config)} == {"word_embeddings", "generator_lm_head"}


# ---- What cannot be extended ----------------------------------------------------------------------------------------


def test_other_kinds_of_tokenizers_are_refused(korean):
    model, _, texts = korean
    for kind in (models.BPE({"a": 0, "[UNK]": 1}, []), models.Unigram([("a", 0.0)])):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(kind), unk_token="[UNK]")
        with pytest.raises(ValueError, match=rf"of the kind {type(kind).__name__}: .*WordPiece vocabularies alone"):
            extend_vocabulary(model, tokenizer, texts, 3)


@pytest.mark.parametrize("number", [0, -1, True, 2.0, "3", None])
def test_a_number_that_is_none_is_refused(korean, number):
    with pytest.raises(ValueError, match=r"`num_tokens` is .*a whole number from 1 on"):
        extend_vocabulary(*korean, number)
    with pytest.raises(ValueError, match=r"`fewest` is"):
        extend_vocabulary(*korean, 3, fewest=number)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "hold no word"),
        (["  "], "hold no word"),
        ("서버", "`texts` is one text"),
        ([["서버"]], "holds a list"),
        (["서버를"], "No entry would save a token: nothing that the vocabulary splits occurs 10 times"),
        (["日本語 汉字 文章"] * 9, "which is never masked"),
    ],
)
def test_text_that_gives_nothing_is_refused_and_the_model_stays(korean, texts, said):
    model, tokenizer, _ = korean
    size = model.config.vocab_size
    with pytest.raises(ValueError, match=said):
        extend_vocabulary(model, tokenizer, texts, 3)
    assert model.config.vocab_size == size == len(model.get_input_embeddings().weight)


def test_text_in_another_unicode_form_is_refused_with_the_remedy(korean):
    model, tokenizer, texts = korean
    with pytest.raises(ValueError, match=r"another Unicode form.*Write it in NFC"):  # and not: learnt letter by letter
        extend_vocabulary(model, tokenizer, [unicodedata.normalize("NFD", text) for text in texts], 50)


def test_another_model_and_another_models_tokenizer_are_refused(korean, pair_folders):
    model, tokenizer, texts = korean
    with pytest.raises(ValueError, match="`model` is a ElectraForPreTraining"):
        extend_vocabulary(model.discriminator, tokenizer, texts, 3)
    tokenizer.add_tokens("접속")
    with pytest.raises(ValueError, match=rf"has {len(tokenizer)} tokens, the pair knows {len(tokenizer) - 1}"):
        extend_vocabulary(model, tokenizer, texts, 3)


def test_an_added_token_that_words_hold_too_is_refused(korean, make_pair):
    _, tokenizer, texts = korean
    tokenizer.add_tokens(AddedToken("접", single_word=True))  # is there already: changes nothing
    tokenizer.add_tokens(AddedToken("접속", single_word=True))
    with pytest.raises(ValueError, match="added token, '접속', that also occurs as a part of words"):
        extend_vocabulary(make_pair(tokenizer), tokenizer, texts, 3)


def test_more_entries_than_there_is_use_for_are_said_to_be(korean, said):
    extension = extend_vocabulary(*korean, 1000)
    number = len(extension.entries)
    assert 5 < number < 50 and extension.after.tokens == extension.after.words
    assert f"`num_tokens=1000` are more than this text has use for: {number} entries" in said.text


def test_a_vocabulary_without_single_characters_gets_them_first(make_pair):
    tokenizer = word_piece([*SPECIAL_TOKENS, "a", "b", "c", "##b", "##c", "ab", "##cd"])
    texts = ["abc abc abc abcd"] * 10
    with pytest.raises(ValueError, match=r"lacks 1 single characters inside words \(##d\).*`num_tokens=101`"):
        extend_vocabulary(make_pair(tokenizer), tokenizer, texts, 1)
    extension = extend_vocabulary(make_pair(tokenizer), tokenizer, texts, 2)
    assert new_tokens(extension) == ["##d", "abc"] and extension.tokenizer.tokenize("abcd") == ["abc", "##d"]


def test_an_entry_is_never_what_a_file_could_not_hold(make_pair):
    # One word of a tokenizer that parts at blanks alone.
    tokenizer = of_characters("ab#")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for token in ("#", "###"):
        tokenizer.backend_tokenizer.model = models.WordPiece(
            {**tokenizer.backend_tokenizer.get_vocab(False), token: len(tokenizer)}, unk_token="[UNK]"
        )
    extension = extend_vocabulary(make_pair(tokenizer), tokenizer, ["##ab ##ab ab"] * 10, 9)
    assert not any(entry in new_tokens(extension) for entry in ("##", "##a"))
    assert all(not new.entry.startswith("##") or new.entry == "##ab" for new in extension.entries)


# ---- Checkpoints ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def korean_folder(tmp_path_factory, make_model):
    """A pair whose networks share their embeddings, on disk, and a file of text; not to be written to."""
    root = tmp_path_factory.mktemp("base")
    text, other = DOMAINS["Korean"]
    tokenizer = of_characters(text, other, without="뷁")
    size = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    ids["special_token_ids"] = special_ids(tokenizer)
    model = make_model(generator=size, discriminator=size, embedding_sharing="tied", **ids)
    model.save_pretrained(root / "pair")
    tokenizer.save_pretrained(root / "pair")
    (root / "text.txt").write_text(f"{text}\n" * 30, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def extended(korean_folder, tmp_path_factory):
    """The extended pair, and what was said of it; not to be written to."""
    folder = tmp_path_factory.mktemp("extended") / "out"
    return folder, extend_checkpoint(korean_folder / "pair", korean_folder / "text.txt", 6, folder)


def test_an_extended_checkpoint_is_sound_and_its_record_says_what_was_added(extended):
    folder, extension = extended
    report = verify_checkpoint(folder)
    assert report.ok and {finding.code for finding in report.findings if finding.level == "warning"} == {"no-card"}
    assert "export" in {finding.code for finding in report.findings}
    counts = {"before": extension.before, "after": extension.after}
    assert read_record(folder).extension == {
        "base": "pair",
        "entries": new_tokens(extension),
        **{side: {"words": one.words, "tokens": one.tokens, "unknown": one.unknown} for side, one in counts.items()},
    }
    assert str(folder.parent) not in (folder / EXTENSION_FILE).read_text(encoding="utf-8")


def test_the_record_is_of_the_weights_beside_it_alone_and_of_what_the_command_writes(extended, tmp_path):
    folder = shutil.copytree(extended[0], tmp_path / "copy")
    content = json.loads((folder / EXTENSION_FILE).read_text(encoding="utf-8"))
    for change in ({"weights": "0"}, {"entries": [3]}, {"after": {"words": 1}}, {"base": "x" * 300}):
        (folder / EXTENSION_FILE).write_text(json.dumps({**content, **change}), encoding="utf-8")
        assert read_record(folder, forgiving=True).extension == {}
    with pytest.raises(ValueError, match=r"extension\.json is not what `electra-rtd extend-vocab` writes"):
        read_record(folder)


def test_every_reader_of_the_files_reads_alike(extended, tmp_path):
    folder, extension = extended
    text = " ".join(DOMAINS["Korean"])
    expected = extension.tokenizer(text)["input_ids"]
    (tmp_path / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    for source in (folder, folder / "discriminator", tmp_path / "vocab.txt"):
        assert load_tokenizer(source)(text)["input_ids"] == expected
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == expected
    assert {*new_tokens(extension)} & {*extension.tokenizer.convert_ids_to_tokens(expected)}


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_both_exports_are_stock_and_compute_as_in_the_pair(extended, tmp_path, part):
    folder, extension = extended
    exporter, stock = {
        "generator": (export_generator, ElectraForMaskedLM),
        "discriminator": (export_discriminator, ElectraForPreTraining),
    }[part]
    model, info = stock.from_pretrained(exporter(folder, tmp_path / part), output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.config.vocab_size == len(extension.tokenizer)
    inputs = {"input_ids": torch.tensor([extension.tokenizer(DOMAINS["Korean"][0])["input_ids"]])}
    pair = ElectraRTDForPreTraining.from_pretrained(folder)
    with torch.no_grad():
        ours, theirs = getattr(pair, part)(**inputs).logits, model.eval()(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


LOAD = """
import json, sys
import torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
batch = tokenizer([sys.argv[2]], return_tensors="pt", return_token_type_ids=False)
with torch.no_grad():
    output = model(**batch)
print(json.dumps([batch["input_ids"][0].tolist(), output.loss.item(), output.logits[0].tolist()]))
"""


@pytest.mark.slow  # a process of its own
def test_an_extended_checkpoint_loads_with_its_own_code_alone(extended, run_fresh):
    folder, extension = extended
    text = DOMAINS["Korean"][0]
    ids, loss, logits = run_fresh(LOAD, folder, text)
    model = ElectraRTDForPreTraining.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(torch.tensor([extension.tokenizer(text)["input_ids"]]))
    assert ids == extension.tokenizer(text)["input_ids"] and max(ids) >= len(extension.tokenizer) - 6
    assert loss == pytest.approx(output.loss.item(), abs=1e-5)
    assert logits == pytest.approx(output.logits[0].tolist(), abs=1e-5)


def test_an_extended_checkpoint_is_pushed_and_its_card_says_what_was_added(extended, hub):
    folder, extension = extended
    push_checkpoint(folder, "alice/extended", token=hub.alice, export=("discriminator", "generator"))
    card = hub.files("alice/extended")["README.md"].decode("utf-8")
    first, before, after = extension.entries[0].entry, extension.before, extension.after
    assert f"Its vocabulary is that of `pair` and 6 entries from the domain's text (`{first}`" in card
    assert f"a word had {before.tokens_per_word:.2f} tokens, and has {after.tokens_per_word:.2f}" in card
    assert EXTENSION_FILE not in hub.files("alice/extended")
    assert verify_checkpoint("alice/extended", token=hub.alice).ok


def test_nothing_is_left_where_an_extension_fails(korean_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary_extension, "export_discriminator", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extend_checkpoint(korean_folder / "pair", korean_folder / "text.txt", 6, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        extend_checkpoint(korean_folder / "pair", korean_folder / "text.txt", 6, tmp_path / "mine")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {name for name in left if not name.startswith("cache")} == {"mine", "mine/mine.txt"}


# ---- The command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_did_and_what_comes_next(korean_folder, tmp_path, capsys):
    given = ["--checkpoint", korean_folder / "pair", "--train-file", korean_folder / "text.txt", "--num-tokens", 6]
    assert cli.main(["extend-vocab", *map(str, given), "--output-dir", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    size = len(AutoTokenizer.from_pretrained(tmp_path / "out"))
    assert f"6 new entries; the vocabulary has {size} now" in shown
    assert "  서버                              90  서 ##버\n" in shown
    assert max(map(len, shown.split("\n\nNext:")[0].split("\n"))) <= 100
    assert f"adapt --checkpoint {tmp_path / 'out'} --train_file TEXT.txt" in shown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--num-tokens": "0"}, "--num_tokens is 0: it must be a whole number from 1 on."),
        ({"--num-tokens": "many"}, "--num_tokens"),
        ({"--checkpoint": "no/such/folder"}, "no/such/folder is no folder with a checkpoint"),
        ({"--train-file": "nothing.txt"}, "nothing.txt"),
        ({"--fewest": "-3"}, "--fewest is -3"),
        ({"--text-column": "sen"}, "no column 'sen'"),
    ],
)
def test_wrong_input_ends_with_2_and_leaves_nothing(korean_folder, tmp_path, capsys, changed, said):
    given = {"--checkpoint": korean_folder / "pair", "--train-file": korean_folder / "text.txt", "--num-tokens": 6}
    words = [str(word) for option in {**given, "--output-dir": tmp_path / "out", **changed}.items() for word in option]
    try:
        status = cli.main(["extend-vocab", *words])
    except SystemExit as end:
        status = end.code
    assert status == 2 and said in capsys.readouterr().err and not [*tmp_path.glob("out*"), *tmp_path.glob(".*")]


def test_the_steps_that_rows_need_follow_from_how_often_they_occur(extended):
    _, extension = extended
    counts = sorted((new.occurrences for new in extension.entries), reverse=True)
    tokens_a_step = BATCH * extension.after.tokens / 30  # each of the 30 lines is shorter than a sequence may be
    for share, count in ((0.5, counts[2]), (1, counts[-1])):
        steps = steps_needed(extension, share)
        seen = count * steps * tokens_a_step / extension.after.tokens
        assert SEEN <= seen < SEEN + count * tokens_a_step / extension.after.tokens
    assert f"{steps_needed(extension, 0.9):,}" in describe(extension, "out")


@pytest.mark.slow  # a run of `adapt`
def test_adapt_goes_on_from_an_extended_checkpoint(extended, korean_folder, tmp_path):
    folder, extension = extended
    options = {"checkpoint": folder, "train_file": korean_folder / "text.txt", "output_dir": tmp_path / "run"}
    options |= {"max_steps": 4, "validation_split": 0.2, "learning_rate": 1e-3, "report_to": "none", "sample_steps": 0}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    assert cli.main(["adapt", *words]) == 0 and verify_checkpoint(tmp_path / "run").ok
    before, after = (ElectraRTDForPreTraining.from_pretrained(one) for one in (folder, tmp_path / "run"))
    moved = (after.get_input_embeddings().weight - before.get_input_embeddings().weight).abs().amax(dim=1)
    assert (moved[-6:] > 0).all() and load_tokenizer(tmp_path / "run").get_vocab() == extension.tokenizer.get_vocab()


def test_a_beginning_that_would_read_as_a_piece_inside_words_is_no_candidate():
    never = vocabulary_extension._never({"x": 1}, {"##ab": 1, "a\u200b": 1}, "##")
    assert {"#", "##", "##a", "##ab", "x", "\u200b", "##\u200b"} == never
