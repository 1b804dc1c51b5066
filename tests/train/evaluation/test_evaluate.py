"""An evaluation: which runs are made, what is kept of them, how it goes on, and what a user is told."""

import functools
import importlib
import json
import logging
import shutil
import sys

import pytest

from electra_rtd import cli
from electra_rtd.train_tools import EvaluateArguments, Evaluation, evaluate
from electra_rtd.train_tools.evaluation import course
from electra_rtd.train_tools.evaluation.arms import open_arm
from electra_rtd.train_tools.evaluation.fine_tuning import FineTuned, fine_tune
from electra_rtd.train_tools.evaluation.metrics import score
from electra_rtd.train_tools.evaluation.runs import RUNS_FILE, RunStore


evaluating = importlib.import_module("electra_rtd.train_tools.evaluation.evaluate")
ARMS = functools.cache(open_arm)
WORDS = "나 너 우리 학교 책 비 눈 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글".split()  # noqa: SIM905
ROWS = 60
BRIEF = {"seeds": 2, "learning_rates": [1e-3, 5e-3], "grid_seeds": 1, "epochs": 1, "lang": "en", "output_dir": "out"}


@pytest.fixture(autouse=True)
def opened_once(monkeypatch):
    """Arms are opened once for all tests of a process: no run changes them."""
    monkeypatch.setattr(evaluating, "open_arm", ARMS)


