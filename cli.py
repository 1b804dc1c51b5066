"""`electra-rtd`: one thin command per library function."""

import io
import json
import logging
import sys
from dataclasses import asdict

from electra_rtd_launcher import answer

from . import train_tools
from .hub_tools import (
    CheckpointError,
    diff_checkpoints,
    export_discriminator,
    export_generator,
    merge_checkpoints,
    pinned_line,
    pull_checkpoint,
    pull_locked,
    push_checkpoint,
    verify_checkpoint,
)
from .hub_tools.pull import last_lock, read_lock
from .parsers import (
    diff_parser,
    export_parser,
    extend_parser,
    inspect_parser,
    option_names,
    parse_evaluate,
    parse_merge,
    pull_parser,
    push_parser,
    report_parser,
    verify_parser,
)
from .run_parsers import ADAPT_DEFAULTS, PRETRAIN_DEFAULTS, parse_adapt, parse_pretrain
from .terminal import is_error, messages_shown, print_error, print_interrupt, with_options
from .train_tools import inspector  # a command imports what it needs when it asks for it: see `lazy_names`
from .train_tools.nonfinite_error import NonFiniteError
from .train_tools.report import report_run
from .train_tools.signals import Stopped, machines_interrupt, undisturbed
from .train_tools.summary import what_it_did, what_next


def run_adapt(argv):
    """`electra-rtd adapt`: parse, adapt, say what came of it; 1 where it was stopped because it was dead."""
    arguments, training_args, given = parse_adapt(argv)
    result = train_tools.adapt(arguments, training_args, given=given, defaults=ADAPT_DEFAULTS)
    if training_args.process_index == 0:
        print(f"\n{what_it_did(result)}", flush=True)  # what comes next takes a while
        for part in _example_words(arguments, result) if "--example" in argv else ():
            print(f"\n{part}", flush=True)
        print(f"\n{what_next(result)}")
    return 1 if result.stopped else 0


def run_pretrain(argv):
    """`electra-rtd pretrain`: show a recipe, or pretrain by it and say what came of it; 1 where it was stopped."""
    arguments, training_args, given = parse_pretrain(argv)
    if arguments.print_recipe:
        from .train_tools.recipe_in_effect import settle
        from .train_tools.recipe_text import recipe_text

        shown = recipe_text(settle(arguments, training_args, given=given, defaults=PRETRAIN_DEFAULTS))
        print(with_options(shown, option_names("pretrain")))
        return 0
    result = train_tools.pretrain(arguments, training_args, given=given, defaults=PRETRAIN_DEFAULTS)
    if training_args.process_index == 0:
        print(f"\n{what_it_did(result)}\n\n{what_next(result)}")
    return 1 if result.stopped else 0


def run_evaluate(argv):
    """`electra-rtd evaluate`: fine-tune encoders on labels, say which is better."""
    from .train_tools.evaluation.table import table

    arguments, as_json = parse_evaluate(argv)
    evaluation = train_tools.evaluate(arguments)
    if as_json:
        print(json.dumps(evaluation.as_dict(), indent=2, ensure_ascii=False))
    else:
        print(f"\n{table(evaluation, arguments.lang)}")


def _example_words(arguments, result):
    from .train_tools.example import example_words  # as whoever adapts without it need not

    return example_words(arguments.checkpoint, result.checkpoint)


def run_export(argv):
    """`electra-rtd export`: one network as a stock checkpoint."""
    arguments = export_parser().parse_args(argv)
    export = {"discriminator": export_discriminator, "generator": export_generator}[arguments.network]
    print(export(arguments.checkpoint, arguments.output_dir, as_encoder=arguments.as_encoder))


