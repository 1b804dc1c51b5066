"""Verification: a sound checkpoint passes, each kind of damage or of malice has its finding, and nothing is executed.

Where a test spoils a checkpoint, it says which errors there are, and no others.
"""

import builtins
import io
import json
import os
import pickle
import shutil
import string
import struct
import subprocess
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from electra_rtd import __version__
from electra_rtd.hub_tools import export_discriminator, export_generator, layout
from electra_rtd.hub_tools.checks import code as code_check
from electra_rtd.hub_tools.checks.files import check_names
from electra_rtd.hub_tools.checks.pickles import judge
from electra_rtd.hub_tools.remote import HubError
from electra_rtd.hub_tools.report import CheckpointError, Finding, VerificationReport
from electra_rtd.hub_tools.verify import require_ok, verify_checkpoint


CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
MODELING, CONFIGURATION = "modeling_electra_rtd.py", "configuration_electra_rtd.py"
NO_CARD = ("no-card", "README.md")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"


# ---------------------------------------------------------------------------------------------------------- helpers


def torch_bytes(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def entries(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]


def zip_bytes(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return file.getvalue()


class Calls:
    """Pickled, it calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def marker(tmp_path):
    """A file that hostile code makes; it must not be there after a verification."""
    return tmp_path / "executed"


@pytest.fixture
def evil(marker):
    return Calls(os.system, f"touch {marker}")


@pytest.fixture(scope="module")
def trained(make_model, tokenizer, ids, tmp_path_factory):
    """What a stock Trainer leaves behind; not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    rows = Dataset.from_dict({"input_ids": [[ids.cls, *ids.ordinary[:8], ids.sep]] * 4})
    trainer = Trainer(
        model=make_model(),
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=2,
            max_steps=2,
            save_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()
    return folder


@pytest.fixture
def export_both(make_model, tokenizer, tmp_path):
    """A pair with an export of each network in its subfolder; arguments as `make_model`."""

    def make(as_encoder=False, **fields):
        folder = tmp_path / "exported"
        make_model(**fields).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        source = shutil.copytree(folder, tmp_path / "source")
        export_discriminator(source, folder / "discriminator", as_encoder=as_encoder)
        export_generator(source, folder / "generator", as_encoder=as_encoder)
        return folder

    return make


# --------------------------------------------------------------------------------------------------- what is sound


@pytest.mark.parametrize("kind", ["untied", "tied", "bfloat16", "sharded"])
def test_a_sound_checkpoint_lacks_nothing_but_a_card(make_model, tokenizer, tmp_path, kind, found):
    model = make_model(embedding_sharing="tied" if kind == "tied" else "none")
    model = model.to(torch.bfloat16) if kind == "bfloat16" else model
    model.save_pretrained(tmp_path / "pair", **({"max_shard_size": "20KB"} if kind == "sharded" else {}))
    tokenizer.save_pretrained(tmp_path / "pair")
    assert (tmp_path / "pair" / INDEX).exists() == (kind == "sharded")
    report = verify_checkpoint(tmp_path / "pair")
    assert report.ok and report.errors == []
    assert found(report, "warning") == [NO_CARD]
    code = [("code", "configuration_electra_rtd.py"), ("code", MODELING)]
    assert found(report, "info") == code
    assert (report.source, report.commit) == (str(tmp_path / "pair"), None)


@pytest.mark.parametrize("as_encoder", [False, True])
@pytest.mark.parametrize("sharing", ["none", "tied"])
def test_exports_of_both_networks_are_recognised_as_the_pairs(export_both, sharing, as_encoder, found):
    report = verify_checkpoint(export_both(as_encoder, embedding_sharing=sharing))
    assert (found(report), found(report, "warning")) == ([], [NO_CARD])
    assert [path for code, path in found(report, "info") if code == "export"] == ["discriminator/", "generator/"]


def test_a_string_is_a_folder_too_and_what_is_neither_is_refused(saved_pair, tmp_path):
    assert verify_checkpoint(str(saved_pair)).ok
    for nothing in (tmp_path / "nowhere", "./nowhere", "/nowhere", "~/nowhere", "a/b/c", str(saved_pair / CONFIG)):
        with pytest.raises(ValueError, match=r"is no folder\. Give a folder that exists, or a Hub id"):
            verify_checkpoint(nothing)


def test_a_report_counts_its_findings_and_shows_errors_first():
    findings = [
        Finding("info", "i", "b", "third"),
        Finding("warning", "w", "", "second"),
        Finding("error", "z", "b", "first"),
    ]
    report = VerificationReport("pair", findings, "0" * 40)
    lines = str(report).splitlines()
    assert lines[0] == f"pair at {'0' * 40}: not ok (1 errors, 1 warnings, 1 notes)"
    assert [line.split()[0] for line in lines[1:]] == ["error", "warning", "info"]
    assert lines[1].endswith("b: first") and lines[2].endswith("w                       second")
    assert str(VerificationReport("pair", [])) == "pair: ok (0 errors, 0 warnings, 0 notes)"


def test_what_a_checkpoint_says_cannot_draw_on_the_terminal():
    hostile = Finding("error", "weights-unexpected", "a\x1b[2K", "holds \x1b[2J\n  ok \u202etxet")
    assert "\x1b" not in str(hostile) and "\n" not in str(hostile) and "\u202e" not in str(hostile)
    assert r"holds \x1b[2J\n  ok \u202etxet" in str(hostile)
    assert "\x1b" not in str(VerificationReport("\x1b[2J", [hostile]))
    assert "나" in str(Finding("info", "code", "나.py", ""))


def test_an_error_carries_the_report_and_names_the_errors_only(pair_copy):
    report = verify_checkpoint(pair_copy)
    require_ok(report, "not pushed")
    (pair_copy / CONFIG).unlink()
    report = verify_checkpoint(pair_copy)
    with pytest.raises(ValueError) as caught:
        require_ok(report, "This is not pushed:")
    assert isinstance(caught.value, CheckpointError) and caught.value.report is report
    assert str(caught.value).startswith("This is not pushed:\n  error   no-config")
    assert "no-card" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize(
    ("name", "code", "mend"),
    [(CONFIG, "no-config", "not a checkpoint"), (WEIGHTS, "no-weights", "save_pretrained")],
)
def test_a_missing_file_is_an_error(pair_copy, name, code, mend, errors, message):
    (pair_copy / name).unlink()
    assert errors(pair_copy) == [(code, name)]
    assert mend in message(pair_copy, code)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json", MODELING])
def test_an_lfs_pointer_is_not_the_file(pair_copy, name, errors, message, write):
    write(pair_copy / name, POINTER)
    assert ("lfs-pointer", name) in errors(pair_copy)
    assert "git lfs pull" in message(pair_copy, "lfs-pointer")


def test_a_file_that_only_begins_like_a_pointer_and_is_long_is_none(pair_copy, errors, write):
    write(pair_copy / "notes.txt", POINTER * 20)
    assert errors(pair_copy) == []


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "tokenizer.json"])
@pytest.mark.parametrize("kind", ["dangling", "to a folder", "pipe"])
def test_what_cannot_be_read_as_a_file_is_an_error(pair_copy, name, kind, errors):
    (pair_copy / name).unlink()
    if kind == "pipe":
        os.mkfifo(pair_copy / name)
    else:
        (pair_copy / name).symlink_to(pair_copy.parent if kind == "to a folder" else "nowhere")
    assert errors(pair_copy) == [("not-a-file", name)]


def test_files_behind_a_linked_folder_are_not_taken_for_checked(pair_copy, tmp_path, evil, errors, write):
    write(tmp_path / "elsewhere" / "optimizer.pt", torch_bytes(evil))
    (pair_copy / "checkpoint-5").symlink_to(tmp_path / "elsewhere")
    assert errors(pair_copy) == [("not-a-file", "checkpoint-5")]


def test_a_folder_of_links_to_files_is_fine_but_for_old_releases(pair_copy, tmp_path, warnings):
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in pair_copy.iterdir():
        (linked / file.name).symlink_to(file)
    linked_code = [("linked-code", "configuration_electra_rtd.py"), ("linked-code", MODELING)]
    assert warnings(linked) == [NO_CARD, *linked_code]


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "weights.pt",
        "weights.PTH",
        "last.ckpt",
        "vocab.pkl",
        "vocab.pickle",
        "x.joblib",
        "x.dill",
        "x.mar",
        "x.nemo",
        "checkpoint-5/pytorch_model.bin",
        "checkpoint-5/global_step5/zero_states.pt",
        "checkpoint-5/pytorch_model_fsdp_0/.metadata",
        "checkpoint-5/pytorch_model_fsdp_0/__0_0.distcp",
        "Optimizer.PT",
        "training_args.BIN",
        "my_optimizer.pt",
        "discriminator/pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "checkpoint-5/pytorch_model.bin.index.json",
        "checkpoint-5/pytorch_model.bin.index.fp16.json",
    ],
)
def test_a_pickle_is_an_error_wherever_it_lies(pair_copy, name, errors, message, write):
    write(pair_copy / name, "{}")
    assert errors(pair_copy) == [("pickle", name)]
    assert "save_pretrained" in message(pair_copy, "pickle")


