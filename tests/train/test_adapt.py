"""`electra-rtd adapt`, `pretrain` and `export` as a user runs them: what comes out, what wrong input leaves behind."""

import json
import os
import re
import subprocess
import sys
import unicodedata

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, ElectraForPreTraining

from electra_rtd import cli, run_parsers
from electra_rtd.hub_tools.code_files import CODE
from electra_rtd.train_tools import recipes
from electra_rtd.train_tools.counts import DETAILED
from electra_rtd.train_tools.held_out import JUDGED_BY


PARTS = ("loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc")
QUICK = ["--max_steps", "4", "--per_device_train_batch_size", "4", "--max_seq_length", "32", "--logging_steps", "2"]
QUICK += ["--eval_strategy", "no", "--save_strategy", "no"]
QUICK += ["--use_cpu", "--disable_tqdm", "true", "--report_to", "none"]
ONE_BATCH = ["--gradient_accumulation_steps", "1"]  # of a step, in place of the batch of a preset


@pytest.fixture
def pair(pair_folders):
    return ["--generator", pair_folders[0], "--discriminator", pair_folders[1]]


def adapt(*arguments):
    return cli.main(["adapt", *map(str, arguments)])


def pretrain(*arguments):
    return cli.main(["pretrain", *map(str, arguments)])


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def read_json(file):
    return json.loads(file.read_text(encoding="utf-8"))


def test_adapting_a_pretrained_pair_gives_a_pair_a_discriminator_and_figures(finished_run, pair_folders):
    out, shown = finished_run.out, finished_run.shown
    files = {"adapt_results.json", "config.json", "model.safetensors", "training_args.bin", "discriminator"}
    files |= {*CODE, "trainer_state.json", "held_out.json", "checkpoint-2", "checkpoint-4"}
    assert {name for name in listing(out) if "token" not in name and name != "vocab.txt"} == files
    results = read_json(out / "adapt_results.json")
    assert results["steps"] == 4 and results["tokens_seen"] > 4 * 4 * 4
    assert set(results["before"]) == set(results["after"]) == {*PARTS, *DETAILED, *JUDGED_BY}
    assert results["after"]["loss"] < results["before"]["loss"]
    for name in ("before", "after"):
        figures = results[name]
        assert figures["mlm_loss"] + 50 * figures["disc_loss"] == pytest.approx(figures["loss"], rel=1e-5)
    evaluations = [row for row in read_json(out / "trainer_state.json")["log_history"] if "eval_loss" in row]
    held_out = read_json(out / "held_out.json")
    figures = {name: value for name, value in held_out["before"].items() if not isinstance(value, dict)}
    assert evaluations[0] == {"step": 0, **{f"eval_{name}": figures[name] for name in figures}}
    assert figures == results["before"]
    assert figures["tokens"] == sum(held_out["before"]["calibration"]["count"]) and 1 < figures["frequency_loss"] < 4
    assert evaluations[-1]["eval_disc_loss"] == results["after"]["disc_loss"]
    settings = results["settings"]
    assert settings["learning_rate"] == 1e-3 and settings["generator"] == "generator"  # no path of this disk
    assert str(pair_folders[0]) not in json.dumps(settings) and results["datasets"] == []
    for name in ("disc_auc", *PARTS):
        assert re.search(rf"{name}.*{results['before'][name]:.4f}.*{results['after'][name]:.4f}", shown), name
    assert f"{results['tokens_seen']:,} tokens" in shown
    assert "RTD" not in shown  # --sample_steps 0

    pair = AutoModel.from_pretrained(out)
    exported = ElectraForPreTraining.from_pretrained(out / "discriminator")
    for name, value in pair.discriminator.state_dict().items():
        assert torch.equal(value, exported.state_dict()[name]), name
    assert pair.config.mask_token_id == AutoTokenizer.from_pretrained(out).mask_token_id
    start = ElectraForPreTraining.from_pretrained(pair_folders[1])
    assert not torch.equal(exported.get_input_embeddings().weight, start.get_input_embeddings().weight)


def test_going_on_from_a_checkpoint_starts_where_it_ended(text, finished_run, tmp_path):
    arguments = ["--checkpoint", finished_run.out, "--train_file", text, "--output_dir", "two", *QUICK]
    assert adapt(*arguments, "--mask_prob", "0.15", "--max_steps", "1") == 0
    one, two = (read_json(folder / "adapt_results.json") for folder in (finished_run.out, tmp_path / "two"))
    assert two["before"] == pytest.approx(one["after"], rel=1e-5)


