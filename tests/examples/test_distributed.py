"""`examples/distributed`: each file is read by those who read it at work, and runs where a CPU can run it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from transformers import ElectraConfig

from benchmarks.forked import allow_fsdp_on_cpu, run_forked
from electra_rtd import ElectraRTDConfig, cli


FOLDER = Path(__file__).parent.parent.parent / "examples" / "distributed"
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="what is tried here is tried on CPUs")


# ---- accelerate's files ---------------------------------------------------------------------------------------------


def launch(file, argv, in_parts):
    """`accelerate launch` of a file, in this process; the processes that it starts are forks of this one."""
    import torch.distributed.run as torchrun
    from accelerate.commands.launch import launch_command, launch_command_parser

    machine, port = os.environ["RANK"], os.environ["MASTER_PORT"]
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)  # accelerate sets them
    configured = torchrun.config_from_args

    def forked(arguments):
        config, command, options = configured(arguments)
        assert command == "electra-rtd" and list(options) == argv
        config.start_method = "fork"
        return config, adapt_here, (argv, in_parts)

    torchrun.config_from_args = forked
    given = ["--config_file", str(FOLDER / file), "--num_processes", "2"]
    if file == "machines.yaml":
        given += ["--machine_rank", machine, "--main_process_ip", "127.0.0.1", "--main_process_port", port]
    launch_command(launch_command_parser().parse_args([*given, "--no_python", "electra-rtd", *argv]))


def adapt_here(argv, in_parts):
    """In each of the processes."""
    torch.set_num_threads(1)
    assert os.environ["WORLD_SIZE"] == "2"
    if in_parts:
        assert os.environ["ACCELERATE_USE_FSDP"] == "true"
        allow_fsdp_on_cpu()
    status = cli.main(argv)
    assert status == 0, status


@pytest.fixture(scope="module")
def options(saved_pair, tmp_path_factory):
    """Options of a short run, but for its folder."""
    text = tmp_path_factory.mktemp("text") / "text.txt"
    text.write_text(
        "\n".join(f"나는 책을 읽는다 {word} ." for word in ("나", "너", "우리", "학교", "병원", "환자") * 10)
    )
    return {
        "--checkpoint": str(saved_pair),
        "--train_file": str(text),
        "--max_steps": "4",
        "--save_steps": "2",
        "--save_strategy": "steps",
        "--per_device_train_batch_size": "4",
        "--report_to": "none",
        "--sample_steps": "0",
        "--disable_tqdm": "true",
        "--no_fast": None,
        "--use_cpu": None,
    }


def argv_of(options, folder, *more):
    given = {**options, "--output_dir": str(folder)}
    return ["adapt", *(word for name, value in given.items() for word in (name, value) if word is not None), *more]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["one_machine.yaml", "fsdp2.yaml"])
def test_accelerate_launches_a_run_and_goes_on_with_it(file, options, tmp_path):
    argv = argv_of(options, tmp_path / "run")
    if file == "fsdp2.yaml":
        argv.remove("--use_cpu")
    run_forked(launch, 1, file, argv, file == "fsdp2.yaml")
    result = json.loads((tmp_path / "run" / "adapt_results.json").read_text())
    assert result["steps"] == 4
    checkpoint = tmp_path / "run" / "checkpoint-4"
    assert (checkpoint / "rng_state_1.pth").is_file()
    in_parts = list(checkpoint.glob("pytorch_model_fsdp_0/*.distcp"))
    assert len(in_parts) == (2 if file == "fsdp2.yaml" else 0)


@pytest.mark.slow
def test_machines_find_each_other_and_train_one_pair(options, tmp_path):
    """Two launchers on loopback, as on two machines that see one disk, with a process each."""
    run_forked(launch, 2, "machines.yaml", argv_of(options, tmp_path / "run"), False)
    assert json.loads((tmp_path / "run" / "adapt_results.json").read_text())["steps"] == 4
    assert (tmp_path / "run" / "checkpoint-4" / "rng_state_1.pth").is_file()


# ---- DeepSpeed's files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_files_are_filled_by_the_trainers_parser(stage, make_arguments, monkeypatch):
    """DeepSpeed is not there: what is asked of it while its file is parsed is whether it is installed."""
    from accelerate.utils import deepspeed as of_accelerate
    from transformers.integrations import deepspeed

    monkeypatch.setattr(deepspeed, "dep_version_check", lambda name: None)

    class Parser(deepspeed.HfTrainerDeepSpeedConfig, of_accelerate.HfDeepSpeedConfig):
        """The base that it has where DeepSpeed is."""

    config = Parser(str(FOLDER / f"zero{stage}.json"))
    arguments = make_arguments(per_device_train_batch_size=8, gradient_accumulation_steps=2)
    config.trainer_config_process(arguments)
    model = type("Model", (), {"config": ElectraRTDConfig(ElectraConfig(), ElectraConfig())})()
    config.trainer_config_finalize(arguments, model, num_training_steps=10)
    assert (config.is_zero2(), config.is_zero3()) == (stage == 2, stage == 3)
    assert config.config["train_micro_batch_size_per_gpu"] == 8 and config.config["gradient_clipping"] == 1.0
    assert "auto" not in json.dumps(config.config)
    deepspeed.unset_hf_deepspeed_config()


# ---- SLURM ----------------------------------------------------------------------------------------------------------

# In place of `srun`: the processes of a step, which get its signals. In place of training: it notes what it was called
# with, and ends as `adapt` would where it is asked to.
SRUN = """#!/bin/bash
trap 'kill -USR1 $(jobs -p)' USR1
trap 'kill -TERM $(jobs -p)' TERM
for rank in 0 1; do SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NTASKS=2 "$@" & done
status=0
for job in $(jobs -p); do
    while kill -0 $job 2> /dev/null; do wait $job; done
    wait $job || status=$?