@pytest.mark.parametrize("name", ["tf_model.h5", "model.keras", "sub/saved_model.pb", "TF_MODEL.H5"])
def test_keras_files_can_hold_code_and_are_an_error(pair_copy, name, errors, message, write):
    write(pair_copy / name)
    assert errors(pair_copy) == [("other-weights", name)]
    assert "can hold code: remove them" in message(pair_copy, "other-weights")


@pytest.mark.parametrize(
    "name", ["model.onnx", "flax_model.msgpack", "m.gguf", "m.tflite", "m.npz", "onnx/m.onnx", "m.npy"]
)
def test_other_weights_are_a_warning(pair_copy, name, warnings, write):
    write(pair_copy / name)
    assert warnings(pair_copy) == [NO_CARD, ("other-weights", name)]


def test_what_is_no_part_of_a_checkpoint_is_mentioned(pair_copy, found, write):
    for name in ("tool.exe", "notes.md", "losses.png", ".gitattributes", "electra_rtd.lock.json", "runs/events.x"):
        write(pair_copy / name, b"{}")
    report = verify_checkpoint(pair_copy)
    assert [path for code, path in found(report, "info") if code == "foreign-file"] == ["tool.exe"]
    assert found(report) == []


def test_a_clone_is_not_judged_by_its_bookkeeping(pair_copy, errors, write):
    write(pair_copy / ".git" / "config")
    write(pair_copy / ".cache" / "huggingface" / "download" / "config.json.metadata")
    assert errors(pair_copy) == []
    write(pair_copy / "sub" / ".git" / "config")
    assert errors(pair_copy) == [("unsafe-path", "sub/.git/config")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x", "climbs up"),
        ("a/../../b", "climbs up"),
        ("a/..", "climbs up"),
        ("/etc/x", "not relative"),
        ("", "not relative"),
        (".", "not relative"),
        ("C:\\x", "not relative"),
        ("c:x", "not relative"),
        ("a\\b", "backslash"),
        ("..\\x", "backslash"),
        ("config.json:stream", "colon"),
        ("a\x00", "control character"),
        ("a\nb", "control character"),
        ("a\x1b[2J", "control character"),
        ("a\x7f", "control character"),
        ("a\x9b2J", "control character"),
        ("a\ud800", "control character"),
        ("a\u202ecod.py", "control character"),
        (".g\u200cit/config", "control character"),
        (".git/config", "writes into"),
        (".GIT/config", "writes into"),
        ("sub/.git/hooks/post-checkout", "writes into"),
        (".cache/huggingface/x", "writes into"),
        ("CON", "is a device"),
        ("nul.json", "is a device"),
        ("sub/com1.txt", "is a device"),
        ("lpt9/x", "is a device"),
        ("./config.json", "leave out or shorten"),
        ("a//b", "leave out or shorten"),
        ("a/", "leave out or shorten"),
        ("config.json.", "leave out or shorten"),
        (".git /config", "leave out or shorten"),
        ("CON ", "leave out or shorten"),
    ],
)
def test_a_name_that_may_leave_the_folder_is_refused(name, reason):
    (finding,) = check_names([name])
    assert (finding.level, finding.code, finding.path) == ("error", "unsafe-path", name)
    assert reason in finding.message


@pytest.mark.parametrize(
    ("name", "twin"),
    [("A", "a"), ("config.json", "Config.JSON"), ("stra\u00dfe", "STRASSE"), ("\u00e9.txt", "e\u0301.txt")],
)
def test_names_that_some_disks_take_for_the_same_are_refused(name, twin):
    (finding,) = check_names([name, twin])
    assert (finding.code, finding.path) == ("unsafe-path", twin)
    assert f"differs from {name} in case" in finding.message


def test_ordinary_names_are_not_refused():
    names = ["config.json", ".gitattributes", "a b/c.txt", "나.txt", "console.txt", "..a/b..c", "_(1)+@x.md", "com"]
    assert list(check_names(names)) == []


@given(st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "C:", ".git", "~", "x y"]), max_size=6).map("".join))
def test_no_accepted_name_joins_to_a_path_outside_of_the_folder(name):
    if any(check_names([name])):
        return
    for kind, root in ((PurePosixPath, "/home/me/pair"), (PureWindowsPath, "D:\\pair")):
        joined = kind(root) / name
        assert joined != kind(root) and joined.parents[len(kind(name).parts) - 1] == kind(root)
        assert ".." not in joined.parts


@given(st.text(alphabet=st.characters(), max_size=12))
def test_any_accepted_name_is_printable_and_stays_as_it_is_when_it_is_joined(name):
    if not any(check_names([name])):
        assert (PurePosixPath("/pair") / name).as_posix() == f"/pair/{name}"
        assert not set(name) & set("\\:" + "".join(map(chr, range(32))))


# ------------------------------------------------------------------------------------------- what a Trainer pickles


def test_a_finished_run_of_the_stock_trainer_has_warnings_only(trained, tmp_path, warnings):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "checkpoint-2").rename(folder / "last-checkpoint")
    pickles = ["optimizer.pt", "rng_state.pth", "scheduler.pt", "training_args.bin"]
    places = ["checkpoint-1/", "last-checkpoint/"]
    expected = [f"{place}{name}" for place in places for name in pickles]
    expected = [("pickled-trainer-state", name) for name in [*expected, "training_args.bin"]]
    assert warnings(folder) == [NO_CARD, *expected]


def test_states_beside_the_weights_are_an_error_even_if_a_trainer_wrote_them(trained, found):
    report = verify_checkpoint(trained / "checkpoint-2")
    states = [("pickled-trainer-state", name) for name in ("optimizer.pt", "rng_state.pth", "scheduler.pt")]
    assert found(report) == states
    assert all("CVE-2026-1839" in finding.message for finding in report.errors)
    # and not a warning too, which would say the opposite of the same file
    assert found(report, "warning") == [NO_CARD, ("pickled-trainer-state", "training_args.bin")]


def renamed(data, old, new):
    return zip_bytes([(name.replace(old, new), content) for name, content in entries(data)])


def legacy(evil):
    return torch_bytes({"state": evil}, _use_new_zipfile_serialization=False)


def protocol_4(evil):
    return torch_bytes({"state": evil}, pickle_protocol=4)


def twins(evil, evil_first):
    """Two entries of one name, one of them harmless."""
    bad, good = entries(torch_bytes({"state": evil})), entries(torch_bytes({"state": 1}))
    first, second = (bad, good) if evil_first else (good, bad)
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zip_bytes([first[0], *second])


def behind_a_pickle(evil):
    """`zipfile` sees the harmless archive at the end, `torch.load` the pickle before it."""
    return legacy(evil) + zip_bytes(entries(torch_bytes({"state": 1})))


def two_tables(evil):
    """`torch.load` takes the state that is hidden, `zipfile` shows the other."""
    return joined_archives(entries(torch_bytes({"state": evil})), entries(torch_bytes({"state": 1})))


