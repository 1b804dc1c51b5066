"""RTDHealthCallback: dead runs are named from their logs alone, once, and healthy ones are left in peace."""

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch.nn import functional
from transformers import Trainer, TrainerControl, TrainerState

from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.train_tools import RTDHealthCallback, RTDMetricsCallback
from electra_rtd.train_tools.callbacks.health import NO_SPREAD, entropy
from electra_rtd.train_tools.counts import TrainingStatistics
from electra_rtd.train_tools.from_scratch import build_pair


CHANCE = math.log(80)
HEALTHY = {
    "loss": 15.0,
    "mlm_loss": 2.0,
    "disc_loss": 0.25,
    "gen_acc": 0.5,
    "disc_acc": 0.8,
    "disc_auc": 0.9,
    "disc_logit_std": 1.5,
    "disc_recall": 0.5,
    "lucky_hits": 0.4,
    "replaced_share": 0.09,
    "grad_norm": 1.0,
}
CONSTANT = entropy(HEALTHY["replaced_share"])


def findings(rows, callback=None, *, warmup=0, fp16=False, config=None, state=None, control=None):
    """What the callback says of these logs, ten steps apart: (step, name)."""
    callback = callback or RTDHealthCallback(patience=0)
    state = state or TrainerState(max_steps=10 * len(rows))
    control = control or TrainerControl()
    args = SimpleNamespace(fp16=fp16, get_warmup_steps=lambda steps: warmup)
    model = SimpleNamespace(config=config or SimpleNamespace(vocab_size=80, gen_weight=1.0, disc_weight=50.0))
    callback.on_train_begin(args, state, control, model=model)
    for number, row in enumerate(rows, start=1):
        state.global_step, state.epoch = 10 * number, number / 2
        state.log_history.append({**row, "step": state.global_step})
        callback.on_log(args, state, control, logs=row, model=model)
    return [(row["step"], row["health"]) for row in state.log_history if "health" in row]


def healthy(**changes):
    return {**HEALTHY, **changes}


def test_entropy_is_the_loss_of_the_best_constant_answer():
    labels = torch.tensor([1.0] * 9 + [0.0] * 91)
    best = functional.binary_cross_entropy(torch.full((100,), 0.09), labels)
    assert entropy(0.09) == pytest.approx(best.item(), rel=1e-6)
    assert entropy(0.0) == entropy(1.0) == 0.0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"lucky_hits": 0.96, "gen_acc": 0.95, "replaced_share": 0.006, "disc_loss": 0.01}, "generator_copies"),
        ({"lucky_hits": 0.96, "gen_acc": 0.3, "replaced_share": 0.006, "disc_loss": 0.01}, "labels_constant"),
        ({"lucky_hits": 0.0, "replaced_share": 0.99, "disc_loss": 0.001}, "labels_constant"),
        ({"disc_recall": 0.005, "disc_loss": 0.96 * CONSTANT}, "discriminator_says_original"),
        ({"disc_recall": 0.3, "disc_loss": 0.99 * CONSTANT}, "discriminator_stuck"),
        ({"disc_recall": 0.3, "disc_loss": 2.0}, "discriminator_stuck"),
        ({"mlm_loss": CHANCE - 0.05}, "generator_stuck"),
        ({"mlm_loss": CHANCE + 1.1}, "generator_rises"),
    ],
)
def test_each_sign_is_seen_after_five_logs_that_agree_and_not_before(changes, name):
    assert findings([healthy(**changes)] * 4) == []
    assert findings([healthy(**changes)] * 5) == [(50, name)]
    broken_off = [healthy(**changes)] * 4 + [healthy()] + [healthy(**changes)] * 4
    assert name not in [found for _, found in findings(broken_off)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lucky_hits": 0.94, "gen_acc": 0.97, "replaced_share": 0.01, "disc_loss": 0.02},
        {"disc_recall": 0.005, "disc_loss": 0.94 * CONSTANT},  # it says little, and yet knows something
        {"disc_recall": 0.02, "disc_loss": 0.97 * CONSTANT},
        {"mlm_loss": CHANCE - 0.15},
        {"mlm_loss": CHANCE + 0.9},
    ],
)
def test_what_is_just_inside_the_thresholds_is_left_in_peace(changes):
    assert findings([healthy(**changes)] * 20) == []


DEAD = {"disc_logit_std": 1e-7, "disc_auc": 0.5, "disc_recall": 0.0, "disc_loss": CONSTANT, "learning_rate": 1e-3}


