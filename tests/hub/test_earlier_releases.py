"""Checkpoints of earlier releases load, verify, resume, travel and export as before (two code files up to 0.5).

They are made by the code of those releases itself, out of this repository's history, in one fresh process.
"""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, ElectraForPreTraining

from electra_rtd import ElectraRTDForPreTraining, cli
from electra_rtd.hub_tools import (
    diff_checkpoints,
    export_discriminator,
    layout,
    pull_checkpoint,
    push_checkpoint,
    verify_checkpoint,
)
from electra_rtd.hub_tools.checks.code import known_releases
from electra_rtd.hub_tools.code_files import EARLIER_RELEASES, INSTALLED
from electra_rtd.hub_tools.run_record import STATE_FILE
from electra_rtd.train_tools.manifest import MANIFEST


pytestmark = pytest.mark.xdist_group("earlier releases")  # the checkpoints of all are made once

REPO = "alice/pair"
TWO = ["configuration_electra_rtd.py", "modeling_electra_rtd.py"]
HASHES = EARLIER_RELEASES
RELEASES = list({tuple(files.values()): release for release, files in HASHES.items()}.values())  # each set of files
OF_TWO = [release for release in RELEASES if sorted(HASHES[release]) == TWO]
NEWEST = OF_TWO[-1]
EACH = [pytest.param(release, marks=[] if release == NEWEST else pytest.mark.slow) for release in OF_TWO]

SAVE = """
import importlib, json, sys
import torch
from transformers import ElectraConfig

sys.path.insert(0, sys.argv[1])
sizes, fields, seen = json.loads(sys.argv[2]), json.loads(sys.argv[3]), {}
for release in sys.argv[4:]:
    package = "release_" + release.replace(".", "_")
    configuration = importlib.import_module(package + ".configuration_electra_rtd").ElectraRTDConfig
    networks = [ElectraConfig(**sizes), ElectraConfig(**{**sizes, "num_hidden_layers": 1})]
    config = configuration.from_generator_discriminator_configs(*networks, **fields)
    torch.manual_seed(0)
    model = importlib.import_module(package + ".modeling_electra_rtd").ElectraRTDForPreTraining(config).eval()
    model.save_pretrained(sys.argv[1] + "/" + release)
    output = model(torch.arange(8, 30).view(2, 11))
    seen[release] = {"loss": output.loss.item(), "logits": output.logits.tolist()}
print("\\n" + json.dumps(seen))
"""

LOAD = """
import json, sys
import torch
from transformers import AutoModel

model, info = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
output = model.eval()(torch.arange(8, 30).view(2, 11))
seen = {"loss": output.loss.item(), "logits": output.logits.tolist(), "module": type(model).__module__}
model.save_pretrained(sys.argv[2])
print("\\n" + json.dumps(seen))
"""


def git(*arguments):
    try:
        process = subprocess.run(["git", *arguments], cwd=INSTALLED, capture_output=True)
    except FileNotFoundError:
        return b""
    return process.stdout if process.returncode == 0 else b""


