"""A process that is asked to end: what it saves, what it says, its status, and that the run goes on from there."""

import contextlib
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback

from electra_rtd import cli, terminal
from electra_rtd.train_tools import RTDSignalCallback, Stopped, recipes
from electra_rtd.train_tools.signals import Handlers, StopRequest, machines_interrupt, undisturbed


TERM, USR1, HUP, INT = signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT


@pytest.fixture(autouse=True)
def handlers_come_back(monkeypatch):
    """Whatever happens, whoever handled a signal before handles it again."""
    monkeypatch.setattr(terminal, "command_name", lambda: "electra-rtd")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    # What calls the tests may ignore some of them, as `nohup` does.
    usual = {TERM: signal.SIG_DFL, USR1: signal.SIG_DFL, HUP: signal.SIG_DFL, INT: signal.default_int_handler}
    of_caller = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    after = {number: signal.signal(number, handler) for number, handler in of_caller.items()}
    assert after == usual


@pytest.fixture
def sent(monkeypatch):
    """`sent(owner, name, *numbers, call=1)`: signals to this process in the so-many-th call of a method."""

    def send(owner, name, *numbers, call=1):
        method, calls = getattr(owner, name), []

        def asked(*arguments, **named):
            calls.append(1)
            if len(calls) == call:
                for number in numbers:
                    signal.raise_signal(number)
            return method(*arguments, **named)

        monkeypatch.setattr(owner, name, asked)
        return calls

    return send


@pytest.fixture
def adapt(finished_run, text):
    """`adapt(*options)`: the command of `finished_run`, in this test's folder. Returns: the exit status."""
    return lambda *options: cli.main(["adapt", *finished_run.arguments, *map(str, options)])


def listing(folder="out"):
    return sorted(path.name for path in Path(folder).glob("*") if path.suffix != ".py")


def weights_of(folder="out"):
    return load_file(Path(folder, "model.safetensors"))


def assert_same_run(folder, other, asked_at=None):
    """Equal weights, and logs but for clocks: where a step was saved between two logs, it has a log of its own."""
    weights, others = weights_of(folder), weights_of(other)
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name
    log, expected = log_of(folder), log_of(other)
    if asked_at is not None:
        first, second = [row for row in log if "loss" in row and row["step"] >= asked_at]
        whole = next(row for row in expected if "loss" in row and row["step"] == second["step"])
        before = max((row["step"] for row in expected if "loss" in row and row["step"] < asked_at), default=0)
        shares = (asked_at - before, second["step"] - asked_at)
        for name in ("loss", "mlm_loss", "disc_loss"):
            mean = (shares[0] * first[name] + shares[1] * second[name]) / sum(shares)
            assert mean == pytest.approx(whole[name], rel=1e-5), name
        log = [whole if row is second else row for row in log if row is not first]
    assert log == expected


def log_of(folder):
    history = json.loads(Path(folder, "trainer_state.json").read_text())["log_history"]
    clocks = ("runtime", "per_second", "flos", "train_loss", "_time")
    return [{name: value for name, value in row.items() if not name.endswith(clocks)} for row in history]


# ---- Within a step --------------------------------------------------------------------------------------------------


def test_sigterm_saves_within_the_step_ends_with_0_and_says_how_to_go_on(adapt, sent, capfd, finished_run):
    sent(Trainer, "training_step", TERM, call=3)
    assert adapt() == 0
    shown = capfd.readouterr().err
    assert "\nSIGTERM: this step is finished and saved, then training stops.\n" in shown
    assert "stopped by SIGTERM at step 3.\nout/checkpoint-3 is whole.\nGo on with --resume.\n  electra-rtd" in shown
    assert listing() == ["checkpoint-2", "checkpoint-3"] and "Traceback" not in shown
    command = shlex.split(shown.strip().splitlines()[-1])
    assert cli.main(command[1:]) == 0
    assert_same_run("out", finished_run.out, asked_at=3)


