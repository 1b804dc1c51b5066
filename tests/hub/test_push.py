"""What a push promises: one verified commit or none, whatever happens on the way."""

import hashlib
import json
import logging
import shutil
import tempfile
import time
import traceback
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from electra_rtd.hub_tools import CheckpointError, pull_checkpoint
from electra_rtd.hub_tools.remote import ATTEMPTS, LONGEST_WAIT, HubError, is_transient, without_tokens


REPO = "alice/pair"
CODE = ["configuration_electra_rtd.py", "modeling_electra_rtd.py"]
MODEL = ["config.json", "model.safetensors", *CODE]
ALWAYS = [".gitattributes", "README.md"]  # the Hub's own, and the card
OURS = {"electra", "electra-rtd", "replaced-token-detection"}  # tags
EVALUATION = {"step": 4, "eval_loss": 1.25, "eval_mlm_loss": 0.5, "eval_disc_loss": 0.015, "eval_gen_acc": 0.875}
END_OF_RESULTS = "<!-- end of electra-rtd results -->"


@pytest.fixture(scope="session")
def tokenizer_files(saved_pair):
    return sorted(path.name for path in saved_pair.iterdir() if path.name not in MODEL)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def readme(hub, repo_id=REPO, revision="main"):
    return hub.files(repo_id, revision)["README.md"].decode("utf-8")


def metadata(text):
    import yaml

    return yaml.safe_load(text.split("---")[1])


def edit_readme(hub, *replacements, text=None):
    """A person edits the README on the Hub's page; returns it."""
    text = readme(hub) if text is None else text
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    hub.commit(REPO, {"README.md": text.encode("utf-8")})
    return text


# ------------------------------------------------------------------------------------------------ what is pushed


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


@pytest.mark.parametrize("lacks_the_other", [False, True])
def test_code_of_another_release_stays_with_its_checkpoint(hub, push, pair_copy, saved_pair, lacks_the_other):
    changed = (pair_copy / CODE[1]).read_bytes() + b"\n# by hand\n"
    (pair_copy / CODE[1]).write_bytes(changed)
    if lacks_the_other:
        (pair_copy / CODE[0]).unlink()
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
    assert metadata(readme(hub)).get("base_model") == ([origin] if stays else None)


# ------------------------------------------------------------------------------------------------ where it goes


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


# ------------------------------------------------------------------------------------------------ what is not sent


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


# ------------------------------------------------------------------------------------------------ what is refused


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


# ------------------------------------------------------------------------------------------------ dry runs


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


# ------------------------------------------------------------------------------------------------ the README


def test_a_card_is_written_where_there_is_none(hub, push, saved_pair):
    push(saved_pair, tags=["korean", "electra"])
    text = readme(hub)
    assert metadata(text)["library_name"] == "transformers"
    assert metadata(text)["tags"] == ["electra", "electra-rtd", "replaced-token-detection", "korean"]
    digest = hashlib.sha256((saved_pair / "model.safetensors").read_bytes()).hexdigest()
    assert f"<!-- electra-rtd results of {digest[:16]} -->" in text and END_OF_RESULTS in text


def test_a_readme_in_the_folder_is_the_first_card(hub, push, pair_copy):
    (pair_copy / "README.md").write_bytes("---\nlicense: mit\n---\n# 나의 모델\n".encode())
    push(pair_copy)
    assert readme(hub).endswith("# 나의 모델\n") and metadata(readme(hub))["license"] == "mit"


@pytest.mark.parametrize("weights", ["same", "changed"])
def test_what_a_person_wrote_outside_the_markers_stays(hub, push, pushed, other_weights, weights):
    edited = edit_readme(hub, ("## Limits\n", "## 한계\n\nOnly wards of one hospital.  \n\n"))
    if weights == "changed":
        shutil.copy(other_weights, pushed)
    push(pushed)
    old, new = (hashlib.sha256(data).hexdigest()[:16] for data in (b"", (pushed / "model.safetensors").read_bytes()))
    start = edited.index("results of ") + len("results of ")
    assert readme(hub) == edited[:start] + new + edited[start + len(old) :]
    if weights == "same":
        assert hub.writes() == []


