"""The rounds of `run.py` inside one release: `check.py RELEASE ALL_RELEASES...` reads their names, a line each.

Each runs in a fork, writes its results to `ROUND-RELEASE.json`, and is answered by its exit status. `save` makes
checkpoints with the package; `remote` loads those of all releases as remote code, the package not importable, and
trains; `package` loads them with the package and without remote code; `trained` loads what all releases trained, as
remote code again. Folder `RELEASE/KIND` is a checkpoint, `RELEASE/KIND.pt` what it must be.
"""

import importlib.util
import json
import logging
import multiprocessing
import os
import shutil
import sys
import traceback
from pathlib import Path

import torch
import transformers
from packaging import version
from transformers import AutoModel, AutoModelForPreTraining, AutoTokenizer
from transformers.dynamic_module_utils import get_class_from_dynamic_module


PACKAGE = Path.cwd() / "package"  # a copy of the repository's modules
CODE_FILES = sorted(file.name for file in PACKAGE.glob("*_electra_rtd.py"))
AUTO_MAP = {
    "AutoConfig": "configuration_electra_rtd.ElectraRTDConfig",
    "AutoModel": "modeling_electra_rtd.ElectraRTDForPreTraining",
    "AutoModelForPreTraining": "modeling_electra_rtd.ElectraRTDForPreTraining",
}
SHARINGS = ["none", "tied", "gdes"]
KINDS = [*SHARINGS, "pair", "bf16"]  # the values of `embedding_sharing`, built from stock checkpoints, bfloat16
TRAINED_KINDS = SHARINGS
EMBEDDING_WEIGHTS = [
    "word_embeddings.weight",
    "position_embeddings.weight",
    "token_type_embeddings.weight",
    "LayerNorm.weight",
    "LayerNorm.bias",
]
OUTPUTS = ["loss", "mlm_loss", "disc_loss", "logits"]  # equal to 1e-5
CHOICES = ["masked_positions", "masked_input_ids", "disc_input_ids", "disc_labels"]  # equal

GENERIC_TOKENIZER = {
    "error": "Tokenizer class TokenizersBackend does not exist",
    "reason": "`AutoTokenizer` of 5.0 to 5.2 takes a generic class for model types it does not know, whatever class "
    "the tokenizer's file names, and saves that class's name, which releases before 5 do not know. There, "
    "`PreTrainedTokenizerFast.from_pretrained` loads the same folder.",
}

CHAIN = {
    "error": "FileNotFoundError",
    "reason": "From a local folder, releases up to 5.8 copy only the files that the entry file imports itself. So "
    "`modeling_electra_rtd.py` imports every sibling.",
    "fixed": "5.13",
}

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Capitals, an accent and Hangul: each is lost where a release lowercases or strips accents.
WORDS = ["Seoul", "seoul", "café", "한국어", "##는", "the", "token", "##s", "is", "a", "re", "##placed", "one", "two"]
TEXTS = [
    "Seoul seoul café 한국어는 the tokens is replaced",
    "one two the token is a replaced token",
    "한국어는 replaced café tokens one",
    "the two tokens is seoul",
]


