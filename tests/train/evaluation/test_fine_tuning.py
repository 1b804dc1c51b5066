"""One fine-tuning: rows as an encoder reads them, runs that differ in their start alone, each kind of task."""

import random
import statistics

import pytest
import torch

from electra_rtd.train_tools.evaluation.arms import Arm, open_arm
from electra_rtd.train_tools.evaluation.encoding import IGNORED, encode
from electra_rtd.train_tools.evaluation.fine_tuning import default_epochs, fine_tune
from electra_rtd.train_tools.evaluation.labels import Labels, Split


WORDS = "나 너 우리 학교 책 비 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글".split()  # noqa: SIM905


def made_up(kind, rows=32, seed=0):
    """Rows of one task that a tiny network can learn: whether `산` or `강` is in them, and how often."""
    draw = random.Random(seed)
    texts, targets = [], []
    for row in range(rows):
        words = draw.choices(WORDS[10:], k=draw.randint(2, 9))
        words += [["산", "강"][row % 2]] * 3
        draw.shuffle(words)
        if kind == "tokens":
            texts.append(words)
            targets.append([{"산": 1, "강": 2}.get(word, 0) for word in words])
        else:
            texts.append((" ".join(words), "나 너") if kind == "pair" else " ".join(words))
            targets.append(100.0 + 10 * (row % 2) if kind == "regression" else row % 2)
    names = {"tokens": ("O", "B-M", "B-R"), "regression": ()}.get(kind, ("mountain", "river"))
    return Labels(kind, texts, targets, names)


def made_up_split(kind):
    return Split(*(made_up(kind, rows, seed) for rows, seed in ((32, 0), (8, 1), (12, 2))))


@pytest.fixture(scope="module")
def arm(pair_folders):
    return open_arm("a", str(pair_folders[1]))


@pytest.fixture(scope="module")
def arm_with_dropout(tmp_path_factory, save_pair, tokenizer):
    """An arm whose fine-tunings draw from torch's generator in every step."""
    sizes = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    folder = tmp_path_factory.mktemp("dropout")
    return open_arm("d", str(save_pair(folder, tokenizer, discriminator=sizes)[1]))


# ---- Rows -----------------------------------------------------------------------------------------------------------


def test_labels_of_words_stand_at_their_first_pieces_alone(tokenizer):
    labels = Labels("tokens", [["나는", "학교", "간다"], ["비"]], [[1, 2, 0], [2]], ("O", "B-A", "B-B"))
    rows = encode(labels, tokenizer, 16)
    pieces = [tokenizer.convert_ids_to_tokens(row["input_ids"]) for row in rows.inputs]
    assert pieces[0] == ["[CLS]", "나", "##는", "학교", "간다", "[SEP]"]
    assert rows.targets == [[IGNORED, 1, IGNORED, 2, 0, IGNORED], [IGNORED, 2, IGNORED]]
    batch = rows.batch([1, 0])
    assert batch["labels"].tolist() == [[IGNORED, 2, *[IGNORED] * 4], [IGNORED, 1, IGNORED, 2, 0, IGNORED]]
    assert batch["input_ids"][0].tolist()[3:] == [tokenizer.pad_token_id] * 3
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]


def test_words_that_are_not_read_are_counted(tokenizer):
    labels = Labels(
        "tokens", [["나", "너", "우리", "책"], ["비", "\u200b", "눈"]], [[0, 1, 1, 1], [0, 1, 1]], ("O", "B-A")
    )
    rows = encode(labels, tokenizer, 4)  # [CLS], two pieces, [SEP]
    assert [places for _, places in rows.words] == [{0: 1, 1: 2}, {0: 1, 2: 2}] and rows.cut_off == 3


def test_texts_that_are_cut_are_counted_and_pairs_are_one_sequence(tokenizer):
    labels = Labels("pair", [("나 너", "우리 책 비 눈"), ("나", "너")], [0, 1], ("a", "b"))
    rows = encode(labels, tokenizer, 7)
    assert rows.cut_off == 1 and [len(row["input_ids"]) for row in rows.inputs] == [7, 5]
    assert rows.inputs[1]["token_type_ids"] == [0, 0, 0, 1, 1]
    assert "token_type_ids" not in encode(labels, tokenizer, 7, token_types=False).inputs[0]


