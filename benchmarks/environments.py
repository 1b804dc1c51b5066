"""Packages of others, each in a folder of its own beside the checkout's `torch`: `.bench/<name>`.

They pin what they were written for, so they are installed without their dependencies, and only what is missing or
clashes comes along. `torch` is never installed: all contenders share one.
"""

import os
import shutil
import subprocess
import sys

from . import ROOT


ENVIRONMENTS = ROOT / ".bench"
TIMEOUT = 600  # seconds for an installation

SCIKIT_LEARN = ["scikit-learn", "scipy", "joblib", "cloudpickle", "loky", "narwhals", "threadpoolctl"]
REQUIREMENTS = {
    "electra-pytorch": ["electra-pytorch==0.1.2"],
    "txtai": ["txtai==9.14.0"],
    "simpletransformers": ["simpletransformers==0.70.8", *SCIKIT_LEARN],
    "rtd-gdes": ["rtd-gdes==0.1.4.1", *SCIKIT_LEARN],
    # It refuses `transformers` 5, and with that what the checkout has of four other packages.
    "zeldarose": [
        "zeldarose==0.14.0",
        "transformers==4.57.6",
        "tokenizers==0.22.2",
        "huggingface_hub==0.36.2",
        "datasets==4.8.5",
        *("lightning==2.6.0", "pytorch-lightning==2.6.0", "lightning-utilities==0.15.3", "torchmetrics==1.9.0"),
        *("pydantic==2.14.4", "pydantic-core==2.50.5", "annotated-types", "typing-inspection", "loguru"),
        *("requests", "urllib3", "certifi", "charset-normalizer", "idna"),
        *("httpx", "httpcore", "h11", "anyio", "sniffio"),
    ],
}


def prepare(name):
    """Install an environment, unless it is there.

    Args:
        name (`str`): in `REQUIREMENTS`.

    Returns:
        `Path`: the folder that goes before everything else on `PYTHONPATH`.

    Raises:
        RuntimeError: the installation failed; the reason.
    """
    folder, partial = ENVIRONMENTS / name, ENVIRONMENTS / f"{name}.partial"
    if not folder.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
        options = ["--quiet", "--no-deps", "--disable-pip-version-check", "--target", str(partial)]
        command = [sys.executable, "-m", "pip", "install", *options, *REQUIREMENTS[name]]
        try:
            installed = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"not installed: pip took more than {TIMEOUT} seconds") from error
        if installed.returncode != 0:
            errors = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError(f"not installed: {errors[-1] if errors else 'pip failed'}")
        partial.rename(folder)  # whole, or not there
    return folder


def python_path(name=None):
    """`PYTHONPATH` of a worker. Args: name (`str`, *optional*): its environment. Returns: `str`."""
    folders = [] if name is None else [str(prepare(name))]
    return os.pathsep.join([*folders, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
