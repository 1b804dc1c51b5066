"""The checks of `make gpu` pass on what we have, here on a CPU and on CUDA where it is, and fail on broken code."""

import warnings
from collections import Counter

import pytest
import torch

from benchmarks.gpu import ground, synchronisations
from benchmarks.gpu.checks import CHECKS, numbers, objective, training
from benchmarks.gpu.ground import Ground, NoTime, Skipped
from benchmarks.gpu.record import Clock
from benchmarks.gpu.synchronisations import Synchronisations, counted_synchronisations, place_of
from electra_rtd import ElectraRTDForPreTraining, modeling_electra_rtd, objective_electra_rtd, unpadding_electra_rtd
from electra_rtd.train_tools import compiled_layers, unpadded_attention


SLOW = ("torch.compile", "compiled layers", "the Trainer, and a resumed one")
NOT_ON_A_CPU = ("flash attention packages", "synchronisations a step")
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")


@pytest.fixture
def cpu():
    return Ground(torch.device("cpu"))


def marked(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.mark.parametrize("name", marked(name for name in CHECKS if name not in NOT_ON_A_CPU))
def test_a_check_passes_here_and_shows_figures(cpu, name):
    assert CHECKS[name](cpu)


@pytest.mark.parametrize("name", NOT_ON_A_CPU)
def test_a_check_that_cannot_run_here_says_why(cpu, name):
    with pytest.raises(Skipped, match=r"installed|a CPU has no"):
        CHECKS[name](cpu)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CHECKS)
def test_a_check_passes_on_the_gpu(name):
    try:
        CHECKS[name](Ground(torch.device("cuda")))
    except Skipped as reason:
        pytest.skip(str(reason))


# ---- What is broken is found ----------------------------------------------------------------------------------------


def numbers_from_elsewhere(monkeypatch):
    """Masks and samples do not follow from the seed."""
    elsewhere = torch.Generator()
    elsewhere.seed()

    def uniform_numbers(self, original_ids, attended):
        return lambda stream: torch.rand(original_ids.shape, generator=elsewhere)

    monkeypatch.setattr(ElectraRTDForPreTraining, "_uniform_numbers", uniform_numbers)


def numbers_of_a_new_generator(monkeypatch):
    """Masks and samples follow from a generator that no checkpoint holds."""

    def uniform_numbers(self, original_ids, attended):
        if not hasattr(self, "private"):
            self.private = torch.Generator().manual_seed(0)
        return lambda stream: torch.rand(original_ids.shape, generator=self.private)

    monkeypatch.setattr(ElectraRTDForPreTraining, "_uniform_numbers", uniform_numbers)


def rows_that_see_each_other(monkeypatch):
    def attend(self, attention, module, query, key, value, dropout=0.0, scaling=None, **kwargs):
        return attention(module, query, key, value, None, dropout=dropout, scaling=scaling)[0]

    monkeypatch.setattr(unpadding_electra_rtd.UnpaddedBatch, "attend", attend)


def a_way_without_boundaries(monkeypatch):
    def way(batch, query, key, value, dropout, scaling):
        states = [one.transpose(0, 1)[None] for one in (query, key, value)]
        return torch.nn.functional.scaled_dot_product_attention(*states)[0].transpose(0, 1)

    monkeypatch.setattr(unpadded_attention, "WAYS", {"nested": way})
    monkeypatch.setattr(unpadded_attention, "why_not", lambda *arguments: None)


def means_of_parts(monkeypatch):
    predict = objective_electra_rtd.predict

    def mean(head, predictions, original_ids, *others):
        loss, hits, samples = predict(head, predictions, original_ids, *others)
        return loss / len(original_ids), hits, samples

    monkeypatch.setattr(objective_electra_rtd, "predict", mean)


def detection_loss(change):
    def patch(monkeypatch):
        loss = modeling_electra_rtd.replaced_token_detection_loss
        monkeypatch.setattr(
            modeling_electra_rtd,
            "replaced_token_detection_loss",
            lambda logits, *others: change(loss, logits, *others),
        )

    return patch


def checkpoints_without_dropout(monkeypatch):
    monkeypatch.setattr(ElectraRTDForPreTraining, "gradient_checkpointing_enable", lambda self, **named: self.eval())


def layers_that_do_nothing(monkeypatch):
    monkeypatch.setattr(compiled_layers, "run_layers", lambda layers, hidden, boundaries, way: hidden * 1.0)


not_a_number = detection_loss(lambda loss, *arguments: loss(*arguments) * float("nan"))
of_few_bits = detection_loss(
    lambda loss, logits, *others: loss(logits, *others) * (1.0 if logits.dtype == torch.float32 else 1.05)
)
without_gradient = detection_loss(lambda loss, logits, *others: loss(logits.detach(), *others))
other_when_compiled = detection_loss(
    lambda loss, *arguments: loss(*arguments) * (2.0 if torch.compiler.is_compiling() else 1.0)
)

BROKEN = {
    "objective on the device against the CPU": (numbers_from_elsewhere, "masked_positions: .* differ"),
    "flat against padded": (rows_that_see_each_other, "loss differs|gradient of .* differs"),
    "ways of attention against rectangles": (a_way_without_boundaries, "float32: a loss differs|gradient of"),
    "bounded vocabulary head": (means_of_parts, "in parts of 5 tokens: a loss differs"),
    "masked lengths of 64 and 192": (not_a_number, "64 of 128 tokens, padded: loss or gradient is NaN"),
    "bfloat16 and float16": (of_few_bits, "bfloat16: disc_loss is"),
    "losses fall": (without_gradient, "the loss does not fall"),
    "gradient checkpointing": (checkpoints_without_dropout, "with checkpoints: "),
    "full determinism": (numbers_from_elsewhere, "two runs differ"),
    "the Trainer, and a resumed one": (numbers_of_a_new_generator, "after it went on, the loss differs"),
    "torch.compile": (other_when_compiled, "by eager: a loss differs"),
    "compiled layers": (layers_that_do_nothing, "6 rows by eager: a loss differs"),
}


