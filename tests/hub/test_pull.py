"""What a pull promises: one commit, whole, checked and written down, or nothing."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

import electra_rtd.hub_tools.pull as pull_module
from electra_rtd.hub_tools import CheckpointError, pull_checkpoint, pull_locked, push_checkpoint, verify_checkpoint
from electra_rtd.hub_tools.pull import last_lock, pinned_line, read_lock
from electra_rtd.hub_tools.remote import HubError, Remote
from electra_rtd.hub_tools.staging import _neighbours


REPO = "alice/pair"
LOCK = "electra_rtd.lock.json"
WEIGHTS = "model.safetensors"
CODE = "modeling_electra_rtd.py"


@pytest.fixture
def pull(hub, tmp_path):
    """`pull_checkpoint` as Alice, into one and the same folder unless a test says otherwise."""

    def run(repo_id=REPO, **options):
        return pull_checkpoint(repo_id, **{"local_dir": tmp_path / "here" / "pair", "token": hub.alice, **options})

    return run


@pytest.fixture(scope="session")
def other_bytes(other_weights):
    return other_weights.read_bytes()


def contents(folder):
    """Every file below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_lock(folder):
    return {name: data for name, data in contents(folder).items() if name != LOCK}


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def lock_of(files, commit, repo=REPO):
    return {
        "repo": repo,
        "commit": commit,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }


# ------------------------------------------------------------------------------------------------ what is taken


def test_a_pull_is_exactly_the_commit_and_is_written_down(hub, planted, pull):
    folder = pull()
    assert without_lock(folder) == hub.files(REPO)
    assert json.loads((folder / LOCK).read_text()) == lock_of(hub.files(REPO), planted)
    assert names(folder.parent) == ["pair"]
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("revision", ["main", "v1", "commit", "dev/2"])
def test_a_branch_a_tag_or_a_commit_is_resolved_to_a_commit(hub, planted, pull, revision, other_bytes):
    hub.repos[REPO].tags["v1"] = hub.repos[REPO].branches["dev/2"] = hub.commits(REPO)[0]
    newer = hub.commit(REPO, {WEIGHTS: other_bytes})
    expected = newer if revision == "main" else planted
    folder = pull(revision=planted if revision == "commit" else revision)
    assert read_lock(folder)["commit"] == expected
    assert without_lock(folder) == hub.files(REPO, expected)


