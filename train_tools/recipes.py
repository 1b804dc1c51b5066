"""The main job: adapt a pair to a domain's text with the stock Trainer."""

import json
import logging
import os
import shutil
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from rich.cells import cell_len, set_cell_size
from transformers import DataCollatorWithPadding, Trainer, set_seed

from ..configuration_electra_rtd import ElectraRTDConfig
from ..hub_tools.export import check_is_pair, export_discriminator
from ..hub_tools.staging import files_for_folder
from ..modeling_electra_rtd import ElectraRTDForPreTraining, find_tokenizer
from .callbacks import LOSS_PARTS, RTDConsoleCallback, RTDHealthCallback, RTDMetricsCallback, RTDSampleCallback
from .callbacks.health import PATIENCE
from .check_options import check_options, check_rows
from .damage import refuse_damaged
from .data import read_text, tokenize_text
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
from .from_scratch import SIZES, TextsOf, build_pair, train_tokenizer
from .held_out import describe_held_out, evaluate_held_out
from .hub_token import token_in_environment, without_token
from .language import LANGUAGES
from .provenance import describe_run
from .resume import RunTotals, earlier_results, is_finished, read_totals, refuse_without_optimizer, restore_finished
from .run_folder import DISCRIMINATOR_FOLDER, HELD_OUT_FILE, LAST_FILE, RESULTS_FILE, RunFolder
from .text.finding import find_sources
from .tokenizer import load_tokenizer
from .unknown_tokens import check_unknown_tokens


logger = logging.getLogger(__name__)

PATIENCE_OF_PRETRAINED = 100  # steps after the warm-up: what was pretrained knows something from the first on
EXAMPLE_WIDTH = 60  # columns of a terminal; a Korean syllable takes two
SAMPLE_FILE = Path(__file__).parent / "sample" / "ko_books.csv"
# What `adapt` does itself, without the Trainer: it evaluates before training, and its callbacks read their own states.
DONE_HERE = {"eval_on_start": False, "restore_callback_states_from_checkpoint": False}