def main():
    """Run the rounds that are asked for."""
    release, *releases = sys.argv[1:]
    if transformers.__version__ != release:
        raise RuntimeError(f"This is transformers {transformers.__version__}, not {release}: look at PYTHONPATH.")
    torch.set_num_threads(1)
    for name in ("ElectraForMaskedLM", "ElectraForPreTraining", "Trainer"):  # once, for all forks
        getattr(transformers, name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        child = multiprocessing.get_context("fork").Process(target=run_round, args=(line.strip(), release, releases))
        child.start()
        child.join()
        print(child.exitcode, file=answers, flush=True)


def run_round(name, release, releases):
    """Run one round and write its results."""
    repair_thread_pool()
    torch.manual_seed(0)
    results = Results()
    {"save": save, "remote": remote, "package": package, "trained": trained}[name](results, release, releases)
    Path(f"{name}-{release}.json").write_text(json.dumps(results.rows))


def repair_thread_pool():
    """First thing in a fork: give torch a thread pool again, in the one thread that there is yet.

    torch gives up the pool of the process that forked, and makes another at the first use. Two threads that use it
    first at the same time, as those do by which `transformers` 5 loads weights, may find none: "Invalid thread pool!".
    """
    torch.set_num_threads(1)


class Results:
    """Rows of check, case, error (`None` = passed) and known (why it may fail)."""

    def __init__(self):
        self.rows = []

    def attempt(self, check, case, function, *args, known=None):
        """Call a function that raises where something is wrong.

        Args:
            check (`str`), case (`str`): column of the table, and what was looked at.
            function (callable), *args: the call.
            known (`dict`, *optional*): the `error` it has to raise, and the `reason` why we cannot fix that.

        Returns:
            what the function returns; `None` where it raised
        """
        error = value = None
        try:
            value = function(*args)
        except Exception as exception:
            where = "".join(traceback.format_tb(exception.__traceback__)[-2:])
            error = f"{where}{type(exception).__name__}: {exception}"
        if known and known["error"] in (error or ""):
            error = None
        elif known:
            error = error or f"It works, although this is said to be known: {known['reason']}"
        reason = known["reason"] if known else None
        self.rows.append({"check": check, "case": case, "error": error, "known": reason})
        return value

    def attempt_in_child(self, case, function, *args):
        """Call `function(results, *args)` in a fork with an empty module cache.

        To dynamic code a fork is a fresh process (nothing of it was imported before), without the seconds for torch.
        """
        empty_module_cache()
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_send_rows, args=(sender, function, *args))
        child.start()
        sender.close()
        try:
            self.rows += receiver.recv()
        except EOFError:
            child.join()
            error = f"the process died with exit status {child.exitcode}"
            self.rows.append({"check": function.__name__, "case": case, "error": error, "known": None})
        child.join()


def _send_rows(sender, function, *args):
    repair_thread_pool()
    results = Results()
    results.attempt(function.__name__, " ".join(map(str, args)), function, results, *args)
    if results.rows[-1]["error"] is None:
        results.rows.pop()  # the function's own rows say it all
    sender.send(results.rows)


# ---- Rounds -------------------------------------------------------------------------------------------------------


def save(results, release, releases):
    """Make the checkpoints of this release, with the package."""
    import_package()
    folder = Path(release)
    tokenizer = new_tokenizer(folder / "vocabulary")
    for kind in KINDS:
        results.attempt("save", kind, save_kind, kind, folder, tokenizer)


def remote(results, release, releases):
    """Load the checkpoints of all releases as a user without the package does, and train those of this one."""
    block_package()
    for source in releases:
        for kind in KINDS:
            results.attempt_in_child(f"{source}/{kind}", load_remote, Path(source, kind))
        results.attempt_in_child(source, load_tokenizer_without_trust, Path(source, "none"))
    results.attempt_in_child(release, load_siblings, Path(release, "siblings"))
    for kind in TRAINED_KINDS:
        results.attempt_in_child(f"{release}/{kind}", train_remote, Path(release, kind))


def package(results, release, releases):
    """Load the checkpoints of all releases without trusting code in them, in one process."""
    import_package()
    for source in releases:
        for kind in KINDS:
            results.attempt("package", f"{source}/{kind}", load_with_package, Path(source, kind))
        for sharing in SHARINGS:
            results.attempt("stock pair", f"{source}, {sharing}", check_stock_pair, Path(source), sharing)
        results.attempt("tokenizer", source, check_tokenizer, Path(source, "none"))


def trained(results, release, releases):
    """Load what all releases trained, saved, resumed and saved again."""
    block_package()
    for source in releases:
        for kind in TRAINED_KINDS:
            results.attempt_in_child(f"{source}/{kind}", load_trained, Path(source, "trained", kind, "final"))


# ---- Saving -------------------------------------------------------------------------------------------------------


def save_kind(kind, folder, tokenizer):
    """Build one kind of model, save it and note what it is."""
    model = new_pair(folder, tokenizer) if kind == "pair" else new_model(kind, tokenizer)
    path = folder / kind
    with no_warnings():
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
    check_files(path)
    write_expectation(model.float() if kind == "bf16" else model, tokenizer, path)


