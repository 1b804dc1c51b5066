"""Sentences by an encoder's layers: `examples/sentence_encoder`."""

import csv
import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, ElectraConfig, ElectraModel

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.train_tools.evaluation.arms import load_encoder
from examples import calling
from examples.sentence_encoder import layers
from examples.sentence_encoder.__main__ import main
from examples.sentence_encoder.folder import write_folder


SUBJECTS, OBJECTS, VERBS = (
    ("나 는", "너 는", "우리 는"),
    ("책 을", "글 을", "밥 을", "물 을"),
    ("읽는다", "쓴다", "먹는다"),
)
TEXTS = ["나 는 책 을 읽는다", "우리 는 물", "비", "나 는 책 을 쓴다 . 너 는 밥 을 먹는다 ."]


@pytest.fixture
def encoder(saved_pair):
    return load_encoder(str(saved_pair))[0].eval()


@pytest.fixture
def tokenizer_of_pair(saved_pair):
    return load_tokenizer(str(saved_pair))


def write_pairs(path, rows=24, header=("sentence1", "sentence2", "score"), seed=0):
    """Pairs of sentences whose score is how many of their three parts are the same."""
    draw = random.Random(seed)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for _ in range(rows):
            one, other = ([draw.choice(parts) for parts in (SUBJECTS, OBJECTS, VERBS)] for _ in range(2))
            same = sum(a == b for a, b in zip(one, other, strict=True)) + 0.5
            writer.writerow((" ".join(one), " ".join(other), same))
    return path


@pytest.fixture
def arguments(saved_pair, tmp_path):
    """Options of a call that works."""
    return {
        "--checkpoint": str(saved_pair),
        "--validation_file": str(write_pairs(tmp_path / "dev.csv")),
        "--test_file": str(write_pairs(tmp_path / "test.csv", seed=1)),
        "--output_dir": str(tmp_path / "out"),
    }


def call(options):
    return main([part for option in options.items() for part in option])


