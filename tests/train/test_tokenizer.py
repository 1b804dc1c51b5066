"""Tokenizers and `[UNK]`: a vocabulary decides about casing and marks; text that it does not hold is no success."""

import json
import logging
import unicodedata
from pathlib import Path

import datasets
import pytest
from tokenizers.normalizers import BertNormalizer
from transformers import AddedToken, AutoTokenizer, BertTokenizerFast

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.vocabulary import SPECIAL_TOKENS, settings_held_by, word_piece
from electra_rtd.pairing_electra_rtd import find_tokenizer, special_ids
from electra_rtd.train_tools import unknown_tokens
from electra_rtd.train_tools.data import tokenize_text
from electra_rtd.train_tools.from_scratch import TextsOf, alphabet_of, build_pair, train_tokenizer
from electra_rtd.train_tools.unknown_tokens import check_unknown_tokens, count_unknown


REAL = Path(__file__).parents[3] / "shared" / "data" / "vocab"  # beside some checkouts
REAL_NAMES = ["bert-base-uncased", "koelectra-v1", "koelectra-v2", "koelectra-v3", "ko-book"]
# Script to vocabulary, text, and its tokens. Stripping marks, or lower case, would take each text apart.
LANGUAGES = {
    "Japanese": (["私", "は", "が", "ガラス", "です", "か"], "私 が ガラス です", ["私", "が", "ガラス", "です"]),
    "Hindi": (["में", "हिन्दी", "घर", "म"], "घर में हिन्दी", ["घर", "में", "हिन्दी"]),
    "German, cased": (["für", "fur", "Straße", "Ärzte"], "Ärzte für Straße", ["Ärzte", "für", "Straße"]),
    "German, uncased": (["für", "fur", "straße", "ärzte"], "Ärzte für Straße", ["ärzte", "für", "straße"]),
    "Vietnamese": (["Tiếng", "Việt", "Viet"], "Tiếng Việt", ["Tiếng", "Việt"]),
    "Thai": (["ที่", "น้ำ", "ท"], "ที่ น้ำ", ["ที่", "น้ำ"]),
    "Korean, cased": (["책", "을", "##을", "Python"], "책을 Python", ["책", "##을", "Python"]),
    "Korean, uncased": (["책", "을", "##을", "python"], "책을 Python", ["책", "##을", "python"]),
    "Russian, uncased": (["мой", "дом"], "Мой Дом", ["мой", "дом"]),
    "English, uncased": (["cafe", "python"], "Café Python", ["cafe", "python"]),
    "words of Chinese characters": (["学校", "に", "行く"], "学校 に 行く", ["学校", "に", "行く"]),
    "Chinese": (["学", "校", "##校"], "学校", ["学", "校"]),
}


def write(folder, entries, **files):
    """A folder with a `vocab.txt`, and JSON files."""
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *entries]) + "\n", encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="electra_rtd")
    return caplog


# ---- What a vocabulary holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("silent", ["bare", "path", "config", "tokenizer_config", "class"])
def test_a_vocabulary_decides_where_nothing_is_said(silent, language, tmp_path):
    entries, text, tokens = LANGUAGES[language]
    files = {
        "bare": {},
        "path": {},
        "config": {"config": {"model_type": "electra"}},
        "tokenizer_config": {"config": {"model_type": "electra"}, "tokenizer_config": {"strip_accents": None}},
        "class": {"tokenizer_config": {"tokenizer_class": "BertTokenizer", "model_max_length": 64}},
    }
    folder = write(tmp_path, entries, **files[silent])
    tokenizer = load_tokenizer(folder / "vocab.txt" if silent == "path" else folder)
    assert tokenizer.tokenize(text) == tokens
    tokenizer.save_pretrained(tmp_path / "again")  # and what is saved says so, to everybody
    assert AutoTokenizer.from_pretrained(tmp_path / "again").tokenize(text) == tokens


