"""The configurations: nothing in them fetches or runs, and each setting is one that a network may have."""

import json
import shutil

import pytest

from electra_rtd.configuration_electra_rtd import AUTO_MAP, ElectraRTDConfig
from electra_rtd.hub_tools import export_discriminator, layout, verify_checkpoint
from electra_rtd.hub_tools.checks import settings


CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
NO_CARD = ("no-card", "README.md")
NAN = float("nan")
INF = float("inf")


def place(content, where, key, value):
    """Set a key at a path of keys; `where` of `None` puts it into a list."""
    if where is None:
        content["task_specific_params"] = [1, [{"deeper": {key: value}}]]
        return
    for step in where:
        content = content.setdefault(step, {})
    content[key] = value


PLACES = [(), ("generator_config",), ("discriminator_config",), ("generator_config", "x", "y"), None]
REFUSED_KEYS = [
    ("_attn_implementation_internal", "sdpa", "attention-code"),
    ("_experts_implementation_internal", "eager", "attention-code"),
    ("_attn_implementation", "someone/kernel", "attention-code"),
    ("attn_implementation", "someone/kernel", "attention-code"),
    ("_attn_implementation", "flash_attention_2|someone/kernel@main:x", "attention-code"),
    ("attn_implementation", {"": "sdpa", "generator_config": "someone/kernel"}, "attention-code"),
    ("_attn_implementation", ["sdpa", "someone/kernel"], "attention-code"),
    ("_experts_implementation", "someone/kernel", "attention-code"),
    ("experts_implementation", "someone/kernel", "attention-code"),
    ("trust_remote_code", True, "trust-remote-code"),
    ("trust_remote_code", False, "trust-remote-code"),
    ("transformers_weights", "other.safetensors", "foreign-weights"),
    ("attribute_map", {"x": "_attn_implementation_internal"}, "reserved-key"),
    ("configuration_files", ["config.4.0.0.json.txt"], "reserved-key"),
    ("quantization_config", {"quant_method": "x"}, "reserved-key"),
    ("compression_config", {}, "reserved-key"),
    ("custom_pipelines", {"x": {"impl": "someone/code--x.X"}}, "reserved-key"),
    ("custom_generate", "someone/code", "reserved-key"),
    ("__class__", "x", "reserved-key"),
    ("__dict__", {}, "reserved-key"),
    ("num_labels", 10**9, "config-invalid"),
    ("_num_labels", 10**9, "config-invalid"),
]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(("key", "value", "code"), REFUSED_KEYS)
def test_a_key_that_fetches_or_runs_is_an_error_at_every_depth(
    pair_copy, where, key, value, code, errors, message, edit_json
):
    edit_json(pair_copy, lambda content: place(content, where, key, value))
    assert errors(pair_copy) == [(code, CONFIG)]
    path = ".".join(("task_specific_params", "deeper", key) if where is None else (*where, key))
    assert f"`{path}`" in message(pair_copy, code)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "old/config.json", "X.JSON"])
@pytest.mark.parametrize(("key", "value", "code"), {row[-1]: row for row in REFUSED_KEYS}.values())  # one of each
def test_a_key_that_fetches_or_runs_is_an_error_in_every_file(pair_copy, name, key, value, code, errors, write):
    write(pair_copy / name, json.dumps({"x": {key: value}}))
    assert errors(pair_copy) == [(code, name)]


@pytest.mark.parametrize("value", ["sdpa", "eager", "flash_attention_2", None, {"": "sdpa"}])
def test_an_installed_attention_is_accepted(pair_copy, value, errors, edit_json):
    edit_json(pair_copy, lambda content: content.update(attn_implementation=value))
    assert errors(pair_copy) == []


def test_a_key_by_which_a_setting_gets_another_name_would_choose_the_attention(pair_copy, make_config, errors, write):
    """Why `attribute_map` is refused: the configuration class would obey it."""
    fields = make_config().to_dict()
    fields = {**fields, "attribute_map": {"innocent": "_attn_implementation_internal"}, "innocent": "someone/kernel"}
    write(pair_copy / CONFIG, json.dumps(fields))
    assert errors(pair_copy) == [("reserved-key", CONFIG)]


