"""Does it pay? Encoders fine-tuned on labels: one grid of rates, the same seeds, and comparisons with the first."""

import importlib.metadata
import logging
from dataclasses import asdict
from pathlib import Path

from ...pairing_electra_rtd import special_ids
from ..run_lock import only_run
from ..unknown_tokens import WORTH_A_WARNING
from .arms import open_arm
from .card import arm_in, write_card
from .course import Course
from .encoding import encode
from .evaluation import Evaluation
from .extra import import_extra
from .labels import read_labels, split_labels
from .metrics import METRICS
from .verdict import compare


logger = logging.getLogger(__name__)

LIBRARIES = ("electra-rtd", "torch", "transformers", "scikit-learn", "seqeval")


def evaluate(arguments):
    """Fine-tune encoders on labelled rows, and say which one is better.

    Each number of training rows and each encoder gets the learning rate of the grid with the best mean on the
    validation rows; then all seeds are run at it. A seed decides the training rows (where not all are taken), their
    order, the new head and dropout, alike for all encoders, so that differences are paired. Every run is kept in
    `output_dir` as soon as it is done; the same call again, or one with more seeds, rates or encoders, does what is
    left. `evaluation.json` in it holds the result.

    Args:
        arguments ([`EvaluateArguments`])

    Returns:
        [`Evaluation`]

    Raises:
        ValueError: wrong input, or a library of the extra `evaluate` is missing; the message says what to do.
        OSError: a checkpoint is not there, or the folder cannot be written to.
        KeyboardInterrupt: with what is kept and how to go on, for a person.
    """
    import_extra("sklearn.metrics")
    paths = arguments.encoders()
    if arguments.write_card:
        arm_in(paths, arguments.write_card)  # before the work, not after it
    split = _read(arguments)
    kind = split.train.kind
    if kind == "tokens":
        import_extra("seqeval.metrics")
    metric = _metric(arguments, kind)
    counts = _counts(arguments, split)
    arms = [open_arm(name, path, tokenizer=arguments.tokenizer) for name, path in paths.items()]
    _warn_of_twins(arms)
    _say_what_was_read(arguments, split)
    for arm in arms:
        _warn_of_unknown(arm, split.test, arguments.max_length)
    with only_run(arguments.output_dir):
        course = Course(arguments, split, metric, arms, counts)
        course.run()
        evaluation = Evaluation(
            task=_describe(arguments, split, metric),
            arms=paths,
            learning_rates=course.chosen,
            runs=course.runs,
            settings=course.settings(),
            versions=_versions(),
        )
        evaluation.comparisons = _compare(evaluation, split)
        evaluation.write(arguments.output_dir)
    if arguments.write_card:
        write_card(evaluation, arguments.write_card)
    return evaluation


def _read(arguments):
    options = {
        "task": arguments.task,
        "text_columns": arguments.text_columns,
        "label_column": arguments.label_column,
        "names": arguments.names,
    }
    labels = read_labels(arguments.labels, **options, group_column=arguments.group_column)
    options["task"] = labels.kind
    others = {
        name: file and read_labels(file, **options)
        for name, file in (("validation", arguments.validation_file), ("test", arguments.test_file))
    }
    return split_labels(labels, **others)


def _metric(arguments, kind):
    metrics = METRICS[kind]
    if arguments.metric is not None and arguments.metric not in metrics:
        raise ValueError(f"`metric` is {arguments.metric}: a task of the kind {kind} has {', '.join(metrics)}.")
    return arguments.metric or metrics[0]


def _counts(arguments, split):
    """Numbers of training rows, ascending."""
    for rows in arguments.train_rows or ():
        if rows > len(split.train):
            raise ValueError(
                f"`train_rows={rows}`: there are {len(split.train):,} rows for training. Give at most as many, or "
                "leave it out to take all."
            )
    return sorted(set(arguments.train_rows or [len(split.train)]))


def _warn_of_twins(arms):
    names: dict[str, str] = {}
    for arm in arms:
        twin = names.setdefault(arm.fingerprint, arm.name)
        if twin != arm.name:
            logger.warning(f"{twin} and {arm.name} are the same network with the same weights: nothing differs.")


def _warn_of_unknown(arm, labels, max_length):
    """Say so where a tokenizer does not know the text."""
    unknown = arm.tokenizer.unk_token_id
    if unknown is None:  # byte-level: every text has tokens
        return
    special = {*special_ids(arm.tokenizer)} - {unknown}
    rows = encode(labels, arm.tokenizer, min(max_length, arm.longest))
    ids = [one for row in rows.inputs for one in row["input_ids"] if one not in special]
    share = ids.count(unknown) / max(len(ids), 1)
    if share > WORTH_A_WARNING:
        logger.warning(
            f"The arm {arm.name}: {100 * share:.1f} % of the tokens of the test rows are {arm.tokenizer.unk_token}. "
            "Is it the right tokenizer, with the right casing?"
        )


def _say_what_was_read(arguments, split):
    train, columns = split.train, split.train.columns
    classes = f", {len(train.names)} {'tags' if train.kind == 'tokens' else 'classes'}" if train.names else ""
    logger.info(
        f"{Path(arguments.labels).name}: {train.kind} (text: {', '.join(columns['text'])}; label: {columns['label']}"
        f"{classes}); {len(train):,} training, {len(split.validation):,} validation, {len(split.test):,} test rows."
    )
    for note in split.notes:
        logger.warning(note)


def _describe(arguments, split, metric):
    files = {"labels": arguments.labels, "validation": arguments.validation_file, "test": arguments.test_file}
    return {
        "kind": split.train.kind,
        "files": {name: str(file) for name, file in files.items() if file},
        "columns": split.train.columns,
        "names": list(split.train.names),
        "metric": metric,
        "train": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
        "notes": list(split.notes),
    }


def _versions():
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:  # seqeval, where no tags are scored
            continue
    return found


def _compare(evaluation, split):
    """The first arm with each other one, for each number of rows and way."""
    test, comparisons = split.test, []
    for way in ("fine_tuning", "probe"):
        for rows in evaluation.train_rows:
            for arm in list(evaluation.arms)[1:]:
                before, after = (evaluation.chosen(name, rows, way) for name in (evaluation.baseline, arm))
                if not after:
                    continue
                found = compare(
                    test.kind,
                    evaluation.task["metric"],
                    [run.predictions for run in before],
                    [run.predictions for run in after],
                    test.targets,
                    test.names,
                    train_rows=rows,
                    groups=test.groups,
                    deterministic=after[0].seed is None,
                )
                pair = {"arm": arm, "against": evaluation.baseline, "train_rows": rows, "way": way}
                comparisons.append({**pair, **asdict(found)})
    return comparisons