@pytest.mark.parametrize(("number", "status"), [(USR1, 0), (HUP, 0), (INT, 130)])
def test_other_signals_save_too_and_a_person_gets_the_status_of_ctrl_c(number, status, adapt, sent, capfd):
    sent(Trainer, "training_step", number, TERM, call=1)  # SLURM and torchrun may both send one: it is one request
    assert adapt("--save_strategy", "no") == status
    shown = capfd.readouterr().err
    assert "at step 1.\nout/checkpoint-1 is whole.\nGo on with --resume." in shown
    assert ("Ctrl-C again: end at once" in shown) == (number == INT)
    assert listing() == ["checkpoint-1"] and Path("out/checkpoint-1/optimizer.pt").is_file()


def test_without_states_of_the_optimiser_nobody_could_go_on_so_they_are_saved(adapt, sent, finished_run):
    sent(Trainer, "training_step", TERM, call=3)
    assert adapt("--save_only_model", "true") == 0
    assert not Path("out/checkpoint-2/optimizer.pt").exists() and Path("out/checkpoint-3/optimizer.pt").is_file()
    assert adapt("--resume") == 0
    assert_same_run("out", finished_run.out, asked_at=3)


@pytest.mark.parametrize("number", [INT, TERM])
def test_a_signal_while_the_first_checkpoint_is_saved_lets_it_become_whole(number, adapt, sent, finished_run):
    sent(Trainer, "_save_rng_state", number)
    assert adapt() == (130 if number == INT else 0)
    assert listing() == ["checkpoint-2"]
    assert adapt("--resume") == 0
    assert_same_run("out", finished_run.out)


def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing_half_written(adapt, sent, capfd):
    sent(Trainer, "_save_rng_state", INT, INT)
    assert adapt() == 130
    shown = capfd.readouterr().err
    assert "interrupted at step 2.\nNo checkpoint was saved yet" in shown and "Traceback" not in shown
    assert not Path("out").exists()


def test_after_the_second_ctrl_c_a_third_does_not_disturb_the_clearing_up(adapt, sent):
    sent(Trainer, "_save_rng_state", INT, INT)
    sent(recipes.RunFolder, "_remove_if_nothing_is_whole", INT, INT, TERM)
    assert adapt() == 130 and not Path("out").exists()


def test_a_run_of_a_release_without_these_callbacks_goes_on(adapt, finished_run):
    shutil.copytree(finished_run.out / "checkpoint-2", "out/checkpoint-2")
    file = Path("out/checkpoint-2/trainer_state.json")
    state = json.loads(file.read_text())
    for name in ("RTDManifestCallback", "RTDSignalCallback"):
        del state["stateful_callbacks"][name]
    file.write_text(json.dumps(state))
    Path("out/checkpoint-2/checkpoint_manifest.json").unlink()
    assert adapt("--resume") == 0
    assert_same_run("out", finished_run.out)


# ---- Evaluations and ends of epochs ---------------------------------------------------------------------------------

EVALUATING = ("--eval_strategy", "steps", "--eval_steps", 1, "--per_device_eval_batch_size", 1)


def test_an_evaluation_is_broken_off_and_made_up_for(adapt, sent, finished_run, monkeypatch):
    assert adapt("--output_dir", "whole", *EVALUATING) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "prediction_step", Trainer.prediction_step)
        batches = sent(Trainer, "prediction_step", TERM, call=3 + 1 + 3 + 2)  # 3 rows, before training and at step 1
        assert adapt(*EVALUATING) == 0
        assert len(batches) == 9  # and not one more
    assert listing() == ["checkpoint-2"]
    assert not any("eval_loss" in row and row["step"] == 2 for row in log_of("out/checkpoint-2"))
    assert adapt("--resume", *EVALUATING) == 0
    assert_same_run("out", "whole")


@pytest.mark.slow
def test_a_step_with_an_evaluation_is_saved_before_it(adapt, sent):
    assert adapt("--output_dir", "whole", *EVALUATING) == 0
    sent(Trainer, "training_step", TERM, call=3)
    assert adapt(*EVALUATING) == 0
    assert [row["step"] for row in log_of("out/checkpoint-3") if "eval_loss" in row] == [1, 2]
    assert adapt("--resume", *EVALUATING) == 0
    assert_same_run("out", "whole")