def run_inspect(argv):
    """`electra-rtd inspect`: texts as both networks read them; a table, JSON, or a page."""
    arguments = inspect_parser().parse_args(argv)
    given = [line for text in arguments.texts for line in (sys.stdin.read().split("\n") if text == "-" else [text])]
    if not given and not arguments.file:
        raise ValueError("Give text: one or more TEXT, --file FILES, or - for standard input.")
    texts, left_out = inspector.collect_texts(
        given,
        arguments.file,
        text_column=arguments.text_column,
        hub_config=arguments.dataset_config_name,
        limit=arguments.limit,
    )
    inspection = inspector.inspect_texts(
        arguments.checkpoint,
        texts,
        temperature=arguments.temperature,
        more_temperatures=inspector.PAGE_TEMPERATURES if arguments.html and not arguments.suspicious else (),
        top_k=arguments.top_k,
        suspicious=arguments.suspicious,
        revision=arguments.revision,
        token=arguments.token,
    )
    if left_out:
        logging.getLogger(__name__).warning(f"{left_out} texts are left out: --limit is {arguments.limit}.")
    if arguments.html:
        page = inspector.write_page(inspection, arguments.html, model_name=arguments.checkpoint, lang=arguments.lang)
        print(page, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(json.dumps([reading.as_dict() for reading in inspection.readings], indent=2, ensure_ascii=False))
    elif not arguments.html:
        inspector.print_readings(inspection.readings, lang=arguments.lang)


def run_report(argv):
    """`electra-rtd report`: one page, or picture, of a run."""
    arguments = report_parser().parse_args(argv)
    for path in report_run(arguments.run, html=arguments.html, png=arguments.png, lang=arguments.lang):
        print(path)


def run_verify(argv):
    """`electra-rtd verify`: print the report; 1 where it has an error."""
    arguments = verify_parser().parse_args(argv)
    report = verify_checkpoint(
        arguments.checkpoint,
        revision=arguments.revision,
        token=arguments.token,
        execute=arguments.execute,
        allow_code_from=arguments.allow_code_from,
    )
    print(json.dumps({"ok": report.ok, **asdict(report)}, indent=2) if arguments.json else report)
    return 0 if report.ok else 1


def run_push(argv):
    """`electra-rtd push`: publish, say where it is and how it is loaded."""
    arguments = vars(push_parser().parse_args(argv))
    checkpoint, repo_id = arguments.pop("checkpoint"), arguments.pop("repo_id")
    commit = push_checkpoint(checkpoint, repo_id, **arguments)
    if commit is None:
        return
    print(commit.pr_url or commit.commit_url)
    if commit.pr_url is None:
        print(pinned_line(repo_id, commit.oid))


def run_pull(argv):
    """`electra-rtd pull`: take, say where it is and how it is loaded."""
    arguments = pull_parser().parse_args(argv)
    common = {name: getattr(arguments, name) for name in ("local_dir", "token", "verify", "allow_code_from")}
    if arguments.locked:
        lock_file = _lock_file(arguments)
        folder, lock = pull_locked(lock_file, **common), read_lock(lock_file)
    elif arguments.repo_id is None or arguments.lock_file:
        raise ValueError("Give a repository, user/name; or --locked, with --local_dir or --lock_file.")
    else:
        folder = pull_checkpoint(arguments.repo_id, revision=arguments.revision, **common)
        lock = read_lock(folder)
    print(folder)
    print(pinned_line(lock["repo"], lock["commit"]))


def _lock_file(arguments):
    if arguments.revision:
        raise ValueError("--locked takes the commit of the lock: leave --revision out.")
    if arguments.lock_file or arguments.local_dir:
        lock_file = arguments.lock_file or arguments.local_dir
    elif arguments.repo_id:
        lock_file = last_lock(arguments.repo_id)
    else:
        raise ValueError("--locked needs --lock_file, --local_dir, or the repository of an earlier pull.")
    if arguments.repo_id and read_lock(lock_file)["repo"] != arguments.repo_id:
        raise ValueError(f"{lock_file} is about {read_lock(lock_file)['repo']}, not about {arguments.repo_id}.")
    return lock_file


def run_diff(argv):
    """`electra-rtd diff`: print what differs; 1 where something does."""
    arguments = diff_parser().parse_args(argv)
    difference = diff_checkpoints(arguments.a, arguments.b, token=arguments.token)
    print(json.dumps(asdict(difference), indent=2) if arguments.json else difference)
    return 0 if difference.identical else 1


def run_merge(argv):
    """`electra-rtd merge`: part of the way back to the base."""
    arguments, labels = parse_merge(argv)
    if labels is None:
        print(merge_checkpoints(arguments.base, arguments.adapted, arguments.alpha, arguments.output_dir))
        return
    from .train_tools.evaluation import choose_alpha
    from .train_tools.evaluation.table import table, wrapped

    alphas = arguments.alphas or choose_alpha.ALPHAS
    chosen = choose_alpha.choose_alpha(arguments.base, arguments.adapted, arguments.output_dir, labels, alphas)
    print(f"\n{table(chosen.evaluation, labels.lang)}\n\n{wrapped(choose_alpha.reason(chosen, labels.lang))}\n")
    print(chosen.folder)


def run_extend(argv):
    """`electra-rtd extend-vocab`: new entries for a domain; say which, and what they save."""
    from .train_tools.extension_words import describe

    arguments = vars(extend_parser().parse_args(argv))
    print(describe(train_tools.extend_checkpoint(**arguments), arguments["output_dir"]))


RUN = {
    "adapt": run_adapt,
    "pretrain": run_pretrain,
    "evaluate": run_evaluate,
    "inspect": run_inspect,
    "report": run_report,
    "verify": run_verify,
    "push": run_push,
    "pull": run_pull,
    "diff": run_diff,
    "merge": run_merge,
    "export": run_export,
    "extend-vocab": run_extend,
}


def main(argv=None):
    """The command `electra-rtd`.

    Args:
        argv (`list[str]`, *optional*): without the program's name; `sys.argv` by default.

    Returns:
        `int`: 0 for success, 1 for a checkpoint with errors, a difference or a run that was stopped because it was
            dead, 2 for wrong input, 130 when interrupted; by another signal, 0 if all that was trained is saved, and
            else 128 and its number.
    """
    argv = sys.argv[1:] if argv is None else argv
    status = answer(argv)
    if status is not None:
        return status
    command, rest = argv[0], argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a sign that an encoding lacks is no reason to end
    options = option_names(command)
    try:
        with machines_interrupt(), messages_shown(__package__, options):
            return RUN[command](rest) or 0
    except CheckpointError as error:
        print(f"electra-rtd {command}: {error}", file=sys.stderr)
        return 2 if command == "diff" else 1  # as with `diff`: 1 is a difference
    except NonFiniteError as error:
        print_error(command, error, argv, options)
        return 1
    except KeyboardInterrupt as interrupt:
        with undisturbed():
            print_interrupt(command, interrupt, rest, options)
        return interrupt.code if isinstance(interrupt, Stopped) else 130
    except BaseException as error:
        if not is_error(error):
            raise
        print_error(command, error, argv, options)
        return 2


if __name__ == "__main__":
    sys.exit(main())