def new_model(kind, tokenizer):
    """A model whose every weight is random, also those that initialisation would set to 0 or 1."""
    from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining

    config = ElectraRTDConfig.from_generator_discriminator_configs(
        electra_config(tokenizer, 16),
        electra_config(tokenizer, 32),
        mask_token_id=tokenizer.mask_token_id,
        pad_token_id=tokenizer.pad_token_id,
        special_token_ids=tokenizer.all_special_ids,
        mask_prob=0.4,
        random_token_prob=0.1,
        embedding_sharing="tied" if kind == "bf16" else kind,
    )
    model = scramble(ElectraRTDForPreTraining(config))
    return model.to(torch.bfloat16) if kind == "bf16" else model


def new_pair(folder, tokenizer):
    """Save stock checkpoints beside the others, and join them."""
    from electra_rtd import ElectraRTDForPreTraining

    parts = {
        "generator": transformers.ElectraForMaskedLM(electra_config(tokenizer, 16)),
        "discriminator": transformers.ElectraForPreTraining(electra_config(tokenizer, 32)),
    }
    for name, part in parts.items():
        scramble(part).save_pretrained(folder / "stock" / name)
        tokenizer.save_pretrained(folder / "stock" / name)
        torch.save(part.state_dict(), folder / "stock" / f"{name}.pt")
    return ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        folder / "stock" / "generator", folder / "stock" / "discriminator", mask_prob=0.4
    )


def electra_config(tokenizer, hidden_size):
    """A tiny stock configuration; wider than 16 it has a projection behind the embeddings."""
    return transformers.ElectraConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )


