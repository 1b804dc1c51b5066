"""Pretraining as a run: its documents, its rows, its vocabulary, what the networks read, and what comes out."""

import json
import logging
import shutil
from functools import wraps
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments, set_seed

from electra_rtd import ElectraRTDForPreTraining, cli
from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.train_tools import PretrainArguments, pretrain
from electra_rtd.train_tools.data import read_text
from electra_rtd.train_tools.from_scratch import build_pair, train_tokenizer
from electra_rtd.train_tools.run_text import part_in_order, read_texts
from electra_rtd.train_tools.start import load_start
from electra_rtd.train_tools.text.packed import pack_text, padding_share


WORDS = "나 너 우리 학교 책 비 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글 간다 온다 본다".split()  # noqa: SIM905
ROWS = [" ".join(WORDS[(7 * row + step) % len(WORDS)] for step in range(4 + row % 9)) for row in range(200)]


@pytest.fixture
def vocabulary(tmp_path):
    """A tokenizer of the words of `ROWS`, and its folder."""
    tokenizer = train_tokenizer(ROWS, 100)
    tokenizer.save_pretrained(tmp_path / "vocabulary")
    return tokenizer


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "corpus.txt").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    return "corpus.txt"


def training_args(**named):
    named = {"output_dir": "out", "use_cpu": True, "report_to": "none", "disable_tqdm": True, **named}
    return TrainingArguments(**{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, **named})


# ---- Documents ----


def documents_of(*sources, **named):
    rows = read_text(list(sources), documents=True, **named).dataset
    return list(zip(rows["text"][:], rows["document"][:], strict=True))


def test_empty_lines_and_files_end_documents(tmp_path):
    (tmp_path / "a.txt").write_text("하나\n둘\n\n \n셋\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n넷\n", encoding="utf-8")
    rows = documents_of("a.txt", "b.txt")
    assert [text for text, _ in rows] == ["하나", "둘", "셋", "넷"]
    numbers = [number for _, number in rows]
    assert numbers[0] == numbers[1] < numbers[2] < numbers[3]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "saved"])
def test_a_column_of_any_kind_says_where_documents_end(kind, tmp_path):
    columns = {"text": ["하나", "둘", "셋", "넷", "다섯"], "page": [7, 7, 8, None, 7]}
    if kind == "parquet":
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    elif kind == "saved":
        Dataset.from_dict(columns).save_to_disk(tmp_path / "a.saved")
    elif kind == "jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        sign = {"csv": ",", "tsv": "\t"}[kind]
        rows = [f"{text}{sign}{'' if page is None else page}\n" for text, page in zip(*columns.values(), strict=True)]
        (tmp_path / f"a.{kind}").write_text(f"text{sign}page\n" + "".join(rows), encoding="utf-8")
    rows = documents_of(f"a.{kind}", document_column="page")
    assert [text for text, _ in rows] == columns["text"]
    assert np.diff([number for _, number in rows]).tolist() == [0, 1, 1, 1]


def test_a_column_that_is_not_there_is_named(tmp_path, corpus):
    (tmp_path / "a.csv").write_text("text,page\n하나,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no column 'seite' for `document_column`: the columns are: text, page"):
        documents_of("a.csv", document_column="seite")
    with pytest.raises(ValueError, match=r"`document_column`: lines have no columns"):
        documents_of(corpus, document_column="page")


def test_documents_do_not_change_what_is_read_without_them(corpus):
    plain = read_text([corpus]).dataset
    assert plain.column_names == ["text"]
    assert plain["text"][:] == read_text([corpus], documents=True).dataset["text"][:] == ROWS


