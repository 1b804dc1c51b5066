# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""Fetches the tests of the installed `transformers` from its source distribution on PyPI: wheels do not carry them.

They stay in a cache that git ignores, so that nothing of theirs becomes part of this repository.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers


CACHE = Path(__file__).resolve().parents[2] / ".compat" / "sdist"


def fetch_tests(version=transformers.__version__, cache=CACHE):
    """Return the folder with the tests of one release; the first call downloads it (10 MB).

    Args:
        version (`str`): the release of `transformers`.
        cache (`Path`): where releases are kept.

    Returns:
        `Path`

    Raises:
        RuntimeError: pip cannot download the source distribution, or it has no tests.
    """
    release = cache / f"transformers-{version}"
    if not release.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="unfinished-") as beside:
            extracted = extract_tests(download_sdist(version, Path(beside)), Path(beside) / "extracted")
            move_unless_there(extracted / release.name, release)
    return release / "tests"


def download_sdist(version, folder):
    """Download one release's source distribution with pip, so that mirrors and proxies are the user's own.

    Args:
        version (`str`), folder (`Path`): where it goes.

    Returns:
        `Path`: the archive.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "download", "--no-deps", "--no-binary", "transformers", "--dest", str(folder)]
    done = subprocess.run([*command, f"transformers=={version}"], capture_output=True, text=True)
    archive = folder / f"transformers-{version}.tar.gz"
    if done.returncode or not archive.is_file():
        raise RuntimeError(
            f"pip could not download the source distribution of transformers {version}, which holds the common model "
            f"tests: these tests need PyPI once, then {CACHE}. pip said: {(done.stderr or done.stdout).strip()}"
        )
    return archive


def extract_tests(archive, folder):
    """Extract nothing but the tests; the filter refuses links and paths that lead out of the folder.

    Args:
        archive (`Path`), folder (`Path`): from where to where.

    Returns:
        `Path`: `folder`.
    """
    top = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(f"{top}/tests/")]
        if not members:
            raise RuntimeError(f"{archive.name} has no folder {top}/tests.")
        tar.extractall(folder, members=members, filter="data")
    return folder


def move_unless_there(source, target):
    """Rename in one step, so that `target` is whole or absent; another process may have been faster.

    Args:
        source (`Path`), target (`Path`): folders on one file system.
    """
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