def files_of_releases():
    """`dict`: SHA-256 to content, of the files that the history has."""
    wanted = {digest for files in HASHES.values() for digest in files.values()}
    found = {}
    for name in {name for files in HASHES.values() for name in files}:
        for commit in git("log", "--format=%H", "--", name).decode().split():
            content = git("show", f"{commit}:{name}")
            found[hashlib.sha256(content).hexdigest()] = content
    return {digest: content for digest, content in found.items() if digest in wanted}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, run_fresh, tokenizer, ids):
    """A folder with a checkpoint of each release under its name, not to be written to; and what each computed."""
    content = files_of_releases()
    wanted = {release: HASHES[release] for release in RELEASES}
    if any(digest not in content for files in wanted.values() for digest in files.values()):
        pytest.skip("the files of earlier releases are not at hand: git, or the history of this checkout, is missing")
    folder = tmp_path_factory.mktemp("releases")
    for release, files in wanted.items():
        package = folder / f"release_{release.replace('.', '_')}"
        package.mkdir()
        for name, digest in files.items():
            (package / name).write_bytes(content[digest])
        (package / "__init__.py").touch()
    sizes = {"vocab_size": ids.vocab_size, "embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64}
    sizes["pad_token_id"] = ids.pad
    fields = {"mask_token_id": ids.mask, "pad_token_id": ids.pad, "special_token_ids": ids.special}
    seen = run_fresh(SAVE, folder, json.dumps(sizes), json.dumps(fields), *RELEASES)
    for release in RELEASES:
        tokenizer.save_pretrained(folder / release)
    return folder, seen


@pytest.fixture
def checkpoint(checkpoints, tmp_path):
    """A copy of the newest of them, which a test may spoil."""
    return Path(shutil.copytree(checkpoints[0] / NEWEST, tmp_path / "earlier"))


def code(folder):
    return sorted(path.name for path in Path(folder).glob("*.py"))


def codes(report):
    return {finding.code for finding in report.findings}


def remote_code(hub, revision=None):
    return sorted(name for name in hub.files(REPO, *([revision] if revision else [])) if name.endswith(".py"))


def assert_same(model, seen):
    output = model.eval()(torch.arange(8, 30).view(2, 11))
    torch.testing.assert_close(output.logits, torch.tensor(seen["logits"]), rtol=1e-5, atol=1e-5)
    assert output.loss.item() == pytest.approx(seen["loss"], rel=1e-5)


# ---- Loading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_with_the_package_it_loads_and_computes_as_then(checkpoints, release, tmp_path):
    folder, seen = checkpoints
    assert code(folder / release) == sorted(HASHES[release])
    model, info = ElectraRTDForPreTraining.from_pretrained(folder / release, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert_same(model, seen[release])
    model.save_pretrained(tmp_path / "again")  # with the code that computed it
    assert code(tmp_path / "again") == list(layout.CODE)
    assert_same(AutoModel.from_pretrained(tmp_path / "again"), seen[release])


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_with_its_own_code_it_loads_in_a_fresh_process_without_the_package(checkpoints, release, run_fresh, tmp_path):
    folder, seen = checkpoints
    loaded = run_fresh(LOAD, folder / release, tmp_path / "again")
    assert loaded["module"].startswith("transformers_modules.")
    torch.testing.assert_close(
        torch.tensor(loaded["logits"]), torch.tensor(seen[release]["logits"]), rtol=1e-5, atol=1e-5
    )
    assert code(tmp_path / "again") == sorted(HASHES[release])


# ---- Verifying ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_its_files_are_known_and_whole(checkpoints, release):
    report = verify_checkpoint(checkpoints[0] / release)
    assert report.ok and codes(report) == {"code", "no-card"}
    of_release = [finding.message for finding in report.findings if finding.code == "code"]
    newest = [
        known_releases()[HASHES[release][file]][1][-1] for file in sorted(HASHES[release])
    ]  # a file may be the same in later ones
    assert of_release == [f"is ours, of release {name}." for name in newest]


def test_siblings_of_this_release_beside_its_files_are_told(checkpoint):
    for name in set(layout.CODE) - set(TWO):
        shutil.copy(INSTALLED / name, checkpoint)
    report = verify_checkpoint(checkpoint)
    assert report.ok and "mixed-code" in codes(report)


def test_its_model_file_beside_the_configuration_of_this_release_is_told(checkpoint):
    shutil.copy(INSTALLED / TWO[0], checkpoint)
    same = HASHES[NEWEST][TWO[0]] == layout.sha256(INSTALLED / TWO[0])
    assert ("mixed-code" in codes(verify_checkpoint(checkpoint))) == (not same)


# ---- Out and in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", EACH)
def test_it_is_pushed_and_pulled_with_its_own_two_files(hub, checkpoints, release, tmp_path):
    source = checkpoints[0] / release
    push_checkpoint(source, REPO, token=hub.alice)
    assert remote_code(hub) == TWO
    folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    assert code(folder) == TWO and verify_checkpoint(folder).ok
    assert all((folder / name).read_bytes() == (source / name).read_bytes() for name in TWO)
    card = (folder / layout.CARD).read_text(encoding="utf-8")
    assert [name for name in layout.CODE if f"| `{name}` |" in card] == TWO


def test_a_push_over_a_state_of_another_release_leaves_no_file_of_that(hub, checkpoint, saved_pair, tmp_path):
    push_checkpoint(checkpoint, REPO, token=hub.alice)
    pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)
    for state, expected in ((saved_pair, list(layout.CODE)), (checkpoint, TWO)):
        push_checkpoint(state, REPO, token=hub.alice)
        assert remote_code(hub) == expected
        folder = pull_checkpoint(REPO, local_dir=tmp_path / "pulled", token=hub.alice)  # over the earlier one
        assert code(folder) == expected
        assert not codes(verify_checkpoint(folder)) & {"mixed-code", "foreign-code", "import-unresolved"}


@pytest.mark.parametrize("lacks", TWO)
def test_where_one_of_its_files_is_missing_none_of_this_release_takes_its_place(hub, checkpoints, lacks, tmp_path):
    checkpoint = Path(shutil.copytree(checkpoints[0] / OF_TWO[-2], tmp_path / "earlier"))
    (checkpoint / lacks).unlink()
    with pytest.raises(ValueError, match=f"code-missing +{lacks}"):
        push_checkpoint(checkpoint, REPO, token=hub.alice)
    assert hub.requests == []


def test_without_any_code_it_gets_that_of_this_release(hub, checkpoint):
    for name in TWO:
        (checkpoint / name).unlink()
    push_checkpoint(checkpoint, REPO, token=hub.alice)
    assert remote_code(hub) == list(layout.CODE)


def test_diff_names_the_files_that_only_one_has(checkpoint, tmp_path):
    ElectraRTDForPreTraining.from_pretrained(checkpoint).save_pretrained(tmp_path / "now")
    difference = diff_checkpoints(checkpoint, tmp_path / "now")
    added = {name for name, change in difference.code.items() if change.startswith("(not there) -> ")}
    assert added == set(layout.CODE) - set(TWO)
    assert not any(module.changed for module in difference.weights)


def test_its_discriminator_is_exported(checkpoint, tmp_path):
    export_discriminator(checkpoint, tmp_path / "export")
    assert code(tmp_path / "export") == []
    network = ElectraForPreTraining.from_pretrained(tmp_path / "export").state_dict()
    pair = load_file(checkpoint / layout.WEIGHTS)
    assert all(torch.equal(value, pair[f"discriminator.{name}"]) for name, value in network.items())


# ---- Going on -------------------------------------------------------------------------------------------------------


def without_manifest(checkpoint):
    """Earlier releases wrote none, and `trainer_state.json` had no word of one."""
    (Path(checkpoint) / MANIFEST).unlink()
    file = Path(checkpoint) / STATE_FILE
    state = json.loads(file.read_text(encoding="utf-8"))
    del state["stateful_callbacks"]["RTDManifestCallback"]
    file.write_text(json.dumps(state), encoding="utf-8")


def test_a_run_of_an_earlier_release_is_resumed(checkpoints, tmp_path, monkeypatch):
    """As a run that was killed after `checkpoint-2` leaves it: code beside it, and in the folder above."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{row}\n" for row in ["나 너 우리 학교 책", "비 눈 산 강 바다", "오늘 내일 밥 물"] * 12)
    Path("text.txt").write_text(rows, encoding="utf-8")
    options = ["--checkpoint", checkpoints[0] / NEWEST, "--train_file", "text.txt", "--output_dir", "run"]
    options += ["--max_steps", "3", "--save_strategy", "steps", "--save_steps", "2", "--max_seq_length", "16"]
    options += ["--per_device_train_batch_size", "4", "--eval_strategy", "no", "--use_cpu", "--no_fast"]
    options = ["adapt", *map(str, options), "--disable_tqdm", "true", "--report_to", "none"]
    assert cli.main(options) == 0
    whole = load_file(Path("run", layout.WEIGHTS))
    shutil.copytree("run/checkpoint-2", "kept")
    shutil.rmtree("run")
    shutil.copytree("kept", "run/checkpoint-2")
    for folder in (Path("run"), Path("run/checkpoint-2")):
        for name in layout.CODE:
            (folder / name).unlink(missing_ok=True)
        for name in TWO:
            shutil.copy(checkpoints[0] / NEWEST / name, folder)
    without_manifest("run/checkpoint-2")
    assert cli.main([*options, "--resume"]) == 0
    resumed = load_file(Path("run", layout.WEIGHTS))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert code("run") == list(layout.CODE) and verify_checkpoint("run").ok