def test_a_pair_from_scratch_learns_its_own_vocabulary(text, tmp_path):
    """... and keeps it where it is resumed."""
    scratch = [
        "--preset",
        "tiny",
        "--vocab_size",
        "90",
        "--train_file",
        text,
        "--output_dir",
        "out",
        *QUICK,
        *ONE_BATCH,
    ]
    scratch += ["--mask_prob", "0.3", "--disc_weight", "20", "--save_strategy", "steps", "--save_steps", "2"]
    assert pretrain(*scratch) == 0
    model, tokenizer = AutoModel.from_pretrained("out"), AutoTokenizer.from_pretrained("out")
    assert len(tokenizer) == model.config.vocab_size <= 90
    assert (model.config.embedding_sharing, model.config.mask_prob, model.config.disc_weight) == ("tied", 0.3, 20)
    assert tokenizer.tokenize("오늘 책") == ["오늘", "책"]
    assert set(tokenizer.all_special_ids) == set(model.config.special_token_ids)
    held_out = read_json(tmp_path / "out" / "held_out.json")
    (tmp_path / text).write_text("sen\n" + "오늘 책\n" * 60, encoding="utf-8")  # its vocabulary would be another
    assert pretrain(*scratch, "--resume", "--max_steps", "6") == 0
    assert AutoTokenizer.from_pretrained("out").get_vocab() == tokenizer.get_vocab()
    assert read_json(tmp_path / "out" / "adapt_results.json")["steps"] == 6
    assert read_json(tmp_path / "out" / "held_out.json")["after"] != held_out["after"]