@pytest.fixture
def labels(tmp_path):
    """A file of 60 sentences about mountains or rivers."""
    lines = [f"{WORDS[row % 19]} {'산강'[row % 2]} {WORDS[(7 * row) % 19]} {row},{row % 2}" for row in range(ROWS)]
    (tmp_path / "labels.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return "labels.csv"


@pytest.fixture
def given(labels, pair_folders, saved_pair):
    """What two encoders are compared with: fields of `EvaluateArguments`."""
    return {"labels": labels, "before": str(pair_folders[1]), "after": str(saved_pair), **BRIEF}


class Calls(list):
    """Every fine-tuning that is really made: arm, rows, seed and rate; `scores` answers in place of a network."""

    def __init__(self):
        super().__init__()
        self.scores = None
        self.stop_at = None

    def __call__(self, arm, split, *, seed, learning_rate, **options):
        if len(self) == self.stop_at:
            raise KeyboardInterrupt
        self.append((arm.name, len(split.train), seed, learning_rate))
        if self.scores is None:
            return fine_tune(arm, split, seed=seed, learning_rate=learning_rate, **options)
        right = self.scores(arm.name, len(split.train), seed, learning_rate)
        targets = split.test.targets
        said = [target if row < right * len(targets) else 1 - target for row, target in enumerate(targets)]
        found = score("single", said, targets, split.test.names)
        validation = dict.fromkeys(found, right)
        return FineTuned(validation, found, said, None, seconds=0.1, steps=3, cut_off=0)


@pytest.fixture
def calls(monkeypatch):
    calls = Calls()
    monkeypatch.setattr(course, "fine_tune", calls)
    return calls


@pytest.fixture
def scored(calls):
    """As `calls`, where each fine-tuning gets what its rate and arm say."""
    calls.scores = lambda arm, rows, seed, rate: {1e-3: 0.5, 5e-3: 0.8 if arm == "after" else 0.4}[rate]
    return calls


# ---- Which runs ----


def test_the_grid_chooses_for_each_arm_and_the_other_seeds_run_at_its_rate_alone(scored, given):
    evaluation = evaluate(EvaluateArguments(**given))
    assert evaluation.learning_rates == {"before": {36: 1e-3}, "after": {36: 5e-3}}
    grid = [(arm, 36, 0, rate) for arm in ("before", "after") for rate in (1e-3, 5e-3)]
    assert sorted(scored) == sorted([*grid, ("before", 36, 1, 1e-3), ("after", 36, 1, 5e-3)])
    assert [(run.seed, run.learning_rate) for run in evaluation.chosen("after", 36)] == [(0, 5e-3), (1, 5e-3)]
    assert len(evaluation.of("after", 36)) == 3
    assert (evaluation.edge("before", 36), evaluation.edge("after", 36)) == ("lowest", "highest")
    (compared,) = evaluation.comparisons
    assert (compared["arm"], compared["against"], compared["seeds"]) == ("after", "before", 2)
    assert compared["difference"] == pytest.approx(evaluation.mean("after", 36) - evaluation.mean("before", 36))


def test_of_equal_rates_the_one_nearest_to_electras_own_is_taken(scored, given):
    scored.scores = lambda *_: 0.75
    evaluation = evaluate(EvaluateArguments(**{**given, "learning_rates": [1e-5, 2e-4, 1e-2]}))
    assert evaluation.learning_rates["before"] == {36: 2e-4} and evaluation.edge("before", 36) is None


def test_one_rate_needs_no_grid(scored, given):
    scored.scores = lambda *_: 0.75
    evaluate(EvaluateArguments(**{**given, "after": None, "learning_rates": [3e-4], "grid_seeds": 2}))
    assert scored == [("before", 36, 0, 3e-4), ("before", 36, 1, 3e-4)]


def test_a_curve_has_its_own_rates_and_the_same_rows_of_a_seed_in_every_arm(scored, given, monkeypatch):
    seen = []
    monkeypatch.setattr(
        course, "fine_tune", lambda arm, split, **rest: seen.append(split.train.texts) or scored(arm, split, **rest)
    )
    scored.scores = lambda arm, rows, seed, rate: {1e-3: 0.5, 5e-3: 0.4 if rows == 8 else 0.8}[rate]
    evaluation = evaluate(EvaluateArguments(**given, train_rows=[36, 8]))
    assert evaluation.learning_rates["after"] == {8: 1e-3, 36: 5e-3} and evaluation.train_rows == [8, 36]
    assert [one["train_rows"] for one in evaluation.comparisons] == [8, 36]
    texts = dict.fromkeys((seed, rows, tuple(text)) for (_, rows, seed, _), text in zip(scored, seen, strict=True))
    assert len(texts) == 4  # one list of them for each seed and number, whatever the arm and rate


# ---- What is kept ----


def test_after_an_interrupt_the_same_call_does_what_is_left_and_nothing_differs(calls, given):
    whole = evaluate(EvaluateArguments(**{**given, "output_dir": "whole"}))
    made = list(calls)
    calls.clear()
    calls.stop_at = 3
    with pytest.raises(KeyboardInterrupt, match=r"after 3 of 6 runs.\n\d runs are kept in out/runs.jsonl.\n"):
        evaluate(EvaluateArguments(**given))
    calls.stop_at = None
    again = evaluate(EvaluateArguments(**given))
    assert calls == made
    assert [(run.seed, run.predictions, run.scores) for run in again.runs] == [
        (run.seed, run.predictions, run.scores) for run in whole.runs
    ]
    assert again.comparisons == whole.comparisons
    calls.clear()
    evaluate(EvaluateArguments(**given))
    assert calls == []


def test_a_torn_line_is_left_out_and_the_next_one_is_whole(scored, given, caplog):
    evaluate(EvaluateArguments(**given))
    with open(f"out/{RUNS_FILE}", "rb+") as file:
        data = file.read()
        file.truncate(len(data) - 9)
    kept = len(RunStore("out"))
    assert "1 of" in caplog.text and "cannot be read, and are done again" in caplog.text
    scored.clear()
    evaluate(EvaluateArguments(**given))
    assert len(scored) == 1 and len(RunStore("out")) == kept + 1
    with open(f"out/{RUNS_FILE}", encoding="utf-8") as file:
        assert all(map(json.loads, file))


@pytest.mark.parametrize(
    "line", ["no json", "[1]", '{"key": "a"}', '{"key": "a", "run": {"arm": 1, "other": 2}}', "null"]
)
def test_a_line_that_is_no_run_is_left_out(line, tmp_path, caplog):
    (tmp_path / RUNS_FILE).write_text(line + "\n")
    assert len(RunStore(tmp_path)) == 0 and "1 of 1 runs cannot be read" in caplog.text


def test_what_a_result_depends_on_makes_a_run_another_one(scored, given):
    scored.scores = lambda arm, rows, seed, rate: {1e-3: 0.5, 2e-3: 0.1, 5e-3: 0.4}[rate]
    evaluate(EvaluateArguments(**given))
    for changed, made in (
        ({"seeds": 3}, 2),  # one more for each arm
        ({"learning_rates": [1e-3, 2e-3, 5e-3]}, 2),
        ({"after": None, "arms": [f"new=random:{given['after']}"]}, 3),  # before is there
        ({"epochs": 2}, 6),
        ({"batch_size": 16}, 6),
        ({"max_length": 16}, 6),
        ({"layer_decay": 0.9}, 6),
        ({"train_rows": [20]}, 6),
        ({"metric": "macro_f1"}, 0),
        ({"arms": [f"twin={given['before']}"]}, 0),
        ({}, 0),
    ):
        scored.clear()
        shutil.copytree("out", f"copy-{changed}")
        evaluate(EvaluateArguments(**{**given, **changed, "output_dir": f"copy-{changed}"}))
        assert len(scored) == made, changed


def test_other_labels_make_other_runs(scored, given):
    evaluate(EvaluateArguments(**given))
    scored.clear()
    with open(given["labels"], "a", encoding="utf-8") as file:
        file.write("나 산 나 나 나,0\n")
    evaluate(EvaluateArguments(**given))
    assert len(scored) == 6


def test_two_at_a_time_in_one_folder_are_refused(scored, given):
    def other(*_):
        with pytest.raises(ValueError, match=r"`output_dir=out`: another run .* is writing into it"):
            evaluate(EvaluateArguments(**given))
        return 0.5

    scored.scores = other
    evaluate(EvaluateArguments(**{**given, "after": None, "learning_rates": [1e-3], "seeds": 1}))


def test_what_is_written_is_read_again_without_the_predictions(scored, given):
    evaluation = evaluate(EvaluateArguments(**given))
    read = Evaluation.read("out")
    assert read.as_dict() == evaluation.as_dict() and read.runs[0].predictions == []
    assert read.learning_rates == evaluation.learning_rates and read.chosen("after", 36)[1].seed == 1
    assert read.task["kind"] == "single" and read.task["names"] == ["0", "1"] and read.task["test"] == 12
    assert read.settings["learning_rates"] == [1e-3, 5e-3] and read.versions["electra-rtd"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "has the format None, not 1"),
        ("[]", "has the format None"),
        ('{"format": 1}', "is no evaluation"),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_evaluation_is_not_read(content, said, tmp_path):
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(ValueError, match=said):
        Evaluation.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="electra-rtd evaluate"):
        Evaluation.read(tmp_path / "none")


