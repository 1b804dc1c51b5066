"""Does it train: losses that fall, a Trainer that goes on where it stopped, a host that does not wait?"""

import tempfile
from pathlib import Path
from statistics import fmean

import torch
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

from ..ground import Skipped, demand, difference
from ..synchronisations import counted_synchronisations


STEPS = 30
MOST_SYNCHRONISATIONS = 2  # a step


def training_step(ground, model, optimizer, batch):
    """Under bfloat16. Args: ground ([`Ground`]); model; optimizer; batch (`dict`). Returns: the loss, detached."""
    with ground.autocast(torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def losses_fall(ground):
    """Thirty steps at dropout 0.1 on a batch, under bfloat16: finite, and falling.

    Args: ground ([`Ground`]). Returns: `dict` of means of the first and the last five. Raises: AssertionError.
    """
    model = ground.model(dropout=0.1, as_adapt=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    batch, losses = ground.batch(), []
    for _ in range(STEPS):
        losses.append(training_step(ground, model, optimizer, batch))
    losses = torch.stack(losses).tolist()
    demand(all(loss == loss and abs(loss) < float("inf") for loss in losses), f"a loss is not finite: {losses}")
    first, last = fmean(losses[:5]), fmean(losses[-5:])
    demand(last < 0.95 * first, f"the loss does not fall: {first:.3f} in the first five steps, {last:.3f} in the last")
    return {"first five": first, "last five": last}


def few_synchronisations(ground):
    """A step makes the host wait for the GPU twice at most.

    Args: ground ([`Ground`]). Returns: `dict` of count and places. Raises: AssertionError; Skipped: on a CPU.
    """
    if ground.device.type != "cuda":
        raise Skipped("a CPU has no synchronisations to count")
    model = ground.model(dropout=0.1, as_adapt=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batch = ground.batch()

    for _ in range(2):  # probes, and what is allocated once
        training_step(ground, model, optimizer, batch)
    with counted_synchronisations() as found:
        training_step(ground, model, optimizer, batch)
    return demand_few(found)


def demand_few(found):
    """Args: found ([`Synchronisations`]): of a step. Returns: `dict` of count and places. Raises: AssertionError."""
    places = dict(found.places)
    demand(found.count <= MOST_SYNCHRONISATIONS, f"{found.count} synchronisations a step: {places}")
    return {"synchronisations a step": found.count, "places": places}


def trainer_resumes(ground):
    """The stock Trainer with our figures in its log; a run that goes on from a checkpoint is the run without a stop.

    Args: ground ([`Ground`]). Returns: `dict` of figures. Raises: AssertionError.
    """
    from electra_rtd.train_tools import RTDMetricsCallback  # here: a broken import fails this check, and no other

    with tempfile.TemporaryDirectory() as folder:
        logs = {}
        for name, resume in (("whole", None), ("resumed", "checkpoint-3")):
            tokens = ground.tokens()
            trainer = Trainer(
                # The weights of one that goes on must not matter.
                model=ground.model(dropout=0.1, seed=0 if resume is None else 1, as_adapt=True),
                args=training_arguments(ground, folder),
                train_dataset=[{"input_ids": row} for row in tokens.rows],
                data_collator=DataCollatorWithPadding(tokens.tokenizer()),
                callbacks=[RTDMetricsCallback()],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train(resume_from_checkpoint=None if resume is None else str(Path(folder) / resume))
            logs[name] = {entry["step"]: entry for entry in trainer.state.log_history if "loss" in entry}
    missing = [name for name in ("mlm_loss", "disc_loss", "tokens_per_second") if name not in logs["whole"][6]]
    demand(not missing, f"the Trainer's log has no {', '.join(missing)}: {logs['whole'][6]}")
    apart = {step: difference(logs["resumed"][step]["loss"], logs["whole"][step]["loss"]) for step in (4, 5, 6)}
    demand(max(apart.values()) <= 1e-3, f"after it went on, the loss differs by {apart}")
    return {"largest difference after resuming": max(apart.values()), "equal to the bit": max(apart.values()) == 0}


def training_arguments(ground, folder):
    """Args: ground ([`Ground`]); folder (`str`). Returns: `TrainingArguments`, of six steps, saved after three."""
    return TrainingArguments(
        output_dir=folder,
        max_steps=6,
        save_steps=3,
        logging_steps=1,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        bf16=True,
        report_to="none",
        disable_tqdm=True,
        save_only_model=False,
        use_cpu=ground.device.type == "cpu",
        dataloader_pin_memory=ground.device.type == "cuda",
    )
