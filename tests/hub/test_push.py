"""What a push promises: one verified commit, of exactly what belongs to a checkpoint."""

import hashlib
import json
import logging
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from electra_rtd.hub_tools import CheckpointError, layout
from electra_rtd.hub_tools.remote import HubError


REPO = "alice/pair"
CODE = list(layout.CODE)
MODEL = ["config.json", "model.safetensors", *CODE]
ALWAYS = [".gitattributes", "README.md"]  # the Hub's own, and the card


@pytest.fixture(scope="session")
def tokenizer_files(saved_pair):
    return sorted(path.name for path in saved_pair.iterdir() if path.name not in MODEL)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ what is pushed


def trainer_output(folder):
    """All that a Trainer, its checkpoints and a killed process leave around a pair."""
    torch.save({"seed": 1}, folder / "training_args.bin")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    write_json(folder / "trainer_state.json", {"log_history": []})
    write_json(folder / "adapt_results.json", {"settings": {}})
    (folder / "runs" / "today").mkdir(parents=True)
    (folder / "runs" / "today" / "events.out.tfevents.1").write_bytes(b"1")
    for name in ("checkpoint-4", ".partial-x", "discriminator", ".git"):
        (folder / name).mkdir()
        shutil.copy(folder / "model.safetensors", folder / name)
        torch.save({}, folder / name / "optimizer.pt")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.mark.parametrize("source", ["folder", "model", "trainer"])
def test_a_first_push_is_exactly_the_checkpoint_in_one_commit(
    hub, push, pair_copy, make_model, tokenizer, tokenizer_files, source
):
    given = {"folder": pair_copy, "model": make_model(), "trainer": pair_copy}[source]
    if source == "trainer":
        trainer_output(pair_copy)
    exported = [f"discriminator/{name}" for name in ("config.json", "model.safetensors", *tokenizer_files)]
    options = {"tokenizer": tokenizer} if source == "model" else {}
    done = push(given, export=("discriminator",), **options)
    files = hub.files(REPO)
    assert sorted(files) == sorted([*ALWAYS, *MODEL, *tokenizer_files, *exported])
    # A tokenizer's file holds how it was last used, by whatever test.
    same = MODEL if source == "model" else [*MODEL, *tokenizer_files]
    assert [name for name in same if files[name] != (pair_copy / name).read_bytes()] == []
    last, first = hub.commits(REPO)
    assert (done.oid, last.parent.id, last.author) == (last.id, first.id, "alice")
    assert done.commit_url == f"{hub.url}/{REPO}/commit/{last.id}" and done.pr_url is None
    assert hub.kinds().count("commit") == 1
    assert hub.refs(REPO) == {"refs/heads/main": last.id}


def test_the_commit_bears_the_message_that_was_asked_for(hub, push, saved_pair):
    push(saved_pair, commit_message="Adapted to wards")
    assert hub.commits(REPO)[0].message == "Adapted to wards"


@pytest.mark.parametrize("form", ["object", "folder"])
def test_a_tokenizer_that_is_given_replaces_the_one_in_the_folder(
    hub, push, pair_copy, tmp_path, make_tokenizer, form
):
    other = make_tokenizer()
    other.model_max_length = 48
    other.save_pretrained(tmp_path / "other")
    (pair_copy / "added_tokens.json").write_text("{}")  # of the old one: must not stay beside the new one
    push(pair_copy, tokenizer=other if form == "object" else tmp_path / "other")
    files = hub.files(REPO)
    assert json.loads(files["tokenizer_config.json"])["model_max_length"] == 48
    assert {name for name in files if name not in [*MODEL, *ALWAYS]} == {
        path.name for path in (tmp_path / "other").iterdir()
    }


def test_a_place_without_tokenizer_is_named(hub, push, saved_pair, tmp_path):
    with pytest.raises(ValueError, match="where no tokenizer is: give its folder"):
        push(saved_pair, tokenizer=str(tmp_path))
    assert hub.requests == []


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        ((), set()),
        (None, set()),
        ("generator", {"generator"}),
        (["discriminator"], {"discriminator"}),
        (("generator", "discriminator"), {"generator", "discriminator"}),
    ],
)
def test_exports_are_those_that_were_asked_for_and_older_ones_go(hub, push, saved_pair, export, expected):
    push(saved_pair, export=("discriminator", "generator"))
    push(saved_pair, export=export)
    files = hub.files(REPO)
    assert {name.split("/")[0] for name in files if "/" in name} == expected
    for part in expected:
        assert json.loads(files[f"{part}/config.json"])["model_type"] == "electra"
        assert "auto_map" not in json.loads(files[f"{part}/config.json"])