@dataclass
class AdaptArguments:
    """What to adapt, and to which text. One start: generator and discriminator, checkpoint, or from_scratch."""

    _argument_group_name = "what to adapt, and to which text"

    generator: str | None = field(
        default=None,
        metadata={"help": "Pretrained generator to start from: a folder or a Hub id, with --discriminator."},
    )
    discriminator: str | None = field(
        default=None,
        metadata={"help": "Pretrained discriminator to start from: a folder or a Hub id, with --generator."},
    )
    checkpoint: str | None = field(
        default=None, metadata={"help": "Go on from this electra_rtd checkpoint instead: a folder or a Hub id."}
    )
    from_scratch: str | None = field(
        default=None,
        metadata={
            "help": "Start from random weights instead. Set --learning_rate then: 5e-4 for tiny and small, 2e-4 for "
            "base.",
            "choices": list(SIZES),
        },
    )
    tokenizer: str | None = field(
        default=None,
        metadata={
            "help": "Tokenizer: a folder, a Hub id or a vocab.txt. By default the discriminator's, or the "
            "checkpoint's; "
            "from scratch a WordPiece vocabulary is trained on the text."
        },
    )
    vocab_size: int = field(default=8000, metadata={"help": "Entries of the vocabulary that --from_scratch trains."})
    train_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Text to train on: files (.csv .tsv .json .jsonl .parquet .txt, each also .gz), folders, globs, "
            "or one Hub dataset id. One sentence or paragraph a row."
        },
    )
    validation_file: list[str] | None = field(
        default=None,
        metadata={"help": "Held-out text, given in the same ways. By default a share of the training text."},
    )
    validation_split: float = field(
        default=0.05, metadata={"help": "Share of the training rows to hold out when there is no --validation_file."}
    )
    text_column: str | None = field(
        default=None,
        metadata={"help": "Column that holds the text. By default the only text column, or the one named text."},
    )
    dataset_config_name: str | None = field(
        default=None, metadata={"help": "Which configuration of a Hub dataset to read, where it has several."}
    )
    max_seq_length: int = field(
        default=128, metadata={"help": "Tokens in a sequence. Longer text becomes several sequences, so none is lost."}
    )
    preprocessing_num_workers: int | None = field(
        default=None,
        metadata={"help": "Processes that read and tokenize text. By default one, which tokenizes on all cores."},
    )
    mask_prob: float | None = field(
        default=None, metadata={"help": "Share of tokens that are masked. By default the checkpoint's, else 0.15."}
    )
    disc_weight: float | None = field(
        default=None, metadata={"help": "Weight of the discriminator's loss. By default the checkpoint's, else 50."}
    )
    sampling_temperature: float | None = field(
        default=None,
        metadata={
            "help": "How flat the generator's choice is. By default the checkpoint's, else 1, as in the paper. Above "
            "1 only for tiny text, where the samples of a generator that knows little are hard to tell from the text."
        },
    )
    embedding_sharing: str | None = field(
        default=None,
        metadata={"help": "none or tied. By default the checkpoint's; none for a pretrained pair, tied from scratch."},
    )
    freeze: str | None = field(
        default=None,
        metadata={
            "help": "Train the discriminator alone: the generator keeps its weights, and costs no backward pass.",
            "choices": ["generator"],
        },
    )
    fast: bool = field(
        default=True,
        metadata={"help": "Choose fast settings where none are given; each is printed. --no_fast chooses nothing."},
    )
    on_collapse: str = field(
        default="warn",
        metadata={
            "help": "When the log shows that the run is dead: warn, or stop it too (exit status 1).",
            "choices": ["warn", "stop"],
        },
    )
    sample_steps: int = field(
        default=500, metadata={"help": "Show what becomes of two held-out sentences every so many steps; 0: never."}
    )
    lang: str | None = field(
        default=None,
        metadata={
            "help": "Language of what training shows: these sentences and the log. By default that of the locale.",
            "choices": list(LANGUAGES),
        },
    )
    resume: bool = field(default=False, metadata={"help": "Go on from the last complete checkpoint in --output_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Remove what an earlier run left in --output_dir first."})

    def __post_init__(self):
        pair = self.generator is not None or self.discriminator is not None
        if pair and (self.generator is None or self.discriminator is None):
            raise ValueError("Give both --generator and --discriminator: the two networks of one release.")
        given = {
            "--generator/--discriminator": pair,
            "--checkpoint": self.checkpoint,
            "--from_scratch": self.from_scratch,
        }
        starts = [name for name, value in given.items() if value]
        if len(starts) != 1:
            raise ValueError(
                f"Give one start, not {' and '.join(starts) or 'none'}: --generator G --discriminator D, "
                f"--checkpoint C, or --from_scratch {'|'.join(SIZES)}."
            )
        if not self.train_file:
            raise ValueError("Give the text to train on: --train_file FILES.")
        if not 0 < self.validation_split < 1:
            raise ValueError(
                f"--validation_split is {self.validation_split}: it must be between 0 and 1, such as 0.05."
            )
        if self.max_seq_length < 8:
            raise ValueError(f"--max_seq_length is {self.max_seq_length}: it must be at least 8 tokens.")
        if self.vocab_size < 10:
            raise ValueError(f"--vocab_size is {self.vocab_size}: it must be at least 10 entries.")
        if self.sample_steps < 0:
            raise ValueError(f"--sample_steps is {self.sample_steps}: it must be 0 (never) or more.")
        if self.freeze and self.from_scratch:
            raise ValueError("--freeze generator keeps its random weights with --from_scratch: leave one of them out.")
        if self.resume and self.overwrite:
            raise ValueError("--resume goes on with what --overwrite removes: give one of them.")

    def sources(self):
        """What the run reads: `list` of folder, file, Hub id or `None`."""
        networks = [self.generator, self.discriminator, self.checkpoint, self.tokenizer]
        return [*networks, *(self.train_file or []), *(self.validation_file or [])]


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
        train_text, validation_text = _read_texts(arguments, training_args.seed)
    model, tokenizer = _load_start(arguments, train_text, last_checkpoint)
    if arguments.freeze:
        _freeze_generator(model)
    longest = model.config.max_position_embeddings
    if arguments.max_seq_length > longest:
        raise ValueError(f"--max_seq_length is {arguments.max_seq_length}: the pair reads {longest} tokens at most.")
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
        closing(RTDConsoleCallback(lang=arguments.lang)) as console,
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
    last = log[-1]
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


def _read_texts(arguments, seed):
    read = _read("train_file", arguments.train_file, arguments)
    train = read.dataset
    if arguments.dataset_config_name:
        _refuse_configuration_of_files(arguments)
    logger.info(f"An example of what is trained on: {_shortened(train[0]['text'])}")
    if arguments.validation_file:
        held_out = _read("validation_file", arguments.validation_file, arguments)
        _warn_of_shared_files(read.sources, held_out.sources)
        return train, held_out.dataset
    if len(train) < 2:
        raise ValueError(
            "--train_file holds one row of text: none is left to hold out. Give more, or --validation_file."
        )
    held_out = min(max(1, round(len(train) * arguments.validation_split)), len(train) - 1)
    parts = train.train_test_split(test_size=held_out, seed=seed)
    return parts["train"], parts["test"]


def _read(name, sources, arguments):
    read = read_text(
        sources,
        text_column=arguments.text_column,
        hub_split="train" if name == "train_file" else "validation",
        hub_config=arguments.dataset_config_name,
        num_proc=arguments.preprocessing_num_workers,
    )
    dropped = f", {read.dropped_rows} empty rows dropped" if read.dropped_rows else ""
    logger.info(
        f"--{name}: {len(read.dataset)} rows of column {read.column!r} in {len(read.sources)} file(s){dropped}."
    )
    for note in read.notes:
        logger.info(note)
    return read


