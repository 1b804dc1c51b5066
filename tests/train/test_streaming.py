"""Streams: every text once in a pass, alike whoever asks when, and gone on with in the middle as if nothing was."""

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node

from electra_rtd import cli
from electra_rtd.train_tools import adapt, read_text
from electra_rtd.train_tools.streaming import source_rows
from electra_rtd.train_tools.streaming.begin import _Reader, short_names
from electra_rtd.train_tools.streaming.callback import refuse_other_reading
from electra_rtd.train_tools.streaming.lane_text import LaneText
from electra_rtd.train_tools.streaming.rows import StreamedRows, StreamError
from electra_rtd.train_tools.streaming.shards import Source, find_source, hub_shards, without_first


specification = importlib.util.spec_from_file_location("streamed", Path(__file__).with_name("streamed.py"))
streamed = importlib.util.module_from_spec(specification)
specification.loader.exec_module(streamed)
plan_of, text_of, train_on, write_corpus = streamed.plan_of, streamed.text_of, streamed.train_on, streamed.write_corpus


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    """Few texts are tokenized at once, so that the places where a run goes on lie in the middle of files."""
    monkeypatch.setattr(source_rows, "TEXTS", 7)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture
def corpus(tmp_path):
    """A folder of six files of twenty texts."""
    write_corpus(tmp_path / "corpus")
    return tmp_path / "corpus"


def one_pass(lane):
    texts = []
    for item in lane:
        if item is None:
            return texts
        texts.append(item[1])


def batches_of(rows, numbers):
    size = rows.plan.batch
    return [rows.__getitems__(list(range(number * size, (number + 1) * size))) for number in numbers]


def rows_of(plan, folder, batches=1000, **options):
    folder.mkdir(exist_ok=True)
    return StreamedRows(plan, batches, folder, **options)


# ---- Who reads what -------------------------------------------------------


@pytest.mark.parametrize("lanes", [3, 4])  # a divisor of the files, and none
def test_lanes_divide_a_source_as_split_dataset_by_node_does(corpus, lanes):
    files = sorted(map(str, corpus.iterdir()))
    stream = load_dataset("json", data_files=files, split="train", streaming=True)
    source = find_source([str(corpus)])
    for lane in range(lanes):
        theirs = [row["text"] for row in split_dataset_by_node(stream, rank=lane, world_size=lanes)]
        assert one_pass(LaneText(source, lane, lanes)) == theirs


@pytest.mark.parametrize("lanes", [1, 2, 4, 7])
def test_a_pass_over_all_lanes_has_every_text_once_and_so_has_the_next(corpus, lanes):
    source = find_source([str(corpus)])
    readers = [LaneText(source, lane, lanes, seed=5) for lane in range(lanes)]
    passes = []
    for _ in range(2):
        texts = [text for reader in readers for text in one_pass(reader)]
        assert sorted(texts) == sorted(map(text_of, range(120)))
        passes.append(texts)
    assert passes[0] != passes[1]  # the files in another order


def test_a_dataset_of_the_hub_is_read_shard_by_shard_and_not_divided_again_in_a_worker(corpus, tokenizer, tmp_path):
    files = sorted(map(str, corpus.iterdir()))
    stream = load_dataset("json", data_files=files, split="train", streaming=True)
    shards = hub_shards("someone/texts", stream)
    assert [shard.name for shard in shards][-1] == "someone/texts, shard 6 of 6"
    source = Source("someone/texts", shards, "text")
    assert one_pass(LaneText(source, 0, 1)) == list(map(text_of, range(120)))
    plan = plan_of([corpus], tokenizer, lanes=2)
    hub_plan = type(plan)(**{**plan.__dict__, "sources": (source,)})
    expected = batches_of(rows_of(plan, tmp_path / "here"), range(12))
    rows = rows_of(hub_plan, tmp_path / "there", batches=12)
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=2, collate_fn=list)
    assert list(loader) == expected


# ---- Order ------------------------------------------------------------------


def test_without_a_buffer_rows_keep_the_order_of_the_text(corpus, tokenizer, tmp_path):
    rows = rows_of(plan_of([corpus], tokenizer, buffer=0), tmp_path / "state")
    read = [row["input_ids"] for batch in batches_of(rows, range(60)) for row in batch]
    assert read == [tokenizer(text_of(number))["input_ids"] for number in range(120)]