def test_metadata_of_a_person_win_and_ours_are_added(hub, push, pushed):
    text = (
        "---\n# mine\nlicense: cc-by-4.0\nlanguage: ko\ntags:\n- hospital\npipeline_tag: fill-mask\n"
        "widget:\n- text: 간다\n---\n\n# Mine\n\nBody.  \n"
    )
    edit_readme(hub, text=text)
    push(pushed, tags=["new"])
    data = metadata(readme(hub))
    assert (data["license"], data["language"], data["pipeline_tag"]) == ("cc-by-4.0", "ko", "fill-mask")
    assert (data["widget"], data["library_name"]) == ([{"text": "간다"}], "transformers")
    assert data["tags"][0] == "hospital" and set(data["tags"]) == {"hospital", "new", *OURS}
    assert readme(hub).partition("\n---\n")[2].lstrip("\n") == "# Mine\n\nBody.  \n"
    hub.clear_requests()
    push(pushed, tags=["new"])
    assert hub.writes() == []


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_readme_without_markers_is_left_byte_for_byte(hub, push, pushed, other_weights, ends):
    head, _, body = readme(hub).partition("\n---\n")
    body = "\n# Mine\n\nNo markers,\ttwo spaces  \nand 한글.\n\n\n"
    text = f"{head}\n---\n{body}".replace("\n", ends)
    edit_readme(hub, text=text)
    shutil.copy(other_weights, pushed)
    push(pushed)
    assert readme(hub) == text
    assert set(hub.operations()) == {"model.safetensors"}


def test_windows_line_ends_stay(hub, push, pushed, other_weights):
    edit_readme(hub, text=readme(hub).replace("\n", "\r\n"))
    shutil.copy(other_weights, pushed)
    push(pushed, tags=["new"])
    outside = readme(hub).partition(END_OF_RESULTS)[2]
    assert outside.count("\r\n") == outside.count("\n") > 3
    assert "new" in metadata(readme(hub))["tags"]


def test_a_readme_whose_metadata_are_broken_is_left_alone(hub, push, pushed, other_weights):
    text = "---\nlicense: [mit\ntags: {\n---\n# Mine\n"
    edit_readme(hub, text=text)
    shutil.copy(other_weights, pushed)
    push(pushed)
    assert readme(hub) == text
    assert hub.files(REPO)["model.safetensors"] == other_weights.read_bytes()


def test_a_readme_that_the_hub_refuses_is_named_and_nothing_is_changed(hub, push, pair_copy):
    (pair_copy / "README.md").write_text("---\nlicense: [mit\n---\n# Mine\n")
    with pytest.raises(HubError, match=r"README\.md.*Invalid YAML.*push again"):
        push(pair_copy)
    assert list(hub.files(REPO)) == [".gitattributes"]
    (pair_copy / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    push(pair_copy)
    assert len(hub.commits(REPO)) == 2


def test_a_readme_without_metadata_gets_them_before_its_text(hub, push, pushed):
    edit_readme(hub, text="# Mine\n\nJust text.\n")
    push(pushed)
    assert set(metadata(readme(hub))["tags"]) == OURS
    assert readme(hub).endswith("# Mine\n\nJust text.\n")


@pytest.mark.parametrize("where", ["branch", "folder"])
def test_a_readme_in_another_encoding_is_named(hub, push, pushed, where):
    data = "# 나의 모델".encode("cp949")
    if where == "branch":
        hub.commit(REPO, {"README.md": data})
    else:
        (pushed / "README.md").write_bytes(data)
    with pytest.raises(ValueError, match=r"README\.md.*UTF-8"):
        push(pushed)
    assert hub.writes() == []


def test_an_edit_of_the_readme_that_was_pulled_is_published(hub, push, pushed, tmp_path):
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    text = (folder / "README.md").read_text(encoding="utf-8") + "\nEdited here.\n"
    (folder / "README.md").write_text(text, encoding="utf-8")
    push(folder)
    assert readme(hub) == text
    assert "electra_rtd.lock.json" not in hub.files(REPO)


@pytest.mark.parametrize("pulled", [False, True])
def test_another_readme_than_the_branchs_is_not_taken_silently(hub, push, pushed, tmp_path, caplog, pulled):
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice) if pulled else pushed
    theirs = edit_readme(hub, ("## Limits", "## 한계"))  # after the pull
    (folder / "README.md").write_text("# Another\n", encoding="utf-8")
    push(folder)
    assert readme(hub) == theirs
    assert f"hf upload {REPO} FOLDER/README.md README.md" in caplog.text


