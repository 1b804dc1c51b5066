"""The checkpoint as a plugin: what files it is made of, and that they load in a fresh process, by both ways.

Processes cost seconds, so each does several things and prints what it saw; the tests here compare.
"""

import ast
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

import electra_rtd
from electra_rtd.hub_tools.code_files import CODE


CODE_FILES = [f"{name}_electra_rtd.py" for name in ("configuration", "modeling", "objective", "pairing", "unpadding")]
PACKAGE = Path(electra_rtd.__file__).parent
AUTO_MAP = {
    "AutoConfig": "configuration_electra_rtd.ElectraRTDConfig",
    "AutoModel": "modeling_electra_rtd.ElectraRTDForPreTraining",
    "AutoModelForPreTraining": "modeling_electra_rtd.ElectraRTDForPreTraining",
}
FILES = {"config.json", "model.safetensors", *CODE_FILES}

COMMON = """
import json, sys
import torch
from transformers import AutoConfig, AutoModel, AutoModelForPreTraining

def numbers(model):
    output = model.eval()(torch.arange(8, 30).view(2, 11))
    return {"logits": output.logits.tolist(), "loss": output.loss.item(), "sampled": output.disc_input_ids.tolist()}

def refusal(auto_class, folder, **options):
    try:
        auto_class.from_pretrained(folder, **options)
    except ValueError as error:
        return str(error)

def train(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()(torch.arange(8, 30).view(2, 11)).loss.backward()
    optimizer.step()
    return model.eval()
"""

LOAD_AND_TRAIN = (
    COMMON
    + """
folder, saved = sys.argv[1:]
seen = {"refused": [refusal(one, folder, **trust) for one in (AutoConfig, AutoModel, AutoModelForPreTraining)
                    for trust in ({}, {"trust_remote_code": False})]}
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
seen["config"] = [type(config).__name__, type(config.generator_config).__name__, config.disc_weight]
seen["numbers"], seen["classes"], seen["tied"] = [], [], []
for auto_class in (AutoModel, AutoModelForPreTraining):
    model, info = auto_class.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    seen["numbers"].append(numbers(model))
    seen["classes"].append([type(model).__name__, type(model).__module__.split(".")[0]])
    words = [network.get_input_embeddings().weight for network in (model.generator, model.discriminator)]
    seen["tied"].append(words[0] is words[1] is not None and model.generator.generator_lm_head.weight is words[0])
train(model).save_pretrained(saved)
seen["trained"] = numbers(model)
seen["installed"] = "electra_rtd" in sys.modules
print("\\n" + json.dumps(seen))
"""
)

WITH_THE_PACKAGE = (
    COMMON
    + """
import electra_rtd
folder = sys.argv[1]
seen = {"config": type(AutoConfig.from_pretrained(folder)) is electra_rtd.ElectraRTDConfig, "numbers": []}
for auto_class in (AutoModel, AutoModelForPreTraining):
    for options in ({}, {"trust_remote_code": False}):
        model = auto_class.from_pretrained(folder, **options)
        assert type(model) is electra_rtd.ElectraRTDForPreTraining
        seen["numbers"].append(numbers(model))
seen["remote"] = [name for name in sys.modules if name.startswith("transformers_modules.")]
print("\\n" + json.dumps(seen))
"""
)


def numbers(model):
    output = model.eval()(torch.arange(8, 30).view(2, 11))
    return {"logits": output.logits.tolist(), "loss": output.loss.item(), "sampled": output.disc_input_ids.tolist()}


def assert_same_numbers(one, other):
    assert one["sampled"] == other["sampled"]
    torch.testing.assert_close(torch.tensor(one["logits"]), torch.tensor(other["logits"]), rtol=1e-5, atol=1e-5)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def names(folder):
    return {path.name for path in folder.iterdir()}


def auto_map(folder):
    return json.loads((folder / "config.json").read_text())["auto_map"]


@pytest.fixture
def checkpoint(make_model, tmp_path):
    model = make_model(embedding_sharing="tied", mask_prob=0.4, disc_weight=12.0)
    model.save_pretrained(tmp_path / "checkpoint")
    return model, tmp_path / "checkpoint"


def test_a_checkpoint_is_seven_files_and_its_code_is_ours_byte_by_byte(checkpoint):
    _, folder = checkpoint
    assert names(folder) == FILES
    for name in CODE_FILES:
        assert (folder / name).read_bytes() == (PACKAGE / name).read_bytes(), name
    assert auto_map(folder) == AUTO_MAP
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["ElectraRTDForPreTraining"]


def test_a_checkpoint_saved_twice_in_one_process_is_complete_both_times(checkpoint, tmp_path):
    _, folder = checkpoint
    loaded = electra_rtd.ElectraRTDForPreTraining.from_pretrained(folder)
    for name in ("second", "third"):
        loaded.save_pretrained(tmp_path / name)
        assert names(tmp_path / name) == FILES and auto_map(tmp_path / name) == AUTO_MAP


