"""What `verify` calls ok loads with every weight equal, in every release: no other settings, weights, exports, tokens.

A test spoils one thing of a checkpoint that is sound and says which errors there are, and no others.
"""

import json
import os
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from electra_rtd.configuration_electra_rtd import AUTO_MAP, ElectraRTDConfig
from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.checks import settings, tokenizers, weights


CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
NO_CARD = ("no-card", "README.md")
NAN, INF = float("nan"), float("inf")


def edit_network(folder, part, **fields):
    content = json.loads((folder / CONFIG).read_text())
    content[f"{part}_config"].update(fields)
    (folder / CONFIG).write_text(json.dumps(content))


def write_other_weights(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    tensors = {key: value + 1 for key, value in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / name, metadata={"format": "pt"})


# ------------------------------------------------------------------------------------------------- the settings


@pytest.mark.parametrize("part", ["generator", "discriminator"])
@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("layer_norm_eps", NAN, "a number above 0, at most 0.01"),
        ("layer_norm_eps", INF, "a number above 0"),
        ("layer_norm_eps", -1.0, "a number above 0"),
        ("layer_norm_eps", 0.5, "a number above 0"),
        ("layer_norm_eps", "1e-12", "a number above 0"),
        ("layer_norm_eps", True, "a number above 0"),
        ("hidden_dropout_prob", 2.0, "a number from 0 to 1"),
        ("attention_probs_dropout_prob", NAN, "a number from 0 to 1"),
        ("initializer_range", -1.0, "a number from 0 to 10"),
        ("initializer_range", INF, "a number from 0 to 10"),
        ("hidden_act", "xielu", "'gelu' or"),
        ("hidden_act", ["ClippedGELUActivation", {"min": 0, "max": 1}], "'gelu' or"),
        ("num_attention_heads", 4.0, "a whole number from 1 to"),
        ("num_attention_heads", True, "a whole number from 1 to"),
        ("vocab_size", 10**12, "a whole number from 1 to 2000000"),
        ("pad_token_id", -1, "a whole number from 0 to"),
        ("dtype", "int8", "None or 'float32' or 'float16' or 'bfloat16'"),
        ("torch_dtype", "load", "None or 'float32' or 'float16' or 'bfloat16'"),
        ("model_type", "bert", "'electra'"),
        ("is_decoder", True, "False"),
        ("add_cross_attention", True, "False"),
        ("chunk_size_feed_forward", 3, "0"),
        ("pruned_heads", {"0": [0]}, "{}"),
        ("return_dict", False, "True"),
        ("position_embedding_type", "relative_key", "'absolute'"),
        ("architectures", "ElectraModel", "a list of names"),
        ("id2label", "x", "a table of at most"),
    ],
)
def test_a_setting_out_of_its_range_is_an_error_that_says_what_is_allowed(
    pair_copy, part, name, value, allowed, errors, message
):
    edit_network(pair_copy, part, **{name: value})
    assert errors(pair_copy) == [("config-invalid", CONFIG)]
    said = message(pair_copy, "config-invalid")
    assert said.startswith(f"`{part}_config.{name}` is ") and f"it must be {allowed}" in said


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "int8"},
        {"torch_dtype": "int8"},
        {"return_dict": False},
        {"is_decoder": True},
        {"pruned_heads": {"0": [0]}},
        {"torchscript": True},
        {"sub_configs": {}},
        {"_commit_hash": "a" * 40},
        {"_anything": 1},
        {"base_model_tp_plan": {"x": "colwise"}},
        {"use_safetensors": False},
        {"per_layer_config": {"0": {"num_attention_heads": 2}}},
        {"extra_files": ["x.safetensors"]},
        {"keys_to_ignore_at_inference": ["logits"]},
    ],
)
def test_a_setting_that_makes_loaders_do_something_else_is_an_error(pair_copy, fields, errors, message, set_fields):
    (name,) = fields
    set_fields(pair_copy, **fields)
    assert errors(pair_copy) == [("config-invalid", CONFIG)]
    assert f"`{name}` is " in message(pair_copy, "config-invalid")


