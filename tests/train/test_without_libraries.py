"""What training with the callbacks needs imports, and runs, where neither `datasets` nor `rich` is installed."""

import sys
from importlib import import_module
from types import ModuleType

import pytest

import electra_rtd
from electra_rtd import hub_tools, train_tools
from electra_rtd.train_tools import inspector


ABSENT = {"datasets": None, "pyarrow": None, "rich": None}  # what Python takes for "not installed"

# A stock Trainer with our callbacks on a torch Dataset of dictionaries.
TRAIN = """
import json, sys

sys.modules.update(datasets=None, pyarrow=None, rich=None)

import torch
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

import electra_rtd
from electra_rtd.cli import main
from electra_rtd.hub_tools import export_discriminator, verify_checkpoint
from electra_rtd.train_tools import RTDHealthCallback, RTDMetricsCallback


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, row):
        return {"input_ids": [31, *range(40, 44 + row % 5), 32]}


model, tokenizer = AutoModel.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
args = TrainingArguments("out", max_steps=4, logging_steps=2, per_device_train_batch_size=4, eval_strategy="steps",
                         report_to=[], use_cpu=True, dataloader_pin_memory=False, disable_tqdm=True, save_steps=4)
callbacks = [RTDMetricsCallback(detailed=True), RTDHealthCallback()]
trainer = Trainer(model, args, train_dataset=Rows(), eval_dataset=Rows(), processing_class=tokenizer,
                  callbacks=callbacks)
trainer.train()
trainer.save_model("adapted")
log = trainer.state.log_history
commands = [["verify", "adapted"], ["diff", "adapted", "adapted"], ["adapt", "--example"]]
print(json.dumps({
    "trained": [row["mlm_loss"] > 0 for row in log if "loss" in row],
    "evaluated": [row["eval_disc_auc"] >= 0 for row in log if "eval_loss" in row],
    "errors": [finding.message for finding in verify_checkpoint("adapted").errors],
    "exported": export_discriminator("adapted", "discriminator").name,
    "commands": [main(command) for command in commands],
    "there": sorted(name for name in ("datasets", "pyarrow", "rich") if sys.modules[name] is not None),
}))
"""


@pytest.fixture
def fresh_imports(monkeypatch):
    """`train_tools` is imported anew while the libraries are not there; afterwards all is as it was."""
    monkeypatch.setattr(electra_rtd, "train_tools", train_tools)
    for name in [name for name in sys.modules if name.startswith("electra_rtd.train_tools")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ABSENT]:
        monkeypatch.delitem(sys.modules, name)
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, None)
    return lambda name: import_module(f"electra_rtd.train_tools{name}")


@pytest.mark.parametrize(
    "module",
    ["", ".callbacks", ".arguments", ".check_options", ".attention_in_parts", ".fast", ".fast_in_effect", ".start",
     ".epoch_order", ".held_out", ".run_folder", ".resume", ".summary", ".inspector.reading", ".report"],
)  # fmt: skip
def test_what_does_not_read_or_show_text_imports_without_them(module, fresh_imports):
    assert isinstance(fresh_imports(module), ModuleType)


def test_one_name_does_not_bring_the_modules_of_the_others(fresh_imports):
    assert fresh_imports("").RTDMetricsCallback.__name__ == "RTDMetricsCallback"
    brought = {name.split(".")[2] for name in sys.modules if name.startswith("electra_rtd.train_tools.")}
    assert "callbacks" in brought and not brought & {"data", "recipes", "text", "attention_in_parts", "arguments"}


@pytest.mark.parametrize(
    ("package", "name", "library"),
    [
        ("", "read_text", "datasets"),
        ("", "tokenize_text", "datasets"),
        ("", "adapt", "datasets"),
        (".inspector", "inspect_texts", "datasets"),
        (".inspector", "print_readings", "rich"),
    ],
)
def test_what_needs_them_says_how_to_install_them(package, name, library, fresh_imports):
    with pytest.raises(ModuleNotFoundError, match=f"^`{name}` needs {library}, .*: pip install {library}$"):
        getattr(fresh_imports(package), name)


@pytest.mark.parametrize("name", ["RTDConsoleCallback", "RTDSampleCallback"])
def test_a_callback_that_needs_rich_says_so_when_it_is_made(name, fresh_imports):
    make = getattr(fresh_imports(".callbacks"), name)
    with pytest.raises(ModuleNotFoundError, match=f"^`{name}` needs rich, .*: pip install rich$"):
        make()


def test_a_module_that_somebody_broke_is_not_called_a_missing_library(fresh_imports, monkeypatch):
    package = fresh_imports("")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ModuleNotFoundError, match="safetensors") as caught:
        package.adapt  # noqa: B018
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("package", [train_tools, inspector, hub_tools])
def test_every_public_name_is_there_and_listed(package):
    taken: dict = {}
    exec(f"from {package.__name__} import *", taken)
    assert taken.keys() - {"__builtins__"} == set(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is taken[name] for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        package.no_such_name  # noqa: B018


@pytest.mark.slow  # a fresh process
def test_a_stock_trainer_with_our_callbacks_trains_evaluates_and_saves_without_them(run_fresh, saved_pair):
    assert run_fresh(TRAIN, saved_pair, installed=True) == {
        "trained": [True, True],
        "evaluated": [True, True],
        "errors": [],
        "exported": "discriminator",
        "commands": [0, 0, 2],  # the last one reads text
        "there": [],
    }
