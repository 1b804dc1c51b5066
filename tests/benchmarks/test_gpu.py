"""`make gpu`: what it reads, in which order it looks, what it writes and when, and that it needs no more than said."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType
from transformers import DataCollatorForLanguageModeling

from benchmarks import ROOT, report
from benchmarks.gpu import __main__, course, data, more, profiling, record, steps
from benchmarks.gpu.checks import CHECKS
from benchmarks.gpu.course import main
from benchmarks.gpu.ground import Ground, NoTime, Skipped
from benchmarks.gpu.lanes import Lane, TooLarge, bytes_of, take_turns
from benchmarks.gpu.plan import Station, _by_tokens, plan
from benchmarks.gpu.record import Clock, Record
from benchmarks.gpu.steps import OURS, Bench, Case
from benchmarks.gpu.synchronisations import MESSAGE
from benchmarks.gpu.table import gpu_tables
from benchmarks.gpu.tokens import read_tokens, write_tokens


@pytest.fixture
def tokens():
    found = Ground(torch.device("cpu")).tokens()
    return dataclasses.replace(found, rows=found.rows * 30)  # enough for rows of 512


@pytest.fixture
def tokens_file(tokens, tmp_path):
    write_tokens(tmp_path / "tokens.npz", tokens)
    return tmp_path / "tokens.npz"


@pytest.fixture
def run(tokens_file, tmp_path):
    """The command at the tiny shape; its exit status, and the content of its file."""

    def run(*arguments):
        words = ["--device", "cpu", "--shape", "tiny", "--threads", "1", "--tokens", str(tokens_file)]
        status = main([*words, "--output", str(tmp_path / "out"), *arguments])
        return status, json.loads((tmp_path / "out" / "gpu-cpu.json").read_text(encoding="utf-8"))

    return run


# ---- The file of token ids ------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again_and_small(tokens, tokens_file):
    found = read_tokens(tokens_file)
    assert dataclasses.replace(found, digest="") == tokens and len(found.digest) == 12
    stored = np.load(tokens_file)
    assert (stored["ids"].dtype, stored["lengths"].dtype) == (np.uint16, np.uint16)


def test_a_vocabulary_beyond_16_bits_keeps_its_ids(tokens, tmp_path):
    large = dataclasses.replace(tokens, vocab_size=70_000, rows=[[2, 69_999, 3]])
    write_tokens(tmp_path / "large.npz", large)
    assert read_tokens(tmp_path / "large.npz").rows == [[2, 69_999, 3]]


def test_the_tokenizer_of_the_ids_lets_a_stock_collator_mask_ordinary_tokens_alone(tokens):
    tokenizer = tokens.tokenizer()
    assert {name: getattr(tokenizer, f"{name}_id") for name in tokens.special_ids} == tokens.special_ids
    assert len(tokenizer) == tokens.vocab_size
    torch.manual_seed(0)
    batch = DataCollatorForLanguageModeling(tokenizer)([{"input_ids": row} for row in tokens.rows[:40]])
    masked = batch["labels"][batch["labels"] != -100]
    assert len(masked) > 20 and not set(masked.tolist()) & set(tokens.special_ids.values())
    assert batch["attention_mask"].sum() == sum(map(len, tokens.rows[:40]))


def broken(change):
    def spoil(path, tokens):
        write_tokens(path, change(tokens))

    return spoil


SPOILED = {
    "no npz": (lambda path, tokens: path.write_text("words"), "is no file of token ids"),
    "cut off": (lambda path, tokens: os.truncate(path, 200), "is no file of token ids"),
    "another npz": (lambda path, tokens: np.savez(path, ids=np.arange(3)), "is no file of token ids"),
    "an id beyond the vocabulary": (
        broken(lambda tokens: dataclasses.replace(tokens, rows=[[2, 80, 3]])),
        "it holds the id 80, but its vocabulary has 80",
    ),
    "no sentence": (broken(lambda tokens: dataclasses.replace(tokens, rows=[])), "it has 0 ids for 0 sentences"),
    "no mask token": (
        broken(lambda tokens: dataclasses.replace(tokens, special_ids={"pad_token": 1})),
        "it must name five different ids",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_file_that_cannot_be_used_is_refused_with_what_to_do(tokens, tokens_file, capsys, kind):
    spoil, message = SPOILED[kind]
    spoil(tokens_file, tokens)
    assert main(["--device", "cpu", "--shape", "tiny", "--tokens", str(tokens_file)]) == 2
    error = capsys.readouterr().err
    assert message in error and "make gpu-data" in error and "--tokens FILE" in error


def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_looked_at(tokens_file, tmp_path, capsys):
    words = ["--device", "cpu", "--shape", "tiny", "--tokens", str(tokens_file)]
    assert main([*words, "--output", str(tokens_file / "below")]) == 2  # a file is no folder
    assert "No results can be written to" in capsys.readouterr().err


def test_without_a_file_the_command_that_makes_it_is_named(tmp_path, capsys):
    assert main(["--device", "cpu", "--tokens", str(tmp_path / "none.npz")]) == 2
    assert "`make gpu-data`" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here, and this is about where it is not")
def test_without_cuda_the_command_says_how_to_try_it(tokens_file, capsys):
    assert main(["--tokens", str(tokens_file)]) == 2
    assert "--device cpu --shape tiny" in capsys.readouterr().err


@pytest.fixture
def text_options(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "LEAST_TOKENS", 20)
    (tmp_path / "mine.txt").write_text("나는 학교에 간다.\n너는 책을 읽는다.\n나는 간다.\n", encoding="utf-8")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "나는", "학교에", "간다", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    output = str(tmp_path / "made" / "tokens.npz")
    return ["--text", str(tmp_path / "mine.txt"), "--vocab", str(tmp_path / "vocab.txt"), "--output", output]


def test_gpu_data_writes_the_sentences_with_their_text_and_licence(text_options):
    found = read_tokens(data.main([*text_options, "--licence", "my own"]))
    assert found.rows[0] == found.rows[3] == [2, 5, 6, 7, 8, 3] and len(found.rows) == 6
    assert found.licence == "my own" and found.text.startswith("3 sentences of mine.txt; vocabulary ")
    assert found.text.endswith(", 2 times over")  # a text that is too short for a batch
    assert found.special_ids["mask_token"] == 4 and found.vocab_size == 35_000


def test_gpu_data_asks_for_the_licence_of_a_text_that_it_does_not_know(text_options):
    with pytest.raises(ValueError, match=r"licence of mine\.txt is not known here: .*--licence"):
        data.main(text_options)
    assert data.licence_of(["react_ko.txt.gz", "ko_books.csv"]) == "react_ko.txt.gz CC BY 4.0; ko_books.csv Apache-2.0"


def test_gpu_data_keeps_a_sample_of_a_text_that_is_too_long_and_says_so(text_options, monkeypatch):
    monkeypatch.setattr(data, "MOST_TOKENS", 12)
    monkeypatch.setattr(data, "LEAST_TOKENS", 0)
    found = read_tokens(data.main([*text_options, "--licence", "my own"]))
    assert sum(map(len, found.rows)) <= 12 and len(found.rows) == 2 and found.text.startswith("2 of the 3 sentences")


def test_gpu_data_leaves_no_file_that_is_too_large(text_options, monkeypatch):
    monkeypatch.setattr(data, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="100 are allowed: give less `--text`"):
        data.main([*text_options, "--licence", "my own"])
    assert not Path(text_options[-1]).exists()


# ---- The course -----------------------------------------------------------------------------------------------------


class Stations:
    """In the place of the plan: stations by name, and in which order they were looked at."""

    def __init__(self, monkeypatch, **looks):
        self.looks, self.seen = looks, []
        monkeypatch.setattr(course, "plan", lambda bench, shapes: [self.station(name) for name in self.looks])

    def station(self, name):
        def look():
            self.seen.append(name)
            return self.looks[name]()

        return Station(name, look, is_check=name.startswith("check"))


def fails(error):
    def look():
        raise error

    return look


def test_a_failed_check_is_recorded_the_rest_goes_on_and_the_timings_are_not_trusted(run, monkeypatch, capsys):
    looks = {"check_a": fails(AssertionError("a loss differs by 1")), "check_b": fails(Skipped("not here"))}
    looks |= {"other": fails(KeyError("broken")), "last": lambda: {"figure": 1}}
    stations = Stations(monkeypatch, **looks)
    status, content = run()
    assert status == 1 and stations.seen == ["check_a", "check_b", "other", "last"]
    found = content["found"]
    assert [found[name]["status"] for name in looks] == ["failed", "skipped", "failed", "measured"]
    assert found["check_a"]["reason"] == "a loss differs by 1" and found["check_b"]["reason"] == "not here"
    assert "KeyError" in found["other"]["reason"] and "raise error" in "".join(found["other"]["traceback"])
    assert str(ROOT) not in json.dumps(found) and "benchmarks/gpu/course.py" in json.dumps(found)
    assert "the timings are not to be trusted" in capsys.readouterr().out


def test_what_is_kept_of_an_error_names_no_folder_of_the_machine(run, monkeypatch):
    Stations(monkeypatch, a=lambda: torch.nn.functional.softmax("no tensor", dim=0))
    found = run()[1]["found"]["a"]
    assert any('File "torch/nn/functional.py"' in line for line in found["traceback"])
    assert "site-packages" not in json.dumps(found)


def test_with_stop_the_first_failed_check_is_the_last(run, monkeypatch):
    stations = Stations(monkeypatch, first=fails(ValueError()), check=fails(AssertionError()), last=dict)
    assert run("--stop")[0] == 1
    assert stations.seen == ["first", "check"]


def test_a_cut_off_run_leaves_what_it_had_and_the_next_goes_on_with_what_failed_at_the_end(run, monkeypatch):
    stations = Stations(monkeypatch, a=dict, b=fails(ValueError()), c=fails(KeyboardInterrupt()), d=dict)
    with pytest.raises(KeyboardInterrupt):
        run()
    stations.looks["c"] = stations.looks["b"] = lambda: {"figure": 2}
    status, content = run()
    assert stations.seen == ["a", "b", "c", "c", "d", "b"]
    statuses = {name: entry["status"] for name, entry in content["found"].items()}
    assert status == 0 and statuses == dict.fromkeys("acdb", "measured")
    assert len(content["runs"]) == 2
    stations.seen.clear()
    assert run()[0] == 0 and stations.seen == []
    assert run("--fresh")[0] == 0 and stations.seen == ["a", "b", "c", "d"]


def test_a_check_that_could_not_run_is_tried_again(run, monkeypatch):
    stations = Stations(monkeypatch, check_a=fails(Skipped("not installed")), b=dict)
    run()
    assert run("--only-new")[1]["found"]["check_a"]["status"] == "skipped" and stations.seen == ["check_a", "b"]
    stations.looks["check_a"] = dict
    assert run()[1]["found"]["check_a"]["status"] == "passed" and stations.seen == ["check_a", "b", "check_a"]


def test_an_interrupt_is_said_in_a_line(monkeypatch, capsys):
    for name in ("HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, os.environ.get(name, "0"))  # put back afterwards
    monkeypatch.setattr(course, "main", lambda started: fails(KeyboardInterrupt())())
    assert __main__.run() == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_what_failed_is_left_alone_with_only_new(run, monkeypatch):
    stations = Stations(monkeypatch, a=fails(ValueError()), b=dict)
    run()
    assert run("--only-new")[0] == 1 and stations.seen == ["a", "b"]


def test_a_finding_is_in_the_file_before_the_next_begins(run, monkeypatch, tmp_path):
    file = tmp_path / "out" / "gpu-cpu.json"

    def look():
        return {"there": list(json.loads(file.read_text(encoding="utf-8"))["found"])}

    Stations(monkeypatch, a=dict, b=look)
    assert run()[1]["found"]["b"]["figures"] == {"there": ["a"]}


def test_what_has_no_time_left_is_left_out_and_not_recorded(run, monkeypatch, capsys):
    stations = Stations(monkeypatch, a=dict)
    status, content = run("--minutes", "0")
    assert (status, content["found"], stations.seen) == (0, {}, [])
    assert "a: left out, 0 s are left" in capsys.readouterr().out
    assert run()[1]["found"]["a"]["status"] == "measured"


def test_a_check_that_finds_too_little_time_left_is_not_recorded_and_the_next_run_looks(run, monkeypatch, capsys):
    stations = Stations(monkeypatch, check_a=fails(NoTime("it may take 60 s, and 30 s are left")), b=dict)
    status, content = run()
    assert status == 0 and list(content["found"]) == ["b"]
    output = capsys.readouterr().out
    assert "check_a: left out, it may take 60 s" in output and "1 were left out" in output
    stations.looks["check_a"] = dict
    assert run()[1]["found"]["check_a"]["status"] == "passed"


def test_words_that_are_in_no_name_are_refused(run, tokens_file, monkeypatch, capsys):
    Stations(monkeypatch, a=dict)
    words = ["--device", "cpu", "--shape", "tiny", "--tokens", str(tokens_file)]
    assert main([*words, "--only", "nonsense"]) == 2
    assert "No name holds nonsense: `--list`" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here, and this is about where it is not")
def test_the_names_are_listed_where_there_is_no_cuda(tokens_file, capsys):
    assert main(["--tokens", str(tokens_file), "--list"]) == 0
    assert "step: base, rows of 512, 64 rows" in capsys.readouterr().out.splitlines()


def test_what_takes_longer_than_the_time_is_cut_off_and_not_recorded(tmp_path, capsys):
    record, cut = Record(tmp_path / "gpu-cuda.json", {}), Station("a", lambda: time.sleep(20))
    assert course.look_at(cut, record, Clock(1), at_most=0.05) == "cut off"
    assert record.content["found"] == {} and "a: cut off after 0 s" in capsys.readouterr().out
    assert course.look_at(Station("b", dict), record, Clock(1), at_most=20) == "measured"


def test_results_of_another_card_or_text_are_put_aside_and_a_broken_file_too(tmp_path):
    path = tmp_path / "gpu-cuda.json"
    Record(path, {"device": "one"}).add("a", "measured", is_check=False)
    again = Record(path, {"device": "one"})
    assert again.has("a") and not again.of_other_code()
    other = Record(path, {"device": "two"})
    assert not other.has("a") and "one" in (tmp_path / "gpu-cuda.before.json").read_text()
    for broken in ("{", "[1]"):
        path.write_text(broken, encoding="utf-8")
        assert not Record(path, {"device": "one"}).has("a")
        assert (tmp_path / "gpu-cuda.before.json").read_text() == broken


def test_results_of_other_code_are_kept_and_named(tmp_path, monkeypatch):
    record = Record(tmp_path / "r.json", {})
    record.code = "other"
    record.add("a", "passed", is_check=True)
    assert Record(tmp_path / "r.json", {}).of_other_code() == ["a"]


def test_attention_by_boundaries_is_code_that_was_measured(tmp_path, monkeypatch):
    (tmp_path / "train_tools").mkdir()
    monkeypatch.setattr(record, "ROOT", tmp_path)
    digests = []
    for text in ("one", "two"):
        (tmp_path / "train_tools" / "unpadded_attention.py").write_text(text)
        digests.append(record.code_digest())
    assert digests[0] != digests[1]


def test_a_card_that_answers_no_more_is_left_to_a_new_process_with_the_time_that_is_left(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    options = course.parse_arguments(["--output", str(tmp_path), "--fresh", "--only", "step", "--stop"])
    course.go_on_in_a_new_process(options, Clock(minutes=3))
    words = " ".join(started[0])
    assert "-m benchmarks.gpu --tokens" in words and "--only-new" in words and "--fresh" not in words
    assert words.endswith("--stop --only step") and "--minutes 3.00" in words


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc, and nothing is done then")
def test_what_is_open_does_not_reach_a_new_process(tmp_path):
    with open(tmp_path / "file", "w") as file:
        os.set_inheritable(file.fileno(), True)  # as of a driver
        course.close_on_exec()
        assert not os.get_inheritable(file.fileno())


def test_the_station_after_which_the_card_answers_no_more_is_recorded_and_none_comes_after_it(monkeypatch, tmp_path):
    record, seen = Record(tmp_path / "gpu-cuda.json", {}), []
    looks = {"a": dict, "b": fails(RuntimeError("CUDA error: an illegal memory access")), "c": dict}
    stations = [Station(name, lambda name=name: (seen.append(name), looks[name]())[1]) for name in looks]
    monkeypatch.setattr(course, "device_answers", lambda: False)
    options = SimpleNamespace(device="cuda", only_new=False, stop=False)
    assert course.look_at_all(stations, record, Clock(1), options) is True
    assert seen == ["a", "b"] and record.with_status("failed") == ["b"]
    options.only_new = True  # as the next process is started
    assert course.look_at_all(stations, record, Clock(1), options) is False
    assert seen == ["a", "b", "c"]


def test_names_of_the_plan_are_different_and_goals_come_first(tokens):
    bench = Bench(tokens, "", torch.device("cpu"), Clock(1))
    names = [station.name for station in plan(bench, ["small", "base"])]
    assert len(set(names)) == len(names) > 30
    assert names[0].startswith("the card") and names[2].startswith("check: ")
    first_step = next(name for name in names if name.startswith("step"))
    assert first_step == "step: base, rows of 512, 64 rows"
    checks = {f"check: {name}" for name in CHECKS}
    assert checks <= set(names) and checks <= {station.name for station in plan(bench, ["small"])}
    assert names.index("Trainer: small, ragged, 32 rows") < names.index("check: compiled layers")
    assert names.index("check: compiled layers") < names.index("compiled layers: small, ragged, 32 rows")
    assert not [name for name in (station.name for station in plan(bench, ["small"])) if "base" in name]


# ---- Lanes ----------------------------------------------------------------------------------------------------------


class Training:
    """Counts in the place of training: what it was given, and at which number of steps it runs out of memory."""

    device = torch.device("cpu")

    def __init__(self, log, name, out_of_memory=(), fails=()):
        self.log, self.name, self.out_of_memory, self.fails = log, name, out_of_memory, fails
        self.optimizer = SimpleNamespace(zero_grad=lambda: log.append((name, "reset")))

    def batch_of(self, rows):
        return {"input_ids": torch.zeros(len(rows), max(map(len, rows)))}

    def train_on(self, batch):
        self.log.append((self.name, len(batch["input_ids"])))
        if len(batch["input_ids"]) in self.out_of_memory:
            raise torch.OutOfMemoryError
        if len(batch["input_ids"]) in self.fails:
            raise RuntimeError("no kernel\nfor this")
        return {"loss": torch.ones(())}


def bench_of(tokens, **trainings):
    bench = Bench(tokens, "", torch.device("cpu"), Clock(1), warmup=1, rounds=2)
    bench._built = {("tiny", name, 0): training for name, training in trainings.items()}
    return bench


def test_lanes_step_in_turn_on_the_same_rows_and_warm_up_does_not_count(tokens):
    log = []
    bench = bench_of(tokens, ours=Training(log, "ours"), plain=Training(log, "plain"))
    found = bench.contenders(Case("tiny", "ragged", 8, ("ours", "plain")))
    assert [name for name, _ in log] == ["ours", "plain"] * 3
    assert {lane["rounds"] for lane in found["lanes"].values()} == {2}
    assert len({lane["tokens_per_step"] for lane in found["lanes"].values()}) == 1
    assert found["lanes"]["ours"]["against"]["plain"]["median"] > 0 and found["failed"] == {}


def test_out_of_memory_halves_the_rows_of_all_and_says_so(tokens):
    log = []
    bench = bench_of(tokens, ours=Training(log, "ours"), plain=Training(log, "plain", out_of_memory=(8, 4)))
    found = bench.contenders(Case("tiny", "ragged", 8, ("ours", "plain")))
    assert found["case"]["rows"] == 2 and {lane["rounds"] for lane in found["lanes"].values()} == {2}
    assert [note.split(":")[0] for note in found["notes"]] == [
        "plain ran out of memory at 8 rows",
        "plain ran out of memory at 4 rows",
    ]
    assert log[:3] == [("ours", 8), ("plain", 8), ("plain", "reset")]  # its gradients go before the next try
    bench = bench_of(tokens, ours=Training([], "ours", out_of_memory=range(9)))
    with pytest.raises(TooLarge):
        bench.contenders(Case("tiny", "ragged", 8, ("ours",)))


def test_one_that_fails_is_left_out_with_the_reason_and_the_others_go_on(tokens):
    bench = bench_of(tokens, ours=Training([], "ours"), plain=Training([], "plain", fails=(8,)))
    found = bench.contenders(Case("tiny", "ragged", 8, ("ours", "plain")))
    assert list(found["lanes"]) == ["ours"] and found["failed"] == {"plain": "RuntimeError: no kernel"}


def test_where_nobody_can_step_the_station_fails(tokens):
    bench = bench_of(tokens, ours=Training([], "ours", fails=(8,)))
    with pytest.raises(RuntimeError, match=r"nobody could step: .*no kernel"):
        bench.contenders(Case("tiny", "ragged", 8, ("ours",)))


def test_where_the_time_is_over_five_rounds_do(tokens):
    lane = Lane(Training([], "ours"), [tokens.rows[:2]] * 20, useful=lambda rows: 1)
    figures, _ = take_turns({"ours": lane}, Clock(minutes=-1))
    assert figures["ours"]["rounds"] == 5


def test_memory_of_a_lane_counts_its_weights_and_what_the_optimiser_keeps(tokens):
    model = torch.nn.Linear(10, 10, bias=False)
    optimizer = torch.optim.AdamW(model.parameters())
    training = SimpleNamespace(model=model, optimizer=optimizer)
    assert bytes_of(training) == 400
    model(torch.ones(10)).sum().backward()
    optimizer.step()
    assert bytes_of(training) == 1_204  # two averages, and the number of steps


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_lanes_of_ways_and_bounds_put_everything_back(tokens, tmp_path):
    tokens.tokenizer().save_pretrained(tmp_path)
    bench = Bench(tokens, str(tmp_path), torch.device("cpu"), Clock(1), warmup=0, rounds=1)
    case, bounds = Case("tiny", "ragged", 2), more.objective_electra_rtd.LOGITS_AT_ONCE
    found = more.head_bounds(bench, case)
    assert list(found["lanes"]) == ["2^23 logits", "2^26 logits", "2^28 logits"]
    assert more.objective_electra_rtd.LOGITS_AT_ONCE is bounds
    found = more.each_way(bench, case)
    layers = bench.training("tiny", steps.OURS).model.generator.electra.encoder.layer
    assert {"nested", "rows"} == set(found["lanes"]) and {layer.attention.self.way for layer in layers} == {None}
    assert "CPU" in found["failed"]["flash"]


class Cuda:
    """torch's calls for a GPU, in the place of one: clock and memory go on with each step that is trained."""

    def __init__(self, monkeypatch):
        self.milliseconds, self.allocated, self.peak, self.mode = 0.0, 1_000, 0, "default"
        names = ("synchronize", "reset_peak_memory_stats", "memory_allocated", "max_memory_allocated")
        for name in (*names, "set_sync_debug_mode"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: CudaEvent(self))

    def synchronize(self):
        pass

    def reset_peak_memory_stats(self):
        self.peak = self.allocated

    def memory_allocated(self):
        return self.allocated

    def max_memory_allocated(self):
        return self.peak

    def set_sync_debug_mode(self, mode):
        self.mode = mode

    def step(self, milliseconds, memory, waits):
        self.milliseconds += milliseconds
        self.peak = max(self.peak, self.allocated + memory)
        for _ in range(waits * (self.mode == "warn")):
            warnings.warn(f"{MESSAGE} (Triggered internally at ...)", stacklevel=1)


