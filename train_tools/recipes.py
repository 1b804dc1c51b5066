"""The main job: adapt a pair to a domain's text with the stock Trainer; pretraining takes the same course."""

import logging
import shutil
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformers import Trainer, set_seed
from transformers.trainer_utils import enable_full_determinism

from ..hub_tools.export import export_discriminator
from ..hub_tools.run_record import write_record
from ..hub_tools.staging import files_for_folder
from .attention_in_parts import use_attention_in_parts
from .attention_way import take_way, wanted_way, warn_of_dropout
from .callbacks import (
    RTDConsoleCallback,
    RTDFiniteCallback,
    RTDHealthCallback,
    RTDManifestCallback,
    RTDMetricsCallback,
    RTDProcessesCallback,
    RTDSampleCallback,
    RTDSignalCallback,
)
from .callbacks.finite import ROW as SKIPPED_ROW
from .callbacks.finite import say_what_is_not_finite
from .callbacks.health import PATIENCE
from .check_options import check_options
from .compile_choice import choose_compiled
from .damage import refuse_damaged
from .epoch_order import EpochOrder
from .fast import DEFAULTS, choose, first_batch
from .fast_in_effect import (
    FastSettings,
    apply,
    process_restored,
    say_settings,
    settings_given,
    settings_of_checkpoint,
    settings_to_keep,
)
from .held_out import describe_held_out, evaluate_held_out, evaluate_sources, tidy_log
from .hub_token import token_in_environment, without_token
from .phases import phase_callbacks
from .provenance import describe_run
from .resume import (
    LogWithCheckpoint,
    RunTotals,
    as_written_before,
    is_finished,
    read_totals,
    refuse_without_optimizer,
    restore_finished,
)
from .run_folder import DISCRIMINATOR_FOLDER, RunFolder
from .run_rows import make_rows, read_run_texts
from .start import check_generator_is_apart, freeze_generator, load_start
from .streaming.options import check_stream_options, steps_in_place_of_epochs
from .unpadded_attention import ROWS, use_unpadded_attention
from .whole_checkpoints import refuse_not_whole
from .whole_model import TokenizerWithParts, before_training, save_whole


logger = logging.getLogger(__name__)