def test_a_discriminator_with_one_logit_for_every_token_is_dead_at_any_step(caplog):
    # Ten steps a log, in the warm-up of a run that has 2,000 steps of patience after it.
    assert findings([healthy(**DEAD)], RTDHealthCallback(), warmup=100) == [(10, "discriminator_collapsed")]
    for part in ("standard deviation of 1e-07", "for 10 steps", "disc_auc is 0.500", "lower learning rate than 0.001"):
        assert part in caplog.text
    assert "warm-up" in caplog.text


def test_the_rate_to_go_below_is_the_highest_so_far_not_what_it_has_sunk_to(caplog):
    rates = (1e-4, 1e-3, 5e-4, 1e-6)
    findings([healthy(learning_rate=rate) for rate in rates] + [healthy(**{**DEAD, "learning_rate": 0.0})])
    assert "lower learning rate than 0.001 " in caplog.text


def test_a_dead_discriminator_is_not_called_stuck_too():
    assert findings([healthy(**DEAD)] * 9) == [(10, "discriminator_collapsed")]


def test_ten_steps_have_to_agree_that_there_is_no_spread():
    def logged_every_step(spreads):
        callback, state, control = RTDHealthCallback(), TrainerState(max_steps=100), TrainerControl()
        args = SimpleNamespace(fp16=False, get_warmup_steps=lambda steps: 0)
        model = SimpleNamespace(config=SimpleNamespace(vocab_size=80, gen_weight=1.0, disc_weight=50.0))
        callback.on_train_begin(args, state, control, model=model)
        for state.global_step, spread in enumerate(spreads, start=1):
            callback.on_log(args, state, control, logs=healthy(disc_logit_std=spread), model=model)
        return [row["step"] for row in state.log_history if row["health"] == "discriminator_collapsed"]

    assert logged_every_step([0.0] * 9 + [0.004] + [0.0] * 9) == []  # as bf16 rounds, in a run that lives
    assert logged_every_step([0.02] * 3 + [0.0] * 10) == [13]


def test_a_run_that_goes_on_is_judged_as_if_nobody_had_disturbed_it():
    rows = [healthy()] * 3 + [healthy(mlm_loss=CHANCE - 0.05, lucky_hits=0.96, gen_acc=0.95)] * 7
    rows += [healthy(mlm_loss=CHANCE + 0.5)] * 8
    whole = findings(rows)
    assert whole == [(80, "generator_copies"), (80, "generator_stuck"), (130, "generator_rises")]
    for cut in range(1, len(rows)):
        callback, state = RTDHealthCallback(patience=0), TrainerState(max_steps=10 * len(rows))
        findings(rows[:cut], state=state)
        args = SimpleNamespace(fp16=False, get_warmup_steps=lambda steps: 0)
        model = SimpleNamespace(config=SimpleNamespace(vocab_size=80, gen_weight=1.0, disc_weight=50.0))
        callback.on_train_begin(args, state, TrainerControl(), model=model)
        for number, row in enumerate(rows[cut:], start=cut + 1):
            state.global_step = 10 * number
            state.log_history.append({**row, "step": state.global_step})
            callback.on_log(args, state, TrainerControl(), logs=row, model=model)
        assert [(row["step"], row["health"]) for row in state.log_history if "health" in row] == whole, cut


NOISE = {"disc_logit_std": 0.06, "disc_recall": 0.0, "disc_loss": CONSTANT}  # as seen, with dropout at 3e-3


def noise(number):
    return healthy(**NOISE, disc_auc=0.5 + (0.01, -0.005, 0.012, 0.0)[number % 4])


def test_a_spread_of_dropout_alone_with_an_area_of_chance_is_dead(caplog):
    # The first of five logs has to come 300 steps after the warm-up.
    found = findings([noise(number) for number in range(40)], RTDHealthCallback(), warmup=20)
    assert found == [(360, "discriminator_collapsed")]
    assert "0.06 within a batch, no more than dropout makes, for 5 logs, disc_auc is 0.500" in caplog.text
    assert findings([noise(number) for number in range(9)], RTDHealthCallback(patience=30))[0][0] == 70


@pytest.mark.parametrize("changes", [{"disc_auc": 0.53}, {"disc_auc": 0.47}, {"disc_logit_std": 0.3}])
def test_who_tells_something_apart_or_is_not_silent_is_not_called_dead(changes):
    rows = [noise(number) for number in range(60)]
    for number in range(0, 60, 5):
        rows[number].update(changes)
    assert findings(rows, RTDHealthCallback()) == []


