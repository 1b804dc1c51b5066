"""The model as its users meet it: built from two checkpoints, saved, loaded, resized, trained and taken apart."""

import inspect
import json
import logging
import re

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close
from transformers import (
    AddedToken,
    AutoModel,
    AutoModelForPreTraining,
    BertConfig,
    BertForMaskedLM,
    DataCollatorWithPadding,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraModel,
    Trainer,
    TrainingArguments,
)

from electra_rtd import ElectraRTDForPreTraining


build = ElectraRTDForPreTraining.from_generator_discriminator_pretrained
TIED = [
    f"electra.embeddings.{name}"
    for name in (
        "word_embeddings.weight",
        "position_embeddings.weight",
        "token_type_embeddings.weight",
        "LayerNorm.weight",
        "LayerNorm.bias",
    )
]


def assert_same_weights(network, other):
    theirs = other.state_dict()
    assert network.state_dict().keys() == theirs.keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def assert_tied(model, lm_head=True):
    """One storage, not equal values."""
    generator, discriminator = dict(named(model.generator)), dict(named(model.discriminator))
    for name in TIED:
        assert generator[name] is discriminator[name], name
    if lm_head:
        assert model.generator.generator_lm_head.weight is generator[TIED[0]]


def named(network):
    return network.named_parameters(remove_duplicate=False)


def train(model, batch, steps=2):
    """Steps of Adam, as a user's loop would do them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return model.eval()


# ---- Two checkpoints to one model -----------------------------------------------------------------------------------


def test_both_networks_are_stock_classes_and_keep_their_weights(pair_folders, ids):
    generator, discriminator = pair_folders
    model = build(generator, discriminator)
    assert type(model) is ElectraRTDForPreTraining and not model.training
    assert type(model.generator) is ElectraForMaskedLM and type(model.discriminator) is ElectraForPreTraining
    assert_same_weights(model.generator, ElectraForMaskedLM.from_pretrained(generator))
    assert_same_weights(model.discriminator, ElectraForPreTraining.from_pretrained(discriminator))
    assert model.config.mask_token_id == ids.mask and model.config.pad_token_id == ids.pad
    assert sorted(model.config.special_token_ids) == ids.special


def test_paths_strings_and_loaded_models_mean_the_same(pair_folders, tokenizer, make_batch):
    generator, discriminator = pair_folders
    loaded = (ElectraForMaskedLM.from_pretrained(generator), ElectraForPreTraining.from_pretrained(discriminator))
    models = [build(generator, discriminator), build(str(generator), str(discriminator))]
    models += [build(*loaded, tokenizer=tokenizer), build(loaded[0], discriminator)]
    losses = [model(**make_batch()).loss for model in models]
    assert all(torch.equal(loss, losses[0]) for loss in losses)


def test_loaded_models_stay_the_callers_own(pair_folders, tokenizer, make_batch):
    generator = ElectraForMaskedLM.from_pretrained(pair_folders[0])
    discriminator = ElectraForPreTraining.from_pretrained(pair_folders[1])
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    vocab_size, pad_token_id = generator.config.vocab_size, generator.config.pad_token_id
    model = build(generator, discriminator, tokenizer=tokenizer, embedding_sharing="tied")
    train(model, make_batch())
    model.resize_token_embeddings(90)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert (generator.config.vocab_size, generator.config.pad_token_id) == (vocab_size, pad_token_id)


def test_fields_of_the_configuration_override_defaults_and_tokenizer(pair_folders, ids):
    model = build(*pair_folders, mask_prob=0.3, disc_weight=10.0, special_token_ids=[ids.cls], eval_seed=9)
    config = model.config
    assert (config.mask_prob, config.disc_weight, config.special_token_ids, config.eval_seed) == (
        0.3,
        10.0,
        [ids.cls],
        9,
    )
    assert config.mask_token_id == ids.mask
    with pytest.raises(ValueError, match="`mask_prob` is 3"):
        build(*pair_folders, mask_prob=3)


def test_prefixed_arguments_reach_one_network(pair_folders):
    model = build(*pair_folders, generator_hidden_dropout_prob=0.25, discriminator_dtype=torch.float32)
    assert model.config.generator_config.hidden_dropout_prob == 0.25
    assert model.config.discriminator_config.hidden_dropout_prob == 0.0
    assert not hasattr(model.config, "discriminator_dtype")


def test_swapped_arguments_are_refused(pair_folders, tokenizer):
    generator, discriminator = pair_folders
    with pytest.raises(ValueError, match=r"(?s)`generator` .*lacks.*swapped"):
        build(discriminator, generator)
    loaded = (ElectraForMaskedLM.from_pretrained(generator), ElectraForPreTraining.from_pretrained(discriminator))
    with pytest.raises(ValueError, match="`generator` is a ElectraForPreTraining: it must be a ElectraForMaskedLM"):
        build(loaded[1], loaded[0], tokenizer=tokenizer)
    with pytest.raises(ValueError, match="`discriminator` is a ElectraForMaskedLM"):
        build(loaded[0], loaded[0], tokenizer=tokenizer)


def test_a_checkpoint_of_another_kind_is_refused_before_it_is_loaded(pair_folders, tmp_path, capsys):
    sizes = {"vocab_size": 80, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(intermediate_size=16, **sizes)).save_pretrained(tmp_path)
    capsys.readouterr()
    for name, networks in (("generator", (tmp_path, pair_folders[1])), ("discriminator", (pair_folders[0], tmp_path))):
        with pytest.raises(ValueError, match=rf"`{name}` .*model type 'bert'.*ELECTRA"):
            build(*networks)
    printed = capsys.readouterr()
    assert not re.search("MISSING|newly initialized", printed.out + printed.err)  # no table of weights before it


def rewrite(folder, **fields):
    """Change fields of a folder's config.json; `None` takes one out."""
    file = folder / "config.json"
    changed = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_a_checkpoint_with_more_layers_than_its_configuration_names_is_refused(name, save_pair, tokenizer, tmp_path):
    folders = save_pair(tmp_path, tokenizer, **{name: {"num_hidden_layers": 3}})
    rewrite(tmp_path / name, num_hidden_layers=1)
    with pytest.raises(ValueError, match=rf"`{name}` .*more layers .*, 1 \(electra\.encoder\.layer\.1\..*num_hidden"):
        build(*folders)
    model = build(*folders, **{f"{name}_num_hidden_layers": 2})  # on purpose
    assert len(getattr(model, name).electra.encoder.layer) == 2