def joined_archives(hidden, shown):
    """`zipfile` finds the table of contents right before the end, `torch.load` where the end says that it is.

    Both archives have as many entries, with names of the same lengths.
    """
    bad = zip_bytes([*hidden, ("archive/.padding", b"0" * 2000)])
    good = zip_bytes([*shown, ("archive/.padding", b"")])
    (_, _, _, count, _, size, bad_start, _), (*_, good_start, _) = (
        struct.unpack("<4s4H2LH", data[-22:]) for data in (bad, good)
    )
    table, place = bytearray(good[good_start:-22]), 0
    while place < len(table):
        lengths = struct.unpack_from("<3H", table, place + 28)
        (offset,) = struct.unpack_from("<L", table, place + 42)
        struct.pack_into("<L", table, place + 42, offset + bad_start - good_start)
        place += 46 + sum(lengths)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, bad_start, 0)
    return bad[:-22] + good[:good_start] + bytes(table) + end


def in_capitals(evil):
    """`torch.load` does not care about case."""
    good = [entry for entry in entries(torch_bytes({"state": 1})) if not entry[0].endswith("data.pkl")]
    bad = dict(entries(torch_bytes({"state": evil})))["archive/data.pkl"]
    return zip_bytes([("archive/DATA.PKL", bad), *good, ("archive/other.pkl", pickle.dumps(1))])


def inside_a_tensor(evil):
    """Below something harmless."""
    return torch_bytes({"state": {0: {"exp_avg": torch.ones(3), "more": [1, (2, evil)]}}})


@pytest.mark.parametrize("name", ["training_args.bin", "checkpoint-5/optimizer.pt", "last-checkpoint/rng_state_1.pth"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda evil: torch_bytes(evil), "`posix.system`"),
        (inside_a_tensor, "`posix.system`"),
        (protocol_4, "STACK_GLOBAL"),
        (legacy, "not a file of `torch.save`"),
        (lambda evil: pickle.dumps(evil), "not a file of `torch.save`"),
        (lambda evil: twins(evil, evil_first=False), "`posix.system`"),
        (lambda evil: twins(evil, evil_first=True), "`posix.system`"),
        (behind_a_pickle, "not a file of `torch.save`"),
        (two_tables, "something hidden"),
        (in_capitals, "`posix.system`"),
    ],
)
def test_a_state_that_would_run_something_is_an_error_and_does_not_run(
    pair_copy, marker, evil, name, make, says, errors, message, write
):
    write(pair_copy / name, make(evil))
    assert errors(pair_copy) == [("pickle", name)]
    assert says in message(pair_copy, "pickle") and "remove it" in message(pair_copy, "pickle")
    assert not marker.exists()


@pytest.mark.parametrize("make", [legacy, behind_a_pickle, two_tables, in_capitals, inside_a_tensor])
def test_the_hostile_states_of_these_tests_do_run_when_they_are_loaded(tmp_path, marker, evil, make, write):
    write(tmp_path / "state.pt", make(evil))
    torch.load(tmp_path / "state.pt", weights_only=False)
    assert marker.exists()


def stack(*opcodes):
    """An archive as of `torch.save` around a pickle written by hand."""
    return zip_bytes([("archive/data.pkl", b"".join((b"\x80\x02", *opcodes, b"."))), ("archive/version", b"3\n")])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (torch_bytes(Calls(eval, "1")), "`__builtin__.eval`"),
        (torch_bytes(Calls(builtins.__import__, "os")), "`__builtin__.__import__`"),
        (torch_bytes(Calls(torch.load, "x")), "`torch.serialization.load`"),
        (torch_bytes(Calls(torch.hub.load, "a/b", "c")), "`torch.hub.load`"),
        (stack(b"ctorch\nFloatStorage.from_file\n"), "`torch.FloatStorage.from_file`"),
        (stack(b"ccollections OrderedDict\nx\n"), "`collections.OrderedDict x`"),
        (stack(b"ccollections\nabc\n"), "`collections.abc`"),
        (stack(b"(ios\nsystem\n"), "INST"),
        (stack(b"\x82\x01"), "EXT1"),
        (stack(b"\x83\x01\x00"), "EXT2"),
        (stack(b"\x84\x01\x00\x00\x00"), "EXT4"),
        (stack(b"\xff"), "damaged"),
        (stack(b"X\xff\xff"), "damaged"),
        (zip_bytes([("archive/data.txt", b"")]), "holds no pickle"),
        (zip_bytes([("archive/data.pkl", b"\x80\x02N."), ("archive/constants.pkl", b"")]), "TorchScript"),
        (zip_bytes([("archive/data.pkl", b"\x80\x02N."), ("archive/CODE/x.py", b"")]), "TorchScript"),
        (zip_bytes([("archive/other.pkl", b"\x80\x02N."), ("archive/version", b"3\n")]), "not a file of"),
        (torch_bytes({"a": 1})[:-30], "not a file of"),
        (b"", "not a file of"),
        (b"PK\x03\x04", "not a file of"),
    ],
)
def test_a_state_of_other_names_than_a_trainers_is_not_harmless(tmp_path, data, says, write):
    write(tmp_path / "optimizer.pt", data)
    assert says in judge(tmp_path / "optimizer.pt")[0]


def test_torchscript_in_a_hidden_table_of_contents_is_not_harmless(tmp_path, write):
    state = entries(torch_bytes({"state": 1}))
    archive = joined_archives([*state, ("archive/constants.pkl", b"N.")], [*state, ("archive/constants.txt", b"")])
    write(tmp_path / "optimizer.pt", archive)
    assert "something hidden" in judge(tmp_path / "optimizer.pt")[0]


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_torchscript_is_not_harmless(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "optimizer.pt"))
    assert judge(tmp_path / "optimizer.pt")[0] == "TorchScript code"


def test_an_entry_that_is_far_too_large_is_not_read(tmp_path, monkeypatch, write):
    monkeypatch.setattr("electra_rtd.hub_tools.checks.pickles.LARGEST_PICKLE", 100)
    write(tmp_path / "optimizer.pt", torch_bytes({"a": "x" * 101}))
    assert "holds no pickle" in judge(tmp_path / "optimizer.pt")[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8])
def test_tensors_and_plain_values_are_harmless(tmp_path, dtype, write):
    state = {"state": {0: {"exp_avg": torch.ones(2, dtype=dtype), "step": 3}}, "groups": [{"lr": 0.1, "fused": None}]}
    write(tmp_path / "optimizer.pt", torch_bytes(state))
    assert judge(tmp_path / "optimizer.pt")[0] == ""


# ----------------------------------------------------------------------------------------------- the configurations


def place(content, where, key, value):
    """Set a key at a path of keys; `where` of `None` puts it into a list."""
    if where is None:
        content["task_specific_params"] = [1, [{"deeper": {key: value}}]]
        return
    for step in where:
        content = content.setdefault(step, {})
    content[key] = value


PLACES = [(), ("generator_config",), ("discriminator_config",), ("generator_config", "x", "y"), None]
REFUSED_KEYS = [
    ("_attn_implementation_internal", "sdpa", "attention-code"),
    ("_experts_implementation_internal", "eager", "attention-code"),
    ("_attn_implementation", "someone/kernel", "attention-code"),
    ("attn_implementation", "someone/kernel", "attention-code"),
    ("_attn_implementation", "flash_attention_2|someone/kernel@main:x", "attention-code"),
    ("attn_implementation", {"": "sdpa", "generator_config": "someone/kernel"}, "attention-code"),
    ("_attn_implementation", ["sdpa", "someone/kernel"], "attention-code"),
    ("_experts_implementation", "someone/kernel", "attention-code"),
    ("experts_implementation", "someone/kernel", "attention-code"),
    ("trust_remote_code", True, "trust-remote-code"),
    ("trust_remote_code", False, "trust-remote-code"),
    ("transformers_weights", "other.safetensors", "foreign-weights"),
    ("attribute_map", {"x": "_attn_implementation_internal"}, "reserved-key"),
    ("configuration_files", ["config.4.0.0.json.txt"], "reserved-key"),
    ("quantization_config", {"quant_method": "x"}, "reserved-key"),
    ("compression_config", {}, "reserved-key"),
    ("custom_pipelines", {"x": {"impl": "someone/code--x.X"}}, "reserved-key"),
    ("custom_generate", "someone/code", "reserved-key"),
    ("__class__", "x", "reserved-key"),
    ("__dict__", {}, "reserved-key"),
    ("num_labels", 10**9, "config-invalid"),
    ("_num_labels", 10**9, "config-invalid"),
]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(("key", "value", "code"), REFUSED_KEYS)
def test_a_key_that_fetches_or_runs_is_an_error_at_every_depth(
    pair_copy, where, key, value, code, errors, message, edit_json
):
    edit_json(pair_copy, lambda content: place(content, where, key, value))
    assert errors(pair_copy) == [(code, CONFIG)]
    path = ".".join(("task_specific_params", "deeper", key) if where is None else (*where, key))
    assert f"`{path}`" in message(pair_copy, code)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "old/config.json", "X.JSON"])
