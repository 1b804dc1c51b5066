"""What an `ElectraRTDConfig` promises: its defaults, its round trips, and a `ValueError` for what cannot be meant."""

import copy
import json
import math

import pytest
from transformers import AutoConfig, BertConfig, ElectraConfig

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining, ElectraRTDOutput


DEFAULTS = {  # the table of the contract
    "mask_prob": 0.15,
    "replace_prob": 0.85,
    "random_token_prob": 0.0,
    "sampling_temperature": 1.0,
    "gen_weight": 1.0,
    "disc_weight": 50.0,
    "mask_token_id": None,
    "pad_token_id": None,
    "special_token_ids": [],
    "embedding_sharing": "none",
    "eval_seed": 0,
}
AUTO_MAP = {
    "AutoConfig": "configuration_electra_rtd.ElectraRTDConfig",
    "AutoModel": "modeling_electra_rtd.ElectraRTDForPreTraining",
    "AutoModelForPreTraining": "modeling_electra_rtd.ElectraRTDForPreTraining",
}
OTHERS = {
    "mask_prob": 0.25,
    "replace_prob": 0.5,
    "random_token_prob": 0.125,
    "sampling_temperature": 0.75,
    "gen_weight": 2.0,
    "disc_weight": 25.0,
    "mask_token_id": 79,
    "pad_token_id": 7,
    "special_token_ids": [0, 7, 31, 32, 79],
    "embedding_sharing": "none",
    "eval_seed": 1234,
}


def test_it_builds_without_arguments_and_has_the_defaults_of_the_contract():
    config = ElectraRTDConfig()
    assert config.model_type == ElectraRTDConfig.model_type == "electra_rtd"
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    for part in ("generator_config", "discriminator_config"):
        assert type(getattr(config, part)) is ElectraConfig
        assert ElectraRTDConfig.sub_configs[part] is ElectraConfig


def test_no_two_configurations_share_a_value():
    one, other = ElectraRTDConfig(), ElectraRTDConfig()
    one.special_token_ids.append(3)
    one.generator_config.hidden_size = 8
    one.auto_map["AutoModel"] = "elsewhere"
    assert other.special_token_ids == [] and other.generator_config.hidden_size == ElectraConfig().hidden_size
    assert other.auto_map == AUTO_MAP
    ids = [1, 2]
    config = ElectraRTDConfig(special_token_ids=ids)
    ids.append(3)
    assert config.special_token_ids == [1, 2]


def same(one, other):
    """Equal in every field, the networks' fields too; where it was read from aside."""
    ignored = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}

    def cleaned(value):
        return {
            key: cleaned(item) if isinstance(item, dict) else item for key, item in value.items() if key not in ignored
        }

    assert cleaned(one.to_dict()) == cleaned(other.to_dict())
    return True


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_every_field_survives_saving_and_loading(sharing, make_config, tmp_path):
    config = make_config(generator={"num_hidden_layers": 1}, **{**OTHERS, "embedding_sharing": sharing})
    config.save_pretrained(tmp_path)
    for loaded in (
        ElectraRTDConfig.from_pretrained(tmp_path),
        AutoConfig.from_pretrained(tmp_path),
        ElectraRTDConfig.from_dict(json.loads(config.to_json_string())),
        ElectraRTDConfig.from_dict(json.loads(config.to_json_string(use_diff=False))),
        copy.deepcopy(config),
    ):
        assert type(loaded) is ElectraRTDConfig and same(loaded, config)
        for name, value in {**OTHERS, "embedding_sharing": sharing}.items():
            assert getattr(loaded, name) == value, name
        assert loaded.generator_config.num_hidden_layers == 1
        assert loaded.discriminator_config.num_hidden_layers == 2
        assert loaded.generator_config.hidden_size == 16 and loaded.discriminator_config.hidden_size == 32


def test_the_defaults_survive_saving_and_loading(tmp_path):
    ElectraRTDConfig().save_pretrained(tmp_path)
    loaded = ElectraRTDConfig.from_pretrained(tmp_path)
    assert same(loaded, ElectraRTDConfig())
    assert {name: getattr(loaded, name) for name in DEFAULTS} == DEFAULTS


def test_fields_can_be_overridden_while_loading(make_config, tmp_path):
    make_config().save_pretrained(tmp_path)
    loaded = ElectraRTDConfig.from_pretrained(tmp_path, disc_weight=7.0, eval_seed=3)
    assert (loaded.disc_weight, loaded.eval_seed) == (7.0, 3)


