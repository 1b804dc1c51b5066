"""What the tests of the Hub's tools share: repositories that are there already, checkpoints to spoil, findings.

A push verifies, draws and sends: whoever needs only what it leaves takes it from `pushed_files`, pushed once.
"""

import json
import shutil
import sys

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from electra_rtd.hub_tools import export_discriminator, export_generator, layout, push_checkpoint, verify_checkpoint
from electra_rtd.hub_tools.findings import VerificationReport


# ------------------------------------------------------------------------------------------------ repositories


@pytest.fixture(scope="session")
def pushed_files(saved_pair, tmp_path_factory):
    """What a first push of `saved_pair` to alice/pair, without exports, leaves there: content by path."""
    home = tmp_path_factory.mktemp("pushed")
    with pytest.MonkeyPatch.context() as monkeypatch, sys.modules["hub_server"].Hub() as server:
        for name, place in {"HF_HOME": home, "HF_HUB_CACHE": home / "hub", "HF_TOKEN_PATH": home / "token"}.items():
            monkeypatch.setattr(constants, name, str(place))
        server.connect(monkeypatch)
        push_checkpoint(saved_pair, "alice/pair", token=server.add_user("alice"), export=())
        return server.files("alice/pair")


@pytest.fixture
def plant(hub):
    """Commit a folder, or content by path, to a repository, which is made where there is none; returns the commit."""

    def commit(repo_id, source):
        if repo_id not in hub.repos:
            hub.create_repo(repo_id)
        if not isinstance(source, dict):
            source = {name: (source / name).read_bytes() for name in layout.list_files(source)}
        return hub.commit(repo_id, source)

    return commit


@pytest.fixture
def planted(plant, pushed_files):
    """The commit of alice/pair, as a push of `saved_pair` leaves it; the Hub remembers no requests yet."""
    return plant("alice/pair", pushed_files)


@pytest.fixture
def repo(plant, saved_pair):
    """`saved_pair` in a repository of alice; its first commit with files."""
    plant("alice/pair", saved_pair)
    return "alice/pair"


@pytest.fixture
def push(hub):
    """`push_checkpoint` to alice/pair as Alice, without exports unless a test asks for them."""

    def run(source, repo_id="alice/pair", **options):
        return push_checkpoint(source, repo_id, **{"token": hub.alice, "export": (), **options})

    return run


@pytest.fixture
def pushed(planted, pair_copy):
    """A folder whose checkpoint is on the Hub already."""
    return pair_copy


@pytest.fixture
def not_verified(monkeypatch):
    """Pushes and pulls do not look into a checkpoint: for tests of the way there and back, many times over."""

    def nothing_found(folder, *, source=None, commit=None, **_):
        return VerificationReport(source or str(folder), [], commit)

    for module in ("push", "pull"):
        monkeypatch.setattr(f"electra_rtd.hub_tools.{module}.verify_folder", nothing_found)


# ------------------------------------------------------------------------------------------------ checkpoints


@pytest.fixture(scope="session")
def other_weights(make_model, tmp_path_factory):
    """A file of other weights of the same sizes, under the name that weights have."""
    folder = tmp_path_factory.mktemp("other")
    make_model(seed=1).save_pretrained(folder)
    return folder / layout.WEIGHTS


@pytest.fixture(scope="session")
def nan_weights(saved_pair, tmp_path_factory):
    """The weights of `saved_pair` with one NaN."""
    tensors = load_file(saved_pair / layout.WEIGHTS)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    path = tmp_path_factory.mktemp("nan") / layout.WEIGHTS
    save_file(tensors, path, metadata={"format": "pt"})
    return path


@pytest.fixture(scope="session")
def saved_exports(saved_pair, tmp_path_factory):
    """A pair with an export of each network; not to be written to."""
    folder = shutil.copytree(saved_pair, tmp_path_factory.mktemp("exported") / "pair")
    export_discriminator(saved_pair, folder / "discriminator")
    export_generator(saved_pair, folder / "generator")
    return folder


@pytest.fixture
def exported(saved_exports, tmp_path):
    """A copy of `saved_exports` that a test may spoil."""
    return shutil.copytree(saved_exports, tmp_path / "exported")


@pytest.fixture(scope="session")
def saved_shards(make_model, tokenizer, tmp_path_factory):
    """A pair whose weights lie in several files; not to be written to."""
    folder = tmp_path_factory.mktemp("shards") / "sharded"
    make_model().save_pretrained(folder, max_shard_size="20KB")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def sharded(saved_shards, tmp_path):
    """A copy of `saved_shards` that a test may spoil."""
    return shutil.copytree(saved_shards, tmp_path / "sharded")


@pytest.fixture(scope="session")
def edit_json():
    """Change a JSON file of a checkpoint by a function of its content; returns the checkpoint's folder."""

    def edit(folder, change, name=layout.CONFIG):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        change(content)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return folder

    return edit


@pytest.fixture(scope="session")
def set_fields():
    """Set fields of a JSON file of a checkpoint, which is made where there is none."""

    def edit(folder, name=layout.CONFIG, **fields):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**content, **fields}), encoding="utf-8")

    return edit


@pytest.fixture(scope="session")
def write():
    """Write a file, as bytes or as text, and the folders above it."""

    def write_file(path, content=b"x"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write_file


@pytest.fixture(scope="session")
def edit_weights():
    """Change a file of weights by a function that changes its tensors or returns others; returns the folder."""

    def edit(folder, change, name=layout.WEIGHTS, metadata=("format", "pt")):
        tensors = load_file(folder / name)
        changed = change(tensors)
        save_file(changed if isinstance(changed, dict) else tensors, folder / name, metadata=dict([metadata]))
        return folder

    return edit


# ------------------------------------------------------------------------------------------------ findings


@pytest.fixture(scope="session")
def found():
    """The findings of a report, of one level, each as its code and its path."""

    def list_findings(report, level="error"):
        return [(finding.code, finding.path) for finding in report.findings if finding.level == level]

    return list_findings


@pytest.fixture
def report_of():
    """`verify_checkpoint`; a folder that did not change since is not verified a second time."""
    last = {}

    def verify(source, **options):
        if isinstance(source, str) or options:
            return verify_checkpoint(source, **options)
        stats = {path: path.lstat() for path in sorted(source.rglob("*"))}
        state = [source, *((path, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items())]
        if last.get("state") != state:
            last.update(state=state, report=verify_checkpoint(source))
        return last["report"]

    return verify


@pytest.fixture
def errors(report_of, found):
    """The errors of a checkpoint, each as its code and its path."""
    return lambda source, **options: found(report_of(source, **options))


@pytest.fixture
def warnings(report_of, found):
    """The warnings of a checkpoint without errors."""

    def list_warnings(source, **options):
        report = report_of(source, **options)
        assert report.ok, str(report)
        return found(report, "warning")

    return list_warnings


@pytest.fixture
def message(report_of):
    """The message of the one finding of a code."""

    def of_finding(source, code):
        (finding,) = [finding for finding in report_of(source).findings if finding.code == code]
        return finding.message

    return of_finding
