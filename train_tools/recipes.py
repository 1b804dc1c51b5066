"""The main job: adapt a pair to a domain's text with the stock Trainer."""

import logging
import os
import shutil
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from transformers import DataCollatorWithPadding, Trainer, set_seed

from ..hub_tools.export import export_discriminator
from ..hub_tools.run_record import HELD_OUT_FILE, earlier_results, write_record
from ..hub_tools.staging import files_for_folder
from .callbacks import LOSS_PARTS, RTDConsoleCallback, RTDHealthCallback, RTDMetricsCallback, RTDSampleCallback
from .callbacks.health import PATIENCE
from .check_options import check_options, check_rows
from .damage import refuse_damaged
from .data import tokenize_text
from .fast import (
    DEFAULTS,
    TENSORBOARD,
    FastSettings,
    apply,
    choose,
    in_effect,
    process_restored,
    settings_of_checkpoint,
    settings_to_keep,
)
from .held_out import describe_held_out, evaluate_held_out
from .hub_token import token_in_environment, without_token
from .provenance import describe_run
from .resume import RunTotals, is_finished, read_totals, refuse_without_optimizer, restore_finished
from .run_folder import DISCRIMINATOR_FOLDER, RunFolder
from .run_text import read_texts
from .start import freeze_generator, load_start
from .unknown_tokens import check_unknown_tokens


logger = logging.getLogger(__name__)

PATIENCE_OF_PRETRAINED = 100  # steps after the warm-up: what was pretrained knows something from the first on
SAMPLE_FILE = Path(__file__).parent / "sample" / "ko_books.csv"
# What `adapt` does itself, without the Trainer: it evaluates before training, and its callbacks read their own states.
DONE_HERE = {"eval_on_start": False, "restore_callback_states_from_checkpoint": False}


@dataclass(frozen=True)
class AdaptResult:
    """What [`adapt`] did.

    Args:
        before, after (`dict[str, float]`): held-out `loss`, `mlm_loss`, `disc_loss`, `gen_acc`, `disc_acc`; where the
            whole evaluation was seen, `DETAILED` and `JUDGED_BY` too, see [`HeldOut`].
        steps (`int`), tokens_seen (`int`): optimiser steps and non-padding tokens of the whole run: those of the
            sessions before, where it was resumed, too.
        tokens_per_second (`float`), seconds (`float`): of the same, saving and evaluation between steps included.
        checkpoint, discriminator (`str`): folders of the adapted pair and of the exported stock discriminator.
        health (`list[dict]`): what [`RTDHealthCallback`] found, as in the log: `step`, `health`, `message`.
        stopped (`bool`): whether it stopped this training.
        vocab_size (`int`, *optional*): tokens in the pair's vocabulary.
    """

    before: dict
    after: dict
    steps: int
    tokens_seen: int
    tokens_per_second: float
    seconds: float
    checkpoint: str
    discriminator: str
    health: list = field(default_factory=list)
    stopped: bool = False
    vocab_size: int | None = None


def adapt(arguments, training_args, *, given=()):
    """Adapt a pair to text: read, tokenize, evaluate, train under the stock Trainer, evaluate, save, export.

    `output_dir` then holds the pair with its tokenizer, `discriminator/` (a stock checkpoint), the Trainer's
    checkpoints and `trainer_state.json`, `adapt_results.json`, and `held_out.json` (see [`describe_held_out`]). If
    anything fails, nothing half-written is left; complete checkpoints are.

    With `arguments.fast`, fast settings (see [`fast.choose`]) are chosen for those fields of `training_args` that
    stand at their defaults and are not among `given`. `training_args` itself stays as it is.

    Args:
        arguments ([`AdaptArguments`]), training_args (`TrainingArguments`).
        given (collection of `str`): fields of `training_args` that keep their values, even if those are the defaults.

    Returns:
        [`AdaptResult`]

    Raises:
        ValueError: wrong input; the message says which and what to do.
        OSError: a disk is full or a file cannot be written.
        KeyboardInterrupt: with what is saved and how to go on, for a person.
    """
    check_options(training_args)
    with RunFolder.opened(
        training_args.output_dir,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        is_main_process=training_args.process_index == 0,
    ) as folder:
        return _adapt_into(folder, arguments, training_args, given)


