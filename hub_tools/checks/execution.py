"""The checkpoint's own code in a fresh process: does it load every weight, and does one batch come out finite?"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..findings import ERROR, INFO, Finding


SECONDS = 600  # for one process, which needs about ten
SECRET = re.compile("TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL")  # in the name of a variable
SCRIPT = """
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModel

model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules."), "the checkpoint's own code did not run"
loaded = model.state_dict()
for path in Path(sys.argv[1]).glob("*.safetensors"):
    with safe_open(path, framework="pt") as file:
        for name in file.keys():
            stored = file.get_tensor(name).to(loaded[name].dtype)
            assert torch.equal(loaded[name], stored), f"{name} is not loaded as it is stored"
draw = torch.Generator().manual_seed(0)
input_ids = torch.randint(model.config.vocab_size, (2, 16), generator=draw)
with torch.no_grad():
    output = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
assert output.loss.isfinite() and output.logits.isfinite().all(), f"the loss is {output.loss}"
print("one batch is finite")
"""


def check_execution(checkpoint):
    """Load through `AutoModel` and run one batch of random tokens. This runs the checkpoint's code.

    Args:
        checkpoint ([`CheckpointFiles`])

    Yields:
        [`Finding`]
    """
    with tempfile.TemporaryDirectory(prefix="electra-rtd-verify-") as scratch:
        environment = {name: value for name, value in os.environ.items() if not SECRET.search(name.upper())}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": scratch, "HF_MODULES_CACHE": f"{scratch}/modules"}
        try:
            process = subprocess.run(
                [sys.executable, "-c", SCRIPT, str(_without_links(checkpoint, Path(scratch)))],
                cwd=scratch,  # not in a folder that holds modules of the names imported
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            yield Finding(ERROR, "execution", "", f"did not load and run one batch within {SECONDS} seconds.")
            return
    if process.returncode or "one batch is finite" not in process.stdout:  # its code may end the process with status 0
        last_line = (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        yield Finding(ERROR, "execution", "", f"does not load, or does not run: {last_line}")
    else:
        yield Finding(INFO, "execution", "", "loads in a fresh process with its own code, and one batch is finite.")


def _without_links(checkpoint, scratch):
    """The checkpoint's folder, or a copy where it holds links, as a cache does (transformers#46618)."""
    if not any(checkpoint.path(name).is_symlink() for name in checkpoint.names):
        return checkpoint.folder.resolve()
    for name in checkpoint.names:
        copy = scratch / "checkpoint" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkpoint.path(name), copy)
    return scratch / "checkpoint"
