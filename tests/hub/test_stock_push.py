"""What people type anyway to publish a model: the stock ways to push, from the installed class and from remote code.

Whatever the way, the repository passes verification, and the model loads by its Hub id in a fresh process that has
nothing of ours installed.
"""

import json
import re

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from electra_rtd.configuration_electra_rtd import AUTO_MAP
from electra_rtd.hub_tools import layout, verify_checkpoint


SENTENCE = "나 간다 ."

LOAD = """
import json
import sys

import torch
from transformers import AutoModel, AutoTokenizer

found = {}
for repo in sys.argv[3:]:
    tokenizer = AutoTokenizer.from_pretrained(repo, trust_remote_code=False)
    model = AutoModel.from_pretrained(repo, trust_remote_code=True)
    with torch.no_grad():
        output = model(input_ids=torch.tensor(json.loads(sys.argv[1])))
    found[repo] = {
        "module": type(model).__module__,
        "logits": output.logits.tolist(),
        "loss": output.loss.item(),
        "tokens": tokenizer(sys.argv[2])["input_ids"],
    }
print(json.dumps(found))
"""

# Trains a model of the Hub with its own code and pushes it on, in each of the stock ways.
TRAIN_ON = """
import json
import sys

import torch
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

source, token, rows, input_ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
model = AutoModel.from_pretrained(source, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(source)
before = {name: value.clone() for name, value in model.state_dict().items()}
arguments = TrainingArguments(
    output_dir="run", max_steps=2, per_device_train_batch_size=4, learning_rate=1e-3, save_strategy="steps",
    save_steps=2, report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False, push_to_hub=True,
    hub_model_id="alice/by-trainer", hub_strategy="every_save",
)
trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
trainer.train()
trainer.push_to_hub()
model.push_to_hub("alice/by-push", token=token)
model.save_pretrained("folder", push_to_hub=True, repo_id="alice/by-save", token=token)
for repo in ("alice/by-push", "alice/by-save"):
    tokenizer.push_to_hub(repo, token=token)
with torch.no_grad():
    logits = model.eval()(input_ids=torch.tensor(input_ids)).logits
changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
print(json.dumps({"module": type(model).__module__, "logits": logits.tolist(), "changed": len(changed)}))
"""


@pytest.fixture
def input_ids(make_batch):
    return make_batch(lengths=(12, 12, 12))["input_ids"]


@pytest.fixture
def rows(ids):
    draw = torch.Generator().manual_seed(0)
    inner = torch.randint(len(ids.ordinary), (8, 14), generator=draw)
    return [[ids.cls, *(ids.ordinary[i] for i in row), ids.sep] for row in inner.tolist()]


@pytest.fixture
def assert_published(hub, run_fresh, input_ids, tokenizer):
    """Each repository verifies, names no repository in its `auto_map`, and loads by its id with the logits given.

    In those `with_token`, all that is wrong is the token that the Trainer pickles into its arguments.
    """

    def check(logits_by_repo, with_token=()):
        for repo in logits_by_repo:
            report = verify_checkpoint(repo, token=hub.alice)
            errors = {(error.code, error.path.rpartition("/")[2]) for error in report.errors}
            assert errors == ({("secret", "training_args.bin")} if repo in with_token else set())
            codes = {finding.code for finding in report.findings}
            assert not codes & {"no-tokenizer", "tokenizer-ids", "foreign-code", "card-invalid", "auto-map"}
            files = hub.files(repo)
            assert set(files) >= {"config.json", "tokenizer.json", "tokenizer_config.json", *layout.CODE}
            assert json.loads(files["config.json"])["auto_map"] == AUTO_MAP
            assert "auto_map" not in json.loads(files["tokenizer_config.json"])
        arguments = [json.dumps(input_ids.tolist()), SENTENCE, *logits_by_repo]
        loaded = run_fresh(LOAD, *arguments, environment=hub.environment(hub.alice))
        for repo, logits in logits_by_repo.items():
            found = loaded[repo]
            assert re.fullmatch(r"transformers_modules\.alice\..*\.modeling_electra_rtd", found["module"])
            torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(logits), rtol=0, atol=1e-6)
            assert found["loss"] > 0
            assert found["tokens"] == tokenizer(SENTENCE)["input_ids"]

    return check


def logits_of(model, input_ids):
    with torch.no_grad():
        return model.eval()(input_ids=input_ids).logits.tolist()


