"""What runs when it is loaded: a pickle is an error, but for what a Trainer leaves, which is read and not run."""

import builtins
import io
import os
import pickle
import shutil
import struct
import zipfile

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.checks.pickles import judge


NO_CARD = ("no-card", "README.md")


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


def test_a_hostile_state_in_a_repository_is_read_and_not_run(hub, repo, marker, evil, errors):
    hub.commit(repo, {"checkpoint-5/optimizer.pt": torch_bytes(evil)})
    assert errors(repo) == [("pickle", "checkpoint-5/optimizer.pt")]
    assert not marker.exists()


def test_files_behind_a_linked_folder_are_not_taken_for_checked(pair_copy, tmp_path, evil, errors, write):
    write(tmp_path / "elsewhere" / "optimizer.pt", torch_bytes(evil))
    (pair_copy / "checkpoint-5").symlink_to(tmp_path / "elsewhere")
    assert errors(pair_copy) == [("not-a-file", "checkpoint-5")]


def test_many_pickles_in_one_archive_are_not_all_read_into_memory(pair_copy, monkeypatch, errors):
    monkeypatch.setattr("electra_rtd.hub_tools.checks.pickles.LARGEST_PICKLE", 1000)
    with zipfile.ZipFile(pair_copy / "training_args.bin", "w") as archive:
        for number in range(3):
            archive.writestr(f"archive/{number}.pkl", pickle.dumps("x" * 500, protocol=2))
    assert errors(pair_copy) == [("pickle", "training_args.bin")]
