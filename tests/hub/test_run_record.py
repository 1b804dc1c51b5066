"""The record of a run: what is written comes back, and of what somebody else made only what a run writes."""

import json
import math
from pathlib import Path

import pytest
from transformers.trainer_callback import TrainerState

from electra_rtd.hub_tools.run_record import (
    HELD_OUT_FILE,
    RESULTS_FILE,
    STATE_FILE,
    RunRecord,
    TokenCounts,
    callback_state,
    earlier_results,
    is_number,
    read_own,
    read_record,
    write_record,
)


LOG = [
    {"step": 0, "eval_loss": 3.0},
    {"step": 2, "loss": 2.5, "lr": 0.1},
    {"step": 2, "health": "generator_stuck", "message": "nothing learnt."},
    {"step": 4, "eval_loss": 2.0},
    {"step": 4, "train_loss": 2.2, "train_runtime": 8.0},
]
BINS = {"edges": [0.0, 0.5, 1.0], "count": [3, 0], "replaced": [1, 0], "mean_probability": [0.25, None]}
COUNTS = {"masked": [2], "gen_top1": [0], "gen_top5": [1], "replaced": [2], "caught": [1], "false_alarms": [0]}
SIDE = {"loss": 2.0, "calibration": BINS, "classes": {"rare": {"tokens": 3, "replaced": 2, "caught": 1}}}
SIDE["classes"]["rare"]["false_alarms"] = 0


def held_out():
    tokens = {"token": ["산"], "class": ["korean"], "count": [3], "before": COUNTS, "after": COUNTS}
    return json.loads(json.dumps({"before": SIDE, "after": SIDE, "tokens": tokens}))