OUT_OF_RANGE = [
    *[("mask_prob", value) for value in (0, 0.0, -0.1, 1.0001, 15, math.nan, math.inf, None, "0.15", True)],
    *[("replace_prob", value) for value in (-0.01, 1.01, math.nan, None, "0.85", False)],
    *[("random_token_prob", value) for value in (-0.01, 0.16, 1.5, math.nan, None, "0", True)],
    *[("sampling_temperature", value) for value in (0, 0.0, -1.0, math.nan, math.inf, None, "1", True)],
    *[("gen_weight", value) for value in (-1.0, math.nan, math.inf, None, "1")],
    *[("disc_weight", value) for value in (-50.0, math.nan, math.inf, None, "50")],
    *[("eval_seed", value) for value in (0.5, None, "0", True)],
    *[("embedding_sharing", value) for value in ("gde", "tie", "", None, True, ["tied"])],
    *[("mask_token_id", value) for value in (-1, 80, 1.0, "[MASK]", True)],
    *[("pad_token_id", value) for value in (-1, 80)],
    *[("special_token_ids", value) for value in ([0, -1], [80], ["[CLS]"], [0, 1.5])],
]
ALLOWED = {
    "mask_prob": r"\(0, 1\]",
    "replace_prob": r"\[0, 1\]",
    "random_token_prob": r"\[0, 1 - replace_prob\]",
    "sampling_temperature": "above 0",
    "gen_weight": ">= 0",
    "disc_weight": ">= 0",
    "eval_seed": "integer",
    "embedding_sharing": '"none", "tied", "gdes"',
    "mask_token_id": "0 to 79",
    "pad_token_id": "0 to 79",
    "special_token_ids": "0 to 79",
}


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=lambda value: repr(value))
def test_a_value_out_of_range_is_named_with_what_is_allowed(name, value, make_config):
    with pytest.raises(ValueError, match=ALLOWED[name]) as error:
        make_config(**{name: value})
    assert f"`{name}`" in str(error.value)
    wrong = value[-1] if name == "special_token_ids" and value != [0, -1] else value
    assert repr(-1 if wrong == [0, -1] else wrong) in str(error.value)


IN_RANGE = [
    *[("mask_prob", value) for value in (1, 1.0, 1e-9, 0.4)],
    *[("replace_prob", value) for value in (0, 1, 0.5)],
    *[("random_token_prob", value) for value in (0, 0.15, 1 - 0.85)],
    *[("sampling_temperature", value) for value in (1, 0.01, 100)],
    *[("gen_weight", value) for value in (0, 3)],
    *[("disc_weight", value) for value in (0, 70)],
    *[("eval_seed", value) for value in (-3, 2**40)],
    *[("special_token_ids", value) for value in ([], [0, 79])],
]


@pytest.mark.parametrize(("name", "value"), IN_RANGE, ids=lambda value: repr(value))
def test_the_ends_of_the_allowed_range_are_allowed(name, value, make_config):
    assert getattr(make_config(**{name: value}), name) == value


def test_mask_and_random_probabilities_may_add_up_to_one_but_not_to_more(make_config):
    for replace_prob, random_token_prob in ((0.8, 0.2), (0.7, 0.3), (0.9, 0.1), (0.0, 1.0)):
        make_config(replace_prob=replace_prob, random_token_prob=random_token_prob)
    with pytest.raises(ValueError, match=r"`random_token_prob` is 0\.3.*replace_prob=0\.8"):
        make_config(replace_prob=0.8, random_token_prob=0.3)


def test_a_field_set_wrong_after_construction_stops_the_model(make_config):
    config = make_config()
    config.mask_prob = 15
    with pytest.raises(ValueError, match="`mask_prob` is 15"):
        ElectraRTDForPreTraining(config)


def test_a_saved_configuration_that_was_edited_wrong_is_refused(make_config, tmp_path):
    make_config().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**saved, "embedding_sharing": "es"}))
    with pytest.raises(ValueError, match=r"`embedding_sharing` is 'es'.*\"none\", \"tied\""):
        ElectraRTDConfig.from_pretrained(tmp_path)


