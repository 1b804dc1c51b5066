"""What the in-test Hub promises, through the real client: other tests build on these."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.utils import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError


REPO = "alice/model"
WEIGHTS = bytes(range(256)) * 40
OLD = int(huggingface_hub.__version__.split(".")[0]) == 0


@pytest.fixture
def api(hub):
    api = HfApi(endpoint=hub.url, token=hub.alice)
    api.create_repo(REPO)
    return api


def add(**files):
    return [CommitOperationAdd(path.replace("_", "."), data) for path, data in files.items()]


def kinds(hub):
    return [request.kind for request in hub.requests]


def status_of(error):
    return error.value.response.status_code


# ------------------------------------------------------------------------------------------------ repos and rights


def test_a_repo_is_created_once_and_found_again(hub, api):
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(REPO)
    assert status_of(error) == 409
    assert api.repo_exists(REPO) and not api.repo_exists("alice/other")
    assert list(hub.files(REPO)) == [".gitattributes"]


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


def test_whoami_and_auth_check_tell_the_user(hub, api):
    assert api.whoami()["name"] == "alice"
    assert api.whoami()["auth"]["accessToken"]["role"] == "write"
    api.auth_check(REPO)
    with pytest.raises(Exception, match="Invalid user token") as error:  # of `requests` itself in 0.36
        HfApi(endpoint=hub.url, token="hf_unknown").whoami()
    assert status_of(error) == 401


def test_an_error_shows_the_token_only_where_a_test_asks_for_it(hub, api):
    with pytest.raises(RepositoryNotFoundError) as error:
        api.model_info("alice/other")
    assert api.token not in str(error.value)
    hub.echo_token_in_errors = True
    hub.fault("refs", status=500)
    for ask in (lambda: api.model_info("alice/other"), lambda: api.list_repo_refs(REPO)):
        with pytest.raises(HfHubHTTPError) as error:
            ask()
        assert api.token in str(error.value)


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


def test_the_tree_lists_files_and_folders(hub, api):
    hub.commit(REPO, {"a/b/c.txt": b"1", "a/d.txt": b"2"})
    paths = [entry.path for entry in api.list_repo_tree(REPO, recursive=True)]
    assert paths == [".gitattributes", "a", "a/b", "a/b/c.txt", "a/d.txt"]
    assert [entry.path for entry in api.list_repo_tree(REPO, "a")] == ["a/b", "a/d.txt"]
    assert [entry.path for entry in api.get_paths_info(REPO, ["a/d.txt", "a/b", "none"])] == ["a/d.txt", "a/b"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(REPO, "none"))


def test_commits_are_listed_newest_first(hub, api):
    hub.commit(REPO, {"a.txt": b"1"}, message="one")
    hub.commit(REPO, {"a.txt": None}, message="two")
    listed = api.list_repo_commits(REPO)
    assert [commit.title for commit in listed] == ["two", "one", "initial commit"]
    assert [commit.commit_id for commit in listed] == [commit.id for commit in hub.commits(REPO)]


def test_hostile_paths_are_listed_as_they_are(hub, api):
    hub.commit(REPO, {"../evil.txt": b"1", "/etc/x": b"2"})
    names = {sibling.rfilename for sibling in api.model_info(REPO).siblings}
    assert names == {".gitattributes", "../evil.txt", "/etc/x"}
    assert names <= {entry.path for entry in api.list_repo_tree(REPO, recursive=True)}


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


@pytest.mark.parametrize("path", ["w.safetensors", "w.txt"])
def test_a_broken_download_is_resumed_where_it_broke(hub, api, tmp_path, monkeypatch, path):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # a client keeps whole chunks only
    hub.commit(REPO, {path: WEIGHTS})
    fault = hub.fault("lfs-download" if path == "w.safetensors" else "resolve", drop="response")
    if OLD:  # 0.36 gives up, and resumes when it is called again
        with pytest.raises(Exception, match="IncompleteRead"):
            api.hf_hub_download(REPO, path, cache_dir=tmp_path)
    assert Path(api.hf_hub_download(REPO, path, cache_dir=tmp_path)).read_bytes() == WEIGHTS
    assert fault.hits == 1
    downloads = [request for request in hub.requests if request.method == "GET"]
    assert [(request.status, request.sent) for request in downloads] == [(200, 5120), (206, 5240)]
    assert downloads[1].headers["range"] == "bytes=5000-"


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=2-4", 206, 2, 5),
        ("bytes=10000-", 206, 10000, 10240),
        ("bytes=-3", 206, 10237, 10240),
        ("bytes=99999-", 416, 0, 0),
        ("nonsense", 200, 0, 10240),
    ],
)
def test_ranges(hub, api, asked, status, start, end):
    hub.commit(REPO, {"w.txt": WEIGHTS})
    request = urllib.request.Request(f"{hub.url}/{REPO}/resolve/main/w.txt", headers={"Range": asked})
    try:
        with urllib.request.urlopen(request) as answer:
            assert (answer.status, answer.read()) == (status, WEIGHTS[start:end])
    except urllib.error.HTTPError as error:
        assert (error.code, error.headers["Content-Range"]) == (status, "bytes */10240")


def test_a_range_of_an_older_content_gets_the_whole(hub, api):
    hub.commit(REPO, {"w.txt": WEIGHTS})
    headers = {"Range": "bytes=5-", "If-Range": '"older"'}
    request = urllib.request.Request(f"{hub.url}/{REPO}/resolve/main/w.txt", headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (200, WEIGHTS)


# ------------------------------------------------------------------------------------------------ committing


def test_a_commit_adds_deletes_and_copies(hub, api):
    before = hub.commit(REPO, {"old/a.txt": b"a", "old/b.txt": b"b", "w.safetensors": WEIGHTS, "t.txt": b"t"})
    operations = [
        *add(new_txt=b"new", x_bin=b"x" * 600),
        CommitOperationCopy("w.safetensors", "copy.safetensors"),
        CommitOperationCopy("t.txt", "u.txt"),
        CommitOperationDelete("old/"),
        CommitOperationDelete("t.txt"),
    ]
    done = api.create_commit(REPO, operations, commit_message="mixed", commit_description="why", parent_commit=before)
    files = hub.files(REPO)
    del files[".gitattributes"]
    expected = {"w.safetensors": WEIGHTS, "copy.safetensors": WEIGHTS, "u.txt": b"t"}
    assert files == {**expected, "new.txt": b"new", "x.bin": b"x" * 600}
    newest = hub.commits(REPO)[0]
    assert (newest.id, newest.message, newest.description, newest.author) == (done.oid, "mixed", "why", "alice")
    assert newest.parent.id == before
    assert {path for path, blob in newest.files.items() if blob.lfs} == {"w.safetensors", "copy.safetensors", "x.bin"}
    assert hub.uploaded_lfs_bytes == 600


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


def test_an_unchanged_folder_makes_no_commit_and_no_upload(hub, api, tmp_path):
    (tmp_path / "w.bin").write_bytes(WEIGHTS)
    (tmp_path / "a.txt").write_bytes(b"1")
    first = api.upload_folder(folder_path=tmp_path, repo_id=REPO)
    hub.clear_requests()
    again = api.upload_folder(folder_path=tmp_path, repo_id=REPO)
    assert again.oid == first.oid == hub.head(REPO)
    assert hub.uploaded_lfs_bytes == 0 and "commit" not in kinds(hub)
    (tmp_path / "a.txt").write_bytes(b"2")
    api.upload_folder(folder_path=tmp_path, repo_id=REPO)
    assert hub.files(REPO)["a.txt"] == b"2"
    assert hub.uploaded_lfs_bytes == 0
    sent = next(request for request in hub.requests if request.kind == "commit").body
    assert (b'"w.bin"' in sent) is OLD  # 0.36 names unchanged files again in a commit that changes others


def test_ignored_files_stay_at_home(hub, api):
    hub.commit(REPO, {".gitignore": b"*.log\n"})
    api.create_commit(REPO, add(a_log=b"1", a_txt=b"2"), commit_message="some")
    assert set(hub.files(REPO)) == {".gitattributes", ".gitignore", "a.txt"}


def test_a_pull_request_is_opened_and_gone_on_with_by_a_stranger(hub, api):
    bob = HfApi(endpoint=hub.url, token=hub.add_user("bob"))
    opened = bob.create_commit(REPO, add(a_bin=WEIGHTS), commit_message="offer", create_pr=True)
    assert (opened.pr_revision, opened.pr_num) == ("refs/pr/1", 1)
    bob.upload_file(path_or_fileobj=b"more", path_in_repo="b.txt", repo_id=REPO, revision="refs/pr/1")
    assert set(hub.files(REPO, "refs/pr/1")) == {".gitattributes", "a.bin", "b.txt"}
    assert set(hub.files(REPO)) == {".gitattributes"}
    assert hub.refs(REPO)["refs/pr/1"] == api.model_info(REPO, revision="refs/pr/1").sha


def test_a_large_file_goes_up_in_parts(hub, api):
    hub.lfs_part_size = 3000
    api.create_commit(REPO, add(w_bin=WEIGHTS), commit_message="parts")
    assert hub.files(REPO)["w.bin"] == WEIGHTS
    sizes = [request.received for request in hub.requests if request.kind == "lfs-upload"]
    assert sizes == [3000, 3000, 3000, 1240]


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


def test_the_client_tries_an_upload_again_after_a_server_error(hub, api):
    faults = [hub.fault("lfs-upload", status=500), hub.fault("lfs-upload", drop="request")]
    api.create_commit(REPO, add(w_bin=WEIGHTS), commit_message="again")
    assert [fault.hits for fault in faults] == [1, 1]
    assert [request.status for request in hub.requests if request.kind == "lfs-upload"] == [500, 0, 200]
    assert hub.uploaded_lfs_bytes == len(WEIGHTS) * 5 // 2
    assert hub.files(REPO)["w.bin"] == WEIGHTS


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


def test_a_lasting_fault_lasts(hub, api):
    fault = hub.fault("info", status=500, times=None)
    for _ in range(3):
        with pytest.raises(HfHubHTTPError) as error:
            api.model_info(REPO)
        assert status_of(error) == 500
    assert fault.hits == 3


def test_commits_of_many_threads_all_land(hub, api):
    with ThreadPoolExecutor(4) as pool:
        uploads = [
            pool.submit(api.upload_file, path_or_fileobj=b"%d" % i, path_in_repo=f"{i}.bin", repo_id=REPO)
            for i in range(12)
        ]
        done = {upload.result().oid for upload in uploads}
    assert {f"{i}.bin": b"%d" % i for i in range(12)}.items() <= hub.files(REPO).items()
    assert len(hub.commits(REPO)) == 13
    assert done == {commit.id for commit in hub.commits(REPO)[:-1]}


def test_a_hub_that_fails_by_itself_fails_its_test():
    with pytest.raises(AssertionError, match="JSONDecodeError"), Hub() as hub:
        token = hub.add_user("alice")
        request = urllib.request.Request(f"{hub.url}/api/repos/create", b"{", {"Authorization": f"Bearer {token}"})
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(request)


def test_nothing_answers_any_more_after_the_end(hub, api):
    with Hub() as other:
        HfApi(endpoint=other.url, token=other.add_user("alice")).create_repo(REPO)
    for url in (other.url, other.cdn_url):
        with pytest.raises(urllib.error.URLError, match="refused"):
            urllib.request.urlopen(url)


# ------------------------------------------------------------------------------------------------ transformers


def test_a_model_is_pushed_and_loaded_by_transformers(hub, api, tmp_path, make_electra_config):
    from transformers import AutoModel, ElectraModel

    pushed = ElectraModel(make_electra_config())
    pushed.push_to_hub("alice/electra", token=api.token)
    loaded = AutoModel.from_pretrained("alice/electra", cache_dir=tmp_path)
    assert {"config.json", "model.safetensors"} <= set(hub.files("alice/electra"))
    expected = pushed.state_dict()
    assert all(value.equal(expected[name]) for name, value in loaded.state_dict().items())


def test_the_trainer_pushes_its_run(hub, api, tmp_path, make_electra_config):
    from transformers import ElectraForPreTraining, Trainer, TrainingArguments

    arguments = TrainingArguments(
        tmp_path / "run",
        max_steps=1,
        push_to_hub=True,
        hub_model_id="alice/trained",
        hub_token=api.token,
        hub_private_repo=True,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    row = {"input_ids": torch.tensor([31, 1, 2, 32]), "labels": torch.tensor([0.0, 1.0, 0.0, 0.0])}
    trainer = Trainer(ElectraForPreTraining(make_electra_config()), arguments, train_dataset=[row, row])
    trainer.train()
    trainer.push_to_hub(commit_message="the end")
    assert hub.repos["alice/trained"].private
    assert hub.commits("alice/trained")[0].message == "the end"
    local = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert hub.files("alice/trained")["model.safetensors"] == local
    assert {request.authorization for request in hub.requests if request.kind == "commit"} == {f"Bearer {api.token}"}