def write(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def test_what_is_written_comes_back(tmp_path):
    state = TrainerState(global_step=4, max_steps=4, log_history=LOG, best_model_checkpoint="out/checkpoint-4")
    results = {"steps": 4, "before": {"loss": 3.0}, "settings": {"seed": 0}, "datasets": ["a/b"], "fast": [{}]}
    write_record(tmp_path, state, results, held_out())
    record = read_record(tmp_path)
    assert record.log == LOG and record.results == results
    assert record.state["global_step"] == 4 and record.state["best_model_checkpoint"] == "out/checkpoint-4"
    assert record.training == [LOG[1]] and record.evaluations == [LOG[0], LOG[3]]
    assert record.signs == [LOG[2]] and record.end == LOG[4]
    assert record.held_out.before == record.held_out.after == SIDE
    counts = {name: column[0] for name, column in COUNTS.items()}
    assert record.held_out.tokens == [TokenCounts("산", "korean", 3, counts, counts)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [RESULTS_FILE, HELD_OUT_FILE, STATE_FILE]


def test_the_names_and_the_format_are_those_of_every_release(tmp_path):
    assert (RESULTS_FILE, STATE_FILE) == ("adapt_results.json", "trainer_state.json")
    write_record(tmp_path, TrainerState(), {}, held_out())
    assert json.loads((tmp_path / "held_out.json").read_text())["format"] == 1


def test_without_counts_of_the_held_out_text_there_is_no_file_about_it(tmp_path):
    write_record(tmp_path, TrainerState(), {"steps": 0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapt_results.json", "trainer_state.json"]
    assert read_record(tmp_path).held_out is None


def test_a_figure_that_is_no_number_does_not_get_into_the_counts(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path, TrainerState(), {}, {**held_out(), "loss": math.nan})
    assert not (tmp_path / HELD_OUT_FILE).exists()


@pytest.mark.parametrize("version", ["0.1", "0.3", "0.5"])
def test_records_of_earlier_releases_read_as_before(tmp_path, version):
    results = {"before": {"loss": 3.0}, "after": {"loss": 2.0}, "steps": 4, "tokens_seen": 9, "checkpoint": "out"}
    if version > "0.1":
        results |= {"settings": {"seed": 0}, "datasets": []}
    if version > "0.2":
        results["fast"] = [{"setting": "padding", "value": "longest", "why": "as wide as its longest"}]
    if version > "0.4":
        results |= {"health": [LOG[2]], "stopped": False, "vocab_size": 80}
    write(tmp_path, STATE_FILE, {"global_step": 4, "log_history": LOG})
    write(tmp_path, RESULTS_FILE, results)
    assert read_record(tmp_path) == RunRecord(log=LOG, state={"global_step": 4}, results=results)


def test_what_is_not_there_is_empty(tmp_path):
    assert read_record(tmp_path) == read_record(tmp_path / "nothing") == RunRecord()


def test_the_state_may_lie_in_a_checkpoint(tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    write(tmp_path / "checkpoint-4", STATE_FILE, {"log_history": LOG})
    write(tmp_path, RESULTS_FILE, {"steps": 4})
    assert read_record(tmp_path, state_in=tmp_path / "checkpoint-4") == RunRecord(log=LOG, results={"steps": 4})


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"a":' * 70 + "1" + "}" * 70, " " * (64 * 2**20 + 1), "[" + "1," * 4_200_000 + "1]"]
)
def test_each_file_is_bounded_and_refused_by_name_or_passed_over(tmp_path, content):
    for name in (STATE_FILE, RESULTS_FILE, HELD_OUT_FILE):
        write(tmp_path, name, content)
        with pytest.raises(ValueError, match=name):
            read_record(tmp_path)
        assert read_record(tmp_path, forgiving=True) == RunRecord()
        (tmp_path / name).unlink()


def test_a_forgiving_reader_keeps_the_files_that_can_be_read(tmp_path):
    write_record(tmp_path, TrainerState(log_history=LOG), {"steps": 4}, held_out())
    write(tmp_path, HELD_OUT_FILE, {"format": 2})
    write(tmp_path, RESULTS_FILE, "{")
    record = read_record(tmp_path, forgiving=True)
    assert record.log == LOG and record.results == {} and record.held_out is None


def test_rows_of_a_log_hold_what_a_trainer_writes(tmp_path):
    rows = [
        {"step": 1, "loss": 1.0, "eval_loss": math.inf, "health": "nan", "x": None},
        {"step": 2, "loss": [1.0], "y": {"z": 1}, "huge": 10**400},
        {"step": "3"},
        {"step": -1},
        {"step": 1.5},
        {"step": True},
        "row",
        None,
    ]
    write(tmp_path, STATE_FILE, {"log_history": rows, "epoch": 1.5, "is_local": True, "best_model_checkpoint": 5})
    record = read_record(tmp_path)
    assert record.log == [rows[0], {"step": 2}] and record.state == {"epoch": 1.5}
    assert is_number(10**300) and not is_number(10**301) and not is_number(math.nan) and not is_number(True)


def test_results_hold_what_adapt_writes(tmp_path):
    results = {
        "settings": [1],
        "before": "x",
        "after": {"loss": 1},
        "datasets": ["a", 5],
        "fast": [{}, 3],
        "seconds": 1,
    }
    write(tmp_path, RESULTS_FILE, results)
    assert read_record(tmp_path).results == {"after": {"loss": 1}, "datasets": ["a"], "fast": [{}], "seconds": 1}


def test_counts_that_cannot_be_are_refused(tmp_path):
    for wrong in (
        {"caught": [3]},
        {"gen_top5": [3]},
        {"false_alarms": [3]},
        {"masked": [10**15 + 1]},
        {"masked": [-1]},
    ):
        content = held_out()
        content["tokens"]["after"] |= wrong
        write_record(tmp_path, TrainerState(), {}, content)
        with pytest.raises(ValueError, match=r"held_out\.json is not complete \(.*count"):
            read_record(tmp_path)


# ---- One's own run --------------------------------------------------------------------------------------------------


def test_a_log_of_any_length_keeps_a_run_from_nothing(tmp_path):
    write(tmp_path, STATE_FILE, '{"log_history": [' + "{}," * 4_300_000 + '{}], "global_step": 7}')
    assert read_record(tmp_path, forgiving=True) == RunRecord()
    assert read_own(tmp_path / STATE_FILE)["global_step"] == 7


def test_results_of_another_step_are_no_results(tmp_path):
    write(tmp_path, RESULTS_FILE, {"steps": 4, "seconds": 1.0})
    assert earlier_results(tmp_path, 4) == {"steps": 4, "seconds": 1.0}
    assert earlier_results(tmp_path, 5) == earlier_results(tmp_path / "nothing", 4) == {}


def test_the_state_of_a_callback_is_found_by_its_class(tmp_path):
    write(tmp_path, STATE_FILE, {"stateful_callbacks": {"Totals": {"args": {"tokens": 7}, "attributes": {}}}})
    assert callback_state(tmp_path, "Totals") == {"tokens": 7} and callback_state(str(tmp_path), "Other") == {}


def test_the_files_of_a_record_are_named_in_one_module():
    root, names = Path(__file__).parents[2], (RESULTS_FILE, STATE_FILE, HELD_OUT_FILE)
    files = [path for folder in ("hub_tools", "train_tools") for path in (root / folder).rglob("*.py")]
    holders = {path.name for path in files if any(f'"{name}"' in path.read_text(encoding="utf-8") for name in names)}
    assert holders == {"run_record.py", "layout.py"}  # there a bound stands beside each name that it reads