@torch.no_grad()
def scramble(model):
    """Move every weight, in place, so that ties stay."""
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def new_tokenizer(folder):
    """A WordPiece tokenizer, from a folder: the keyword for the file is not the same in all releases."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(SPECIAL_TOKENS + WORDS) + "\n", encoding="utf-8")
    return transformers.BertTokenizerFast.from_pretrained(folder, do_lower_case=False, model_max_length=64)


def write_expectation(model, tokenizer, path):
    """Note weights, outputs and token ids; `load_remote` and the others compare with them."""
    batch = dict(tokenizer(TEXTS, padding=True, return_tensors="pt"))
    expected = {"weights": dict(model.state_dict()), "batch": batch, "tokenizer": tokenizer_facts(tokenizer)}
    expected |= {"sharing": model.config.embedding_sharing, "outputs": outputs_of(model, batch)}
    torch.save(expected, f"{path}.pt")


def read_expectation(path):
    """What `write_expectation` wrote for the checkpoint in `path`."""
    return torch.load(f"{path}.pt", weights_only=True)


# ---- Loading ------------------------------------------------------------------------------------------------------


def load_remote(results, path):
    """Load as remote code, load again in the same process, save again, and load that."""
    case = "/".join(path.parts)
    model = results.attempt("remote", case, load_and_check, AutoModel, path, True)
    if model is None:
        return
    results.attempt("twice", case, load_and_check, AutoModel, path, True)
    results.attempt("pretraining", case, load_and_check, AutoModelForPreTraining, path, True)
    again = Path(f"{path}-again-{transformers.__version__}")
    if results.attempt("save again", case, save_again, model, again) is not None:
        results.attempt("save again", f"{case}, loaded", load_and_check, AutoModel, again, True, path)


def load_siblings(results, folder):
    """Why the model file imports every sibling itself: those that siblings import, some releases do not find."""
    chain = "from .first import SECOND\n"
    for kind, imports in {"each by the entry": f"{chain}from .second import SECOND\n", "in a chain": chain}.items():
        path = folder / kind.replace(" ", "-")
        path.mkdir(parents=True)
        (path / "entry.py").write_text(f"{imports}class Entry:\n    pass\n")
        (path / "first.py").write_text("from .second import SECOND\n")
        (path / "second.py").write_text("SECOND = 2\n")
        is_lost = version.parse(transformers.__version__) < version.parse(CHAIN["fixed"])
        known = CHAIN if kind == "in a chain" and is_lost else None
        results.attempt(
            "siblings", f"{folder}, {kind}", get_class_from_dynamic_module, "entry.Entry", str(path), known=known
        )


def load_trained(results, path):
    """Load what was trained, and its tokenizer, as remote code; here `AutoModelForPreTraining` is the first."""
    case = "/".join(path.parts)
    results.attempt("trained", case, load_and_check, AutoModelForPreTraining, path, True)
    results.attempt("trained", f"{case}, AutoModel", load_and_check, AutoModel, path, True)
    known = GENERIC_TOKENIZER if has_generic_tokenizer(path) and transformers.__version__.startswith("4.") else None
    results.attempt("trained", f"{case}, tokenizer", check_tokenizer, path, known=known)
    if known:
        fast = transformers.PreTrainedTokenizerFast
        results.attempt("trained", f"{case}, tokenizer by its class", check_tokenizer, path, fast)


def load_with_package(path):
    """Load by both Auto classes, without trust."""
    load_and_check(AutoModel, path, False)
    load_and_check(AutoModelForPreTraining, path, False)


def load_and_check(auto_class, path, is_remote, expected_path=None):
    """Load a checkpoint and compare it with what was saved.

    Args:
        auto_class (`type`), path (`Path`), is_remote (`bool`): its own code, or the package's.
        expected_path (`Path`, *optional*): the checkpoint that `path` repeats.

    Returns:
        the model
    """
    expected = read_expectation(expected_path or path)
    trust = {"trust_remote_code": True} if is_remote else {}
    if path.name == "bf16":
        model = load_quietly(auto_class, path, dtype="auto", **trust)
        check_weights(model, {name: value.to(torch.bfloat16) for name, value in expected["weights"].items()})
        check_ties(model, expected["sharing"])
        trust["dtype"] = torch.float32
    model = load_quietly(auto_class, path, **trust)
    module = type(model).__module__
    check(module.startswith("transformers_modules.") == is_remote, f"the class comes from {module}")
    check(("electra_rtd" in sys.modules) != is_remote, "the package is imported, or is not where it should be")
    check_weights(model, expected["weights"])
    check_ties(model, expected["sharing"])
    check_outputs(outputs_of(model, expected["batch"]), expected["outputs"])
    return model


def load_quietly(auto_class, path, **kwargs):
    """`from_pretrained` that has nothing to report: no key missing or unexpected, no warning."""
    with no_warnings():
        model, info = auto_class.from_pretrained(path, output_loading_info=True, **kwargs)
    for name, keys in info.items():
        check(not keys, f"loading reports {name}: {keys}")
    return model


def save_again(model, path):
    """Save a model that came from a Hub repository, as far as its configuration knows."""
    model.config.auto_map = {name: f"somebody/model--{reference}" for name, reference in AUTO_MAP.items()}
    with no_warnings():
        model.save_pretrained(path)
    check_files(path)
    return path


# ---- Stock checkpoints, tokenizers --------------------------------------------------------------------------------


def check_stock_pair(folder, sharing):
    """Join the stock checkpoints that one release saved."""
    from electra_rtd import ElectraRTDForPreTraining

    stock = folder / "stock"
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        stock / "generator", stock / "discriminator", embedding_sharing=sharing
    )
    discriminator = torch.load(stock / "discriminator.pt", weights_only=True)
    generator = torch.load(stock / "generator.pt", weights_only=True)
    if sharing == "tied":  # the discriminator's values win
        shared = {f"electra.embeddings.{name}" for name in EMBEDDING_WEIGHTS}
        generator |= {name: discriminator[name] for name in shared}
        generator["generator_lm_head.weight"] = discriminator["electra.embeddings.word_embeddings.weight"]
    check_weights(model.generator, generator)
    # A difference is rounded, and added again.
    check_weights(model.discriminator, discriminator, tolerance=1e-6 if sharing == "gdes" else 0)
    check_ties(model, sharing)
    facts = read_expectation(folder / "none")["tokenizer"]
    ids = {"mask": model.config.mask_token_id, "pad": model.config.pad_token_id}
    check(ids == {"mask": facts["mask"], "pad": facts["pad"]}, f"the configuration has the ids {ids}")
    check(model.config.special_token_ids == facts["special"], f"special_token_ids: {model.config.special_token_ids}")


def load_tokenizer_without_trust(results, path):
    """The tokenizer has no code of its own: nobody needs to trust anything for it."""
    results.attempt("tokenizer", f"{path}, nothing of ours installed", check_tokenizer, path)


def check_tokenizer(path, tokenizer_class=AutoTokenizer):
    """Load the tokenizer of a checkpoint and compare its ids."""
    facts = tokenizer_facts(tokenizer_class.from_pretrained(path))
    expected = read_expectation(path)["tokenizer"]
    for name, value in expected.items():
        check(facts[name] == value, f"tokenizer, {name}: {facts[name]}, saved as {value}")


def has_generic_tokenizer(path):
    """Whether a checkpoint was saved as `GENERIC_TOKENIZER` says."""
    file = path / "tokenizer_config.json"
    if not path.parts[0].startswith(("5.0.", "5.1.", "5.2.")) or not file.is_file():
        return False
    return json.loads(file.read_text())["tokenizer_class"] == "TokenizersBackend"


def tokenizer_facts(tokenizer):
    """What has to be the same in every release; not the segments of a pair, which a generic tokenizer leaves out."""
    return {
        "ids": tokenizer(TEXTS)["input_ids"],
        "pair": tokenizer(TEXTS[0], TEXTS[1])["input_ids"],
        "vocabulary": tokenizer.get_vocab(),
        "mask": tokenizer.mask_token_id,
        "pad": tokenizer.pad_token_id,
        "special": sorted(set(tokenizer.all_special_ids)),
        "longest": tokenizer.model_max_length,
        "decoded": tokenizer.decode(tokenizer(TEXTS[0])["input_ids"]),
    }


# ---- Training -----------------------------------------------------------------------------------------------------


def train_remote(results, path):
    """Remote code -> train -> save -> resume from the middle -> save again."""
    case = "/".join(path.parts)
    folder = path.parent / "trained" / path.name
    straight = results.attempt("train", case, train, path, folder)
    if straight is not None:
        results.attempt("resume", case, resume, straight, folder)


def train(path, folder):
    """Train a few steps with the stock Trainer and look at every weight."""
    model = load_quietly(AutoModel, path, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(path)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = new_trainer(model, tokenizer, folder)
    trainer.train()
    check_log(trainer)
    check_moved(model, before)
    check_ties(model, model.config.embedding_sharing)
    trainer.save_model(folder / "straight")
    check_files(folder / "straight")
    return model


def resume(straight, folder):
    """Resume from the checkpoint in the middle: the weights become those of the run that went straight on."""
    middle = folder / "checkpoint-2"
    check_files(middle)
    model = load_quietly(AutoModel, middle, trust_remote_code=True)
    trainer = new_trainer(model, AutoTokenizer.from_pretrained(middle), folder)
    trainer.train(resume_from_checkpoint=str(middle))
    check(trainer.state.global_step == 4, f"ended at step {trainer.state.global_step}, not 4")
    check_ties(model, model.config.embedding_sharing)
    check_weights(model, straight.state_dict(), tolerance=1e-6)
    trainer.save_model(folder / "final")
    check_files(folder / "final")
    write_expectation(model, trainer.processing_class, folder / "final")


def new_trainer(model, tokenizer, folder):
    """The stock Trainer, as a user would write it."""
    from datasets import Dataset

    rows = [{"text": text, **tokenizer(text)} for text in TEXTS * 4]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=4,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        eval_strategy="steps",
        eval_steps=2,
        save_steps=2,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    return transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:4]),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )


def check_log(trainer):
    """Every step's loss and both evaluations are there and finite."""
    log = trainer.state.log_history
    losses = [entry["loss"] for entry in log if "loss" in entry]
    eval_losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    check(len(losses) == 4 and len(eval_losses) == 2, f"the log has losses {losses}, eval losses {eval_losses}")
    check(torch.tensor(losses + eval_losses).isfinite().all(), f"losses {losses}, eval losses {eval_losses}")