def test_rows_change_places_within_the_buffer_and_differently_with_another_seed(corpus, tokenizer, tmp_path):
    one_file = corpus / "0.jsonl"
    read = {}
    for seed in (0, 0, 1):
        rows = rows_of(plan_of([one_file], tokenizer, buffer=10, seed=seed), tmp_path / f"state{len(read)}")
        ids = [row["input_ids"] for batch in batches_of(rows, range(10)) for row in batch]
        assert read.setdefault(seed, ids) == ids
        expected = [tokenizer(text_of(number))["input_ids"] for number in range(20)]
        assert ids[:10] != expected[:10] and sorted(ids[:10]) == sorted(expected[:10])
        assert sorted(ids[10:]) == sorted(expected[10:])
    assert read[0] != read[1]


def test_which_rows_a_batch_has_does_not_depend_on_what_was_asked_for_before(corpus, tokenizer, tmp_path):
    plan = plan_of([corpus], tokenizer, lanes=2, packs=True)
    in_order = batches_of(rows_of(plan, tmp_path / "one"), range(40))
    other = rows_of(plan, tmp_path / "two")
    asked = [31, 4, 5, 39, 0, 12]
    assert [batches_of(other, [number])[0] for number in asked] == [in_order[number] for number in asked]
    assert other[2 * 31 + 1] == in_order[31][1]


def test_batches_of_like_length_hold_the_same_rows_with_less_padding(corpus, tokenizer, tmp_path):
    def read(groups):
        plan = plan_of([corpus], tokenizer, buffer=60, batch=4, groups=groups)
        return batches_of(rows_of(plan, tmp_path / f"{groups}"), range(15))

    def cells(batches):
        return sum(len(batch) * max(len(row["input_ids"]) for row in batch) for batch in batches)

    plain, grouped = read(False), read(True)
    assert sorted(str(row) for batch in plain for row in batch) == sorted(
        str(row) for batch in grouped for row in batch
    )
    tokens = sum(len(row["input_ids"]) for batch in plain for row in batch)
    assert cells(grouped) - tokens < (cells(plain) - tokens) / 4
    widths = [max(len(row["input_ids"]) for row in batch) for batch in grouped]
    assert widths != sorted(widths)  # not from short to long


# ---- Going on -------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "packs", "accumulation"), [(0, False, 1), (0, True, 2), (2, False, 1), (2, True, 1)]
)
def test_a_run_that_is_stopped_and_resumed_reads_what_an_undisturbed_one_reads(
    corpus, make_model, make_arguments, tokenizer, tmp_path, workers, packs, accumulation
):
    plan = plan_of([corpus], tokenizer, lanes=max(1, workers), packs=packs, buffer=3)

    def train(name, **options):
        args = make_arguments(
            output_dir=str(tmp_path / name),
            max_steps=9,
            per_device_train_batch_size=2,
            dataloader_num_workers=workers,
            gradient_accumulation_steps=accumulation,
        )
        model = make_model(mask_prob=0.4).train()
        return train_on(plan, model, args, tokenizer, tmp_path / f"{name}-state", **options), model.state_dict()

    straight, weights = train("straight")
    begun, _ = train("stopped", stop=5)
    ended, resumed = train("stopped", checkpoint=str(tmp_path / "stopped" / "checkpoint-5"))
    assert len(straight) == 9 * accumulation and begun == straight[: 5 * accumulation]
    assert ended == straight[5 * accumulation :]
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def test_fewer_workers_go_on_with_the_same_batches(corpus, make_model, make_arguments, tokenizer, tmp_path):
    plan = plan_of([corpus], tokenizer, lanes=2, buffer=3)

    def train(name, workers, **options):
        args = make_arguments(
            output_dir=str(tmp_path / name),
            max_steps=8,
            per_device_train_batch_size=2,
            dataloader_num_workers=workers,
        )
        return train_on(plan, make_model().train(), args, tokenizer, tmp_path / f"{name}-{workers}", **options)

    straight = train("straight", 2)
    assert train("stopped", 2, stop=3) == straight[:3]
    assert train("stopped", 0, checkpoint=str(tmp_path / "stopped" / "checkpoint-3")) == straight[3:]


@pytest.mark.slow
def test_two_processes_of_two_workers_go_on_where_they_were(corpus, make_model, tokenizer, tmp_path):
    make_model(mask_prob=0.4).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    worker = [str(Path(__file__).with_name("stream_worker.py")), str(tmp_path)]
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *worker],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    found = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2)]
    for seen in found:
        assert seen["world"] == 2 and len(seen["straight"]) == 8
        assert seen["begun"] + seen["ended"] == seen["straight"] and seen["alike"]
    rows = [str(row) for seen in found for batch in seen["straight"] for row in batch]
    assert len(set(rows)) == len(rows) == 32  # of 120: no process reads what the other one does