def test_the_same_pull_again_downloads_nothing(hub, planted, pull):
    folder = pull()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    hub.clear_requests()
    assert pull() == folder
    assert hub.downloads() == [] and {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("moment", ["tree", "resolve", "lfs-download"])
def test_a_branch_that_moves_meanwhile_is_no_mixture(hub, planted, pull, other_bytes, moment):
    hub.before(moment, lambda: hub.commit(REPO, {WEIGHTS: other_bytes, "vocab.txt": b"new", "README.md": None}))
    folder = pull()
    assert hub.head(REPO) != planted
    assert without_lock(folder) == hub.files(REPO, planted)
    assert json.loads((folder / LOCK).read_text()) == lock_of(hub.files(REPO, planted), planted)


def test_a_newer_commit_takes_the_place_of_an_unedited_pull(hub, planted, pull, other_bytes):
    pull()
    newer = hub.commit(REPO, {WEIGHTS: other_bytes, "README.md": None})
    folder = pull()
    assert without_lock(folder) == hub.files(REPO) and "README.md" not in contents(folder)
    assert read_lock(folder)["commit"] == newer and names(folder.parent) == ["pair"]


def test_without_local_dir_it_lies_beside_the_cache_one_folder_a_commit(hub, planted, pull, other_bytes):
    first = pull(local_dir=None)
    assert first == Path(constants.HF_HOME) / "electra_rtd" / "alice--pair" / planted
    assert without_lock(first) == hub.files(REPO) and not any(path.is_symlink() for path in first.rglob("*"))
    hub.clear_requests()
    assert pull(local_dir=None) == first and hub.downloads() == []
    newer = hub.commit(REPO, {WEIGHTS: other_bytes})
    second = pull(local_dir=None)
    assert names(first.parent) == sorted([planted, newer, LOCK]) and second.name == newer
    assert without_lock(first) == hub.files(REPO, planted)  # who reads it goes on with it
    assert last_lock(REPO).read_bytes() == (second / LOCK).read_bytes()


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("local_dir", ["x/../pair", "link", "empty"])
def test_a_folder_can_be_named_in_any_way(hub, planted, pull, tmp_path, monkeypatch, other_bytes, local_dir):
    (tmp_path / "cwd" / "x").mkdir(parents=True)
    (tmp_path / "real" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cwd")
    where = Path(local_dir)
    if local_dir == "link":
        where = tmp_path / "link"
        where.symlink_to(tmp_path / "real" / "empty")
    elif local_dir == "empty":
        where = tmp_path / "real" / "empty"
    absolute = where.resolve()
    assert pull(local_dir=where) == where
    hub.commit(REPO, {WEIGHTS: other_bytes})
    pull(local_dir=where)
    assert without_lock(absolute) == hub.files(REPO)
    assert not list(tmp_path.rglob(".partial*"))
    assert where.is_symlink() == (local_dir == "link")


def test_a_lock_that_somebody_published_is_not_taken_for_ours(hub, planted, pull):
    newer = hub.commit(REPO, {LOCK: b"{}"})
    folder = pull()
    assert read_lock(folder) == lock_of(without_lock(folder), newer)
    hub.clear_requests()
    assert pull() == folder and hub.downloads() == []


def test_a_private_repository_is_there_for_its_owner_only(hub, saved_pair, pull):
    push_checkpoint(saved_pair, REPO, token=hub.alice, export=(), private=True)
    for token in (False, hub.add_user("bob")):
        with pytest.raises(HubError, match=f"{REPO} is not there, or is private.*hf auth login"):
            pull(token=token)
    assert without_lock(pull()) == hub.files(REPO)


def test_the_line_that_loads_it_is_pinned(planted):
    assert pinned_line(REPO, planted) == (
        f'AutoModel.from_pretrained("{REPO}", revision="{planted}", code_revision="{planted}", trust_remote_code=True)'
    )


# ------------------------------------------------------------------------------------------------ what is kept


def foreign(folder, how):
    """Make a target that is no unedited pull; says what the error must name."""
    if how == "a file":
        folder.parent.mkdir(parents=True)
        folder.write_text("mine")
        return "holds something that was not pulled"
    if how == "foreign":
        folder.mkdir(parents=True)
        (folder / "thesis.md").write_text("mine")
        return "holds something that was not pulled"
    if how == "edited":
        (folder / "README.md").write_text("mine")
        return r"was edited after it was pulled \(README\.md\).*electra-rtd push"
    if how == "added":
        (folder / "notes").mkdir()
        (folder / "notes" / "a.md").write_text("mine")
        return r"was edited after it was pulled \(notes/a\.md\)"
    if how == "removed":
        (folder / "README.md").unlink()
        return r"was edited after it was pulled \(README\.md\)"
    if how == "same size":
        data = bytearray((folder / WEIGHTS).read_bytes())
        data[-1] ^= 1
        (folder / WEIGHTS).write_bytes(data)
        return r"was edited after it was pulled \(model\.safetensors\)"
    if how == "a clone":
        (folder / ".git").mkdir()
        (folder / ".git" / "HEAD").write_text("mine")
        return r"was edited after it was pulled \(\.git\)"
    (folder / LOCK).write_text("{")
    return "is not a lock of `electra-rtd pull`"


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize(
    "how", ["a file", "foreign", "edited", "added", "removed", "same size", "a clone", "broken lock"]
)
@pytest.mark.parametrize("is_newer", [True, False])
def test_what_somebody_made_is_never_replaced(hub, planted, pull, tmp_path, other_bytes, how, is_newer):
    folder = tmp_path / "here" / "pair"
    if how not in ("a file", "foreign"):
        pull()
    words = foreign(folder, how)
    before = contents(folder.parent)
    if is_newer:
        hub.commit(REPO, {WEIGHTS: other_bytes})
    hub.clear_requests()
    with pytest.raises(ValueError, match=words):
        pull()
    assert contents(folder.parent) == before and hub.downloads() == []


def test_another_repository_may_take_the_place_of_an_unedited_pull(hub, planted, pull, make_model, tokenizer):
    pull()
    done = push_checkpoint(make_model(seed=3), "alice/other", tokenizer=tokenizer, token=hub.alice, export=())
    folder = pull("alice/other")
    assert read_lock(folder) == lock_of(hub.files("alice/other"), done.oid, "alice/other")


def test_the_lock_names_the_repository_that_was_asked(hub, planted, pull):
    pull()
    hub.repos["alice/moved"] = hub.repos[REPO]  # a rename keeps the commits
    assert read_lock(pull("alice/moved")) == lock_of(hub.files(REPO), planted, "alice/moved")


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("name", "verify", "local_dir"),
    [
        *((name, True, "given") for name in ("../../evil", "/evil", "a/../../evil", "..\\evil", "C:evil")),
        *((name, False, None) for name in (".git/hooks/evil", "MODEL.safetensors")),
        *(("../evil", verify, local_dir) for verify in (True, False) for local_dir in ("given", None)),
    ],
)
def test_names_that_leave_the_folder_are_refused_before_anything_is_there(
    hub, planted, pull, tmp_path, name, verify, local_dir
):
    hub.commit(REPO, {name: b"evil"})
    before = contents(tmp_path)
    options = {} if local_dir else {"local_dir": None}
    with pytest.raises(CheckpointError, match=r"Nothing was downloaded:\n  error +unsafe-path") as error:
        pull(verify=verify, **options)
    assert name in str(error.value)
    assert contents(tmp_path) == before and hub.downloads() == []
    assert names(tmp_path / "here") == [] and not (Path(constants.HF_HOME) / "electra_rtd").exists()
    assert not list(Path(constants.HF_HOME).rglob("*evil*"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "extra/x.pkl", "tf_model.h5"])
def test_what_runs_when_it_is_read_is_refused_before_it_is_downloaded(hub, planted, pull, tmp_path, name):
    hub.commit(REPO, {name: b"evil"})
    with pytest.raises(CheckpointError, match="Nothing was downloaded") as error:
        pull()
    assert [finding.path for finding in error.value.report.errors] == [name]
    assert error.value.report.commit == hub.head(REPO)
    assert hub.downloads() == [] and names(tmp_path / "here") == []
    assert without_lock(pull(verify=False)) == hub.files(REPO)  # who asks for it gets it


@pytest.mark.parametrize("has_earlier", [False, True])
def test_a_checkpoint_with_errors_is_not_taken(hub, planted, pull, tmp_path, nan_weights, has_earlier):
    if has_earlier:
        pull()
    before = contents(tmp_path)
    bad = hub.commit(REPO, {WEIGHTS: nan_weights.read_bytes()})
    with pytest.raises(CheckpointError, match=f"{REPO} at {bad} is not taken"):
        pull()
    assert contents(tmp_path) == before
    assert names(tmp_path / "here") == (["pair"] if has_earlier else [])
    with pytest.raises(CheckpointError):
        pull(local_dir=None)
    assert not [path for path in (Path(constants.HF_HOME) / "electra_rtd").rglob("*") if path.is_file()]


def test_a_checkpoint_with_errors_that_lies_here_is_told_of_again(hub, planted, pull, nan_weights):
    hub.commit(REPO, {WEIGHTS: nan_weights.read_bytes()})
    folder = pull(verify=False)
    assert without_lock(folder) == hub.files(REPO)
    with pytest.raises(CheckpointError, match="is not taken"):
        pull()


def test_code_of_others_is_taken_only_from_whom_the_caller_names(hub, planted, pull):
    fields = json.loads(hub.files(REPO)["config.json"])
    fields["auto_map"] = {name: f"bob/code--{row}" for name, row in fields["auto_map"].items()}
    hub.commit(REPO, {"config.json": json.dumps(fields).encode()})
    with pytest.raises(CheckpointError, match="bob/code"):
        pull()
    assert without_lock(pull(allow_code_from=["bob/code"])) == hub.files(REPO)


def test_a_repository_without_files_is_named(hub, planted, pull, tmp_path):
    hub.commit(REPO, dict.fromkeys(hub.files(REPO)))
    with pytest.raises(HubError, match=f"{REPO} holds no files"):
        pull()
    assert names(tmp_path / "here") == []


@pytest.mark.parametrize(("repo_id", "revision"), [("alice/none", None), (REPO, "none"), (REPO, "0" * 40)])
def test_what_is_not_there_is_named(hub, planted, pull, tmp_path, repo_id, revision):
    with pytest.raises(HubError, match="has no such revision: give a branch" if revision else "is not there, or is"):
        pull(repo_id, revision=revision)
    assert names(tmp_path) == []


def test_a_repository_behind_an_agreement_says_where_to_accept_it(hub, planted, pull, tmp_path):
    hub.fault("info", status=403, headers={"X-Error-Code": "GatedRepo"}, times=None)
    with pytest.raises(HubError, match=f"{REPO} asks for an agreement on its page first; accept it there"):
        pull()
    assert names(tmp_path) == []


# ------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("place", [f"/{WEIGHTS}", "/lfs/", "/README.md", f"/{CODE}"])
def test_a_flipped_bit_is_seen_and_the_file_is_fetched_again(hub, planted, pull, place):
    struck = hub.fault(place, flip_bit=True, method="GET")
    if place == f"/{WEIGHTS}":
        struck = hub.fault("lfs-download", flip_bit=True)
    assert without_lock(pull()) == hub.files(REPO)
    assert struck.hits == 1


@pytest.mark.parametrize(
    ("place", "has_earlier", "verify"),
    [("/lfs/", True, True), ("/lfs/", False, False), ("/README.md", True, False), ("/README.md", False, True)],
)
def test_bits_that_flip_for_ever_leave_nothing(hub, planted, pull, tmp_path, other_bytes, place, has_earlier, verify):
    if has_earlier:
        pull()
        hub.commit(REPO, {WEIGHTS: other_bytes, "README.md": b"# Longer than it was\n"})
    before = contents(tmp_path)
    struck = hub.fault(place, flip_bit=True, method="GET", times=None)
    with pytest.raises(HubError, match="came damaged twice"):
        pull(verify=verify)
    assert struck.hits == 2 and contents(tmp_path) == before
    assert names(tmp_path / "here") == (["pair"] if has_earlier else [])
    hub.clear_faults()
    assert without_lock(pull()) == hub.files(REPO)  # nor is the cache spoiled


def test_a_file_that_went_bad_in_the_cache_is_fetched_again(hub, planted, pull):
    shutil.rmtree(pull())
    for path in (Path(constants.HF_HUB_CACHE)).rglob("blobs/*"):
        data = bytearray(path.read_bytes())
        data[0] ^= 1
        path.write_bytes(data)
    assert without_lock(pull()) == hub.files(REPO)


FAULTS = {
    "500": {"status": 500},
    "503": {"status": 503},
    "429": {"status": 429, "headers": {"Retry-After": "3"}},
    "cut off": {"drop": "request"},
    "no answer": {"drop": "after"},
    "half an answer": {"drop": "response"},
}
STEPS = ("info", "tree", "resolve", "lfs-download")


# Every step with a busy server and with every kind of broken connection; every other fault at one step.
STRUCK = [(step, fault) for step in STEPS for fault in FAULTS if step == "tree" or fault not in ("500", "429")]


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize(("step", "fault"), STRUCK)
def test_a_failure_of_any_step_is_tried_again(hub, planted, pull, step, fault):
    struck = hub.fault(step, **FAULTS[fault])
    assert without_lock(pull()) == hub.files(REPO)
    assert struck.hits == 1


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize(("step", "fault"), STRUCK)
def test_a_step_that_never_works_leaves_nothing_and_the_next_pull_succeeds(hub, planted, pull, tmp_path, step, fault):
    struck = hub.fault(step, times=None, **FAULTS[fault])
    with pytest.raises(HubError, match=f"^{REPO} (answers with status|cannot be reached)"):
        pull()
    assert struck.hits <= 60
    assert contents(tmp_path) == {} and names(tmp_path / "here") == []
    hub.clear_faults()
    assert without_lock(pull()) == hub.files(REPO)


def test_a_stale_branch_is_an_older_commit_and_no_mixture(hub, planted, pull, other_bytes):
    hub.commit(REPO, {WEIGHTS: other_bytes})
    hub.fault("info", stale=True)
    folder = pull()
    assert read_lock(folder)["commit"] == planted and without_lock(folder) == hub.files(REPO, planted)


def test_without_network_it_says_so(hub, planted, pull, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    forget_sessions = getattr(_http, "reset_sessions", lambda: None)  # 0.36 looks when it makes one
    forget_sessions()
    try:
        with pytest.raises(HubError, match="cannot be asked: HF_HUB_OFFLINE is set"):
            pull()
    finally:
        forget_sessions()
    assert names(tmp_path / "here") == [] and hub.requests == []


@pytest.mark.parametrize("status", [401, 503])
@pytest.mark.parametrize("step", STEPS)
def test_a_token_is_never_shown(hub, planted, pull, tmp_path, caplog, capfd, step, status):
    hub.echo_token_in_errors = True
    body = {"error": f"Bearer {hub.alice}"}
    hub.fault(step, status=status, body=body, headers={"X-Error-Message": hub.alice}, times=None)
    loggers = [logging.getLogger(name) for name in ("transformers", "electra_rtd")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(caplog.handler)
        logger.setLevel(logging.DEBUG)
    try:
        with pytest.raises(HubError) as error:
            pull()
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(caplog.handler)
            logger.setLevel(level)
    said = "".join([*traceback.format_exception(error.value), caplog.text, *capfd.readouterr()])
    assert hub.alice not in said
    for folder in (tmp_path, Path(constants.HF_HOME)):
        assert not any(hub.alice.encode() in data for data in contents(folder).values())


def test_a_pull_writes_no_token(hub, planted, pull):
    everything = [*contents(pull()).values(), *contents(pull(local_dir=None).parent).values()]
    assert not any(hub.alice.encode() in data for data in everything)


# ------------------------------------------------------------------------------------------------ exactly that again


def test_a_lock_gives_the_same_after_the_branch_moved(hub, planted, pull, tmp_path, other_bytes):
    folder = pull()
    changed = hub.files(REPO)[CODE] + b"\nimport os\n"
    hub.commit(REPO, {WEIGHTS: other_bytes, CODE: changed, "README.md": None})
    for lock in (folder, folder / LOCK):
        again = pull_locked(lock, local_dir=tmp_path / "again", token=hub.alice)
        assert contents(again) == contents(folder)
        assert (again / CODE).read_bytes() != changed
    assert pull_locked(folder, local_dir=folder, token=hub.alice) == folder  # it is there
    shutil.rmtree(tmp_path / "again")
    assert contents(pull_locked(folder, token=hub.alice)) == contents(folder)


def test_a_lock_takes_a_newer_pull_back(hub, planted, pull, tmp_path, other_bytes):
    lock = tmp_path / "old.json"
    shutil.copy(pull() / LOCK, lock)
    before = hub.files(REPO)
    hub.commit(REPO, {WEIGHTS: other_bytes})
    pull()
    assert without_lock(pull_locked(lock, local_dir=tmp_path / "here" / "pair", token=hub.alice)) == before


@pytest.mark.parametrize("how", ["another hash", "another file", "a file less"])
@pytest.mark.parametrize("verify", [True, False])
def test_other_content_than_the_lock_says_is_not_taken(hub, planted, pull, tmp_path, how, verify):
    lock = json.loads((pull() / LOCK).read_text())
    if how == "another hash":
        lock["files"][WEIGHTS] = "0" * 64
    elif how == "another file":
        lock["files"]["more.txt"] = "0" * 64
    else:
        del lock["files"]["README.md"]
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(HubError, match=f"{REPO} has other files at {planted} than the lock says: do not use it"):
        pull_locked(tmp_path / "lock.json", local_dir=tmp_path / "again", token=hub.alice, verify=verify)
    assert names(tmp_path) == ["here", "lock.json"]
    with pytest.raises(HubError, match="than the lock says"):  # where it lies already
        pull_locked(tmp_path / "lock.json", local_dir=tmp_path / "here" / "pair", token=hub.alice, verify=verify)


def test_a_new_repository_under_an_old_name_is_not_taken(hub, planted, pull, tmp_path, saved_pair):
    folder = pull()
    del hub.repos[REPO]
    push_checkpoint(saved_pair, REPO, token=hub.alice, export=(), tags=["new"])
    with pytest.raises(HubError, match="has no such revision"):
        pull_locked(folder, local_dir=tmp_path / "again", token=hub.alice)
    assert names(tmp_path) == ["here"]


@pytest.mark.parametrize("commit", ["main", "short"])
def test_a_lock_must_name_a_whole_commit(hub, planted, pull, tmp_path, commit):
    lock = json.loads((pull() / LOCK).read_text())
    lock["commit"] = planted[:10] if commit == "short" else commit
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(HubError, match=f"answers with commit {planted}, not with {lock['commit']} of the lock"):
        pull_locked(tmp_path / "lock.json", local_dir=tmp_path / "again", token=hub.alice)
    assert names(tmp_path) == ["here", "lock.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"repo": "a/b", "commit": "1"}', '{"repo": 1, "commit": 2, "files": 3}', "\udcff"]
)
def test_a_broken_lock_is_named(hub, tmp_path, text):
    (tmp_path / LOCK).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=f"{LOCK} is not a lock of `electra-rtd pull`"):
        pull_locked(tmp_path, local_dir=tmp_path / "again")
    assert names(tmp_path) == [LOCK] and hub.requests == []


def test_a_lock_that_is_not_there_is_named(hub, tmp_path):
    with pytest.raises(ValueError, match="is not there: `electra-rtd pull` without --locked writes it"):
        pull_locked(tmp_path / "none")
    assert hub.requests == []


# ------------------------------------------------------------------------------------------------ killed, or not alone


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize(
    "died", ["downloading", "downloading, nothing before", "between the two moves", "clearing up"]
)
@pytest.mark.parametrize("is_newer", [True, False])
def test_after_a_killed_pull_the_next_one_finds_the_old_or_the_new_folder(
    hub, planted, pull, tmp_path, other_bytes, died, is_newer
):
    target = tmp_path / "here" / "pair"
    partial, previous = _neighbours(target)
    pull()
    if is_newer:
        hub.commit(REPO, {WEIGHTS: other_bytes})
    if died == "between the two moves":
        target.rename(previous)
        shutil.copytree(previous, partial)
    elif died == "clearing up":
        shutil.copytree(target, previous)
        (previous / "README.md").unlink()  # half removed
    else:
        shutil.copytree(target, partial)
        (partial / LOCK).unlink()
        (partial / WEIGHTS).write_bytes(b"half")
        if died.endswith("before"):
            shutil.rmtree(target)
    assert pull() == target
    assert without_lock(target) == hub.files(REPO) and names(target.parent) == ["pair"]


@pytest.mark.usefixtures("not_verified")
def test_a_killed_pull_that_cannot_be_repeated_loses_nothing(hub, planted, pull, tmp_path, other_bytes):
    target = tmp_path / "here" / "pair"
    partial, previous = _neighbours(target)
    before = contents(pull())
    target.rename(previous)
    partial.mkdir()
    hub.commit(REPO, {WEIGHTS: other_bytes})
    hub.fault("lfs-download", status=503, times=None)
    with pytest.raises(HubError):
        pull()
    assert contents(target) == before and names(target.parent) == ["pair"]


def test_what_a_killed_pull_left_is_not_mistaken_for_another_folder(hub, planted, pull, tmp_path):
    here = tmp_path / "here"
    for name in ("pair-before", "old-pair", "new-pair", "before-pair"):
        partial, previous = _neighbours(here / name)
        assert not {partial, previous} & set(_neighbours(here / "pair"))


class Killed(BaseException):
    """Nobody catches this one."""


@pytest.mark.usefixtures("not_verified")
@pytest.mark.parametrize("move", ["the old one away", "the new one there"])
def test_a_failure_of_either_move_leaves_the_old_folder(hub, planted, pull, monkeypatch, other_bytes, move):
    folder = pull()
    before, replace = contents(folder), os.replace
    hub.commit(REPO, {WEIGHTS: other_bytes})
    source_of_it = folder if move == "the old one away" else _neighbours(folder)[0]

    def fail(source, target):
        if source == source_of_it:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(Killed):
        pull()
    assert contents(folder) == before and names(folder.parent) == ["pair"]


@pytest.mark.usefixtures("not_verified")
def test_two_threads_into_one_folder_both_succeed(hub, planted, pull, tmp_path, other_bytes):
    newer = hub.commit(REPO, {WEIGHTS: other_bytes})
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda revision: pull(revision=revision), [planted, newer] * 2))
    folder = folders[0]
    assert folders == [folder] * 4 and names(folder.parent) == ["pair"]
    commit = read_lock(folder)["commit"]
    assert commit in (planted, newer) and without_lock(folder) == hub.files(REPO, commit)


