"""A generator where none was published: cut from the discriminator, or borrowed from a BERT, against their sources."""

import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close
from transformers import BertConfig, BertForMaskedLM, BertModel, ElectraForPreTraining

from electra_rtd import ElectraRTDForPreTraining


build = ElectraRTDForPreTraining.from_generator_discriminator_pretrained
cut = ElectraRTDForPreTraining.from_discriminator_pretrained


@pytest.fixture
def make_discriminator(make_electra_config):
    """A stock discriminator of some sizes, in eval mode, with every weight random."""

    def make(**sizes):
        torch.manual_seed(1)
        return stirred(ElectraForPreTraining(make_electra_config(**sizes)))

    return make


@pytest.fixture
def make_bert(ids):
    """A BERT with its masked language model, in eval mode, with every weight random."""

    def make(**fields):
        torch.manual_seed(2)
        sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 3}
        sizes |= {"vocab_size": ids.vocab_size, "max_position_embeddings": 128, "pad_token_id": ids.pad}
        return stirred(BertForMaskedLM(BertConfig(**{**sizes, **fields})))

    return make


def stirred(network):
    for weight in network.parameters():
        weight.data += 0.3 * torch.randn(weight.shape)
    return network.eval()


def words(network):
    return network.get_input_embeddings().weight


# ---- Cut ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedding_size", [16, 32], ids=["behind a projection", "as wide as the layers"])
def test_a_cut_generator_reads_as_the_first_layers_of_the_discriminator_do(
    embedding_size, make_discriminator, tokenizer, make_batch
):
    discriminator = make_discriminator(num_hidden_layers=4, embedding_size=embedding_size)
    model, batch = cut(discriminator, tokenizer=tokenizer, generator_layers=3), make_batch(segments=True)
    theirs = discriminator(**batch, output_hidden_states=True).hidden_states
    ours = model.generator(**batch, output_hidden_states=True).hidden_states
    assert len(ours) == 4 and len(theirs) == 5  # the embeddings, and each layer
    for one, other in zip(ours, theirs, strict=False):
        assert torch.equal(one, other)
    assert_close(model.discriminator(**batch).logits, discriminator(**batch).logits, rtol=0, atol=0)


@pytest.mark.parametrize(("deepest", "kept"), [(1, 1), (2, 2), (4, 2), (6, 2), (12, 4), (24, 8)])
def test_by_default_a_third_of_the_layers_is_cut_and_two_at_least(deepest, kept, make_discriminator):
    discriminator = make_discriminator(num_hidden_layers=deepest, hidden_size=8, embedding_size=8)
    config = cut(discriminator).config
    assert (config.generator_config.num_hidden_layers, config.num_hidden_layers) == (kept, deepest)


def test_the_head_is_new_and_its_output_is_the_word_embeddings(make_discriminator):
    discriminator, models = make_discriminator(), []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        models.append(cut(discriminator))
    first, same, other = (model.generator for model in models)
    for generator in (first, same, other):
        assert generator.generator_lm_head.weight is words(generator)
        assert not generator.generator_lm_head.bias.any()
    dense = [generator.generator_predictions.dense.weight for generator in (first, same, other)]
    assert torch.equal(dense[0], dense[1]) and not torch.equal(dense[0], dense[2])
    assert dense[0].std().item() == pytest.approx(first.config.initializer_range, rel=0.3)


def test_what_is_cut_is_a_copy(make_discriminator, tokenizer):
    """Of the discriminator that was given; within the pair they share what `embedding_sharing` says, and no more."""
    discriminator = make_discriminator()
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    shared = {}
    for sharing in ("tied", "none"):
        model = cut(discriminator, tokenizer=tokenizer, embedding_sharing=sharing)
        ours = {id(one): name for name, one in model.discriminator.named_parameters()}
        shared[sharing] = {ours[id(one)] for one in model.generator.parameters() if id(one) in ours}
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
    assert shared["none"] == set()
    assert {name.removeprefix("electra.embeddings.") for name in shared["tied"]} == {
        "word_embeddings.weight",
        "position_embeddings.weight",
        "token_type_embeddings.weight",
        "LayerNorm.weight",
        "LayerNorm.bias",
    }
    for name, value in discriminator.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_embeddings_are_shared_unless_somebody_says_otherwise(make_discriminator):
    """They are one table in ELECTRA's pretraining, and equal ones cannot disagree: no warning."""
    discriminator = make_discriminator()
    model = cut(discriminator)
    assert model.config.embedding_sharing == "tied" and words(model.generator) is words(model.discriminator)
    assert torch.equal(words(model.generator), words(discriminator))
    apart = cut(discriminator, embedding_sharing="none", mask_prob=0.3)
    assert words(apart.generator) is not words(apart.discriminator) and apart.config.mask_prob == 0.3
    assert torch.equal(words(apart.generator), words(apart.discriminator))


def gradients(model, batch):
    torch.manual_seed(3)  # of the corruption
    output = model.train()(**batch)
    output.loss.backward()
    return output, {name: one.grad for name, one in model.named_parameters(remove_duplicate=False)}