def test_the_spread_of_a_fresh_head_is_no_sign():
    for spread in (0.13, 0.02, 0.004):
        row = healthy(disc_logit_std=spread, disc_auc=0.5, disc_recall=0.0, disc_loss=CONSTANT)
        assert findings([row] * 30, RTDHealthCallback(), warmup=30) == []


@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_pair_has_ten_times_the_spread_that_a_dead_one_may_have(size, dtype, tokenizer, make_batch):
    torch.manual_seed(0)
    statistics, model = TrainingStatistics(), build_pair(size, tokenizer).train()
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        statistics.add(model(**make_batch((30, 20, 25))))
    figures, tokens = statistics.as_dict()
    assert figures["disc_logit_std"] > 10 * NO_SPREAD and tokens == 75


def test_steps_without_a_masked_token_are_an_empty_objective(caplog):
    empty = healthy(mlm_loss=0.0, disc_loss=0.001, gen_acc=0.0, replaced_share=0.0)
    del empty["lucky_hits"], empty["disc_recall"], empty["disc_auc"]
    assert findings([healthy(), empty]) == []  # ten steps: a short batch may have nothing to mask
    assert findings([healthy(), empty, empty, empty]) == [(30, "nothing_masked")]
    assert findings([empty, healthy(), empty, healthy()]) == []
    for part in ("step 30", "last 20 steps", "[UNK]", "a loss near 0 is no success"):
        assert part in caplog.text


def test_a_generator_whose_loss_rises_is_seen():
    falling = [healthy(mlm_loss=4.0 - 0.1 * number) for number in range(15)]
    rising = [healthy(mlm_loss=2.6 + 0.1 * number) for number in range(15)]
    [(step, name)] = findings(falling + rising)
    assert name == "generator_rises" and 200 < step <= 300
    assert findings(falling + [healthy(mlm_loss=2.9)] * 15) == []  # 0.3 nats above the lowest


def test_a_loss_that_rises_because_more_is_masked_is_no_sign():
    rows = [healthy(mlm_loss=2.0 + 0.1 * number, mask_prob=0.15 + 0.01 * number) for number in range(15)]
    rows += [healthy(mlm_loss=3.4, mask_prob=0.29)] * 10  # where the schedule has ended
    assert findings(rows) == []
    assert findings([{**row, "mask_prob": 0.15} for row in rows])[0][1] == "generator_rises"
    rows += [healthy(mlm_loss=4.0, mask_prob=0.29)] * 10
    assert [name for _, name in findings(rows)] == ["generator_rises"]


def test_a_loss_that_only_jumps_does_not_rise():
    # As with one short batch a log: a mean of five is 0.6 above the lowest now and then, and nothing is wrong.
    draw = torch.Generator().manual_seed(0)
    rows = [healthy(mlm_loss=3.0 + 0.6 * torch.randn((), generator=draw).item()) for _ in range(500)]
    means = [sum(row["mlm_loss"] for row in rows[start : start + 5]) / 5 for start in range(495)]
    assert max(means) > min(means) + 1.0
    assert findings(rows) == []


@pytest.mark.parametrize(
    ("changes", "prefix"),
    [
        ({"mlm_loss": math.nan}, ""),
        ({"disc_loss": math.inf}, ""),
        ({"grad_norm": math.nan}, ""),
        ({"loss": math.inf}, ""),
        ({"eval_loss": math.nan, "eval_runtime": 1.0}, "eval"),
        ({"eval_news_disc_loss": math.nan, "eval_news_runtime": 1.0}, "eval"),
    ],
)
def test_what_is_not_a_number_is_seen_at_once(changes, prefix):
    row = changes if prefix else healthy(**changes)
    assert findings([healthy(), row]) == [(20, "not_a_number")]


def test_gradients_that_overflow_in_fp16_are_no_sign():
    assert findings([healthy(grad_norm=math.inf)], fp16=True) == []
    assert findings([healthy(grad_norm=math.inf)], fp16=False) == [(10, "not_a_number")]


def test_a_run_from_scratch_has_its_warmup_and_patience_to_learn_anything():
    beginning = healthy(disc_recall=0.0, disc_loss=CONSTANT, mlm_loss=CHANCE)
    callback = RTDHealthCallback(patience=100)
    # The first of five logs has to come after both: steps 130 to 170.
    assert findings([beginning] * 16, callback, warmup=30) == []
    assert findings([beginning] * 17, callback, warmup=30) == [
        (170, "discriminator_says_original"),
        (170, "generator_stuck"),
    ]