def test_the_state_in_a_checkpoint_is_small_whatever_the_buffer(corpus, tokenizer, tmp_path):
    rows = rows_of(plan_of([corpus], tokenizer, buffer=100, packs=True), tmp_path / "state")
    batches_of(rows, range(8))
    state = rows.state_of(0, 5)
    assert state["block"] == 0 and len(json.dumps(state)) < 2000


# ---- Mixtures and what is held out ----------------------------------------


def test_a_mixture_has_its_weights_and_a_source_that_ends_is_begun_again(tokenizer, tmp_path):
    write_corpus(tmp_path / "large", files=6, texts=50)
    write_corpus(tmp_path / "small", files=1, texts=20, first=500)
    large = {str(tokenizer(text_of(number))["input_ids"]) for number in range(300)}
    plan = plan_of([tmp_path / "large", tmp_path / "small"], tokenizer, weights=(0.7, 0.3), buffer=20)
    read = [str(row["input_ids"]) for batch in batches_of(rows_of(plan, tmp_path / "s"), range(200)) for row in batch]
    assert 0.65 < sum(row in large for row in read) / 400 < 0.75
    counts = Counter(row for row in read if row not in large)
    assert len(counts) == 20 and max(counts.values()) - min(counts.values()) <= 1  # again, and none before its turn
    assert max(Counter(row for row in read if row in large).values()) == 1


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_the_first_rows_are_held_out_of_every_pass(corpus, lanes):
    source = find_source([str(corpus)])
    reader = _Reader(source)
    held_out = reader.read(27)["text"]  # a file and a part of the next
    assert list(held_out) == list(map(text_of, range(27)))
    rest = without_first(source, reader.counts())
    readers = [LaneText(rest, lane, lanes, seed=1) for lane in range(lanes)]
    for _ in range(2):
        assert sorted(text for lane in readers for text in one_pass(lane)) == sorted(map(text_of, range(27, 120)))


def test_names_of_sources_are_those_of_no_other_figure():
    assert short_names(["data/wiki.jsonl.zst", "a/mlm", "b/wiki/", "user/news-ko", "*.txt"]) == (
        "wiki",
        "mlm_2",
        "wiki_3",
        "news-ko",
        "source_5",
    )