class CudaEvent:
    def __init__(self, cuda):
        self.cuda = cuda

    def record(self):
        self.at = self.cuda.milliseconds

    def elapsed_time(self, other):
        return other.at - self.at


class CudaTraining(Training):
    device = SimpleNamespace(type="cuda")

    def __init__(self, cuda, *costs):
        super().__init__([], "")
        self.cuda, self.costs, self.model = cuda, costs, torch.nn.Linear(10, 10, bias=False)
        self.optimizer.state = {}

    def train_on(self, batch):
        self.cuda.step(*self.costs)
        return super().train_on(batch)


def test_on_a_gpu_its_own_clock_memory_and_waits_are_taken(tokens, monkeypatch):
    cuda = Cuda(monkeypatch)
    costs = {"ours": (10.0, 5_000, 1), "plain": (30.0, 70_000, 4)}
    rows = [tokens.rows[:2]] * 20
    lanes = {name: Lane(CudaTraining(cuda, *cost), rows, useful=lambda rows: 1e9) for name, cost in costs.items()}
    figures, failed = take_turns(lanes, Clock(1))
    assert failed == {} and cuda.mode == "default"
    assert {name: lane["milliseconds"]["median"] for name, lane in figures.items()} == {"ours": 10.0, "plain": 30.0}
    # A step's peak above what was there, whoever else was, and its own weights.
    assert {name: lane["peak_memory"] for name, lane in figures.items()} == {"ours": 5_400, "plain": 70_400}
    assert {name: lane["synchronisations"]["count"] for name, lane in figures.items()} == {"ours": 1, "plain": 4}
    assert next(iter(figures["plain"]["synchronisations"]["places"])).startswith("benchmarks/test_gpu.py:")
    assert figures["ours"]["against"]["plain"]["median"] == pytest.approx(3.0)
    assert figures["ours"]["useful_flops_per_second"] == pytest.approx(1e9 / 0.01)