def log(folder, *rows):
    write_json(folder / "trainer_state.json", {"log_history": [{"step": 0, "loss": 2.0}, *rows]})


def test_figures_stay_with_their_weights(hub, push, pair_copy, other_weights):
    log(pair_copy, EVALUATION)
    push(pair_copy)
    text = readme(hub)
    assert "1.2500" in text and metadata(text)["model-index"][0]["results"][0]["metrics"][-1]["value"] == 1.25
    (pair_copy / "trainer_state.json").unlink()
    push(pair_copy)
    assert readme(hub) == text  # the same weights, and nothing new is known of them
    shutil.copy(other_weights, pair_copy)
    push(pair_copy)
    assert "No figures were recorded with this state." in readme(hub)
    assert "1.2500" not in readme(hub) and "model-index" not in metadata(readme(hub))


def test_new_figures_take_the_place_of_old_ones_and_leave_those_of_others(hub, push, pair_copy):
    log(pair_copy, EVALUATION)
    push(pair_copy)
    foreign = (
        "model-index:\n- name: pair\n  results:\n  - task:\n      type: ner\n    dataset:\n      type: x\n"
        "      name: x\n    metrics:\n    - type: f1\n      value: 0.5\n"
    )
    head, _, body = readme(hub).partition("model-index:")
    edit_readme(hub, text=head + foreign + "---\n" + body.partition("\n---\n")[2])
    log(pair_copy, {**EVALUATION, "eval_loss": 1.125})
    push(pair_copy)
    values = [
        (result["task"]["type"], metric["type"], metric["value"])
        for result in metadata(readme(hub))["model-index"][0]["results"]
        for metric in result["metrics"]
    ]
    assert ("ner", "f1", 0.5) in values and ("replaced-token-detection", "loss", 1.125) in values
    assert "1.1250" in readme(hub) and "1.2500" not in readme(hub)


def show_plot(hub):
    edit_readme(hub, (END_OF_RESULTS, f"![losses](losses.png)\n{END_OF_RESULTS}"))
    hub.commit(REPO, {"losses.png": b"a plot"})


@pytest.mark.parametrize("weights", ["same", "changed"])
def test_a_plot_stays_while_the_card_shows_it(hub, push, pushed, other_weights, weights):
    show_plot(hub)
    if weights == "changed":
        shutil.copy(other_weights, pushed)
    push(pushed, tags=["new"])
    assert hub.files(REPO).get("losses.png") == (b"a plot" if weights == "same" else None)
    assert ("(losses.png)" in readme(hub)) == (weights == "same")


@pytest.mark.parametrize("weights", ["same", "changed"])
def test_a_plot_that_was_pulled_goes_along_with_the_card_that_shows_it(
    hub, push, pushed, tmp_path, other_weights, weights
):
    show_plot(hub)
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    if weights == "changed":
        shutil.copy(other_weights, folder)
    push(folder, "alice/copy")
    assert hub.files("alice/copy").get("losses.png") == (b"a plot" if weights == "same" else None)
    assert ("(losses.png)" in readme(hub, "alice/copy")) == (weights == "same")


