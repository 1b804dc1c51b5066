"""The code files: ours, of a release that is known, or listed; each import leads to a file that is there."""

import shutil

import pytest

from electra_rtd import __version__
from electra_rtd.hub_tools import layout, verify_checkpoint
from electra_rtd.hub_tools.checks import code as code_check


MODELING = "modeling_electra_rtd.py"
CONFIGURATION = "configuration_electra_rtd.py"
NO_CARD = ("no-card", "README.md")


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


def test_the_releases_of_the_package_are_known_by_all_their_files():
    assert set(code_check.EARLIER_RELEASES) >= {"0.1.0", "0.2.0"}
    for files in code_check.EARLIER_RELEASES.values():
        assert {MODELING, CONFIGURATION} <= files.keys() <= layout.CODE_EVER
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