def test_a_sign_is_said_once_with_step_figures_and_mend(caplog):
    dead = healthy(disc_recall=0.001, disc_loss=0.3021, replaced_share=0.09)
    state = TrainerState(max_steps=300)
    assert findings([dead] * 30, state=state) == [(50, "discriminator_says_original")]
    [said] = [record.getMessage() for record in caplog.records]
    for part in (
        "step 50",
        "finds 0.1% of the replaced",
        "9.0% of all",
        "disc_loss is 0.3021",
        "0.3025",
        "disc_weight",
    ):
        assert part in said
    [kept] = [row for row in state.log_history if "health" in row]
    assert kept["epoch"] == 2.5 and kept["message"] in said


def test_a_resumed_run_does_not_say_again_what_its_log_holds(caplog):
    dead = [healthy(lucky_hits=0.99, gen_acc=0.99, replaced_share=0.001, disc_loss=0.001)] * 6
    state = TrainerState(max_steps=300)
    findings(dead, state=state)
    assert findings(dead, RTDHealthCallback(), state=state) == [(50, "generator_copies")]
    assert len(caplog.records) == 1


def test_a_resumed_run_that_is_still_dead_stops_all_the_same(caplog):
    dead = [healthy(lucky_hits=0.99, gen_acc=0.99, replaced_share=0.001, disc_loss=0.001)] * 6
    state, control = TrainerState(max_steps=300), TrainerControl()
    findings(dead, state=state)
    callback = RTDHealthCallback("stop")
    findings(dead, callback, state=state, control=control)
    assert control.should_training_stop and callback.stopped
    findings([healthy()] * 6, callback, state=state)  # resumed once more, and well
    assert not callback.stopped


def test_a_weight_of_zero_is_named_as_the_reason(caplog):
    config = SimpleNamespace(vocab_size=80, gen_weight=0.0, disc_weight=0.0)
    findings([healthy(disc_loss=0.69, mlm_loss=CHANCE)] * 5, config=config)
    assert "disc_weight is 0" in caplog.text and "gen_weight is 0" in caplog.text


def test_a_weight_that_a_schedule_changes_is_the_one_in_the_log(caplog):
    stuck = {"disc_recall": 0.3, "disc_loss": 0.99 * CONSTANT, "disc_logit_std": 1e-4}
    [(_, name)] = findings([healthy(**stuck, disc_weight=0.0)] * 5)  # the configuration says 50
    assert name == "discriminator_stuck" and "disc_weight is 0" in caplog.text
    weightless = SimpleNamespace(vocab_size=80, gen_weight=1.0, disc_weight=0.0)
    assert findings([healthy(**stuck, disc_weight=10.0)] * 5, config=weightless)[0][1] == "discriminator_collapsed"


def alone(**changes):
    """A log of the generator's warm-up."""
    return {name: value for name, value in healthy(**changes).items() if not name.startswith("disc_")}


def test_a_generator_that_learns_alone_is_judged_and_the_discriminator_is_not():
    assert findings([alone()] * 40) == []
    assert findings([alone(mlm_loss=CHANCE)] * 5) == [(50, "generator_stuck")]
    stuck = healthy(disc_recall=0.005, disc_loss=0.96 * CONSTANT)
    # No row says where the phase ended: the discriminator's logs count from the first.
    assert findings([alone()] * 10 + [stuck] * 5) == [(150, "discriminator_says_original")]
    state = TrainerState(max_steps=400)
    state.log_history.append({"step": 105, "generator_warmup": "ended", "message": "over"})
    callback = RTDHealthCallback(patience=50)
    # Patience ends at step 155: the first of the five logs is that of step 160.
    assert findings([alone()] * 10 + [stuck] * 20, callback, state=state) == [(200, "discriminator_says_original")]


@pytest.mark.parametrize(("on_collapse", "stops"), [("warn", False), ("stop", True)])
def test_it_stops_only_where_asked(on_collapse, stops):
    control = TrainerControl()
    callback = RTDHealthCallback(on_collapse, patience=0)
    findings([healthy()] * 8, callback, control=control)
    assert control.should_training_stop is False
    findings([healthy(lucky_hits=0.99, gen_acc=0.99)] * 5, callback, control=control)
    assert control.should_training_stop is stops


def test_without_the_metrics_it_says_what_is_missing(caplog):
    assert findings([{"loss": 1.0, "grad_norm": 1.0}] * 3) == []
    assert caplog.text.count("callbacks=[RTDMetricsCallback(), RTDHealthCallback()]") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"on_collapse": "die"}, "'die'"), ({"window": 0}, "`window` is 0"), ({"patience": -1}, "-1")],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RTDHealthCallback(**arguments)


