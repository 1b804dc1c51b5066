"""The tokenizer is the networks', in every file and every release, and loading it runs nothing."""

import json
import os
import shutil

import pytest
from transformers import AutoTokenizer

from electra_rtd.hub_tools import continuation_tokens, layout, verify_checkpoint
from electra_rtd.hub_tools.checks import tokenizers


CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
NO_CARD = ("no-card", "README.md")


def test_a_missing_tokenizer_is_a_warning(pair_copy, warnings):
    for name in layout.TOKENIZER:
        (pair_copy / name).unlink(missing_ok=True)
    assert warnings(pair_copy) == [NO_CARD, ("no-tokenizer", "tokenizer.json")]


def test_a_tokenizer_with_more_tokens_than_the_networks_is_an_error(pair_copy, make_tokenizer, errors, message):
    make_tokenizer(extra_words=["한국", "서울"]).save_pretrained(pair_copy)
    assert errors(pair_copy) == [("tokenizer-vocabulary", "tokenizer.json")]
    assert message(pair_copy, "tokenizer-vocabulary").startswith("has 82 tokens, the networks know 80")


def test_a_tokenizer_with_fewer_tokens_is_only_mentioned(make_model, tokenizer, tmp_path, errors, found):
    room = {"vocab_size": 96}
    make_model(generator=room, discriminator=room).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert ("tokenizer-vocabulary", "tokenizer.json") in found(verify_checkpoint(tmp_path), "info")
    assert errors(tmp_path) == []


@pytest.mark.parametrize("field", ["mask_token_id", "pad_token_id"])
@pytest.mark.parametrize("value", [5, None])
def test_other_ids_than_the_tokenizers_are_an_error(pair_copy, field, value, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content.update({field: value}))
    assert errors(pair_copy) == [("tokenizer-ids", CONFIG)]
    assert f"`{field}` is {value}, in the tokenizer {79 if field[0] == 'm' else 7}" in message(
        pair_copy, "tokenizer-ids"
    )


def test_other_special_ids_than_the_tokenizers_are_a_warning(pair_copy, warnings, edit_json):
    edit_json(pair_copy, lambda content: content.update(special_token_ids=[79]))
    assert warnings(pair_copy) == [NO_CARD, ("tokenizer-ids", CONFIG)]
    edit_json(pair_copy, lambda content: content.update(special_token_ids=[79, 0, 7, 31, 32, 79]))
    assert warnings(pair_copy) == [NO_CARD]


def test_words_that_the_tokenizer_has_not_are_an_error(pair_copy, tokenizer, errors, message, edit_json):
    right = continuation_tokens(tokenizer)
    edit_json(pair_copy, lambda content: content.update(mask_whole_words=True, continuation_tokens=right))
    assert errors(pair_copy) == []
    wrong = f"{int(right, 16) ^ 0b1010:x}"  # two tokens that are no pieces
    edit_json(pair_copy, lambda content: content.update(continuation_tokens=wrong))
    assert errors(pair_copy) == [("tokenizer-words", CONFIG)]
    assert "wrong about 2 tokens" in message(pair_copy, "tokenizer-words")
    edit_json(pair_copy, lambda content: content.update(mask_whole_words=False))
    assert errors(pair_copy) == [], "nobody reads it"


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"model": {"type": "BPE"}}', b"\xff"])
def test_a_tokenizer_that_cannot_be_read_is_an_error(pair_copy, content, errors, write):
    write(pair_copy / "tokenizer.json", content)
    assert errors(pair_copy) == [("tokenizer-unreadable", "tokenizer_config.json")]


@pytest.mark.parametrize("name", ["AutoConfig", "ElectraConfig", "ElectraModel", "Nonsense", 5, ["x"]])
def test_a_tokenizer_of_a_class_that_is_none_is_an_error(pair_copy, name, found, edit_json):
    edit_json(pair_copy, lambda content: content.update(tokenizer_class=name), "tokenizer_config.json")
    report = verify_checkpoint(pair_copy)
    codes = {"tokenizer-unreadable", "tokenizer-setting"}
    assert name == "Nonsense" or [code in codes for code, _ in found(report)] == [True]