@pytest.mark.parametrize("name", ["is_causal", "sliding_window", "layer_types", "rope_parameters", "get_text_config"])
def test_a_setting_that_a_release_looks_for_in_any_network_is_an_error(pair_copy, name, errors, message):
    edit_network(pair_copy, "discriminator", **{name: 1})
    assert errors(pair_copy) == [("config-invalid", CONFIG)]
    assert f"`discriminator_config.{name}` is no setting of this network: remove it" in message(
        pair_copy, "config-invalid"
    )


def test_a_setting_that_nobody_reads_is_mentioned_and_in_the_pair_itself_a_warning(
    pair_copy, found, warnings, set_fields
):
    edit_network(pair_copy, "generator", generator_size=0.25)  # as in old checkpoints of others
    assert warnings(pair_copy) == [NO_CARD]
    assert ("unknown-setting", CONFIG) in found(verify_checkpoint(pair_copy), "info")
    set_fields(pair_copy, maskprob=0.3)
    assert warnings(pair_copy) == [NO_CARD, ("unknown-setting", CONFIG)]


def test_what_releases_before_5_write_into_a_configuration_is_not_an_error(pair_copy, warnings):
    old = {"torchscript": False, "pruned_heads": {}, "tf_legacy_loss": False, "is_encoder_decoder": False}
    old |= {"num_beams": 1, "temperature": 1.0, "task_specific_params": None, "cross_attention_hidden_size": None}
    old |= {"gradient_checkpointing": False, "position_embedding_type": "absolute", "torch_dtype": "float32"}
    edit_network(pair_copy, "discriminator", **old)
    assert warnings(pair_copy) == [NO_CARD]


def test_every_setting_of_a_new_configuration_is_known():
    fields = json.loads(ElectraRTDConfig().to_json_string(use_diff=False))
    assert list(settings.check_settings(fields, CONFIG)) == []
    assert list(settings.check_settings(fields["generator_config"], CONFIG, network=True)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"num_labels": 10**9},
        {"special_token_ids": [7] * 10_001},
        {"label2id": {str(number): number for number in range(100_001)}},
    ],
)
def test_a_configuration_of_absurd_size_is_refused_before_a_class_is_built(
    pair_copy, monkeypatch, fields, errors, message, set_fields
):
    monkeypatch.setattr(ElectraRTDConfig, "from_dict", lambda *fields: pytest.fail("built"))
    set_fields(pair_copy, **fields)
    assert errors(pair_copy) == [("config-invalid", CONFIG)]
    assert len(message(pair_copy, "config-invalid")) < 300


def test_of_a_repository_no_configuration_with_errors_is_built(plant, pair_copy, monkeypatch, errors, set_fields):
    monkeypatch.setattr(ElectraRTDConfig, "from_dict", lambda *fields: pytest.fail("built"))
    set_fields(pair_copy, trust_remote_code=True)
    plant("alice/pair", pair_copy)
    assert errors("alice/pair") == [("trust-remote-code", CONFIG)]


@pytest.mark.parametrize("row", ["modeling_electra_rtd.Nothing", "configuration_electra_rtd.ElectraRTDConfig", 5])
def test_a_row_of_auto_map_that_names_another_class_than_a_pairs_is_an_error(
    pair_copy, row, errors, message, set_fields
):
    set_fields(pair_copy, auto_map={**AUTO_MAP, "AutoModel": row})
    assert ("auto-map", CONFIG) in errors(pair_copy)
    assert "a pair's class is modeling_electra_rtd.ElectraRTDForPreTraining" in message(pair_copy, "auto-map")


# --------------------------------------------------------------------------------------------------- the weights


def test_a_file_without_any_tensor_is_an_error(pair_copy, errors, edit_weights):
    edit_weights(pair_copy, lambda tensors: {})
    assert errors(pair_copy) == [("weights-missing", WEIGHTS)]


