"""General text in every epoch: as much as was asked for, other text each time, and the same again in a resumed run."""

import json
import logging
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import AutoModel, DataCollatorWithPadding, Trainer

from electra_rtd.train_tools import AdaptArguments
from electra_rtd.train_tools.epoch_order import EpochOrder
from electra_rtd.train_tools.fast import GROUPING
from electra_rtd.train_tools.recipes import AdaptResult
from electra_rtd.train_tools.replay import ReplayDraw, ReplayedText
from electra_rtd.train_tools.report.report_texts import TEXTS
from electra_rtd.train_tools.report.run import read_run
from electra_rtd.train_tools.report.tables import both_texts
from electra_rtd.train_tools.run_text import read_general
from electra_rtd.train_tools.summary import summary


DOMAIN, GENERAL = 27, 40  # sequences
GENERAL_ROWS = [
    f"{word} {other}" for word in ("비", "눈", "산", "강") for other in ("온다", "간다", "본다", "많다", "크다")
]


@pytest.fixture
def texts(ids):
    """Two tokenized texts: the second and third token say which row of which text. General rows differ in length."""
    first, second = ids.ordinary[:2]
    domain = [[ids.cls, first, ids.ordinary[2 + row], ids.sep] for row in range(DOMAIN)]
    general = [[ids.cls, second, ids.ordinary[2 + row], *[second] * (row % 6), ids.sep] for row in range(GENERAL)]
    return Dataset.from_dict({"input_ids": domain}), Dataset.from_dict({"input_ids": general})


class Recorder(DataCollatorWithPadding):
    """Keeps what a Trainer reads, in order."""

    def __call__(self, features):
        self.read.append([(one["input_ids"][1], one["input_ids"][2], len(one["input_ids"])) for one in features])
        return super().__call__(features)


@pytest.fixture
def read_by_trainer(texts, ids, make_model, make_arguments, tokenizer):
    """What the stock Trainer reads in each epoch: `list` of `list` of (is general, row, length)."""

    def read_epochs(share=0.1, epochs=3, **arguments):
        recorder = Recorder(tokenizer)
        recorder.read = []
        text = ReplayedText(*texts, share, seed=arguments.get("seed", 42))
        arguments = {"max_steps": -1, "num_train_epochs": epochs, "eval_strategy": "no", **arguments}
        Trainer(
            model=make_model(),
            args=make_arguments(**arguments),
            data_collator=recorder,
            train_dataset=text,
            processing_class=tokenizer,
            callbacks=[EpochOrder(), ReplayDraw(text)],
        ).train()
        read = [one for batch in recorder.read for one in batch]
        rows = [(kind == ids.ordinary[1], ids.ordinary.index(row) - 2, length) for kind, row, length in read]
        return [rows[first : first + len(text)] for first in range(0, len(rows), len(text))]

    return read_epochs