done
exit $status
"""
TRAINING = """#!/bin/bash
asked() { [ "$RANK" = 0 ] && mkdir -p "$OUTPUT_DIR/checkpoint-3"; exit "${ENDS_WITH:-0}"; }
trap asked USR1 TERM
echo "$RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*" >> "$LOG"
[ -n "${FAILS:-}" ] && exit 2
[ -n "${FINISHES:-}" ] && { touch "$OUTPUT_DIR/adapt_results.json"; exit 0; }
while :; do sleep 0.05; done
"""
SCONTROL = """#!/bin/bash
if [ "$1" = requeue ]; then echo "requeue $2" >> "$LOG"; else echo first; echo second; fi
"""


@pytest.fixture
def slurm(tmp_path):
    """Starts the script as SLURM does; `wait_for(lines)` until so many lines are in the log."""
    for name, text in {"srun": SRUN, "electra-rtd": TRAINING, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    log, run = tmp_path / "log", tmp_path / "run folder"
    log.touch()
    run.mkdir()
    of_job = {"SLURM_JOB_ID": "71003", "SLURM_JOB_NODELIST": "x", "SLURM_NTASKS_PER_NODE": "2"}
    environment = {**os.environ, **of_job, "LOG": str(log), "OUTPUT_DIR": str(run)}
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"

    def start(**more):
        options = ["--train_file", "my text.txt"]
        return subprocess.Popen([FOLDER / "slurm.sh", *options], env={**environment, **more})

    def wait_for(number):
        for _ in range(1000):
            if len(log.read_text().splitlines()) >= number:
                return
            time.sleep(0.01)
        raise AssertionError(log.read_text())

    start.lines = lambda: log.read_text().splitlines()
    start.wait_for, start.run = wait_for, run
    return start


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_slurm_puts_a_run_that_was_asked_to_end_back_and_it_goes_on(number, slurm):
    job = slurm()
    slurm.wait_for(2)
    job.send_signal(number)
    assert job.wait(timeout=20) == 0
    where = f"--output_dir {slurm.run}"
    called = [f"{rank} {rank} 2 2 first 29503 adapt {where} --train_file my text.txt" for rank in range(2)]
    assert sorted(slurm.lines()[:2]) == called and slurm.lines()[2:] == ["requeue 71003"]
    assert slurm(FINISHES="1").wait(timeout=20) == 0
    assert sorted(slurm.lines()[3:]) == [line.replace(where, f"{where} --resume") for line in called]


def test_slurm_puts_nothing_back_that_failed_or_is_finished(slurm):
    assert slurm(FAILS="1").wait(timeout=20) == 2
    job = slurm(ENDS_WITH="3")
    slurm.wait_for(4)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=20) == 3
    assert slurm(FINISHES="1").wait(timeout=20) == 0
    assert not any(line.startswith("requeue") for line in slurm.lines())


def test_slurm_needs_the_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "OUTPUT_DIR"}
    ended = subprocess.run([FOLDER / "slurm.sh"], env=environment, capture_output=True, text=True)
    assert ended.returncode != 0 and "OUTPUT_DIR" in ended.stderr