def check_moved(model, before):
    """Every weight moved, except where the loss has no slope."""
    for name, parameter in model.named_parameters():
        if name.endswith("attention.self.key.bias"):  # adds the same to all scores of a query: softmax ignores it
            continue
        check(not torch.equal(parameter, before[name]), f"{name} did not move")


# ---- Checks -------------------------------------------------------------------------------------------------------


def check(condition, message):
    """Raise where a condition does not hold; `assert` would vanish under `-O`."""
    if not condition:
        raise AssertionError(message)


def check_files(path):
    """The code is there, as in the repository, and the configuration names these files and no repository."""
    found = sorted(file.name for file in path.glob("*.py"))
    check(found == CODE_FILES, f"{path} holds the code files {found}")
    for name in CODE_FILES:
        check((path / name).read_bytes() == (PACKAGE / name).read_bytes(), f"{path / name} is not the repository's")
    auto_map = json.loads((path / "config.json").read_text())["auto_map"]
    check(auto_map == AUTO_MAP, f"auto_map in {path} is {auto_map}")


def check_weights(model, expected, tolerance=0.0):
    """All weights are there and equal, bit for bit unless a tolerance is given."""
    weights = model.state_dict()
    check(weights.keys() == expected.keys(), f"names differ: {sorted(weights.keys() ^ expected.keys())}")
    for name, value in expected.items():
        ours = weights[name]
        check(ours.dtype == value.dtype, f"{name} is {ours.dtype}, not {value.dtype}")
        check(ours.device.type == "cpu", f"{name} is on {ours.device}")
        difference = (ours.float() - value.float()).abs().max().item()
        check(torch.equal(ours, value) or difference <= tolerance, f"{name} differs by up to {difference}")


