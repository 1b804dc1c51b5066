"""The files of `examples/` that are one script each: run as a user runs them, on small stand-ins.

Hub ids are found as local folders of the same names, so the defaults work unchanged and without network.
"""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from transformers import AutoModel, AutoModelForSequenceClassification

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools import verify_checkpoint


# The Trainer asks for pinned memory wherever it runs.
pytestmark = pytest.mark.filterwarnings("ignore:.pin_memory. argument is set:UserWarning")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = ("adapt_with_trainer", "finetune_layerwise", "track_training", "uv_adapt")
ADAPT = ("--train_file", "sentences.csv", "--output_dir", "adapted", "--epochs", "1")
# What the Trainer calls of trackio, written down in a file.
TRACKIO = """
import json
from pathlib import Path
from types import SimpleNamespace

__version__ = "0.43.0"
config, rows = {}, []
context_vars = SimpleNamespace(
    current_space_id=SimpleNamespace(get=lambda: None), current_project=SimpleNamespace(get=lambda: None)
)

def init(**told):
    rows.append(told)

def log(figures):
    rows.append(figures)

def finish():
    Path("trackio.json").write_text(json.dumps(rows, default=str))
"""


@pytest.fixture
def run(tmp_path, monkeypatch, pair_folders):
    """Run a script in a folder with a pair under the names of the Hub, texts and labelled rows."""
    for name, source in zip(("generator", "discriminator"), pair_folders, strict=True):
        shutil.copytree(source, tmp_path / "monologg" / f"koelectra-small-v3-{name}")
    rows = [
        f"{who} {what} {how}" for who in ("나는", "우리는") for what in ("책을", "밥을") for how in ("본다", "쓴다")
    ]
    labelled = [f"{row},{int('책' in row)}" for row in rows]
    (tmp_path / "sentences.csv").write_text("\n".join(("text", *rows * 5)), encoding="utf-8")
    (tmp_path / "reviews.csv").write_text("\n".join(("text,label", *labelled * 8)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
        return tmp_path

    return run


def test_every_script_is_short_and_is_tested_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} - {"calling"} >= set(SCRIPTS)
    for script in SCRIPTS:
        text = (EXAMPLES / f"{script}.py").read_text(encoding="utf-8")
        assert text.count("\n") < 60, script
        assert f"examples/{script}.py" in text, f"{script} does not say how it is called"


def test_every_script_is_in_the_list_and_the_list_names_what_is_there():
    named = re.findall(r"\]\(([^)#]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert {f"{script}.py" for script in SCRIPTS} <= set(named)
    assert [name for name in named if not (EXAMPLES / name).is_file()] == []


def test_a_pair_adapted_with_the_stock_trainer_is_sound_and_gives_an_encoder(run, capsys):
    folder = run("adapt_with_trainer", *ADAPT)
    assert verify_checkpoint("adapted").ok
    start = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        *(str(folder / "monologg" / f"koelectra-small-v3-{name}") for name in ("generator", "discriminator"))
    )
    moved = ElectraRTDForPreTraining.from_pretrained("adapted")
    for name, parameter in moved.named_parameters():
        assert not torch.equal(parameter, start.get_parameter(name)), f"{name} did not move"
    encoder = AutoModel.from_pretrained("adapted/encoder")
    assert type(encoder).__name__ == "ElectraModel"
    printed = capsys.readouterr().out
    before, after = map(float, re.search(r"eval_disc_loss +([\d.]+) +([\d.]+)", printed).groups())
    assert after < before


def test_the_fine_tuned_classifier_keeps_what_it_learnt(run, capsys):
    run("finetune_layerwise", "--encoder", "monologg/koelectra-small-v3-discriminator", "--train_file", "reviews.csv",
        "--output_dir", "tuned", "--learning_rate", "1e-2", "--epochs", "20")  # fmt: skip
    assert AutoModelForSequenceClassification.from_pretrained("tuned").config.num_labels == 2
    assert float(re.search(r"held-out rows: ([\d.]+)", capsys.readouterr().out)[1]) > 0.9


def test_the_head_learns_faster_than_the_embeddings(run, monkeypatch):
    rates = []
    monkeypatch.setattr("transformers.Trainer.train", lambda trainer: rates.extend(trainer.optimizer.param_groups))
    run("finetune_layerwise", "--encoder", "monologg/koelectra-small-v3-discriminator", "--train_file", "reviews.csv",
        "--output_dir", "tuned", "--learning_rate", "1", "--decay", "0.5")  # fmt: skip
    assert sorted({group["lr"] for group in rates}) == [0.5**4, 0.5**3, 0.5**2, 1.0]  # embeddings, two layers, head


def test_tensorboard_gets_the_figures_of_both_networks(run):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: it is in [dev]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run("track_training", "tensorboard", *ADAPT[:-1], "3")
    files = sorted((folder / "adapted" / "runs").rglob("events.out.tfevents.*"))
    tags = {tag for file in files for tag in EventAccumulator(str(file)).Reload().Tags()["scalars"]}
    assert {"train/mlm_loss", "train/disc_loss", "train/disc_auc", "eval/disc_auc"} <= tags


def test_trackio_gets_the_figures_of_both_networks(run, monkeypatch, tmp_path):
    (tmp_path / "lib" / "trackio").mkdir(parents=True)
    (tmp_path / "lib" / "trackio" / "__init__.py").write_text(TRACKIO, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    try:
        folder = run("track_training", "trackio", *ADAPT[:-1], "3")
    finally:
        sys.modules.pop("trackio", None)
    told, *logs = json.loads((folder / "trackio.json").read_text(encoding="utf-8"))
    assert (told["project"], told["name"], told["space_id"]) == ("electra-rtd", "adapted", None)
    assert {"train/disc_auc", "eval/disc_auc"} <= {name for row in logs for name in row}


def test_a_job_adapts_and_publishes_privately(run, monkeypatch):
    sent = []
    monkeypatch.setattr("electra_rtd.hub_tools.push_checkpoint", lambda *what, **how: sent.append((what, how)))
    folder = run("uv_adapt", *ADAPT, "--push_to", "alice/adapted")
    assert sent == [(("adapted", "alice/adapted"), {"private": True})]
    assert (folder / "adapted" / "discriminator" / "model.safetensors").is_file()


def test_the_metadata_for_uv_ask_for_what_the_package_allows():
    text = (EXAMPLES / "uv_adapt.py").read_text(encoding="utf-8")
    block = re.search(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text)["content"]  # PEP 723's own
    metadata = "".join(line[2:] for line in block.splitlines(keepends=True))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    python = re.search(r'requires-python = "(.*)"', metadata)[1]
    assert python == re.search(r'requires-python = "(.*)"', project)[1]
    asked = re.findall(r'"([\w-]+>=[\d.]+)"', metadata)
    allowed = re.findall(r'^ +"([^"]+)"', re.search(r"\ndependencies = \[\n(.*?)\n\]\n", project, re.DOTALL)[1], re.M)
    assert {"torch", "transformers"} < {Requirement(row).name for row in asked}
    assert set(asked) <= set(allowed)


def test_without_the_package_the_script_for_uv_says_how_it_is_had(monkeypatch):
    class NotInstalled:
        def find_spec(self, name, path=None, target=None):
            if name == "electra_rtd":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "electra_rtd"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    with pytest.raises(SystemExit, match=r"^electra-rtd is missing, and on no package index: `uv run --with FOLDER"):
        runpy.run_path(str(EXAMPLES / "uv_adapt.py"), run_name="__main__")