# ---- Probe and floor ----


def test_a_probe_fine_tunes_nothing_and_has_naive_bayes_beside_it(calls, given):
    evaluation = evaluate(EvaluateArguments(**given, probe=True, arms=[f"random=random:{given['before']}"]))
    assert calls == [] and evaluation.learning_rates == {}
    assert [(run.arm, run.way, run.seed) for run in evaluation.runs] == [
        ("naive_bayes", "naive_bayes", None),
        *((name, "probe", None) for name in ("before", "after", "random")),
    ]
    assert [(one["arm"], one["way"]) for one in evaluation.comparisons] == [("after", "probe"), ("random", "probe")]
    assert evaluation.chosen("naive_bayes", 36, "naive_bayes")[0].scores["accuracy"] == 1.0
    again = evaluate(EvaluateArguments(**given, probe=True))
    assert again.runs[1] == evaluation.runs[1]


def test_a_probe_of_a_part_of_the_rows_is_one_of_each_seed(given):
    evaluation = evaluate(EvaluateArguments(**given, probe=True, train_rows=[10]))
    assert [(run.way, run.seed) for run in evaluation.of("before", 10, "probe")] == [("probe", 0), ("probe", 1)]
    assert evaluation.comparisons[0]["seeds"] == 2


# ---- What a user is told ----