def test_two_processes_pretrain_with_one_vocabulary(text, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "electra_rtd.cli", "pretrain"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    arguments = ["--preset", "tiny", "--vocab_size", "100", "--train_file", text, "--output_dir", "out", *QUICK]
    arguments += [*ONE_BATCH, "--save_strategy", "steps", "--save_steps", "2"]
    process = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    results = read_json(tmp_path / "out" / "adapt_results.json")
    assert results["after"]["mlm_loss"] + 50 * results["after"]["disc_loss"] == pytest.approx(results["after"]["loss"])
    held_out = read_json(tmp_path / "out" / "held_out.json")
    assert held_out["after"].items() >= results["after"].items()
    model = AutoModel.from_pretrained("out")
    assert len(AutoTokenizer.from_pretrained("out")) == model.config.vocab_size
    assert listing(tmp_path / "out" / "discriminator")


@pytest.mark.parametrize(("on_collapse", "status", "steps"), [("stop", 1, 6), ("warn", 0, 8)])
def test_a_run_that_dies_is_named_and_stopped_where_asked(text, pair, tmp_path, capsys, on_collapse, status, steps):
    run = [*QUICK, "--max_steps", 8, "--logging_steps", 1, "--learning_rate", 2.0, "--warmup_steps", 0]
    paths = ["--train_file", text, "--text_column", "sen", "--output_dir", "out"]
    assert adapt(*pair, *paths, *run, "--on-collapse", on_collapse) == status
    results = read_json(tmp_path / "out" / "adapt_results.json")
    assert results["steps"] == steps
    assert "generator_rises" in [row["health"] for row in results["health"]]
    shown = capsys.readouterr().out
    assert "HEALTH         generator_rises, step 6: mlm_loss is" in shown
    assert "a lower --learning_rate" in shown and "push" not in shown.split("Try:")[1]


def test_full_determinism_is_on_before_anything_is_tried_on_the_device(text, pair, monkeypatch):
    """torch looks at cuBLAS's setting once in a process, at the first product on a card."""
    seen = []

    def choose(*arguments, **named):
        seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
        raise ValueError("seen enough")

    monkeypatch.setattr(recipes, "choose", choose)
    for name in ("CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "ASCEND_LAUNCH_BLOCKING", "HCCL_DETERMINISTIC"):
        monkeypatch.setenv(name, "")  # put back afterwards
    monkeypatch.setenv("FLASH_ATTENTION_DETERMINISTIC", "")
    try:
        assert adapt(*pair, "--train_file", text, "--output_dir", "out", "--use_cpu", "--full_determinism") == 2
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
    assert seen == [(True, ":16:8")]


def test_held_out_sentences_are_shown_in_the_language_asked_for(text, pair, capsys):
    paths = ["--train_file", text, "--text_column", "sen", "--output_dir", "out"]
    assert adapt(*pair, *paths, *QUICK, "--sample-steps", 2, "--lang", "ko") == 0
    assert capsys.readouterr().out.count("RTD 표본 · 에폭") == 2  # 4 steps


def test_the_defaults_are_those_for_a_released_pair():
    arguments = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o"]
    _, training_args = run_parsers.adapt_parser().parse_args_into_dataclasses(arguments)
    assert training_args.learning_rate == 5e-5
    assert training_args.get_warmup_steps(1000) == 100
    assert training_args.save_total_limit == 2


def test_resume_goes_on_from_the_last_whole_checkpoint(again, finished_run, tmp_path):
    whole = read_json(finished_run.out / "adapt_results.json")
    # As if killed while step 4 was being saved.
    (tmp_path / "out" / "checkpoint-4" / "trainer_state.json").unlink()
    (tmp_path / "out" / "adapt_results.json").unlink()
    (tmp_path / "out" / ".partial-abc").mkdir()
    resumed = again("--resume")
    assert {"checkpoint-2", "checkpoint-4"} <= set(listing(tmp_path / "out"))
    assert ".partial-abc" not in listing(tmp_path / "out")
    weights, cut = (AutoModel.from_pretrained(folder).state_dict() for folder in (finished_run.out, "out"))
    for name, value in weights.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-6, atol=1e-7, msg=name)
    # Its figures are those of the whole run.
    assert (resumed.steps, resumed.tokens_seen, resumed.before) == (4, whole["tokens_seen"], whole["before"])
    assert resumed.tokens_per_second == resumed.tokens_seen / resumed.seconds
    log = read_json(tmp_path / "out" / "trainer_state.json")["log_history"]
    assert log[0]["step"] == 0 and log[0]["eval_disc_loss"] == whole["before"]["disc_loss"]


def test_a_held_out_file_of_an_earlier_run_never_stays_beside_a_later_pair(again, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "describe_held_out", lambda *arguments: None)  # as where a batch passed unseen
    assert "held_out.json" in listing(tmp_path / "out")
    again("--resume")
    assert "held_out.json" not in listing(tmp_path / "out")


# ---- Wrong input: exit status 2, a message with the mend, nothing left behind ----


def test_wrong_input_is_a_clear_error_with_status_2_and_leaves_nothing(text, pair, save_pair, tmp_path, capsys):
    """One of each kind: `test_data.py`, `test_start.py` and `test_options.py` have all of a kind."""
    bare = save_pair(tmp_path / "bare")
    of_text = [*pair, "--train_file", text]
    before = set(listing(tmp_path))
    for arguments, message in (
        ([*pair, "--train_file", "missing.csv"], r"No such file or folder: missing\.csv"),
        ([*of_text, "--validation_file", "no.csv"], r"No such file.*no\.csv"),
        (
            ["--generator", bare[0], "--discriminator", bare[1], "--train_file", text],
            r"holds a tokenizer.*--tokenizer",
        ),
        (
            ["--from_scratch=small", "--train_file", text, "--learning_rate", "5e-4"],
            r"a command of its own now.*electra-rtd pretrain --preset electra-small .*--train_file text\.csv"
            r" --learning_rate 5e-4",
        ),
        ([*of_text, "--mask_prob", "1.5"], r"--mask_prob is 1\.5.*\(0, 1\]"),
        ([*of_text, "--max_seq_length", "100000"], r"100000.*128 tokens at most"),
        (["--generator", "./nowhere", "--discriminator", bare[1], "--train_file", text], r"nowhere"),
        ([*of_text, "--report_to", "wandb"], r"wandb"),
        ([*of_text, "--resume"], r"no checkpoint in"),
    ):
        assert adapt(*QUICK, *arguments, "--output_dir", "out") == 2, arguments
        shown = capsys.readouterr().err
        assert re.search(rf"electra-rtd adapt: error: .*{message}", shown, flags=re.DOTALL), shown
        assert "Traceback" not in shown
        assert set(listing(tmp_path)) - before <= {"cache"}, arguments


def test_what_argparse_refuses_has_status_2():
    for arguments in (["pretrain", "--preset", "huge"], ["export", "--no_such_option"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2


def test_text_that_becomes_unk_ends_before_training_with_the_remedy(text, pair, tmp_path, capsys):
    apart = unicodedata.normalize("NFD", (tmp_path / text).read_text(encoding="utf-8"))
    (tmp_path / "apart.csv").write_text(apart, encoding="utf-8")
    assert adapt(*pair, "--train_file", "apart.csv", "--output_dir", "out", *QUICK) == 2
    assert re.search(r"tokens to train on are \[UNK\].*Write it in NFC", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_an_earlier_run_is_replaced_where_asked_once_the_new_one_can_start(again, tmp_path):
    before = listing(tmp_path / "out")
    for options, message in (
        ([], r"not empty.*`resume=True`.*`overwrite=True`"),
        (["--overwrite", "--validation_file", "missing.csv"], "No such file"),
        (["--overwrite", "--mask_prob", "1.5"], "`mask_prob` is 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            again(*options)
        assert listing(tmp_path / "out") == before
    assert again("--overwrite", "--save_strategy", "no").steps == 4
    assert listing(tmp_path / "out") == [name for name in before if not name.startswith("checkpoint-")]


def test_what_the_run_reads_is_never_removed(text, pair_copy, tmp_path, capsys):
    before = listing(pair_copy)
    assert adapt("--checkpoint", "pair", "--train_file", text, "--output_dir", "pair", "--overwrite", *QUICK) == 2
    assert "--overwrite would remove pair, which the run reads" in capsys.readouterr().err
    assert listing(pair_copy) == before


def test_export_command_writes_each_network(saved_pair, tmp_path, capsys):
    for out, options, name in (
        ("encoder", ["--as-encoder"], "ElectraModel"),
        ("generator", ["--network", "generator"], "ElectraForMaskedLM"),
    ):
        assert cli.main(["export", "--checkpoint", str(saved_pair), "--output_dir", out, *options]) == 0
        assert read_json(tmp_path / out / "config.json")["architectures"] == [name]
    assert cli.main(["export", "--checkpoint", str(saved_pair), "--output_dir", "generator"]) == 2
    assert "not an empty folder" in capsys.readouterr().err