def test_no_gradient_of_the_discriminator_changes_by_a_generator_of_its_own(make_discriminator, tokenizer, make_batch):
    discriminator, batch = make_discriminator(num_hidden_layers=3), make_batch()
    output, ours = gradients(cut(discriminator, tokenizer=tokenizer, embedding_sharing="none"), batch)
    attended, labels = batch["attention_mask"].bool(), output.disc_labels
    logits = discriminator.train()(output.disc_input_ids, attention_mask=batch["attention_mask"]).logits
    (50 * binary_cross_entropy_with_logits(logits[attended], labels[attended].float())).backward()
    for name, weight in discriminator.named_parameters():
        gradient = ours[f"discriminator.{name}"]
        assert_close(gradient, weight.grad, rtol=1e-3, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}")


def test_a_shared_embedding_learns_from_both_and_nothing_else_changes(make_discriminator, tokenizer, make_batch):
    found = []
    for sharing in ("none", "tied"):
        torch.manual_seed(4)  # of the head
        found.append(cut(make_discriminator(num_hidden_layers=3), tokenizer=tokenizer, embedding_sharing=sharing))
    (_, apart), (_, tied) = (gradients(model, make_batch()) for model in found)
    for name, gradient in tied.items():
        part = name.split(".", 1)[1]
        if part.startswith("electra.embeddings."):
            expected = apart[f"generator.{part}"] + apart[f"discriminator.{part}"]
        elif part == "generator_lm_head.weight":  # the same weight as the table
            expected = apart[name] + apart["discriminator.electra.embeddings.word_embeddings.weight"]
        else:
            expected = apart[name]
        assert_close(gradient, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_a_folder_its_name_and_a_loaded_discriminator_mean_the_same(pair_folders, tokenizer, ids):
    loaded = ElectraForPreTraining.from_pretrained(pair_folders[1])
    models = []
    for discriminator, named in ((pair_folders[1], None), (str(pair_folders[1]), None), (loaded, tokenizer)):
        torch.manual_seed(0)
        models.append(cut(discriminator, tokenizer=named))
    for network in (models[1].config.generator_config, models[1].config.discriminator_config):
        assert network._name_or_path == str(pair_folders[1])  # what a card names as its origin
    for model in models:
        assert model.config.mask_token_id == ids.mask and model.config.special_token_ids == ids.special
        for name, value in models[0].state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), name
    assert cut(loaded).config.mask_token_id is None  # a loaded model has no tokenizer beside it


def test_a_discriminator_in_half_precision_gives_a_pair_in_float32(make_discriminator, tmp_path, caplog):
    make_discriminator().half().save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = cut(tmp_path)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not [record for record in caplog.records if "different embeddings" in record.getMessage()]


@pytest.mark.parametrize("layers", [0, 3, -1, True, 1.5, "2"])
def test_layers_that_are_not_there_are_refused(layers, make_discriminator):
    with pytest.raises(ValueError, match=rf"`generator_layers` is {layers!r}: of the discriminator's layers.*1 to 2"):
        cut(make_discriminator(), generator_layers=layers)


def test_an_argument_of_a_network_that_is_not_loaded_is_refused(pair_folders, make_discriminator, make_bert):
    """It would do nothing."""
    with pytest.raises(ValueError, match="`generator_num_hidden_layers` is for loading a generator"):
        cut(pair_folders[1], generator_num_hidden_layers=1)
    with pytest.raises(ValueError, match="`discriminator_revision` is for loading a discriminator"):
        cut(make_discriminator(), discriminator_revision="main")
    with pytest.raises(ValueError, match="`generator_num_hidden_layers` is for loading a generator"):
        build(make_bert(), make_discriminator(), generator_num_hidden_layers=1)
    model = cut(pair_folders[1], discriminator_num_hidden_layers=1)
    assert (model.config.num_hidden_layers, model.config.generator_config.num_hidden_layers) == (1, 1)


@pytest.mark.parametrize("sharing", ["none", "tied"])
def test_a_pair_with_a_cut_generator_loads_as_it_was_saved(
    sharing, make_discriminator, tokenizer, make_batch, tmp_path
):
    discriminator = make_discriminator()
    model = cut(discriminator, tokenizer=tokenizer, embedding_sharing=sharing)
    assert_close(model.discriminator(**make_batch()).logits, discriminator(**make_batch()).logits, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path)
    loaded, info = ElectraRTDForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(loaded(**make_batch()).loss, model(**make_batch()).loss)


