"""What the tests of training share: a folder of their own for each, and one finished run that many of them read."""

import io
import shutil
from contextlib import redirect_stdout
from types import SimpleNamespace

import datasets
import pytest
import torch
from datasets import Dataset
from transformers import Trainer

from electra_rtd import cli
from electra_rtd.train_tools import RTDMetricsCallback, adapt


WORDS = "나 너 우리 학교 책 비 눈 산 강 바다 사람 시간 하루 오늘 내일 밥 물 집 길 말 글 간다 온다 본다".split()  # noqa: SIM905
ROWS = [" ".join(WORDS[(7 * row + step) % len(WORDS)] for step in range(4 + row % 9)) for row in range(60)]
TEXT = "sen,number\n" + "".join(f"{row},1\n" for row in ROWS)
FOUR_STEPS = [
    *("--max_steps", "4", "--per_device_train_batch_size", "4", "--max_seq_length", "32", "--logging_steps", "2"),
    *("--learning_rate", "1e-3", "--lr_scheduler_type", "constant", "--warmup_steps", "0", "--eval_strategy", "no"),
    *("--save_strategy", "steps", "--save_steps", "2", "--save_total_limit", "9", "--sample_steps", "0", "--no_fast"),
    *("--use_cpu", "--disable_tqdm", "true", "--report_to", "none"),
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Every test is in a folder of its own, with a cache of its own, and asks nothing of the Hub's data sets."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def text(tmp_path):
    """A file of 60 rows whose text is in the column `sen`; its name."""
    (tmp_path / "text.csv").write_text(TEXT, encoding="utf-8")
    return "text.csv"


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, pair_folders):
    """A run of four steps by the command line, with checkpoints of steps 2 and 4; not to be written to.

    `folder` holds `text.csv` and `out`; `arguments` are those of the command; `shown` is what it printed.
    """
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.csv").write_text(TEXT, encoding="utf-8")
    start = ["--generator", str(pair_folders[0]), "--discriminator", str(pair_folders[1]), "--train_file", "text.csv"]
    arguments = [*start, "--output_dir", "out", *FOUR_STEPS]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as shown:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        patch.chdir(folder)
        assert cli.main(["adapt", *arguments]) == 0
    return SimpleNamespace(folder=folder, out=folder / "out", arguments=arguments, shown=shown.getvalue())


@pytest.fixture
def again(finished_run, text, tmp_path):
    """A copy of `finished_run` in the test's folder; `again(*options)` runs its command again, and returns the result.

    `adapt` is called as the command line calls it; errors come out as they are.
    """
    shutil.copytree(finished_run.out, tmp_path / "out")

    def run(*options):
        arguments, training_args, given = cli.parse_adapt([*finished_run.arguments, *map(str, options)])
        return adapt(arguments, training_args, given=given)

    return run


@pytest.fixture(scope="session")
def rows(ids):
    """24 ragged sequences between [CLS] and [SEP], of a few words more than of others."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.arange(1, len(ids.ordinary) + 1).float() ** -1
    sequences = []
    for row in range(24):
        words = torch.multinomial(weights, 4 + 5 * (row % 4), replacement=True, generator=draw)
        sequences.append([ids.cls, *(ids.ordinary[word] for word in words), ids.sep])
    return Dataset.from_dict({"input_ids": sequences})


@pytest.fixture
def make_trainer(make_model, make_arguments, rows, tokenizer):
    def make(model=None, callbacks=None, collator=None, eval_dataset=None, **arguments):
        return Trainer(
            model=model if model is not None else make_model(mask_prob=0.4),
            args=make_arguments(**arguments),
            data_collator=collator,
            train_dataset=rows.select(range(16)),
            eval_dataset=rows.select(range(16, 24)) if eval_dataset is None else eval_dataset,
            processing_class=tokenizer,
            callbacks=[RTDMetricsCallback(detailed=True)] if callbacks is None else callbacks,
        )

    return make