# 4 is the end of the first epoch, 6 is within the second.
@pytest.mark.parametrize("step", [4, pytest.param(6, marks=pytest.mark.slow)])
def test_what_is_due_at_the_end_of_an_epoch_is_done_once(step, adapt, sent):
    epochs = ("--max_steps", 8, "--per_device_train_batch_size", 16, "--logging_strategy", "epoch")
    epochs += ("--eval_strategy", "epoch", "--save_strategy", "epoch")
    assert adapt("--output_dir", "whole", *epochs) == 0
    sent(Trainer, "training_step", TERM, call=step)
    assert adapt(*epochs) == 0
    assert listing() == sorted({"checkpoint-4", f"checkpoint-{step}"})
    assert adapt("--resume", *epochs) == 0
    assert_same_run("out", "whole", asked_at=None if step == 4 else step)


@pytest.mark.slow
def test_the_best_checkpoint_is_found_by_an_evaluation_that_was_made_up_for(adapt, sent):
    best = ("--eval_strategy", "steps", "--eval_steps", 2, "--load_best_model_at_end", "true")
    best += ("--metric_for_best_model", "mlm_loss", "--greater_is_better", "true")  # that of the first evaluation
    assert adapt("--output_dir", "whole", *best) == 0
    sent(Trainer, "training_step", TERM, call=2)
    assert adapt(*best) == 0 and listing() == ["checkpoint-2"]
    assert adapt("--resume", *best) == 0
    assert json.loads(Path("out/trainer_state.json").read_text())["best_model_checkpoint"] == "out/checkpoint-2"
    assert_same_run("out", "whole")


# ---- Before and after training --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(TERM, 143), (USR1, 138), (HUP, 129), (INT, 130)])
def test_before_training_a_signal_ends_at_once(number, status, adapt, sent, capsys):
    sent(recipes, "read_run_texts", number)
    assert adapt() == status
    words = "interrupted" if number == INT else f"stopped by {signal.Signals(number).name}"
    assert f"electra-rtd adapt: {words} before the first step.\nNothing was trained." in capsys.readouterr().err
    assert not Path("out").exists()


# In the export; and in the moment between the last step and the end of training (the first call is the evaluation's).
@pytest.mark.parametrize(
    ("number", "status", "place"),
    [(TERM, 0, (recipes, "export_discriminator", 1)), (INT, 130, (transformers.trainer, "speed_metrics", 2))],
)
def test_a_signal_after_the_last_step_saves_what_no_checkpoint_has(
    number, status, place, adapt, sent, capsys, finished_run
):
    sent(*place[:2], number, call=place[2])
    assert adapt("--save_strategy", "no") == status
    assert listing() == ["checkpoint-4"]
    assert "at step 4.\nout/checkpoint-4 is whole.\nGo on with --resume." in capsys.readouterr().err
    assert adapt("--resume") == 0
    assert_same_run("out", finished_run.out)


def test_a_signal_in_the_last_evaluation_ends_at_once_where_all_is_saved(adapt, sent):
    saves = sent(Trainer, "_save_checkpoint")
    sent(Trainer, "prediction_step", TERM, call=1)
    assert adapt() == 143 and listing() == [] and saves == []  # before training: nothing to save
    sent(recipes, "tidy_log", TERM)
    assert adapt() == 0 and listing() == ["checkpoint-2", "checkpoint-4"] and len(saves) == 2


def test_other_commands_end_by_sigterm_as_by_ctrl_c(monkeypatch, capsys):
    monkeypatch.setitem(cli.RUN, "verify", lambda argv: signal.raise_signal(TERM))
    assert cli.main(["verify", "x"]) == 143
    assert capsys.readouterr().err == "electra-rtd verify: stopped by SIGTERM\n"
    monkeypatch.setitem(cli.RUN, "verify", lambda argv: signal.raise_signal(INT))
    assert cli.main(["verify", "x"]) == 130
    assert capsys.readouterr().err == "electra-rtd verify: interrupted\n"