def test_a_checkpoint_without_model_type_is_taken_for_electra(save_pair, tokenizer, tmp_path, ids):
    folders = save_pair(tmp_path, tokenizer)
    for folder in folders:
        rewrite(folder, model_type=None)
    model = build(*folders)
    assert_same_weights(model.discriminator, ElectraForPreTraining.from_pretrained(folders[1]))
    assert model.config.special_token_ids == ids.special


def test_a_stock_checkpoint_is_no_pair(pair_folders):
    for folder in pair_folders:
        with pytest.raises(ValueError, match=r"(?s)one network.*from_generator_discriminator_pretrained"):
            ElectraRTDForPreTraining.from_pretrained(folder)


def test_a_pair_is_no_network_of_a_pair(saved_pair, pair_folders):
    with pytest.raises(ValueError, match=r"`discriminator` .*'electra_rtd', loads with `from_pretrained`"):
        build(pair_folders[0], saved_pair)


def test_added_special_tokens_are_special_in_the_model(save_pair, make_tokenizer, tmp_path, ids):
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<speaker>"]})
    tokenizer.add_tokens([AddedToken("<turn>", special=True)])
    sizes = {"vocab_size": len(tokenizer)}
    folders = save_pair(tmp_path, tokenizer, generator=sizes, discriminator=sizes)
    assert build(*folders).config.special_token_ids == [*ids.special, 80, 81]


def test_a_tokenizer_without_a_mask_token_is_refused(pair_folders, make_tokenizer):
    with pytest.raises(ValueError, match=r"80 tokens.*no mask token.*generator was trained with"):
        build(*pair_folders, tokenizer=make_tokenizer(mask_token=None))