def test_the_same_weights_under_two_names_are_said_to_be_the_same(scored, given, caplog):
    evaluate(EvaluateArguments(**{**given, "after": given["before"]}))
    assert "before and after are the same network with the same weights" in caplog.text


def test_a_tokenizer_that_does_not_know_the_text_is_named(scored, given, tmp_path, caplog):
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8").replace("산", "x산").replace("강", "y강")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    evaluate(EvaluateArguments(**given))
    assert "of the tokens of the test rows are [UNK]" in caplog.text


def test_where_nobody_watches_each_run_is_a_line_with_the_time_left(scored, given, caplog):
    with caplog.at_level(logging.INFO, "electra_rtd"):
        evaluate(EvaluateArguments(**given))
    assert (
        "labels.csv: single (text: text; label: label, 2 classes); 36 training, 12 validation, 12 test" in caplog.text
    )
    assert "1/6 before, 36 rows, seed 0, rate 0.001: accuracy 0.500, 0 s" in caplog.text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": None}, "Give the labelled rows: `labels=FILE`"),
        ({"before": None, "after": None}, "Give the encoders to compare"),
        ({"arms": ["a"]}, "`arms` has 'a': give NAME=PATH"),
        ({"arms": ["a b=c"]}, "give NAME=PATH"),
        ({"arms": ["after=c"]}, "the name after is taken"),
        ({"arms": ["naive_bayes=c"]}, "the name naive_bayes is taken"),
        ({"seeds": 0}, "`seeds` is 0"),
        ({"epochs": 0}, "`epochs` is 0"),
        ({"train_rows": [1]}, "`train_rows` is 1"),
        ({"train_rows": [20, 37]}, "`train_rows=37`: there are 36 rows"),
        ({"learning_rates": [0.0]}, "`learning_rates` has 0"),
        ({"learning_rates": [float("nan")]}, "`learning_rates` has nan"),
        ({"layer_decay": 2.0}, "`layer_decay` is 2.0"),
        ({"task": "ner"}, "`task` is ner"),
        ({"metric": "f1"}, "`metric` is f1: a task of the kind single has accuracy, macro_f1, micro_f1"),
        ({"write_card": "."}, r"\. is no folder with a checkpoint"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(changed, said, calls, given, tmp_path):
    with pytest.raises(ValueError, match=said):
        evaluate(EvaluateArguments(**{**given, **changed}))
    assert calls == [] and [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_a_missing_library_is_named_with_the_command_that_installs_it(given, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match="needs scikit-learn: `pip install scikit-learn seqeval`"):
        evaluate(EvaluateArguments(**given))


# ---- The command ----


def test_the_command_fine_tunes_and_prints_a_table_or_json(given, capsys):
    argv = ["evaluate", "--labels", given["labels"], "--before", given["before"], "--arms", f"pair={given['after']}"]
    argv += ["--seeds", "2", "--learning-rates", "1e-3", "--epochs", "1", "--output-dir", "out", "--lang", "en"]
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    assert "before" in shown and "pair" in shown and "accuracy" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert cli.main([*argv, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content == Evaluation.read("out").as_dict()
    assert [one["verdict"] for one in content["comparisons"]] in (["cannot tell"], ["better"], ["worse"])


def test_errors_of_the_command_speak_in_options(given, capsys):
    assert cli.main(["evaluate", "--labels", given["labels"], "--before", "nowhere", "--seeds", "0"]) == 2
    assert "electra-rtd evaluate: error: --seeds is 0" in capsys.readouterr().err
    assert cli.main(["evaluate", "--labels", given["labels"], "--before", "./nowhere"]) == 2
    assert "The arm before (./nowhere): there is no folder with a checkpoint" in capsys.readouterr().err