def test_a_profile_of_a_gpu_counts_kernels_launches_waits_and_the_busy_share(tokens, monkeypatch):
    def event(name, microseconds, device_type=DeviceType.CUDA, is_user_annotation=False):
        time_range = SimpleNamespace(elapsed_us=lambda: microseconds)
        named = {"name": name, "time_range": time_range, "device_type": device_type}
        return SimpleNamespace(**named, is_user_annotation=is_user_annotation)

    events = (
        [event("gemm", 1_500)] * 6 + [event("softmax", 500)] * 3 + [event("a step", 9_000, is_user_annotation=True)]
    )
    events += [event("cudaLaunchKernel", 5, DeviceType.CPU)] * 6 + [event("cuLaunchKernel", 5, DeviceType.CPU)] * 3
    events += [event("cudaStreamSynchronize", 5, DeviceType.CPU)] * 3
    found = contextlib.nullcontext(SimpleNamespace(events=lambda: events))
    monkeypatch.setattr(profiling, "profile", lambda activities: found)
    seconds = iter([0.021, 0.024])  # of three steps, without the profiler and with it
    monkeypatch.setattr(profiling, "_seconds", lambda training, batches: next(seconds))
    bench = bench_of(tokens)
    bench.device, bench.rounds = SimpleNamespace(type="cuda"), 5
    bench._built[("tiny", steps.OURS, 0)] = Training([], "ours")
    figures = profiling.profile_steps(bench, Case("tiny", "ragged", 2))
    assert figures["top"] == [
        {"name": "gemm", "milliseconds": 3.0, "calls": 2.0},
        {"name": "softmax", "milliseconds": 0.5, "calls": 1.0},
    ]
    assert (figures["kernels"], figures["launches"], figures["waits"]) == (3.0, 3.0, {"cudaStreamSynchronize": 1.0})
    assert figures["busy_share"] == pytest.approx(0.5) and figures["seconds"] == pytest.approx(0.007)


