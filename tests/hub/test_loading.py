"""Loading, in one place: is it a pair, the pair, a tokenizer; and what a name means, a path or a Hub id."""

import json
from collections import Counter
from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from electra_rtd import pairing_electra_rtd
from electra_rtd.hub_tools import export_discriminator, layout, push_checkpoint, verify_checkpoint
from electra_rtd.hub_tools.loading import (
    check_is_pair,
    find_tokenizer,
    load_common_tokenizer,
    load_pair,
    load_tokenizer,
    open_tokenizer,
)
from electra_rtd.hub_tools.names import is_hub_id
from electra_rtd.hub_tools.verify import is_folder
from electra_rtd.hub_tools.vocabulary import SPECIAL_TOKENS
from electra_rtd.train_tools.arguments import AdaptArguments
from electra_rtd.train_tools.inspector.inspection import inspect_texts
from electra_rtd.train_tools.provenance import describe_run
from electra_rtd.train_tools.start import load_start
from electra_rtd.train_tools.text.finding import find_sources


# ---- A path or a Hub id? --------------------------------------------------------------------------------------------

IS_HUB_ID = {
    "user/name": True,
    "user/name-v1.5_x": True,
    "gpt2": True,
    "user/here": False,  # a folder, too: what is here goes first
    "here": False,
    "notes.txt": False,
    "missing/folder": True,  # could be one: nobody can tell
    "./name": False,
    "../name": False,
    "~/name": False,
    "/home/name": False,
    "C:\\name": False,
    "C:/name": False,
    "user\\name": False,
    "a/b/c": False,
    "user/": False,
    "/name": False,
    "user/*.csv": False,
    "data?": False,
    "[ab]": False,
    "user/na me": False,
    "user/name@v1": False,
    "": False,
    "user/" + "n" * 300: False,
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("user/here").mkdir(parents=True)
    Path("here").mkdir()
    Path("notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize("name", IS_HUB_ID)
def test_a_name_is_a_hub_id_where_it_can_be_nothing_else(here, name):
    assert is_hub_id(name) == IS_HUB_ID[name]
    assert is_hub_id(name, with_owner=True) == (IS_HUB_ID[name] and "/" in name)


def test_a_path_or_no_name_is_no_hub_id(here):
    assert not is_hub_id(Path("user/name")) and not is_hub_id(None) and not is_hub_id(["user/name"])


@pytest.mark.parametrize("name", [name for name in IS_HUB_ID if 0 < len(name) < 256])
def test_everybody_who_asks_gets_that_answer(here, name, make_arguments):
    """`verify`, the text of a run, and what a run writes down of where it started."""
    if IS_HUB_ID[name]:
        assert is_folder(name) is False and find_sources([name]) is None
    elif Path(name).is_dir():
        assert is_folder(name) is True
    else:
        with pytest.raises(ValueError, match="is no folder"):
            is_folder(name)
    arguments = AdaptArguments(checkpoint=name, train_file=["text.txt"])
    is_kept = IS_HUB_ID[name] and "/" in name
    described = describe_run(arguments, make_arguments())["settings"]
    assert described.get("checkpoint", "") == (name if is_kept else Path(name).name)


# ---- Pairs ----------------------------------------------------------------------------------------------------------


def test_a_pair_loads_with_every_weight(saved_pair):
    model = load_pair(saved_pair, dtype=torch.float32)
    stored = load_file(saved_pair / layout.WEIGHTS)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in stored.items()) and not model.training


@pytest.mark.parametrize("load", [load_pair, lambda folder: export_discriminator(folder, folder.parent / "export")])
def test_weights_that_would_be_random_or_lost_are_refused(pair_copy, load):
    weights = load_file(pair_copy / layout.WEIGHTS)
    lost = weights.pop("discriminator.discriminator_predictions.dense.weight")
    save_file(weights, pair_copy / layout.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights \(discriminator.*dense.weight"):
        load(pair_copy)
    more = {**weights, "discriminator.discriminator_predictions.dense.weight": lost, "generator.more": lost.clone()}
    save_file(more, pair_copy / layout.WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"holds, against its configuration, 1 weights \(generator.more"):
        load(pair_copy)
    assert not (pair_copy.parent / "export").exists()


def test_what_is_no_pair_is_refused_by_its_type(pair_folders, tmp_path):
    for refuse in (check_is_pair, load_pair):
        with pytest.raises(ValueError, match="of type 'electra', not 'electra_rtd'"):
            refuse(pair_folders[0])
        with pytest.raises(OSError, match="no folder with a checkpoint"):
            refuse(tmp_path / "missing")


# ---- Tokenizers -----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """How often the tokenizer of each place is opened."""
    count, find = Counter(), pairing_electra_rtd.find_tokenizer

    def counting(source, **options):
        count[str(source)] += 1
        return find(source, **options)

    monkeypatch.setattr(pairing_electra_rtd, "find_tokenizer", counting)
    loads = AutoTokenizer.from_pretrained

    def count_load(source, **options):
        count["loads"] += 1
        return loads(source, **options)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", count_load)
    return count


@pytest.mark.parametrize("is_named", [False, True])
def test_a_run_from_two_networks_opens_each_tokenizer_once(opened, pair_folders, saved_pair, is_named):
    generator, discriminator = map(str, pair_folders)
    named = str(saved_pair) if is_named else None
    arguments = AdaptArguments(generator=generator, discriminator=discriminator, tokenizer=named, train_file=["x"])
    model, loaded = load_start(arguments, datasets.Dataset.from_dict({"text": ["나"]}), None)
    assert model.config.mask_token_id == loaded.mask_token_id
    expected = {named: 1} if named else {generator: 1, discriminator: 1}
    assert opened == {**expected, "loads": len(expected)}


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_from_a_pair_opens_its_tokenizer_once(opened, saved_pair, resumed):
    arguments = AdaptArguments(checkpoint=str(saved_pair), train_file=["x"])
    last = str(saved_pair) if resumed else None
    load_start(arguments, datasets.Dataset.from_dict({"text": ["나"]}), last)
    assert opened == {str(saved_pair): 1, "loads": 1}


def test_two_networks_without_a_tokenizer_are_named(save_pair, tmp_path):
    folders = save_pair(tmp_path)
    with pytest.raises(ValueError, match=r"Neither .*discriminator nor .*generator holds a tokenizer"):
        load_common_tokenizer(folders[1], folders[0])


def test_two_networks_of_different_vocabularies_are_refused(save_pair, make_tokenizer, tmp_path):
    generator, discriminator = save_pair(tmp_path, make_tokenizer())
    make_tokenizer(extra_words=["새말"]).save_pretrained(generator)
    with pytest.raises(ValueError, match="have different vocabularies"):
        load_common_tokenizer(discriminator, generator)


@pytest.fixture
def silent(tmp_path):
    """A cased vocabulary whose folder says nothing of casing: BERT's default is lower case, without marks."""
    folder = tmp_path / "silent"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "책", "Python", "für"]) + "\n", encoding="utf-8")
    return folder