def test_a_tokenizer_larger_than_the_networks_is_refused_with_both_numbers(pair_folders, make_tokenizer):
    with pytest.raises(ValueError, match=r"tokenizer has 82 tokens, the networks 80.*resize_token_embeddings"):
        build(*pair_folders, tokenizer=make_tokenizer(extra_words=["새말", "헌말"]))


def test_two_checkpoints_whose_tokenizers_differ_are_refused(save_pair, tokenizer, tmp_path):
    generator, discriminator = save_pair(tmp_path, tokenizer)
    vocabulary = generator / "tokenizer.json"
    text = vocabulary.read_text(encoding="utf-8")
    swapped = text.replace('"학교"', '"#"').replace('"병원"', '"학교"').replace('"#"', '"병원"')
    vocabulary.write_text(swapped, encoding="utf-8")
    with pytest.raises(ValueError, match=r"(?s)different vocabularies.*80 and 80 tokens.*one release"):
        build(generator, discriminator)
    assert build(generator, discriminator, tokenizer=tokenizer).config.mask_token_id == 79  # who knows may insist


def test_networks_of_different_vocabularies_are_refused(save_pair, tokenizer, tmp_path):
    pair = save_pair(tmp_path, tokenizer, generator={"vocab_size": 96})
    with pytest.raises(ValueError, match=r"(?s)vocabular.*96.*80"):
        build(*pair)


def test_without_any_tokenizer_the_ids_stay_unset_and_the_first_step_says_so(save_pair, tmp_path, make_batch):
    model = build(*save_pair(tmp_path))
    assert model.config.mask_token_id is None
    with pytest.raises(ValueError, match=r"`mask_token_id` is None.*tokenizer\.mask_token_id"):
        model(**make_batch())


def test_the_tokenizer_beside_either_checkpoint_is_found(save_pair, tokenizer, tmp_path, ids):
    for number, name in enumerate(("generator", "discriminator")):
        pair = save_pair(tmp_path / str(number))
        tokenizer.save_pretrained(tmp_path / str(number) / name)
        assert build(*pair).config.mask_token_id == ids.mask


UNEQUAL = {
    "equal size": {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48},
    "other embedding size": {"embedding_size": 8},
    "no projection": {"embedding_size": 16},
    "one segment in the generator": {"type_vocab_size": 1},
    "more segments in the generator": {"type_vocab_size": 4},
    "shorter generator": {"max_position_embeddings": 24},
    "deeper generator": {"num_hidden_layers": 3},
}


@pytest.mark.parametrize("generator", UNEQUAL.values(), ids=UNEQUAL.keys())
def test_networks_of_unlike_sizes_train_save_and_load(generator, save_pair, tokenizer, make_batch, tmp_path):
    model = build(*save_pair(tmp_path, tokenizer, generator=generator))
    batch = make_batch(segments=True)
    train(model, batch)
    model.save_pretrained(tmp_path / "joined")
    assert torch.equal(
        ElectraRTDForPreTraining.from_pretrained(tmp_path / "joined")(**batch).loss, model(**batch).loss
    )


def test_the_shorter_network_limits_the_length(save_pair, tokenizer, make_batch, tmp_path):
    model = build(*save_pair(tmp_path, tokenizer, generator={"max_position_embeddings": 24}))
    assert model(**make_batch((24,))).loss.isfinite()
    with pytest.raises(ValueError, match=r"25 tokens.*`max_position_embeddings` is 24.*max_length=24"):
        model(**make_batch((25,)))


def warnings_of(caplog, action):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        result = action()
    return result, [record.getMessage() for record in caplog.records if "different embeddings" in record.getMessage()]


def test_tying_different_tables_warns_and_keeps_the_discriminators(pair_folders, caplog):
    model, warned = warnings_of(caplog, lambda: build(*pair_folders, embedding_sharing="tied"))
    assert len(warned) == 1 and '"none"' in warned[0]
    assert_tied(model)
    discriminator = ElectraForPreTraining.from_pretrained(pair_folders[1])
    assert_same_weights(model.discriminator, discriminator)
    table = discriminator.get_input_embeddings().weight
    assert torch.equal(model.generator.get_input_embeddings().weight, table)


