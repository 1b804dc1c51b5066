"""An accelerator is waited for once a step, by construction: the step runs on the meta device, which holds no numbers.

Whatever would wait for a number raises there: `item`, `bool`, `nonzero`, a mask as an index. The one list of numbers
that is asked for is handed over by a stand-in. Copies from the processor's memory, which wait too, are counted.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import ElectraPreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from electra_rtd.objective_electra_rtd import where_true
from electra_rtd.train_tools import RTDMetricsCallback


if not ElectraPreTrainedModel._supports_attention_backend:
    pytest.skip("this release's ELECTRA has no attention to plug in: batches stay padded", allow_module_level=True)


class CopiesFromTheProcessor(TorchDispatchMode):
    """Counts copies of tensors from the processor's memory to another device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor) and value.dim() > 0]
        if isinstance(found, torch.Tensor) and not found.is_cpu and any(value.is_cpu for value in tensors):
            self.seen.append(str(func))
        return found


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the device, as shapes of the answers; counts of tokens and masked tokens are 40 and 6."""
    shapes, tolist, tensor_of = [], torch.Tensor.tolist, torch.tensor

    def answer(tensor):
        if not tensor.is_meta:
            return tolist(tensor)
        shapes.append(tuple(tensor.shape))
        return [40, 6]

    def made(data, device=None, **kwargs):
        if device is not None and torch.device(device).type != "cpu":
            shapes.append("numbers of Python's, copied to the device")
        return tensor_of(data, device=device, **kwargs)

    monkeypatch.setattr(torch.Tensor, "tolist", answer)
    monkeypatch.setattr(torch, "tensor", made)
    return shapes


@pytest.fixture
def on_device(make_model, make_batch):
    """A model and a batch of 40 tokens on the meta device."""

    def make(**fields):
        return make_model(**fields).to("meta"), {
            name: value.to("meta") for name, value in make_batch((30, 7, 3)).items()
        }

    return make


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "fields", [{"dropout": 0.1}, {"random_token_prob": 0.1, "replace_prob": 0.8}, {"mask_prob": 0.5}]
)
def test_a_step_asks_the_device_for_two_counts_and_nothing_else(fields, training, on_device, asked):
    model, batch = on_device(**fields)
    model.train(training)
    with CopiesFromTheProcessor() as copies:
        output = model(**batch)
        output.loss.backward()
    assert asked == [(2,)]
    assert copies.seen == []
    assert output.logits.shape == (3, 30)


def test_a_collators_masking_asks_no_more_after_the_first_batches(on_device, asked):
    model, batch = on_device()
    model.train().unseen_labels = 0
    model(**batch, labels=batch["input_ids"]).loss.backward()
    assert asked == [(2,)]


def test_positions_beside_an_attention_mask_ask_no_more(on_device, asked):
    model, batch = on_device()
    model.train()(**batch, position_ids=torch.zeros_like(batch["input_ids"])).loss.backward()
    assert asked == [(2,)]


def test_segments_and_gradient_checkpointing_ask_no_more(on_device, asked):
    model, batch = on_device()
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False, "preserve_rng_state": False})
    model.train()(**batch, token_type_ids=torch.zeros_like(batch["input_ids"])).loss.backward()
    assert asked == [(2,)]


@pytest.mark.parametrize("attention", ["flash_attention_2", "kernels-community/flash-attn2"])
def test_a_flash_package_gets_boundaries_without_asking(attention, on_device, asked, monkeypatch):
    model, batch = on_device()
    kernel = lambda module, query, *arguments, **kwargs: (query.transpose(1, 2), None)  # noqa: E731
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, attention, kernel)
    for network in (model.generator, model.discriminator):
        monkeypatch.setattr(network.config, "_attn_implementation_internal", attention)
    model.train()(**batch).loss.backward()
    assert asked == [(2,)]


def test_logits_in_parts_ask_no_more(on_device, asked, monkeypatch):
    monkeypatch.setattr("electra_rtd.objective_electra_rtd.LOGITS_AT_ONCE_ELSEWHERE", 160)  # 2 of 6 tokens at a time
    model, batch = on_device()
    model.train()(**batch).loss.backward()
    assert asked == [(2,)]


def test_the_metrics_callback_asks_nothing_until_the_trainer_logs(on_device, asked):
    model, batch = on_device()
    metrics = RTDMetricsCallback()
    metrics.on_train_begin(None, None, None, model=model)
    for _ in range(2):
        with CopiesFromTheProcessor() as copies:
            model.train()(**batch).loss.backward()
            metrics.on_step_end(None, None, None)
    assert asked == [(2,), (2,)]
    assert copies.seen == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 64)])
def test_the_cells_that_are_true_are_the_same_with_and_without_their_number(shape, monkeypatch):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4
    expected = mask.flatten().nonzero().squeeze(-1)
    assert torch.equal(where_true(mask), expected)

    class OnAnAccelerator(torch.Tensor):
        is_cpu = False

    found = where_true(mask.as_subclass(OnAnAccelerator), len(expected))
    assert found.tolist() == expected.tolist()