# ---------------------------------------------------------------------------------------------- its files and settings


def exchange(folder, name=TOKENIZER):
    """Two words of a vocabulary change places."""
    content = json.loads((folder / name).read_text())
    words = content["model"]["vocab"]
    words["나"], words["너"] = words["너"], words["나"]
    (folder / name).write_text(json.dumps(content))


def lowercase(folder, name=TOKENIZER):
    content = json.loads((folder / name).read_text())
    content["normalizer"]["lowercase"] = True
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize("change", [exchange, lowercase])
def test_an_export_with_another_tokenizer_is_an_error(exported, change, errors):
    change(exported, f"discriminator/{TOKENIZER}")
    assert errors(exported) == [("export-tokenizer", f"discriminator/{TOKENIZER}")]


def test_an_export_with_a_broken_tokenizer_is_an_error_and_without_one_a_warning(exported, errors, warnings):
    (exported / "discriminator" / TOKENIZER).write_text("{")
    assert errors(exported) == [("tokenizer-unreadable", f"discriminator/{TOKENIZER_CONFIG}")]
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        (exported / "discriminator" / name).unlink()
    assert warnings(exported) == [NO_CARD, ("no-tokenizer", f"discriminator/{TOKENIZER}")]


@pytest.mark.parametrize("name", [TOKENIZER_CONFIG, "special_tokens_map.json", f"discriminator/{TOKENIZER_CONFIG}"])
@pytest.mark.parametrize(
    "fields",
    [
        {"tokenizer_file": "../other.json"},
        {"tokenizer_file": None},
        {"vocab_file": "/etc/passwd"},
        {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]},
        {"init_inputs": ["/etc/passwd"]},
        {"vocab": {"a": 1}},
        {"gguf_file": "x"},
        {"tokenizer_object": {}},
        {"_json_truncation": {}},
        {"somewhere": "/etc/passwd"},
        {"post_processor": {"type": "x"}},
    ],
)
def test_a_setting_of_the_tokenizer_that_leads_elsewhere_is_an_error(
    exported, name, fields, errors, message, set_fields
):
    set_fields(exported, name, **fields)
    assert errors(exported) == [("tokenizer-setting", name)]
    assert f"`{next(iter(fields))}` may make loaders read another vocabulary" in message(exported, "tokenizer-setting")


def test_what_a_tokenizer_obeys_the_checks_would_have_missed_without_that_rule(pair_copy, tokenizer, set_fields):
    """Releases choose the file by its number."""
    shutil.copy(pair_copy / TOKENIZER, pair_copy / "tokenizer.4.0.0.json")
    exchange(pair_copy, "tokenizer.4.0.0.json")
    set_fields(pair_copy, TOKENIZER_CONFIG, fast_tokenizer_files=["tokenizer.4.0.0.json"])
    loaded = AutoTokenizer.from_pretrained(pair_copy, trust_remote_code=False)
    assert loaded("나")["input_ids"] != tokenizer("나")["input_ids"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name_or_path": "/home/me/electra", "special_tokens_map_file": None},
        {"do_lower_case": False, "strip_accents": None, "never_split": ["x"], "model_max_length": 10**30},
        {"mecab_kwargs": {"mecab_dic": "unidic_lite"}, "processor_class": "X", "padding_side": "left"},
        {"mask_token": {"content": "[MASK]", "lstrip": False}, "extra_special_tokens": []},
    ],
)
def test_ordinary_settings_of_a_tokenizer_are_accepted(pair_copy, fields):
    assert all(tokenizers._is_harmless(name, value) for name, value in fields.items())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.txt", "[UNK]\n너\n나\n"),
        ("special_tokens_map.json", json.dumps({"mask_token": "나"})),
        ("added_tokens.json", json.dumps({"나": 5000})),
    ],
)
def test_a_file_that_gives_tokens_other_ids_or_tasks_is_an_error(pair_copy, name, content, errors):
    (pair_copy / name).write_text(content, encoding="utf-8")
    codes = {code for code, _ in errors(pair_copy)}
    assert codes and codes <= {"tokenizer-files", "tokenizer-vocabulary", "tokenizer-ids"}


