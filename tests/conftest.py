"""What the tests of the model share: a tiny pair, a tiny Korean tokenizer, ragged batches, fresh processes.

The special ids are scattered over the vocabulary on purpose (the first id, the last, padding somewhere between): an id
that is guessed, and not taken from the tokenizer, fails here.
"""

import gc
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PreTrainedTokenizerFast,
    TrainingArguments,
)

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining


ROOT = Path(__file__).parent.parent


class RootIsAFolder:
    """The repository root is the package `electra_rtd`. pytest would import it a second time, under its folder's name.

    That copy would register its classes over the first; and from a folder whose name is no identifier (`electra-rtd`)
    it cannot be imported at all.
    """

    def pytest_collect_directory(self, path, parent):
        """A folder like any other: nothing of it is imported."""
        return pytest.Dir.from_parent(parent, path=path) if path.samefile(ROOT) else None


def pytest_configure(config):
    """Register it for all folders: a hook in this file itself would see those below it alone."""
    config.pluginmanager.register(RootIsAFolder())


def pytest_runtest_setup(item):
    """Say why a test that needs CUDA does not run."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs CUDA, which is not here")


def pytest_collection_finish(session):
    """What is imported stays: accelerate collects garbage in each training, and need not go through all of it."""
    gc.freeze()


# Where pytest's importlib mode does not look: tests can say `from hub_server import Hub`.
for name, place in (("hub_server", "hub/hub_server/__init__.py"), ("made_up_evaluation", "made_up_evaluation.py")):
    specification = importlib.util.spec_from_file_location(name, Path(__file__).parent / place)
    sys.modules[name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sys.modules[name])

torch.set_num_threads(1)  # the networks are tiny: threads only get in each other's way

UNK, PAD, CLS, SEP, MASK = 0, 7, 31, 32, 79
SPECIAL = {"[UNK]": UNK, "[PAD]": PAD, "[CLS]": CLS, "[SEP]": SEP, "[MASK]": MASK}
VOCAB_SIZE = 80
ORDINARY = [token_id for token_id in range(VOCAB_SIZE) if token_id not in SPECIAL.values()]
WORDS = """나 너 우리 학교 병원 환자 의사 약 비 눈 산 강 바다 사람 마음 시간 하루 오늘 내일 어제 밥 물 집 길 책 말 글
간다 온다 먹는다 읽는다 쓴다 본다 좋다 크다 작다 많다 . , ? ##는 ##은 ##가 ##이 ##를 ##을 ##에 ##에서 ##도""".split()  # noqa: SIM905


class Ids:
    """The special ids of the tiny vocabulary, and the others."""

    unk, pad, cls, sep, mask = UNK, PAD, CLS, SEP, MASK
    special, ordinary, vocab_size = sorted(SPECIAL.values()), ORDINARY, VOCAB_SIZE


@pytest.fixture(scope="session")
def ids():
    return Ids


def build_tokenizer(mask_token="[MASK]", extra_words=()):
    words = WORDS + [chr(0xD000 + number) for number in range(len(ORDINARY) - len(WORDS))]  # syllables fill it up
    vocabulary = {**SPECIAL, **dict(zip(words, ORDINARY, strict=True))}
    for word in extra_words:
        vocabulary[word] = len(vocabulary)
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    if mask_token is not None:
        names["mask_token"] = mask_token
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)


@pytest.fixture(scope="session")
def make_tokenizer():
    """A WordPiece tokenizer of 80 tokens; `mask_token=None` leaves its mask token out, `extra_words` come on top."""
    return build_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


def electra_config(**overrides):
    sizes = {
        "vocab_size": VOCAB_SIZE,
        "embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 128,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,
        "pad_token_id": PAD,
    }
    return ElectraConfig(**{**sizes, **overrides})