@pytest.mark.parametrize(("key", "value", "code"), {row[-1]: row for row in REFUSED_KEYS}.values())  # one of each
def test_a_key_that_fetches_or_runs_is_an_error_in_every_file(pair_copy, name, key, value, code, errors, write):
    write(pair_copy / name, json.dumps({"x": {key: value}}))
    assert errors(pair_copy) == [(code, name)]


@pytest.mark.parametrize("value", ["sdpa", "eager", "flash_attention_2", None, {"": "sdpa"}])
def test_an_installed_attention_is_accepted(pair_copy, value, errors, edit_json):
    edit_json(pair_copy, lambda content: content.update(attn_implementation=value))
    assert errors(pair_copy) == []


def test_a_key_by_which_a_setting_gets_another_name_would_choose_the_attention(pair_copy, make_config, errors, write):
    """Why `attribute_map` is refused: the configuration class would obey it."""
    fields = make_config().to_dict()
    fields = {**fields, "attribute_map": {"innocent": "_attn_implementation_internal"}, "innocent": "someone/kernel"}
    write(pair_copy / CONFIG, json.dumps(fields))
    assert errors(pair_copy) == [("reserved-key", CONFIG)]


def test_a_vocabulary_may_have_an_entry_that_is_called_like_a_setting(
    make_model, make_tokenizer, tmp_path, saved_pair, errors, edit_json, write
):
    folder = shutil.copytree(saved_pair, tmp_path / "pair")

    def rename(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["trust_remote_code"] = vocabulary.pop("병원")

    edit_json(folder, rename, "tokenizer.json")
    write(folder / "vocab.json", json.dumps({"auto_map": 1, "_attn_implementation_internal": 2}))
    assert errors(folder) == []


@pytest.mark.parametrize("where", [("generator_config",), ("discriminator_config", "x"), None])
def test_an_auto_map_anywhere_but_at_the_top_is_an_error(pair_copy, where, errors, edit_json):
    edit_json(pair_copy, lambda content: place(content, where, "auto_map", {"AutoModel": "modeling.X"}))
    assert errors(pair_copy) == [("nested-auto-map", CONFIG)]


@pytest.mark.parametrize(
    "content", [{"auto_map": {"AutoModel": "x.X"}}, [{"auto_map": ["a.B", None]}], [[{"auto_map": 1}]]]
)
def test_an_auto_map_in_another_file_is_an_error(pair_copy, content, errors, write):
    write(pair_copy / "processor_config.json", json.dumps(content))
    assert errors(pair_copy) == [("nested-auto-map", "processor_config.json")]


@pytest.mark.parametrize("rows", [{"AutoTokenizer": ["tokenization.X", None]}, ["someone/code--t.X", None]])
def test_a_tokenizer_of_its_own_code_is_an_error(pair_copy, rows, errors, edit_json):
    edit_json(pair_copy, lambda content: content.update(auto_map=rows), "tokenizer_config.json")
    assert errors(pair_copy) == [("tokenizer-code", "tokenizer_config.json")]


def test_a_pair_whose_code_lies_in_another_repository_needs_that_repository_to_be_named(pair_copy, errors, edit_json):
    edit_json(
        pair_copy,
        lambda content: content.update(
            auto_map={name: f"someone/code--{path}" for name, path in content["auto_map"].items()}
        ),
    )
    assert errors(pair_copy) == [("foreign-auto-map", CONFIG)] * 3
    assert errors(pair_copy, allow_code_from=["someone/code"]) == []
    assert errors(pair_copy, allow_code_from="someone/code") == []
    assert errors(pair_copy, allow_code_from=iter(["someone/code"])) == []
    for other in ([], ["someone/codes"], ["someone"], "x/someone/code", ["someone/code--x"]):
        assert errors(pair_copy, allow_code_from=other) == [("foreign-auto-map", CONFIG)] * 3
    for name in layout.CODE:  # then nobody needs the files here
        (pair_copy / name).unlink()
    assert errors(pair_copy, allow_code_from=["someone/code"]) == []


@pytest.mark.parametrize("row", ["AutoTokenizer", "AutoModelForMaskedLM", "AutoProcessor"])
def test_a_pair_has_no_code_for_other_auto_classes(pair_copy, row, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content["auto_map"].update({row: "modeling_electra_rtd.ElectraRTDConfig"}))
    assert errors(pair_copy) == [("foreign-auto-map", CONFIG)]
    assert f"code for {row}" in message(pair_copy, "foreign-auto-map")


def test_an_auto_map_that_lacks_rows_is_a_warning(pair_copy, message, warnings, edit_json):
    edit_json(pair_copy, lambda content: content["auto_map"].pop("AutoModel"))
    assert warnings(pair_copy) == [NO_CARD, ("auto-map", CONFIG)]
    assert message(pair_copy, "auto-map") == "`auto_map` has no row for AutoModel."


@pytest.mark.parametrize("value", [None, [], 1, "modeling.X"])
def test_an_auto_map_that_is_no_table_is_an_error(pair_copy, value, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content.update(auto_map=value))
    assert errors(pair_copy) == [("auto-map", CONFIG)]
    assert "model.save_pretrained" in message(pair_copy, "auto-map")


@pytest.mark.parametrize("edit", [{"auto_map": {}}, None])
def test_a_pair_without_an_auto_map_needs_electra_rtd_and_is_a_warning(pair_copy, edit, warnings, edit_json):
    edit_json(pair_copy, lambda content: content.update(edit) if edit else content.pop("auto_map"))
    found_warnings = warnings(pair_copy)
    assert ("no-remote-code", CONFIG) in found_warnings
    assert set(found_warnings) <= {NO_CARD, ("no-remote-code", CONFIG), ("auto-map", CONFIG)}


@pytest.mark.parametrize("name", ["adapter_config.json", "sub/adapter_config.json", "Adapter_Config.JSON"])
def test_an_adapter_would_load_another_repository_and_is_an_error(pair_copy, name, errors, write):
    write(pair_copy / name, json.dumps({"base_model_name_or_path": "someone/else"}))
    assert errors(pair_copy) == [("adapter", name)]


@pytest.mark.parametrize(
    ("value", "level"),
    [("/home/me/electra", True), ("C:\\electra", True), ("./x", True), ("monologg/koelectra", False)],
)
def test_a_path_on_the_authors_disk_is_a_warning(pair_copy, value, level, warnings, edit_json):
    edit_json(pair_copy, lambda content: content["generator_config"].update(_name_or_path=value))
    assert warnings(pair_copy) == ([NO_CARD, ("local-path", CONFIG)] if level else [NO_CARD])


@pytest.mark.parametrize("name", [CONFIG, "tokenizer_config.json", "discriminator/config.json"])
@pytest.mark.parametrize("content", ["{", "\x00", b"\xff\xfe", "", '{"a": 1' + "0" * 5000 + "}"])
def test_a_configuration_that_is_not_json_is_an_error(pair_copy, name, content, errors, write):
    write(pair_copy / name, content)
    assert errors(pair_copy) == [("not-json", name)]


def test_any_other_file_that_is_not_json_is_a_warning(pair_copy, warnings, write):
    write(pair_copy / "results.json", "{")
    assert warnings(pair_copy) == [NO_CARD, ("not-json", "results.json")]


@pytest.mark.parametrize("name", [CONFIG, "tokenizer_config.json", INDEX])
def test_json_of_any_depth_is_an_error_and_not_a_crash(pair_copy, name, write):
    for depth in [*range(880, 1000, 20), 10**5]:  # at some of them the parser succeeds, and the checks do not
        write(pair_copy / name, '{"a":' * depth + "{}" + "}" * depth)
        assert not verify_checkpoint(pair_copy).ok


def test_deep_json_in_another_file_is_either_read_or_refused(pair_copy, write):
    codes = set()
    for depth in [*range(880, 1000, 20), 10**5]:
        write(pair_copy / "results.json", '{"a":' * depth + '{"auto_map": {"AutoModel": "x.X"}}' + "}" * depth)
        report = verify_checkpoint(pair_copy)
        codes |= {finding.code for finding in report.findings if finding.path == "results.json"}
    assert codes <= {"nested-auto-map", "not-json"} and "not-json" in codes


def test_json_that_the_parser_reads_and_the_checks_cannot_is_an_error(pair_copy, monkeypatch, errors, write):
    """Parsers of later Pythons go deeper than Python's own calls."""
    content = {}
    for _ in range(5000):
        content = {"a": content}
    write(pair_copy / "results.json", "{}")
    read = layout.CheckpointFiles.read_json
    monkeypatch.setattr(
        layout.CheckpointFiles,
        "read_json",
        lambda self, name: content if name == "results.json" else read(self, name),
    )
    assert errors(pair_copy) == [("not-json", "results.json")]


@pytest.mark.parametrize("content", [{"model_type": "electra"}, {}, {"model_type": ["electra_rtd"]}, [], 1, None, "x"])
def test_what_is_no_pair_is_an_error(pair_copy, content, errors, write):
    write(pair_copy / CONFIG, json.dumps(content))
    assert errors(pair_copy) == [("not-a-pair", CONFIG)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mask_prob": 1.5}, "`mask_prob` is 1.5: it must be a number in"),
        ({"eval_seed": "x"}, "`eval_seed`"),
        ({"generator_config": 1}, "`generator_config` is a int"),
        ({"mask_token_id": 10**6}, "`mask_token_id` holds 1000000"),
        ({"embedding_sharing": "tide"}, '"none", "tied"'),
        ({"check_fields": 0}, "`check_fields` is no setting of this network: remove it"),
        ({"to_dict": 0, "hidden_size": 4}, "`to_dict` is no setting of this network: remove it; `hidden_size` is no"),
        ({"dtype": "nonsense"}, "nonsense"),
        ({"special_token_ids": {"a": 1}}, "`special_token_ids` is {'a': 1}: it must be a list"),
    ],
)
def test_a_field_out_of_range_is_an_error_that_names_it(pair_copy, fields, says, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content.update(fields))
    assert errors(pair_copy) == [("config-invalid", CONFIG)]
    assert says in message(pair_copy, "config-invalid")