def test_an_unknown_export_is_named(hub, push, saved_pair):
    with pytest.raises(ValueError, match="`export` holds 'encoder': it may name discriminator and generator"):
        push(saved_pair, export=("discriminator", "encoder"))
    assert hub.requests == []


@pytest.mark.parametrize("lacks", ["all code", "one file", "auto_map", "rows of another repository"])
def test_code_and_its_names_are_added_where_they_are_missing(hub, push, pair_copy, saved_pair, lacks):
    fields = read_json(pair_copy / "config.json")
    for name in {"all code": CODE, "one file": CODE[:1]}.get(lacks, []):
        (pair_copy / name).unlink()
    if lacks in ("all code", "auto_map"):
        del fields["auto_map"]
    if lacks == "rows of another repository":
        fields["auto_map"] = {name: f"somebody/else--{row}" for name, row in fields["auto_map"].items()}
    write_json(pair_copy / "config.json", fields)
    push(pair_copy)
    files = hub.files(REPO)
    assert json.loads(files["config.json"]) == read_json(saved_pair / "config.json")
    assert all(files[name] == (saved_pair / name).read_bytes() for name in CODE)


def test_code_of_another_release_stays_with_its_checkpoint(hub, push, pair_copy, saved_pair):
    changed = (pair_copy / CODE[1]).read_bytes() + b"\n# by hand\n"
    (pair_copy / CODE[1]).write_bytes(changed)
    push(pair_copy)
    assert hub.files(REPO)[CODE[1]] == changed
    assert hub.files(REPO)[CODE[0]] == (saved_pair / CODE[0]).read_bytes()


@pytest.mark.parametrize(
    ("origin", "stays"), [("/home/me/koelectra", False), ("./adapted", False), ("monologg/koelectra", True)]
)
def test_paths_of_this_disk_do_not_reach_the_hub(hub, push, pair_copy, tmp_path, origin, stays):
    fields = read_json(pair_copy / "config.json")
    for part in ("generator_config", "discriminator_config"):
        fields[part]["_name_or_path"] = origin
    write_json(pair_copy / "config.json", fields)
    hub.fault("monologg", status=404, times=None)
    push(pair_copy, export=("discriminator", "generator"))
    everything = b"\n".join(hub.files(REPO).values())
    for path in (tmp_path, tempfile.gettempdir(), "electra-rtd-push-", Path.home() / ".cache"):
        assert str(path).encode() not in everything
    assert (origin.encode() in hub.files(REPO)["config.json"]) == stays
    card = hub.files(REPO)["README.md"].decode("utf-8")
    assert yaml.safe_load(card.split("---")[1]).get("base_model") == ([origin] if stays else None)


# ------------------------------------------------------------------------------------------------------- where it goes


@pytest.mark.parametrize(("private", "expected"), [(None, False), (True, True), (False, False)])
def test_a_new_repository_is_as_private_as_was_asked(hub, push, saved_pair, private, expected):
    push(saved_pair, private=private)
    assert hub.repos[REPO].private is expected
    hub.clear_requests()
    push(saved_pair, private=private)  # what is so already is no quarrel
    assert hub.writes() == []


@pytest.mark.parametrize(("is_private", "word"), [(False, "public"), (True, "private")])
@pytest.mark.parametrize("dry_run", [False, True])
def test_another_visibility_than_asked_stops_everything(hub, push, saved_pair, is_private, word, dry_run):
    hub.create_repo(REPO, private=is_private)
    before = hub.state()
    with pytest.raises(ValueError, match=f"{REPO} is {word}, and `private={not is_private}` was asked for.*settings"):
        push(saved_pair, private=not is_private, dry_run=dry_run)
    assert hub.state() == before and hub.writes() == []