@pytest.mark.parametrize("name", marked(BROKEN))
def test_a_check_fails_on_broken_code_with_its_figures(cpu, monkeypatch, name):
    patch, message = BROKEN[name]
    patch(monkeypatch)
    with pytest.raises(AssertionError, match=message):
        CHECKS[name](cpu)


def test_every_check_is_seen_to_fail_or_cannot_run_on_a_cpu():
    assert set(BROKEN) | set(NOT_ON_A_CPU) == set(CHECKS)


def test_losses_that_are_no_numbers_do_not_fall(cpu, monkeypatch):
    not_a_number(monkeypatch)
    with pytest.raises(AssertionError, match="a loss is not finite"):
        training.losses_fall(cpu)


def test_a_flash_attention_that_is_here_is_held_against_padded_sdpa(cpu, monkeypatch):
    monkeypatch.setattr(objective, "FLASH", {"eager": "", "flash_attention_2": "flash_attn"})  # the first is here
    figures = objective.flash_packages(cpu)
    assert figures["eager, loss"] < 0.02 and "installed" in figures["flash_attention_2"]
    rows_that_see_each_other(monkeypatch)
    with pytest.raises(AssertionError, match="eager: "):
        objective.flash_packages(cpu)


def test_too_many_synchronisations_are_named_with_file_and_line():
    found = Synchronisations()
    found.places = Counter({"electra_rtd/modeling_electra_rtd.py:197": 1, "gpu/steps.py:5": 1})
    assert training.demand_few(found)["synchronisations a step"] == 2
    found.places["gpu/steps.py:5"] += 1
    with pytest.raises(AssertionError, match=r"3 synchronisations .*modeling_electra_rtd.py:197.*steps.py:5"):
        training.demand_few(found)


def test_compiling_is_left_out_where_too_little_time_is_left():
    with pytest.raises(NoTime, match="are left"):
        numbers.compiled(Ground(torch.device("cpu"), Clock(minutes=0.5)))


def test_determinism_is_off_again_afterwards(cpu):
    numbers.deterministic(cpu)
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.deterministic


@pytest.mark.slow
def test_deterministic_runs_have_a_process_of_their_own_on_a_gpu_which_fails_with_its_reason(cpu, monkeypatch):
    runs = numbers.losses_alone(torch.device("cpu"))
    assert runs[0] == runs[1] == numbers.deterministic(cpu)["losses"]
    with pytest.raises(AssertionError, match=r"it does not work: .*device"):
        numbers.losses_alone(torch.device("meta"))


def test_a_gradient_that_is_missing_or_not_a_number_differs():
    right = {"a": torch.ones(3), "b": torch.full((3,), 1e-6)}
    assert ground.gradient_difference({**right, "b": torch.zeros(3)}, right)[0] < 0.01  # far below the largest
    assert ground.gradient_difference({**right, "a": torch.ones(3) * 1.1}, right) == (pytest.approx(0.1), "a")
    assert ground.gradient_difference({"a": torch.ones(3)}, right)[0] == float("inf")
    assert ground.gradient_difference({**right, "a": torch.full((3,), float("nan"))}, right)[0] == float("inf")


# ---- Counting synchronisations --------------------------------------------------------------------------------------


def test_each_warning_of_torch_counts_at_the_line_that_called_it(monkeypatch):
    # A CPU never waits for itself: another warning that torch raises in the same way (TORCH_WARN) stands for it.
    monkeypatch.setattr(synchronisations, "MESSAGE", "Test message for TORCH_WARN")
    modes, shown = [], warnings.showwarning
    with counted_synchronisations(turn_on=modes.append) as found:
        for _ in range(3):
            torch._C._warn()
        torch._C._warn()
        warnings.warn("something else", stacklevel=1)
    assert found.count == 4
    (first, three), (second, one) = found.places.items()
    assert (three, one) == (3, 1) and first.startswith("benchmarks/test_gpu_checks.py:")
    assert int(second.split(":")[1]) == int(first.split(":")[1]) + 1
    assert modes == ["warn", "default"] and warnings.showwarning is shown


def test_the_mode_is_set_back_where_a_step_breaks_off():
    modes = []
    with pytest.raises(RuntimeError), counted_synchronisations(turn_on=modes.append):
        raise RuntimeError
    assert modes == ["warn", "default"]


def test_the_place_is_our_line_even_where_a_library_called_torch():
    def frame(name, line):
        return SimpleFrame(name, line)

    torch_file = f"{torch.__path__[0]}/nn/utils/clip_grad.py"
    stack = [frame("/x/benchmarks/contenders/common.py", 107), frame(torch_file, 79), frame("/lib/warnings.py", 109)]
    assert place_of(stack) == "contenders/common.py:107 in utils/clip_grad.py:79"
    assert place_of(stack[:1]) == "contenders/common.py:107"
    assert place_of(stack[1:]) == "utils/clip_grad.py:79"


class SimpleFrame:
    def __init__(self, filename, lineno):
        self.filename, self.lineno = filename, lineno
