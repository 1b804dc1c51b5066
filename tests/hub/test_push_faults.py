"""A push that something happens to on the way is one commit or none, ends in one message, and shows no token."""

import hashlib
import json
import logging
import shutil
import tempfile
import time
import traceback
from pathlib import Path

import pytest
from huggingface_hub import constants

from electra_rtd.hub_tools.remote import ATTEMPTS, LONGEST_WAIT, HubError, is_transient, without_tokens


REPO = "alice/pair"


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


def test_the_reason_that_the_hub_gives_is_told(hub, push, saved_pair):
    hub.fault("commit", status=400, body=json.dumps({"error": "You have exceeded your storage quota."}).encode())
    with pytest.raises(HubError, match="exceeded your storage quota"):
        push(saved_pair)


def test_an_error_of_this_disk_is_not_blamed_on_the_network(hub, push, pushed, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/proc/nothing")
    with pytest.raises(HubError, match="on this disk"):
        push(pushed)


# ----------------------------------------------------------------------------------------------------------- the token


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


def test_a_token_is_not_shown_when_a_parents_card_cannot_be_read(hub, push, pair_copy, edit_json, everything_said):
    edit_json(pair_copy, lambda fields: fields["generator_config"].update(_name_or_path="alice/parent"))
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