@pytest.mark.slow
def test_pushing_model_and_tokenizer_is_enough(hub, make_model, tokenizer, input_ids, assert_published, tmp_path):
    plain, tied = make_model(seed=3), make_model(seed=5, embedding_sharing="tied")
    plain.push_to_hub("alice/plain", token=hub.alice)
    tied.push_to_hub("alice/tied", token=hub.alice)
    plain.push_to_hub("alice/sharded", token=hub.alice, max_shard_size="20KB")
    plain.save_pretrained(str(tmp_path / "folder"), push_to_hub=True, repo_id="alice/saved", token=hub.alice)
    assert "model.safetensors" not in hub.files("alice/sharded")
    models = {"alice/plain": plain, "alice/tied": tied, "alice/sharded": plain, "alice/saved": plain}
    for repo in models:
        tokenizer.push_to_hub(repo, token=hub.alice)
    assert_published({repo: logits_of(model, input_ids) for repo, model in models.items()})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]  # nothing is written beside it


class SlowSteps(TrainerCallback):
    """A step takes longer than a push, as in life: what is pushed is then not overwritten meanwhile."""

    def on_step_begin(self, args, state, control, **kwargs):
        if self.trainer.push_in_progress is not None:
            self.trainer.push_in_progress.wait_until_done()


@pytest.fixture
def train_and_push(make_model, tokenizer, rows, tmp_path):
    """Train a pair under the stock Trainer that pushes as it is told, until training ends; returns the Trainer."""

    def run(strategy, repo, token):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / strategy),
            max_steps=4,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            save_strategy="steps",
            save_steps=2,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            push_to_hub=True,
            hub_model_id=repo,
            hub_token=token,
            hub_strategy=strategy,
        )
        slow = SlowSteps()
        dataset = Dataset.from_dict({"input_ids": rows})
        trainer = Trainer(make_model(), arguments, train_dataset=dataset, processing_class=tokenizer, callbacks=[slow])
        slow.trainer = trainer
        trainer.train()  # returns when the pushes of its background thread are done
        return trainer

    return run


STRATEGIES = {  # the folders that each makes
    "end": set(),
    "every_save": set(),
    "checkpoint": {"last-checkpoint"},
    "all_checkpoints": {"checkpoint-2", "checkpoint-4"},
}


@pytest.mark.slow
def test_the_trainer_pushes_a_model_that_loads_while_it_trains_and_after(
    hub, train_and_push, input_ids, assert_published, monkeypatch
):
    published, with_token = {}, set()
    for strategy, folders in STRATEGIES.items():
        repo, meanwhile = f"alice/{strategy}", f"alice/{strategy}-meanwhile"
        pickles_token = strategy in ("every_save", "all_checkpoints")
        with monkeypatch.context() as patch:
            if not pickles_token:
                patch.setenv("HF_TOKEN", hub.alice)
            trainer = train_and_push(strategy, repo, hub.alice if pickles_token else None)
            pushed = [commit.message for commit in hub.commits(repo) if commit.message.startswith("Training")]
            expected = [] if strategy == "end" else ["Training in progress, step 2", "Training in progress, step 4"]
            assert sorted({message.removesuffix(", checkpoint") for message in pushed}) == expected
            assert {name.split("/")[0] for name in hub.files(repo) if "/" in name} == folders
            repos = [repo]
            if strategy != "end":
                hub.create_repo(meanwhile)  # what people get who load it before the end
                hub.commit(meanwhile, hub.files(repo))
                repos.append(meanwhile)
            trainer.push_to_hub()
        assert hub.commits(repo)[0].message == "End of training"
        published |= dict.fromkeys(repos, logits_of(trainer.model, input_ids))
        with_token |= set(repos) if pickles_token else set()
    assert_published(published, with_token)


@pytest.mark.slow
def test_remote_code_can_be_trained_and_pushed_on(hub, saved_pair, run_fresh, rows, input_ids, assert_published):
    hub.create_repo("alice/origin")
    hub.commit("alice/origin", {path.name: path.read_bytes() for path in saved_pair.iterdir()})
    given = [[{"input_ids": row} for row in rows], input_ids.tolist()]
    trained = run_fresh(
        TRAIN_ON,
        *("alice/origin", hub.alice, *map(json.dumps, given)),
        environment=hub.environment(hub.alice),
    )
    assert trained["module"].startswith("transformers_modules.alice.origin.")
    assert trained["changed"] > 10
    (during,) = [commit for commit in hub.commits("alice/by-trainer") if commit.message.startswith("Training in")]
    hub.create_repo("alice/meanwhile")
    hub.commit("alice/meanwhile", {path: blob.data for path, blob in during.files.items()})
    repos = ("alice/by-trainer", "alice/by-push", "alice/by-save", "alice/meanwhile")
    assert_published(dict.fromkeys(repos, trained["logits"]))
    for repo in repos:
        for name in layout.CODE:
            assert hub.files(repo)[name] == hub.files("alice/origin")[name]
