"""`diff_checkpoints`: everything that differs between two checkpoints is named, and nothing else."""

import json
import re
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from electra_rtd.hub_tools import CheckpointError, diff_checkpoints, layout


QUERY = "discriminator.electra.encoder.layer.1.attention.self.query"


def modules_of(difference):
    """Module name -> its change, of those that changed."""
    return {module.module: module for module in difference.weights if module.changed}


def test_a_copy_is_identical(saved_pair, pair_copy):
    difference = diff_checkpoints(saved_pair, pair_copy)
    assert difference.identical
    assert (difference.config, difference.tokenizer, difference.code) == ({}, {}, {})
    assert (difference.a, difference.b) == (str(saved_pair), str(pair_copy))
    tensors = load_file(saved_pair / layout.WEIGHTS)
    assert {module.module for module in difference.weights} == {name.rpartition(".")[0] for name in tensors}
    assert all(module.relative_norm == 0 and not module.note for module in difference.weights)
    shown = str(difference)
    assert "config: the same" in shown and f"  0 of {len(difference.weights)} modules differ" in shown


def test_a_field_is_named_with_dots_and_shows_both_values(saved_pair, edit_json, pair_copy):
    def edit(fields):
        fields["mask_prob"] = 0.3
        fields["generator_config"]["hidden_act"] = "relu"
        fields["generator_config"]["note"] = {"deep": [1, 2]}
        del fields["eval_seed"]

    difference = diff_checkpoints(saved_pair, edit_json(pair_copy, edit))
    assert difference.config == {
        "eval_seed": (0, "(not there)"),
        "generator_config.hidden_act": ("gelu", "relu"),
        "generator_config.note.deep": ("(not there)", [1, 2]),
        "mask_prob": (0.15, 0.3),
    }
    assert not difference.identical and not modules_of(difference)
    assert "  generator_config.hidden_act: gelu -> relu" in str(difference).splitlines()


def test_a_missing_configuration_is_every_field_of_it(saved_pair, pair_copy):
    (pair_copy / "config.json").unlink()
    difference = diff_checkpoints(saved_pair, pair_copy)
    assert difference.config["mask_prob"] == (0.15, "(not there)")
    assert "" not in difference.config