# ------------------------------------------------------------------------------------------------ what goes wrong

STEPS = (
    *("info", "tree", "create-repo", "branch", "preupload", "lfs-batch", "lfs-upload", "lfs-verify"),
    *("validate-yaml", "commit"),
)
FAULTS = {
    "500": {"status": 500},
    "503": {"status": 503},
    "503 of a proxy": {"status": 503, "body": "<html>busy</html>"},
    "429": {"status": 429, "headers": {"Retry-After": "7"}},
    "cut off": {"drop": "request"},
    "answer lost": {"drop": "after"},
}


# Every step with a busy server and with either kind of broken connection; every other fault at one step.
STRUCK = [(step, fault) for step in STEPS for fault in ("503", "cut off", "answer lost")]
STRUCK += [("info", "500"), ("validate-yaml", "503 of a proxy"), ("commit", "503 of a proxy"), ("commit", "429")]


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize(("step", "fault"), STRUCK)
def test_a_failure_of_any_step_is_no_second_commit(hub, push, saved_pair, step, fault):
    planted = hub.fault(step, **FAULTS[fault])
    done = push(saved_pair, revision="dev")
    assert planted.hits == 1
    last, first = hub.commits(REPO, "dev")
    assert done.oid == last.id and hub.refs(REPO) == {"refs/heads/main": first.id, "refs/heads/dev": last.id}
    assert hub.files(REPO, "dev")["model.safetensors"] == (saved_pair / "model.safetensors").read_bytes()
    assert "modeling_electra_rtd.py" in hub.files(REPO, "dev")


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("fault", ["503", "cut off", "answer lost"])
@pytest.mark.parametrize("kind", ["resolve", "lfs-upload"])
def test_a_failure_of_a_step_of_a_later_push_is_no_second_commit(hub, push, pushed, other_weights, kind, fault):
    shutil.copy(other_weights, pushed)
    planted = hub.fault(kind, **FAULTS[fault])
    done = push(pushed, export=("discriminator", "generator"))
    assert planted.hits == 1 and len(hub.commits(REPO)) == 3 and hub.head(REPO) == done.oid


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize(
    ("step", "fault"),
    [  # the upload itself is what counts, not "lfs-verify"
        *((step, fault) for step in STEPS if step != "lfs-verify" for fault in ("503", "cut off")),
        *(("validate-yaml", "503 of a proxy"), ("commit", "503 of a proxy"), ("commit", "429")),
    ],
)
def test_a_step_that_never_works_ends_in_one_error_and_changes_nothing(hub, push, saved_pair, step, fault):
    hub.create_repo("alice/other")
    planted = hub.fault(step, times=None, **FAULTS[fault])
    with pytest.raises(HubError, match=f"{REPO} (answers with status|cannot be reached)") as error:
        push(saved_pair, revision="dev")
    if (step, fault) != ("validate-yaml", "503 of a proxy"):  # there the client reads the page before the status
        assert ("status" in str(error.value).split("The client says")[0]) == (fault != "cut off")
    assert planted.hits <= 60
    assert all(list(files) == [".gitattributes"] for files in (hub.files(name) for name in hub.repos))
    hub.clear_faults()
    push(saved_pair, revision="dev")
    assert len(hub.commits(REPO, "dev")) == 2


def test_a_commit_is_tried_so_often_and_no_more(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    before = hub.state()
    planted = hub.fault("commit", status=503, times=None)
    with pytest.raises(HubError, match="answers with status 503"):
        push(pushed)
    assert (planted.hits, hub.state()) == (ATTEMPTS, before)


def test_what_cannot_be_retried_is_not(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    before = hub.state()
    planted = hub.fault("commit", status=400, times=None)
    with pytest.raises(HubError, match="answers with status 400"):
        push(pushed)
    assert (planted.hits, hub.state()) == (1, before)


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("3600", LONGEST_WAIT), ("soon", 1.0)])
def test_a_server_that_asks_for_time_gets_it_within_reason(hub, push, saved_pair, monkeypatch, asked, waited):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    hub.fault("commit", status=429, headers={"Retry-After": asked})
    push(saved_pair)
    assert waited in waits and max(waits) <= LONGEST_WAIT