@pytest.mark.parametrize("options", [{}, {GROUPING[0]: GROUPING[1]}], ids=["random", "like lengths"])
def test_every_epoch_has_all_of_the_domain_and_its_share_of_general_text_which_is_other_text_each_time(
    read_by_trainer, options
):
    epochs = read_by_trainer(share=0.25, **options)
    drawn = [sorted(row for is_general, row, _ in epoch if is_general) for epoch in epochs]
    assert len(epochs) == 3 and all(len(rows) == 9 for rows in drawn)  # 9 of 36
    for epoch in epochs:
        assert sorted(row for is_general, row, _ in epoch if not is_general) == list(range(DOMAIN))
    assert len({*drawn[0], *drawn[1], *drawn[2]}) == 27  # none again while others were not seen
    if options:  # by the lengths of what this epoch has: the Trainer sorts eight at a time, and moves the first
        lengths = [length for epoch in epochs for _, _, length in epoch]
        firsts = [36 * epoch + first for epoch in range(3) for first in range(0, 36, 8)]
        parts = [lengths[first : min(first + 8, 36 * (first // 36 + 1))][1:] for first in firsts]
        assert all(part == sorted(part, reverse=True) for part in parts) and len({*map(tuple, parts)}) > 3


def test_what_is_drawn_depends_on_the_seed_and_the_epoch_alone(read_by_trainer):
    first, again, other = (read_by_trainer(share=0.25, epochs=1, seed=seed) for seed in (1, 1, 2))
    assert first == again
    drawn, others = ({row for is_general, row, _ in run[0] if is_general} for run in (first, other))
    assert drawn != others


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.1, 3), (0.5, 27), (0.001, 1), (0.9, 243)]
)  # 27 of the domain are 0.9, 0.5, (27 of 28 at least) and 0.1 of an epoch
def test_the_share_is_exact_and_the_general_text_stands_evenly(texts, share, drawn):
    text = ReplayedText(*texts, share, seed=0)
    assert text.drawn == drawn and len(text) == DOMAIN + drawn == len(list(text)) == len(text.lengths())
    assert [len(row["input_ids"]) for row in text] == text.lengths()
    gaps = Counter(text.is_general[: len(text) // 3].tolist())
    assert abs(gaps[True] - drawn / 3) <= 1  # of a third of the epoch, too


def test_all_of_the_general_text_is_read_before_any_is_read_again_and_then_in_another_order(texts):
    text = ReplayedText(*texts, share=0.25, seed=0)  # 9 of 40 an epoch
    rows = []
    for epoch in range(9):
        text.draw(epoch)
        rows += text._places[text.is_general].tolist()
    first, second = rows[:GENERAL], rows[GENERAL : 2 * GENERAL]
    assert sorted(first) == sorted(second) == list(range(DOMAIN, DOMAIN + GENERAL)) and first != second
    text.draw(4)
    assert text._places[text.is_general].tolist() == rows[36:45]  # whatever was drawn before
    assert Counter(ReplayedText(*texts, share=0.9, seed=0)._places.tolist()).most_common(1)[0][1] == math.ceil(
        243 / 40
    )


def test_processes_that_make_batches_and_live_on_see_what_is_drawn_later(texts):
    text = ReplayedText(*texts, share=0.25, seed=0)
    loader = DataLoader(text, batch_size=9, collate_fn=list, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        text.draw(epoch)
        assert [row for batch in loader for row in batch] == list(text)


# ---- adapt ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def general(tmp_path):
    (tmp_path / "general.txt").write_text("\n".join(GENERAL_ROWS) + "\n", encoding="utf-8")
    return ["--replay_file", "general.txt", "--replay-share", "0.25"]


def read_json(name, folder="out"):
    return json.loads(Path(folder, name).read_text(encoding="utf-8"))


def test_a_run_in_two_sessions_is_the_run_in_one_and_both_texts_stand_side_by_side(again, general, caplog):
    """Cut in the second epoch, with batches of like length: 57 rows and 19 others are 19 steps of 4."""
    options = [*general, *(f"--{GROUPING[0]}", GROUPING[1]), "--max_steps", 24, "--save_steps", 21]
    whole = again("--overwrite", "--output_dir", "whole", *options)
    caplog.set_level(logging.INFO, logger="electra_rtd")
    again("--overwrite", *options, "--max_steps", 21)
    resumed = again("--resume", *options)
    assert "Replay: 19 of 76 sequences of an epoch are general text (25.0%" in caplog.text
    assert "replayed" not in caplog.text
    weights, others = (AutoModel.from_pretrained(folder).state_dict() for folder in ("whole", "out"))
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name
    assert (resumed.general_before, resumed.general_after) == (whole.general_before, whole.general_after)

    results, held_out = read_json("adapt_results.json"), read_json("held_out.json")
    assert results["settings"]["replay_file"] == "general.txt" and results["settings"]["replay_share"] == 0.25
    assert results["general_before"] == resumed.general_before != resumed.before
    assert resumed.general_before.keys() == resumed.before.keys()
    for side in ("before", "after"):
        assert held_out["general"][side].items() >= results[f"general_{side}"].items()
        assert sum(held_out["general"][side]["calibration"]["count"]) == results[f"general_{side}"]["tokens"]
    log = read_json("trainer_state.json")["log_history"]
    rows = [row for row in log if "eval_general_loss" in row]
    assert [row["eval_general_loss"] for row in rows] == [
        results[f"general_{side}"]["loss"] for side in ("before", "after")
    ]
    assert [row["step"] for row in rows] == [0, 24] and all("eval_loss" in row for row in rows)

    table = both_texts(read_run("out"), TEXTS["en"])
    auc = next(row for row in table.rows if row[0].startswith(TEXTS["en"]["disc_auc"]))
    for cell, sides in zip(auc[1:], (("before", "after"), ("general_before", "general_after")), strict=True):
        before, after = (f"{100 * results[side]['disc_auc']:.1f}%" for side in sides)
        assert cell.startswith(f"{before} → {after}")
    assert both_texts(read_run("out"), TEXTS["ko"]) is not None

    caplog.clear()
    again("--resume", "--max_steps", 25)
    assert "replayed 19 of 18 general sequences an epoch, it goes on with no general text" in caplog.text


def test_a_finished_run_with_replay_resumes_to_itself(again, general):
    first = again("--overwrite", *general)
    log = read_json("trainer_state.json")["log_history"]
    assert again("--resume", *general) == first
    assert [sorted(row) for row in read_json("trainer_state.json")["log_history"]] == [sorted(row) for row in log]


def test_the_best_weights_are_those_of_the_domains_text(again, general):
    best = ["--eval_strategy", "steps", "--eval_steps", 2, "--load_best_model_at_end", "true"]
    again("--overwrite", *general, *best, "--metric_for_best_model", "mlm_loss", "--greater_is_better", "true")
    state = read_json("trainer_state.json")
    assert state["best_model_checkpoint"] == "out/checkpoint-2"
    losses = [row["eval_mlm_loss"] for row in state["log_history"] if "eval_loss" in row]
    assert state["best_metric"] == losses[1] == max(losses[1:])


# ---- What is held out, and what is said -----------------------------------------------------------------------------


def arguments_of(**named):
    return AdaptArguments(checkpoint="c", train_file=["text.csv"], **named)


def test_as_much_general_text_is_held_out_as_of_the_domain_and_a_tenth_at_most(text, general):
    arguments = arguments_of(replay_file=["general.txt"])
    for rows, held_out in ((1, 1), (2, 2), (100, 2)):
        parts = read_general(arguments, 0, rows)
        assert [len(part) for part in parts] == [20 - held_out, held_out]
        assert sorted([*parts[0]["text"], *parts[1]["text"]]) == sorted(GENERAL_ROWS)
    Path("held_out.txt").write_text("밥\n", encoding="utf-8")
    parts = read_general(replace(arguments, replay_validation_file=["held_out.txt"]), 0, 100)
    assert [len(part) for part in parts] == [20, 1]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"replay_share": 0.2}, "`replay_share` is about general text.*`replay_file=FILES`"),
        ({"replay_validation_file": ["a.txt"]}, "`replay_validation_file` is about general text"),
        ({"replay_file": ["a.txt"], "replay_share": 0.0}, r"`replay_share` is 0.0: it must be between 0 and 1"),
        ({"replay_file": ["a.txt"], "replay_share": 1.0}, r"`replay_share` is 1.0: it must be between 0 and 1"),
        ({"replay_file": ["a.txt"], "replay_share": float("nan")}, "`replay_share` is nan"),
    ],
)
def test_a_share_of_nothing_or_out_of_range_is_refused(named, message):
    with pytest.raises(ValueError, match=message):
        arguments_of(**named)