def test_the_vocabulary_is_counted(saved_pair, pair_copy, edit_json):
    def edit(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["나"], vocabulary["책"] = vocabulary["책"], vocabulary["나"]
        vocabulary["새말"] = vocabulary.pop("학교")
        vocabulary["헌말"] = 80

    difference = diff_checkpoints(saved_pair, edit_json(pair_copy, edit, "tokenizer.json"))
    old, new = (layout.sha256(folder / "tokenizer.json")[:12] for folder in (saved_pair, pair_copy))
    counts = "; tokens: 2 added, 1 removed, 2 with another id"
    assert difference.tokenizer == {"tokenizer.json": f"{old} -> {new}{counts}"}
    assert not difference.identical


@pytest.mark.parametrize("model", [None, {}, {"vocab": [["나", 0.0]]}])
def test_a_vocabulary_of_another_kind_is_only_called_changed(model, saved_pair, edit_json, pair_copy):
    difference = diff_checkpoints(
        saved_pair, edit_json(pair_copy, lambda content: content.update(model=model), "tokenizer.json")
    )
    assert "tokens" not in difference.tokenizer["tokenizer.json"] and not difference.identical


def test_code_that_changed_came_or_went_is_named(saved_pair, pair_copy):
    (pair_copy / layout.CODE[0]).write_bytes(b"raise SystemExit('this was executed')\n")
    (pair_copy / layout.CODE[1]).unlink()
    (pair_copy / "extra.py").write_bytes(b"")
    (pair_copy / "notes.txt").write_bytes(b"nobody compares these")
    difference = diff_checkpoints(saved_pair, pair_copy)
    old = {name: layout.sha256(saved_pair / name)[:12] for name in layout.CODE}
    new = {name: layout.sha256(pair_copy / name)[:12] for name in (layout.CODE[0], "extra.py")}
    assert difference.code == {
        layout.CODE[0]: f"{old[layout.CODE[0]]} -> {new[layout.CODE[0]]}",
        layout.CODE[1]: f"{old[layout.CODE[1]]} -> (not there)",
        "extra.py": f"(not there) -> {new['extra.py']}",
    }
    assert not difference.identical and not difference.tokenizer


def test_the_one_module_that_changed_has_its_relative_norm(saved_pair, edit_weights, pair_copy):
    """Weight and bias together, by hand: two numbers move by 3 and 4, so the change has the norm 5."""

    def edit(tensors):
        tensors[f"{QUERY}.weight"][0, 0] += 3
        tensors[f"{QUERY}.bias"][1] -= 4

    difference = diff_checkpoints(saved_pair, edit_weights(pair_copy, edit))
    tensors = load_file(saved_pair / layout.WEIGHTS)
    squares = sum(tensors[f"{QUERY}.{name}"].double().square().sum().item() for name in ("weight", "bias"))
    assert list(modules_of(difference)) == [QUERY]
    change = modules_of(difference)[QUERY]
    assert change.relative_norm == pytest.approx(5 / squares**0.5, rel=1e-5) and change.note == ""
    assert all(module.relative_norm == 0 for module in difference.weights if module.module != QUERY)
    assert f"  {change.relative_norm:.3g}".rstrip() in str(difference) and QUERY in str(difference)
    assert f"  1 of {len(difference.weights)} modules differ" in str(difference)
    assert not difference.identical
    back = diff_checkpoints(difference.b, difference.a)
    assert modules_of(back)[QUERY].relative_norm != change.relative_norm  # the first one is what it is measured by


@pytest.mark.parametrize(
    ("edit", "relative_norm", "note"),
    [
        (lambda t: t.pop(f"{QUERY}.bias"), None, "bias only in a"),
        (lambda t: t.update({f"{QUERY}.scale": torch.ones(1)}), None, "scale only in b"),
        (lambda t: t.update({f"{QUERY}.bias": torch.ones(31)}), None, r"shapes \(32,\) and \(31,\)"),
        (lambda t: t.update({f"{QUERY}.bias": t[f"{QUERY}.bias"].double()}), 0, "torch.float32 -> torch.float64"),
        (lambda t: t[f"{QUERY}.bias"].fill_(torch.nan), None, "NaN or Inf"),
        (lambda t: t[f"{QUERY}.bias"].fill_(torch.inf), None, "NaN or Inf"),
    ],
    ids=["missing", "added", "shape", "dtype", "nan", "inf"],
)
def test_what_has_no_number_has_a_note(edit, relative_norm, note, saved_pair, edit_weights, pair_copy):
    difference = diff_checkpoints(saved_pair, edit_weights(pair_copy, edit))
    assert list(modules_of(difference)) == [QUERY]
    change = modules_of(difference)[QUERY]
    assert change.relative_norm == relative_norm
    assert re.fullmatch(note, change.note)
    assert re.search(rf"{note} +{re.escape(QUERY)}$", str(difference), flags=re.MULTILINE)
    json.dumps(asdict(difference), allow_nan=False)


def test_another_type_that_loses_digits_has_note_and_number(saved_pair, edit_weights, pair_copy):
    name = f"{QUERY}.weight"
    difference = diff_checkpoints(saved_pair, edit_weights(pair_copy, lambda t: t.update({name: t[name].bfloat16()})))
    change = modules_of(difference)[QUERY]
    assert change.note == "torch.float32 -> torch.bfloat16" and 0 < change.relative_norm < 2**-8


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e-30])
def test_equal_weights_are_identical_whatever_they_hold(value, saved_pair, edit_weights, tmp_path, pair_copy):
    spoilt = edit_weights(pair_copy, lambda tensors: tensors[f"{QUERY}.bias"].fill_(value))
    shutil.copytree(spoilt, tmp_path / "again")
    assert diff_checkpoints(spoilt, tmp_path / "again").identical