def test_tying_equal_tables_or_tying_nothing_is_silent(pair_folders, tokenizer, caplog):
    generator = ElectraForMaskedLM.from_pretrained(pair_folders[0])
    discriminator = ElectraForPreTraining.from_pretrained(pair_folders[1])
    assert warnings_of(caplog, lambda: build(*pair_folders))[1] == []
    discriminator.electra.embeddings.load_state_dict(generator.electra.embeddings.state_dict())
    arguments = {"tokenizer": tokenizer, "embedding_sharing": "tied"}
    model, warned = warnings_of(caplog, lambda: build(generator, discriminator, **arguments))
    assert warned == []
    assert_tied(model)
    assert_same_weights(model.generator, generator)


def test_tying_tables_of_different_shapes_is_refused(save_pair, tokenizer, tmp_path):
    pair = save_pair(tmp_path, tokenizer, generator={"embedding_size": 8})
    with pytest.raises(ValueError, match=r"`embedding_size` is 8 in the generator and 16 in the discriminator"):
        build(*pair, embedding_sharing="tied")


# ---- Saving, loading, taking apart ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_a_saved_model_loads_with_the_same_weights_and_loss(sharing, make_model, make_batch, tmp_path):
    model, batch = make_model(embedding_sharing=sharing), make_batch()
    model.save_pretrained(tmp_path)
    for auto_class in (ElectraRTDForPreTraining, AutoModel, AutoModelForPreTraining):
        loaded, info = auto_class.from_pretrained(tmp_path, output_loading_info=True)
        assert type(loaded) is ElectraRTDForPreTraining
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        assert_same_weights(loaded, model)
        assert torch.equal(loaded(**batch).loss, model(**batch).loss)


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_either_part_saves_as_a_stock_checkpoint_with_nothing_missing(sharing, make_model, make_batch, tmp_path):
    model = train(make_model(embedding_sharing=sharing), make_batch())
    model.save_pretrained(tmp_path / "joined")
    model = ElectraRTDForPreTraining.from_pretrained(tmp_path / "joined")
    for name, stock_class in (("generator", ElectraForMaskedLM), ("discriminator", ElectraForPreTraining)):
        part = getattr(model, name)
        part.save_pretrained(tmp_path / name)
        assert {path.name for path in (tmp_path / name).iterdir()} == {"config.json", "model.safetensors"}
        loaded, info = stock_class.from_pretrained(tmp_path / name, output_loading_info=True)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        assert_same_weights(loaded, part)
        assert "auto_map" not in loaded.config.to_dict()
    encoder, info = ElectraModel.from_pretrained(tmp_path / "discriminator", output_loading_info=True)
    assert not info["missing_keys"]
    assert_same_weights(encoder, model.discriminator.electra)


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_a_checkpoint_holds_every_weight_once(sharing, make_model, tmp_path):
    model = make_model(embedding_sharing=sharing)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    unique = sum(parameter.numel() for parameter in model.parameters())
    assert sum(value.numel() for value in stored.values()) == unique
    assert "generator.generator_lm_head.weight" not in stored
    of_discriminator = [name for name in stored if name.startswith("discriminator.electra.embeddings.")]
    assert len(of_discriminator) == (0 if sharing == "tied" else 5)


def test_tied_embeddings_stay_one_storage_after_training_saving_and_loading(make_model, make_batch, tmp_path):
    model, batch = make_model(embedding_sharing="tied"), make_batch(segments=True)
    assert_tied(model)
    for turn in range(2):
        train(model, batch)
        assert_tied(model)
        model.save_pretrained(tmp_path / str(turn))
        loss = model(**batch).loss
        model = ElectraRTDForPreTraining.from_pretrained(tmp_path / str(turn))
        assert_tied(model)
        assert torch.equal(model(**batch).loss, loss)
    assert_tied(model.to(torch.float64))