def test_networks_of_different_vocabularies_are_refused(make_config):
    with pytest.raises(ValueError, match=r"(?s)vocabular.*90.*80.*same tokenizer"):
        make_config(generator={"vocab_size": 90})


@pytest.mark.parametrize("field", ["embedding_size", "max_position_embeddings", "type_vocab_size"])
def test_tied_embeddings_need_one_shape(field, make_config):
    make_config(generator={field: 64})  # apart, they may differ
    with pytest.raises(ValueError, match=rf"(?s)embedding_sharing=\"tied\".*`{field}` is 64.*none"):
        make_config(generator={field: 64}, embedding_sharing="tied")


def test_a_network_configuration_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"`generator_config` is a BertConfig.*ElectraConfig"):
        ElectraRTDConfig(generator_config=BertConfig())


def test_joining_two_configurations_copies_them(make_electra_config):
    generator, discriminator = make_electra_config(hidden_size=16), make_electra_config()
    before = generator.to_dict(), discriminator.to_dict()
    config = ElectraRTDConfig.from_generator_discriminator_configs(
        generator, discriminator, mask_prob=0.3, pad_token_id=5, mask_token_id=4
    )
    assert (config.mask_prob, config.pad_token_id, config.mask_token_id) == (0.3, 5, 4)
    config.generator_config.hidden_size, config.discriminator_config.vocab_size = 99, 99
    assert (generator.to_dict(), discriminator.to_dict()) == before
    config = ElectraRTDConfig.from_generator_discriminator_configs(generator, discriminator)
    generator.hidden_size = 8
    assert config.generator_config.hidden_size == 16 and config.discriminator_config.hidden_size == 32


def test_the_padding_id_reaches_both_networks(make_model):
    model = make_model(pad_token_id=11)
    for network in (model.generator, model.discriminator):
        assert network.config.pad_token_id == 11
        assert network.get_input_embeddings().padding_idx == 11


def test_the_auto_map_names_three_auto_classes_and_no_repository(make_config, tmp_path):
    assert ElectraRTDConfig().auto_map == AUTO_MAP
    make_config().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == AUTO_MAP


def test_an_auto_map_that_points_to_a_repository_is_normalised_when_saved(make_config, tmp_path):
    config = make_config(auto_map={name: f"someone/pair--{row}" for name, row in AUTO_MAP.items()})
    config.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again/config.json").read_text())["auto_map"] == AUTO_MAP


def test_evaluation_loops_are_spared_all_but_the_logits_and_labels():
    ignored = ElectraRTDConfig.keys_to_ignore_at_inference
    fields = list(ElectraRTDOutput.__dataclass_fields__)
    assert set(ignored) <= set(fields)
    assert [name for name in fields if name not in ignored] == ["loss", "logits", "disc_labels"]


def test_the_vocabulary_size_is_that_of_both_networks(make_config):
    config = make_config()
    assert config.vocab_size == 80
    config.vocab_size = 96
    assert config.generator_config.vocab_size == config.discriminator_config.vocab_size == 96


@pytest.mark.parametrize("model_type", ["electra", "bert", None])
def test_the_configuration_of_one_network_is_no_pair(model_type, make_electra_config):
    fields = {**make_electra_config().to_dict(), "model_type": model_type}
    if model_type is None:
        del fields["model_type"]
    with pytest.raises(ValueError, match=r"(?s)one network.*from_generator_discriminator_pretrained"):
        ElectraRTDConfig.from_dict(fields)
    assert ElectraRTDConfig.from_dict({"mask_prob": 0.3}).mask_prob == 0.3


@pytest.mark.parametrize("field", ["_attn_implementation_internal", "_attn_implementation", "attn_implementation"])
def test_a_file_cannot_choose_an_attention_to_fetch_but_the_caller_can_choose(field, make_config):
    fields = {**make_config().to_dict(), field: "someone/kernel"}
    config = ElectraRTDConfig.from_dict(fields)
    assert "someone/kernel" not in (config._attn_implementation, *vars(config).values())
    assert ElectraRTDConfig.from_dict(fields, attn_implementation="eager")._attn_implementation == "eager"
    renamed = {**make_config().to_dict(), "attribute_map": {"innocent": field}, "innocent": "someone/kernel"}
    assert ElectraRTDConfig.from_dict(renamed)._attn_implementation != "someone/kernel"
    assert field in fields  # the caller's dictionary stays as it was