def test_a_vector_is_the_mean_over_the_tokens_of_a_text_alone(encoder, tokenizer_of_pair):
    vectors = layers.sentence_vectors(encoder, tokenizer_of_pair, TEXTS, max_length=16)
    assert vectors.shape == (encoder.config.num_hidden_layers + 1, len(TEXTS), encoder.config.hidden_size)
    for place, text in enumerate(TEXTS):
        with torch.no_grad():
            states = encoder(**tokenizer_of_pair(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        torch.testing.assert_close(vectors[:, place], torch.stack(states)[:, 0].mean(1))


def test_similarities_stand_in_the_order_of_the_pairs_whatever_the_batches(encoder, tokenizer_of_pair):
    pairs = [(TEXTS[3], TEXTS[0]), (TEXTS[2], TEXTS[2]), (TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[3])]
    together = layers.similarities(encoder, tokenizer_of_pair, pairs, max_length=16, batch_size=3)
    for place, pair in enumerate(pairs):
        vectors = layers.sentence_vectors(encoder, tokenizer_of_pair, list(pair), max_length=16)
        torch.testing.assert_close(together[:, place], torch.cosine_similarity(vectors[:, 0], vectors[:, 1], dim=-1))
    torch.testing.assert_close(together[:, 1], torch.ones(len(together)))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_layers_alone_end_in_the_states_that_the_whole_encoder_has_there(number, encoder, tokenizer_of_pair):
    batch = tokenizer_of_pair(TEXTS, padding=True, return_tensors="pt")
    cut = layers.first_layers(encoder, number)
    with torch.no_grad():
        whole, ended = encoder(**batch, output_hidden_states=True), cut(**batch)
    torch.testing.assert_close(ended.last_hidden_state, whole.hidden_states[number])
    assert len(whole.hidden_states) == 3 and encoder.config.num_hidden_layers == 2  # the whole one stays whole
    assert cut.config.num_hidden_layers == number


def test_tokens_in_common_are_counted_without_special_ones(tokenizer_of_pair):
    assert layers.tokens_in_common(tokenizer_of_pair, [("나 책", "책 너"), ("비", "비"), ("눈", "산")]) == [
        1 / 3,
        1,
        0,
    ]


def test_a_missing_package_is_named_with_the_command_that_installs_it(arguments, monkeypatch, capsys):
    monkeypatch.setattr(calling.importlib.util, "find_spec", lambda name: None)
    assert call(arguments) == 2
    assert (
        "needs sentence-transformers, which is not installed: `pip install -e '.[exits]'`" in capsys.readouterr().err
    )


@pytest.fixture
def without_sentence_transformers(monkeypatch):
    """What is refused is refused before the package is used."""
    monkeypatch.setattr("examples.sentence_encoder.__main__.require", lambda *modules: None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--validation_file": "sentence1,sentence2\n나,너\n"}, "which column is the label is not clear"),
        ({"--validation_file": "sentence1,sentence2,score\n나,너,many\n"}, "'many' is no number"),
        (
            {"--validation_file": "sentence1,score\n나,1.5\n너,2\n"},
            "is of two. Give --text_columns with two",
        ),
        ({"--validation_file": "sentence1,sentence2,score\n나,너,1.5\n너,나,2\n"}, "has 2 rows"),
        ({"--validation_file": ""}, "is empty (0 bytes)"),
        ({"--text_columns": "sentense1"}, "there is no column 'sentense1'"),
        ({"--max_length": "600"}, "--max_length 600: this encoder reads 3 to 64 tokens"),
        ({"--batch_size": "0"}, "--batch_size 0: it must be 1 or more"),
        ({"--checkpoint": "/no/where"}, "no folder with a checkpoint"),
    ],
)
def test_wrong_input_is_refused_with_a_message_and_leaves_nothing(
    changed, said, arguments, without_sentence_transformers, tmp_path, capsys
):
    if "--validation_file" in changed:
        (tmp_path / "wrong.csv").write_text(changed["--validation_file"], encoding="utf-8")
        changed = {"--validation_file": str(tmp_path / "wrong.csv")}
    assert call({**arguments, **changed}) == 2
    assert said in capsys.readouterr().err
    assert not Path(arguments["--output_dir"]).exists()


def test_a_checkpoint_without_a_tokenizer_is_refused(
    encoder, arguments, without_sentence_transformers, tmp_path, capsys
):
    encoder.save_pretrained(tmp_path / "bare")
    assert call({**arguments, "--checkpoint": str(tmp_path / "bare")}) == 2
    assert "holds no tokenizer" in capsys.readouterr().err


# ---- With sentence-transformers -------------------------------------------------------------------------------------


@pytest.fixture
def sentence_transformers(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip(
        "sentence_transformers", reason="needs sentence-transformers: pip install -e '.[exits]'"
    )


@pytest.mark.slow  # imports sentence-transformers
def test_the_folder_has_the_layer_that_is_best_on_validation_rows_and_gives_its_vectors(
    sentence_transformers, encoder, tokenizer_of_pair, arguments, capsys
):
    assert call(arguments) == 0
    printed = capsys.readouterr().out
    figures = [float(line.split("  <-")[0].split()[-1]) for line in printed.splitlines() if line.startswith("  after")]
    best = 1 + figures.index(max(figures))
    assert f"after layer {best} " in next(line for line in printed.splitlines() if "<- the best" in line)
    folder = Path(arguments["--output_dir"])
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == best
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    vectors = layers.sentence_vectors(encoder, tokenizer_of_pair, TEXTS, max_length=64)[best]
    torch.testing.assert_close(torch.from_numpy(model.encode(TEXTS)), vectors, atol=1e-5, rtol=0)
    assert model.max_seq_length == 64
    # Stock in all of it: no code, and `transformers` loads the same network.
    assert not list(folder.rglob("*.py"))
    stock = AutoModel.from_pretrained(folder, trust_remote_code=False)
    assert type(stock) is ElectraModel and len(stock.encoder.layer) == best
    assert len(AutoTokenizer.from_pretrained(folder, trust_remote_code=False)) == len(tokenizer_of_pair)


@pytest.mark.slow
def test_long_text_is_cut_where_it_was_when_the_layers_were_measured(
    sentence_transformers, encoder, tokenizer_of_pair, tmp_path
):
    long = [" ".join(["나 는 책 을 읽는다 ."] * 10)]
    assert write_folder(encoder, tokenizer_of_pair, 1, long, 8, tmp_path / "out") <= 1e-5
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert model.max_seq_length == 8
    expected = layers.sentence_vectors(encoder, tokenizer_of_pair, long, max_length=8)[1]
    torch.testing.assert_close(torch.from_numpy(model.encode(long)), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_folder_that_gives_other_vectors_is_not_kept(
    sentence_transformers, encoder, tokenizer_of_pair, tmp_path, monkeypatch
):
    monkeypatch.setattr("examples.sentence_encoder.folder.first_layers", lambda whole, number: whole)
    with pytest.raises(ValueError, match="something behind its last layer"):
        write_folder(encoder, tokenizer_of_pair, 1, TEXTS, 16, tmp_path / "out")
    assert list(tmp_path.glob("*")) == []


@pytest.mark.slow
def test_a_stock_encoder_of_half_precision_and_tabs_in_the_files_do_as_well(
    sentence_transformers, tokenizer, tmp_path, capsys
):
    config = ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    ElectraModel(config).half().save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    rows = write_pairs(tmp_path / "dev.csv", header=("a", "b", "close")).read_text(encoding="utf-8")
    (tmp_path / "dev.tsv").write_text(rows.replace(",", "\t"), encoding="utf-8")
    options = [
        *("--checkpoint", str(tmp_path / "encoder"), "--validation_file", str(tmp_path / "dev.tsv")),
        *("--output_dir", str(tmp_path / "out"), "--text_columns", "a", "b", "--label_column", "close"),
    ]
    assert main(options) == 0
    vectors = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    assert vectors.dtype.name == "float32" and vectors.shape == (len(TEXTS), 16)