@pytest.mark.parametrize("vocabulary", REAL_NAMES)
def test_real_vocabularies_are_read_as_they_were_made(vocabulary):
    file = REAL / vocabulary / "vocab.txt"
    if not file.is_file():
        pytest.skip("the shared vocabularies are not beside this checkout")
    english = vocabulary == "bert-base-uncased"
    normalizer = load_tokenizer(file).backend_tokenizer.normalizer
    assert (normalizer.lowercase, normalizer.strip_accents) == ((True, None) if english else (False, False))
    assert normalizer.handle_chinese_chars


def test_what_the_files_say_holds_and_a_vocabulary_that_contradicts_is_named(tmp_path, said):
    entries = ["책", "Python", "python", "für"]
    folder = write(tmp_path, entries, config={"model_type": "electra"}, tokenizer_config={"do_lower_case": True})
    tokenizer = load_tokenizer(folder)
    assert tokenizer.tokenize("Python 책 für") == ["python", "책", "für"]  # of marks, nothing was said
    assert "1 entries of its vocabulary hold them (Python)" in said.text
    assert f"`tokenizer={folder}/vocab.txt`" in said.text
    assert load_tokenizer(folder / "vocab.txt").tokenize("Python 책 für") == ["Python", "책", "für"]  # the way out


def test_what_tokenizer_json_says_holds_where_its_configuration_is_silent(tmp_path):
    tokenizer = word_piece([*SPECIAL_TOKENS, "cafe", "python"], do_lower_case=False, strip_accents=True)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert load_tokenizer(tmp_path).tokenize("café Python") == ["cafe", "[UNK]"]


def test_a_tokenizer_that_agrees_with_its_vocabulary_is_loaded_in_silence(tmp_path, said):
    for number, (entries, _, _) in enumerate(LANGUAGES.values()):
        folder = tmp_path / str(number)
        word_piece([*SPECIAL_TOKENS, *entries]).save_pretrained(folder)
        load_tokenizer(folder)
    assert said.text == ""


# ---- Folders and files of other kinds -------------------------------------------------------------------------------


def test_a_vocabulary_of_any_file_name_is_a_tokenizer(tmp_path):
    file = write(tmp_path, ["책"]).joinpath("vocab.txt").rename(tmp_path / "my-words.txt")
    assert load_tokenizer(file).tokenize("책") == ["책"]


@pytest.mark.parametrize(("content", "said"), [(b"some text\n", r"no line of it is \[PAD\]"), (b"\xff\xfe", "UTF-8")])
def test_a_file_that_is_no_vocabulary_is_refused(content, said, tmp_path):
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"notes\.txt.*{said}"):
        load_tokenizer(tmp_path / "notes.txt")


def test_a_configuration_without_model_type_does_not_matter(tmp_path):
    folder = write(tmp_path, ["책", "Python"], config={"vocab_size": 7})
    assert load_tokenizer(folder).tokenize("책 Python") == ["책", "Python"]
    assert find_tokenizer(folder).get_vocab()["책"] == 5
    word_piece([*SPECIAL_TOKENS, "비", "python"]).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text("{}")
    (tmp_path / "saved" / "tokenizer_config.json").write_text(
        json.dumps({"mask_token": "[MASK]", "pad_token": "[PAD]"})
    )
    assert load_tokenizer(tmp_path / "saved").tokenize("비 Python") == ["비", "python"]


@pytest.mark.parametrize("words", ["basic", "mecab"])  # the second needs packages that are not here
def test_a_slow_tokenizer_is_refused_with_the_way_on(words, tmp_path):
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": words}
    folder = write(tmp_path, ["学校"], config={"model_type": "electra"}, tokenizer_config=settings)
    with pytest.raises(ValueError, match=r"(?s)tokenizer of .*a space between words.*`tokenizer=vocab\.txt`"):
        load_tokenizer(folder)