def test_a_new_branch_begins_at_main(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    main = hub.head(REPO)
    done = push(pushed, revision="dev/2")
    last, first = hub.commits(REPO, "dev/2")[:2]
    assert (done.oid, first.id, hub.head(REPO)) == (last.id, main, main)
    assert set(hub.operations()) == {"model.safetensors", "README.md"}  # the rest is there from main


def test_a_new_branch_of_a_new_repository(hub, push, saved_pair):
    done = push(saved_pair, revision="dev")
    assert (hub.head(REPO, "dev"), len(hub.commits(REPO, "dev"))) == (done.oid, 2)
    assert list(hub.files(REPO)) == [".gitattributes"]


def test_a_new_branch_that_equals_main_is_made_without_a_commit(hub, push, pushed):
    done = push(pushed, revision="dev")
    assert hub.refs(REPO) == {"refs/heads/main": done.oid, "refs/heads/dev": done.oid}
    assert hub.writes() == ["branch"]


@pytest.mark.parametrize("revision", ["dev", "refs/pr/1"])
def test_an_existing_branch_or_pull_request_goes_on_from_where_it_is(
    hub, push, pushed, make_model, other_weights, revision
):
    if revision == "dev":
        push(pushed, revision="dev")
    else:
        push(make_model(seed=2), create_pr=True)
    main, before = hub.head(REPO), hub.head(REPO, revision)
    shutil.copy(other_weights, pushed)
    done = push(pushed, revision=revision)
    assert (hub.head(REPO, revision), hub.commits(REPO, revision)[0].parent.id) == (done.oid, before)
    assert hub.files(REPO, revision)["model.safetensors"] == other_weights.read_bytes()
    assert hub.head(REPO) == main


@pytest.mark.parametrize(
    ("revision", "dry_run"), [("refs/pr/9", False), ("refs/pr/9", True), ("v1", False), ("commit", False)]
)
def test_what_cannot_be_committed_to_is_refused_and_nothing_is_made(
    hub, push, pushed, other_weights, revision, dry_run
):
    hub.repos[REPO].tags["v1"] = hub.commits(REPO)[0]
    shutil.copy(other_weights, pushed)
    before = hub.state()
    with pytest.raises((HubError, ValueError), match=r"revision|branch|pull request"):
        push(pushed, revision=hub.head(REPO) if revision == "commit" else revision, dry_run=dry_run)
    assert hub.state() == before


def test_a_pull_request_leaves_main_alone(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    main = hub.head(REPO)
    done = push(pushed, create_pr=True)
    assert (hub.head(REPO), hub.head(REPO, "refs/pr/1")) == (main, done.oid)
    assert hub.commits(REPO, "refs/pr/1")[0].parent.id == main
    assert done.pr_url == f"{hub.url}/{REPO}/discussions/1" and done.pr_num == 1


def test_a_stranger_can_open_a_pull_request_and_nothing_else(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    main, bob = hub.head(REPO), hub.add_user("bob")
    with pytest.raises(HubError, match="status 403"):
        push(pushed, token=bob)
    done = push(pushed, token=bob, create_pr=True)
    assert hub.refs(REPO) == {"refs/heads/main": main, "refs/pr/1": done.oid}
    assert hub.commits(REPO, "refs/pr/1")[0].author == "bob"


def test_the_saved_token_is_used_where_none_is_given(hub, push, saved_pair):
    Path(constants.HF_TOKEN_PATH).write_text(hub.alice)
    done = push(saved_pair, token=None)
    assert hub.commits(REPO)[0].id == done.oid


@pytest.mark.parametrize("name", ["alice/pair/x", "alice/pa ir", "--", ""])
def test_a_name_that_is_none_is_refused(hub, push, saved_pair, name):
    with pytest.raises(ValueError):
        push(saved_pair, repo_id=name)
    assert hub.writes() == [] and hub.repos == {}


# ---------------------------------------------------------------------------------------------------- what is not sent


def test_a_push_of_the_same_sends_nothing(hub, push, saved_pair):
    first = push(saved_pair, export=("discriminator", "generator"))
    hub.clear_requests()
    second = push(saved_pair, export=("discriminator", "generator"))
    assert (second.oid, second.commit_url) == (first.oid, first.commit_url)
    assert (hub.writes(), hub.uploaded_lfs_bytes, len(hub.commits(REPO))) == ([], 0, 2)


def test_after_a_change_of_weights_only_these_and_the_card_are_sent(hub, push, pair_copy, other_weights):
    push(pair_copy, export=("discriminator",))
    hub.clear_requests()
    shutil.copy(other_weights, pair_copy)
    push(pair_copy, export=("discriminator",))
    files = hub.files(REPO)
    weights = {"model.safetensors": "lfsFile", "discriminator/model.safetensors": "lfsFile"}
    assert hub.operations() == {**weights, "README.md": "file"}
    assert hub.uploaded_lfs_bytes == sum(len(files[name]) for name in weights)
    assert files["model.safetensors"] == other_weights.read_bytes()
    stored = load_file(pair_copy / "model.safetensors")
    (pair_copy / "exported").write_bytes(files["discriminator/model.safetensors"])
    for name, value in load_file(pair_copy / "exported").items():
        assert torch.equal(value, stored[f"discriminator.{name}"]), name


def test_after_a_change_of_the_tokenizer_no_weights_are_sent(hub, push, pair_copy):
    push(pair_copy, export=("discriminator",))
    hub.clear_requests()
    fields = read_json(pair_copy / "tokenizer_config.json")
    write_json(pair_copy / "tokenizer_config.json", {**fields, "model_max_length": 32})
    push(pair_copy, export=("discriminator",))
    changed = {"tokenizer_config.json": "file", "discriminator/tokenizer_config.json": "file"}
    assert (hub.operations(), hub.uploaded_lfs_bytes) == (changed, 0)


STALE = (
    *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "tf_model.h5", "added_tokens.json", "losses.png"),
    *("generator/config.json", "generator/model.safetensors", "discriminator/pytorch_model.bin"),
)
A_PERSONS = ("notes.md", "onnx/model.onnx", "images/a.png", "discriminator/notes.md", ".gitignore", "model_notes.md")


def test_what_is_left_of_an_earlier_state_goes_in_the_same_commit_and_a_persons_files_stay(
    hub, push, pushed, other_weights
):
    before = hub.commit(REPO, {name: name.encode() for name in [*STALE, *A_PERSONS]})
    shutil.copy(other_weights, pushed)
    push(pushed)
    files, last = hub.files(REPO), hub.commits(REPO)[0]
    assert last.parent.id == before
    assert {name for name, key in hub.operations().items() if key == "deletedFile"} == set(STALE)
    assert set(STALE) & set(files) == set()
    assert all(files[name] == name.encode() for name in A_PERSONS)


def test_one_file_of_weights_takes_the_place_of_shards(hub, push, saved_pair, tmp_path, make_model):
    make_model().save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    shards = {path.name for path in (tmp_path / "shards").iterdir() if "model" in path.name and ".py" not in path.name}
    push(tmp_path / "shards")
    assert len(shards) > 2 and shards <= set(hub.files(REPO))
    push(saved_pair)
    assert shards & set(hub.files(REPO)) == set() and "model.safetensors" in hub.files(REPO)


def test_a_gitignore_of_the_repository_cannot_make_half_a_commit(hub, push, pushed, other_weights):
    hub.commit(REPO, {".gitignore": b"*.safetensors\n"})
    before = hub.state()
    shutil.copy(other_weights, pushed)
    (pushed / "config.json").write_text((pushed / "config.json").read_text() + "\n")
    with pytest.raises(HubError, match=r"\.gitignore.*model\.safetensors"):
        push(pushed)
    assert hub.state() == before


# ----------------------------------------------------------------------------------------------------- what is refused


def spoil(folder, how):
    if how == "nan":
        tensors = load_file(folder / "model.safetensors")
        next(iter(tensors.values())).view(-1)[0] = float("nan")
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    elif how == "cut":
        weights = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    elif how == "no weights":
        (folder / "model.safetensors").unlink()
    elif how == "two weights":
        write_json(folder / "model.safetensors.index.json", {"weight_map": {}})
    elif how == "code":
        (folder / CODE[0]).write_text("def (")


@pytest.mark.parametrize("how", ["nan", "cut", "no weights", "two weights", "code"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_checkpoint_with_errors_is_not_pushed(hub, push, pair_copy, how, dry_run):
    spoil(pair_copy, how)
    with pytest.raises(CheckpointError, match="This checkpoint is not pushed") as error:
        push(pair_copy, dry_run=dry_run)
    assert error.value.report.errors and str(pair_copy) in str(error.value.report)
    assert (hub.requests, hub.repos) == ([], {})


def test_only_a_pair_is_pushed(hub, push, pair_folders, tmp_path, make_model):
    with pytest.raises(ValueError, match="of type 'electra', not 'electra_rtd'"):
        push(pair_folders[1])
    with pytest.raises(ValueError, match=r"The model is a ElectraForPreTraining, not a pair.*push_to_hub"):
        push(make_model().discriminator)
    with pytest.raises(ValueError, match="is no folder: give one that holds a pair, or a model"):
        push(tmp_path / "none")
    with pytest.raises(ValueError, match=r"has no config.json: it is no checkpoint. Is it one of its subfolders\?"):
        push(tmp_path)
    assert (hub.requests, hub.repos) == ([], {})


# ------------------------------------------------------------------------------------------------------------ dry runs


def test_a_dry_run_of_a_new_repository_makes_nothing(hub, push, saved_pair, tokenizer_files, capsys):
    assert push(saved_pair, export=("discriminator",), private=True, dry_run=True) is None
    assert (hub.repos, hub.writes()) == ({}, [])
    lines = capsys.readouterr().out.splitlines()
    planned = {line.split()[2]: (line.split()[0], int(line.split()[1].replace(",", ""))) for line in lines[1:]}
    assert lines[0].startswith(f"{REPO} (private), main, a new repository: ")
    assert lines[0].endswith(f": {sum(size for _, size in planned.values()):,} bytes to send")
    push(saved_pair, export=("discriminator",))  # the plan was exact
    sent = {name: ("new", len(data)) for name, data in hub.files(REPO).items() if name != ".gitattributes"}
    assert planned == sent


def test_a_dry_run_tells_what_is_new_changed_unchanged_and_removed(hub, push, pushed, other_weights, capsys):
    head = hub.commit(REPO, {"pytorch_model.bin": b"12345", "notes.md": b"mine"})
    shutil.copy(other_weights, pushed)
    before = hub.state()
    assert push(pushed, export=("generator",), dry_run=True) is None
    assert hub.state() == before and hub.writes() == []
    head_line, *lines = capsys.readouterr().out.splitlines()
    assert head_line.startswith(f"{REPO} (public), main, after {head}: ")
    kind = {line.split()[2]: line.split()[0] for line in lines}
    assert list(kind) == sorted(kind)
    assert {name for name in kind if kind[name] == "new"} == {name for name in kind if name.startswith("generator/")}
    assert {name for name in kind if kind[name] == "changed"} == {"README.md", "model.safetensors"}
    assert [line.split() for line in lines if "removed" in line] == [["removed", "5", "pytorch_model.bin"]]
    assert "notes.md" not in kind
    sizes = {line.split()[2]: int(line.split()[1].replace(",", "")) for line in lines}
    total = sum(size for name, size in sizes.items() if kind[name] in ("new", "changed"))
    assert head_line.endswith(f": {total:,} bytes to send")


@pytest.mark.parametrize(
    ("private", "words"), [(None, "public, unless its owner's default is private"), (False, "public")]
)
def test_a_dry_run_tells_who_will_see_it(hub, push, saved_pair, capsys, private, words):
    push(saved_pair, private=private, dry_run=True)
    assert capsys.readouterr().out.startswith(f"{REPO} ({words}), main, ")


def test_a_dry_run_of_a_new_branch_compares_with_main_and_makes_none(hub, push, pushed, capsys):
    before = hub.state()
    push(pushed, revision="dev", dry_run=True)
    assert hub.state() == before
    assert f", dev, after {hub.head(REPO)}: 0 bytes to send" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------- found in review


def test_a_file_that_is_no_safetensors_is_refused_by_verification_not_by_an_export(hub, push, pair_copy):
    (pair_copy / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="not pushed") as refused:
        push(pair_copy, export=("discriminator",))
    assert [finding.code for finding in refused.value.report.errors] == ["weights-unreadable"]
    assert hub.requests == []


def test_a_model_without_a_tokenizer_leaves_the_one_of_the_repository(hub, push, pushed, make_model):
    before = hub.files(REPO)
    push(make_model(seed=3))
    after = hub.files(REPO)
    assert after["tokenizer.json"] == before["tokenizer.json"]
    assert after["model.safetensors"] != before["model.safetensors"]


def test_files_of_people_that_are_only_named_like_a_model_stay(hub, push, pushed, make_model, tokenizer):
    theirs = dict.fromkeys(("model-architecture.png", "model.pdf", "discriminator/model.png"), b"theirs")
    hub.commit(REPO, {**theirs, "model-00001-of-00002.safetensors": b"stale", "model.onnx": b"stale"})
    push(make_model(seed=3), tokenizer=tokenizer)
    files = hub.files(REPO)
    assert {name: files.get(name) for name in theirs} == theirs
    assert not {"model-00001-of-00002.safetensors", "model.onnx"} & set(files)


def test_foreign_code_is_not_published_in_silence(hub, push, pair_copy, caplog):
    logging.getLogger("transformers").propagate = True
    (pair_copy / CODE[1]).write_text((pair_copy / CODE[1]).read_text() + "# edited\n")
    with caplog.at_level(logging.WARNING):
        push(pair_copy)
    assert (
        "foreign-code" in caplog.text and hashlib.sha256((pair_copy / CODE[1]).read_bytes()).hexdigest() in caplog.text
    )
    assert "no-card" not in caplog.text


@pytest.mark.parametrize("repo_id", ["pair", "a/b/c", ""])
def test_a_repository_without_an_owner_is_refused_before_anything_is_made(hub, push, saved_pair, repo_id):
    with pytest.raises(ValueError, match="user/name"):
        push(saved_pair, repo_id)
    assert hub.repos == {} and hub.requests == []
