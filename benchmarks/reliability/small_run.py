"""A small run of `adapt`, as a call of the library: a tiny pair with dropout, sentences of the sample, and its end.

For measurements that need the run's inside; those that send signals start whole commands, see `runs.py`.
"""

import json

import torch
from transformers import AutoTokenizer, ElectraConfig, TrainingArguments

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining
from electra_rtd.hub_tools.layout import sha256
from electra_rtd.pairing_electra_rtd import special_ids
from electra_rtd.train_tools import AdaptArguments, adapt
from electra_rtd.train_tools.arguments import MINI_PAIR, SAMPLE_FILE


SIZES = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CLOCKS = ("runtime", "seconds", "per_second", "_time", "flos", "train_loss")  # ends of names
ROWS = 200  # of text


def make_start(work, **fields):
    """Write the pair and the text of the run.

    Args: work (`Path`): a folder; **fields: of `ElectraRTDConfig`.
    """
    tokenizer = AutoTokenizer.from_pretrained(MINI_PAIR)
    network = ElectraConfig(vocab_size=len(tokenizer), intermediate_size=64, max_position_embeddings=64, **SIZES)
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = ElectraRTDConfig.from_generator_discriminator_configs(
        network, network, special_token_ids=special_ids(tokenizer), **ids, **fields
    )
    torch.manual_seed(0)
    ElectraRTDForPreTraining(config).save_pretrained(work / "start")
    tokenizer.save_pretrained(work / "start")
    rows = SAMPLE_FILE.read_text(encoding="utf-8").splitlines()[:ROWS]
    (work / "text.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def small_run(work, name, *, seed, steps, every, rows, **how):
    """Run `adapt` in this process: it logs and evaluates every three steps.

    Args:
        work (`Path`): of [`make_start`]; name (`str`): of the output folder in it.
        seed, steps (`int`); every (`int`): steps from one save to the next; rows (`int`): of a batch.
        **how: fields of `AdaptArguments`.
    """
    arguments = AdaptArguments(
        checkpoint=str(work / "start"),
        train_file=[str(work / "text.csv")],
        max_seq_length=32,
        sample_steps=0,
        **how,
    )
    training_args = TrainingArguments(
        output_dir=str(work / name),
        max_steps=steps,
        save_steps=every,
        save_strategy="steps",
        logging_steps=3,
        eval_strategy="steps",
        eval_steps=3,
        per_device_train_batch_size=rows,
        learning_rate=1e-3,
        seed=seed,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    adapt(arguments, training_args, given=["per_device_train_batch_size"])


def end_of(folder):
    """What a finished run leaves, but for its clocks and its place.

    Args: folder (`Path`). Returns: `tuple`: hashes of the pair, of the exported discriminator and of the record of the
    held-out text, and the rows of the log.
    """
    files = ("model.safetensors", "discriminator/model.safetensors", "held_out.json")
    return (*(sha256(folder / name) for name in files), log_of(folder))


def log_of(folder):
    """Rows of the log but for clocks, and for the last words of a session's training, which are nothing but clocks.

    Args: folder (`Path`). Returns: `list[dict]`.
    """
    history = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    rows = [row for row in history if "train_runtime" not in row]
    return [{name: value for name, value in row.items() if not name.endswith(CLOCKS)} for row in rows]