def test_untied_embeddings_are_two_and_the_generators_head_stays_tied_to_its_own(make_model, make_batch, tmp_path):
    model = train(make_model(), make_batch())
    model.save_pretrained(tmp_path)
    for one in (model, ElectraRTDForPreTraining.from_pretrained(tmp_path)):
        table = one.generator.get_input_embeddings().weight
        assert one.generator.generator_lm_head.weight is table
        assert one.discriminator.get_input_embeddings().weight is not table


def test_loading_draws_no_random_weight(make_model, tmp_path):
    model = make_model()
    model.save_pretrained(tmp_path)
    torch.manual_seed(1)
    first = ElectraRTDForPreTraining.from_pretrained(tmp_path)
    torch.manual_seed(2)
    assert_same_weights(first, ElectraRTDForPreTraining.from_pretrained(tmp_path))


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_a_model_from_scratch_is_initialised_as_stock_electra(sharing, make_config):
    torch.manual_seed(0)
    model = ElectraRTDForPreTraining(make_config(embedding_sharing=sharing))
    for network in (model.generator, model.discriminator):
        for name, parameter in network.named_parameters():
            if "LayerNorm" in name:
                assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
            elif name.endswith(("bias", "delta")):
                assert (parameter == 0).all(), name
            elif parameter.numel() > 400:
                assert 0.15 < parameter.std() < 0.25, name  # `initializer_range` is 0.2 here
        assert (network.get_input_embeddings().weight[7] == 0).all(), "the padding row"


# ---- Embeddings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
@pytest.mark.parametrize("size", [95, 80, 70])
def test_resizing_changes_both_networks_and_the_result_saves_and_loads(
    sharing, size, make_config, tmp_path, make_batch
):
    torch.manual_seed(0)
    model = ElectraRTDForPreTraining(
        make_config(embedding_sharing=sharing, mask_token_id=33, special_token_ids=[0, 7, 31, 32, 33])
    ).eval()
    before = [
        network.get_input_embeddings().weight.detach().clone() for network in (model.generator, model.discriminator)
    ]
    returned = model.resize_token_embeddings(size)
    assert returned is model.get_input_embeddings()
    assert model.config.vocab_size == size
    kept = min(size, 80)
    for network, old in zip((model.generator, model.discriminator), before, strict=True):
        assert network.config.vocab_size == size
        weight = network.get_input_embeddings().weight
        assert weight.shape == (size, 16) and torch.equal(weight[:kept], old[:kept])
    assert model.generator.generator_lm_head.weight.shape == (size, 16)
    assert model.generator.generator_lm_head.bias.shape == (size,)
    assert model.generator.generator_lm_head.weight is model.generator.get_input_embeddings().weight
    if sharing == "tied":
        assert_tied(model)
    batch = make_batch()
    batch["input_ids"] = batch["input_ids"].clamp(max=69)
    batch["input_ids"][0, 3] = size - 1
    train(model, batch)
    model.save_pretrained(tmp_path)
    loaded = ElectraRTDForPreTraining.from_pretrained(tmp_path)
    assert loaded.config.vocab_size == size
    assert torch.equal(loaded(**batch).loss, model(**batch).loss)
    if sharing == "tied":
        assert_tied(loaded)


def test_resizing_pads_to_a_multiple_and_says_its_size_without_an_argument(make_model):
    model = make_model()
    assert model.resize_token_embeddings(81, pad_to_multiple_of=8).num_embeddings == 88
    assert model.config.vocab_size == model.generator.config.vocab_size == 88
    assert model.resize_token_embeddings().num_embeddings == 88


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_input_embeddings_are_the_discriminators_and_can_be_replaced(sharing, make_model, make_batch):
    model = make_model(embedding_sharing=sharing)
    assert model.get_input_embeddings() is model.discriminator.electra.embeddings.word_embeddings
    torch.manual_seed(0)
    table = torch.nn.Embedding(80, 16, padding_idx=7)
    generators = model.generator.get_input_embeddings()
    model.set_input_embeddings(table)
    if sharing == "gdes":  # its values, of which the generator's are a part
        assert_close(model.get_input_embeddings().weight, table.weight, rtol=0, atol=1e-6)
    else:
        assert model.get_input_embeddings() is table
    if sharing == "tied":
        assert_tied(model)
        assert model.generator.get_input_embeddings().weight is table.weight
    else:
        assert model.generator.get_input_embeddings() is generators
    assert model(**make_batch()).loss.isfinite()


