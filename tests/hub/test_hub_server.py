"""Where a test of ours would be wrong if the in-test Hub were not like the real one: asked through the real client."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError


REPO = "alice/model"
WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def api(hub):
    api = HfApi(endpoint=hub.url, token=hub.alice)
    api.create_repo(REPO)
    return api


def add(**files):
    return [CommitOperationAdd(path.replace("_", "."), data) for path, data in files.items()]


def status_of(error):
    return error.value.response.status_code


# ------------------------------------------------------------------------------------------------ repos and rights


def test_a_private_repo_is_not_there_for_others(hub, api):
    api.create_repo("alice/secret", private=True)
    assert api.model_info("alice/secret").private is True
    for token in (False, hub.add_user("bob")):
        with pytest.raises(RepositoryNotFoundError) as error:
            HfApi(endpoint=hub.url, token=token).model_info("alice/secret")
        assert status_of(error) == 404
    api.update_repo_settings("alice/secret", private=False)
    assert HfApi(endpoint=hub.url, token=False).model_info("alice/secret").private is False


@pytest.mark.parametrize(
    ("writer", "status"), [(None, 401), ("hf_unknown", 401), ("reader", 403), ("stranger", 403), ("member", 200)]
)
def test_who_may_write(hub, api, writer, status):
    tokens = {
        "reader": hub.add_user("alice", can_write=False),
        "stranger": hub.add_user("bob"),
        "member": hub.add_user("carol", can_write={"alice"}),
    }
    other = HfApi(endpoint=hub.url, token=tokens.get(writer, writer) or False)
    if status == 200:
        other.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=REPO)
        assert hub.commits(REPO)[0].author == "carol"
        return
    with pytest.raises(HfHubHTTPError) as error:
        other.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=REPO)
    assert status_of(error) == status
    assert len(hub.commits(REPO)) == 1


# ------------------------------------------------------------------------------------------------ reading


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, api):
    first = hub.head(REPO)
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="side/line", revision=first)
    second = hub.commit(REPO, {"a.txt": b"1"})
    assert api.model_info(REPO).sha == api.model_info(REPO, revision="main").sha == second
    for revision in ("v1", "side/line", first, first[:8]):
        assert api.model_info(REPO, revision=revision).sha == first
    for revision in ("nope", "0" * 40, "abcdef1"):
        with pytest.raises(RevisionNotFoundError):
            api.model_info(REPO, revision=revision)
    refs = api.list_repo_refs(REPO, include_pull_requests=True)
    assert {ref.ref: ref.target_commit for ref in refs.branches + refs.tags + refs.pull_requests} == hub.refs(REPO)
    api.delete_branch(REPO, branch="side/line")
    assert hub.refs(REPO) == {"refs/heads/main": second, "refs/tags/v1": first}


def test_sizes_and_hashes_are_git_s_for_small_files_and_sha256_for_lfs(hub, api):
    hub.commit(REPO, {"a/b.txt": b"hello\n", "w.safetensors": WEIGHTS})
    siblings = {sibling.rfilename: sibling for sibling in api.model_info(REPO, files_metadata=True).siblings}
    text, weights = siblings["a/b.txt"], siblings["w.safetensors"]
    assert (text.size, text.blob_id, text.lfs) == (6, "ce013625030ba8dba906f756967f9e9ca394464a", None)
    assert (weights.size, weights.lfs.size) == (10240, 10240)
    assert weights.lfs.sha256 == "e96760a87768717bcebcfd25ddc7d46b4dbc95a4b0014def080c08539f7d90d0"


# ------------------------------------------------------------------------------------------------ downloading


def test_a_snapshot_has_every_byte_and_the_storage_sees_no_token(hub, api, tmp_path):
    hub.create_repo("alice/secret", private=True)
    hub.commit("alice/secret", {"config.json": b"{}", "w.safetensors": WEIGHTS, "empty.txt": b""})
    folder = Path(api.snapshot_download("alice/secret", cache_dir=tmp_path))
    assert folder.name == hub.head("alice/secret")
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")}
    assert found == hub.files("alice/secret")
    downloads = [request for request in hub.requests if request.kind == "lfs-download"]
    assert [(request.authorization, request.sent) for request in downloads] == [(None, len(WEIGHTS))]


def test_a_missing_file_is_told_from_a_missing_revision(hub, api, tmp_path):
    assert api.file_exists(REPO, ".gitattributes") and not api.file_exists(REPO, "none")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(REPO, "none", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(REPO, ".gitattributes", revision="none", cache_dir=tmp_path)


# ------------------------------------------------------------------------------------------------ committing


def test_a_commit_on_an_older_parent_is_refused(hub, api):
    parent = hub.head(REPO)
    hub.before("commit", lambda: hub.commit(REPO, {"between.txt": b"1"}))
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api.create_commit(REPO, add(a_txt=b"1"), commit_message="late", parent_commit=parent)
    assert status_of(error) == 412
    assert [commit.message for commit in hub.commits(REPO)] == ["planted", "initial commit"]


def test_deleting_what_is_not_there_is_refused(hub, api):
    for path in ("none.txt", "none/"):
        with pytest.raises(EntryNotFoundError, match="doesn't exist"):
            api.create_commit(REPO, [CommitOperationDelete(path)], commit_message="no")
    assert len(hub.commits(REPO)) == 1


def test_an_lfs_file_that_was_not_uploaded_cannot_be_committed(hub, api):
    operations = add(w_bin=WEIGHTS)
    operations[0]._is_uploaded, operations[0]._upload_mode = True, "lfs"
    with pytest.raises(HfHubHTTPError, match=r"w\.bin") as error:
        api.create_commit(REPO, operations, commit_message="no")
    assert status_of(error) == 400
    assert "w.bin" not in hub.files(REPO)


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ("license: Apache 2.0", "license"),
        ("base_model: ./out/run 1", "base_model"),
        ("- a", "mapping"),
        ("a: [", "YAML"),
    ],
)
def test_a_bad_card_is_refused(hub, api, card, complaint):
    with pytest.raises(ValueError, match=complaint):
        api.upload_file(path_or_fileobj=f"---\n{card}\n---\n".encode(), path_in_repo="README.md", repo_id=REPO)
    good = b"---\nlicense: apache-2.0\nbase_model: [a/b, bert-base]\n---\n# Card"
    api.upload_file(path_or_fileobj=good, path_in_repo="README.md", repo_id=REPO)
    assert hub.files(REPO)["README.md"] == good


# ------------------------------------------------------------------------------------------------ faults


def test_a_status_fault_does_nothing_of_the_work(hub, api):
    fault = hub.fault("commit", status=503, after=1)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=REPO)
    with pytest.raises(HfHubHTTPError) as error:
        api.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=REPO)
    assert (status_of(error), fault.hits) == (503, 1)
    assert hub.files(REPO)["a.txt"] == b"1"
    api.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=REPO)
    assert hub.files(REPO)["a.txt"] == b"2"


@pytest.mark.parametrize(("drop", "commits"), [("request", 1), ("after", 2)])
def test_a_broken_connection_fails_the_commit_with_or_without_its_work(hub, api, drop, commits):
    fault = hub.fault("/commit/main", method="POST", drop=drop)
    with pytest.raises(Exception, match=r"(?i)connection|disconnected|reset|aborted"):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=REPO)
    assert fault.hits == 1
    assert len(hub.commits(REPO)) == commits
    last = hub.requests[-1]
    assert (last.kind, last.status, last.sent) == ("commit", 0, 0)


def test_a_flipped_bit_changes_one_bit_of_a_download(hub, api, tmp_path):
    hub.commit(REPO, {"w.safetensors": WEIGHTS})
    fault = hub.fault("/lfs/", flip_bit=True)
    spoilt = Path(api.hf_hub_download(REPO, "w.safetensors", cache_dir=tmp_path)).read_bytes()
    assert fault.hits == 1
    assert [place for place in range(len(WEIGHTS)) if spoilt[place] != WEIGHTS[place]] == [len(WEIGHTS) // 2]
    assert spoilt[len(WEIGHTS) // 2] ^ WEIGHTS[len(WEIGHTS) // 2] == 1


def test_a_stale_answer_tells_the_commit_before(hub, api):
    first = hub.head(REPO)
    second = hub.commit(REPO, {"a.txt": b"1"})
    hub.fault("info", stale=True, times=2)
    shas = [api.model_info(REPO).sha, api.model_info(REPO, revision="main").sha, api.model_info(REPO).sha]
    assert shas == [first, first, second]


def test_a_hub_that_fails_by_itself_fails_its_test():
    with pytest.raises(AssertionError, match="JSONDecodeError"), Hub() as hub:
        token = hub.add_user("alice")
        request = urllib.request.Request(f"{hub.url}/api/repos/create", b"{", {"Authorization": f"Bearer {token}"})
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(request)
