"""The files of a checkpoint: which there are, what they are called, and that each can be read."""

import os
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_rtd.hub_tools import layout, verify_checkpoint
from electra_rtd.hub_tools.checks.files import check_names


CONFIG = "config.json"
WEIGHTS = "model.safetensors"
MODELING = "modeling_electra_rtd.py"
NO_CARD = ("no-card", "README.md")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"


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


def test_a_folder_of_links_to_files_is_fine_but_for_old_releases(pair_copy, tmp_path, warnings):
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in pair_copy.iterdir():
        (linked / file.name).symlink_to(file)
    linked_code = [("linked-code", name) for name in layout.CODE]
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
