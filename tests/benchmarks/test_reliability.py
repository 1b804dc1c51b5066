"""The frame of what is measured of reliability: files of results, the page, and what did not hold."""

import json
import signal
import sys
from types import SimpleNamespace

import pytest

from benchmarks.reliability import course, kills, page, signals


FIGURES = {"killed": 3, "failures": []}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """`measured(figures, *words)`: the command with a module that finds these figures. Returns: status, its page."""

    def run(figures, *words):
        asked = []
        module = SimpleNamespace(
            measure=lambda options: asked.append(options) or figures,
            tables=lambda found: f"{found['killed']} were killed",
        )
        monkeypatch.setitem(sys.modules, "benchmarks.reliability.kills", module)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        folders = ["--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
        status = course.main(["kills", "--size", "small", *folders, *words])
        return SimpleNamespace(status=status, page=(tmp_path / "out" / "reliability.md").read_text(), asked=asked)

    return run


def section(text):
    return text.partition("<!-- bench:reliability-kills-cpu -->")[2].partition("<!-- /bench")[0]


def test_what_was_measured_stands_in_a_file_and_in_its_section_of_the_page(measured, tmp_path):
    found = measured(FIGURES, "--seed", "3")
    assert found.status == 0 and "3 were killed" in section(found.page)
    assert "`python -m benchmarks.reliability kills --size small --seed 3`" in found.page
    written = json.loads((tmp_path / "out" / "reliability-kills-cpu.json").read_text())
    assert written["figures"] == FIGURES and str(tmp_path) not in json.dumps(written)
    (options,) = found.asked
    assert (options.size, options.seed, options.threads) == ("small", 3, 1)
    assert options.work == (tmp_path / "work" / "kills").resolve() and list(options.work.iterdir()) == []
    assert "3 were killed" not in page.PAGE.read_text(encoding="utf-8")


def test_what_did_not_hold_is_said_first_and_is_the_exit_status(measured, capsys):
    found = measured({"killed": 3, "failures": ["run 2 ends at other weights"]})
    assert found.status == 1 and "did not hold: kills: run 2 ends at other weights" in capsys.readouterr().err
    shown = section(found.page)
    assert shown.index("**Did not hold:** run 2 ends at other weights") < shown.index("3 were killed")


def test_the_page_has_a_place_for_everything_that_can_be_measured():
    text = page.PAGE.read_text(encoding="utf-8")
    for what in page.WHATS:
        assert text.count(f"<!-- bench:{page.name_of(what)} -->") == 1, what


def test_wrong_words_are_refused(capsys):
    for words, said in (
        (["kill"], "kill cannot be measured: WHAT is one of kills"),
        (["kills", "--size", "small"], "give a folder for its results with --output"),
    ):
        with pytest.raises(SystemExit):
            course.parse_arguments(words)
        assert said in capsys.readouterr().err


def test_a_table_of_kills_counts_by_where_they_hit():
    def kill(where, started, left=(), wrong=()):
        return {"wanted": "any moment", "in": where, "from": started, "left": list(left), "wrong": list(wrong)}

    found = [
        kill("saving", "checkpoint-2", left=["checkpoint-4 is not whole"]),
        kill("saving", "the start", wrong=["it ends at other weights, or another log"]),
        kill("exporting", "checkpoint-12"),
    ]
    text = kills.tables({"steps": 12, "log_rows": 20, "kills": found, "failures": []})
    assert "| saving | 2 | 1 | 1 | 1 | 1 of 2 |" in text and "| exporting | 1 | 0 | 1 | 0 | 1 of 1 |" in text
    assert "| **all** | 3 | 1 | 2 | 1 | **2 of 3** |" in text


def test_a_signal_that_loses_steps_or_says_nothing_is_wrong():
    good = (
        "electra-rtd adapt: stopped by SIGTERM at step 7.\nout/checkpoint-7 is whole.\n"
        "  electra-rtd adapt --output_dir out --resume\n"
    )
    asked = [signal.SIGTERM]
    assert signals._wrong(0, good, signals.SAVES, asked) == []
    assert signals._wrong(143, good, signals.SAVES, asked) == ["the status is 143, not 0"]
    lost = good.replace("is whole.", "is whole; the 1 step since then are lost.")
    assert signals._wrong(0, lost, signals.SAVES, asked) == ["something is lost"]
    assert signals._wrong(0, good.replace("--resume", ""), signals.SAVED, asked) == ["no command that goes on"]
    assert signals._wrong(143, "Traceback (most recent", signals.AT_ONCE, asked) == ["a traceback"]