def test_a_vocabulary_may_have_an_entry_that_is_called_like_a_setting(
    make_model, make_tokenizer, tmp_path, saved_pair, errors, edit_json, write
):
    folder = shutil.copytree(saved_pair, tmp_path / "pair")

    def rename(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["trust_remote_code"] = vocabulary.pop("병원")

    edit_json(folder, rename, "tokenizer.json")
    write(folder / "vocab.json", json.dumps({"auto_map": 1, "_attn_implementation_internal": 2}))
    assert errors(folder) == []


@pytest.mark.parametrize("where", [("generator_config",), ("discriminator_config", "x"), None])
def test_an_auto_map_anywhere_but_at_the_top_is_an_error(pair_copy, where, errors, edit_json):
    edit_json(pair_copy, lambda content: place(content, where, "auto_map", {"AutoModel": "modeling.X"}))
    assert errors(pair_copy) == [("nested-auto-map", CONFIG)]


@pytest.mark.parametrize(
    "content", [{"auto_map": {"AutoModel": "x.X"}}, [{"auto_map": ["a.B", None]}], [[{"auto_map": 1}]]]
)
def test_an_auto_map_in_another_file_is_an_error(pair_copy, content, errors, write):
    write(pair_copy / "processor_config.json", json.dumps(content))
    assert errors(pair_copy) == [("nested-auto-map", "processor_config.json")]


@pytest.mark.parametrize("rows", [{"AutoTokenizer": ["tokenization.X", None]}, ["someone/code--t.X", None]])
def test_a_tokenizer_of_its_own_code_is_an_error(pair_copy, rows, errors, edit_json):
    edit_json(pair_copy, lambda content: content.update(auto_map=rows), "tokenizer_config.json")
    assert errors(pair_copy) == [("tokenizer-code", "tokenizer_config.json")]


def test_a_pair_whose_code_lies_in_another_repository_needs_that_repository_to_be_named(pair_copy, errors, edit_json):
    edit_json(
        pair_copy,
        lambda content: content.update(
            auto_map={name: f"someone/code--{path}" for name, path in content["auto_map"].items()}
        ),
    )
    assert errors(pair_copy) == [("foreign-auto-map", CONFIG)] * 3
    assert errors(pair_copy, allow_code_from=["someone/code"]) == []
    assert errors(pair_copy, allow_code_from="someone/code") == []
    assert errors(pair_copy, allow_code_from=iter(["someone/code"])) == []
    for other in ([], ["someone/codes"], ["someone"], "x/someone/code", ["someone/code--x"]):
        assert errors(pair_copy, allow_code_from=other) == [("foreign-auto-map", CONFIG)] * 3
    for name in layout.CODE:  # then nobody needs the files here
        (pair_copy / name).unlink()
    assert errors(pair_copy, allow_code_from=["someone/code"]) == []


@pytest.mark.parametrize("row", ["AutoTokenizer", "AutoModelForMaskedLM", "AutoProcessor"])
def test_a_pair_has_no_code_for_other_auto_classes(pair_copy, row, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content["auto_map"].update({row: "modeling_electra_rtd.ElectraRTDConfig"}))
    assert errors(pair_copy) == [("foreign-auto-map", CONFIG)]
    assert f"code for {row}" in message(pair_copy, "foreign-auto-map")


def test_an_auto_map_that_lacks_rows_is_a_warning(pair_copy, message, warnings, edit_json):
    edit_json(pair_copy, lambda content: content["auto_map"].pop("AutoModel"))
    assert warnings(pair_copy) == [NO_CARD, ("auto-map", CONFIG)]
    assert message(pair_copy, "auto-map") == "`auto_map` has no row for AutoModel."


@pytest.mark.parametrize("value", [None, [], 1, "modeling.X"])
def test_an_auto_map_that_is_no_table_is_an_error(pair_copy, value, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content.update(auto_map=value))
    assert errors(pair_copy) == [("auto-map", CONFIG)]
    assert "model.save_pretrained" in message(pair_copy, "auto-map")


@pytest.mark.parametrize("edit", [{"auto_map": {}}, None])
def test_a_pair_without_an_auto_map_needs_electra_rtd_and_is_a_warning(pair_copy, edit, warnings, edit_json):
    edit_json(pair_copy, lambda content: content.update(edit) if edit else content.pop("auto_map"))
    found_warnings = warnings(pair_copy)
    assert ("no-remote-code", CONFIG) in found_warnings
    assert set(found_warnings) <= {NO_CARD, ("no-remote-code", CONFIG), ("auto-map", CONFIG)}


@pytest.mark.parametrize("name", ["adapter_config.json", "sub/adapter_config.json", "Adapter_Config.JSON"])
def test_an_adapter_would_load_another_repository_and_is_an_error(pair_copy, name, errors, write):
    write(pair_copy / name, json.dumps({"base_model_name_or_path": "someone/else"}))
    assert errors(pair_copy) == [("adapter", name)]


@pytest.mark.parametrize(
    ("value", "level"),
    [("/home/me/electra", True), ("C:\\electra", True), ("./x", True), ("monologg/koelectra", False)],
)
def test_a_path_on_the_authors_disk_is_a_warning(pair_copy, value, level, warnings, edit_json):
    edit_json(pair_copy, lambda content: content["generator_config"].update(_name_or_path=value))
    assert warnings(pair_copy) == ([NO_CARD, ("local-path", CONFIG)] if level else [NO_CARD])


@pytest.mark.parametrize("name", [CONFIG, "tokenizer_config.json", "discriminator/config.json"])
@pytest.mark.parametrize("content", ["{", "\x00", b"\xff\xfe", "", '{"a": 1' + "0" * 5000 + "}"])
def test_a_configuration_that_is_not_json_is_an_error(pair_copy, name, content, errors, write):
    write(pair_copy / name, content)
    assert errors(pair_copy) == [("not-json", name)]


def test_any_other_file_that_is_not_json_is_a_warning(pair_copy, warnings, write):
    write(pair_copy / "results.json", "{")
    assert warnings(pair_copy) == [NO_CARD, ("not-json", "results.json")]


@pytest.mark.parametrize("name", [CONFIG, "tokenizer_config.json", INDEX])
def test_json_of_any_depth_is_an_error_and_not_a_crash(pair_copy, name, write):
    for depth in [*range(880, 1000, 20), 10**5]:  # at some of them the parser succeeds, and the checks do not
        write(pair_copy / name, '{"a":' * depth + "{}" + "}" * depth)
        assert not verify_checkpoint(pair_copy).ok


def test_deep_json_in_another_file_is_either_read_or_refused(pair_copy, write):
    codes = set()
    for depth in [*range(880, 1000, 20), 10**5]:
        write(pair_copy / "results.json", '{"a":' * depth + '{"auto_map": {"AutoModel": "x.X"}}' + "}" * depth)
        report = verify_checkpoint(pair_copy)
        codes |= {finding.code for finding in report.findings if finding.path == "results.json"}
    assert codes <= {"nested-auto-map", "not-json"} and "not-json" in codes


def test_json_that_the_parser_reads_and_the_checks_cannot_is_an_error(pair_copy, monkeypatch, errors, write):
    """Parsers of later Pythons go deeper than Python's own calls."""
    content = {}
    for _ in range(5000):
        content = {"a": content}
    write(pair_copy / "results.json", "{}")
    read = layout.CheckpointFiles.read_json
    monkeypatch.setattr(
        layout.CheckpointFiles,
        "read_json",
        lambda self, name: content if name == "results.json" else read(self, name),
    )
    assert errors(pair_copy) == [("not-json", "results.json")]


@pytest.mark.parametrize("content", [{"model_type": "electra"}, {}, {"model_type": ["electra_rtd"]}, [], 1, None, "x"])
def test_what_is_no_pair_is_an_error(pair_copy, content, errors, write):
    write(pair_copy / CONFIG, json.dumps(content))
    assert errors(pair_copy) == [("not-a-pair", CONFIG)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mask_prob": 1.5}, "`mask_prob` is 1.5: it must be a number in"),
        ({"eval_seed": "x"}, "`eval_seed`"),
        ({"generator_config": 1}, "`generator_config` is a int"),
        ({"mask_token_id": 10**6}, "`mask_token_id` holds 1000000"),
        ({"embedding_sharing": "tide"}, '"none", "tied"'),
        ({"check_fields": 0}, "`check_fields` is no setting of this network: remove it"),
        ({"to_dict": 0, "hidden_size": 4}, "`to_dict` is no setting of this network: remove it; `hidden_size` is no"),
        ({"dtype": "nonsense"}, "nonsense"),
        ({"special_token_ids": {"a": 1}}, "`special_token_ids` is {'a': 1}: it must be a list"),
        ({"exclude_original": "yes"}, "`exclude_original` is 'yes': it must be True or False"),
        ({"mask_whole_words": True}, "`mask_whole_words` needs `continuation_tokens`, which is None"),
        ({"continuation_tokens": ["0f"]}, "`continuation_tokens` is ['0f']: it must be a hexadecimal number"),
    ],
)
def test_a_field_out_of_range_is_an_error_that_names_it(pair_copy, fields, says, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content.update(fields))
    assert errors(pair_copy) == [("config-invalid", CONFIG)]
    assert says in message(pair_copy, "config-invalid")


