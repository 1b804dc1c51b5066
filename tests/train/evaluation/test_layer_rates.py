"""Layer-wise learning rates as in google-research/electra, `_get_layer_lrs` and `exclude_from_weight_decay`."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ElectraForPreTraining,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
)

from electra_rtd.train_tools import layerwise_parameter_groups


RATE, DECAY = 1e-4, 0.8
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
IN_LAYER = [
    *(f"attention.self.{name}" for name in ("query", "key", "value")),
    *(
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ),
]
OF_EMBEDDINGS = ["word_embeddings", "position_embeddings", "token_type_embeddings"]


def by_name(model, **options):
    """Name of a parameter to the rate and weight decay of its one group."""
    groups = layerwise_parameter_groups(model, RATE, DECAY, **options)
    found = [(id(one), (group["lr"], group["weight_decay"])) for group in groups for one in group["params"]]
    assert len(dict(found)) == len(found), "a parameter is in two groups"
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[key]: value for key, value in found}


def expected(prefix, layers, heads):
    """The same, written out: a step of decay for each layer, two more for embeddings; `heads` to their steps."""
    steps = {f"{prefix}.embeddings.{name}.weight": (layers + 2, 0.01) for name in OF_EMBEDDINGS}
    modules = {f"{prefix}.embeddings.LayerNorm": layers + 2}
    modules |= {
        f"{prefix}.encoder.layer.{layer}.{name}": layers + 1 - layer for layer in range(layers) for name in IN_LAYER
    }
    for name, step in {**modules, **heads}.items():
        steps[f"{name}.weight"] = step, 0.0 if "LayerNorm" in name else 0.01
        steps[f"{name}.bias"] = step, 0.0
    return {name: (pytest.approx(RATE * DECAY**step), decay) for name, (step, decay) in steps.items()}


def test_every_parameter_of_electra_has_googles_rate_and_decay(make_electra_config):
    model = ElectraForSequenceClassification(make_electra_config(num_hidden_layers=3))
    heads = {"electra.embeddings_project": 5, "classifier.dense": 0, "classifier.out_proj": 0}
    assert by_name(model) == expected("electra", 3, heads)


def test_every_parameter_of_bert_too_with_the_pooler_between_head_and_layers():
    model = BertForSequenceClassification(BertConfig(vocab_size=80, **SIZES))
    assert by_name(model) == expected("bert", 3, {"bert.pooler.dense": 1, "classifier": 0})


def test_the_rates_are_those_of_googles_code(make_electra_config):
    """`_get_layer_lrs(1e-4, 0.8, 12)` gives 1e-4 * 0.8 ** 14 for embeddings, ** 13 for layer 0, ** 2 for layer 11."""
    rates = by_name(ElectraForTokenClassification(make_electra_config(num_hidden_layers=12)))
    query = "electra.encoder.layer.{}.attention.self.query.weight"
    assert rates["electra.embeddings.word_embeddings.weight"][0] == pytest.approx(4.398e-6, rel=1e-3)
    assert rates[query.format(0)][0] == pytest.approx(5.498e-6, rel=1e-3)
    assert rates[query.format(11)][0] == pytest.approx(6.4e-5)
    assert rates["classifier.weight"][0] == pytest.approx(1e-4)


def test_normalisations_are_known_by_their_kind_whatever_they_are_called():
    sizes = {**SIZES, "vocab_size": 80, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = ModernBertForSequenceClassification(
        ModernBertConfig(**sizes, cls_token_id=1, sep_token_id=2, norm_bias=True, attention_bias=True)
    )
    found = by_name(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert {name for name, (_, decay) in found.items() if decay == 0} == {
        name for name in found if "norm." in name or name.endswith("bias")
    }
    (of_layer,) = {rate for name, (rate, _) in found.items() if name.startswith("model.layers.1.")}
    assert of_layer == pytest.approx(RATE * DECAY**3)
    assert found["model.embeddings.norm.weight"][0] == pytest.approx(RATE * DECAY**5)
    assert found["model.final_norm.weight"][0] == pytest.approx(RATE * DECAY)


def test_what_is_frozen_is_in_no_group(make_electra_config):
    model = ElectraForSequenceClassification(make_electra_config())
    model.electra.embeddings.requires_grad_(False)
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    assert set(by_name(model)) == trained and len(trained) < len(list(model.named_parameters()))


def test_an_encoder_without_head_keeps_its_rates(make_electra_config):
    config = make_electra_config()
    bare, whole = by_name(ElectraModel(config)), by_name(ElectraForPreTraining(config))
    assert bare == {
        name.removeprefix("electra."): value for name, value in whole.items() if name.startswith("electra.")
    }


def test_an_optimizer_takes_the_groups_and_weight_decay_is_a_choice(make_electra_config):
    model = ElectraForSequenceClassification(make_electra_config())
    optimizer = torch.optim.AdamW(layerwise_parameter_groups(model, RATE, DECAY, weight_decay=0.1))
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.1}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("rate", "decay", "said"),
    [(0.0, 0.8, "`learning_rate` is 0.0"), (1e-4, 0.0, "`decay` is 0.0"), (1e-4, 1.1, "`decay` is 1.1")],
)
def test_a_number_out_of_range_is_refused(rate, decay, said, make_electra_config):
    with pytest.raises(ValueError, match=said):
        layerwise_parameter_groups(ElectraModel(make_electra_config()), rate, decay)


def test_a_network_without_a_list_of_layers_is_refused(make_electra_config):
    model = ElectraModel(make_electra_config())
    model.encoder.layer = torch.nn.Identity()
    with pytest.raises(ValueError, match="ElectraModel has no list of 2 layers"):
        layerwise_parameter_groups(model, RATE, DECAY)
