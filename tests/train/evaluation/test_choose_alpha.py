"""How far back to the base: which alpha is taken where, and that what is written is the checkpoint of that alpha."""

import json
import random
from pathlib import Path

import pytest
from safetensors.torch import load_file

from electra_rtd import cli
from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.run_record import read_record
from electra_rtd.train_tools import EvaluateArguments
from electra_rtd.train_tools.evaluation.choose_alpha import ChosenAlpha, choose_alpha, pick, reason
from electra_rtd.train_tools.evaluation.evaluation import Evaluation, Run
from electra_rtd.train_tools.evaluation.labels import Labels
from electra_rtd.train_tools.evaluation.metrics import score


ROWS, SEEDS = 300, 4
TARGETS = [row % 2 for row in range(ROWS)]
TEST = Labels("single", ["text"] * ROWS, TARGETS, ("neg", "pos"))
FIRST, SECOND = "나 너 우리 학교 책 비".split(), "눈 산 강 바다 사람 시간".split()  # noqa: SIM905


def predictions(right, seed):
    """So many right answers, nearly the same rows in each seed."""
    drawn = random.Random(7).sample(range(ROWS), ROWS)
    wrong = set(drawn[round(right) + seed % 2 :])
    return [1 - target if row in wrong else target for row, target in enumerate(TARGETS)]


def evaluated(way="fine_tuning", **rights):
    """An evaluation of alphas 0, 0.5 and 1 with this share of right answers each."""
    arms = {f"alpha_{alpha}": alpha for alpha in ("0", "0.5", "1")}
    made = Evaluation({"kind": "single", "metric": "accuracy", "files": {"labels": "dev.csv"}}, arms)
    for arm, share in zip(arms, rights.values(), strict=True):
        made.learning_rates[arm] = {100: 1e-4}
        for seed in range(SEEDS) if way == "fine_tuning" else [None]:
            said = predictions(share * ROWS, seed or 0)
            scores = score("single", said, TARGETS, TEST.names)
            rate = 1e-4 if way == "fine_tuning" else None
            made.runs.append(Run(arm, 100, seed, rate, way, {}, scores, predictions=said))
    return made


@pytest.mark.parametrize(
    ("base", "half", "adapted", "taken", "best"),
    [
        (0.70, 0.80, 0.90, 1.0, 1.0),  # each step is worth it
        (0.70, 0.90, 0.905, 0.5, 1.0),  # half the way is as good
        (0.90, 0.905, 0.91, 0.0, 1.0),  # a better mean within the noise: keep the base
        (0.90, 0.70, 0.60, 0.0, 0.0),  # the adaptation did harm
        (0.70, 0.90, 0.70, 0.5, 0.5),  # in between is best
        (0.80, 0.80, 0.80, 0.0, 0.0),  # nothing differs
    ],
)
@pytest.mark.parametrize("way", ["fine_tuning", "probe"])
def test_the_smallest_alpha_is_taken_that_the_best_does_not_beat(base, half, adapted, taken, best, way):
    assert pick(evaluated(way, base=base, half=half, adapted=adapted), TEST) == (taken, best)


@pytest.mark.parametrize(
    ("alpha", "best", "said"),
    [
        (0.0, 0.0, "alpha 0 is taken, the base as it is: no larger alpha has a better mean"),
        (0.0, 0.75, "alpha 0 is taken, the base as it is: alpha 0.75 has the best mean, but nobody can tell it"),
        (0.5, 0.5, "alpha 0.5 is taken: it is better than every smaller one"),
        (0.25, 1.0, "alpha 0.25 is taken: it is the smallest that nobody can tell from the best, 1."),
    ],
)
def test_a_sentence_says_why(alpha, best, said):
    chosen = ChosenAlpha(alpha, best, "out", evaluated(base=0.7, half=0.7, adapted=0.7))
    assert reason(chosen, "en").startswith(said) and reason(chosen, "en").endswith("measure on others.")
    assert f"{alpha:g}" in reason(chosen, "ko")


# ---- The whole way ----


@pytest.fixture
def checkpoints(tmp_path, save_pair, tokenizer):
    return [save_pair(tmp_path / name, tokenizer, seed=seed)[1] for seed, name in enumerate(("base", "adapted"))]