@pytest.mark.parametrize(
    ("part", "fields", "codes"),
    [
        ("discriminator_config", {"hidden_size": 64}, {"weights-shape"}),
        ("generator_config", {"intermediate_size": 31}, {"weights-shape"}),
        ("discriminator_config", {"num_hidden_layers": 3}, {"weights-missing"}),
        ("discriminator_config", {"num_hidden_layers": 1}, {"weights-unexpected"}),
        ("discriminator_config", {"num_hidden_layers": 10**9}, {"config-invalid"}),
        ("generator_config", {"num_hidden_layers": 10**9}, {"config-invalid"}),
        ("discriminator_config", {"hidden_size": 10**9, "num_attention_heads": 1}, {"config-invalid"}),
        ("generator_config", {"max_position_embeddings": 10**9}, {"config-invalid"}),
        ("discriminator_config", {"hidden_act": "nonsense"}, {"config-invalid"}),
        ("discriminator_config", {"num_attention_heads": 5}, {"weights-shape"}),
        ("discriminator_config", {"num_attention_heads": 0}, {"config-invalid"}),
        ("discriminator_config", {"num_hidden_layers": -1}, {"config-invalid"}),
        ("discriminator_config", {"hidden_size": -4, "num_attention_heads": 1}, {"config-invalid"}),
    ],
)
@pytest.mark.parametrize("with_export", [False, True])
def test_networks_that_the_weights_are_not_of_are_an_error(
    pair_copy, saved_pair, part, fields, codes, with_export, errors, edit_json
):
    if with_export:
        export_discriminator(saved_pair, pair_copy / "discriminator")
    edit_json(pair_copy, lambda content: content[part].update(fields))
    assert {code for code, _ in errors(pair_copy)} == codes


def test_absurdly_many_layers_are_refused_before_a_model_is_built(pair_copy, monkeypatch, message, edit_json):
    monkeypatch.setattr("electra_rtd.hub_tools.verify.expected_tensors", lambda *of_what: pytest.fail("built"))
    edit_json(pair_copy, lambda content: content["generator_config"].update(num_hidden_layers=10**9))
    assert "num_hidden_layers` is 1000000000: it must be a whole number" in message(pair_copy, "config-invalid")


# ------------------------------------------------------------------------------------------------------ the weights

QUERY = "discriminator.electra.encoder.layer.1.attention.self.query.weight"


def change_tensor(function, name=QUERY):
    return lambda tensors: tensors.update({name: function(tensors[name]).contiguous()})


def poison(value):
    def change(tensor):
        tensor[-1, -1] = value
        return tensor

    return change


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda tensors: tensors.pop(QUERY), "weights-missing", f"lacks {QUERY}: loading would draw"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "weights-unexpected", "has not: extra"),
        (change_tensor(lambda tensor: tensor[:-1]), "weights-shape", "(31, 32), config.json asks for (32, 32)"),
        (change_tensor(poison(float("nan"))), "weights-not-finite", f"{QUERY} holds NaN or Inf"),
        (change_tensor(poison(float("inf"))), "weights-not-finite", "Take an earlier state"),
        (change_tensor(poison(-float("inf"))), "weights-not-finite", "diverged"),
        (change_tensor(lambda tensor: tensor.long()), "weights-dtype", "holds torch.int64, not floating-point"),
        (change_tensor(lambda tensor: tensor.bool()), "weights-dtype", "holds torch.bool"),
        (change_tensor(lambda tensor: tensor.to(torch.float8_e4m3fn)), "weights-dtype", "torch.float8_e4m3fn, not"),
    ],
)
def test_weights_of_another_model_or_a_broken_one_are_an_error(pair_copy, change, code, says, errors, edit_weights):
    edit_weights(pair_copy, change)
    assert errors(pair_copy) == [(code, WEIGHTS)]
    (finding,) = verify_checkpoint(pair_copy).errors
    assert says in finding.message


def test_a_message_about_many_tensors_stays_short(pair_copy, message, edit_weights):
    edit_weights(pair_copy, lambda tensors: [tensors.pop(name) for name in sorted(tensors)[:12]])
    text = message(pair_copy, "weights-missing")
    assert "and 7 more" in text and text.count("discriminator.") == 5


def test_mixed_types_are_a_warning(pair_copy, message, warnings, edit_weights):
    edit_weights(pair_copy, change_tensor(lambda tensor: tensor.half()))
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", WEIGHTS)]
    assert "1 of torch.float16" in message(pair_copy, "weights-dtype")


def test_another_type_than_the_configuration_says_is_a_warning(pair_copy, message, warnings, edit_json, edit_weights):
    edit_weights(pair_copy, lambda tensors: tensors.update({name: value.half() for name, value in tensors.items()}))
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", CONFIG)]
    assert message(pair_copy, "weights-dtype") == "says torch.float32, the weights are torch.float16."
    edit_json(pair_copy, lambda content: content.update(dtype=None))
    assert warnings(pair_copy) == [NO_CARD]