# ---- Training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_every_parameter_moves_in_training(sharing, make_model, make_batch):
    model = make_model(embedding_sharing=sharing, dropout=0.1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(model, make_batch((20, 14, 9), segments=True), steps=2)
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert not still, f"did not move: {still}"
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_the_losses_fall_when_it_trains_on_one_batch(make_model, make_batch):
    model, batch = make_model(mask_prob=0.3), make_batch((20, 14, 9, 20))
    before = model(**batch)
    after = train(model, batch, steps=60)(**batch)
    assert after.mlm_loss < 0.7 * before.mlm_loss and after.disc_loss < before.disc_loss


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_gradient_checkpointing_changes_no_gradient(dropout, make_model, make_batch):
    gradients = []
    for checkpointing in (False, True):
        model = make_model(dropout=dropout).train()
        if checkpointing:
            # Transformers 5.23 renames it.
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        calls = count_calls(model)
        torch.manual_seed(3)
        model(**make_batch()).loss.backward()
        assert set(calls.values()) == {2 if checkpointing else 1}, "layers are run again, in both networks"
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def count_calls(model):
    calls = {}
    for name, module in model.named_modules():
        if name.endswith("intermediate"):
            module.register_forward_hook(lambda *_, n=name: calls.update({n: calls.get(n, 0) + 1}))
    return calls


def test_the_signature_is_the_contracts_and_names_no_label():
    names = list(inspect.signature(ElectraRTDForPreTraining.forward).parameters)
    assert names == [
        "self",
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "position_ids",
        "output_hidden_states",
        "output_attentions",
        "return_loss",
        "return_dict",
        "kwargs",
    ]
    assert inspect.signature(ElectraRTDForPreTraining.forward).parameters["return_loss"].default is True
    assert ElectraRTDForPreTraining.accepts_loss_kwargs is False


def test_the_stock_trainer_trains_and_reports_eval_loss(make_model, tokenizer, tmp_path):
    sentences = [
        "나는 학교에서 책을 읽는다 .",
        "환자는 병원에 온다 .",
        "오늘은 비가 온다 , 내일은 눈이 온다 .",
        "밥 ?",
    ]
    rows = [{**tokenizer(sentence), "sentence": sentence} for sentence in sentences * 2]
    model = make_model(dropout=0.1)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=3,
        max_steps=2,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows[:4], processing_class=tokenizer
    )
    trainer.train()
    assert trainer.state.total_flos > 0
    metrics = trainer.evaluate()
    collate = DataCollatorWithPadding(tokenizer)
    plain = [tokenizer(sentence) for sentence in sentences]
    with torch.no_grad():
        losses = [float(model.eval()(**collate(part)).loss) for part in (plain[:3], plain[3:])]
    # The Trainer weighs the loss of a batch by its examples.
    assert metrics["eval_loss"] == pytest.approx((3 * losses[0] + losses[1]) / 4, rel=1e-5)


# ---- Attention back ends and compilation ----------------------------------------------------------------------------


def test_every_attention_of_the_installed_release_gives_the_same_numbers(make_model, make_batch):
    model, batch = make_model(mask_prob=0.4), make_batch()
    if not model._supports_sdpa:
        pytest.skip("ELECTRA has one attention before transformers 5")
    results = []
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        for network in (model.generator, model.discriminator):
            assert network.config._attn_implementation == attention
        results.append(model(**batch))
    for name, value in results[0].items():
        assert_close(value, results[1][name], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_numbers(make_model, make_batch):
    """The graph is captured and run as it is: generating code for it takes a minute on a CPU."""
    model, batch = make_model(mask_prob=0.4), make_batch()
    expected = model(**batch)
    torch.compiler.reset()
    output = torch.compile(model, backend="eager")(**batch)
    torch.compiler.reset()
    for name, value in expected.items():
        assert_close(output[name], value, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
