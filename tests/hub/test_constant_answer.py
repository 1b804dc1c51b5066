"""What is called better: only what is better than an answer that reads nothing."""

import math

import pytest

from electra_rtd.hub_tools.constant_answer import constant_answers, entropy, noise, states, verdict


V = 1000
SHARE = 0.13
GOOD = {
    "loss": 14.0,
    "mlm_loss": 3.0,
    "disc_loss": 0.22,
    "gen_acc": 0.4,
    "disc_acc": 0.8,
    "disc_auc": 0.9,
    "disc_precision": 0.7,
    "disc_recall": 0.5,
    "gen_perplexity": math.exp(3.0),
    "lucky_hits": 0.1,
    "replaced_share": SHARE,
    "tokens": 5000,
    "frequency_loss": 5.5,
}
FRESH = {**GOOD, "loss": 41.0, "mlm_loss": 6.9, "disc_loss": 0.69, "gen_acc": 0.0, "disc_acc": 0.5, "disc_auc": 0.51}
FRESH |= {"disc_precision": SHARE, "disc_recall": 0.0, "gen_perplexity": 1000.0}


def test_a_constant_answers_figures():
    found = constant_answers(GOOD, V)
    assert found["disc_loss"] == entropy(SHARE) == pytest.approx(0.3863, abs=1e-4)
    assert found["disc_acc"] == 0.55 and found["disc_auc"] == 0.5 and found["disc_precision"] == SHARE
    assert found["mlm_loss"] == 5.5 and found["gen_perplexity"] == math.exp(5.5)
    random = {"disc_auc": 0.5, "disc_acc": 0.5, "mlm_loss": math.log(V), "gen_perplexity": V}
    assert constant_answers({}, V) == pytest.approx(random)


@pytest.mark.parametrize("name", ["loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc", "disc_auc", "disc_recall"])
def test_what_beats_a_constant_answer_is_better_or_worse(name):
    assert verdict(name, FRESH, GOOD, V) == "better"
    assert verdict(name, GOOD, GOOD, V) == "same"
    slightly = {**GOOD, name: GOOD[name] + (0.01 if "loss" in name else -0.01)}
    assert verdict(name, GOOD, slightly, V) == "worse"


def test_a_loss_of_nothing_is_empty_not_better():
    nothing = {**GOOD, "loss": 0.003, "mlm_loss": 0.0, "disc_loss": 6e-5, "gen_acc": 0.0, "disc_acc": 1.0}
    nothing |= {"replaced_share": 0.0, "disc_auc": 0.5}
    assert states(nothing, V) == ("empty", "empty")
    for name in ("loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc", "disc_auc"):
        assert verdict(name, FRESH, nothing, V) == "empty", name
    old = {name: nothing[name] for name in ("loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc")}
    assert verdict("loss", FRESH, old) == verdict("disc_acc", FRESH, old) == "empty"  # a run of an earlier release


def test_a_generator_that_puts_everything_back_leaves_nothing_to_detect():
    copies = {**GOOD, "replaced_share": 0.0, "lucky_hits": 1.0, "disc_loss": 1e-4, "mlm_loss": 1e-3}
    assert states(copies, V) == (None, "empty")
    assert verdict("disc_loss", FRESH, copies, V) == "empty" and verdict("mlm_loss", FRESH, copies, V) == "better"


def test_a_discriminator_at_chance_has_no_figure_that_is_better():
    # 0.69 -> 0.41 is what the share of replaced tokens gives; the accuracy rises by lucky hits.
    chance = {**GOOD, "disc_auc": 0.505, "disc_loss": 0.41, "disc_acc": 0.55, "disc_recall": 0.1}
    assert states(chance, V) == (None, "chance")
    for name in ("disc_auc", "disc_loss", "disc_acc", "disc_recall"):
        assert verdict(name, FRESH, chance, V) == "chance", name
    assert verdict("mlm_loss", FRESH, chance, V) == "better"


def test_chance_is_what_so_many_tokens_allow():
    # 650 replaced and 4,350 original tokens: the standard deviation of an area of chance is 0.0121.
    assert noise(GOOD) == pytest.approx(1.96 * math.sqrt(5001 / (12 * 650 * 4350)), rel=1e-12)
    assert states({**GOOD, "disc_auc": 0.52}, V)[1] == "chance"
    assert states({**GOOD, "disc_auc": 0.53}, V)[1] is None
    assert states({**GOOD, "disc_auc": 0.52, "tokens": 500_000}, V)[1] is None
    assert states({"disc_auc": 0.519}, V)[1] == "chance" and states({"disc_auc": 0.521}, V)[1] is None
    assert states({**GOOD, "disc_auc": 0.3}, V)[1] == "chance"


def test_a_discriminator_that_is_too_sure_is_no_better_than_a_constant_answer():
    sure = {**GOOD, "disc_auc": 0.6, "disc_loss": 0.45}
    assert states(sure, V) == (None, "constant")
    assert verdict("disc_loss", FRESH, sure, V) == verdict("disc_recall", FRESH, sure, V) == "constant"
    assert verdict("disc_auc", FRESH, sure, V) == "better" and verdict("disc_auc", GOOD, sure, V) == "worse"
    assert verdict("disc_acc", FRESH, {**sure, "disc_acc": 0.54}, V) == "constant"  # lucky hits alone give 0.55
    assert verdict("disc_acc", FRESH, {**sure, "disc_acc": 0.56}, V) == "better"


def test_an_order_of_tokens_above_chance_is_never_called_a_constant_answers():
    early = {**GOOD, "disc_auc": 0.61, "disc_loss": 0.45}
    assert verdict("disc_auc", FRESH, early, V) == "better" and verdict("disc_auc", GOOD, early, V) == "worse"


def test_a_generator_that_knows_frequencies_alone_is_no_better_than_they():
    frequencies = {**GOOD, "mlm_loss": 5.6, "gen_perplexity": math.exp(5.6)}
    assert states(frequencies, V) == ("constant", None)
    assert verdict("mlm_loss", FRESH, frequencies, V) == verdict("gen_acc", FRESH, frequencies, V) == "constant"
    unknown = {name: value for name, value in frequencies.items() if name != "frequency_loss"}
    assert verdict("mlm_loss", FRESH, unknown, V) == "better"  # than random choice, 6.9
    assert verdict("mlm_loss", FRESH, unknown) == "better"


def test_a_total_loss_is_no_better_where_neither_network_is():
    nothing = {**GOOD, "loss": 26.0, "mlm_loss": 5.6, "disc_loss": 0.4, "disc_auc": 0.5}
    assert verdict("loss", FRESH, nothing, V) == "constant"
    assert verdict("loss", FRESH, {**nothing, "mlm_loss": 5.0}, V) == "better"


def test_what_is_unknown_or_has_no_better_is_not_judged():
    assert verdict("disc_auc", {}, GOOD, V) is None
    assert verdict("mlm_loss", FRESH, {**GOOD, "mlm_loss": math.nan}, V) is None
    assert verdict("lucky_hits", FRESH, GOOD, V) is None
    assert states({}) == (None, None)