@pytest.fixture
def labels(tmp_path):
    """Sentences whose words tell which class they are of."""
    draw, rows = random.Random(0), []
    for row in range(60):
        words = [draw.choice(SECOND if row % 2 else FIRST) for _ in range(5)]
        rows.append(json.dumps({"text": " ".join(words), "label": "ab"[row % 2]}, ensure_ascii=False))
    (tmp_path / "dev.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return str(tmp_path / "dev.jsonl")


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def test_the_merged_checkpoint_is_that_of_the_alpha_and_says_how_it_was_chosen(checkpoints, labels, tmp_path):
    arguments = EvaluateArguments(labels=labels, before="x", seeds=2, learning_rates=[1e-3], epochs=1, max_length=16)
    chosen = choose_alpha(*checkpoints, tmp_path / "out", arguments, alphas=[1, 0.5])
    assert list(chosen.evaluation.arms) == ["alpha_0", "alpha_0.5", "alpha_1"]
    base, adapted, out = map(weights, (*checkpoints, tmp_path / "out"))
    for name, value in out.items():
        middle = (1 - chosen.alpha) * base[name] + chosen.alpha * adapted[name]
        assert (value - middle).abs().max() < 1e-6, name
    merge = read_record(tmp_path / "out").merge
    assert merge["alpha"] == chosen.alpha
    assert merge["chosen"]["labels"] == "dev.jsonl" and merge["chosen"]["metric"] == "accuracy"
    assert list(merge["chosen"]["scores"]) == ["0", "0.5", "1"]
    # The runs stay, and say nothing of the folders that are gone.
    kept = sorted(path.name for path in (tmp_path / "out-alphas").iterdir())
    assert {"evaluation.json", "runs.jsonl"} <= set(kept) and not [name for name in kept if "merged" in name]
    text = (tmp_path / "out-alphas" / "evaluation.json").read_text(encoding="utf-8")
    assert str(tmp_path / "out-alphas") not in text
    assert json.loads(text)["arms"]["alpha_0.5"] == "0.5 of base/discriminator + 0.5 of adapted/discriminator"


def test_the_command_prints_the_table_why_and_where(checkpoints, labels, tmp_path, capsys):
    given = ["merge", *map(str, checkpoints), "--alpha", "auto", "--labels", labels, "--alphas", "1", "--probe"]
    assert cli.main([*given, "--output-dir", str(tmp_path / "out"), "--lang", "en"]) == 0
    shown = capsys.readouterr().out
    assert "Linear probe of frozen features" in shown and "alpha_1 - alpha_0" in shown
    assert "is taken" in shown and shown.splitlines()[-1] == str(tmp_path / "out")


def test_a_pair_stays_a_pair(tmp_path, make_model, tokenizer, labels):
    for seed, name in enumerate(("base", "adapted")):
        make_model(seed=seed).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    arguments = EvaluateArguments(labels=labels, before="x", probe=True)
    choose_alpha(tmp_path / "base", tmp_path / "adapted", tmp_path / "out", arguments, alphas=[1])
    assert verify_checkpoint(tmp_path / "out").ok and (tmp_path / "out" / "discriminator").is_dir()


# ---- What is refused, before any work ----


@pytest.fixture
def no_work(monkeypatch):
    module = "electra_rtd.train_tools.evaluation.choose_alpha"
    monkeypatch.setattr(f"{module}.evaluate", lambda arguments: pytest.fail("it evaluates"))


@pytest.mark.parametrize("alphas", [[1.5], [-0.1], [float("nan")], [True], ["0.5"]])
def test_alphas_are_numbers_from_0_to_1(no_work, checkpoints, labels, tmp_path, alphas):
    with pytest.raises(ValueError, match=r"`alphas` has .*: each must be a number in \[0, 1\]"):
        choose_alpha(*checkpoints, tmp_path / "out", EvaluateArguments(labels=labels, before="x"), alphas)
    assert not (tmp_path / "out-alphas").exists()


def test_a_folder_that_holds_something_is_refused_first(no_work, checkpoints, labels, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        choose_alpha(*checkpoints, tmp_path / "out", EvaluateArguments(labels=labels, before="x"))


def test_checkpoints_that_do_not_fit_are_refused_first(no_work, checkpoints, save_pair, labels, tmp_path):
    _, other = save_pair(tmp_path / "other", discriminator={"num_hidden_layers": 1})
    with pytest.raises(ValueError, match="num_hidden_layers: 2 and 1"):
        choose_alpha(checkpoints[0], other, tmp_path / "out", EvaluateArguments(labels=labels, before="x"))
    assert not (tmp_path / "out").exists() and not (tmp_path / "out-alphas").exists()


def test_one_number_of_training_rows_at_most(no_work, checkpoints, labels, tmp_path):
    arguments = EvaluateArguments(labels=labels, before="x", train_rows=[10, 20])
    with pytest.raises(ValueError, match=r"`train_rows` is .*: give one number"):
        choose_alpha(*checkpoints, tmp_path / "out", arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--alpha", "auto"], "give them with --labels FILE"),
        (["--alpha", "0.5", "--labels", "dev.csv"], "--labels has a use with --alpha auto alone"),
        (["--alpha", "0.5", "--alphas", "0", "1"], "--alphas has a use with --alpha auto alone"),
        (["--alpha", "0.5", "--probe"], "--probe has a use with --alpha auto alone"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, said, capsys):
    assert cli.main(["merge", "a", "b", "--output_dir", "c", *options]) == 2
    assert said in capsys.readouterr().err