# ---- The callback alone ---------------------------------------------------------------------------------------------


class Asking(TrainerCallback):
    """Sends a signal in an event."""

    def __init__(self, event, number, step=None):
        self.number, self.step = number, step
        setattr(self, event, self.ask)

    def ask(self, args, state, control, **kwargs):
        if self.step in (None, state.global_step):
            signal.raise_signal(self.number)


def test_the_callback_alone_saves_under_the_stock_trainer_and_leaves_training(make_trainer, tmp_path):
    options = {"max_steps": 4, "save_strategy": "no", "per_device_train_batch_size": 4}
    callback = RTDSignalCallback()
    trainer = make_trainer(callbacks=[Asking("on_step_begin", TERM, step=1), callback], **options)
    with pytest.raises(Stopped) as stopped:
        trainer.train()
    assert (stopped.value.code, stopped.value.saved, callback.stopped) == (0, True, TERM)
    resumed = make_trainer(callbacks=[RTDSignalCallback()], **options)
    resumed.train(resume_from_checkpoint=os.path.join(trainer.args.output_dir, "checkpoint-2"))
    whole = make_trainer(callbacks=[RTDSignalCallback()], **options)
    whole.train()
    for (name, value), other in zip(whole.model.named_parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(value, other), name


def test_a_signal_between_the_last_step_and_the_end_of_training_is_not_lost(make_trainer):
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 9}
    trainer = make_trainer(callbacks=[Asking("on_log", USR1), RTDSignalCallback()], **options)
    with pytest.raises(Stopped) as stopped:
        trainer.train()
    assert stopped.value.code == 0 and trainer.state.global_step == 2


def test_evaluations_do_not_change_what_is_trained(make_trainer):
    options = {"max_steps": 3, "save_strategy": "no", "per_device_train_batch_size": 4, "dataloader_num_workers": 0}
    trained = []
    for strategy in ("no", "steps"):
        trainer = make_trainer(callbacks=[RTDSignalCallback()], eval_strategy=strategy, eval_steps=1, **options)
        trainer.train()
        trained.append(trainer.model.state_dict())
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())


def test_in_another_thread_signals_are_left_alone(make_trainer):
    seen = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            seen.append(signal.getsignal(TERM))

    trainer = make_trainer(callbacks=[RTDSignalCallback(), Look()], max_steps=1, save_strategy="no")
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL] and trainer.state.global_step == 1