def test_an_upload_that_the_client_gave_up_is_tried_again(hub, push, saved_pair):
    planted = hub.fault("lfs-upload", drop="request", times=8)  # the client itself tries six times
    push(saved_pair)
    assert planted.hits == 8 and len(hub.commits(REPO)) == 2


def wrapped(error):
    outer = RuntimeError("Error while uploading 'model.safetensors' to the Hub.")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("Consistency check failed: file should be of size 2 but has size 1"), True),
        (ConnectionResetError(104, "reset"), True),
        (TimeoutError(), True),
        (wrapped(ConnectionResetError(104, "reset")), True),
        (wrapped(PermissionError(13, "denied")), False),
        (OSError(28, "No space left on device"), False),
        (FileNotFoundError(2, "none"), False),
        (RuntimeError("a bug"), False),
    ],
)
def test_what_may_succeed_later_is_told_from_what_cannot(error, expected):
    assert is_transient(error) == expected


def test_a_lost_answer_is_not_a_second_commit(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    hub.fault("commit", drop="after")
    done = push(pushed)
    assert (done.oid, len(hub.commits(REPO)), hub.kinds().count("commit")) == (hub.head(REPO), 3, 1)


def test_a_lost_answer_and_a_stale_look_are_not_a_second_commit_either(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    hub.fault("commit", drop="after")
    hub.fault("info", stale=True, after=3)  # three before the commit
    done = push(pushed)
    assert (done.oid, len(hub.commits(REPO)), hub.kinds().count("commit")) == (hub.head(REPO), 3, 2)


@pytest.mark.parametrize(("how", "opened"), [({"drop": "after"}, 1), ({"status": 503}, 0), ({"drop": "request"}, 0)])
def test_a_pull_request_whose_answer_is_lost_is_not_opened_twice(hub, push, pushed, other_weights, how, opened):
    shutil.copy(other_weights, pushed)
    main = hub.head(REPO)
    hub.fault("commit", **how)
    with pytest.raises(HubError, match="may have been opened all the same: look at its page before you push again"):
        push(pushed, create_pr=True)
    assert (hub.kinds().count("commit"), len(hub.repos[REPO].pulls), hub.head(REPO)) == (1, opened, main)


@pytest.mark.parametrize("path", ["notes.md", "config.json"])
def test_somebody_elses_commit_in_between_is_not_buried(hub, push, pushed, other_weights, path):
    shutil.copy(other_weights, pushed)
    before, seen = hub.head(REPO), []
    hub.before("commit", lambda: seen.append(hub.commit(REPO, {path: b"{}"})))
    with pytest.raises(HubError) as error:
        push(pushed)
    assert f"moved from {before} to {seen[0]}" in str(error.value)
    assert f"electra-rtd diff {REPO}@{before} {REPO}@{seen[0]}" in str(error.value)
    assert "Nothing of yours was published" in str(error.value) and "push again" in str(error.value)
    assert (hub.head(REPO), hub.kinds().count("commit")) == (seen[0], 1)
    assert hub.files(REPO)["model.safetensors"] != other_weights.read_bytes()
    push(pushed)
    assert hub.files(REPO)["model.safetensors"] == other_weights.read_bytes()
    assert hub.commits(REPO)[0].parent.id == seen[0]


def test_a_push_that_only_removes_is_not_taken_for_done(hub, push, pushed):
    hub.commit(REPO, {"pytorch_model.bin": b"old"})
    hub.before("commit", lambda: hub.commit(REPO, {"notes.md": b"mine"}))
    with pytest.raises(HubError, match="somebody else committed"):
        push(pushed)
    assert "pytorch_model.bin" in hub.files(REPO)
    push(pushed)
    assert "pytorch_model.bin" not in hub.files(REPO) and hub.files(REPO)["notes.md"] == b"mine"


def test_the_same_push_by_somebody_else_in_between_is_as_good(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    done = []
    hub.before("commit", lambda: done.append(push(pushed)))
    assert push(pushed).oid == done[0].oid
    assert len(hub.commits(REPO)) == 3


def test_a_lost_answer_and_a_commit_on_top_of_ours_is_not_called_nothing(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    hub.fault("commit", drop="after")
    hub.before("commit", lambda: hub.before("info", lambda: hub.commit(REPO, {"config.json": b"{}"})))
    with pytest.raises(HubError, match=r"somebody else committed. Yours may be the commit before theirs\."):
        push(pushed)
    theirs, ours = hub.commits(REPO)[:2]
    assert (theirs.author, ours.author, hub.kinds().count("commit")) == ("system", "alice", 1)


def test_a_commit_whose_fate_nobody_tells_is_found_by_the_next_push(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    hub.fault("commit", drop="after")
    hub.fault("info", after=3, times=None, status=503)
    with pytest.raises(HubError, match="answers with status 503"):
        push(pushed)
    hub.clear_faults()
    hub.clear_requests()
    assert push(pushed).oid == hub.head(REPO)
    assert (len(hub.commits(REPO)), hub.writes(), hub.uploaded_lfs_bytes) == (3, [], 0)


def test_a_pull_request_does_not_begin_at_a_state_that_nobody_saw(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    hub.before("commit", lambda: hub.commit(REPO, {"config.json": b"{}"}))
    with pytest.raises(HubError, match="Nothing of yours was published"):
        push(pushed, create_pr=True)
    assert hub.repos[REPO].pulls == {} and hub.kinds().count("commit") == 1


def test_a_lost_answer_while_somebody_else_commits_first_is_no_success(hub, push, pushed, other_weights):
    shutil.copy(other_weights, pushed)
    hub.fault("commit", drop="request")
    hub.before("lfs-verify", lambda: hub.commit(REPO, {"notes.md": b"mine"}))
    with pytest.raises(HubError, match="somebody else committed"):
        push(pushed)
    assert hub.commits(REPO)[0].message == "planted"


@pytest.mark.parametrize("times", [1, None])
def test_a_stale_look_at_the_branch_ends_in_one_clear_answer(hub, push, pushed, other_weights, times):
    before = hub.commit(REPO, {"notes.md": b"1"})
    shutil.copy(other_weights, pushed)
    hub.fault("info", stale=True, after=2 if times else 0, times=times)
    with pytest.raises(HubError, match="moved from" if times else "answers lag behind.*wait a minute and push again"):
        push(pushed)
    assert (hub.head(REPO), hub.kinds().count("commit")) == (before, 1)
    assert len(hub.requests) < 40
    hub.clear_faults()
    push(pushed)
    assert hub.commits(REPO)[0].parent.id == before


def test_a_repository_that_cannot_be_seen_yet_is_not_written_to_blindly(hub, push, saved_pair):
    hub.fault("info", status=404, headers={"X-Error-Code": "RepoNotFound"}, times=None)
    with pytest.raises(HubError, match="push again"):
        push(saved_pair)
    assert list(hub.files(REPO)) == [".gitattributes"] and "commit" not in hub.kinds()


@pytest.mark.parametrize("part_size", [None, 30_000])
@pytest.mark.parametrize("how", [{"status": 503}, {"drop": "request"}])
def test_a_push_after_a_broken_upload_sends_only_what_is_missing(hub, push, saved_pair, part_size, how):
    push(saved_pair, "alice/reference", export=("discriminator", "generator"))
    files = hub.files("alice/reference")
    sizes = {hashlib.sha256(files[name]).hexdigest(): len(files[name]) for name in files if "safetensors" in name}
    assert len(sizes) == 3
    hub.lfs_part_size = part_size
    hub.fault("lfs-upload", after=5 if part_size else 1, times=None, **how)
    with pytest.raises(HubError):
        push(saved_pair, export=("discriminator", "generator"))
    stored = set(hub.repos[REPO].lfs)
    assert stored < set(sizes) and list(hub.files(REPO)) == [".gitattributes"]
    hub.clear_faults()
    hub.clear_requests()
    push(saved_pair, export=("discriminator", "generator"))
    assert hub.uploaded_lfs_bytes == sum(size for oid, size in sizes.items() if oid not in stored)
    assert {name: data for name, data in hub.files(REPO).items() if name != "README.md"} == {
        name: data for name, data in files.items() if name != "README.md"
    }


def test_nothing_is_left_on_this_disk(hub, push, saved_pair, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = {path.name: path.read_bytes() for path in saved_pair.iterdir()}
    push(saved_pair, export=("discriminator", "generator"))
    hub.fault("commit", status=400)
    with pytest.raises(HubError):
        push(saved_pair)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert {path.name: path.read_bytes() for path in saved_pair.iterdir()} == before


# ------------------------------------------------------------------------------------------------ the token


@pytest.fixture
def everything_said(caplog, capfd, tmp_path):
    """All that was logged and printed, and all that lies on this disk, as one text."""
    loggers = [logging.getLogger(name) for name in ("transformers", "electra_rtd")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(caplog.handler)
        logger.setLevel(logging.DEBUG)
    caplog.handler.setLevel(logging.DEBUG)

    def gather(error=None):
        said = capfd.readouterr()
        files = [path for folder in (tmp_path, constants.HF_HOME) for path in Path(folder).rglob("*")]
        texts = [path.read_bytes().decode("latin-1") for path in files if path.is_file()]
        problem = "".join(traceback.format_exception(error)) if error else ""
        return "\n".join([caplog.text, said.out, said.err, problem, *texts])

    yield gather
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("reader", r"refuses the token \(status 403\): log in with `hf auth login`"),
        ("stranger", r"refuses the token \(status 403\): log in with `hf auth login`"),
        ("unknown", r"refuses the token \(status 401\): log in with `hf auth login`"),
        ("nobody", "log in with `hf auth login`"),
    ],
)
@pytest.mark.parametrize("is_new", [True, False])
def test_who_may_not_write_is_told_so_and_changes_nothing(
    hub, push, saved_pair, make_model, everything_said, who, words, is_new
):
    if not is_new:
        push(saved_pair)
    tokens = {
        "reader": hub.add_user("alice", can_write=False),
        "stranger": hub.add_user("bob"),
        "unknown": "hf_" + "Unknown" * 5,
        "nobody": False,
    }
    hub.echo_token_in_errors = True
    before = hub.state()
    with pytest.raises(HubError, match=words) as error:
        push(make_model(seed=1), token=tokens[who])
    assert hub.state() == before
    assert not any(token in everything_said(error.value) for token in (*hub.tokens, tokens["unknown"]))


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize("step", STEPS)
def test_a_token_is_never_shown(hub, push, saved_pair, everything_said, step, status):
    hub.echo_token_in_errors = True
    # The storage is sent no token; a server could still know it.
    body = {"error": f"Bearer {hub.alice}", "errors": [{"message": hub.alice}]}
    hub.fault(step, status=status, body=body, headers={"X-Error-Message": hub.alice}, times=None)
    error = None
    try:
        push(saved_pair, revision="dev")
    except HubError as problem:
        error = problem
    assert error or step == "lfs-verify"
    assert hub.alice not in everything_said(error)
    assert all(hub.alice.encode() not in data for name in hub.repos for data in hub.files(name).values())


def test_a_token_is_not_shown_when_a_parents_card_cannot_be_read(hub, push, pair_copy, everything_said):
    fields = read_json(pair_copy / "config.json")
    fields["generator_config"]["_name_or_path"] = "alice/parent"
    write_json(pair_copy / "config.json", fields)
    hub.create_repo("alice/parent", private=True)
    hub.echo_token_in_errors = True
    hub.fault("alice/parent/resolve", status=403, times=None)
    push(pair_copy)
    assert hub.alice not in everything_said()


def test_a_token_is_not_shown_by_the_commit_or_a_dry_run(hub, push, saved_pair, everything_said):
    push(saved_pair, dry_run=True)
    print(push(saved_pair))
    assert hub.alice not in everything_said()
    assert all(hub.alice.encode() not in data for data in hub.files(REPO).values())


@pytest.mark.parametrize(
    "token", ["hf_" + "aB3" * 12, "api_org_" + "aB3" * 12, "hf_jwt_eyJhb.eyJz_-x.c2ln", "hf_oauth_eyJhb.eyJz_-x.c2ln"]
)
def test_every_kind_of_token_is_blotted_out(token):
    text = f"a (Bearer {token}) and {token}, not hf_hub_url"
    assert without_tokens(text) == "a (Bearer <token>) and <token>, not hf_hub_url"


# ------------------------------------------------------------------------------------------------ found in review


def test_a_file_that_is_no_safetensors_is_refused_by_verification_not_by_an_export(hub, push, pair_copy):
    (pair_copy / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="not pushed") as refused:
        push(pair_copy, export=("discriminator",))
    assert [finding.code for finding in refused.value.report.errors] == ["weights-unreadable"]
    assert hub.requests == []


def test_a_pair_pulled_from_elsewhere_loads_its_new_repository(hub, push, saved_pair, tmp_path):
    push(saved_pair)
    edit_readme(hub, ("## Limits", "Made from alice/pair.\n\n## Limits"))
    pulled = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    push(pulled, "alice/other")
    text = readme(hub, "alice/other")
    assert 'from_pretrained("alice/other"' in text and "electra-rtd pull alice/other`" in text
    assert f'from_pretrained("{REPO}"' not in text and "Made from alice/pair." in text


def test_figures_are_of_the_checkpoint_whose_weights_are_pushed(hub, push, pair_copy, other_weights):
    for step, weights, loss in ((2, pair_copy, 1.5), (4, other_weights, 0.5)):  # the best one was not the last
        folder = pair_copy / f"checkpoint-{step}"
        folder.mkdir()
        source = weights / "model.safetensors" if weights.is_dir() else weights
        shutil.copy(source, folder / "model.safetensors")
        write_json(folder / "trainer_state.json", {"log_history": [{"step": step, "eval_loss": loss}]})
    push(pair_copy)
    [model] = metadata(readme(hub))["model-index"]
    assert [metric["value"] for result in model["results"] for metric in result["metrics"]] == [1.5]


def test_one_tag_that_a_person_wrote_stays_one(hub, push, pushed):
    text = readme(hub)
    tags = "tags:\n- electra\n- electra-rtd\n- replaced-token-detection\n"
    edit_readme(hub, (tags, "tags: books\n"), text=text)
    push(pushed, tags=["ko"])
    assert set(metadata(readme(hub))["tags"]) == {"books", "ko", *OURS}


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


def test_the_reason_that_the_hub_gives_is_told(hub, push, saved_pair):
    hub.fault("commit", status=400, body=json.dumps({"error": "You have exceeded your storage quota."}).encode())
    with pytest.raises(HubError, match="exceeded your storage quota"):
        push(saved_pair)


def test_an_error_of_this_disk_is_not_blamed_on_the_network(hub, push, pushed, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/proc/nothing")
    with pytest.raises(HubError, match="on this disk"):
        push(pushed)
