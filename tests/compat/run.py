"""Does a checkpoint of any supported `transformers` release load in every other? `python tests/compat/run.py`

Each release gets an environment of its own under `.compat/`, laid over the running interpreter and sharing its torch,
and one process. Every release saves, loads what all of them saved, trains, and loads what all of them trained (see
`check.py`). Needs the package index once for each release, and no network after that.
"""

import argparse
import fcntl
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENTS = REPOSITORY / ".compat"
NEWEST = importlib.metadata.version("transformers")  # the installed one; it needs no environment of its own
LOWEST = "lowest"  # not a release, but the lowest of each package that pyproject.toml allows
RELEASES = ["4.57.6", "5.0.0", "5.3.0", "5.8.1", "5.13.1", NEWEST]
# Each stage reads what all releases saved in the ones before it.
STAGES = [["save"], ["remote", "package"], ["trained"]]
TIMEOUT = 600  # seconds for one round, which needs about twenty
CORES = os.cpu_count() or 1


def main():
    """Prepare the environments, run the rounds, print the table; exit with 1 on any failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", nargs="+", default=RELEASES, metavar="VERSION")
    parser.add_argument("--prepare", action="store_true", help="install the environments, and run nothing in them")
    arguments = parser.parse_args()
    releases = list(dict.fromkeys(arguments.releases))
    start = time.monotonic()
    with ThreadPoolExecutor(CORES) as pool:
        paths = dict(zip(releases, pool.map(prepare_environment, releases), strict=True))
    if arguments.prepare:
        return
    ready = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="electra-rtd-compat-") as folder:
        folder = Path(folder).resolve()
        copy_package(folder / "package")
        results = run_rounds(folder, paths)
    print_table(releases, results)
    print(f"\nEnvironments: {ready - start:.0f} s. Checks: {time.monotonic() - ready:.0f} s.")
    failures = [result for result in results if result["error"]]
    print_messages(failures, results)
    sys.exit(1 if failures else 0)


def copy_package(folder):
    """Copy the modules that `check.py` imports, so that an edit meanwhile gives no half-old, half-new results."""
    folder.mkdir()
    for file in REPOSITORY.glob("*.py"):
        shutil.copy(file, folder)


# ---- Environments -------------------------------------------------------------------------------------------------


def requirements(release):
    """What an environment holds. Not torch, nor accelerate, which would pull it in: they are the interpreter's own."""
    if release == LOWEST:
        return [
            f"{name}=={version}" for name, version in lower_bounds().items() if name not in ("torch", "accelerate")
        ]
    # Releases before 5 need an older huggingface_hub, and that an older `datasets` (which the Trainer imports).
    return [f"transformers=={release}"] + (["datasets"] if release.startswith("4.") else [])


def installed_alone(release):
    """What an environment holds that must be installed without its dependencies, because torch is one of them."""
    return [f"accelerate=={lower_bounds()['accelerate']}"] if release == LOWEST else []