# ---- Borrowed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False], ids=["output tied", "output of its own"])
def test_a_borrowed_generator_has_the_logits_of_its_bert(tied, make_bert, make_discriminator, make_batch, tmp_path):
    bert, batch = make_bert(tie_word_embeddings=tied), make_batch(segments=True)
    expected = bert(**batch).logits
    bert.save_pretrained(tmp_path)
    before = {name: value.clone() for name, value in bert.state_dict().items()}
    for source in (bert, tmp_path):
        model = build(source, make_discriminator())
        assert_close(model.generator(**batch).logits, expected, rtol=0, atol=1e-5)
        assert (model.generator.generator_lm_head.weight is words(model.generator)) == tied
        assert model.config.generator_config._name_or_path == ("" if source is bert else str(tmp_path))
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items()), "it is the caller's"


def test_a_borrowed_generator_loads_as_it_was_saved(make_bert, make_discriminator, tokenizer, make_batch, tmp_path):
    model = build(make_bert(), make_discriminator(), tokenizer=tokenizer)
    model.save_pretrained(tmp_path)
    loaded = ElectraRTDForPreTraining.from_pretrained(tmp_path)
    assert torch.equal(loaded(**make_batch()).loss, model(**make_batch()).loss)
    assert loaded.config.generator_config.model_type == "electra"


def test_bert_as_it_was_published_years_ago(make_bert, make_discriminator, make_batch, tmp_path):
    """LayerNorm's weights are called gamma and beta, the tied output is left out, other heads lie beside."""
    bert, batch = make_bert(), make_batch()
    bert.save_pretrained(tmp_path)
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(tmp_path / "model.safetensors").items()
        if not name.startswith("cls.predictions.decoder.")
    }
    weights |= {"bert.pooler.dense.weight": torch.ones(16, 16), "bert.pooler.dense.bias": torch.ones(16)}
    weights |= {"cls.seq_relationship.weight": torch.ones(2, 16), "cls.seq_relationship.bias": torch.ones(2)}
    assert any("gamma" in name for name in weights) and "cls.predictions.bias" in weights
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = build(tmp_path, make_discriminator())
    assert_close(model.generator(**batch).logits, bert(**batch).logits, rtol=0, atol=1e-5)


def test_the_first_layers_of_a_bert_are_a_generator_too(make_bert, make_discriminator, make_batch, tmp_path):
    bert, batch = make_bert(), make_batch()
    bert.save_pretrained(tmp_path)
    model = build(tmp_path, make_discriminator(), generator_num_hidden_layers=2)
    hidden = bert(**batch, output_hidden_states=True).hidden_states[2]
    assert_close(model.generator.electra(**batch)[0], hidden, rtol=0, atol=1e-5)
    assert_close(model.generator(**batch).logits, bert.cls(hidden), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_a_bert_whose_head_electra_cannot_have_is_refused(activation, make_bert, make_discriminator, tmp_path):
    """The layers follow `hidden_act`; the head of ELECTRA's generator has its own activation."""
    bert = make_bert(hidden_act=activation)
    bert.save_pretrained(tmp_path)
    for source in (bert, tmp_path):
        with pytest.raises(ValueError, match=rf"`generator` is a BERT of `hidden_act='{activation}'`.*'gelu' alone"):
            build(source, make_discriminator())


def test_a_bert_without_its_masked_language_model_is_refused(make_bert, make_discriminator, tmp_path):
    BertModel(make_bert().config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"`generator` .*lacks \d+ weights of BertForMaskedLM \(cls\.predictions"):
        build(tmp_path, make_discriminator())
    with pytest.raises(ValueError, match="`generator` is a BertModel: it must be a ElectraForMaskedLM"):
        build(BertModel(make_bert().config), make_discriminator())


def test_a_bert_is_no_discriminator(make_bert, pair_folders):
    with pytest.raises(ValueError, match="`discriminator` is a BertForMaskedLM"):
        cut(make_bert())


def test_a_bert_of_another_vocabulary_is_refused(make_bert, pair_folders, make_tokenizer, tmp_path):
    make_bert(vocab_size=81).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)different vocabularies.* 81 .*80"):
        build(tmp_path, pair_folders[1])
    make_tokenizer(extra_words=["책상"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)different vocabularies: their tokenizers, of 80 and 81 tokens"):
        build(tmp_path, pair_folders[1])


def test_tying_a_bert_to_a_discriminator_warns_and_keeps_the_discriminators_table(
    make_bert, make_discriminator, caplog
):
    discriminator = make_discriminator(embedding_size=16)
    with caplog.at_level(logging.WARNING):
        model = build(make_bert(), discriminator, embedding_sharing="tied")
    assert [record for record in caplog.records if "different embeddings" in record.getMessage()]
    assert words(model.generator) is words(model.discriminator)
    assert torch.equal(words(model.generator), words(discriminator))


def test_a_generator_that_learns_alone_returns_a_tuple_on_request(make_model, make_batch):
    model, batch, outputs = make_model().train(), make_batch(), []
    model.generator_alone = True
    for return_dict in (True, False):
        torch.manual_seed(0)
        outputs.append(model(**batch, return_dict=return_dict))
    output, values = outputs
    assert isinstance(values, tuple) and len(values) == len(output) == 5
    assert all(torch.equal(one, other) for one, other in zip(output.to_tuple(), values, strict=True))
