"""Compiled layers: the numbers of plain ones, few graphs, in place and back, and taken only where timed steps say so.

Most tests record graphs and run them as they are, which takes a second where a compiler takes a minute.
"""

import contextlib
import copy
import logging
import pickle
import re
import signal
import time
from dataclasses import fields

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModel, ElectraForPreTraining, ElectraPreTrainedModel, TrainingArguments

from electra_rtd.train_tools import compiled_layers as compiled
from electra_rtd.train_tools import step_timing
from electra_rtd.train_tools import unpadded_attention as ways
from electra_rtd.train_tools.step_timing import TooLong, deadline
from electra_rtd.unpadding_electra_rtd import UnpaddedBatch


pytestmark = [
    pytest.mark.skipif(
        not ElectraPreTrainedModel._supports_attention_backend,
        reason="this release's ELECTRA has no attention to plug in",
    ),
    # torch's compiler imports what torch has deprecated.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]
RAGGED = [(30, 7, 3), (12, 9), (21, 20, 19, 5), (40, 1), (8, 8, 8), (13,), (33, 2, 2, 2, 2), (17, 11), (64, 30, 5)]
RAGGED += [(50, 49), (10, 9, 8, 7, 6, 5), (25, 12, 4)]


NAMES = {field.name for field in fields(TrainingArguments)}
CHECKPOINTING = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if name in NAMES)