TEXT, TOKENS = "책 Python für", ["책", "Python", "für"]


@pytest.mark.parametrize("said", [{}, {"tokenizer_config": {"tokenizer_class": "BertTokenizer"}}])
def test_what_reads_text_reads_it_as_a_run_does(silent, said):
    for name, content in said.items():
        (silent / f"{name}.json").write_text(json.dumps(content))
    for load in (load_tokenizer, open_tokenizer, load_common_tokenizer):
        assert load(silent).tokenize(TEXT) == TOKENS
    assert find_tokenizer(silent).tokenize(TEXT) != TOKENS, (
        "or this test shows nothing: what everybody else makes of it"
    )


def test_a_tokenizer_named_for_a_push_reads_text_as_a_run_does(hub, pair_copy, silent, tmp_path):
    for name in layout.TOKENIZER:
        (pair_copy / name).unlink(missing_ok=True)
    entries = (silent / "vocab.txt").read_text(encoding="utf-8").split()
    config = json.loads((pair_copy / layout.CONFIG).read_text())
    ids = {"mask_token_id": entries.index("[MASK]"), "pad_token_id": 0, "special_token_ids": [0, 1, 2, 3, 4]}
    (pair_copy / layout.CONFIG).write_text(json.dumps({**config, **ids}))
    push_checkpoint(pair_copy, "alice/pair", tokenizer=silent, token=hub.alice)
    for name, content in hub.files("alice/pair").items():
        if "/" not in name or name.startswith("discriminator/"):
            path = tmp_path / "here" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for folder in (tmp_path / "here", tmp_path / "here" / "discriminator"):
        assert AutoTokenizer.from_pretrained(folder).tokenize(TEXT) == TOKENS
    assert verify_checkpoint(tmp_path / "here").ok


def test_an_export_has_the_tokenizer_that_everybody_loads_with_the_pair(pair_copy, silent, tmp_path):
    """Another one would make two ways of reading text in one repository, which `verify` refuses."""
    for name in layout.TOKENIZER:
        (pair_copy / name).unlink(missing_ok=True)
    (silent / "vocab.txt").rename(pair_copy / "vocab.txt")
    (pair_copy / layout.TOKENIZER_CONFIG).write_text('{"tokenizer_class": "BertTokenizer"}')
    export_discriminator(pair_copy, tmp_path / "export")
    loaded = [AutoTokenizer.from_pretrained(folder).tokenize(TEXT) for folder in (pair_copy, tmp_path / "export")]
    assert loaded[0] == loaded[1]


def test_inspect_reads_a_pair_as_a_run_would(saved_pair, opened):
    inspect_texts(str(saved_pair), ["나 너"])
    assert opened[str(saved_pair)] == 1


def test_revision_and_token_reach_every_file(monkeypatch):
    seen = []
    monkeypatch.setattr(pairing_electra_rtd, "find_tokenizer", lambda source, **options: seen.append(options))
    assert open_tokenizer("user/name", revision="v1", token="t") is None
    assert seen == [{"trust_remote_code": False, "revision": "v1", "token": "t"}]