def test_rows_of_a_step_follow_from_the_tokens_that_it_is_to_have(tokens):
    bench = SimpleNamespace(tokens=dataclasses.replace(tokens, rows=[[0] * 10, [0] * 30]))
    assert more.rows_of(4_000, bench) == 200 and more.rows_of(1, bench) == 1


def test_stock_mlm_is_left_out_of_steps_whose_logits_at_padding_fill_a_card(tokens):
    bench = SimpleNamespace(tokens=dataclasses.replace(tokens, rows=[[0] * 32], vocab_size=35_000))
    bench.contenders = lambda case: case
    few, more_tokens = (station.look() for station in _by_tokens(bench, "small", (4_000, 64_000)))
    assert (few.rows, few.who) == (125, (OURS, "mlm")) and (more_tokens.rows, more_tokens.who) == (2_000, (OURS,))


# ---- All of it ------------------------------------------------------------------------------------------------------


QUICK = ("--only", "matrix product", "objective", "step: tiny, ragged")


def test_a_few_of_the_stations_run_here_and_make_a_table(run, capsys, tmp_path):
    status, content = run(*QUICK)
    assert status == 0 and len(content["found"]) == 3
    assert {"device", "torch", "transformers", "accelerate", "cuda", "text", "tokens"} <= content["facts"].keys()
    lanes = content["found"]["step: tiny, ragged, 8 rows"]["figures"]["lanes"]
    assert set(lanes) == {"ours, by boundaries", "ours", "plain", "mlm"}
    for lane in lanes.values():
        assert lane["tokens_per_second"] > 0 and lane["useful_flops_per_second"] > 0 and lane["losses"]["loss"] > 0
        assert lane["peak_memory"] is None and lane["synchronisations"] is None  # there are none on a CPU
    assert len({lane["tokens_per_step"] for lane in lanes.values()}) == 1
    table = (tmp_path / "out" / "gpu-cpu.md").read_text(encoding="utf-8")
    assert table.strip() in capsys.readouterr().out and "| tiny, ragged, 8 rows | mlm | " in table
    assert str(tmp_path) not in table + json.dumps(content)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_all_of_it_runs_here_at_the_tiny_shape(run, tmp_path):
    status, content = run("--minutes", "30")
    found = content["found"]
    assert status == 0, {name: entry for name, entry in found.items() if entry["status"] == "failed"}
    skipped = {name for name, entry in found.items() if entry["status"] == "skipped"}
    assert skipped == {"check: flash attention packages", "check: synchronisations a step"}
    assert len(found) == 24
    profile = found["profile: tiny, ragged, 8 rows"]["figures"]
    assert 5 < len(profile["top"]) <= 25 and profile["seconds"] > 0
    trainer = found["Trainer: tiny, ragged, 8 rows"]["figures"]["milliseconds"]
    assert len(trainer) == 5 and min(trainer.values()) > 0
    table = (tmp_path / "out" / "gpu-cpu.md").read_text(encoding="utf-8")
    for words in (
        "**Steps**",
        "**Ways of attention",
        "**Logits at a time**",
        "**Tokens a step**",
        "**profile",
        "**Trainer",
    ):
        assert words in table


