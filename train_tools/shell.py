"""Lines for a shell that work as they are printed, whether or not the environment is activated."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_name():
    """How `electra-rtd` is called from the current folder.

    Returns:
        `str`: its name where the shell finds this very one, else its path, else the way through Python.
    """
    # The one that runs, or the one beside the interpreter (`torchrun -m electra_rtd.cli`, a notebook).
    for script in (Path(sys.argv[0]), Path(sys.executable).with_name("electra-rtd")):
        if script.name == "electra-rtd" and script.is_file():
            found = shutil.which("electra-rtd")
            return "electra-rtd" if found and os.path.samefile(found, script) else _path(script)
    return f"{python_name()} -m electra_rtd.cli"


def python_name():
    """How the running Python is called from the current folder: `str`, as for [`command_name`]."""
    found = shutil.which("python")
    # By folder: the interpreters of two environments are links to one file.
    is_ours = found and Path(found).parent.samefile(Path(sys.executable).parent)
    return "python" if is_ours else _path(Path(sys.executable))


def line(*words):
    """A command line with `words` quoted where a shell needs it: `str`."""
    return shlex.join(map(str, words))


def _path(program):
    """A path that a shell takes for a program: with a slash in it, short where it is below the current folder."""
    path = Path(os.path.abspath(program))  # not `resolve`: `.venv/bin/python` is a link
    below = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.quote(str(below) if len(below.parts) > 1 else f"./{below}")
