"""An encoder in ONNX Runtime: `examples/onnx_runtime`. What the graph computes is compared with torch, row by row."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, ElectraForSequenceClassification, ElectraForTokenClassification

from electra_rtd.train_tools.evaluation.arms import load_encoder
from examples.onnx_runtime import __main__ as command
from examples.onnx_runtime import agreement, speed
from examples.onnx_runtime.graph import INPUTS, Graph


BATCHES = [
    "no padding", "one row", "rows of one token", "one row of one token", "padding on the right",
    "padding on the left", "segments", "segments, padding on the left", "many rows", "the longest rows",
    "the longest rows, padding on the left", "holes in the mask", "a row without tokens",
]  # fmt: skip
HEADS = {"sequences": ElectraForSequenceClassification, "tokens": ElectraForTokenClassification}


@pytest.fixture(scope="module")
def networks(saved_pair, make_electra_config):
    """An encoder, and classifiers of sequences and tokens whose logits are far from 0."""
    torch.manual_seed(0)
    made = {
        name: head(make_electra_config(num_labels=3, max_position_embeddings=32)).eval()
        for name, head in HEADS.items()
    }
    with torch.no_grad():
        for network in made.values():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return {**made, "encoder": load_encoder(str(saved_pair))[0].eval()}


class TorchSession:
    """The graph as torch computes it, asked as a session of ONNX Runtime is."""

    class Output:
        def __init__(self, name):
            self.name = name

    def __init__(self, graph):
        self.graph = graph

    def get_outputs(self):
        return [self.Output(name) for name in self.graph.outputs]

    @torch.no_grad()
    def run(self, names, inputs):
        outputs = self.graph(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        return [dict(zip(self.graph.outputs, outputs, strict=True))[name].numpy() for name in names]


def batch_called(name, network):
    return next(batch for batch in agreement.make_batches(network.config) if batch.name == name)


@pytest.mark.parametrize("kind", ["encoder", "sequences", "tokens"])
@pytest.mark.parametrize("name", BATCHES)
def test_the_module_that_is_exported_gives_each_row_what_the_stock_network_gives_it_alone(name, kind, networks):
    session, batch = TorchSession(Graph(networks[kind])), batch_called(name, networks[kind])
    assert agreement.difference(session, networks[kind], batch) < 2e-6
    assert agreement.padding_matters(session, batch) == 0


def test_every_kind_of_batch_is_there_as_it_is_called(networks):
    batches = {batch.name: batch for batch in agreement.make_batches(networks["encoder"].config)}
    assert list(batches) == BATCHES
    longest = networks["encoder"].config.max_position_embeddings
    assert batches["the longest rows"].input_ids.shape == (2, longest)
    assert batches["padding on the right"].attention_mask.sum(1).tolist() == [12, 5, 1, 9]
    assert batches["padding on the right"].attention_mask[:, 0].all()
    assert batches["padding on the left"].attention_mask[:, -1].all()
    assert not batches["padding on the left"].attention_mask[:, 0].any()
    assert batches["segments"].token_type_ids.any() and not batches["padding on the left"].token_type_ids.any()
    assert batches["a row without tokens"].attention_mask.sum(1).tolist() == [6, 0, 3]
    holes = batches["holes in the mask"].attention_mask
    assert (holes.diff(dim=1).abs().sum(1) > 2).any()


class Plain(Graph):
    """The stock network as it is, as one would export it first."""

    def forward(self, input_ids, attention_mask, token_type_ids):
        output = self.network(input_ids, attention_mask, token_type_ids)[0]
        return (output,) if self.of_tokens == "logits" else (output, output.mean(1))


class Unmasked(Graph):
    def forward(self, input_ids, attention_mask, token_type_ids):
        states, _ = super().forward(input_ids, torch.ones_like(attention_mask), token_type_ids)
        there = attention_mask[..., None]
        return states, (states * there).sum(1) / there.sum(1).clamp(min=1)


@pytest.mark.parametrize(
    ("wrong", "kind", "name"),
    [
        (Plain, "encoder", "padding on the left"),  # positions
        (Plain, "sequences", "padding on the left"),  # the head reads the first column
        (Plain, "encoder", "padding on the right"),  # the mean over padding
        (Unmasked, "encoder", "padding on the right"),
        (Unmasked, "encoder", "holes in the mask"),
    ],
)
def test_a_graph_that_is_wrong_is_found_out(wrong, kind, name, networks):
    session, batch = TorchSession(wrong(networks[kind])), batch_called(name, networks[kind])
    assert agreement.difference(session, networks[kind], batch) > 1e-2


def test_a_graph_that_reads_padding_or_gives_what_is_not_finite_is_found_out(networks):
    batch = batch_called("padding on the right", networks["encoder"])
    assert agreement.padding_matters(TorchSession(Unmasked(networks["encoder"])), batch) > 1e-2

    class NotFinite(Graph):
        def forward(self, *inputs):
            return tuple(values / 0 for values in super().forward(*inputs))

    assert agreement.difference(TorchSession(NotFinite(networks["encoder"])), networks["encoder"], batch) == float(
        "inf"
    )


def test_a_row_without_tokens_has_the_sentence_vector_0(networks):
    batch = batch_called("a row without tokens", networks["encoder"])
    vectors = agreement.run(TorchSession(Graph(networks["encoder"])), batch)["sentence_embedding"]
    assert vectors[1].eq(0).all() and vectors[[0, 2]].any(1).all()


def test_the_rows_that_are_timed_have_lengths_of_a_quarter_up_to_all(networks):
    batch = speed.ragged_batch(networks["encoder"].config, rows=32, length=64)
    lengths = batch.attention_mask.sum(1)
    assert batch.input_ids.shape == (32, 64) and lengths.max() == 64 and lengths.min() >= 16 and len(set(lengths)) > 5


def test_torch_and_the_session_are_timed_in_turn(networks, monkeypatch):
    clock, order = iter([0, 3, 4, 0, 3, 4, 0, 6, 8, 0, 2, 6, 0, 4, 5]), []
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed, "run", lambda session, batch: order.append("session"))
    network = networks["encoder"]
    hook = network.register_forward_hook(lambda *arguments: order.append("torch"))
    # Two rounds are not counted; then 6 s and 2 s, 2 s and 4 s, 4 s and 1 s.
    found = speed.compare_speed(None, network, batch_called("one row", network), rounds=3)
    hook.remove()
    assert found == (4, 2, 3) and order == ["torch", "session"] * 5


def test_what_cannot_be_exported_is_refused_with_a_message(networks, tokenizer, tmp_path):
    networks["sequences"].save_pretrained(tmp_path / "classifier")
    assert type(command.load_network(str(tmp_path / "classifier"))) is ElectraForSequenceClassification
    config = tmp_path / "classifier" / "config.json"
    config.write_text(config.read_text().replace("ForSequenceClassification", "ForTokenClassification"))
    with pytest.raises(ValueError, match=r"lacks weights of ElectraForTokenClassification \(classifier"):
        command.load_network(str(tmp_path / "classifier"))
    with pytest.raises(OSError, match="no folder with a checkpoint"):
        command.load_network("/no/where")


# ---- With ONNX Runtime ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onnxruntime():
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=f"needs {name}: pip install -e '.[exits]'")
    return pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install -e '.[exits]'")


@pytest.fixture
def few_rounds(monkeypatch):
    monkeypatch.setattr(command, "SHAPES", ((1, 8), (2, 16)))


@pytest.mark.slow  # an export takes ten seconds
def test_a_pair_becomes_a_graph_that_agrees_with_torch_on_real_sentences_and_refuses_what_is_too_long(
    onnxruntime, saved_pair, networks, tmp_path, few_rounds, capsys
):
    folder = tmp_path / "onnx"
    assert command.main(["--checkpoint", str(saved_pair), "--output_dir", str(folder), "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in BATCHES) and printed.count("times as fast") == 2
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [value.shape for value in session.get_inputs()] == [["batch", "length"]] * 3
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    texts = ["나 는 책 을 읽는다 .", "비", "우리 는 밥 을 먹는다 . 너 는 물 을 본다 ."]
    for side in ("right", "left"):
        tokenizer.padding_side = side
        given = tokenizer(texts, padding=True, truncation=True, return_token_type_ids=True, return_tensors="np")
        vectors = session.run(["sentence_embedding"], dict(given))[0]
        for text, vector in zip(texts, vectors, strict=True):
            with torch.no_grad():
                states = networks["encoder"](**tokenizer(text, return_tensors="pt")).last_hidden_state
            torch.testing.assert_close(torch.from_numpy(vector), states[0].mean(0), atol=1e-5, rtol=0)
    longest = networks["encoder"].config.max_position_embeddings
    too_long = torch.ones(1, longest + 1, dtype=torch.long).numpy()
    with pytest.raises(Exception, match="Attempting to broadcast"):
        session.run(None, dict.fromkeys(INPUTS, too_long))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sequences", "tokens"])
def test_a_classifier_becomes_a_graph_of_its_logits(
    kind, onnxruntime, networks, tokenizer, tmp_path, few_rounds, capsys
):
    networks[kind].save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    folder = tmp_path / "onnx"
    assert command.main(["--checkpoint", str(tmp_path / "classifier"), "--output_dir", str(folder)]) == 0
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [value.name for value in session.get_outputs()] == ["logits"]
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert tokenizer.model_max_length == 32  # of the network; the tokenizer's own was more
    batch = batch_called("padding on the left", networks[kind])
    assert agreement.difference(session, networks[kind], batch) < 1e-5


@pytest.mark.slow
def test_a_graph_that_disagrees_is_not_kept(onnxruntime, saved_pair, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "Graph", Plain)
    folder = tmp_path / "onnx"
    assert command.main(["--checkpoint", str(saved_pair), "--output_dir", str(folder)]) == 2
    assert "The graph differs from torch" in capsys.readouterr().err
    assert not Path(folder).exists() and list(tmp_path.glob("*")) == []