@pytest.mark.parametrize(
    "name",
    [
        "model.fp16.safetensors",
        "pytorch_model.safetensors",
        "adapter_model.SAFETENSORS",
        "discriminator/x.safetensors",
    ],
)
def test_a_second_file_of_weights_that_a_loader_may_take_is_an_error(exported, name, errors):
    write_other_weights(exported, name)
    assert errors(exported) == [("two-weights", name)]


def test_weights_in_a_folder_of_their_own_are_a_warning_but_for_the_trainers(pair_copy, warnings):
    write_other_weights(pair_copy, "fp16/model.safetensors")
    write_other_weights(pair_copy, "checkpoint-5/model.safetensors")
    assert warnings(pair_copy) == [NO_CARD, ("other-weights", "fp16/model.safetensors")]


def test_a_shard_that_the_index_does_not_name_is_an_error(sharded, errors):
    save_file({"a": torch.ones(1)}, sharded / "model-00099-of-00099.safetensors", metadata={"format": "pt"})
    assert errors(sharded) == [("two-weights", "model-00099-of-00099.safetensors")]


def swapped(rows):
    files = sorted(set(rows.values()))
    return {tensor: files[files.index(file) - 1] for tensor, file in rows.items()}


def without_most(rows):
    one_of_each = {file: tensor for tensor, file in rows.items()}
    return {tensor: file for file, tensor in one_of_each.items()}


@pytest.mark.parametrize(
    "change",
    [
        swapped,
        without_most,  # each shard is named, most of its tensors are not
        lambda rows: {tensor.replace("discriminator", "x"): file for tensor, file in rows.items()},
        lambda rows: {**rows, "more": next(iter(rows.values()))},
    ],
)
def test_an_index_that_says_anything_else_than_the_shards_hold_is_an_error(
    sharded, change, errors, message, set_fields
):
    """Releases before 5 load what the index names: 0 of 85 tensors, with a warning."""
    content = json.loads((sharded / INDEX).read_text())
    set_fields(sharded, INDEX, weight_map=change(content["weight_map"]))
    assert errors(sharded) == [("weights-unreadable", INDEX)]
    assert "save the model again" in message(sharded, "weights-unreadable")


@pytest.mark.parametrize("fields", [{"weight_map": {}}, {"metadata": None}, {"metadata": "x"}])
def test_an_index_that_loaders_stumble_over_is_an_error(sharded, fields, errors, set_fields):
    set_fields(sharded, INDEX, **fields)
    assert errors(sharded) == [("weights-unreadable", INDEX)]


@pytest.mark.parametrize("sharing", ["none", "tied"])
def test_an_index_as_it_is_saved_says_what_the_shards_hold(make_model, tokenizer, tmp_path, sharing, warnings):
    make_model(embedding_sharing=sharing).save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path)
    assert warnings(tmp_path) == [NO_CARD]


def test_weights_that_loading_would_round_are_an_error(pair_copy, errors, message, warnings, edit_weights, set_fields):
    set_fields(pair_copy, dtype="float16")
    assert errors(pair_copy) == [("weights-dtype", WEIGHTS)]
    assert "loading would round" in message(pair_copy, "weights-dtype")
    set_fields(pair_copy, dtype="float32")
    edit_weights(pair_copy, lambda tensors: {name: value.bfloat16() for name, value in tensors.items()})
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", CONFIG)]  # exact


def test_mixed_types_without_a_type_in_the_configuration_are_an_error(
    pair_copy, errors, warnings, edit_weights, set_fields
):
    edit_weights(pair_copy, lambda tensors: {n: v.half() if "generator" in n else v for n, v in tensors.items()})
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", WEIGHTS)]
    set_fields(pair_copy, dtype=None)
    assert errors(pair_copy) == [("weights-dtype", WEIGHTS)]


def test_float64_is_an_error_because_release_4_loads_it_as_float32(pair_copy, errors, edit_weights):
    edit_weights(pair_copy, lambda tensors: {name: value.double() for name, value in tensors.items()})
    assert {code for code, _ in errors(pair_copy)} == {"weights-dtype"}