def _adapt_into(folder, arguments, training_args, given):
    folder.refuse_inside(arguments.sources())
    refuse_damaged([arguments.generator, arguments.discriminator, arguments.checkpoint, arguments.tokenizer])
    last_checkpoint = folder.last_checkpoint or training_args.resume_from_checkpoint
    set_seed(training_args.seed)
    with training_args.main_process_first(desc="reading text"):  # the others read the cache
        train_text, validation_text = read_texts(arguments, training_args.seed)
    model, tokenizer = load_start(arguments, train_text, last_checkpoint)
    if arguments.freeze:
        freeze_generator(model)
    longest = model.config.max_position_embeddings
    if arguments.max_seq_length > longest:
        raise ValueError(f"`max_seq_length` is {arguments.max_seq_length}: the pair reads {longest} tokens at most.")
    with training_args.main_process_first(desc="tokenizing text"):
        train_set, validation_set = (
            tokenize_text(
                text, tokenizer, max_length=arguments.max_seq_length, num_proc=arguments.preprocessing_num_workers
            )
            for text in (train_text, validation_text)
        )
    logger.info(
        f"{len(train_set)} sequences to train on, {len(validation_set)} held out, of up to "
        f"{arguments.max_seq_length} tokens."
    )
    check_rows(training_args, len(train_set), len(validation_set))
    check_unknown_tokens(train_set, train_text, tokenizer)
    with (
        folder.guarded(),
        process_restored(),
        token_in_environment(training_args),
        closing(RTDConsoleCallback(lang=arguments.lang, skip_repeats=True)) as console,
    ):
        # TensorBoard's callback makes its folder at the first figures, which come before training here.
        os.environ.setdefault(
            TENSORBOARD, os.path.join(training_args.output_dir, "runs", time.strftime("%b%d_%H-%M-%S"))
        )
        choices = _choose(arguments, training_args, given, model, tokenizer, train_set, last_checkpoint)
        done_here = {name: value for name, value in DONE_HERE.items() if name in DEFAULTS}
        training_args = apply(choices, training_args, **done_here, **without_token(training_args))
        _report(choices, training_args, last_checkpoint)
        metrics = RTDMetricsCallback(detailed=True, by_token=True)
        totals = RunTotals(metrics, **read_totals(last_checkpoint))
        patience = PATIENCE if arguments.from_scratch else PATIENCE_OF_PRETRAINED
        health = RTDHealthCallback(arguments.on_collapse, patience=patience)
        trainer = Trainer(
            model=model,
            args=training_args,
            train_dataset=train_set,
            eval_dataset=validation_set,
            processing_class=tokenizer,
            callbacks=[
                metrics,
                health,
                console,
                *_samples(arguments, validation_set),
                FastSettings(settings_to_keep(choices)),
                totals,
            ],
        )
        folder.follow(trainer)
        finished = is_finished(trainer, last_checkpoint)
        if last_checkpoint and not finished:
            refuse_without_optimizer(last_checkpoint)
        before = evaluate_held_out(trainer, metrics)
        folder.replace_earlier_run()
        run = describe_run(arguments, training_args, choices)  # while what it names is still there
        if finished:
            logger.info(f"{last_checkpoint} is the end of the run: nothing is left to train.")
            restore_finished(trainer, last_checkpoint)
        else:
            trainer.train(resume_from_checkpoint=last_checkpoint)
        after = evaluate_held_out(trainer, metrics)
        _tidy_log(trainer.state.log_history, before)
        return _finish(trainer, totals, health, before, after, run, finished)


def _tidy_log(log, before):
    """Every evaluation once: the one before training, which the Trainer's log does not have, and the one after it."""
    if not any(row.get("step") == 0 and "eval_loss" in row for row in log):  # a finished run that was resumed has it
        log.insert(0, {"step": 0, **{f"eval_{name}": value for name, value in before.figures.items()}})
    last = next(row for row in reversed(log) if "eval_loss" in row)  # a sign of a dead run may stand behind it
    same = {name: last[name] for name in ("step", "eval_loss", *(f"eval_{name}" for name in LOSS_PARTS))}
    log[:] = [row for row in log if row is last or not same.items() <= row.items()]


def _samples(arguments, validation_set):
    """Who shows what becomes of held-out sentences, where that is asked for."""
    if arguments.sample_steps:
        yield RTDSampleCallback(validation_set, every=arguments.sample_steps, lang=arguments.lang)


def _choose(arguments, training_args, given, model, tokenizer, train_set, last_checkpoint):
    """The fast settings; a resumed run has those that its checkpoint names, and no others."""
    if not arguments.fast:
        return []
    resumed = settings_of_checkpoint(last_checkpoint) if last_checkpoint else None
    rows = range(min(training_args.per_device_train_batch_size, len(train_set)))
    batch = DataCollatorWithPadding(tokenizer)([train_set[row] for row in rows])  # the Trainer's collator
    return choose(training_args, model, batch, given=given, resumed=resumed)


def _report(choices, training_args, last_checkpoint):
    if training_args.process_index > 0:
        return
    for choice in choices:
        logger.info(choice)
    for name, value in (settings_of_checkpoint(last_checkpoint) if last_checkpoint else {}).items():
        now = in_effect(name, training_args)
        if now != value:
            remedy = f"set OMP_NUM_THREADS={value}" if name == "threads" else f"give --{name} {value}"
            logger.warning(
                f"fast: {name} is {now}, in the run that is resumed it was {value}: the rest of the run will differ "
                f"from what it would have been. To go on as before, {remedy}."
            )


def _finish(trainer, totals, health, before, after, run, finished):
    """Save the pair, export its discriminator, write down the figures and how the run was made."""
    output_dir = Path(trainer.args.output_dir)
    result = AdaptResult(
        before=before.figures,
        after=after.figures,
        vocab_size=trainer.model.config.vocab_size,
        steps=trainer.state.global_step,
        tokens_seen=totals.tokens,
        tokens_per_second=totals.tokens / totals.seconds if totals.seconds else 0.0,
        seconds=totals.seconds,
        checkpoint=str(output_dir),
        discriminator=str(output_dir / DISCRIMINATOR_FOLDER),
        health=[row for row in trainer.state.log_history if "health" in row],
        stopped=health.stopped,
    )
    if finished:  # what it cost and how it was made stays as it is written down
        earlier = earlier_results(output_dir, result.steps)
        kept = {name: earlier[name] for name in ("tokens_seen", "tokens_per_second", "seconds") if name in earlier}
        result = replace(result, **kept)
        run = {name: earlier.get(name, value) for name, value in run.items()}
    with files_for_folder(output_dir) as staged:
        trainer.save_model(str(staged), _internal_call=True)
        if trainer.is_world_process_zero():
            export_discriminator(staged, staged / DISCRIMINATOR_FOLDER)
            shutil.rmtree(result.discriminator, ignore_errors=True)  # of the same run, resumed: its export is stale
            held_out = describe_held_out(before, after, trainer.processing_class)
            if held_out is None:
                (output_dir / HELD_OUT_FILE).unlink(missing_ok=True)  # of the same run, resumed
            write_record(staged, trainer.state, {**asdict(result), **run}, held_out)
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
    return result