def _refuse_configuration_of_files(arguments):
    sources = [*arguments.train_file, *(arguments.validation_file or [])]
    if all(find_sources([source]) is not None for source in sources):
        raise ValueError(
            f"--dataset_config_name is {arguments.dataset_config_name}, but no Hub dataset is read, only "
            f"{', '.join(sources)}. Leave it out."
        )


def _warn_of_shared_files(train, held_out):
    """Text that is trained on says nothing as held-out text."""
    paths = {Path(source).resolve() for source in train if Path(source).is_file()}
    shared = [source for source in held_out if Path(source).resolve() in paths]
    if shared:
        logger.warning(
            f"--validation_file {shared[0]} is part of --train_file too: the figures of held-out text will be "
            "those of text that was trained on. Leave it out of --train_file."
        )


def _shortened(text):
    """Text in quotation marks, on one line of a terminal."""
    text = " ".join(text[:EXAMPLE_WIDTH].split())
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    if cell_len(text) > EXAMPLE_WIDTH:
        text = f"{set_cell_size(text, EXAMPLE_WIDTH - 1).rstrip()}…"
    return f'"{text}"'


def _load_start(arguments, train_text, last_checkpoint):
    """The model to start from and its tokenizer; a resumed run takes the tokenizer that it saved."""
    overrides = {
        name: getattr(arguments, name)
        for name in ("mask_prob", "disc_weight", "sampling_temperature", "embedding_sharing")
        if getattr(arguments, name) is not None
    }
    named = last_checkpoint or arguments.tokenizer
    tokenizer = load_tokenizer(named) if named else None
    if arguments.from_scratch:
        if tokenizer is None:
            logger.info(f"Training a WordPiece vocabulary of up to {arguments.vocab_size} entries on the text.")
            tokenizer = train_tokenizer(TextsOf(train_text), arguments.vocab_size)
        return build_pair(arguments.from_scratch, tokenizer, **overrides), tokenizer
    if arguments.checkpoint:
        tokenizer = tokenizer or load_tokenizer(arguments.checkpoint)
        return _load_checkpoint(arguments.checkpoint, tokenizer, overrides), tokenizer
    # Without a tokenizer named, the model compares those beside the two networks.
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        arguments.generator, arguments.discriminator, tokenizer=tokenizer, **overrides
    )
    if tokenizer is None:
        beside = arguments.discriminator if find_tokenizer(arguments.discriminator) else arguments.generator
        tokenizer = load_tokenizer(beside)
    return model, tokenizer


def _load_checkpoint(checkpoint, tokenizer, overrides):
    check_is_pair(checkpoint)
    config = ElectraRTDConfig.from_pretrained(checkpoint, **overrides)
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    if len(tokenizer) > config.vocab_size or any(getattr(config, name) != value for name, value in ids.items()):
        raise ValueError(
            f"The tokenizer does not fit {checkpoint}: it has {len(tokenizer)} tokens and {ids}, the checkpoint "
            f"{config.vocab_size} and mask_token_id={config.mask_token_id}, pad_token_id={config.pad_token_id}. "
            "Leave --tokenizer out, or name the one that the checkpoint was trained with."
        )
    # Weights in half precision would be trained in half precision: `--bf16` computes in it, and keeps them in float32.
    model, info = ElectraRTDForPreTraining.from_pretrained(
        checkpoint, config=config, dtype=torch.float32, output_loading_info=True
    )
    for name, keys in (
        ("lacks", info["missing_keys"]),
        ("holds, against its configuration,", info["unexpected_keys"]),
    ):
        if keys:
            raise ValueError(
                f"{checkpoint} {name} {len(keys)} weights ({min(keys)}, ...): a part of the pair would be random, or "
                "lost. Compare `num_hidden_layers` and the other sizes in its config.json with its weights."
            )
    return model


def _freeze_generator(model):
    if model.config.embedding_sharing != "none":
        raise ValueError(
            f"--freeze generator: embedding_sharing is {model.config.embedding_sharing!r}, so the discriminator's "
            "embeddings would be frozen too. Give --embedding_sharing none."
        )
    model.generator.requires_grad_(False)


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
            trainer.state.save_to_json(str(staged / LAST_FILE))  # the card of a push draws its curves
            results = {**asdict(result), **run}
            (staged / RESULTS_FILE).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
            held_out = describe_held_out(before, after, trainer.processing_class)
            if held_out is None:
                (output_dir / HELD_OUT_FILE).unlink(missing_ok=True)  # of the same run, resumed
            else:
                (staged / HELD_OUT_FILE).write_text(json.dumps(held_out, allow_nan=False) + "\n", encoding="utf-8")
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
    return result