def test_a_change_too_small_to_be_squared_is_a_change(tmp_path):
    for name, number in (("a", 0.0), ("b", 1e-300)):
        (tmp_path / name).mkdir()
        values = torch.tensor([1.0, number], dtype=torch.float64)
        save_file({"one.weight": values}, tmp_path / name / layout.WEIGHTS, metadata={"format": "pt"})
    difference = diff_checkpoints(tmp_path / "a", tmp_path / "b")
    assert list(modules_of(difference)) == ["one"] and not difference.identical


def test_what_was_zero_has_no_relative_norm(saved_pair, edit_weights, tmp_path, pair_copy):
    zero = edit_weights(pair_copy, lambda t: [t[f"{QUERY}.{name}"].zero_() for name in ("weight", "bias")])
    change = modules_of(diff_checkpoints(zero, saved_pair))[QUERY]
    assert (change.relative_norm, change.note) == (None, "from zero")
    assert modules_of(diff_checkpoints(saved_pair, zero))[QUERY].relative_norm == pytest.approx(1)


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_shards_are_the_same_weights_as_one_file(sharing, make_model, tmp_path):
    model = make_model(embedding_sharing=sharing)
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert (tmp_path / "shards" / layout.WEIGHTS_INDEX).is_file()
    difference = diff_checkpoints(tmp_path / "one", tmp_path / "shards")
    assert difference.identical and len(difference.weights) > 30


def test_a_tied_table_is_compared_once(make_model, tmp_path):
    model = make_model(embedding_sharing="tied")
    model.save_pretrained(tmp_path / "a")
    with torch.no_grad():
        model.get_input_embeddings().weight[5] += 1
    model.save_pretrained(tmp_path / "b")
    changed = modules_of(diff_checkpoints(tmp_path / "a", tmp_path / "b"))
    assert list(changed) == ["generator.electra.embeddings.word_embeddings"]


def test_untied_against_tied_says_which_tables_are_only_there(make_model, tmp_path):
    for sharing in ("none", "tied"):
        make_model(embedding_sharing=sharing).save_pretrained(tmp_path / sharing)
    difference = diff_checkpoints(tmp_path / "none", tmp_path / "tied")
    assert difference.config["embedding_sharing"] == ("none", "tied")
    note = modules_of(difference)["discriminator.electra.embeddings.word_embeddings"].note
    assert note == "weight only in a"


# ---- The Hub ----


def test_folders_revisions_and_repositories_can_be_compared(hub, saved_pair, edit_json, plant, pair_copy):
    first = plant("alice/pair", saved_pair)
    hub.repos["alice/pair"].tags["v1"] = hub.repos["alice/pair"].find(first)
    edited = edit_json(pair_copy, lambda fields: fields.update(mask_prob=0.3))
    second = plant("alice/pair", edited)
    changed = {"mask_prob": (0.15, 0.3)}
    for a, b, config in [
        (saved_pair, "alice/pair", changed),
        (saved_pair, "alice/pair@v1", {}),
        (str(edited), "alice/pair@", {}),
        ("alice/pair@v1", "alice/pair@main", changed),
        (f"alice/pair@{first}", f"alice/pair@{second}", changed),
        (f"alice/pair@{second}", edited, {}),
    ]:
        difference = diff_checkpoints(a, b, token=hub.alice)
        assert difference.config == config, (a, b)
        assert difference.identical == (not config)
    assert diff_checkpoints("alice/pair@v1", "alice/pair").a == f"alice/pair@{first}"
    assert diff_checkpoints("alice/pair@v1", "alice/pair").b == f"alice/pair@{second}"


