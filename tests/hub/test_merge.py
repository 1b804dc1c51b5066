"""Weights between a checkpoint and what was adapted from it: the numbers, what fits together, what is written."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraForSequenceClassification,
    ElectraModel,
)

from electra_rtd import ElectraRTDForPreTraining, cli
from electra_rtd.hub_tools import layout, merge_checkpoints, push_checkpoint, verify_checkpoint
from electra_rtd.hub_tools.run_record import MERGE_FILE, read_record


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_model, tokenizer, save_pair):
    """Two pairs that share their embeddings, and two pairs of stock networks, of the same sizes; not to be written."""
    root = tmp_path_factory.mktemp("merge")
    for seed, name in enumerate(("base", "adapted")):
        make_model(seed=seed, embedding_sharing="tied").save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
        save_pair(root / f"stock-{name}", tokenizer, seed=seed)
    return root


def weights(folder):
    return load_file(folder / layout.WEIGHTS)


def same(first, second):
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


def save(model_class, config, folder, seed=0, dtype=torch.float32, tokenizer=None):
    torch.manual_seed(seed)
    model_class(config).to(dtype).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


# ---- The numbers ----


@pytest.mark.parametrize("alpha", [0, 0.3, 0.7, 1.0])
def test_every_weight_of_a_pair_lies_where_alpha_says(folders, tmp_path, alpha):
    merged = merge_checkpoints(folders / "base", folders / "adapted", alpha, tmp_path / "out")
    base, adapted, out = map(weights, (folders / "base", folders / "adapted", merged))
    assert base.keys() == out.keys()
    for name, value in out.items():
        expected = (1 - alpha) * base[name].double() + alpha * adapted[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=5e-7, msg=name)
    assert same(out, base) is (alpha == 0) and same(out, adapted) is (alpha == 1)


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_stock_networks_are_merged_and_stay_stock(folders, tmp_path, network):
    sources = [folders / name / network for name in ("stock-base", "stock-adapted")]
    merged = merge_checkpoints(*sources, 0.25, tmp_path / "out")
    model_class = {"discriminator": ElectraForPreTraining, "generator": ElectraForMaskedLM}[network]
    model, info = model_class.from_pretrained(merged, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    base, adapted = map(weights, sources)
    for name, value in weights(merged).items():
        torch.testing.assert_close(value, 0.75 * base[name] + 0.25 * adapted[name], rtol=0, atol=1e-6, msg=name)
    config = json.loads((merged / layout.CONFIG).read_text())
    assert config["architectures"] == [model_class.__name__] and "auto_map" not in config
    names = {path.name for path in merged.iterdir()}
    assert names == {path.name for path in sources[0].iterdir()} | {MERGE_FILE}
    if network == "generator":  # the head's projection is the table of words
        assert model.generator_lm_head.weight is model.electra.embeddings.word_embeddings.weight


def test_what_is_the_same_in_both_stays_bit_for_bit(folders, tmp_path):
    adapted = load_file(folders / "stock-adapted" / "discriminator" / layout.WEIGHTS)
    base = weights(folders / "stock-base" / "discriminator")
    frozen = [name for name in base if "encoder" in name]
    changed = tmp_path / "adapted"
    network = ElectraForPreTraining.from_pretrained(folders / "stock-base" / "discriminator")
    network.load_state_dict({**adapted, **{name: base[name] for name in frozen}})
    network.save_pretrained(changed)
    out = weights(merge_checkpoints(folders / "stock-base" / "discriminator", changed, 0.7, tmp_path / "out"))
    assert len(frozen) > 20 and all(torch.equal(out[name], base[name]) for name in frozen)


def test_zeros_keep_their_sign_where_the_base_is_kept(make_electra_config, tmp_path):
    base, adapted = (
        save(ElectraForPreTraining, make_electra_config(), tmp_path / name, seed) for seed, name in enumerate("ab")
    )
    tensors = weights(base)
    name = "electra.embeddings.LayerNorm.bias"
    tensors[name] = torch.full_like(tensors[name], -0.0)
    save_file(tensors, base / layout.WEIGHTS, metadata={"format": "pt"})
    out = weights(merge_checkpoints(base, adapted, 0.0, tmp_path / "out"))
    assert torch.signbit(out[name]).all()


def test_the_result_has_the_type_of_the_base_and_is_computed_in_float32(make_electra_config, tmp_path):
    config = make_electra_config()
    base = save(ElectraForPreTraining, config, tmp_path / "base", 0, torch.float16)
    adapted = save(ElectraForPreTraining, config, tmp_path / "adapted", 1)
    merged = merge_checkpoints(base, adapted, 0.3, tmp_path / "out")
    ours, theirs, out = map(weights, (base, adapted, merged))
    for name, value in out.items():
        assert torch.equal(value, torch.lerp(ours[name].float(), theirs[name], 0.3).half()), name
    assert json.loads((merged / layout.CONFIG).read_text())["dtype"] == "float16"
    assert same(weights(merge_checkpoints(base, adapted, 0, tmp_path / "kept")), ours)


def test_a_number_too_large_for_the_type_of_the_base_is_refused(make_electra_config, tmp_path):
    config = make_electra_config()
    base = save(ElectraForPreTraining, config, tmp_path / "base", 0, torch.float16)
    adapted = save(ElectraForPreTraining, config, tmp_path / "adapted", 1)
    tensors = weights(adapted)
    tensors["electra.embeddings.LayerNorm.bias"][0] = 1e5
    save_file(tensors, adapted / layout.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"LayerNorm\.bias of the adapted one, .* in the type of the base"):
        merge_checkpoints(base, adapted, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- Pairs ----


def test_a_merged_pair_verifies_with_its_discriminator_beside_it_and_stays_tied(folders, tmp_path, tokenizer):
    merged = merge_checkpoints(folders / "base", folders / "adapted", 0.5, tmp_path / "out")
    report = verify_checkpoint(merged)
    assert report.ok and {finding.code for finding in report.findings if finding.level == "warning"} == {"no-card"}
    assert "export" in {finding.code for finding in report.findings}
    assert not any("merge.json" in finding.path for finding in report.findings)
    model = ElectraRTDForPreTraining.from_pretrained(merged)
    tables = [network.get_input_embeddings().weight for network in (model.generator, model.discriminator)]
    assert tables[0] is tables[1]
    names = {path.name for path in merged.iterdir()} - {path.name for path in (folders / "base").iterdir()}
    assert names == {"discriminator", MERGE_FILE}
    exported = weights(merged / "discriminator")
    for name, value in model.discriminator.state_dict().items():
        assert torch.equal(exported[name], value), name


@pytest.mark.parametrize("pair_first", [True, False])
def test_of_a_pair_and_a_discriminator_the_discriminator_counts(folders, tmp_path, caplog, pair_first):
    sources = [folders / "base", folders / "stock-adapted" / "discriminator"]
    sources = sources if pair_first else sources[::-1]
    with caplog.at_level("INFO"):
        merged = merge_checkpoints(*sources, 0.25, tmp_path / "out")
    assert "the pair's discriminator is merged" in caplog.text
    pair = ElectraRTDForPreTraining.from_pretrained(folders / "base").discriminator.state_dict()
    stock, out = weights(folders / "stock-adapted" / "discriminator"), weights(merged)
    first, second = (pair, stock) if pair_first else (stock, pair)
    for name, value in out.items():
        torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * second[name], rtol=0, atol=1e-6, msg=name)


def test_a_pair_and_a_generator_do_not_merge(folders, tmp_path):
    with pytest.raises(ValueError, match=r"ElectraForPreTraining, .* a ElectraForMaskedLM"):
        merge_checkpoints(folders / "base", folders / "stock-base" / "generator", 0.5, tmp_path / "out")


# ---- Other stock classes ----


def bert_config(**fields):
    sizes = {"vocab_size": 80, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertConfig(**{**sizes, "intermediate_size": 24, "max_position_embeddings": 32, **fields})


def test_bert_is_merged_with_its_head_and_its_tied_table(tmp_path):
    sources = [save(BertForMaskedLM, bert_config(), tmp_path / name, seed) for seed, name in enumerate("ab")]
    merged = merge_checkpoints(*sources, 0.5, tmp_path / "out")
    model, info = BertForMaskedLM.from_pretrained(merged, output_loading_info=True)
    assert not info["missing_keys"] and model.config.model_type == "bert"
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    for name, value in weights(merged).items():
        expected = (weights(sources[0])[name] + weights(sources[1])[name]) / 2
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("bare_first", [True, False])
def test_a_head_that_only_one_has_is_left_out_and_said(folders, make_electra_config, tmp_path, caplog, bare_first):
    bare = save(ElectraModel, make_electra_config(), tmp_path / "bare", 3)
    headed = folders / "stock-base" / "discriminator"
    sources = [bare, headed] if bare_first else [headed, bare]
    with caplog.at_level("INFO"):
        merged = merge_checkpoints(*sources, 0.5, tmp_path / "out")
    assert f"the head of {headed} is left out, since {bare} has none" in caplog.text
    out = weights(merged)
    assert out.keys() == weights(bare).keys()
    encoder = weights(headed)
    for name, value in out.items():
        middle = (weights(bare)[name] + encoder[f"electra.{name}"]) / 2
        torch.testing.assert_close(value, middle, rtol=0, atol=1e-6, msg=name)
    assert json.loads((merged / layout.CONFIG).read_text())["architectures"] == ["ElectraModel"]


def test_classifiers_of_other_labels_do_not_merge(make_electra_config, tmp_path):
    names = [{0: "neg", 1: "pos"}, {0: "pos", 1: "neg"}]
    sources = [
        save(ElectraForSequenceClassification, make_electra_config(id2label=labels), tmp_path / str(number))
        for number, labels in enumerate(names)
    ]
    with pytest.raises(ValueError, match=r"configuration of .* id2label: \{0: 'neg'"):
        merge_checkpoints(*sources, 0.5, tmp_path / "out")


# ---- What does not fit ----


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan"), float("inf"), True, "0.5", None])
def test_alpha_is_a_number_from_0_to_1(folders, tmp_path, alpha):
    with pytest.raises(ValueError, match=r"`alpha` is .*: it must be a number in \[0, 1\]"):
        merge_checkpoints(folders / "base", folders / "adapted", alpha, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_other_sizes_are_named(folders, make_electra_config, tmp_path):
    config = make_electra_config(num_hidden_layers=3, intermediate_size=40)
    other = save(ElectraForPreTraining, config, tmp_path / "other")
    with pytest.raises(ValueError) as raised:
        merge_checkpoints(folders / "stock-base" / "discriminator", other, 0.5, tmp_path / "out")
    assert "num_hidden_layers: 2 and 3; intermediate_size: 48 and 40" in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_pairs_that_share_otherwise_are_refused(folders, make_model, tokenizer, tmp_path):
    make_model(embedding_sharing="none").save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="embedding_sharing: tied and none"):
        merge_checkpoints(folders / "base", tmp_path / "other", 0.5, tmp_path / "out")


def test_generators_that_are_tied_otherwise_are_refused(make_electra_config, tmp_path):
    sources = [
        save(ElectraForMaskedLM, make_electra_config(tie_word_embeddings=tied), tmp_path / str(tied))
        for tied in (True, False)
    ]
    with pytest.raises(ValueError, match="tie_word_embeddings: True and False"):
        merge_checkpoints(*sources, 0.5, tmp_path / "out")


def test_vocabularies_are_compared_by_what_is_in_them(folders, make_tokenizer, tmp_path):
    """Two of one size, with two words exchanged: the weights have the same shapes, and mean something else."""
    other = shutil.copytree(folders / "adapted", tmp_path / "other")
    text = (other / "tokenizer.json").read_text(encoding="utf-8")
    fields = json.loads(text)
    vocabulary = fields["model"]["vocab"]
    vocabulary["산"], vocabulary["강"] = vocabulary["강"], vocabulary["산"]
    (other / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocabularies of .* differ.*(산|강): \d+ and \d+; (산|강): \d+ and \d+\."):
        merge_checkpoints(folders / "base", other, 0.5, tmp_path / "out")


def test_a_tokenizer_that_reads_text_otherwise_is_refused(folders, tmp_path):
    other = shutil.copytree(folders / "adapted", tmp_path / "other")
    fields = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    fields["normalizer"]["lowercase"] = True
    (other / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokenizers of .* differ.*normalizer"):
        merge_checkpoints(folders / "base", other, 0.5, tmp_path / "out")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_weights_that_are_not_finite_are_refused(folders, nan_weights, saved_pair, tmp_path, which, alpha):
    spoilt = shutil.copytree(saved_pair, tmp_path / "spoilt")
    shutil.copyfile(nan_weights, spoilt / layout.WEIGHTS)
    sources = [saved_pair, saved_pair]
    sources[which] = spoilt
    with pytest.raises(ValueError, match=f"of the {('base', 'adapted one')[which]}, .* holds NaN or Inf"):
        merge_checkpoints(*sources, alpha, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_kinds_of_checkpoints_are_refused(tmp_path, folders):
    (tmp_path / "gpt").mkdir()
    (tmp_path / "gpt" / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
    with pytest.raises(ValueError, match="of type 'gpt2'"):
        merge_checkpoints(folders / "base", tmp_path / "gpt", 0.5, tmp_path / "out")
    (tmp_path / "gpt" / "config.json").write_text('{"model_type": "electra"}')
    with pytest.raises(ValueError, match=r"`architectures` in its config\.json is None"):
        merge_checkpoints(folders / "base", tmp_path / "gpt", 0.5, tmp_path / "out")
    with pytest.raises(OSError, match="no folder with a checkpoint"):
        merge_checkpoints(folders / "base", tmp_path / "nothing", 0.5, tmp_path / "out")


def test_heads_of_two_classes_do_not_merge(tmp_path):
    sources = [
        save(model_class, bert_config(), tmp_path / model_class.__name__)
        for model_class in (BertForMaskedLM, BertForSequenceClassification)
    ]
    with pytest.raises(ValueError, match="only networks of one class can be merged"):
        merge_checkpoints(*sources, 0.5, tmp_path / "out")


def test_a_merge_never_writes_into_what_is_there(folders, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        merge_checkpoints(folders / "base", folders / "adapted", 0.5, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# ---- What is said of it ----


def test_the_record_says_what_was_merged_without_paths(folders, tmp_path):
    chosen = {"labels": "dev.csv", "metric": "accuracy"}
    out = merge_checkpoints(folders / "base", folders / "adapted", 0.7, tmp_path / "out", chosen=chosen)
    assert read_record(out).merge == {
        "base": "base",
        "adapted": "adapted",
        "class": "ElectraRTDForPreTraining",
        "alpha": 0.7,
        "chosen": chosen,
    }
    assert str(tmp_path) not in (out / MERGE_FILE).read_text() and str(folders) not in (out / MERGE_FILE).read_text()


def test_the_record_is_of_the_weights_beside_it_alone(folders, tmp_path, other_weights):
    out = merge_checkpoints(folders / "base", folders / "adapted", 0.7, tmp_path / "out")
    shutil.copyfile(other_weights, out / layout.WEIGHTS)
    assert read_record(out).merge == {}


def test_a_pushed_card_says_that_the_pair_was_merged(folders, tmp_path, hub):
    out = merge_checkpoints(folders / "base", folders / "adapted", 0.7, tmp_path / "out")
    push_checkpoint(out, "alice/merged", token=hub.alice, export=())
    card = hub.files("alice/merged")[layout.CARD].decode("utf-8")
    assert "These weights were merged, not trained: 0.3 of `base` and 0.7 of `adapted`" in card
    assert MERGE_FILE not in hub.files("alice/merged")


# ---- The command ----


def test_the_command_merges_and_prints_the_folder(folders, tmp_path, capsys):
    given = ["merge", str(folders / "base"), str(folders / "adapted"), "--alpha", "0.7"]
    assert cli.main([*given, "--output-dir", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert read_record(tmp_path / "out").merge["alpha"] == 0.7


@pytest.mark.parametrize("alpha", ["1.5", "most", "-1"])
def test_the_command_refuses_another_alpha(folders, tmp_path, capsys, alpha):
    given = ["merge", str(folders / "base"), str(folders / "adapted"), f"--alpha={alpha}"]
    try:
        status = cli.main([*given, "--output_dir", str(tmp_path / "out")])
    except SystemExit as end:
        status = end.code
    assert status == 2 and "--alpha" in capsys.readouterr().err and not list(tmp_path.iterdir())