def test_after_training_that_failed_a_signal_is_what_it_was_before(make_trainer):
    class Fail(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise ValueError("odd")

    trainer = make_trainer(callbacks=[RTDSignalCallback(), Fail()], max_steps=1, save_strategy="no")
    with pytest.raises(ValueError, match="odd"):
        trainer.train()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(INT)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(HUP, signal.SIG_IGN)  # `nohup`
    try:
        request = StopRequest(lambda frame: True)
        request.watch()
        signal.raise_signal(HUP)
        request.unwatch()
        assert request.number is None and signal.getsignal(HUP) is signal.SIG_IGN
    finally:
        signal.signal(HUP, before)


def test_a_stop_that_nobody_catches_ends_a_script_with_its_status_and_no_traceback():
    for number, saved, code in ((TERM, True, 0), (TERM, False, 143), (INT, True, 130)):
        stopped = Stopped("words", number, saved)
        assert isinstance(stopped, KeyboardInterrupt) and isinstance(stopped, SystemExit)
        assert (stopped.code, str(stopped)) == (code, "words")


def test_a_machine_interrupts_once(capsys):
    with pytest.raises(Stopped), machines_interrupt():
        try:
            signal.raise_signal(TERM)
        finally:
            signal.raise_signal(USR1)  # while it clears up
            print("cleared up")
    assert capsys.readouterr().out == "cleared up\n"
    with undisturbed():
        signal.raise_signal(INT)


# ---- Processes ------------------------------------------------------------------------------------------------------


def in_child(function, *arguments):
    """The exit status of a forked process that calls a function."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_a_forked_process_can_be_terminated():
    handlers = Handlers([TERM], lambda number, frame: pytest.fail("it is the parent that was asked"))
    handlers.install()
    try:
        assert in_child(signal.raise_signal, TERM) == -TERM
    finally:
        handlers.restore()


def ask_the_others(others, parent):
    """As `scancel` asks all processes of a job: this one is neither a worker nor its parent."""
    for other in others:
        os.kill(other, TERM)
    os.kill(parent, TERM)


def test_a_job_that_is_cancelled_as_a_whole_has_its_loaders_workers_until_it_is_saved(make_trainer):
    class Cancel(TrainerCallback):
        def on_optimizer_step(self, args, state, control, **kwargs):
            workers = [child.pid for child in multiprocessing.active_children()]
            assert len(workers) == 2
            assert in_child(ask_the_others, workers, os.getpid()) == 0
            time.sleep(0.2)  # torch ends a training in the middle of it when a worker dies

    options = {"max_steps": 4, "save_strategy": "no", "dataloader_num_workers": 2, "per_device_train_batch_size": 2}
    trainer = make_trainer(callbacks=[Cancel(), RTDSignalCallback()], **options)
    with pytest.raises(Stopped):
        trainer.train()
    assert trainer.state.global_step == 1
    assert Path(trainer.args.output_dir, "checkpoint-1", "optimizer.pt").is_file()
    assert multiprocessing.active_children() == []


def test_a_process_forked_in_training_ends_when_its_parent_terminates_it():
    def work():
        begun.set()
        time.sleep(60)

    fork, request = multiprocessing.get_context("fork"), StopRequest(lambda frame: True)
    begun = fork.Event()
    request.expect()
    try:
        process = fork.Process(target=work)
        process.start()
        assert begun.wait(30)
        process.terminate()
        process.join(30)
        assert process.exitcode == 143
    finally:
        request.unwatch()


def one_of_two(rank, folder, make_trainer):
    torch.set_num_threads(1)  # threads of OpenMP that the parent has begun do not live in a fork
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", 2), ("MASTER_ADDR", "127.0.0.1")):
        os.environ[name] = str(value)
    os.environ["MASTER_PORT"] = Path(folder, "port").read_text()
    asking = [Asking("on_step_begin", TERM, step=2)] if rank == 1 else []
    options = {"max_steps": 6, "save_strategy": "no", "ddp_backend": "gloo", "per_device_train_batch_size": 2}
    trainer = make_trainer(callbacks=[*asking, RTDSignalCallback()], **options)
    with contextlib.suppress(Stopped):
        trainer.train()
    Path(folder, f"stopped-{rank}").write_text(f"{trainer.args.world_size} {trainer.state.global_step}")


@pytest.mark.slow
def test_of_two_processes_both_stop_at_the_same_step_whichever_was_asked(make_trainer, tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(free.getsockname()[1]))
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=one_of_two, args=(rank, tmp_path, make_trainer)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in range(2)] == ["2 3", "2 3"]


@pytest.mark.slow
def test_signals_to_a_whole_command_line(finished_run, text, tmp_path):
    launch = "import sys; from electra_rtd_launcher import main; sys.exit(main())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}

    def start(*options):
        command = [sys.executable, "-c", launch, "adapt", *finished_run.arguments, *options]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    while_importing = start()
    time.sleep(0.7)
    while_importing.send_signal(INT)
    assert "Traceback" not in while_importing.communicate()[1] and while_importing.returncode == 130
    assert not Path("out").exists()

    long = start("--max_steps", "100000", "--save_steps", "3")
    while not Path("out/checkpoint-6").exists() and long.poll() is None:
        time.sleep(0.1)
    long.send_signal(TERM)
    shown = long.communicate()[1]
    assert long.returncode == 0 and "Traceback" not in shown and "stopped by SIGTERM at step" in shown
    last = max(int(name.removeprefix("checkpoint-")) for name in listing())
    assert f"out/checkpoint-{last} is whole.\nGo on with --resume." in shown and "are lost" not in shown
    assert shown.strip().splitlines()[-1].endswith("--resume")