def test_added_special_tokens_are_never_masked(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<speaker>"]})
    tokenizer.add_tokens([AddedToken("<turn>", special=True), AddedToken("새말")])
    ids = tokenizer.convert_tokens_to_ids(["<speaker>", "<turn>", "새말"])
    assert set(ids[:2]) < set(special_ids(tokenizer)) and ids[2] not in special_ids(tokenizer)
    assert build_pair("tiny", tokenizer).config.special_token_ids == special_ids(tokenizer)


# ---- The share of [UNK] ---------------------------------------------------------------------------------------------

KOREAN = [*"나너비눈산강물집길말글", "책", "##을", "##은", "##는", "오늘", "읽는다", "본다", "Python", "."]
SENTENCES = ["오늘 책을 읽는다.", "나는 Python 본다", "너는 산은 본다."] * 10


def check(tokenizer, sentences):
    text = datasets.Dataset.from_dict({"text": sentences})
    check_unknown_tokens(tokenize_text(text, tokenizer, max_length=16), text, tokenizer)


def test_the_share_is_counted_without_the_special_tokens(said):
    tokenizer = word_piece([*SPECIAL_TOKENS, *KOREAN])
    text = datasets.Dataset.from_dict({"text": ["오늘 바다 본다", "책을"]})
    assert count_unknown(tokenize_text(text, tokenizer, max_length=16), tokenizer) == (1, 5)
    check(tokenizer, SENTENCES)
    assert said.messages == ["0 % of the 150 tokens to train on are [UNK]."]


def test_text_in_decomposed_hangul_is_refused_with_nfc_as_the_remedy(said):
    tokenizer = word_piece([*SPECIAL_TOKENS, *KOREAN])
    apart = [unicodedata.normalize("NFD", sentence) for sentence in SENTENCES]
    with pytest.raises(ValueError, match=r"(?s)% of the \d+ tokens.*another Unicode form.*Write it in NFC.*Then 0 %"):
        check(tokenizer, apart)
    check(tokenizer, SENTENCES + apart[:1])  # a little of it is a warning
    assert "NFC" in said.text and unicodedata.normalize("NFD", "오늘") in said.text


@pytest.mark.parametrize("wrong", [{"do_lower_case": True, "strip_accents": True}, {"strip_accents": True}])
def test_marks_taken_off_are_refused_with_the_settings_as_the_remedy(wrong):
    tokenizer = word_piece([*SPECIAL_TOKENS, *KOREAN], **wrong)
    remedy = r'(?s)"do_lower_case": false, "strip_accents": false.*`tokenizer=FOLDER/vocab\.txt`'
    with pytest.raises(ValueError, match=remedy) as error:
        check(tokenizer, SENTENCES)
    assert "Unicode form" not in str(error.value)


def test_both_faults_at_once_get_both_remedies():
    tokenizer = word_piece([*SPECIAL_TOKENS, *KOREAN], do_lower_case=True, strip_accents=True)
    with pytest.raises(ValueError, match=r"(?s)Write it in NFC"):
        check(tokenizer, [unicodedata.normalize("NFD", sentence) for sentence in SENTENCES])


def test_casing_alone_is_found_out():
    tokenizer = word_piece([*SPECIAL_TOKENS, "Das", "Haus", "Baum"], do_lower_case=True, strip_accents=False)
    with pytest.raises(ValueError, match=r'"do_lower_case": false'):
        check(tokenizer, ["Das Haus", "Das Baum"] * 5)


def test_text_of_another_language_needs_another_vocabulary():
    tokenizer = word_piece([*SPECIAL_TOKENS, "das", "haus"])
    with pytest.raises(ValueError, match=r"(?s)오늘 \(10\).*Neither.*the vocabulary does not hold this text"):
        check(tokenizer, SENTENCES)


def test_a_tokenizer_without_unk_is_not_asked(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.unk_token = None
    check(tokenizer, SENTENCES)


def test_remedies_are_tried_on_a_bounded_sample(monkeypatch):
    read = []
    monkeypatch.setattr(unknown_tokens, "_remedy", lambda tokenizer, texts: read.append(texts) or "")
    with pytest.raises(ValueError, match="UNK"):
        check(word_piece([*SPECIAL_TOKENS, "das"]), ["오늘 " * 3000, *["책"] * 2999])
    assert len(read[0]) == 500 and max(map(len, read[0])) == 2000


# ---- A vocabulary from text -----------------------------------------------------------------------------------------


def hangul(count):
    return [chr(0xAC00 + number) for number in range(count)]


def test_every_character_of_korean_text_gets_an_entry():
    syllables = hangul(1500)  # more than the 1,000 of the library's default
    rows = ["".join(syllables[start : start + 3]) + " 책" for start in range(0, 1500, 3)] * 2
    tokenizer = train_tokenizer(rows, vocab_size=8000)
    assert (
        count_unknown(tokenize_text(datasets.Dataset.from_dict({"text": rows}), tokenizer, max_length=16), tokenizer)[
            0
        ]
        == 0
    )


@pytest.mark.parametrize("vocab_size", [60, 2000])
def test_the_alphabet_leaves_room_for_pieces_in_a_vocabulary_that_is_not_exceeded(vocab_size):
    rows = ["".join(hangul(1500)[start:]) for start in range(0, 1500, 100)] + ["오늘 책을 읽는다"] * 50
    tokenizer = train_tokenizer(rows, vocab_size=vocab_size)
    assert len(tokenizer) == vocab_size
    entries = tokenizer.get_vocab().keys() - set(SPECIAL_TOKENS)
    assert sum(len(entry.removeprefix("##")) > 1 for entry in entries) >= vocab_size // 20
    assert tokenizer.tokenize("오늘") != ["[UNK]"]  # frequent characters come first


def test_a_chinese_character_costs_one_entry_and_a_syllable_within_words_two():
    chinese, korean = ["".join(chr(0x4E00 + number) for number in range(400))], ["".join(hangul(400))]
    assert len(alphabet_of(chinese, 400)) == 0.9 * 400 - 5
    assert len(alphabet_of(korean, 400)) == (0.9 * 400 - 5 + 1) // 2  # the first begins the word
    assert len(alphabet_of(chinese, 8000)) == len(alphabet_of(korean, 8000)) == 400


def test_what_the_tokenizer_takes_out_of_a_text_has_no_place_in_the_alphabet():
    assert alphabet_of(["나\u200b 가\t나\u3000\ufffd\n\x00", "é"], 100) == ["나", "가", "é"]


def test_a_text_gives_one_vocabulary_whatever_ties_there_are():
    words = [one + other for one in hangul(40) for other in hangul(8)]  # each twice, so that all pairs are ties
    vocabularies = {tuple(sorted(train_tokenizer(words * 2, size).get_vocab().items())) for size in [150] * 5}
    assert len(vocabularies) == 1
    (entries,) = vocabularies
    assert 30 < sum(len(entry.removeprefix("##")) == 2 for entry, _ in entries) < len(words)  # not all ties fit in


def test_equally_frequent_characters_come_in_by_their_place_in_the_text():
    characters = hangul(300)
    entries = {frozenset(train_tokenizer(characters, vocab_size=100).get_vocab()) for _ in range(5)}
    assert entries == {frozenset(SPECIAL_TOKENS) | set(characters[:85])}


def test_texts_of_a_data_set_can_be_gone_through_twice():
    texts = TextsOf(datasets.Dataset.from_dict({"text": SENTENCES}))
    assert list(texts) == list(texts) == SENTENCES


def test_settings_do_not_depend_on_special_tokens_or_order():
    held = settings_held_by([*SPECIAL_TOKENS, "[unused1]", "##é", "b"])
    assert held == {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": True}
    assert isinstance(word_piece([*SPECIAL_TOKENS, "b"]), BertTokenizerFast)
    assert isinstance(word_piece([*SPECIAL_TOKENS, "b"]).backend_tokenizer.normalizer, BertNormalizer)