@pytest.mark.parametrize(
    "content", [lambda data: data[:-8], lambda data: b"garbage" * 99, lambda data: b"", lambda data: data[:4]]
)
def test_a_damaged_file_is_an_error(pair_copy, content, errors, message, write):
    write(pair_copy / WEIGHTS, content((pair_copy / WEIGHTS).read_bytes()))
    assert errors(pair_copy) == [("weights-unreadable", WEIGHTS)]
    assert "is not safetensors, or is cut off" in message(pair_copy, "weights-unreadable")


def test_a_file_without_the_format_that_old_releases_ask_for_is_an_error(pair_copy, errors, message, edit_weights):
    edit_weights(pair_copy, lambda tensors: None, metadata=("a", "b"))
    assert errors(pair_copy) == [("weights-unreadable", WEIGHTS)]
    assert '`format: "pt"`' in message(pair_copy, "weights-unreadable")


def shards(folder):
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def test_a_missing_shard_is_an_error(sharded, errors, message):
    lost = shards(sharded)[1]
    (sharded / lost).unlink()
    assert ("weights-unreadable", lost) in errors(sharded)
    assert "named by the index, but is not there" in message(sharded, "weights-unreadable")


def test_a_tensor_in_two_shards_is_an_error(sharded, errors, message, edit_weights):
    first, second = shards(sharded)[:2]
    tensor, value = next(iter(load_file(sharded / first).items()))
    edit_weights(sharded, lambda tensors: tensors.update({tensor: value}), second)
    assert errors(sharded) == [("weights-unreadable", second)]
    assert f"holds {tensor}, which {first} holds too" in message(sharded, "weights-unreadable")


@pytest.mark.parametrize("index", [INDEX, "other/model.safetensors.index.json", "model.safetensors.index.fp16.json"])
@pytest.mark.parametrize(
    "shard", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "a\\b.safetensors", "weights.txt", "x.bin", ""]
)
def test_an_index_names_safetensors_of_its_own_folder_only(sharded, index, shard, errors, message, edit_json, write):
    """A shard of another kind would be read as a pickle."""
    write(sharded / index, (sharded / INDEX).read_bytes())
    edit_json(sharded, lambda content: content["weight_map"].update({QUERY: shard}), index)
    assert errors(sharded) == [("weights-unreadable", index)]
    assert f"names {shard!r}, which is no safetensors file of this folder" in message(sharded, "weights-unreadable")


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{", '{"weight_map": null}']
)
def test_an_index_that_is_none_is_an_error(sharded, content, errors, write):
    write(sharded / INDEX, content)
    assert errors(sharded) == [("weights-unreadable", INDEX)]


@pytest.mark.parametrize("shard", ["other.safetensors", "model-00001-of-00002.safetensors.safetensors"])
def test_an_index_of_shards_of_another_name_is_an_error(sharded, shard, errors, edit_json):
    edit_json(sharded, lambda content: content["weight_map"].update({QUERY: shard}), INDEX)
    shutil.copy(sharded / shards(sharded)[0], sharded / shard)
    assert errors(sharded) == [("weights-unreadable", INDEX)]


def test_one_file_and_an_index_at_once_are_an_error(pair_copy, sharded, errors):
    for name in [INDEX, *shards(sharded)]:
        shutil.copy(sharded / name, pair_copy / name)
    assert errors(pair_copy) == [("two-weights", INDEX)]


@pytest.mark.parametrize("equal", [True, False])
def test_tied_tensors_may_be_stored_twice_if_they_are_equal(
    make_model, tokenizer, tmp_path, equal, errors, edit_weights
):
    model = make_model(embedding_sharing="tied")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    names = [f"{part}.electra.embeddings.word_embeddings.weight" for part in ("discriminator", "generator")]

    def store_both(tensors):
        stored = next(tensors[name] for name in names if name in tensors)
        tensors.update({name: stored.clone() for name in names})
        tensors[names[0]][0, 0] += 0 if equal else 1

    edit_weights(tmp_path, store_both)
    assert errors(tmp_path) in ([[]] if equal else [[("weights-tying", WEIGHTS)], [("weights-tying", WEIGHTS)] * 2])


# ---------------------------------------------------------------------------------------------------- the tokenizer


def test_a_missing_tokenizer_is_a_warning(pair_copy, warnings):
    for name in layout.TOKENIZER:
        (pair_copy / name).unlink(missing_ok=True)
    assert warnings(pair_copy) == [NO_CARD, ("no-tokenizer", "tokenizer.json")]


def test_a_tokenizer_with_more_tokens_than_the_networks_is_an_error(pair_copy, make_tokenizer, errors, message):
    make_tokenizer(extra_words=["한국", "서울"]).save_pretrained(pair_copy)
    assert errors(pair_copy) == [("tokenizer-vocabulary", "tokenizer.json")]
    assert message(pair_copy, "tokenizer-vocabulary").startswith("has 82 tokens, the networks know 80")


def test_a_tokenizer_with_fewer_tokens_is_only_mentioned(make_model, tokenizer, tmp_path, errors, found):
    room = {"vocab_size": 96}
    make_model(generator=room, discriminator=room).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert ("tokenizer-vocabulary", "tokenizer.json") in found(verify_checkpoint(tmp_path), "info")
    assert errors(tmp_path) == []


@pytest.mark.parametrize("field", ["mask_token_id", "pad_token_id"])
@pytest.mark.parametrize("value", [5, None])
def test_other_ids_than_the_tokenizers_are_an_error(pair_copy, field, value, errors, message, edit_json):
    edit_json(pair_copy, lambda content: content.update({field: value}))
    assert errors(pair_copy) == [("tokenizer-ids", CONFIG)]
    assert f"`{field}` is {value}, in the tokenizer {79 if field[0] == 'm' else 7}" in message(
        pair_copy, "tokenizer-ids"
    )


def test_other_special_ids_than_the_tokenizers_are_a_warning(pair_copy, warnings, edit_json):
    edit_json(pair_copy, lambda content: content.update(special_token_ids=[79]))
    assert warnings(pair_copy) == [NO_CARD, ("tokenizer-ids", CONFIG)]
    edit_json(pair_copy, lambda content: content.update(special_token_ids=[79, 0, 7, 31, 32, 79]))
    assert warnings(pair_copy) == [NO_CARD]


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"model": {"type": "BPE"}}', b"\xff"])
def test_a_tokenizer_that_cannot_be_read_is_an_error(pair_copy, content, errors, write):
    write(pair_copy / "tokenizer.json", content)
    assert errors(pair_copy) == [("tokenizer-unreadable", "tokenizer_config.json")]


@pytest.mark.parametrize("name", ["AutoConfig", "ElectraConfig", "ElectraModel", "Nonsense", 5, ["x"]])
def test_a_tokenizer_of_a_class_that_is_none_is_an_error(pair_copy, name, found, edit_json):
    edit_json(pair_copy, lambda content: content.update(tokenizer_class=name), "tokenizer_config.json")
    report = verify_checkpoint(pair_copy)
    codes = {"tokenizer-unreadable", "tokenizer-setting"}
    assert name == "Nonsense" or [code in codes for code, _ in found(report)] == [True]


# --------------------------------------------------------------------------------------------------------- the code


def test_changed_code_is_listed_with_its_hash_and_stays_a_warning(pair_copy, message, warnings, write):
    text = (pair_copy / MODELING).read_text() + "\n# mine\n"
    write(pair_copy / MODELING, text)
    assert warnings(pair_copy) == [NO_CARD, ("foreign-code", MODELING)]
    assert layout.sha256(pair_copy / MODELING) in message(pair_copy, "foreign-code")


@pytest.mark.parametrize("name", ["setup.py", "sub/tool.py"])
def test_any_other_code_is_listed(pair_copy, name, warnings, write):
    write(pair_copy / name, "print(1)\n")
    assert warnings(pair_copy) == [NO_CARD, ("foreign-code", name)]


def test_our_code_under_another_name_is_not_ours(pair_copy, warnings):
    shutil.copy(pair_copy / "configuration_electra_rtd.py", pair_copy / "evil.py")
    assert warnings(pair_copy) == [NO_CARD, ("foreign-code", "evil.py")]