def lower_bounds():
    """The lowest version of each run-time dependency: `dict` of name to version, from pyproject.toml."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = project.split("\ndependencies = [\n")[1].split("\n]\n")[0]
    return dict(re.findall(r'^ *"([\w-]+)>=([\d.]+)"', dependencies, flags=re.MULTILINE))


def prepare_environment(release):
    """Install a release once; whoever wants the same one meanwhile (`make -j`) waits.

    Args:
        release (`str`): a version of `transformers`, or `LOWEST`.

    Returns:
        `Path` or `None`: what goes on `PYTHONPATH`; nothing for the release that is installed anyway.
    """
    if release == NEWEST:
        return None
    folder = ENVIRONMENTS / release
    # By this name `dill`, and so `datasets`, tells what is installed from what it has to pickle by value.
    target, marker = folder / "site-packages", folder / "complete"
    # Compiled wheels fit one Python only.
    alone = installed_alone(release)
    content = " ".join([*requirements(release), *alone, f"python=={sys.version_info.major}.{sys.version_info.minor}"])
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.is_file() or marker.read_text() != content:
            print(f"Installing {', '.join([*requirements(release), *alone])} into {target} ...", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            # That it does not fit what is installed here is what it is for. Compiling all of it would take twice as
            # long as the rest: what is imported is compiled then.
            install = [sys.executable, "-m", "pip", "install", "-qq", "--no-warn-conflicts", "--no-compile"]
            subprocess.run([*install, "--target", str(target), *requirements(release)], check=True)
            if alone:
                subprocess.run([*install, "--target", str(target), "--no-deps", *alone], check=True)
            marker.write_text(content)  # last: an interrupted installation lacks it
    return target


# ---- Processes ----------------------------------------------------------------------------------------------------


def run_rounds(folder, paths):
    """Run every round in every release, as many at once as there are cores.

    Args:
        folder (`Path`): where checkpoints go, an empty folder outside the repository.
        paths (`dict`): release to its environment.

    Returns:
        `list` of `dict` with `release`, `check`, `case`, `error` (`None` = passed) and `known` (why it may fail)
    """
    results = []
    processes = [Process(folder, release, paths) for release in paths]
    with ThreadPoolExecutor(CORES) as pool:
        for stage in STAGES:
            print(f"Running: {' and '.join(stage)}", flush=True)
            for rows in pool.map(lambda process, stage=stage: process.run(stage), processes):
                results += rows
    for process in processes:
        process.close()
    return results


class Process:
    """`check.py` in one release. It starts torch and `transformers` once, and forks for each round."""

    def __init__(self, folder, release, paths):
        self.folder, self.release = folder, release
        self.errors = folder / f"{release}.stderr"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("check.py")), release, *paths],
                cwd=folder,
                env=environment_variables(folder, release, paths[release]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a group of its own, so that its forks can be killed with it
            )

    def run(self, names):
        """Run rounds one after the other and read their results, rows as of `run_rounds`."""
        return [{"release": self.release, **row} for name in names for row in self.run_round(name)]

    def run_round(self, name):
        """Run one round; a row of its own says that there are no results."""
        watch = threading.Timer(TIMEOUT, os.killpg, [self.process.pid, signal.SIGKILL])
        watch.start()
        try:
            print(name, file=self.process.stdin, flush=True)
            status = self.process.stdout.readline().strip()  # empty: the process is dead
        except BrokenPipeError:  # so it was before
            status = ""
        finally:
            watch.cancel()
        report = self.folder / f"{name}-{self.release}.json"
        if report.is_file():
            return json.loads(report.read_text())
        error = f"exit status {status or self.process.wait()}:\n{self.errors.read_text()[-3000:]}"
        return [{"check": name, "case": "the process", "error": error, "known": None}]

    def close(self):
        """Let it end."""
        self.process.communicate()


def environment_variables(folder, name, path):
    """Variables of a process that sees one release, no network, no GPU and no cache of anybody else."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    variables |= {
        "PYTHONPATH": str(path or ""),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "cache" / name),
        "HF_MODULES_CACHE": str(folder / "modules" / name),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return variables


# ---- Table --------------------------------------------------------------------------------------------------------


def print_table(releases, results):
    """Print release by check: how many cases passed, or how many of them failed."""
    checks = list(dict.fromkeys(result["check"] for result in results))
    rows = [["", *checks]]
    rows += [[release, *(cell(results, release, check) for check in checks)] for release in releases]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def cell(results, release, check):
    """`"ok 10"`, `"FAIL 2/10"`, or `"-"` where nothing ran; a `*` says that something known does not work."""
    rows = [result for result in results if (result["release"], result["check"]) == (release, check)]
    failed = sum(row["error"] is not None for row in rows)
    star = "*" if any(row["known"] for row in rows) else ""
    if not rows:
        return "-"
    return f"FAIL {failed}/{len(rows)}{star}" if failed else f"ok {len(rows)}{star}"


def print_messages(failures, results):
    """Print what is known not to work, and each failure with its message."""
    for result in results:
        if result["known"] and not result["error"]:
            print(f"\n* Known in {result['release']}: {result['check']}, {result['case']}\n{result['known']}")
    for failure in failures:
        print(f"\nFAILED in {failure['release']}: {failure['check']}, {failure['case']}\n{failure['error']}")


if __name__ == "__main__":
    main()