def check_ties(model, sharing):
    """The LM head is the generator's embedding; the networks share theirs if and only if the configuration says so."""
    generator = model.generator.electra.embeddings
    discriminator = model.discriminator.electra.embeddings
    head = model.generator.generator_lm_head.weight
    check(head is generator.word_embeddings.weight, "the LM head is not tied to the generator's embeddings")
    check(model.config.embedding_sharing == sharing, f"embedding_sharing is {model.config.embedding_sharing}")
    deltas = [name for name, _ in model.named_parameters() if name.endswith(".delta")]
    check(len(deltas) == (2 if sharing == "gdes" else 0), f"the deltas are {deltas} for {sharing!r}")
    for name in EMBEDDING_WEIGHTS if sharing != "gdes" else ():
        shared = generator.get_parameter(name) is discriminator.get_parameter(name)
        check(shared == (sharing == "tied"), f"{name}: shared is {shared} for {sharing!r}")


@torch.no_grad()
def outputs_of(model, batch):
    """What the model says in eval mode; without segments, so that the buffers of the embeddings are read too."""
    output = model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return {name: getattr(output, name) for name in OUTPUTS + CHOICES}


def check_outputs(ours, expected):
    """Logits and losses to 1e-5; masking and samples exactly."""
    for name in CHOICES:
        check(torch.equal(ours[name], expected[name]), f"{name} differ:\n{ours[name]}\n{expected[name]}")
    check(expected["masked_positions"].sum() >= len(TEXTS), "the batch masks too little to say anything")
    for name in OUTPUTS:
        difference = (ours[name] - expected[name]).abs().max().item()
        check(difference <= 1e-5, f"{name} differs by {difference}")


class no_warnings(logging.Handler):
    """Raise at the end of the block if `transformers` warned of anything in it."""

    def __enter__(self):
        self.setLevel(logging.WARNING)
        self.messages = []
        logging.getLogger("transformers").addHandler(self)

    def emit(self, record):
        """Keep a message."""
        self.messages.append(record.getMessage())

    def __exit__(self, exception_type, exception, trace):
        logging.getLogger("transformers").removeHandler(self)
        if exception is None:
            check(not self.messages, f"transformers warned: {self.messages}")


# ---- The package, there or not ------------------------------------------------------------------------------------


def import_package():
    """Import `electra_rtd` from the copy, installed or not."""
    spec = importlib.util.spec_from_file_location(
        "electra_rtd", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    sys.modules["electra_rtd"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["electra_rtd"])


class PackageBlocker:
    """Stands first among the finders: an editable install would let remote code find the package."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Refuse the package, leave all else to others."""
        if name.partition(".")[0] == "electra_rtd":
            raise ModuleNotFoundError(f"{name} is blocked")


def block_package():
    """Make `import electra_rtd` fail."""
    sys.meta_path.insert(0, PackageBlocker)
    try:
        importlib.import_module("electra_rtd")
    except ModuleNotFoundError:
        pass
    else:
        raise RuntimeError("`electra_rtd` can be imported in a process that must not have it.")


def empty_module_cache():
    """Remove the code that earlier loads copied."""
    shutil.rmtree(os.environ["HF_MODULES_CACHE"], ignore_errors=True)


if __name__ == "__main__":
    main()
