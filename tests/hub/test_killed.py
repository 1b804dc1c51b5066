"""A push or a pull that is killed at any point: nothing is lost, nothing is half there, and doing it again is enough.

`ELECTRA_RTD_KILL_POINTS` sets how many points are drawn for each test: a few where the whole suite runs, 105 in all
for `make killed`, which CI runs.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from electra_rtd.hub_tools.pull import read_lock


KILL_POINTS = int(os.environ.get("ELECTRA_RTD_KILL_POINTS", "4"))
KILLED = -9
pytestmark = pytest.mark.slow
REPO = "alice/pair"


@pytest.fixture
def worker(hub, tmp_path):
    """Orders to `kill_worker.py`, whose client talks to the Hub of the test."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {
        **os.environ,
        **hub.environment(hub.alice),
        "HF_HOME": str(tmp_path / "home"),
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("kill_worker.py"))],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def order(action, kill_at=None, **arguments):
        process.stdin.write(json.dumps({"action": action, "arguments": arguments, "kill_at": kill_at}) + "\n")
        process.stdin.flush()
        result = json.loads(process.stdout.readline())
        hub.settle()
        return result

    yield order
    process.stdin.close()
    process.wait(timeout=300)


@pytest.fixture
def two_states(saved_pair, make_model, tokenizer, tmp_path):
    """Two pairs that differ in every weight."""
    other = tmp_path / "other"
    make_model(seed=7).save_pretrained(other)
    tokenizer.save_pretrained(other)
    return [str(saved_pair), str(other)]


def local_state(folder):
    """Name to hash of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def draw(points, seed):
    """Kill points, one from each of as many equal parts of a run: no part is left out."""
    chance = random.Random(seed)
    return [int((part + chance.random()) * points / KILL_POINTS) + 1 for part in range(KILL_POINTS)]


def test_a_push_killed_anywhere_shows_the_old_state_or_the_new(hub, worker, two_states):
    assert worker("push", folder_or_model=two_states[0], repo_id=REPO)["status"] == 0
    states = [hub.files(REPO)]
    measured = worker("push", folder_or_model=two_states[1], repo_id=REPO)
    assert measured["status"] == 0 and measured["points"] > 100
    states.append(hub.files(REPO))
    assert states[0]["model.safetensors"] != states[1]["model.safetensors"]
    landed_before_death, now = 0, 1
    for kill_at in draw(measured["points"], seed=1):
        now = 1 - now
        commits = len(hub.commits(REPO))
        assert worker("push", kill_at, folder_or_model=two_states[now], repo_id=REPO)["status"] in (KILLED, 0)
        landed = len(hub.commits(REPO)) - commits
        assert landed in (0, 1)
        assert hub.files(REPO) == states[now if landed else 1 - now], f"a mixture after kill point {kill_at}"
        landed_before_death += landed
        assert worker("push", folder_or_model=two_states[now], repo_id=REPO)["status"] == 0
        assert hub.files(REPO) == states[now]
        assert len(hub.commits(REPO)) == commits + 1, f"not one commit in the end after kill point {kill_at}"
    assert landed_before_death < KILL_POINTS  # most of a run comes before its commit


def test_a_first_push_killed_anywhere_can_be_run_again(hub, worker, two_states):
    measured = worker("push", folder_or_model=two_states[0], repo_id="alice/measured")
    assert measured["status"] == 0
    whole = hub.files("alice/measured")
    readme = whole.pop("README.md")
    for number, kill_at in enumerate(draw(measured["points"], seed=2)[::3]):
        repo_id = f"alice/first-{number}"
        assert worker("push", kill_at, folder_or_model=two_states[0], repo_id=repo_id)["status"] in (KILLED, 0)
        assert worker("push", folder_or_model=two_states[0], repo_id=repo_id)["status"] == 0
        files = hub.files(repo_id)
        assert files.pop("README.md") == readme.replace(b"alice/measured", repo_id.encode()).replace(
            b"# measured", f"# first-{number}".encode()
        )
        assert files == whole
        assert len(hub.commits(repo_id)) == 2  # the Hub's own first one, and ours


def test_a_pull_killed_anywhere_leaves_the_old_folder_or_the_new(hub, worker, two_states, tmp_path):
    target = tmp_path / "here" / "pulled"
    commits = []
    for state in two_states:
        assert worker("push", folder_or_model=state, repo_id=REPO)["status"] == 0
        commits.append(hub.head(REPO))
    states, cache = [], tmp_path / "home" / "hub"
    for commit in commits:
        shutil.rmtree(cache, ignore_errors=True)
        measured = worker("pull", repo_id=REPO, revision=commit, local_dir=str(target))
        assert measured["status"] == 0
        states.append(local_state(target))
    assert measured["points"] > 100 and states[0] != states[1]
    now = 1
    for kill_at in draw(measured["points"], seed=3):
        now = 1 - now
        shutil.rmtree(cache)  # so that it dies while downloading, too; doing it again goes on with what is there
        status = worker("pull", kill_at, repo_id=REPO, revision=commits[now], local_dir=str(target))["status"]
        assert status in (KILLED, 0)
        if target.exists():
            found = local_state(target)
            assert found in states, f"a mixture after kill point {kill_at}"
        else:  # killed between two renames: the old folder lies beside, and the next pull puts it back
            beside = [local_state(folder) for folder in target.parent.iterdir()]
            assert states[1 - now] in beside, f"the old folder is lost after kill point {kill_at}"
        assert worker("pull", repo_id=REPO, revision=commits[now], local_dir=str(target))["status"] == 0
        assert local_state(target) == states[now]
        assert read_lock(target)["commit"] == commits[now]
        assert [path.name for path in target.parent.iterdir()] == ["pulled"]  # nothing of the dead is left