PATIENCE_OF_PRETRAINED = 100  # steps after the warm-up: what was pretrained knows something from the first on
# What `adapt` does itself, without the Trainer: it evaluates before training, and its callbacks read their own states.
DONE_HERE = {name: False for name in ("eval_on_start", "restore_callback_states_from_checkpoint") if name in DEFAULTS}


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
        skipped (`int`): steps that were left out, since their numbers were not finite (see [`RTDFiniteCallback`]).
        health (`list[dict]`): what [`RTDHealthCallback`] found, as in the log: `step`, `health`, `message`.
        stopped (`bool`): whether it stopped this training.
        vocab_size (`int`, *optional*): tokens in the pair's vocabulary.
        general_before, general_after (`dict[str, float]`, *optional*): as `before` and `after`, of held-out general
            text, where some was replayed.
        sources_before, sources_after (`dict[str, dict[str, float]]`, *optional*): the same of the held-out text of
            each source of a mixture, by its short name.
    """

    before: dict
    after: dict
    steps: int
    tokens_seen: int
    tokens_per_second: float
    seconds: float
    checkpoint: str
    discriminator: str
    skipped: int = 0
    health: list = field(default_factory=list)
    stopped: bool = False
    vocab_size: int | None = None
    general_before: dict | None = None
    general_after: dict | None = None
    sources_before: dict | None = None
    sources_after: dict | None = None


def adapt(arguments, training_args, *, given=(), defaults=()):
    """Adapt a pair to text: read, tokenize, evaluate, train under the stock Trainer, evaluate, save, export.

    `output_dir` then holds the pair with its tokenizer, `discriminator/` (a stock checkpoint), the Trainer's
    checkpoints and `trainer_state.json`, `adapt_results.json`, and `held_out.json` (see [`describe_held_out`]). If
    anything fails, nothing half-written is left; complete checkpoints are.

    With `arguments.fast`, fast settings (see [`fast.choose`]) are chosen for those fields of `training_args` that
    stand at their defaults and are not among `given`. `training_args` itself stays as it is.

    Args:
        arguments ([`AdaptArguments`]), training_args (`TrainingArguments`).
        given (collection of `str`): fields of `training_args` that keep their values, even if those are the defaults.
        defaults (`dict`): values in `training_args` that the caller sets where nobody gives any: as open to fast
            settings as those of `TrainingArguments`.

    Returns:
        [`AdaptResult`]

    Raises:
        ValueError: wrong input; the message says which and what to do.
        OSError: a disk is full or a file cannot be written.
        KeyboardInterrupt: with what is saved and how to go on, for a person. While it trains, a [`Stopped`]: after
            the step was saved, see [`RTDSignalCallback`].
    """
    return run_course(arguments, training_args, given, defaults)


def run_course(arguments, training_args, given=(), defaults=()):
    """The course of a run of whatever kind: see [`adapt`]. Args: arguments ([`RunArguments`]); the others as there."""
    if arguments.streaming:
        check_stream_options(arguments, training_args)
        training_args = steps_in_place_of_epochs(training_args, given)
    check_options(training_args)
    with RunFolder.opened(
        training_args.output_dir,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        is_main_process=training_args.process_index == 0,
        checks=training_args.should_save,
    ) as folder:
        return _run_into(folder, arguments, training_args, given, defaults)


def _run_into(folder, arguments, training_args, given, defaults):
    folder.refuse_inside(arguments.sources())
    refuse_damaged(arguments.networks())
    last_checkpoint = folder.last_checkpoint or training_args.resume_from_checkpoint
    if folder.last_checkpoint is None:
        refuse_not_whole(last_checkpoint, checks=training_args.should_save)
    # torch asks once what cuBLAS may do, at the first product on a card: before anything is tried there.
    seed_all = enable_full_determinism if training_args.full_determinism else set_seed
    seed_all(training_args.seed)
    texts = read_run_texts(arguments, training_args)
    model, tokenizer = load_start(arguments, texts.train, last_checkpoint)
    if arguments.freeze:  # after a warm-up, its callback does it
        (freeze_generator if arguments.generator_warmup is None else check_generator_is_apart)(model)
    if arguments.attention_in_parts:
        use_attention_in_parts(model)
    earlier = settings_of_checkpoint(last_checkpoint)
    warn_of_dropout(model)
    way = wanted_way(arguments, model, training_args, earlier)
    longest = model.config.max_position_embeddings
    rows = make_rows(arguments, training_args, texts, tokenizer, longest, last_checkpoint)
    train_set, domain_set, validation_set, general_sets = rows.train, rows.domain, rows.held_out, rows.general
    with (
        closing(RTDSignalCallback()) as signals,
        folder.guarded(),
        process_restored(),
        token_in_environment(training_args),
        closing(RTDConsoleCallback(lang=arguments.lang, skip_repeats=True)) as console,
    ):
        folder.name_logs()
        choices = []
        if way != ROWS:
            use_unpadded_attention(model)  # whatever works, until the precision is settled
        if arguments.fast:  # a resumed run has those that its checkpoint names, and no others
            batch = first_batch(training_args, tokenizer, train_set)
            choices = choose(
                training_args, model, batch, given=given, defaults=defaults, resumed=earlier, train_set=train_set
            )
        fields = {
            **DONE_HERE,
            **say_what_is_not_finite(training_args, arguments.on_nonfinite),
            **without_token(training_args),
        }
        if rows.stream is not None:
            fields |= rows.stream.fields(choices, training_args, given, last_checkpoint)
        training_args = apply(choices, training_args, **fields)
        choices += take_way(model, way, training_args, is_given=bool(arguments.unpadded_attention))
        choices += choose_compiled(model, arguments, training_args, tokenizer, train_set, earlier)
        say_settings(
            choices,
            training_args,
            earlier,
            unpadded_attention=way,
            compile_layers=arguments.compile_layers == "yes",
        )
        if rows.stream is not None:
            train_set, reading = rows.stream.open(training_args, last_checkpoint)
            rows.callbacks.append(reading)
        metrics = RTDMetricsCallback(detailed=True, by_token=True)
        totals = RunTotals(metrics, **read_totals(last_checkpoint))
        signals.before_save.append(totals.count)
        patience = PATIENCE if arguments.from_random_weights else PATIENCE_OF_PRETRAINED
        health = RTDHealthCallback(arguments.on_collapse, patience=patience)
        every = arguments.sample_steps
        samples = [RTDSampleCallback(validation_set, every=every, lang=arguments.lang)] if every else []
        trainer = Trainer(
            model=model,
            args=training_args,
            train_dataset=train_set,
            eval_dataset=validation_set,
            processing_class=tokenizer,
            callbacks=[
                metrics,
                health,
                RTDFiniteCallback(arguments.on_nonfinite),
                console,
                *samples,
                EpochOrder(),
                *rows.callbacks,
                *phase_callbacks(arguments, last_checkpoint),
                FastSettings(settings_to_keep(choices) | settings_given(arguments)),
                totals,
                LogWithCheckpoint(),
                TokenizerWithParts(),
                RTDManifestCallback(),
                signals,
                RTDProcessesCallback(),
            ],
        )
        folder.follow(trainer)
        finished = is_finished(trainer, last_checkpoint)
        if last_checkpoint and not finished:
            refuse_without_optimizer(last_checkpoint)
        sources = {} if rows.stream is None else rows.stream.sources
        with before_training(trainer):
            before = _evaluate_texts(trainer, metrics, domain_set, general_sets)
            sources_before = evaluate_sources(trainer, metrics, domain_set, sources)
        folder.replace_earlier_run()
        run = describe_run(arguments, training_args, choices)  # while what it names is still there
        with signals.last_steps_kept(trainer):
            if finished:
                logger.info(f"{last_checkpoint} is the end of the run: nothing is left to train.")
                restore_finished(trainer, last_checkpoint)
            else:
                trainer.train(resume_from_checkpoint=last_checkpoint)
            after = _evaluate_texts(trainer, metrics, domain_set, general_sets)
            by_source = (sources_before, evaluate_sources(trainer, metrics, domain_set, sources))
            tidy_log(trainer.state.log_history, before, after, by_source)
            return _finish(trainer, totals, health, before, after, by_source, run, finished)


def _evaluate_texts(trainer, metrics, domain_set, general_sets):
    """What both held-out texts say of the pair: [`HeldOut`] of the domain's, and of the general one or `None`."""
    domain = evaluate_held_out(trainer, metrics, domain_set)
    if not general_sets:
        return domain, None
    replayed, held_out = general_sets
    return domain, evaluate_held_out(trainer, metrics, replayed, general=held_out)