def test_code_of_an_earlier_release_is_known(pair_copy, monkeypatch, found, write):
    for name in layout.CODE:
        write(pair_copy / name, (pair_copy / name).read_text() + "\n# of 0.0.9\n")
    hashes = {name: layout.sha256(pair_copy / name) for name in layout.CODE}
    monkeypatch.setitem(code_check.EARLIER_RELEASES, "0.0.9", hashes)
    report = verify_checkpoint(pair_copy)
    assert found(report, "warning") == [NO_CARD]
    assert all(f.message == "is ours, of release 0.0.9." for f in report.findings if f.code == "code")


def test_code_of_two_releases_is_a_warning(pair_copy, monkeypatch, message, warnings, write):
    write(pair_copy / MODELING, (pair_copy / MODELING).read_text() + "\n# of 0.0.9\n")
    hashes = {MODELING: layout.sha256(pair_copy / MODELING)}
    monkeypatch.setitem(code_check.EARLIER_RELEASES, "0.0.9", hashes)
    assert warnings(pair_copy) == [("mixed-code", ""), NO_CARD]
    assert f"0.0.9, {__version__}" in message(pair_copy, "mixed-code")


def test_a_file_that_did_not_change_between_releases_is_of_each_of_them(pair_copy, monkeypatch, found):
    unchanged = {CONFIGURATION: layout.sha256(pair_copy / CONFIGURATION)}
    monkeypatch.setitem(code_check.EARLIER_RELEASES, "0.0.9", {**unchanged, MODELING: "0" * 64})
    report = verify_checkpoint(pair_copy)
    assert found(report, "warning") == [NO_CARD]
    assert {f.message for f in report.findings if f.code == "code"} == {f"is ours, of release {__version__}."}


def test_the_releases_of_the_package_are_known_by_both_files():
    assert set(code_check.EARLIER_RELEASES) >= {"0.1.0", "0.2.0"}
    for files in code_check.EARLIER_RELEASES.values():
        assert sorted(files) == sorted(layout.CODE)
        assert all(len(digest) == 64 and int(digest, 16) for digest in files.values())


def test_code_that_auto_map_names_must_be_there(pair_copy, errors):
    (pair_copy / MODELING).unlink()
    assert errors(pair_copy) == [("code-missing", MODELING)] * 2
    assert "modeling_electra_rtd.ElectraRTDForPreTraining" in verify_checkpoint(pair_copy).errors[0].message


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("from .lost import x", "lost.py"),
        ("from . import lost", "lost.py"),
        ("def f():\n    from .a.lost import x", "a/lost.py"),
        ("try:\n    from ..lost import x\nexcept ImportError:\n    pass", "../lost.py"),
    ],
)
def test_a_relative_import_of_what_is_not_there_is_an_error(pair_copy, line, file, errors, message, write):
    write(pair_copy / MODELING, (pair_copy / MODELING).read_text() + f"\n{line}\n")
    assert errors(pair_copy) == [("import-unresolved", MODELING)]
    assert f"imports {file}, which is not there" in message(pair_copy, "import-unresolved")
    write(pair_copy / "lost.py", "x = 1\n")
    write(pair_copy / "a" / "lost.py", "x = 1\n")
    assert errors(pair_copy) == ([("import-unresolved", MODELING)] if file.startswith("..") else [])


@pytest.mark.parametrize("text", ["def f(:\n", b"\x00", b"\xff\xfe", "(" * 5000, "x = " + "-" * 10**5 + "1"])
def test_code_that_is_not_python_is_an_error(pair_copy, text, errors, write):
    write(pair_copy / MODELING, text)
    assert errors(pair_copy) == [("code-unreadable", MODELING)]


# ------------------------------------------------------------------------------------------- the exports, the card


def test_an_export_of_other_weights_is_a_warning(exported, message, warnings, edit_weights):
    folder = exported
    edit_weights(folder, lambda tensors: tensors[QUERY].fill_(0.5))
    expected = [NO_CARD, ("stale-export", "discriminator/model.safetensors")]
    assert warnings(folder) == expected
    assert f"{QUERY.removeprefix('discriminator.')} differs" in message(folder, "stale-export")


def test_an_export_that_lacks_a_tensor_is_an_error(exported, errors, message, edit_weights):
    folder = exported
    lost = QUERY.removeprefix("discriminator.")
    edit_weights(folder, lambda tensors: tensors.pop(lost), "discriminator/model.safetensors")
    assert errors(folder) == [("weights-missing", "discriminator/model.safetensors")]
    assert f"lacks {lost}" in message(folder, "weights-missing")


def test_an_export_with_a_tensor_that_the_pair_has_not_is_an_error(exported, errors, edit_weights):
    folder = exported
    edit_weights(folder, lambda tensors: tensors.update(extra=torch.ones(1)), "generator/model.safetensors")
    assert errors(folder) == [("weights-unexpected", "generator/model.safetensors")]


def test_an_export_is_as_well_checked_for_its_files(exported, errors, write):
    folder = exported
    write(folder / "discriminator" / WEIGHTS, b"garbage")
    (folder / "generator" / WEIGHTS).unlink()
    lost = ("no-weights", "generator/model.safetensors")
    assert sorted(errors(folder)) == [lost, ("weights-unreadable", "discriminator/model.safetensors")]


GOOD_CARD = """---
license: apache-2.0
language:
- ko
- en
base_model: monologg/koelectra-base-v3-generator
base_model_relation: finetune
datasets:
- klue
library_name: transformers
pipeline_tag: feature-extraction
model-index:
- name: pair
  results: []
---
# Pair
"""


def test_a_card_in_order_is_mentioned_and_nothing_is_missing_then(pair_copy, found, write):
    write(pair_copy / "README.md", GOOD_CARD)
    report = verify_checkpoint(pair_copy)
    assert found(report, "warning") == [] and ("card", "README.md") in found(report, "info")


def alias_bomb(key):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for name, before in zip(string.ascii_lowercase[1:12], string.ascii_lowercase, strict=False):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join([*lines, f"{key}: *l"])


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        (None, "no metadata block"),
        ("license: [", "not YAML"),
        ("date: 2020-13-45", "not YAML"),
        ("a: " + "[" * 1500, "not YAML"),
        ("- a", "are a list"),
        ("license: Apache 2.0", "`license` is 'Apache 2.0'"),
        ("language: Korean (South)", "`language` is 'Korean (South)'"),
        ("language: [ko, 5]", "`language` is 5"),
        ("base_model: a/b/c", "`base_model` is 'a/b/c'"),
        ("datasets: [a b]", "`datasets` is 'a b'"),
        ("library_name: Transformers", "`library_name`"),
        ("pipeline_tag: Fill Mask", "`pipeline_tag`"),
        ("base_model_relation: child", "`base_model_relation` is 'child'"),
        ("base_model_relation: [finetune]", "`base_model_relation` is ['finetune']"),
        ("model-index: {name: x}", "`model-index`"),
        ("model-index: [{name: x}]", "`model-index`"),
        (alias_bomb("license"), "`license` is ["),
        (alias_bomb("base_model_relation"), "`base_model_relation` is ["),
    ],
)
def test_a_card_that_the_hub_would_not_like_is_a_warning(pair_copy, metadata, says, message, warnings, write):
    write(pair_copy / "README.md", "# Pair\n" if metadata is None else f"---\n{metadata}\n---\n# Pair\n")
    assert warnings(pair_copy) == [("card-invalid", "README.md")]
    text = message(pair_copy, "card-invalid")
    assert says in text and len(text) < 300


# ------------------------------------------------------------------------------------------------------ execution


def add_code(folder, line):
    path = folder / MODELING
    text = path.read_text()
    path.write_text(text + f"\n{line}\n")


def test_code_runs_only_where_it_is_asked_for_and_sees_no_token(pair_copy, marker, monkeypatch, found):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("My_Token_2", "hf_secret")
    monkeypatch.setenv("SEEN", "yes")
    add_code(pair_copy, f"import json, os; open({str(marker)!r}, 'w').write(json.dumps(dict(os.environ)))")
    assert verify_checkpoint(pair_copy).ok
    assert not marker.exists()
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [] and ("execution", "") in found(report, "info")
    environment = json.loads(marker.read_text())
    assert environment["SEEN"] == "yes" and environment["HF_HUB_OFFLINE"] == "1"
    assert "hf_secret" not in environment.values()
    assert [name for name in environment if "TOKEN" in name.upper()] == []
    assert not os.path.exists(environment["HF_HOME"])