WITHOUT = """
import socket, sys
from importlib.machinery import PathFinder

ROOT, *arguments = sys.argv[1:]
MISSING = {"datasets", "rich", "pytest", "matplotlib", "pandas"}


class Fewer(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING else super().find_spec(name, path, target)


def connect(self, address):
    raise OSError("there is no network")


# A checkout, and nothing installed from it: the folder of the tests' environment may hold a link to it.
others = [one for one in sys.meta_path if not getattr(one, "__module__", "").startswith("__editable__")]
sys.meta_path[:] = [Fewer if one is PathFinder else one for one in others]
socket.socket.connect = connect
sys.path[:] = [ROOT, *(folder for folder in sys.path if folder not in ("", ROOT))]

from benchmarks.gpu.checks import CHECKS
from benchmarks.gpu.course import main

status = main(arguments)
import json
import electra_rtd
print(json.dumps({"status": status, "from": electra_rtd.__file__, "missing": sorted(MISSING & set(sys.modules))}))
"""


def in_a_bare_checkout(run_fresh, tokens_file, folder, *stations):
    words = ["--device", "cpu", "--shape", "tiny", "--threads", "1", "--tokens", tokens_file, "--output", folder]
    found = run_fresh(WITHOUT, ROOT, *words, "--only", *stations, installed=True, environment={"PYTHONPATH": ""})
    assert found == {"status": 0, "from": str(ROOT / "__init__.py"), "missing": []}
    content = json.loads((folder / "gpu-cpu.json").read_text(encoding="utf-8"))
    return {entry["status"] for entry in content["found"].values()}, len(content["found"])


