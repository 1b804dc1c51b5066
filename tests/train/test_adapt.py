"""`electra-rtd adapt` and `export`, run as a user would: what comes out, and what wrong input leaves behind."""

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata

import datasets
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, ElectraForPreTraining

from electra_rtd import cli, parsers
from electra_rtd.train_tools import recipes
from electra_rtd.train_tools.counts import DETAILED
from electra_rtd.train_tools.from_scratch import train_tokenizer
from electra_rtd.train_tools.held_out import JUDGED_BY
from electra_rtd.train_tools.tokenizer import SPECIAL_TOKENS, load_tokenizer


PARTS = ("loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc")
QUICK = ["--max_steps", "4", "--per_device_train_batch_size", "4", "--max_seq_length", "32", "--logging_steps", "2"]
QUICK += [
    "--use_cpu",
    "--disable_tqdm",
    "true",
    "--report_to",
    "none",
    "--eval_strategy",
    "no",
    "--save_strategy",
    "no",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def text(tmp_path):
    words = "나 너 우리 학교 책 비 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글 노래 간다 온다 본다"
    words = words.split()
    rows = [" ".join(words[(7 * row + step) % len(words)] for step in range(4 + row % 9)) for row in range(60)]
    (tmp_path / "text.csv").write_text("sen,number\n" + "".join(f"{row},1\n" for row in rows), encoding="utf-8")
    return "text.csv"


def adapt(*arguments):
    return cli.main(["adapt", *map(str, arguments)])


CODE = [f"{name}_electra_rtd.py" for name in ("configuration", "modeling", "objective", "pairing", "unpadding")]


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_adapting_a_pretrained_pair_gives_a_pair_a_discriminator_and_figures(text, pair_folders, tmp_path, capsys):
    generator, discriminator = pair_folders
    arguments = ["--generator", generator, "--discriminator", discriminator, "--train-file", text, *QUICK]
    assert adapt(*arguments, "--output-dir", "out", "--learning_rate", "1e-3") == 0
    files = {"adapt_results.json", "config.json", "model.safetensors", "training_args.bin", "discriminator"}
    files |= {*CODE, "trainer_state.json", "held_out.json"}
    assert {name for name in listing(tmp_path / "out") if "token" not in name and name != "vocab.txt"} == files
    results = json.loads((tmp_path / "out" / "adapt_results.json").read_text())
    assert results["steps"] == 4 and results["tokens_seen"] > 4 * 4 * 4
    assert set(results["before"]) == set(results["after"]) == {*PARTS, *DETAILED, *JUDGED_BY}
    assert results["after"]["loss"] < results["before"]["loss"]
    for name in ("before", "after"):
        figures = results[name]
        assert figures["mlm_loss"] + 50 * figures["disc_loss"] == pytest.approx(figures["loss"], rel=1e-5)
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    evaluations = [row for row in log if "eval_loss" in row]
    held_out = json.loads((tmp_path / "out" / "held_out.json").read_text())
    figures = {name: value for name, value in held_out["before"].items() if not isinstance(value, dict)}
    assert evaluations[0] == {"step": 0, **{f"eval_{name}": figures[name] for name in figures}}
    assert figures == results["before"]
    assert figures["tokens"] == sum(held_out["before"]["calibration"]["count"]) and 1 < figures["frequency_loss"] < 4
    assert evaluations[-1]["eval_disc_loss"] == results["after"]["disc_loss"]
    settings = results["settings"]
    assert settings["learning_rate"] == 1e-3 and settings["generator"] == "generator"  # no path of this disk
    assert str(tmp_path) not in json.dumps(settings) and results["datasets"] == []
    shown = capsys.readouterr().out
    for name in ("disc_auc", *PARTS):
        assert re.search(rf"{name}.*{results['before'][name]:.4f}.*{results['after'][name]:.4f}", shown), name
    assert f"{results['tokens_seen']:,} tokens" in shown

    pair = AutoModel.from_pretrained(tmp_path / "out")
    exported = ElectraForPreTraining.from_pretrained(tmp_path / "out" / "discriminator")
    for name, value in pair.discriminator.state_dict().items():
        assert torch.equal(value, exported.state_dict()[name]), name
    assert pair.config.mask_token_id == AutoTokenizer.from_pretrained(tmp_path / "out").mask_token_id
    start = ElectraForPreTraining.from_pretrained(discriminator)
    assert not torch.equal(exported.get_input_embeddings().weight, start.get_input_embeddings().weight)


def test_a_tokenizer_beside_the_generator_alone_is_enough(text, pair_folders, save_pair, tmp_path):
    bare = save_pair(tmp_path / "bare")[1]
    pair = ["--generator", pair_folders[0], "--discriminator", bare, "--train_file", text, "--output_dir", "out"]
    assert adapt(*pair, *QUICK) == 0
    vocabulary = AutoTokenizer.from_pretrained(pair_folders[0]).get_vocab()
    assert AutoTokenizer.from_pretrained("out").get_vocab() == vocabulary


def test_going_on_from_a_checkpoint_starts_where_it_ended(text, tmp_path, pair_folders):
    pair = ["--generator", pair_folders[0], "--discriminator", pair_folders[1]]
    assert adapt(*pair, "--train_file", text, "--output_dir", "one", "--validation_file", text, *QUICK) == 0
    assert adapt(
        *["--checkpoint", "one", "--train_file", text, "--validation_file", text, "--output_dir", "two", *QUICK],
        *["--mask_prob", "0.15"],
    ) == 0  # fmt: skip
    one, two = (json.loads((tmp_path / name / "adapt_results.json").read_text()) for name in ("one", "two"))
    assert two["before"] == pytest.approx(one["after"], rel=1e-5)


def test_a_pair_from_scratch_learns_its_own_vocabulary(text, tmp_path):
    assert adapt(
        *["--from_scratch", "tiny", "--vocab_size", "90", "--train_file", text, "--output_dir", "out", *QUICK],
        *["--mask_prob", "0.3", "--disc_weight", "20"],
    ) == 0  # fmt: skip
    model, tokenizer = AutoModel.from_pretrained("out"), AutoTokenizer.from_pretrained("out")
    assert len(tokenizer) == model.config.vocab_size <= 90
    assert (model.config.embedding_sharing, model.config.mask_prob, model.config.disc_weight) == ("tied", 0.3, 20)
    assert tokenizer.tokenize("오늘 책") == ["오늘", "책"]
    assert set(tokenizer.all_special_ids) == set(model.config.special_token_ids)


def test_two_processes_adapt_with_one_vocabulary(text, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [
        "-m",
        "electra_rtd.cli",
        "adapt",
        "--from_scratch",
        "tiny",
        "--vocab_size",
        "100",
        "--train_file",
        text,
    ]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    arguments = ["--output_dir", "out", *QUICK, "--save_strategy", "steps", "--save_steps", "2"]
    process = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    results = json.loads((tmp_path / "out" / "adapt_results.json").read_text())
    assert results["after"]["mlm_loss"] + 50 * results["after"]["disc_loss"] == pytest.approx(results["after"]["loss"])
    held_out = json.loads((tmp_path / "out" / "held_out.json").read_text())
    assert held_out["after"].items() >= results["after"].items()
    model = AutoModel.from_pretrained("out")
    assert len(AutoTokenizer.from_pretrained("out")) == model.config.vocab_size
    assert listing(tmp_path / "out" / "discriminator")


def test_a_bare_vocabulary_is_a_tokenizer(text, tmp_path):
    (tmp_path / "vocab").mkdir()
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "책", "비", "##다", "온", "Python"]
    entries += "나 너 우리 학교 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글 노래 간 본".split()  # noqa: SIM905
    (tmp_path / "vocab" / "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
    assert adapt(
        *["--from_scratch", "tiny", "--tokenizer", "vocab", "--train_file", text, "--output_dir", "out", *QUICK]
    ) == 0  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained("out")
    assert tokenizer("책 온다 Python python")["input_ids"] == [2, 5, 8, 7, 9, 1, 3]  # cased, as the vocabulary is


def test_the_example_works_twice_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "electra_rtd.cli", "adapt", "--example", "--max_steps", "2"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    for _ in range(2):
        process = subprocess.run(
            [*command, "--disable_tqdm", "true"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        assert "420 rows of column 'text'" in process.stderr
    assert "discriminator" in listing(tmp_path / "electra-rtd-sample")


@pytest.mark.parametrize(("on_collapse", "status", "steps"), [("stop", 1, 6), ("warn", 0, 8)])
def test_a_run_that_dies_is_named_and_stopped_where_asked(
    text, pair_folders, tmp_path, capsys, on_collapse, status, steps
):
    generator, discriminator = pair_folders
    run = [*QUICK, "--max_steps", 8, "--logging_steps", 1, "--learning_rate", 2.0, "--warmup_steps", 0]
    pair = ["--generator", generator, "--discriminator", discriminator]
    paths = ["--train_file", text, "--text_column", "sen", "--output_dir", "out"]
    assert adapt(*pair, *paths, *run, "--on-collapse", on_collapse) == status
    results = json.loads((tmp_path / "out" / "adapt_results.json").read_text())
    assert results["steps"] == steps
    assert "generator_rises" in [row["health"] for row in results["health"]]
    shown = capsys.readouterr().out
    assert "HEALTH         generator_rises, step 6: mlm_loss is" in shown
    assert "a lower --learning_rate" in shown and "push" not in shown.split("Try:")[1]


def test_held_out_sentences_are_shown_in_the_language_asked_for(text, pair_folders, tmp_path, capsys):
    generator, discriminator = pair_folders
    pair = ["--generator", generator, "--discriminator", discriminator]
    paths = ["--train_file", text, "--text_column", "sen", "--output_dir", "out"]
    assert adapt(*pair, *paths, *QUICK, "--sample-steps", 2, "--lang", "ko") == 0
    output = capsys.readouterr().out
    assert output.count("RTD 표본 · 에폭") == 2  # 4 steps
    assert adapt(*pair, *paths, *QUICK, "--overwrite", "--sample-steps", 0) == 0
    assert "RTD" not in capsys.readouterr().out


def test_the_defaults_are_those_for_a_released_pair():
    arguments = ["--checkpoint", "c", "--train_file", "f", "--output_dir", "o"]
    _, training_args = parsers.adapt_parser().parse_args_into_dataclasses(arguments)
    assert training_args.learning_rate == 5e-5
    assert training_args.get_warmup_steps(1000) == 100
    assert training_args.save_total_limit == 2


def test_resume_goes_on_from_the_last_whole_checkpoint(text, tmp_path, pair_folders):
    pair = ["--generator", pair_folders[0], "--discriminator", pair_folders[1], "--train_file", text, *QUICK]
    pair += ["--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "5"]
    assert adapt(*pair, "--output_dir", "whole") == 0
    assert adapt(*pair, "--output_dir", "cut") == 0
    # As if killed while step 4 was being saved.
    (tmp_path / "cut" / "checkpoint-4" / "trainer_state.json").unlink()
    (tmp_path / "cut" / "adapt_results.json").unlink()
    (tmp_path / "cut" / ".partial-abc").mkdir()
    assert adapt(*pair, "--output_dir", "cut", "--resume") == 0
    assert {"checkpoint-2", "checkpoint-4"} <= set(listing(tmp_path / "cut"))
    assert ".partial-abc" not in listing(tmp_path / "cut")
    whole, cut = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "cut"))
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_a_held_out_file_of_an_earlier_run_never_stays_beside_a_later_pair(text, tmp_path, monkeypatch):
    scratch = ["--from_scratch", "tiny", "--vocab_size", "60", "--train_file", text, "--output_dir", "out", *QUICK]
    scratch += ["--save_strategy", "steps", "--save_steps", "2"]
    assert adapt(*scratch) == 0
    first = json.loads((tmp_path / "out" / "held_out.json").read_text())
    assert adapt(*scratch, "--resume", "--max_steps", "6") == 0
    assert json.loads((tmp_path / "out" / "held_out.json").read_text())["after"] != first["after"]
    monkeypatch.setattr(recipes, "describe_held_out", lambda *arguments: None)  # as where a batch passed unseen
    assert adapt(*scratch, "--resume", "--max_steps", "8") == 0
    assert "held_out.json" not in listing(tmp_path / "out")


def test_resume_keeps_the_vocabulary_of_the_first_run(text, tmp_path):
    scratch = ["--from_scratch", "tiny", "--vocab_size", "60", "--train_file", text, "--output_dir", "out", *QUICK]
    scratch += ["--save_strategy", "steps", "--save_steps", "2"]
    assert adapt(*scratch) == 0
    first = AutoTokenizer.from_pretrained("out").get_vocab()
    assert adapt(*scratch, "--resume", "--max_steps", "6") == 0
    assert AutoTokenizer.from_pretrained("out").get_vocab() == first
    assert json.loads((tmp_path / "out" / "adapt_results.json").read_text())["steps"] == 6


# ---- Wrong input: exit status 2, a message with the mend, nothing left behind ----


@pytest.fixture
def broken(tmp_path, text, pair_folders, save_pair, make_tokenizer):
    """Name -> arguments that must fail, and what the message must say."""
    (tmp_path / "empty.txt").touch()
    (tmp_path / "cp949.csv").write_bytes("text\n한국어\n".encode("cp949"))
    other = save_pair(
        tmp_path / "other", make_tokenizer(), generator={"vocab_size": 90}, discriminator={"vocab_size": 90}
    )
    maskless = save_pair(tmp_path / "maskless", make_tokenizer(mask_token=None))
    bare = save_pair(tmp_path / "bare")
    # Of equal size, but two words have changed places.
    shutil.copytree(pair_folders[1], tmp_path / "shuffled")
    vocabulary = (tmp_path / "shuffled" / "tokenizer.json").read_text(encoding="utf-8")
    vocabulary = vocabulary.replace('"나":', '"_":').replace('"책":', '"나":').replace('"_":', '"책":')
    (tmp_path / "shuffled" / "tokenizer.json").write_text(vocabulary, encoding="utf-8")
    pair = ["--generator", pair_folders[0], "--discriminator", pair_folders[1]]
    return {
        "no such file": ([*pair, "--train_file", "missing.csv"], r"No such file or folder: missing\.csv"),
        "missing column": ([*pair, "--train_file", text, "--text_column", "body"], r"no column 'body'.*sen, number"),
        "empty file": ([*pair, "--train_file", "empty.txt"], r"empty\.txt is empty"),
        "invalid UTF-8": ([*pair, "--train_file", "cp949.csv"], r"cp949\.csv is not UTF-8.*iconv"),
        "different vocabularies": (
            ["--generator", pair_folders[0], "--discriminator", other[1], "--train_file", text],
            r"different vocabularies.*80.*90",
        ),
        "no mask token": (
            ["--generator", maskless[0], "--discriminator", maskless[1], "--train_file", text],
            r"no mask token.*trained with",
        ),
        "vocabularies of equal size": (
            ["--generator", pair_folders[0], "--discriminator", tmp_path / "shuffled", "--train_file", text],
            r"different vocabularies.*80 and 80 tokens.*one release",
        ),
        "no tokenizer": (
            ["--generator", bare[0], "--discriminator", bare[1], "--train_file", text],
            r"no tokenizer.*--tokenizer",
        ),
        "swapped": (
            ["--generator", pair_folders[1], "--discriminator", pair_folders[0], "--train_file", text],
            r"lacks.*swapped",
        ),
        "one network": (
            ["--generator", pair_folders[0], "--train_file", text],
            r"both --generator and --discriminator",
        ),
        "two starts": (
            [*pair, "--from_scratch", "tiny", "--train_file", text],
            r"one start.*--generator.*--from_scratch",
        ),
        "no start": (["--train_file", text], r"one start, not none"),
        "no text": (pair, r"--train_file FILES"),
        "no validation file": ([*pair, "--train_file", text, "--validation_file", "no.csv"], r"No such file.*no\.csv"),
        "mask_prob": ([*pair, "--train_file", text, "--mask_prob", "1.5"], r"--mask_prob is 1\.5.*\(0, 1\]"),
        "gdes": ([*pair, "--train_file", text, "--embedding_sharing", "gdes"], r'"none", "tied"'),
        "too long": ([*pair, "--train_file", text, "--max_seq_length", "100000"], r"100000.*128 tokens at most"),
        "tiny vocabulary": (
            ["--from_scratch", "tiny", "--vocab_size", "-5", "--train_file", text],
            r"vocab_size is -5",
        ),
        "stock checkpoint": (
            ["--checkpoint", pair_folders[1], "--train_file", text],
            r"type 'electra', not 'electra_rtd'.*--generator G",
        ),
        "no such generator": (
            ["--generator", "./nowhere", "--discriminator", pair_folders[1], "--train_file", text],
            r"nowhere",
        ),
        "no such reporter": ([*pair, "--train_file", text, "--report_to", "wandb"], r"wandb"),
        "nothing to resume": ([*pair, "--train_file", text, "--resume"], r"no complete checkpoint"),
        "no such checkpoint": (["--checkpoint", "./nowhere", "--train_file", text], r"nowhere"),
    }


def test_wrong_input_is_a_clear_error_with_status_2_and_leaves_nothing(broken, tmp_path, capsys):
    before = set(listing(tmp_path))
    for name, (arguments, message) in broken.items():
        assert adapt(*QUICK, *arguments, "--output_dir", "out") == 2, name
        shown = capsys.readouterr().err
        assert re.search(rf"electra-rtd adapt: error: .*{message}", shown, flags=re.DOTALL), (name, shown)
        assert "Traceback" not in shown
        assert set(listing(tmp_path)) - before <= {"cache"}, name


def test_a_tokenizer_that_does_not_fit_the_checkpoint_is_refused(text, make_model, make_tokenizer, tmp_path, capsys):
    make_model().save_pretrained("pair")
    make_tokenizer().save_pretrained("pair")
    make_tokenizer(extra_words=["강아지"]).save_pretrained("larger")
    arguments = ["--checkpoint", "pair", "--train_file", text, "--output_dir", "out", *QUICK]
    assert adapt(*arguments, "--tokenizer", "larger") == 2
    assert re.search(
        r"does not fit pair: it has 81 tokens.*checkpoint 80 and.*Leave --tokenizer out", capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
    assert adapt(*arguments) == 0


def test_what_argparse_refuses_has_status_2():
    for arguments in (["adapt", "--from_scratch", "huge"], ["export", "--no_such_option"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2


@pytest.mark.parametrize(
    ("entries", "text", "tokens"),
    [
        (["책", "비"], "책 비", ["책", "비"]),  # nothing says that it is uncased, and lower case would break Hangul
        (["책", "python"], "책 Python", ["책", "python"]),
        (["책", "Python"], "책 Python python", ["책", "Python", "[UNK]"]),
        (["python", "cafe"], "Python café", ["python", "cafe"]),
    ],
)
def test_a_bare_vocabulary_is_uncased_only_where_it_says_so(entries, text, tokens, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *entries]) + "\n", encoding="utf-8")
    assert load_tokenizer(tmp_path / "vocab.txt").tokenize(text) == tokens


def test_a_trained_vocabulary_finds_the_korean_words_it_was_trained_on():
    tokenizer = train_tokenizer(["오늘 책을 읽는다"] * 9, vocab_size=100)
    assert tokenizer.tokenize("오늘 책을 읽는다") == ["오늘", "책을", "읽는다"]


def test_text_that_becomes_unk_ends_before_training_with_the_remedy(text, pair_folders, tmp_path, capsys):
    apart = unicodedata.normalize("NFD", (tmp_path / text).read_text(encoding="utf-8"))
    (tmp_path / "apart.csv").write_text(apart, encoding="utf-8")
    pair = ["--generator", pair_folders[0], "--discriminator", pair_folders[1]]
    assert adapt(*pair, "--train_file", "apart.csv", "--output_dir", "out", *QUICK) == 2
    assert re.search(r"tokens to train on are \[UNK\].*Write it in NFC", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["a run", "somebody's model", "something else"])
def test_an_output_folder_that_holds_something_is_left_alone(content, text, pair_folders, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    file = out / ("thesis.doc" if content == "something else" else "config.json")
    file.write_text(json.dumps({"model_type": "electra_rtd" if content == "a run" else "bert"}))
    arguments = ["--generator", pair_folders[0], "--discriminator", pair_folders[1], "--output_dir", out, *QUICK]
    assert adapt(*arguments, "--train_file", text) == 2
    assert re.search(r"not empty.*--resume.*--overwrite", capsys.readouterr().err, flags=re.DOTALL)
    assert adapt(*arguments, "--train_file", "missing.csv", "--overwrite") == 2  # wrong input comes before removal
    assert listing(out) == [file.name]
    assert adapt(*arguments, "--train_file", text, "--overwrite") == (0 if content == "a run" else 2)
    assert ("adapt_results.json" in listing(out)) == (content == "a run")
    assert content == "a run" or listing(out) == [file.name]


def test_what_the_run_reads_is_never_removed(text, make_model, tokenizer, tmp_path, capsys):
    make_model().save_pretrained("out")
    tokenizer.save_pretrained("out")
    before = listing(tmp_path / "out")
    assert adapt("--checkpoint", "out", "--train_file", text, "--output_dir", "out", "--overwrite", *QUICK) == 2
    assert "--overwrite would remove out, which the run reads" in capsys.readouterr().err
    assert listing(tmp_path / "out") == before


def test_the_earlier_run_stays_until_the_new_one_can_start(text, pair_folders, tmp_path):
    arguments = ["--generator", pair_folders[0], "--discriminator", pair_folders[1], "--train_file", text, *QUICK]
    assert adapt(*arguments, "--output_dir", "out") == 0
    before = listing(tmp_path / "out")
    assert adapt(*arguments, "--output_dir", "out", "--overwrite", "--report_to", "wandb") == 2
    assert set(before) <= set(listing(tmp_path / "out"))


def test_export_command_writes_each_network(make_model, tokenizer, tmp_path, capsys):
    make_model().save_pretrained("pair")
    tokenizer.save_pretrained("pair")
    for network, options, name in (
        ("discriminator", [], "ElectraForPreTraining"),
        ("discriminator", ["--as-encoder"], "ElectraModel"),
        ("generator", [], "ElectraForMaskedLM"),
    ):
        out = f"{network}{len(options)}"
        assert cli.main(["export", "--checkpoint", "pair", "--output_dir", out, "--network", network, *options]) == 0
        assert json.loads((tmp_path / out / "config.json").read_text())["architectures"] == [name]
    assert cli.main(["export", "--checkpoint", "pair", "--output_dir", "generator0"]) == 2
    assert "not an empty folder" in capsys.readouterr().err