def generator_config(**overrides):
    return electra_config(**{"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, **overrides})


def stir(model, seed):
    """Random numbers on every weight: no bias is 0, no scale is 1, no padding row is empty, so each one counts."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return model


@pytest.fixture(scope="session")
def make_electra_config():
    """A tiny stock `ElectraConfig` of the discriminator's size; dropout off."""
    return electra_config


@pytest.fixture(scope="session")
def make_config():
    """A tiny `ElectraRTDConfig`; dictionaries `generator` and `discriminator` change the two networks."""

    def make(generator=None, discriminator=None, dropout=0.0, **fields):
        dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        defaults = {"mask_token_id": MASK, "pad_token_id": PAD, "special_token_ids": Ids.special}
        return ElectraRTDConfig(
            generator_config=generator_config(**{**dropouts, **(generator or {})}),
            discriminator_config=electra_config(**{**dropouts, **(discriminator or {})}),
            **{**defaults, **fields},
        )

    return make


@pytest.fixture(scope="session")
def make_model(make_config):
    """A tiny model in eval mode, arguments as `make_config`; every weight is stirred."""

    def make(seed=0, **fields):
        torch.manual_seed(seed)
        return stir(ElectraRTDForPreTraining(make_config(**fields)), seed).eval()

    return make


@pytest.fixture(scope="session")
def make_batch():
    """A ragged batch: rows of `lengths` tokens, `[CLS] ... [SEP]`, padded on `side` to `width`."""

    def make(lengths=(12, 7, 3, 2), side="right", width=None, segments=False, seed=0):
        draw = torch.Generator().manual_seed(seed)
        width = width or max(lengths)
        input_ids = torch.full((len(lengths), width), PAD)
        attention_mask = torch.zeros(len(lengths), width, dtype=torch.long)
        token_type_ids = torch.zeros_like(input_ids)
        for row, length in enumerate(lengths):
            if length == 0:
                continue
            inner = torch.tensor(ORDINARY)[torch.randint(len(ORDINARY), (max(length - 2, 0),), generator=draw)]
            tokens = torch.cat([torch.tensor([CLS]), inner, torch.tensor([SEP])])[:length]
            start = width - length if side == "left" else 0
            input_ids[row, start : start + length] = tokens
            attention_mask[row, start : start + length] = 1
            token_type_ids[row, start + length // 2 : start + length] = 1
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        return {**batch, "token_type_ids": token_type_ids} if segments else batch

    return make


@pytest.fixture(scope="session")
def make_same_rows(ids):
    """`rows` equal sequences of `length` ordinary tokens between [CLS] and [SEP], all attended."""

    def make(rows, length, seed=0):
        draw = torch.Generator().manual_seed(seed)
        inner = torch.tensor(ORDINARY)[torch.randint(len(ORDINARY), (length,), generator=draw)]
        return torch.cat([torch.tensor([CLS]), inner, torch.tensor([SEP])]).repeat(rows, 1)

    return make


@pytest.fixture
def make_arguments(tmp_path):
    """`TrainingArguments` of a short and silent run on the CPU, in a folder of its own."""

    def make(**arguments):
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "per_device_train_batch_size": 4,
            "per_device_eval_batch_size": 5,
            "max_steps": 6,
            "logging_steps": 2,
            "learning_rate": 1e-3,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "use_cpu": True,
            "dataloader_pin_memory": False,
        }
        return TrainingArguments(**{**defaults, **arguments})

    return make


def save_stock_pair(folder, tokenizer=None, generator=None, discriminator=None, seed=0):
    """Stock checkpoints of a generator and a discriminator; returns the two folders."""
    torch.manual_seed(seed)
    networks = {
        "generator": ElectraForMaskedLM(generator_config(**(generator or {}))),
        "discriminator": ElectraForPreTraining(electra_config(**(discriminator or {}))),
    }
    for name, network in networks.items():
        stir(network, seed).save_pretrained(folder / name)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder / name)
    return folder / "generator", folder / "discriminator"


@pytest.fixture(scope="session")
def save_pair():
    return save_stock_pair


@pytest.fixture(scope="session")
def pair_folders(tmp_path_factory, tokenizer):
    """Two stock checkpoints with their tokenizer; not to be written to."""
    return save_stock_pair(tmp_path_factory.mktemp("pair"), tokenizer)


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    """A Hub on loopback that the client of this process talks to, with an empty cache; nobody waits before a retry.

    `hub.alice` is the token of a user who may write to her own namespace; it is not the saved one.
    """
    home = tmp_path_factory.mktemp("hf_home")
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with sys.modules["hub_server"].Hub() as server:
        server.connect(monkeypatch)
        server.alice = server.add_user("alice")
        yield server


@pytest.fixture(scope="session")
def saved_pair(tmp_path_factory, make_model, tokenizer):
    """A folder with a pair and its tokenizer, as `save_pretrained` writes them; not to be written to."""
    folder = tmp_path_factory.mktemp("saved") / "pair"
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def pair_copy(saved_pair, tmp_path):
    """A copy of `saved_pair` that a test may spoil."""
    return Path(shutil.copytree(saved_pair, tmp_path / "pair"))


NOT_INSTALLED = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "electra_rtd":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""


@pytest.fixture(scope="session")
def run_fresh(tmp_path_factory):
    """Run Python in a fresh process, offline, with empty caches; the JSON of its last printed line comes back.

    Unless `installed`, `electra_rtd` cannot be imported there. `environment` adds variables.
    """

    def run(code, *arguments, installed=False, hf_home=None, environment=None):
        folder = tmp_path_factory.mktemp("process")
        (folder / "run.py").write_text(code if installed else NOT_INSTALLED + code, encoding="utf-8")
        variables = {
            **os.environ,
            "HF_HOME": str(hf_home or folder / "home"),
            "HF_MODULES_CACHE": str(folder / "modules"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONIOENCODING": "utf-8",
            **(environment or {}),
        }
        process = subprocess.run(
            [sys.executable, "run.py", *map(str, arguments)],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,  # nobody is there to say yes
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=180,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return json.loads(process.stdout.strip().splitlines()[-1])

    return run