@pytest.mark.slow
def test_a_bare_checkout_without_datasets_rich_pytest_and_a_network_is_enough(run_fresh, tokens_file, tmp_path):
    statuses, count = in_a_bare_checkout(run_fresh, tokens_file, tmp_path, "matrix product", "objective")
    assert (statuses, count) == ({"passed", "measured"}, 2)


@pytest.mark.slow
def test_contenders_and_the_trainer_run_in_a_bare_checkout_too(run_fresh, tokens_file, tmp_path):
    statuses, count = in_a_bare_checkout(run_fresh, tokens_file, tmp_path, "step: tiny, similar", "Trainer, and")
    assert (statuses, count) == ({"passed", "measured"}, 2)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_gpu_takes_the_python_that_is_named_and_builds_no_environment():
    # Not as part of the `make` that may have started these tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for words in (["PYTHON=mypython"], ["PYTHON=mypython", "BENCH_OPTIONS=--fresh"]):
        command = ["make", "-n", "gpu", *words]
        made = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert made.stdout.split() == ["mypython", "-m", "benchmarks.gpu", *(["--fresh"] * (len(words) - 1))]


# ---- The page -------------------------------------------------------------------------------------------------------


def test_the_table_warns_of_a_failed_check_and_shows_shares_memory_and_waits():
    spread = {"median": 100.0, "p10": 90.0, "p90": 110.0}
    lane = {
        **{"tokens_per_second": 1e5, "with_padding_per_second": 2e5, "milliseconds": spread},
        **{"useful_flops_per_second": 2.5e14, "peak_memory": 3 * 2**30, "against": {"plain": spread}},
        "synchronisations": {"count": 2, "places": {"a.py:1": 2}},
    }
    figures = {"lanes": {"ours": lane}, "failed": {"mlm": "no | kernel"}, "notes": ["halved"], "data_sheet_rate": 1e15}
    facts = {"device": "A card", "memory_gib": 80, "cuda": "13.0", "torch": "2.11", "transformers": "5.17"}
    facts |= {"accelerate": "1.15", "python": "3.12", "text": "some text"}
    found = {
        "check: one": {"status": "failed", "is_check": True, "reason": "differs", "code": "a"},
        "step: base": {"status": "measured", "is_check": False, "figures": figures, "code": "b"},
        "step: small": {"status": "failed", "is_check": False, "reason": "RuntimeError: x", "code": "b"},
    }
    text = gpu_tables({"facts": facts, "runs": [{"command": "make gpu"}], "found": found})
    assert "**A check failed: the timings below are not to be trusted.**" in text
    row = next(line for line in text.splitlines() if line.startswith("| base | ours |"))
    cells = ["100,000", "200,000", "100.0 (90.0 to 110.0)", "100.00 (90.00 to 110.00)", "n/a", "25.0%", "3.0", "2"]
    assert row.split(" | ")[2:] == [*cells, "halved |"]
    assert "| left out: no \\| kernel |" in text and "| failed: RuntimeError: x |" in text
    assert "Measured with 2 states of the code: a, b." in text
    passed = {**found, "check: one": {"status": "passed", "is_check": True, "code": "b"}}
    assert "not to be trusted" not in gpu_tables({"facts": facts, "runs": [], "found": passed})


