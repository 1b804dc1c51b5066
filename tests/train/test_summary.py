"""The closing words of a run: what they lead with, and what they advise."""

import re
from dataclasses import replace

import pytest

from electra_rtd.train_tools import summary as summary_module
from electra_rtd.train_tools.callbacks import RTDHealthCallback
from electra_rtd.train_tools.recipes import AdaptResult
from electra_rtd.train_tools.summary import TRY, next_commands, summary, what_to_try


BEFORE = {"loss": 41.6, "mlm_loss": 6.9, "disc_loss": 0.694, "gen_acc": 0.0, "disc_acc": 0.5, "disc_auc": 0.51}
BEFORE |= {"lucky_hits": 0.0, "replaced_share": 0.15, "tokens": 5000, "frequency_loss": 5.5}
AFTER = {**BEFORE, "loss": 20.0, "mlm_loss": 4.5, "disc_loss": 0.31, "gen_acc": 0.2, "disc_acc": 0.7, "disc_auc": 0.85}


@pytest.fixture(autouse=True)
def activated(monkeypatch):
    """As in an activated environment; `test_cli.py` has the others."""
    monkeypatch.setattr(summary_module, "command_name", lambda: "electra-rtd")
    monkeypatch.setattr(summary_module, "python_name", lambda: "python")


def result(after=AFTER, before=BEFORE, health=(), stopped=False):
    return AdaptResult(
        before=before,
        after=after,
        steps=100,
        tokens_seen=5000,
        tokens_per_second=50.0,
        seconds=100.0,
        checkpoint="out",
        discriminator="out/discriminator",
        health=[{"step": 50, "health": name, "message": f"step 50: {name}."} for name in health],
        stopped=stopped,
        vocab_size=1000,
    )


def test_the_area_under_the_curve_comes_first_and_the_accuracy_says_that_it_is_balanced():
    lines = summary(result()).splitlines()
    assert re.fullmatch(r"  disc_auc +0\.5100 +0\.8500  better", lines[1])
    assert re.fullmatch(r"  disc_acc  \(balanced\) +0\.5000 +0\.7000  better", lines[3])
    assert [line.split()[0] for line in lines[1:7]] == [
        "disc_auc",
        "disc_loss",
        "disc_acc",
        "mlm_loss",
        "gen_acc",
        "loss",
    ]
    assert max(map(len, lines[:7])) <= 100


def test_a_success_ends_with_what_to_do_with_it():
    commands = next_commands(result())
    assert [" ".join(command.split()[:2]) for command in commands] == [
        "electra-rtd report", "electra-rtd inspect", "electra-rtd evaluate", "python -c", "electra-rtd adapt",
        "electra-rtd push",
    ]  # fmt: skip
    assert commands[2] == "electra-rtd evaluate --labels LABELS.csv --before START --after out/discriminator"
    assert commands[-1] == "electra-rtd push out USER/NAME --private" and what_to_try(result()) == []
    assert "not worth" not in summary(result())


@pytest.mark.parametrize(
    ("changes", "said", "tries"),
    [
        ({"disc_auc": 0.505}, "disc_auc.*no better than chance", "tells nothing apart"),
        ({"disc_loss": 0.5}, "disc_loss.*no better than a constant answer", "more steps if disc_loss was still"),
        ({"disc_loss": 0.7}, "disc_loss.*no better than a constant answer", "surer than it may be"),
        ({"mlm_loss": 7.6}, "mlm_loss.*no better than a constant answer", "frequencies of tokens"),
        ({"mlm_loss": 0.0, "loss": 0.003, "disc_loss": 6e-5, "replaced_share": 0.0}, "loss.*empty", r"\[UNK\]"),
        ({"loss": float("nan"), "mlm_loss": float("nan")}, "loss +41.6000 +nan", "lower --learning_rate"),
    ],
)
def test_what_is_no_success_is_neither_fine_tuned_nor_published(changes, said, tries):
    failed = result({**AFTER, **changes})
    shown = summary(failed)
    assert re.search(said, shown) and re.search(tries, shown.split("Try:")[1])
    assert "push" not in shown and "AutoModelForSequenceClassification" not in shown
    assert next_commands(failed)[0] == "electra-rtd report --run out"


def test_a_generator_that_only_knows_frequencies_is_said_to_and_may_still_serve_its_discriminator():
    shown = summary(result({**AFTER, "mlm_loss": 5.6}))
    assert re.search("mlm_loss.*no better than a constant answer", shown) and "push" in shown


def test_a_sign_of_death_says_what_to_try_instead():
    dead = {**AFTER, "disc_auc": 0.5, "disc_loss": 0.43, "mlm_loss": 9.0}
    died = result(dead, health=["discriminator_collapsed", "generator_rises"])
    assert what_to_try(died) == [TRY["discriminator_collapsed"]]  # the same for both, once
    assert "lower --learning_rate" in summary(died) and "HEALTH         generator_rises" in summary(died)


def test_a_sign_is_told_without_its_remedy_in_lines_that_fit():
    message = f"step 50: its logits have a deviation of 2e-07, {'very ' * 20}long. Start again, with a lower rate."
    died = replace(result(), health=[{"step": 50, "health": "discriminator_collapsed", "message": message}])
    told = summary(died).split("HEALTH")[1].split("Next:")[0]
    assert "2e-07" in told and "long." in told and "Start again" not in told
    assert max(map(len, told.splitlines()[1:])) <= 98 and len(told.splitlines()[0]) <= 98 - len("  HEALTH")


def test_a_sign_that_the_run_came_out_of_does_not_speak_against_it():
    assert what_to_try(result(health=["discriminator_says_original"])) == []
    assert what_to_try(result(health=["discriminator_says_original"], stopped=True)) != []
    assert what_to_try(result(health=["nothing_masked"])) == [TRY["nothing_masked"]]


def test_figures_of_parts_alone_are_enough():
    few = ("loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc")
    shown = summary(result({name: AFTER[name] for name in few}, {name: BEFORE[name] for name in few}))
    assert "disc_auc" not in shown and "push" in shown


def test_every_sign_has_its_remedy():
    named = set(re.findall(r"^    \| `(\w+)` \|", RTDHealthCallback.__doc__, re.MULTILINE)) - {"health"}
    assert named == set(TRY)