@pytest.mark.usefixtures("not_verified")
def test_two_threads_write_down_the_last_pull_one_after_the_other(hub, planted, pull, monkeypatch, other_bytes):
    newer = hub.commit(REPO, {WEIGHTS: other_bytes})
    inside, most, write_lock = [], [], pull_module._write_lock

    def write_slowly(path, lock):
        if path == last_lock(REPO):
            inside.append(path)
            most.append(len(inside))
            threading.Event().wait(0.05)
            inside.pop()
        write_lock(path, lock)

    monkeypatch.setattr(pull_module, "_write_lock", write_slowly)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda revision: pull(local_dir=None, revision=revision), [planted, newer] * 3))
    assert most == [1] * 6
    assert {folder.name for folder in folders} == {planted, newer}
    assert names(folders[0].parent) == sorted([planted, newer, LOCK])
    assert read_lock(last_lock(REPO))["commit"] in (planted, newer)


PULL = """
import json, sys
from electra_rtd.hub_tools import pull_checkpoint
print(pull_checkpoint(sys.argv[1], local_dir=sys.argv[2]))
"""


@pytest.mark.slow
def test_two_processes_into_one_folder_both_succeed(hub, planted, tmp_path):
    environment = {**os.environ, **hub.environment(hub.alice), "OMP_NUM_THREADS": "1"}
    target = tmp_path / "here" / "pair"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PULL, REPO, str(target)],
            env={**environment, "HF_HOME": str(tmp_path / f"home{number}")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [out.strip() for out, _ in said] == [str(target)] * 2
    assert without_lock(target) == hub.files(REPO) and names(target.parent) == ["pair"]


# ------------------------------------------------------------------------------------------------ found in review


def test_what_is_edited_while_a_pull_downloads_is_kept(hub, planted, other_bytes, tmp_path, monkeypatch):
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    hub.commit(REPO, {WEIGHTS: other_bytes})
    download = Remote.download

    def edit_meanwhile(remote, names=None):
        (folder / "mine.txt").write_text("mine")
        return download(remote, names)

    monkeypatch.setattr(Remote, "download", edit_meanwhile)
    with pytest.raises(ValueError, match="was edited after it was pulled"):
        pull_checkpoint(REPO, local_dir=folder, token=hub.alice)
    assert (folder / "mine.txt").read_text() == "mine" and read_lock(folder)["commit"] == planted
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial")] == []


def test_another_model_is_refused_before_its_weights_are_downloaded(hub, tmp_path):
    hub.create_repo("alice/llama")
    hub.commit("alice/llama", {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"0" * 5000})
    assert [finding.code for finding in verify_checkpoint("alice/llama").errors] == ["not-a-pair"]
    with pytest.raises(CheckpointError, match="not-a-pair"):
        pull_checkpoint("alice/llama", local_dir=tmp_path / "pulled")
    assert [request.kind for request in hub.requests if request.kind == "lfs-download"] == []
    assert not (tmp_path / "pulled").exists()


def test_the_folder_where_one_stands_is_not_pulled_from_under_ones_feet(hub, planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="new folder below it"):
        pull_checkpoint(REPO, local_dir=".", token=hub.alice)
    assert list(tmp_path.iterdir()) == []