def test_code_of_a_checkpoint_with_errors_is_not_run(pair_copy, marker, found, write):
    add_code(pair_copy, f"open({str(marker)!r}, 'w')")
    write(pair_copy / "pytorch_model.bin")
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [("pickle", "pytorch_model.bin")] and ("not-executed", "") in found(report, "info")
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import os; os._exit(0)", "exit status 0"),
        (
            "def eval(self):\n    torch.nn.init.zeros_(self.generator.generator_lm_head.bias)\n"
            "    return self.train(False)\n\nElectraRTDForPreTraining.eval = eval",
            "generator.generator_lm_head.bias is not loaded as it is stored",
        ),
        (
            "ElectraRTDForPreTraining.forward = lambda self, **inputs: ElectraRTDOutput(loss=torch.tensor(torch.nan), "
            "logits=torch.zeros(2, 16))",
            "the loss is nan",
        ),
    ],
)
def test_code_that_fails_or_gives_no_numbers_is_an_error(pair_copy, line, says, found):
    add_code(pair_copy, line)
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [("execution", "")]
    assert says in report.errors[0].message


def test_code_that_does_not_end_is_an_error(pair_copy, monkeypatch, found):
    monkeypatch.setattr("electra_rtd.hub_tools.checks.execution.SECONDS", 0.1)
    report = verify_checkpoint(pair_copy, execute=True)
    assert found(report) == [("execution", "")] and "within 0.1 seconds" in report.errors[0].message


def test_links_are_executed_as_files(pair_copy, tmp_path, monkeypatch, write):
    """transformers 5.10.1 to 5.12.1 find no second code file beside a link."""
    linked = tmp_path / "linked"
    (linked / "sub").mkdir(parents=True)
    for file in pair_copy.iterdir():
        (linked / file.name).symlink_to(file)
    write(linked / "sub" / "notes.md")
    seen = {}

    def run(command, **options):
        folder = Path(command[-1])
        seen.update({path.relative_to(folder).as_posix(): path.is_symlink() for path in folder.rglob("*.*")})
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    verify_checkpoint(linked, execute=True)
    assert seen[MODELING] is False and "sub/notes.md" in seen and not any(seen.values())


# --------------------------------------------------------------------------------------------------- repositories


def test_a_sound_repository_is_reported_with_its_commit(hub, repo, found):
    report = verify_checkpoint(repo)
    assert (report.source, report.commit) == (repo, hub.head(repo))
    assert found(report) == [] and found(report, "warning") == [NO_CARD]
    assert str(report).startswith(f"alice/pair at {hub.head(repo)}: ok (0 errors, 1 warnings,")


@pytest.mark.parametrize("kind", ["tree", "resolve", "lfs-download"])
def test_everything_is_of_one_commit_even_if_the_branch_moves_meanwhile(hub, repo, kind, found):
    before = hub.head(repo)
    hub.before(kind, lambda: hub.commit(repo, {CONFIG: b"{}", "pytorch_model.bin": b"x", MODELING: b"import os"}))
    report = verify_checkpoint(repo)
    assert hub.head(repo) != before and report.commit == before
    assert found(report) == [] and found(report, "warning") == [NO_CARD]


def test_a_revision_is_a_branch_or_a_commit(hub, repo, errors):
    sound = hub.head(repo)
    hub.commit(repo, {CONFIG: None})
    assert errors(repo) == [("no-config", CONFIG)]
    assert verify_checkpoint(repo, revision=sound).commit == sound


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pytorch_model.bin", "pickle"),
        ("optimizer.pt", "pickled-trainer-state"),
        ("tf_model.h5", "other-weights"),
        ("../../escaped", "unsafe-path"),
        ("/tmp/escaped", "unsafe-path"),
        (".git/hooks/post-checkout", "unsafe-path"),
        ("CONFIG.json", "unsafe-path"),
        ("a/./b", "unsafe-path"),
    ],
)
def test_a_pickle_or_an_unsafe_name_is_refused_before_it_is_downloaded(hub, repo, name, code, found):
    hub.commit(repo, {name: b"x"})
    report = verify_checkpoint(repo)
    assert [finding_code for finding_code, _ in found(report)] == [code]
    assert report.commit == hub.head(repo)
    assert hub.downloads() == []


def test_code_of_this_very_repository_by_its_name_is_a_warning_there(
    hub, repo, pair_copy, errors, warnings, edit_json
):
    edit_json(
        pair_copy,
        lambda content: content.update(
            auto_map={name: f"{repo}--{path}" for name, path in content["auto_map"].items()}
        ),
    )
    hub.commit(repo, {CONFIG: (pair_copy / CONFIG).read_bytes()})
    assert warnings(repo) == [NO_CARD, *[("unpinned-auto-map", CONFIG)] * 3]
    assert errors(pair_copy) == [("foreign-auto-map", CONFIG)] * 3


def test_code_in_a_cache_is_not_called_linked(hub, repo, warnings):
    assert "linked-code" not in [code for code, _ in warnings(repo)]


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lambda hub: setattr(hub.repos["alice/pair"], "private", True), "check the name, log in with `hf auth login`"),
        (lambda hub: hub.tokens.clear(), "hf auth login"),
    ],
)
def test_a_repository_that_may_not_be_read_is_an_error_that_keeps_the_token(hub, repo, echo, spoil, mend):
    hub.echo_token_in_errors = echo
    bob = hub.add_user("bob")
    spoil(hub)
    with pytest.raises(HubError) as caught:
        verify_checkpoint(repo, token=bob)
    assert isinstance(caught.value, OSError)
    assert mend in str(caught.value) and "alice/pair" in str(caught.value)
    assert bob not in str(caught.value) and caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_private_repository_is_read_by_its_owner_only(hub, repo):
    hub.repos[repo].private = True
    with pytest.raises(HubError, match="log in with `hf auth login`, or give a token"):
        verify_checkpoint(repo)
    assert verify_checkpoint(repo, token=hub.alice).ok


def test_a_missing_revision_is_an_error(hub, repo):
    with pytest.raises(HubError, match="has no such revision: give a branch, a tag or a full commit hash"):
        verify_checkpoint(repo, revision="nowhere")


@pytest.mark.parametrize("kind", ["lfs-download", "resolve"])
def test_a_flipped_bit_is_noticed_and_downloaded_again(hub, repo, kind, found):
    fault = hub.fault(kind, flip_bit=True)
    report = verify_checkpoint(repo)
    assert fault.hits == 1
    assert found(report) == [] and found(report, "warning") == [NO_CARD]


def test_bits_that_flip_for_ever_are_an_error(hub, repo):
    hub.fault("lfs-download", flip_bit=True, times=None)
    with pytest.raises(HubError, match=r"model.safetensors of alice/pair came damaged twice .* Try again later"):
        verify_checkpoint(repo)
    hub.clear_faults()
    assert verify_checkpoint(repo).ok


def test_a_hostile_state_in_a_repository_is_read_and_not_run(hub, repo, marker, evil, errors):
    hub.commit(repo, {"checkpoint-5/optimizer.pt": torch_bytes(evil)})
    assert errors(repo) == [("pickle", "checkpoint-5/optimizer.pt")]
    assert not marker.exists()


def test_many_pickles_in_one_archive_are_not_all_read_into_memory(pair_copy, monkeypatch, errors):
    monkeypatch.setattr("electra_rtd.hub_tools.checks.pickles.LARGEST_PICKLE", 1000)
    with zipfile.ZipFile(pair_copy / "training_args.bin", "w") as archive:
        for number in range(3):
            archive.writestr(f"archive/{number}.pkl", pickle.dumps("x" * 500, protocol=2))
    assert errors(pair_copy) == [("pickle", "training_args.bin")]