def test_remote_code_loads_trains_saves_and_loads_again_with_nothing_of_ours_installed(
    checkpoint, run_fresh, tmp_path
):
    model, folder = checkpoint
    # The second round reads what the first trained and saved, in another process with empty caches.
    expected = numbers(model)
    for source, saved in ((folder, tmp_path / "first"), (tmp_path / "first", tmp_path / "second")):
        seen = run_fresh(LOAD_AND_TRAIN, source, saved)
        assert not seen["installed"]
        assert all(error and "trust_remote_code" in error for error in seen["refused"]), seen["refused"]
        assert seen["config"] == ["ElectraRTDConfig", "ElectraConfig", 12.0]
        assert seen["classes"] == [["ElectraRTDForPreTraining", "transformers_modules"]] * 2
        assert seen["tied"] == [True, True]
        for one in seen["numbers"]:
            assert_same_numbers(one, expected)
        assert seen["trained"]["loss"] != pytest.approx(expected["loss"], rel=1e-4)
        assert names(saved) == FILES and auto_map(saved) == AUTO_MAP
        for name in CODE_FILES:
            assert (saved / name).read_bytes() == (PACKAGE / name).read_bytes(), name
        expected = seen["trained"]
    assert_same_numbers(numbers(electra_rtd.ElectraRTDForPreTraining.from_pretrained(tmp_path / "second")), expected)


@pytest.mark.slow
def test_a_checkpoint_whose_rows_point_to_a_repository_saves_without_the_pointer(checkpoint, run_fresh, tmp_path):
    model, folder = checkpoint
    pointers = {name: f"someone/tiny-pair--{row}" for name, row in AUTO_MAP.items()}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": pointers}))
    home, commit = tmp_path / "home", "0123456789abcdef0123456789abcdef01234567"
    repository = home / "hub" / "models--someone--tiny-pair"  # as a download leaves it
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(folder, repository / "snapshots" / commit)
    code = """
(config := AutoConfig.from_pretrained("someone/tiny-pair", trust_remote_code=True)).save_pretrained(sys.argv[2])
model = AutoModel.from_pretrained("someone/tiny-pair", trust_remote_code=True)
rows = dict(model.config.auto_map)
model.save_pretrained(sys.argv[1])
print("\\n" + json.dumps({"loaded": rows, "numbers": numbers(model)}))
"""
    seen = run_fresh(COMMON + code, tmp_path / "saved", tmp_path / "config", hf_home=home)
    assert seen["loaded"] == pointers, "or this test shows nothing"
    assert_same_numbers(seen["numbers"], numbers(model))
    assert auto_map(tmp_path / "saved") == auto_map(tmp_path / "config") == AUTO_MAP
    assert names(tmp_path / "saved") == FILES


@pytest.mark.slow
def test_with_the_package_it_loads_without_trust_and_runs_no_code_of_the_checkpoint(checkpoint, run_fresh, tmp_path):
    model, folder = checkpoint
    for name in CODE_FILES:
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nraise SystemExit('poisoned')\n")
    seen = run_fresh(WITH_THE_PACKAGE, folder, installed=True)
    assert not (tmp_path / "ran").exists() and seen["remote"] == []
    assert seen["config"] is True
    for one in seen["numbers"]:
        assert_same_numbers(one, numbers(model))


# ---- The model files ------------------------------------------------------------------------------------------------


def imports(name):
    """Every import of a file, inside functions too: (dots, module)."""
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.level, module) for module in modules)


def siblings(name):
    return {f"{module}.py" for dots, module in imports(name) if dots}


@pytest.mark.parametrize("name", CODE_FILES)
def test_the_files_import_torch_transformers_and_the_standard_library_alone(name):
    allowed = {"torch", "transformers", *sys.stdlib_module_names}
    absolute = [module for dots, module in imports(name) if dots == 0]
    assert absolute and not [module for module in absolute if module.split(".")[0] not in allowed]
    source = (PACKAGE / name).read_text(encoding="utf-8")
    assert not [word for word in ("import_module", "__import__", "exec(", "importlib") if word in source]


@pytest.mark.parametrize("name", CODE_FILES)
def test_every_relative_import_resolves_to_a_sibling_that_travels_with_it(name):
    for dots, module in imports(name):
        if dots:
            assert dots == 1 and f"{module}.py" in CODE_FILES, (dots, module)


def test_the_list_of_model_files_is_what_they_import():
    assert sorted(CODE) == CODE_FILES


def test_the_model_file_imports_every_sibling_itself():
    """From a local folder, transformers 4.57 to 5.8 copy those alone; `make compat` shows it in each release."""
    assert siblings("modeling_electra_rtd.py") == set(CODE_FILES) - {"modeling_electra_rtd.py"}


@pytest.mark.parametrize("name", [name for name in CODE_FILES if name != "modeling_electra_rtd.py"])
def test_siblings_import_the_configuration_and_the_objective_alone(name):
    assert siblings(name) <= {"configuration_electra_rtd.py", "objective_electra_rtd.py"} - {name}


def test_the_configuration_imports_none_of_them():
    assert siblings("configuration_electra_rtd.py") == set()


def test_the_package_exports_the_public_names():
    for name in ("ElectraRTDConfig", "ElectraRTDForPreTraining", "ElectraRTDOutput"):
        assert name in electra_rtd.__all__ and getattr(electra_rtd, name).__name__ == name


def test_a_stranger_reads_no_more_than_1350_lines():
    assert sum(len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) for name in CODE_FILES) <= 1350