def test_a_table_of_too_many_tensors_is_not_even_read(pair_copy, monkeypatch, errors, message):
    monkeypatch.setattr(weights, "LARGEST_HEAD", 10_000)
    monkeypatch.setattr(weights, "safe_open", lambda *arguments, **options: pytest.fail("read"))
    head = json.dumps({f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(500)})
    (pair_copy / WEIGHTS).write_bytes(struct.pack("<Q", len(head)) + head.encode() + b" ")
    assert errors(pair_copy) == [("weights-unreadable", WEIGHTS)]
    assert "no pair has so many tensors" in message(pair_copy, "weights-unreadable")


def test_tensors_that_are_not_expected_are_named_and_not_compared(pair_copy, errors, message, edit_weights):
    edit_weights(pair_copy, lambda tensors: {f"t{number}": torch.ones(0) for number in range(1000)})
    assert sorted(errors(pair_copy)) == [("weights-missing", WEIGHTS), ("weights-unexpected", WEIGHTS)]
    assert "and 995 more" in message(pair_copy, "weights-unexpected")


def test_an_index_of_many_lost_shards_is_told_in_a_few_lines(sharded, errors, set_fields):
    shards = {f"t{number}": f"model-{number:05}-of-01000.safetensors" for number in range(1000)}
    set_fields(sharded, INDEX, weight_map=shards)
    assert len(errors(sharded)) == 5


# --------------------------------------------------------------------------------------------------- the exports


@pytest.mark.parametrize("part", ["discriminator", "generator"])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"num_attention_heads": 1}, "export-config"),
        ({"hidden_act": "relu"}, "export-config"),
        ({"layer_norm_eps": 1e-3}, "export-config"),
        ({"pad_token_id": 3}, "export-config"),
        ({"tie_word_embeddings": False}, "export-config"),
        ({"model_type": "bert"}, "export-config"),
        ({"architectures": ["ElectraForTokenClassification"]}, "export-config"),
        ({"architectures": ["ElectraModel"]}, "export-config"),
        ({"is_decoder": True}, "config-invalid"),
        ({"is_causal": True}, "config-invalid"),
        ({"dtype": "int8"}, "config-invalid"),
        ({"return_dict": False}, "config-invalid"),
        ({"hidden_dropout_prob": NAN}, "config-invalid"),
        ({"dtype": "float16"}, "weights-dtype"),
    ],
)
def test_an_export_of_the_right_weights_that_computes_something_else_is_an_error(
    exported, part, fields, code, errors, set_fields
):
    set_fields(exported, f"{part}/{CONFIG}", **fields)
    path = WEIGHTS if code == "weights-dtype" else CONFIG
    assert errors(exported) == [(code, f"{part}/{path}")]


def test_what_an_export_only_trains_with_may_differ(exported, warnings, set_fields):
    set_fields(exported, f"discriminator/{CONFIG}", hidden_dropout_prob=0.3, architectures=None, id2label={"0": "a"})
    assert warnings(exported) == [NO_CARD]


def half_renamed(tensors):
    names = sorted(tensors)
    return {(name.removeprefix("electra.") if names.index(name) % 2 else name): tensors[name] for name in names}


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda tensors: {}, {"weights-missing"}),
        (half_renamed, {"weights-missing", "weights-unexpected"}),
        (lambda tensors: {n: v for n, v in tensors.items() if n.startswith("electra.")}, {"weights-missing"}),
    ],
)
def test_an_export_that_would_load_with_random_weights_is_an_error(exported, change, codes, errors, edit_weights):
    edit_weights(exported, change, f"discriminator/{WEIGHTS}")
    assert {code for code, _ in errors(exported)} == codes


def test_an_export_without_its_configuration_is_an_error(exported, errors):
    (exported / "generator" / CONFIG).unlink()
    assert errors(exported) == [("no-config", f"generator/{CONFIG}")]


def test_an_export_of_rounded_weights_is_not_called_the_pairs(exported, warnings, edit_weights):
    edit_weights(exported, lambda t: {name: value.half() for name, value in t.items()}, f"generator/{WEIGHTS}")
    assert ("stale-export", f"generator/{WEIGHTS}") in warnings(exported)


# ------------------------------------------------------------------------------------------------- the tokenizer


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