@pytest.mark.parametrize(
    ("part", "fields", "codes"),
    [
        ("discriminator_config", {"hidden_size": 64}, {"weights-shape"}),
        ("generator_config", {"intermediate_size": 31}, {"weights-shape"}),
        ("discriminator_config", {"num_hidden_layers": 3}, {"weights-missing"}),
        ("discriminator_config", {"num_hidden_layers": 1}, {"weights-unexpected"}),
        ("discriminator_config", {"num_hidden_layers": 10**9}, {"config-invalid"}),
        ("generator_config", {"num_hidden_layers": 10**9}, {"config-invalid"}),
        ("discriminator_config", {"hidden_size": 10**9, "num_attention_heads": 1}, {"config-invalid"}),
        ("generator_config", {"max_position_embeddings": 10**9}, {"config-invalid"}),
        ("discriminator_config", {"hidden_act": "nonsense"}, {"config-invalid"}),
        ("discriminator_config", {"num_attention_heads": 5}, {"weights-shape"}),
        ("discriminator_config", {"num_attention_heads": 0}, {"config-invalid"}),
        ("discriminator_config", {"num_hidden_layers": -1}, {"config-invalid"}),
        ("discriminator_config", {"hidden_size": -4, "num_attention_heads": 1}, {"config-invalid"}),
    ],
)
@pytest.mark.parametrize("with_export", [False, True])
def test_networks_that_the_weights_are_not_of_are_an_error(
    pair_copy, saved_pair, part, fields, codes, with_export, errors, edit_json
):
    if with_export:
        export_discriminator(saved_pair, pair_copy / "discriminator")
    edit_json(pair_copy, lambda content: content[part].update(fields))
    assert {code for code, _ in errors(pair_copy)} == codes


def test_absurdly_many_layers_are_refused_before_a_model_is_built(pair_copy, monkeypatch, message, edit_json):
    monkeypatch.setattr("electra_rtd.hub_tools.verify.expected_tensors", lambda *of_what: pytest.fail("built"))
    edit_json(pair_copy, lambda content: content["generator_config"].update(num_hidden_layers=10**9))
    assert "num_hidden_layers` is 1000000000: it must be a whole number" in message(pair_copy, "config-invalid")


# -------------------------------------------------------------------------------------------------------- the settings


def edit_network(folder, part, **fields):
    content = json.loads((folder / CONFIG).read_text())
    content[f"{part}_config"].update(fields)
    (folder / CONFIG).write_text(json.dumps(content))


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
        {"mask_whole_words": True, "continuation_tokens": "f" * 500_001},
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