def test_files_of_older_releases_that_say_the_same_are_accepted(pair_copy, tokenizer, warnings):
    words = tokenizer.get_vocab()
    (pair_copy / "vocab.txt").write_text("\n".join(sorted(words, key=words.get)) + "\n", encoding="utf-8")
    special = {"mask_token": "[MASK]", "pad_token": {"content": "[PAD]", "lstrip": False}}
    (pair_copy / "special_tokens_map.json").write_text(json.dumps(special))
    (pair_copy / "added_tokens.json").write_text(json.dumps({"[MASK]": 79}))
    assert warnings(pair_copy) == [NO_CARD]


def test_a_class_that_reads_text_in_another_way_than_the_file_says_is_a_warning(pair_copy, warnings, set_fields):
    set_fields(pair_copy, TOKENIZER_CONFIG, tokenizer_class="BertTokenizer", do_lower_case=True)
    assert ("tokenizer-files", TOKENIZER) in warnings(pair_copy)


def test_an_id_beyond_the_vocabulary_is_an_error_however_few_tokens_there_are(pair_copy, errors):
    content = json.loads((pair_copy / TOKENIZER).read_text())
    content["model"]["vocab"]["나"] = 500
    (pair_copy / TOKENIZER).write_text(json.dumps(content))
    assert errors(pair_copy) == [("tokenizer-vocabulary", TOKENIZER)]


@pytest.mark.parametrize("name", [TOKENIZER, "vocab.txt", "added_tokens.json"])
def test_a_tokenizer_far_larger_than_its_vocabulary_is_not_read(pair_copy, monkeypatch, name, errors):
    monkeypatch.setattr(tokenizers, "find_tokenizer", lambda *source, **options: pytest.fail("read"))
    monkeypatch.setattr(tokenizers, "LARGEST_BASE", 1)
    monkeypatch.setattr(tokenizers, "LARGEST_TOKEN", 1)
    (pair_copy / name).write_text(json.dumps({"나" * 100: 1}))
    assert ("tokenizer-vocabulary", name) in errors(pair_copy)


@pytest.mark.parametrize("steps", [3, 12, 1000])
def test_a_chain_of_replacements_that_multiply_a_text_is_not_loaded(pair_copy, monkeypatch, steps, errors):
    monkeypatch.setattr(tokenizers, "find_tokenizer", lambda *source, **options: pytest.fail("read"))
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    content = json.loads((pair_copy / TOKENIZER).read_text())
    content["normalizer"] = {"type": "Sequence", "normalizers": [step] * steps}
    (pair_copy / TOKENIZER).write_text(json.dumps(content))
    assert errors(pair_copy) == [("tokenizer-unreadable", TOKENIZER_CONFIG)]


def test_a_panic_of_the_tokenizers_library_is_an_error_and_not_a_crash(pair_copy, errors):
    """It is no `Exception`."""
    content = json.loads((pair_copy / TOKENIZER).read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"Regex": "^(a|aa)+$"}, "content": "b"}
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    content["added_tokens"].append({"id": 8, "content": "a" * 60 + "!", **token})
    (pair_copy / TOKENIZER).write_text(json.dumps(content))
    assert {code for code, _ in errors(pair_copy)} <= {
        "tokenizer-unreadable",
        "tokenizer-vocabulary",
        "tokenizer-files",
    }


def test_an_interrupt_while_a_tokenizer_loads_is_not_taken_for_a_finding(pair_copy, monkeypatch):
    def interrupt(*source, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenizers, "find_tokenizer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        verify_checkpoint(pair_copy)


def test_nobody_is_asked_whether_to_run_code(pair_copy, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "yes")
    assert os.path.isfile(pair_copy / "modeling_electra_rtd.py")
    assert verify_checkpoint(pair_copy).ok and asked == []
