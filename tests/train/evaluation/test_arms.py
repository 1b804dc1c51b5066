"""Encoders as arms: what a path may be, heads that the seed alone decides, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, ElectraForPreTraining, ElectraForSequenceClassification, ElectraModel

from electra_rtd.hub_tools import export_discriminator
from electra_rtd.train_tools.evaluation.arms import open_arm


@pytest.fixture
def stock(pair_folders, tmp_path):
    """A copy of a stock discriminator with its tokenizer, which a test may spoil."""
    return shutil.copytree(pair_folders[1], tmp_path / "stock")


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def differing(first, second):
    """Names of weights that two models do not share."""
    assert first.keys() == second.keys()
    return {name for name in first if not torch.equal(first[name], second[name])}


def test_a_pair_its_discriminator_and_the_stock_export_are_one_arm(saved_pair, tmp_path):
    exported = export_discriminator(saved_pair, tmp_path / "discriminator")
    pair, stock = open_arm("a", str(saved_pair)), open_arm("b", str(exported))
    assert type(pair.encoder()) is ElectraModel is type(stock.encoder())
    assert differing(weights(pair.encoder()), weights(stock.encoder())) == set()
    assert pair.fingerprint == stock.fingerprint


def test_the_encoder_of_a_fine_tuning_is_the_checkpoints_and_in_float32(stock):
    ElectraForPreTraining.from_pretrained(stock).half().save_pretrained(stock)  # as small pairs are published
    model = open_arm("a", str(stock)).model("single", 3, 0)
    assert isinstance(model, ElectraForSequenceClassification) and model.config.num_labels == 3
    kept = {name: tensor.float() for name, tensor in load_file(stock / "model.safetensors").items()}
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    for name, tensor in model.electra.state_dict().items():
        assert torch.equal(tensor, kept[f"electra.{name}"]), name


def test_arms_of_one_seed_have_the_same_head_whatever_was_drawn_before(pair_folders, tmp_path, save_pair, tokenizer):
    other = open_arm("b", str(save_pair(tmp_path, tokenizer, discriminator={"num_hidden_layers": 3}, seed=7)[1]))
    one = open_arm("a", str(pair_folders[1]))
    torch.manual_seed(1)
    first = one.model("single", 3, seed=4)
    torch.manual_seed(2)
    second = other.model("single", 3, seed=4)
    heads = [
        {name: one for name, one in model.state_dict().items() if "classifier" in name} for model in (first, second)
    ]
    assert len(heads[0]) == 4 and differing(*heads) == set()
    assert heads[0]["classifier.dense.weight"].std() == pytest.approx(0.02, rel=0.2)
    assert heads[0]["classifier.dense.bias"].abs().sum() == 0
    third = one.model("single", 3, seed=5).state_dict()
    assert differing(weights(first), third) == {"classifier.dense.weight", "classifier.out_proj.weight"}


def test_a_head_draws_nothing_from_the_global_generator(pair_folders):
    arm = open_arm("a", str(pair_folders[1]))
    state = torch.random.get_rng_state()
    arm.model("tokens", 3, seed=0), open_arm("r", f"random:{pair_folders[1]}").model("single", 2, seed=0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_fine_tuning_leaves_the_arm_as_it_was(pair_folders):
    arm = open_arm("a", str(pair_folders[1]))
    with torch.no_grad():
        for one in arm.model("single", 2, 0).parameters():
            one.zero_()
    assert arm.model("single", 2, 0).electra.embeddings.word_embeddings.weight.abs().sum() > 0


def test_a_pooler_that_the_checkpoint_lacks_is_drawn_with_the_head(tokenizer, tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=80, **sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    arms = [open_arm("a", str(tmp_path / "bert")) for _ in range(2)]
    assert arms[0].fingerprint == arms[1].fingerprint
    models = [weights(arm.model("pair", 2, 0)) for arm in arms]
    assert differing(*models) == set()
    changed = differing(models[0], weights(arms[0].model("pair", 2, 1)))
    assert changed == {"bert.pooler.dense.weight", "classifier.weight"}


def test_random_weights_are_those_of_the_seed_and_the_head_is_that_of_other_arms(saved_pair):
    arm, trained = open_arm("r", f"random:{saved_pair}"), open_arm("a", str(saved_pair))
    first, again, other = (weights(arm.model("single", 2, seed)) for seed in (0, 0, 1))
    assert differing(first, again) == set()
    query = "electra.encoder.layer.0.attention.self.query.weight"
    assert query in differing(first, other)
    beside = weights(trained.model("single", 2, 0))
    assert query in differing(first, beside) and not any("classifier" in name for name in differing(first, beside))
    assert arm.fingerprint != trained.fingerprint
    assert torch.equal(arm.encoder(0).state_dict()[query.removeprefix("electra.")], first[query])


def test_the_fingerprint_is_of_weights_configuration_and_tokenizer(stock, make_tokenizer):
    def now():
        return open_arm("a", str(stock)).fingerprint

    found = {now()}
    assert now() in found
    tensors = load_file(stock / "model.safetensors")
    tensors["electra.encoder.layer.0.output.dense.bias"][0] += 1e-3
    save_file(tensors, stock / "model.safetensors", metadata={"format": "pt"})
    found.add(now())
    config = json.loads((stock / "config.json").read_text())
    (stock / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.3}))
    found.add(now())
    made = make_tokenizer()
    made.backend_tokenizer.normalizer = None
    made.save_pretrained(stock)
    found.add(now())
    assert len(found) == 4


def test_using_a_tokenizer_does_not_change_its_fingerprint(stock):
    arm = open_arm("a", str(stock))
    arm.tokenizer(["나 너"], truncation=True, max_length=8)
    arm.tokenizer.backend_tokenizer.enable_truncation(4)
    assert type(arm)("a", "a", arm.encoder(), arm.tokenizer).tokenizer_fingerprint == arm.tokenizer_fingerprint


def test_an_encoder_without_tokenizer_is_refused_or_gets_the_one_that_is_named(pair_folders, stock):
    for file in stock.glob("*token*"):
        file.unlink()
    with pytest.raises(
        ValueError, match=r"The arm mine \(.*stock\): .*holds no tokenizer .* Name one with `tokenizer`"
    ):
        open_arm("mine", str(stock))
    arm = open_arm("mine", str(stock), tokenizer=str(pair_folders[0]))
    assert arm.fingerprint == open_arm("a", str(pair_folders[1])).fingerprint


def test_a_tokenizer_that_is_larger_than_the_vocabulary_is_refused(stock, make_tokenizer):
    make_tokenizer(extra_words=["산책", "바닷가"]).save_pretrained(stock)
    with pytest.raises(ValueError, match="its tokenizer has 82 tokens, the encoder 80"):
        open_arm("a", str(stock))


def test_an_encoder_that_lacks_weights_is_refused(stock):
    tensors = load_file(stock / "model.safetensors")
    del tensors["electra.encoder.layer.1.output.dense.weight"]
    save_file(tensors, stock / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"it lacks 1 weights of ElectraModel \(encoder.layer.1.output.dense.weight"):
        open_arm("a", str(stock))


@pytest.mark.parametrize(
    ("field", "value", "said"), [("num_hidden_layers", 1, "holds, against"), ("hidden_size", 64, "")]
)
def test_weights_of_another_network_are_refused(field, value, said, stock):
    config = json.loads((stock / "config.json").read_text())
    (stock / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(ValueError, match=rf"The arm a .*{said}.*config.json"):
        open_arm("a", str(stock))


def test_no_code_of_a_checkpoint_runs(stock, tmp_path):
    config = json.loads((stock / "config.json").read_text())
    config |= {"model_type": "my_own", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (stock / "config.json").write_text(json.dumps(config))
    (stock / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match=r"The arm a .*no type that this transformers knows"):
        open_arm("a", str(stock))
    assert not (tmp_path / "ran").exists()


def test_a_path_that_is_not_there_is_an_error_that_names_the_arm(tmp_path):
    with pytest.raises(OSError, match=r"The arm after \(.*nowhere\): there is no folder with a checkpoint"):
        open_arm("after", str(tmp_path / "nowhere"))


def test_opening_an_arm_says_nothing(stock, capfd):
    open_arm("a", str(stock)).model("single", 2, 0)
    open_arm("r", f"random:{stock}").model("single", 2, 0)
    assert capfd.readouterr() == ("", "")