def test_the_table_holds_what_was_measured_against_the_goals():
    def lane(useful, waits, against):
        spread = {"median": against, "p10": 1.0, "p90": 3.0}
        lane = {"tokens_per_second": 1.0, "with_padding_per_second": 1.0, "milliseconds": spread, "peak_memory": None}
        against = {"mlm": spread}
        waits = {"count": waits, "places": {}}
        return {**lane, "useful_flops_per_second": useful, "against": against, "synchronisations": waits}

    def step(lane):
        figures = {"lanes": {steps.OURS: lane}, "failed": {}, "notes": [], "data_sheet_rate": 1e15}
        return {"status": "measured", "is_check": False, "code": "a", "figures": figures}

    found = {
        "step: base, rows of 512, 64 rows": step(lane(4.1e14, 1, 0.7)),
        "step: small, ragged, 32 rows": step(lane(1e14, 2, 1.4)),
        "step: small, ragged, 256 rows": {"status": "failed", "is_check": False, "code": "a", "reason": "x"},
    }
    names = ("device", "cuda", "torch", "transformers", "accelerate", "python", "text")
    text = gpu_tables({"facts": dict.fromkeys(names, "one"), "runs": [], "found": found})
    assert "| share of the data sheet's peak: base, rows of 512, 64 rows | at least 50% | 41.0% |" in text
    assert "| two networks against MLM of one: small, ragged, 32 rows | above 1 | 1.40 (1.00 to 3.00) |" in text
    assert "| synchronisations a step | at most 2 | 1 to 2 |" in text