# ---- Runs that are made to die, and one that lives ------------------------------------------------------------------


class LabelsOriginal(ElectraRTDForPreTraining):
    """Says of every token that it is the original, as an implementation does that compares the wrong two tensors."""

    def forward(self, input_ids, attention_mask=None, **named):
        output = super().forward(input_ids, attention_mask, **named)
        output.disc_labels = output.disc_labels.clamp(max=0)
        attended = output.disc_labels == 0
        output.disc_loss = functional.binary_cross_entropy_with_logits(
            output.logits[attended], torch.zeros_like(output.logits[attended])
        )
        output.loss = output.mlm_loss + 50 * output.disc_loss
        return output


@pytest.fixture
def train(make_model, make_arguments, tokenizer):
    """Train a tiny pair on two sentences that it can learn, under the stock Trainer; the Trainer comes back."""
    texts = ["나는 오늘 학교에 간다 . 너는 내일 병원에서 책을 읽는다 .", "산 강 바다 산 강 바다 산 강 바다 산"] * 64

    def train(callback, model_class=None, steps=40, learning_rate=1e-3, texts=texts, **fields):
        rows = Dataset.from_list([dict(tokenizer(text)) for text in texts])
        torch.manual_seed(0)
        model = make_model(**fields)
        if model_class is not None:
            weights, model = model.state_dict(), model_class(model.config)
            model.load_state_dict(weights)
        args = make_arguments(
            max_steps=steps, logging_steps=5, learning_rate=learning_rate, per_device_train_batch_size=8
        )
        trainer = Trainer(
            model, args, train_dataset=rows, processing_class=tokenizer, callbacks=[RTDMetricsCallback(), callback]
        )
        trainer.train()
        return trainer

    return train


def said(trainer):
    return [row["health"] for row in trainer.state.log_history if "health" in row]


def test_a_healthy_run_is_left_in_peace(train):
    trainer = train(RTDHealthCallback(patience=30), steps=100)
    assert said(trainer) == []
    last = [row for row in trainer.state.log_history if "loss" in row][-1]
    assert last["disc_recall"] > 0.2 and last["disc_loss"] < 0.8 * entropy(last["replaced_share"])  # it is healthy


@pytest.mark.slow  # it takes some hundred steps to learn it
def test_a_generator_that_copies_is_seen(train):
    # It reads the very tokens that it has to predict.
    trainer = train(
        RTDHealthCallback("stop"), replace_prob=0.0, sampling_temperature=0.3, steps=400, learning_rate=3e-3
    )
    assert said(trainer) == ["generator_copies"]
    assert trainer.state.global_step < 400  # stopped


def test_a_discriminator_that_nothing_trains_is_seen(train):
    assert said(train(RTDHealthCallback(patience=10), disc_weight=0.0)) == ["discriminator_stuck"]


def test_labels_that_are_constant_are_seen(train):
    assert said(train(RTDHealthCallback(patience=10), model_class=LabelsOriginal)) == ["labels_constant"]


def test_a_learning_rate_of_one_is_seen(train):
    names = said(train(RTDHealthCallback(patience=10), learning_rate=1.0))
    assert names[0] in ("generator_rises", "not_a_number")


def test_the_death_of_a_discriminator_is_said_at_once(train):
    trainer = train(RTDHealthCallback(), learning_rate=0.1)  # with all its patience
    [died] = [row for row in trainer.state.log_history if row.get("health") == "discriminator_collapsed"]
    assert died["step"] <= 40


def test_a_text_that_is_unknown_to_the_tokenizer_is_seen(train, tokenizer):
    texts = ["ALPHA BETA GAMMA"] * 64  # nothing but [UNK]
    assert said(train(RTDHealthCallback(), texts=texts, steps=25)) == ["nothing_masked"]


def test_a_frozen_discriminator_that_calls_everything_original_is_seen(train):
    class SaysOriginal(ElectraRTDForPreTraining):
        def __init__(self, config):
            super().__init__(config)
            self.discriminator.requires_grad_(False)

        def load_state_dict(self, weights, *arguments, **named):
            super().load_state_dict(weights, *arguments, **named)
            head = self.discriminator.discriminator_predictions.dense_prediction
            head.weight.data.mul_(0.01)  # its logits differ, and are not dead
            head.bias.data.fill_(-1.8)  # a probability of 14 %, about the share of replaced tokens

    trainer = train(RTDHealthCallback(patience=10), model_class=SaysOriginal)
    assert said(trainer) == ["discriminator_says_original"]