def _finish(trainer, totals, health, before, after, by_source, run, finished):
    """Save the pair, export its discriminator, write down the figures and how the run was made."""
    output_dir = Path(trainer.args.output_dir)
    result = AdaptResult(
        before=before[0].figures,
        after=after[0].figures,
        general_before=before[1] and before[1].figures,
        general_after=after[1] and after[1].figures,
        sources_before={name: held_out.figures for name, held_out in by_source[0].items()} or None,
        sources_after={name: held_out.figures for name, held_out in by_source[1].items()} or None,
        vocab_size=trainer.model.config.vocab_size,
        steps=trainer.state.global_step,
        tokens_seen=totals.tokens,
        tokens_per_second=totals.tokens / totals.seconds if totals.seconds else 0.0,
        seconds=totals.seconds,
        checkpoint=str(output_dir),
        discriminator=str(output_dir / DISCRIMINATOR_FOLDER),
        skipped=sum(SKIPPED_ROW in row for row in trainer.state.log_history),
        health=[row for row in trainer.state.log_history if "health" in row],
        stopped=health.stopped,
    )
    if finished:
        result, run = as_written_before(output_dir, result, run)
    with files_for_folder(output_dir) as staged:
        save_whole(trainer, staged)
        if trainer.is_world_process_zero():
            export_discriminator(staged, staged / DISCRIMINATOR_FOLDER)
            shutil.rmtree(result.discriminator, ignore_errors=True)  # of the same run, resumed: its export is stale
            domain, general = zip(before, after, strict=True)
            held_out = describe_held_out(*domain, trainer.processing_class, general)
            write_record(staged, trainer.state, {**asdict(result), **run}, held_out, replaces=output_dir)
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
    return result