@pytest.fixture(autouse=True)
def fixed_seed_and_no_trace(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # pytest would format all of it


class Recorder:
    """A backend that runs graphs as they are, and counts them."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


def step(model, batch, dtype=None):
    """Loss, logits and gradients of a step from one seed."""
    torch.manual_seed(1)
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        output = model(**batch)
    output.loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return {"loss": output.loss.detach(), "logits": output.logits.detach(), **gradients}


def assert_same(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def checkpoint_activations(model):
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()


# ---- The same numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers_at_once", "multiple", "training"),
    [
        (1, None, True),
        (2, 64, False),
        pytest.param(3, 1024, True, marks=pytest.mark.slow),
        pytest.param(1, None, False, marks=pytest.mark.slow),
    ],
)
def test_loss_logits_and_gradients_are_those_of_plain_layers(
    layers_at_once, multiple, training, make_model, make_batch
):
    model = make_model(mask_prob=0.3, disc_weight=1.0, discriminator={"num_hidden_layers": 3}).train(training)
    batches = [make_batch(lengths) for lengths in ((30, 7, 3), (12, 0, 12, 1), (9, 9))]
    expected = [step(model, batch) for batch in batches]
    recorder = Recorder()
    compiled.compile_layers(model, layers_at_once=layers_at_once, multiple=multiple, backend=recorder)
    for batch, numbers in zip(batches, expected, strict=True):
        assert_same(step(model, batch), numbers)
    assert recorder.graphs > 0
    compiled.undo(model)
    assert_same(step(model, batches[0]), expected[0], tolerance=0.0)


@pytest.mark.slow
def test_gradients_that_autograd_records_ahead_are_those_of_plain_layers(make_model, make_batch):
    model, batches = make_model(mask_prob=0.3, disc_weight=1.0), [make_batch((30, 7, 3)), make_batch((9, 8))]
    expected = [step(model, batch) for batch in batches]
    compiled.compile_layers(model, backend="aot_eager")
    for batch, numbers in zip(batches, expected, strict=True):
        assert_same(step(model, batch), numbers)


@pytest.mark.slow
def test_in_mixed_precision_the_numbers_are_near_those_of_plain_layers(make_model, make_batch):
    model, batch = make_model(mask_prob=0.3, disc_weight=1.0), make_batch((30, 7, 3))
    expected = step(model, batch, torch.bfloat16)
    compiled.compile_layers(model, backend=Recorder())
    found = step(model, batch, torch.bfloat16)
    assert_close(found["loss"], expected["loss"], rtol=0.02, atol=0.0)
    assert_close(found["logits"], expected["logits"], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_dropout_is_where_it_is_in_plain_layers_and_as_strong(training, make_model, make_batch):
    """Rows of one length: attention then draws for the same rectangle, and a recorded graph draws as it stands."""
    model = make_model(
        generator={"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.3},
        discriminator={"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.4},
    ).train(training)
    batch = make_batch((9, 9, 9))
    expected = step(model, batch)
    compiled.compile_layers(model, backend=Recorder())
    assert_same(step(model, batch), expected)


def test_where_the_generator_learns_nothing_the_numbers_stay(make_model, make_batch):
    model, batch = make_model(gen_weight=0.0), make_batch()
    expected = model(**batch).loss
    compiled.compile_layers(model, backend=Recorder())
    found = model(**batch).loss
    found.backward()
    assert_close(found, expected)
    assert all(parameter.grad is None for parameter in model.generator.electra.encoder.parameters())


# ---- Attention by an operator, and what fills a batch up ------------------------------------------------------------


@pytest.fixture
def flash_on_cpu():
    """Stand-ins for the flash operator and its backward, which a CPU lacks. Like it, they leave what is in no sequence
    as memory was: here not a number.
    """

    def by_sequence(cu_seqlens, like, attend):
        outputs = [torch.full_like(one, float("nan")) for one in like]
        for begin, end in zip(cu_seqlens[:-1].tolist(), cu_seqlens[1:].tolist(), strict=True):
            for output, numbers in zip(outputs, attend(slice(begin, end)), strict=True):
                output[begin:end] = numbers
        return outputs

    def probabilities(query, key, scale):
        return (torch.einsum("qhd,khd->hqk", query, key) * (scale or query.shape[-1] ** -0.5)).softmax(dim=-1)

    def forward(query, key, value, starts, _, longest, __, dropout, causal, debug, *, scale=None, **others):
        assert starts.diff().max() <= longest
        calls.append(tuple(query.shape))

        def attend(one):
            return [torch.einsum("hqk,khd->qhd", probabilities(query[one], key[one], scale), value[one])]

        (output,) = by_sequence(starts, [query], attend)
        random = torch.zeros(2, dtype=torch.uint64), torch.zeros((), dtype=torch.uint64)
        return output, query.new_zeros(query.shape[1], query.shape[0]), *random, query.new_empty(0)

    def backward(grad, query, key, value, output, _, starts, *others, scale=None, **more):
        def attend(one):
            weights = probabilities(query[one], key[one], scale)
            of_weights = torch.einsum("qhd,khd->hqk", grad[one], value[one])
            of_scores = weights * (of_weights - (of_weights * weights).sum(dim=-1, keepdim=True))
            of_scores = of_scores * (scale or query.shape[-1] ** -0.5)
            yield torch.einsum("hqk,khd->qhd", of_scores, key[one])
            yield torch.einsum("hqk,qhd->khd", of_scores, query[one])
            yield torch.einsum("hqk,qhd->khd", weights, grad[one])

        return tuple(by_sequence(starts, [query, key, value], attend))

    calls = []
    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", forward, "CPU")
    library.impl("_flash_attention_backward", backward, "CPU")
    ways.why_not.cache_clear()
    yield calls
    library._destroy()
    ways.why_not.cache_clear()


@pytest.mark.parametrize(
    ("multiple", "backend"),
    [(64, None), *(pytest.param(multiple, "aot_eager", marks=pytest.mark.slow) for multiple in (64, None))],
)
def test_the_flash_operator_in_a_graph_gives_the_numbers_of_rectangles(
    multiple, backend, make_model, make_batch, flash_on_cpu
):
    model = make_model(mask_prob=0.3, disc_weight=1.0)
    batches = [make_batch((30, 7, 3)), make_batch((21, 20, 19, 5))]
    expected = [step(model, batch) for batch in batches]
    ways.use_unpadded_attention(model, "flash")
    compiled.compile_layers(model, multiple=multiple, backend=backend or Recorder())
    step(model, batches[0])  # the way is tried
    for batch, numbers in zip(batches, expected, strict=True):
        flash_on_cpu.clear()
        assert_same(step(model, batch), numbers)
        tokens = int(batch["attention_mask"].sum())
        tokens = tokens if multiple is None else -(-tokens // multiple) * multiple
        assert {shape[0] for shape in flash_on_cpu} == {tokens}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_where_a_graph_cannot_hold_a_way_of_attention_it_holds_rectangles(make_model, make_batch):
    model, batch, recorder = make_model(mask_prob=0.3, disc_weight=1.0), make_batch((30, 7, 3)), Recorder()
    expected = step(model, batch)
    ways.use_unpadded_attention(model, "nested")
    compiled.compile_layers(model, backend=recorder)
    assert_same(step(model, batch), expected)
    assert recorder.graphs == 2


def test_dummy_sequences_hold_the_dummy_tokens_and_no_other():
    attended = torch.arange(100) < torch.tensor([[5], [70], [0]])
    batch = UnpaddedBatch(attended, attended.long(), 75)
    boundaries, tokens = compiled.find_boundaries(batch, 256, in_rows=True)
    lengths = boundaries.cu_seqlens.diff().tolist()
    assert tokens == 256 and boundaries.max_seqlen == 128, "multiples of 256 and 64"
    assert lengths[:5] == [70, 5, 0, 128, 53] and sum(lengths[5:]) == 0 and len(lengths) == 64
    assert boundaries.there.sum(dim=1).tolist() == lengths
    assert torch.equal(boundaries.cells, boundaries.there.flatten().nonzero().squeeze(1))


def test_without_a_multiple_boundaries_are_those_of_the_batch():
    attended = torch.arange(6) < torch.tensor([[2], [6], [3]])
    batch = UnpaddedBatch(attended, attended.long(), 11)
    boundaries, tokens = compiled.find_boundaries(batch, None, in_rows=False)
    assert (tokens, boundaries.cu_seqlens.tolist(), boundaries.max_seqlen) == (11, [0, 6, 9, 11], 6)
    assert boundaries.there is None and boundaries.cells is None


# ---- Few graphs -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_after_three_batches_nothing_more_is_recorded_in_training_nor_later(make_model, make_batch):
    model, recorder = make_model(dropout=0.1).train(), Recorder()
    compiled.compile_layers(model, backend=recorder)
    for mode, dtype in ((True, torch.bfloat16), (False, None)):
        counts = []
        model.train(mode)
        for lengths in RAGGED:
            step(model, make_batch(lengths), dtype)
            counts.append(recorder.graphs)
        assert counts[2] == counts[-1], (mode, dtype, counts)
    before = recorder.graphs
    model.train()
    for lengths in RAGGED[:3]:
        step(model, make_batch(lengths), torch.bfloat16)
    assert recorder.graphs == before, "back in a mode that was there before"
    assert recorder.graphs <= 4 * 2, "a network has one for each mode, and another where two sizes are equal by chance"


def test_layers_of_a_network_share_one_graph_and_nothing_breaks_it(make_model, make_batch):
    torch._dynamo.utils.counters.clear()
    model, recorder = (
        make_model(generator={"num_hidden_layers": 5}, discriminator={"num_hidden_layers": 7}),
        Recorder(),
    )
    compiled.compile_layers(model, backend=recorder)
    step(model, make_batch((30, 7, 3)))
    assert recorder.graphs == 2 and not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.slow
def test_with_a_multiple_shapes_have_graphs_of_their_own_up_to_a_bound(make_model, make_batch, monkeypatch):
    monkeypatch.setattr(compiled, "SHAPES_AT_MOST", 2)
    model, recorder, counts = make_model(mask_prob=0.3), Recorder(), []
    batches = [make_batch(lengths) for lengths in ((30, 7, 3), (12, 9), (64, 30, 5), (64, 64, 64), (60, 3, 1))]
    expected = [step(model, batch) for batch in batches]
    compiled.compile_layers(model, multiple=64, backend=recorder)
    for batch, numbers in zip(batches, expected, strict=True):
        assert_same(step(model, batch), numbers)
        counts.append(recorder.graphs)
    assert counts == [2, 2, 4, 4, 4], "64 tokens, 64, 128, 192 as plain layers, 64"


# ---- Where plain layers run -----------------------------------------------------------------------------------------


def test_under_gradient_checkpointing_plain_layers_run(make_model, make_batch):
    model, batch, recorder = make_model(dropout=0.1).train(), make_batch((30, 7, 3)), Recorder()
    expected = step(model, batch)
    compiled.compile_layers(model, backend=recorder)
    checkpoint_activations(model)
    assert_same(step(model, batch), expected)
    assert recorder.graphs == 0


def test_without_gradients_and_with_hidden_states_plain_layers_run(make_model, make_batch):
    model, batch, recorder = make_model(), make_batch((30, 7, 3)), Recorder()
    expected = model(**batch, output_hidden_states=True)
    compiled.compile_layers(model, backend=recorder)
    found = model(**batch, output_hidden_states=True)
    assert all(torch.equal(*pair) for pair in zip(found.hidden_states, expected.hidden_states, strict=True))
    with torch.no_grad():
        model(**batch)
    assert recorder.graphs == 0


@pytest.mark.slow
def test_a_model_that_is_compiled_as_a_whole_has_the_same_numbers(make_model, make_batch):
    model, batch, recorder = make_model(), make_batch((12, 7, 3)), Recorder()
    expected = model(**batch).loss
    compiled.compile_layers(model, backend=recorder)
    torch.compiler.reset()
    found = torch.compile(model, backend="eager")(**batch).loss
    torch.compiler.reset()
    assert_close(found, expected)
    assert recorder.graphs == 0


# ---- In place, and back ---------------------------------------------------------------------------------------------


def test_names_files_and_stock_exports_are_those_of_a_plain_model(make_model, make_batch, tmp_path):
    model = make_model()
    names, parameters = list(model.state_dict()), [id(parameter) for parameter in model.parameters()]
    model.save_pretrained(tmp_path / "plain")
    compiled.compile_layers(model, backend=Recorder())
    step(model, make_batch())
    assert list(model.state_dict()) == names and [id(parameter) for parameter in model.parameters()] == parameters
    model.save_pretrained(tmp_path / "compiled")
    model.discriminator.save_pretrained(tmp_path / "stock")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "plain" / file).read_bytes() == (tmp_path / "compiled" / file).read_bytes()
    loaded, batch = AutoModel.from_pretrained(tmp_path / "compiled"), make_batch()
    assert not compiled.are_compiled(loaded)
    assert_close(loaded(**batch).loss, model(**batch).loss)
    stock = ElectraForPreTraining.from_pretrained(tmp_path / "stock").state_dict()
    assert all(torch.equal(value, stock[name]) for name, value in model.discriminator.state_dict().items())


def test_copies_are_plain_and_compute_the_same(make_model, make_batch):
    model, batch, recorder = make_model(), make_batch((30, 7, 3)), Recorder()
    compiled.compile_layers(model, backend=recorder)
    expected, graphs = step(model, batch), recorder.graphs
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same(step(other, batch), expected)
    assert recorder.graphs == graphs == 2 and compiled.are_compiled(model)


def test_what_was_compiled_is_kept_for_the_next_time_unless_the_settings_are_others(make_model, make_batch):
    model, batch, recorder = make_model(), make_batch((30, 7, 3)), Recorder()
    for _ in range(2):
        assert not compiled.are_compiled(model)
        compiled.compile_layers(model, backend=recorder)
        assert compiled.are_compiled(model)
        step(model, batch)
        compiled.undo(model)
        assert recorder.graphs == 2
    before = model.generator.electra.encoder.compiled
    compiled.compile_layers(model, layers_at_once=2, backend=recorder)
    assert model.generator.electra.encoder.compiled is not before


# ---- Where it cannot be done ----------------------------------------------------------------------------------------


def test_what_it_needs_and_lacks_is_named(make_model, make_arguments, monkeypatch):
    model = make_model()
    assert compiled.why_not(model) is None and compiled.why_not(model, make_arguments()) is None
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", type(torch.__version__)("2.5.1"))
        assert "torch 2.6 or newer, and this is 2.5.1" in compiled.why_not(model)
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "_supports_attention_backend", False)
        assert "transformers 5.0 or newer" in compiled.why_not(model)
    assert "`torch_compile`" in compiled.why_not(model, make_arguments(torch_compile=True))
    assert "checkpointing" in compiled.why_not(model, make_arguments(**{CHECKPOINTING: True}))
    several = make_arguments()
    several._n_gpu = 2
    assert "one device a process" in compiled.why_not(model, several)
    checkpoint_activations(model)
    assert "checkpointing" in compiled.why_not(model)
    eager = make_model()
    eager.set_attn_implementation("eager")
    assert "no attention 'eager'" in compiled.why_not(eager)


def test_a_model_that_cannot_be_compiled_is_refused_and_so_are_wrong_numbers(make_model):
    model = make_model()
    with pytest.raises(ValueError, match="`layers_at_once` is 0"):
        compiled.compile_layers(model, layers_at_once=0)
    with pytest.raises(ValueError, match="`multiple` -5"):
        compiled.compile_layers(model, multiple=-5)
    checkpoint_activations(model)
    with pytest.raises(ValueError, match="cannot be compiled: gradient checkpointing"):
        compiled.compile_layers(model)
    assert not compiled.are_compiled(model)


# ---- Does it pay ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """`clock(plain, ours)`: steps take as long as a test says."""

    def say(plain, ours):
        taken = {False: plain, True: ours}
        monkeypatch.setattr(compiled, "seconds_of_steps", lambda model, *others: taken[compiled.are_compiled(model)])

    return say


@pytest.mark.slow
def test_compiled_layers_are_chosen_where_a_step_is_a_tenth_faster(make_model, make_batch, clock):
    model, batches, backend = make_model(), [make_batch((30, 7, 3))], Recorder()
    for plain, ours, chosen in ((0.012, 0.010, True), (0.0109, 0.010, False), (0.01, 0.02, False)):
        clock(plain, ours)
        verdict = compiled.pays(model, batches, backend=backend)
        assert (verdict.chosen, verdict.plain, verdict.compiled) == (chosen, plain, ours)
        assert f"a step takes {ours * 1e3:.1f} ms, with plain layers {plain * 1e3:.1f} ms" in verdict.why
    clock(0.024, 0.020)
    assert compiled.pays(model, batches * 2, backend=backend).compiled == 0.010, "a step, not all of them"


@pytest.mark.slow
def test_timing_leaves_weights_gradients_mode_and_random_numbers_as_they_were(make_model, make_batch, monkeypatch):
    monkeypatch.setattr(compiled, "SECONDS_OF_TIMING", 0.0)
    model, batches = make_model(dropout=0.1).train(), [make_batch((30, 7, 3)), make_batch((12, 9))]
    step(model, batches[0])
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    values = {name: gradient.clone() for name, gradient in gradients.items()}
    state = torch.get_rng_state()
    verdict = compiled.pays(model, batches, backend=Recorder())
    assert verdict.compiled > 0 and verdict.plain > 0 and verdict.to_compile > 0
    assert model.training and not compiled.are_compiled(model) and torch.equal(torch.get_rng_state(), state)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name]), name
        assert parameter.grad is gradients[name] and torch.equal(parameter.grad, values[name]), name


def no_compiler(graph, inputs):
    raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")


def doubled(graph, inputs):
    return lambda *arguments: tuple(2 * output for output in graph.forward(*arguments))


def not_a_number(graph, inputs):
    return lambda *arguments: tuple(float("nan") * output for output in graph.forward(*arguments))


def endless(graph, inputs):
    time.sleep(30)


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (no_compiler, "compiling failed: BackendCompilerFailed: .*RuntimeError: Failed to find C compiler"),
        pytest.param(doubled, "the results differ: loss", marks=pytest.mark.slow),
        pytest.param(not_a_number, "the results differ: loss nan", marks=pytest.mark.slow),
        (endless, "compiling took more than 1 s"),
    ],
)
def test_whatever_is_wrong_with_a_compiler_plain_layers_stay_with_the_reason(backend, reason, make_model, make_batch):
    model, batch = make_model().train(), make_batch((30, 7, 3))
    expected, state = step(model, batch), torch.get_rng_state()
    verdict = compiled.pays(model, [batch], backend=backend, seconds_to_compile=1.0 if backend is endless else 60.0)
    assert not verdict.chosen and verdict.compiled is None
    assert re.search(reason, verdict.why), verdict.why
    assert not compiled.are_compiled(model) and model.training and torch.equal(torch.get_rng_state(), state)
    assert_same(step(model, batch), expected, tolerance=0.0)


def test_a_batch_that_plain_layers_refuse_is_an_error_and_so_is_a_wrong_setting(make_model, make_batch):
    batch = make_batch()
    with pytest.raises(ValueError, match="`layers_at_once` is 0"):
        compiled.pays(make_model(), [batch], layers_at_once=0)
    batch["input_ids"][0, 1] = 1000
    with pytest.raises(ValueError, match="`input_ids` holds"):
        compiled.pays(make_model(), [batch], backend=Recorder())


def made_into_another_error():
    """As torch's own code does where an alarm goes off while it unpacks the sizes of a tensor."""
    try:
        time.sleep(30)
    except TooLong:
        raise TypeError("set_(): argument 'size' failed to unpack the object at pos 1") from None


def swallowed():
    """Goes on, as if nothing had been."""
    with contextlib.suppress(TooLong):
        time.sleep(30)
    time.sleep(30)


@pytest.mark.parametrize("block", [made_into_another_error, swallowed])
def test_time_is_up_whatever_a_library_makes_of_it(block, monkeypatch):
    monkeypatch.setattr(step_timing, "AGAIN", 0.05)
    with pytest.raises(TooLong), deadline(0.05):
        block()
    with pytest.raises(TypeError, match="in time"), deadline(60):
        raise TypeError("in time")


def test_time_is_up_at_once_and_the_alarm_of_others_still_rings():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *arguments: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(TooLong), deadline(0.05):
            time.sleep(30)
        assert not rang
        with deadline(60):
            pass
        time.sleep(0.6)
        assert rang == [1] and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_reason_against_it_is_the_verdict_without_a_step(make_model, monkeypatch):
    model = make_model()
    checkpoint_activations(model)
    monkeypatch.setattr(model, "forward", None)
    verdict = compiled.pays(model, [])
    assert not verdict.chosen and "checkpointing" in verdict.why


# ---- With the compiler itself, and in several processes -------------------------------------------------------------


@pytest.mark.slow
def test_the_compiler_gives_the_numbers_of_plain_layers(make_model, make_batch):
    """With torch's own random numbers, also where dropout draws; rows of one length, so that it draws alike."""
    one = {"num_hidden_layers": 1}
    model = make_model(mask_prob=0.3, disc_weight=1.0, generator=one, discriminator=one, dropout=0.2).train()
    batches = [make_batch((9, 9, 9)), make_batch((14, 14))]
    expected = [step(model, batch) for batch in batches]
    compiled.compile_layers(model, options={"fallback_random": True})
    for batch, numbers in zip(batches, expected, strict=True):
        assert_same(step(model, batch), numbers, tolerance=1e-4)


@pytest.mark.slow
def test_a_run_with_compiled_layers_that_is_resumed_is_the_run_that_was_never_stopped(
    make_trainer, make_model, tmp_path
):
    one = {"num_hidden_layers": 1}
    arguments = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "output_dir": str(tmp_path / "run")}

    def run(checkpoint):
        model = make_model(dropout=0.1, generator=one, discriminator=one)
        compiled.compile_layers(model)
        make_trainer(model, **arguments).train(resume_from_checkpoint=checkpoint)
        return dict(model.named_parameters())

    whole = run(None)
    resumed = run(str(tmp_path / "run" / "checkpoint-2"))
    for name, parameter in resumed.items():
        assert torch.equal(parameter, whole[name]), name