def test_a_file_without_a_share_takes_a_tenth_and_files_are_read_by_their_own_column(text, tmp_path):
    (tmp_path / "other.csv").write_text(
        "id,document\n" + "".join(f"{row},{one}\n" for row, one in enumerate(GENERAL_ROWS))
    )
    arguments = arguments_of(text_column="sen", replay_file=["other.csv"])
    assert arguments.replay_share == 0.1
    assert set(read_general(arguments, 0, 1)[0]["text"]) < set(GENERAL_ROWS)


def test_text_that_is_no_general_text_is_warned_of(text, general, caplog):
    Path("one.txt").write_text("밥\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"`replay_file` holds one row of text.*`replay_validation_file`"):
        read_general(arguments_of(replay_file=["one.txt"]), 0, 1)
    for named, message in (
        ({"replay_file": ["text.*"]}, "`train_file` text.csv is part of `replay_file` too: what is replayed is"),
        (
            {"replay_file": ["general.txt"], "validation_file": ["general.txt"]},
            "`validation_file` general.txt is part of `replay_file` too: the figures of held-out",
        ),
        (
            {"replay_file": ["general.txt"], "replay_validation_file": ["general.txt"]},
            "`replay_validation_file` general.txt is part of `replay_file` too",
        ),
    ):
        caplog.clear()
        read_general(arguments_of(**named), 0, 1)
        assert message in caplog.text


def test_too_little_general_text_is_said(again, general, caplog):
    again("--overwrite", *general, "--replay_share", 0.5, "--max_steps", 1)
    assert "each is read up to 4 times an epoch" in caplog.text  # 57 of 18


FIGURES = {"loss": 20.0, "mlm_loss": 4.5, "disc_loss": 0.31, "gen_acc": 0.2, "disc_acc": 0.7, "disc_auc": 0.85}
FIGURES |= {"lucky_hits": 0.1, "replaced_share": 0.15, "tokens": 5000, "frequency_loss": 5.5}


@pytest.mark.parametrize(
    ("changes", "cell", "said"),
    [
        ({"mlm_loss": 4.75, "disc_auc": 0.8}, "worse", "general text mlm_loss rose by 0.250, disc_auc fell by 0.050."),
        ({"mlm_loss": 4.4, "disc_auc": 0.8501}, "better", "Nothing was forgotten"),
        ({"disc_auc": 0.501}, "at chance", "disc_auc fell by 0.349."),
    ],
)
def test_the_summary_says_what_was_forgotten(changes, cell, said):
    result = AdaptResult({**FIGURES, "disc_auc": 0.8}, FIGURES, 1, 1, 1.0, 1.0, "out", "out/d", vocab_size=1000)
    shown = summary(replace(result, general_before=FIGURES, general_after={**FIGURES, **changes}))
    auc = next(line for line in shown.splitlines() if line.startswith("  disc_auc"))
    assert auc.split()[:4] == ["disc_auc", "0.8000", "0.8500", "better"] and auc.endswith(cell)
    assert said in shown and max(map(len, shown.split("Next:")[0].splitlines())) <= 100