def test_an_epoch_has_each_row_once_in_batches_of_like_length_that_no_tokenizer_changes(tokenizer, make_tokenizer):
    labels = made_up("single", 50)
    orders = []
    for one in (tokenizer, make_tokenizer(extra_words=["학교는"])):
        rows = encode(labels, one, 32)
        orders.append(rows.order(8, torch.Generator().manual_seed(3)))
    assert orders[0] == orders[1]
    assert sorted(index for batch in orders[0] for index in batch) == list(range(50))
    assert sorted(map(len, orders[0])) == [2, 8, 8, 8, 8, 8, 8]
    spreads = [statistics.pstdev(rows.sizes[index] for index in batch) for batch in orders[0]]
    assert statistics.fmean(spreads) < statistics.pstdev(rows.sizes) / 2
    assert rows.order(8, torch.Generator().manual_seed(4)) != orders[0]


@pytest.mark.parametrize(("rows", "epochs"), [(50, 50), (200, 15), (1000, 10), (6000, 10), (6001, 3), (1, 100)])
def test_few_rows_get_a_hundred_steps(rows, epochs):
    assert default_epochs(rows, 32) == epochs


# ---- Fine-tunings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "metric"), [("single", "accuracy"), ("pair", "accuracy"), ("tokens", "f1")])
def test_what_can_be_learnt_is_learnt(kind, metric, arm):
    result = fine_tune(arm, made_up_split(kind), seed=0, learning_rate=5e-3, epochs=12, batch_size=8)
    assert min(result.scores[metric], result.validation[metric]) >= 0.9 and result.collapsed is None
    assert result.steps == 48 and result.cut_off == 0
    if kind == "tokens":
        assert result.predictions == made_up("tokens", 12, 2).targets


def test_numbers_are_learnt_on_their_own_scale(arm):
    result = fine_tune(arm, made_up_split("regression"), seed=0, learning_rate=5e-3, epochs=12, batch_size=8)
    assert result.scores["pearson"] > 0.95
    for said, meant in zip(result.predictions, [100.0, 110.0] * 6, strict=True):
        assert said == pytest.approx(meant, abs=3)


def test_the_rate_reaches_the_layers_by_its_decay(arm, monkeypatch):
    """With nearly no decay left for them, the embeddings and first layers stay, and the head moves."""
    models = []
    make = Arm.model
    monkeypatch.setattr(Arm, "model", lambda self, *options: models.append(make(self, *options)) or models[-1])
    fine_tune(arm, made_up_split("single"), seed=0, learning_rate=1e-2, decay=1e-4, epochs=1, batch_size=8)
    before, after = make(arm, "single", 2, 0).state_dict(), models[0].state_dict()
    moved = {name: float((after[name] - before[name]).abs().max()) for name in before}
    assert moved["classifier.dense.weight"] > 1e-3
    assert max(change for name, change in moved.items() if name.startswith("electra.")) < 1e-5


def test_a_seed_decides_everything_whatever_was_drawn_before(arm_with_dropout):
    options = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 8}
    split = made_up_split("regression")  # whose predictions tell the least difference
    results = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        torch.rand(number + 1)
        results.append(fine_tune(arm_with_dropout, split, seed=seed, **options).predictions)
    assert results[0] == results[1] != results[2]


def test_words_behind_the_end_are_said_to_be_outside(arm):
    split = made_up_split("tokens")
    result = fine_tune(arm, split, seed=0, learning_rate=5e-3, epochs=12, batch_size=8, max_length=6)
    assert [len(row) for row in result.predictions] == [len(row) for row in split.test.targets]
    assert all(row[4:] == [0] * len(row[4:]) for row in result.predictions)
    assert result.cut_off == sum(len(row) - 4 for row in split.test.targets)
    assert result.scores["recall"] < 1


def test_a_fine_tuning_that_says_one_thing_is_named(arm):
    result = fine_tune(arm, made_up_split("single"), seed=0, learning_rate=0.5, epochs=4)
    assert result.collapsed.startswith("one class for all") and result.scores["accuracy"] == 0.5


def test_nothing_is_written_and_nothing_said(arm, tmp_path, capfd):
    fine_tune(arm, made_up_split("single"), seed=0, epochs=1)
    assert capfd.readouterr() == ("", "") and list(tmp_path.iterdir()) == []


def test_the_rows_that_are_read_are_reported(arm):
    told = []
    fine_tune(arm, made_up_split("single"), seed=0, epochs=2, batch_size=8, on_rows=told.append)
    assert sum(told) == 3 * 2 * 32 + 8 + 12 and len(told) == 8 + 2