def test_a_folder_with_an_at_in_its_name_is_a_folder(saved_pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_pair, "pair@v1")
    assert diff_checkpoints("pair@v1", saved_pair).identical


def test_only_what_is_compared_is_downloaded(hub, saved_pair, plant):
    plant("alice/pair", saved_pair)
    hub.commit("alice/pair", {"optimizer.pt": b"a pickle", "README.md": b"hello", "sub/other.py": b"boo"})
    hub.clear_requests()
    assert diff_checkpoints(saved_pair, "alice/pair").identical
    fetched = " ".join(request.path for request in hub.requests)
    assert layout.CONFIG in fetched
    assert not any(name in fetched for name in ("optimizer.pt", "README.md", "other.py"))


@pytest.mark.parametrize("name", ["../escape.py", "/etc/config.json", "a\\b.py", "CONFIG.JSON", "con.py"])
def test_a_tree_with_unsafe_names_is_refused_before_any_download(name, hub, saved_pair, plant):
    plant("alice/pair", saved_pair)
    hub.commit("alice/pair", {name: b"{}"})
    hub.clear_requests()
    with pytest.raises(CheckpointError, match=r"alice/pair is not compared:\n.*unsafe-path"):
        diff_checkpoints(saved_pair, "alice/pair")
    assert not [request for request in hub.requests if "/resolve/" in request.path]


# ---- What cannot be read ----


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("model.safetensors", b"not safetensors", CheckpointError, r"cannot be compared:\n.*weights-unreadable"),
        ("model.safetensors", None, CheckpointError, r"cut off"),
        ("config.json", b"{", ValueError, r"pair: config\.json cannot be read: .*again"),
        ("config.json", b"\xff\xfe", ValueError, r"pair: config\.json cannot be read: .*again"),
        (
            "tokenizer.json",
            b"[" * 100_000,
            ValueError,
            r"tokenizer\.json cannot be read: it is nested too deeply.*again",
        ),
    ],
)
def test_a_broken_file_is_named(name, content, error, message, saved_pair, pair_copy):
    whole = (pair_copy / name).read_bytes()
    (pair_copy / name).write_bytes(whole[:-100] if content is None else content)
    for sources in ((saved_pair, pair_copy), (pair_copy, saved_pair)):
        with pytest.raises(error, match=message):
            diff_checkpoints(*sources)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../../secret.safetensors"}, r"names '\.\./\.\./secret\.safetensors'"),
        ({"a": "model-00001-of-00001.safetensors"}, r"is not there: pull or save again"),
        ("a", r"is not an index"),
    ],
)
def test_an_index_that_names_something_else_is_refused(weight_map, message, saved_pair, pair_copy):
    (pair_copy / layout.WEIGHTS).unlink()
    (pair_copy / layout.WEIGHTS_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=message):
        diff_checkpoints(saved_pair, pair_copy)


@pytest.mark.parametrize("source", ["empty", "./nowhere", "/nowhere@v1", "a/b/c"])
def test_what_holds_no_checkpoint_is_refused(source, saved_pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no checkpoint: give|is no folder\. Give a folder that exists"):
        diff_checkpoints(source, saved_pair)


def test_a_repository_without_a_checkpoint_is_refused(hub, saved_pair):
    hub.create_repo("alice/empty")
    with pytest.raises(ValueError, match="alice/empty holds no checkpoint: give"):
        diff_checkpoints("alice/empty", saved_pair)


def test_nothing_in_a_checkpoint_commands_the_terminal(saved_pair, pair_copy):
    fields = json.loads((pair_copy / "config.json").read_text())
    fields["x\x1b[2J"] = "\x1b]0;pwned\x07"
    (pair_copy / "config.json").write_text(json.dumps(fields))
    shown = str(diff_checkpoints(saved_pair, pair_copy))
    assert "\x1b" not in shown and "\x07" not in shown and "x\\x1b[2J" in shown