@pytest.mark.parametrize(("rows", "held_out"), [(2, 1), (10, 1), (1000, 50), (5000, 3000)])
def test_what_is_held_out_leaves_both_parts_in_order_and_apart(rows, held_out):
    texts = [str(number) for number in range(rows)]
    text = Dataset.from_dict({"text": texts, "document": [number // 37 for number in range(rows)]})
    train, kept = part_in_order(text, held_out, seed=1)
    assert len(kept) <= held_out and len(kept) >= held_out - max(1, held_out // 10)
    assert sorted([*train["text"][:], *kept["text"][:]], key=int) == texts
    for part in (train, kept):
        numbers, documents = np.array(list(map(int, part["text"]))), np.array(part["document"][:])
        assert (np.diff(numbers) > 0).all()
        same = np.diff(documents) == 0
        assert (np.diff(numbers)[same] == 1).all() and (numbers[1:] // 37 == numbers[:-1] // 37)[same].all()
    again = part_in_order(text, held_out, seed=1)[1]
    assert again["text"][:] == kept["text"][:]


def test_a_text_of_one_row_leaves_nothing_to_hold_out(tmp_path):
    (tmp_path / "one.txt").write_text("하나\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds one row of text"):
        read_texts(PretrainArguments(preset="tiny", train_file=["one.txt"]), seed=0)


# ---- Rows ----


def test_packed_rows_hold_the_text_of_their_documents_alone(vocabulary):
    text = Dataset.from_dict({"text": ROWS, "document": [number // 50 for number in range(200)]})
    rows = pack_text(text, vocabulary, max_length=32)
    decoded = [vocabulary.decode(row, skip_special_tokens=True) for row in rows["input_ids"]]
    assert " ".join(decoded).split() == " ".join(ROWS).split()
    ends = np.cumsum([len(" ".join(ROWS[first : first + 50]).split()) for first in range(0, 200, 50)])
    reached = np.cumsum([len(row.split()) for row in decoded])
    assert set(ends) <= set(reached)
    assert padding_share(rows, 32) < 0.06
    assert all(
        sum(types) == 0 or types.index(1) == ids.index(vocabulary.sep_token_id) + 1
        for ids, types in zip(rows["input_ids"], rows["token_type_ids"], strict=True)
    )


def test_a_tokenizer_without_sep_cannot_pack(vocabulary):
    vocabulary.sep_token = None
    text = Dataset.from_dict({"text": ROWS, "document": [0] * 200})
    with pytest.raises(ValueError, match=r"`packing` puts rows together with \[CLS\] and \[SEP\].*`packing=no`"):
        pack_text(text, vocabulary, max_length=32)


# ---- Vocabulary ----


@pytest.mark.parametrize(
    ("preset", "said", "tokens"),
    [("electra-small", {}, ["cafe"]), ("electra-small", {"do_lower_case": False}, ["Café"]), ("tiny", {}, ["Café"])],
)
def test_a_vocabulary_is_cased_as_the_preset_says(preset, said, tokens):
    arguments = PretrainArguments(preset=preset, train_file=["x"], vocab_size=60, **said)
    small = PretrainArguments(preset="tiny", train_file=["x"], vocab_size=60, do_lower_case=arguments.do_lower_case)
    small.preset = preset
    text = Dataset.from_dict({"text": ["Café Café Café"] * 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("electra_rtd.train_tools.start.build_pair", lambda *_, **__: None)
        _, tokenizer = load_start(small, text, None)
    assert tokenizer.tokenize("Café") == tokens


def test_korean_text_in_a_preset_that_strips_marks_is_warned_of(caplog, monkeypatch):
    monkeypatch.setattr("electra_rtd.train_tools.start.build_pair", lambda *_, **__: None)
    text = Dataset.from_dict({"text": ROWS})
    for preset, warned in (("electra-small", True), ("koelectra-small-v3", False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="electra_rtd"):
            load_start(PretrainArguments(preset=preset, train_file=["x"], vocab_size=100), text, None)
        assert ("takes every syllable apart" in caplog.text) is warned


# ---- The run ----


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A run of two steps by the library, without fast settings; `folder` has all it read."""
    folder = tmp_path_factory.mktemp("pretrained")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.chdir(folder)
        (folder / "corpus.txt").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
        (folder / "held-out.txt").write_text("\n".join(ROWS[:20]) + "\n", encoding="utf-8")
        train_tokenizer(ROWS, 100).save_pretrained("vocabulary")
        forward = ElectraRTDForPreTraining.forward

        @wraps(forward)
        def watched(model, *arguments, **named):
            if model.training:
                seen.append(named.get("token_type_ids"))
            return forward(model, *arguments, **named)

        patch.setattr(ElectraRTDForPreTraining, "forward", watched)
        files = {"train_file": ["corpus.txt"], "validation_file": ["held-out.txt"], "tokenizer": "vocabulary"}
        arguments = PretrainArguments(preset="tiny", **files, max_seq_length=32, sample_steps=0, fast=False)
        result = pretrain(
            arguments, training_args(max_steps=20, num_train_epochs=3), given={"gradient_accumulation_steps"}
        )
        torch.save(seen, folder / "seen.pt")
    return SimpleNamespace(folder=folder, result=result, seen=seen)


def by_hand(folder, **changes):
    """The weights of a Trainer that was given the same numbers one by one."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "vocabulary")
    text = read_text([folder / "corpus.txt"], documents=True).dataset
    rows = pack_text(text, tokenizer, max_length=32, seed=42)
    set_seed(42)
    model = build_pair("tiny", tokenizer)
    numbers = {"learning_rate": 5e-4, "warmup_steps": 2, "weight_decay": 0.01, "max_grad_norm": 1.0, "max_steps": 20}
    numbers |= {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-6, "lr_scheduler_type": "linear"}
    args = training_args(output_dir=str(folder / "by-hand"), save_strategy="no", **(numbers | changes))
    trainer = Trainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    return trainer.model.state_dict()


def test_the_weights_are_those_of_a_trainer_with_the_same_numbers(pretrained):
    trained = AutoModel.from_pretrained(pretrained.folder / "out").state_dict()
    expected = by_hand(pretrained.folder)
    assert [name for name, weights in trained.items() if not torch.equal(weights, expected[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"adam_epsilon": 1e-8}, {"adam_beta2": 0.98}, {"weight_decay": 0.0}, {"warmup_steps": 1}, {"max_grad_norm": 9.0}],
)
def test_each_of_the_numbers_tells(changes, pretrained):
    """So the test above would see one that is not passed on."""
    trained = AutoModel.from_pretrained(pretrained.folder / "out").state_dict()
    other = by_hand(pretrained.folder, **changes)
    assert any(not torch.equal(weights, other[name]) for name, weights in trained.items())


def test_the_networks_read_two_segments(pretrained):
    assert len(pretrained.seen) == 20
    assert all(types is not None and set(types.unique().tolist()) == {0, 1} for types in pretrained.seen)


def test_a_run_leaves_what_adapt_leaves(pretrained):
    out = pretrained.folder / "out"
    results = json.loads((out / "adapt_results.json").read_text(encoding="utf-8"))
    settings = results["settings"]
    assert results["steps"] == pretrained.result.steps == 20
    assert settings["preset"] == "tiny" and settings["packing"] == "yes" and settings["tokenizer"] == "vocabulary"
    assert (settings["adam_epsilon"], settings["warmup_steps"], settings["learning_rate"]) == (1e-6, 2, 5e-4)
    assert verify_checkpoint(out).ok
    assert json.loads((out / "discriminator" / "config.json").read_text())["hidden_size"] == 128
    assert pretrained.result.before["loss"] > pretrained.result.after["loss"]


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_and_can_be_replaced(corpus, vocabulary, tmp_path):
    options = ["--preset", "tiny", "--train_file", corpus, "--tokenizer", "vocabulary", "--max_seq_length", "32"]
    options += ["--max_steps", "6", "--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"]
    options += ["--save_steps", "3", "--save_total_limit", "9", "--sample_steps", "0", "--no_fast", "--use_cpu"]
    options += ["--disable_tqdm", "true", "--report_to", "none"]
    assert cli.main(["pretrain", *options, "--output_dir", "whole"]) == 0
    assert cli.main(["pretrain", *options, "--output_dir", "whole"]) == 2  # not without a word
    whole = AutoModel.from_pretrained("whole").state_dict()
    shutil.rmtree("whole/checkpoint-6")
    assert cli.main(["pretrain", *options, "--output_dir", "whole", "--resume"]) == 0
    again = AutoModel.from_pretrained("whole").state_dict()
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    assert cli.main(["pretrain", *options, "--output_dir", "whole", "--overwrite", "--max_steps", "1"]) == 0
    assert json.loads((tmp_path / "whole" / "adapt_results.json").read_text(encoding="utf-8"))["steps"] == 1