# ---- What cannot be read ----------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_is_cut_short_is_named_in_one_line(corpus, tokenizer, tmp_path, workers):
    packed = gzip.compress((corpus / "3.jsonl").read_bytes())
    (corpus / "3.jsonl").unlink()
    (corpus / "3.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    rows = rows_of(plan_of([corpus], tokenizer, lanes=max(1, workers)), tmp_path / "state", batches=60)
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=workers, collate_fn=list)
    with pytest.raises(StreamError, match=r"^[^\n]*3\.jsonl\.gz is cut off or damaged: [^\n]*$"):
        list(loader)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "나 너"', r"2\.jsonl could not be read as json: line 21"),
        ('{"text": 7}', r"2\.jsonl, line 21: 'text' holds a number, not text"),
        ('["나"]', r"2\.jsonl, line 21 holds a list: a row must be an object"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(corpus, tokenizer, tmp_path, line, message):
    with open(corpus / "2.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(StreamError, match=message):
        batches_of(rows_of(plan_of([corpus], tokenizer), tmp_path / "state"), range(60))


def test_empty_texts_are_left_out_and_a_file_without_the_column_is_named(corpus, tokenizer, tmp_path):
    (corpus / "0.jsonl").write_text('{"text": ""}\n{"text": null}\n{"text": "나 너"}\n', encoding="utf-8")
    (corpus / "1.jsonl").write_text('{"body": "나 너"}\n', encoding="utf-8")
    rows = rows_of(plan_of([corpus], tokenizer, buffer=0, batch=1), tmp_path / "state")
    with pytest.raises(StreamError, match=r"1\.jsonl: there is no column 'text'. The columns are: body"):
        batches_of(rows, range(2))


def test_more_readers_than_texts_are_refused(tmp_path, tokenizer):
    write_corpus(tmp_path / "little", files=1, texts=2)
    rows = rows_of(plan_of([tmp_path / "little"], tokenizer, lanes=3), tmp_path / "state")
    with pytest.raises(StreamError, match=r"no text in part 3 of 3 .* a smaller `dataloader_num_workers`"):
        batches_of(rows, [2])


def test_zstd_is_read_by_the_name(corpus, tmp_path):
    pa = pytest.importorskip("pyarrow")
    whole = (corpus / "0.jsonl").read_bytes()
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(whole, "zstd", asbytes=True))
    assert list(read_text(tmp_path / "a.jsonl.zst").dataset["text"]) == list(map(text_of, range(20)))
    (tmp_path / "b.jsonl.zst").write_bytes((tmp_path / "a.jsonl.zst").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"b\.jsonl\.zst is not zstd, cut off or damaged: .* `zstd -t "):
        read_text(tmp_path / "b.jsonl.zst")


# ---- The recipe -------------------------------------------------------------


STREAM = [
    *("--streaming", "--validation_rows", "8", "--shuffle_buffer", "20", "--max_steps", "4", "--max_seq_length", "32"),
    *(
        "--per_device_train_batch_size",
        "4",
        "--learning_rate",
        "1e-3",
        "--logging_steps",
        "2",
        "--eval_strategy",
        "no",
    ),
    *("--save_steps", "2", "--save_total_limit", "9", "--sample_steps", "0", "--no_fast", "--use_cpu"),
    *("--disable_tqdm", "true", "--report_to", "none", "--output_dir", "out"),
]


@pytest.fixture
def parse(pair_folders):
    def parse(*options):
        start = ["--generator", str(pair_folders[0]), "--discriminator", str(pair_folders[1])]
        return cli.parse_adapt([*start, *STREAM, *map(str, options)])

    return parse


@pytest.fixture
def run(parse):
    def run(*options):
        arguments, training_args, given = parse(*options)
        return adapt(arguments, training_args, given=given)

    return run


@pytest.mark.slow
def test_a_mixture_is_adapted_to_with_figures_of_each_source_and_resumed_alike(run, tmp_path):
    write_corpus(tmp_path / "a")
    write_corpus(tmp_path / "b", files=1, first=500)
    mixture = ["--train_file", "a", "b", "--mixture", "0.7", "0.3"]
    result = run(*mixture)
    assert set(result.sources_after) == {"a", "b"} and result.steps == 4
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert log[-1]["eval_a_mlm_loss"] == result.sources_after["a"]["mlm_loss"] != log[-1]["eval_b_mlm_loss"]
    assert log[0]["eval_b_mlm_loss"] == result.sources_before["b"]["mlm_loss"]
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    for name in ("checkpoint-4", "model.safetensors"):
        (tmp_path / "out" / name).rename(tmp_path / f"old-{name}")
    assert run(*mixture, "--resume").steps == 4
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    with pytest.raises(ValueError, match="`shuffle_buffer` is 30, in the run that is resumed it was 20"):
        run(*mixture, "--resume", "--max_steps", "6", "--shuffle_buffer", "30")


def test_a_checkpoint_goes_on_streamed_or_not_as_it_began(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    refuse_other_reading(tmp_path / "checkpoint-3", is_streamed=False)
    with pytest.raises(ValueError, match="holds no state of a stream"):
        refuse_other_reading(tmp_path / "checkpoint-3", is_streamed=True)
    (tmp_path / "checkpoint-3" / "stream-00000.json").write_text("{}")
    with pytest.raises(ValueError, match="streamed its text: give `streaming`"):
        refuse_other_reading(tmp_path / "checkpoint-3", is_streamed=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max_steps", "-1"], "`streaming` reads text of unknown length: give `max_steps`"),
        (
            ["--replay_file", "text.csv"],
            "as another `train_file`, and the shares as `mixture`, such as `mixture=0.9 0.1`",
        ),
        (["--auto_find_batch_size", "true"], "`auto_find_batch_size` changes what a batch is"),
        (["--accelerator_config", '{"dispatch_batches": true}'], "`accelerator_config` says dispatch_batches"),
        (
            ["--validation_rows", "60"],
            "the first `validation_rows=60` are held out|holds 60 texts, all of them held out",
        ),
    ],
)
def test_what_a_stream_cannot_do_is_refused(run, text, options, message):
    with pytest.raises(ValueError, match=message):
        run("--train_file", text, *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mixture", "1", "2"], "`mixture` has 2 weights for 1 sources"),
        (["--mixture", "0"], "`mixture` is 0: weights must be above 0"),
        (["--validation_split", "0.1"], "`validation_split=0.1` is a share of a text of known length"),
        (["--validation_file", "text.csv"], "`validation_rows` and `validation_file` both say"),
        (["--shuffle_buffer", "-1"], "`shuffle_buffer` is -1"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(parse, options, message):
    with pytest.raises(ValueError, match=message):
        parse("--train_file", "text.csv", *options)


def test_fields_of_streams_need_a_stream(pair_folders):
    start = ["--checkpoint", "pair", "--train_file", "a", "b", "--output_dir", "out"]
    with pytest.raises(ValueError, match=r"`mixture=0\.7 0\.3` is for text that is streamed: give `streaming=True`"):
        cli.parse_adapt([*start, "--mixture", "0.7", "0.3"])
