"""Attention by boundaries: a way is taken only where it gives what attention has to give; whichever it is, the numbers
are those of padded rectangles. The operators of CUDA are called on the meta device; stand-ins take their places here.
"""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers import ElectraPreTrainedModel

from electra_rtd.train_tools import unpadded_attention as ways


needs_a_plug = pytest.mark.skipif(
    not ElectraPreTrainedModel._supports_attention_backend, reason="this release's ELECTRA has no attention to plug in"
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def tried_anew():
    ways.why_not.cache_clear()
    yield
    ways.why_not.cache_clear()


def sequence_by_sequence(batch, query, key, value, dropout, scaling):
    """What a kernel has to compute, one sequence at a time."""
    lengths = batch.cu_seqlens.diff().tolist()
    parts = zip(*(states.split(lengths) for states in (query, key, value)), strict=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    rows = [attend(*(one.transpose(0, 1) for one in part), scale=scaling).transpose(0, 1) for part in parts]
    return torch.nn.functional.dropout(torch.cat(rows), dropout)


def step(model, batch):
    model.zero_grad()
    output = model(**batch)
    output.loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return {"loss": output.loss.detach(), "logits": output.logits.detach(), **gradients}


# ---- The same numbers -----------------------------------------------------------------------------------------------


@needs_a_plug
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("way", ["nested", "stand-in", "rows"])
@pytest.mark.parametrize("lengths", [(30, 7, 3), (12, 0, 12, 1), (9, 9)])
def test_a_step_by_boundaries_has_the_numbers_and_gradients_of_rectangles(
    way, lengths, make_model, make_batch, monkeypatch
):
    monkeypatch.setitem(ways.WAYS, "stand-in", sequence_by_sequence)
    model, batch = make_model(mask_prob=0.3, disc_weight=1.0), make_batch(lengths)
    expected = step(model, batch)
    ways.use_unpadded_attention(model, way)
    found = step(model, batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@needs_a_plug
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_a_way_is_tried_inside_a_checkpoint_as_anywhere_else(make_model, make_batch, monkeypatch):
    monkeypatch.setitem(ways.WAYS, "stand-in", sequence_by_sequence)
    model, batch = make_model(mask_prob=0.3, disc_weight=1.0).train(), make_batch((30, 7, 3))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # a checkpoint would drop others than the plain step
    torch.manual_seed(0)
    expected = step(model, batch)
    ways.use_unpadded_attention(model, "stand-in")
    model.gradient_checkpointing_enable()
    torch.manual_seed(0)
    found = step(model, batch)  # the first: what the trial saves is not the layer's
    assert ways.why_not.cache_info().currsize > 0
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


@needs_a_plug
def test_a_model_of_the_configuration_takes_the_first_way(make_model, make_batch):
    model, batch = make_model(), make_batch((30, 7, 3))
    ways.use_unpadded_attention(model, "rows")
    again = type(model)(model.config).eval()
    assert again.generator.config._attn_implementation == ways.NAME
    assert torch.isfinite(again(**batch).loss)


@needs_a_plug
def test_hidden_states_on_request_are_computed_padded(make_model, make_batch):
    model, batch = make_model(), make_batch((12, 7, 3))
    expected = model(**batch, output_hidden_states=True).hidden_states[-1]
    ways.use_unpadded_attention(model)
    assert_close(model(**batch, output_hidden_states=True).hidden_states[-1], expected)


@needs_a_plug
def test_the_name_of_this_attention_reaches_no_checkpoint(make_model, make_batch, tmp_path):
    model = make_model()
    ways.use_unpadded_attention(model)
    model(**make_batch())
    model.save_pretrained(tmp_path)
    assert "boundaries" not in (tmp_path / "config.json").read_text(encoding="utf-8")


# ---- Which way ------------------------------------------------------------------------------------------------------


def mixes_sequences(batch, query, key, value, dropout, scaling):
    whole = SimpleNamespace(cu_seqlens=torch.tensor([0, len(query)]))
    return sequence_by_sequence(whole, query, key, value, dropout, scaling)


def forgets_the_last_token(batch, query, key, value, dropout, scaling):
    return torch.cat([sequence_by_sequence(batch, query, key, value, dropout, scaling)[:-1], query[-1:]])


def has_no_gradient_of_values(batch, query, key, value, dropout, scaling):
    return sequence_by_sequence(batch, query, key, value.detach(), dropout, scaling)


def gives_nan(batch, query, key, value, dropout, scaling):
    return sequence_by_sequence(batch, query, key, value, dropout, scaling) * float("nan")


def gives_nan_gradients(batch, query, key, value, dropout, scaling):
    found = sequence_by_sequence(batch, query, key, value, dropout, scaling)
    return found + (query * 0).square().sqrt()  # the slope of a root at 0


def drops_badly(batch, query, key, value, dropout, scaling):
    found = sequence_by_sequence(batch, query, key, value, 0.0, scaling)
    return found / 0.0 if dropout > 0 else found


def changed_its_arguments(batch, query, key, value, dropout, scaling):
    raise TypeError("got an unexpected keyword argument")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (sequence_by_sequence, None),
        (mixes_sequences, "results are wrong"),
        (forgets_the_last_token, "results are wrong"),
        (has_no_gradient_of_values, "results are wrong"),
        (gives_nan, "NaN"),
        (gives_nan_gradients, "results are wrong, by nan"),
        (drops_badly, "with dropout it gives NaN"),
        (changed_its_arguments, "TypeError: got an unexpected keyword argument"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_way_is_taken_only_where_results_gradients_and_dropout_are_right(way, reason, dtype, monkeypatch):
    monkeypatch.setitem(ways.WAYS, "candidate", way)
    found = ways.why_not("candidate", CPU, dtype, 2, 8, 0.1)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize("name", ["flash", "efficient"])
def test_a_kernel_that_is_not_here_is_not_taken_and_the_reason_is_short(name):
    reason = ways.why_not(name, CPU, torch.bfloat16, 2, 8)
    assert "Could not run" in reason and len(reason) < 150


def test_whatever_a_way_raises_is_a_reason_against_it(monkeypatch):
    def asserts(*arguments):
        raise AssertionError("param should be a jagged NT")

    monkeypatch.setitem(ways.WAYS, "candidate", asserts)
    assert ways.why_not("candidate", CPU, torch.float32, 2, 8) == "AssertionError: param should be a jagged NT"


def test_a_way_is_tried_once_for_each_kind_of_input(monkeypatch):
    calls = []
    monkeypatch.setitem(
        ways.WAYS, "candidate", lambda *arguments: calls.append(arguments) or sequence_by_sequence(*arguments)
    )
    for _ in range(3):
        assert ways.why_not("candidate", CPU, torch.float32, 2, 8, 0.1) is None
    assert len(calls) == 2, "without dropout, and with it"
    ways.why_not("candidate", CPU, torch.float32, 4, 8, 0.1)
    assert len(calls) == 4


def test_a_trial_leaves_torchs_generator_and_gradient_mode_as_they_were(monkeypatch):
    monkeypatch.setitem(ways.WAYS, "candidate", sequence_by_sequence)
    before = torch.get_rng_state()
    with torch.inference_mode():
        assert ways.why_not("candidate", CPU, torch.float32, 2, 8, 0.5) is None
    assert torch.equal(torch.get_rng_state(), before) and torch.is_grad_enabled()


def test_a_trial_of_nested_tensors_says_nothing_on_the_screen():
    """In a process of its own: torch makes its remarks once."""
    code = "import torch; from electra_rtd.train_tools.unpadded_attention import why_not; "
    code += "print(why_not('nested', torch.device('cpu'), torch.float32, 2, 8))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert process.stdout == "None\n" and "fx_tracing" not in process.stderr and "prototype" not in process.stderr


def query_on_an_accelerator():
    """As much of one as the choice looks at: what is tried runs here."""
    return SimpleNamespace(device=CPU, dtype=torch.float32, shape=(20, 2, 8), is_cpu=False)


def test_the_first_way_that_works_is_chosen_and_rows_where_none_does(monkeypatch):
    monkeypatch.setattr(ways, "WAYS", {"a": mixes_sequences, "b": sequence_by_sequence, "c": sequence_by_sequence})
    assert ways.choose_way(query_on_an_accelerator()) == "b"
    monkeypatch.setattr(ways, "WAYS", {"a": mixes_sequences})
    ways.why_not.cache_clear()
    assert ways.choose_way(query_on_an_accelerator()) == "rows"


def test_the_way_that_is_asked_for_is_chosen_and_where_it_does_not_work_another_with_the_reason(monkeypatch, caplog):
    monkeypatch.setattr(ways, "WAYS", {"a": mixes_sequences, "b": sequence_by_sequence, "c": sequence_by_sequence})
    ways.logger.warning_once.cache_clear()
    assert ways.choose_way(query_on_an_accelerator(), asked_for="c") == "c"
    assert ways.choose_way(query_on_an_accelerator(), asked_for="rows") == "rows"
    assert caplog.messages == []
    assert ways.choose_way(query_on_an_accelerator(), asked_for="a") == "b"
    (said,) = caplog.messages
    assert "'a' was asked for, and does not work with torch.float32 on cpu (its results are wrong" in said


def test_a_cpu_gets_rows_without_a_trial(monkeypatch):
    monkeypatch.setattr(ways, "WAYS", {"a": sequence_by_sequence})
    assert ways.choose_way(torch.zeros(20, 2, 8)) == "rows"


def test_order_of_the_ways_is_the_fastest_first():
    assert list(ways.WAYS) == ["flash", "efficient", "nested"]


@needs_a_plug
def test_an_unknown_way_is_refused_with_those_that_there_are(make_model):
    with pytest.raises(ValueError, match="`way` is 'quick': it must be one of flash, efficient, nested, rows"):
        ways.use_unpadded_attention(make_model(), "quick")


# ---- The operators of CUDA, on the meta device ----------------------------------------------------------------------


def on_meta(dtype):
    batch = SimpleNamespace(cu_seqlens=torch.zeros(4, dtype=torch.int32, device="meta"), max_seqlen=16)
    return batch, *torch.zeros(3, 40, 2, 64, dtype=dtype, device="meta", requires_grad=True)


def test_the_flash_operator_of_this_torch_takes_what_it_is_given_forward_and_backward():
    output = ways.flash_operator(*on_meta(torch.bfloat16), 0.1, 0.125)
    output.sum().backward()
    assert output.shape == (40, 2, 64) and output.dtype == torch.bfloat16


def test_the_memory_efficient_operator_of_this_torch_takes_what_it_is_given():
    output = ways.efficient_operator(*on_meta(torch.float32), 0.1, 0.125)
    assert output.shape == (40, 2, 64) and output.requires_grad


@needs_a_plug
def test_a_training_step_by_the_flash_operator_asks_the_device_once(make_model, make_batch, monkeypatch):
    """The meta device holds no numbers: whatever else would wait for one raises."""
    asked = []
    monkeypatch.setattr(torch.Tensor, "tolist", lambda counts: asked.append(counts.shape) or [40, 6])
    monkeypatch.setattr(ways, "choose_way", lambda *arguments: "flash")
    model, batch = make_model(dropout=0.1).train().to("meta", torch.bfloat16), make_batch((30, 7, 3))
    ways.use_unpadded_attention(model)
    model(**{name: value.to("meta") for name, value in batch.items()}).loss.backward()
    assert asked == [(2,)]