def test_the_page_has_one_place_for_the_table_of_a_gpu():
    page = report.PAGE.read_text(encoding="utf-8")
    assert "| a |" in report.replace_between_markers(page, report.GPU, "| a |")


def test_the_report_writes_the_table_of_a_gpu_and_leaves_what_was_put_aside(tmp_path, monkeypatch):
    facts = {"device": "A card", "cuda": "13.0", "torch": "2.11", "transformers": "5.17", "accelerate": "1.15"}
    Record(tmp_path / "gpu-cuda.json", {"device": "an older card"})._write()
    record = Record(tmp_path / "gpu-cuda.json", {**facts, "python": "3.12", "text": "some text"})
    record.add("check: one", "passed", is_check=True)
    assert (tmp_path / "gpu-cuda.before.json").exists()
    page = tmp_path / "performance.md"
    page.write_text("By hand.\n<!-- bench:gpu-cuda -->\nNobody.\n<!-- /bench:gpu-cuda -->\n", encoding="utf-8")
    for name, place in {"RESULTS": tmp_path, "PAGE": page, "FIGURES": tmp_path / "figures"}.items():
        monkeypatch.setattr(report, name, place)
    report.main()
    text = page.read_text(encoding="utf-8")
    assert "By hand." in text and "Nobody." not in text and "older" not in text
    assert "A card, torch 2.11, CUDA 13.0" in text and "| one | passed |  |" in text
