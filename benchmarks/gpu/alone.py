"""Two runs under `full_determinism`, in a process of their own.

torch looks once, at the first matrix product of a process, whether cuBLAS is set up to be deterministic
(`CUBLAS_WORKSPACE_CONFIG`), which `full_determinism` does. Where products came before, it refuses.
"""

import json
import sys

import torch
from transformers import enable_full_determinism

from .ground import Ground


RUNS, STEPS = 2, 3


def losses_of_runs(ground):
    """Args: ground ([`Ground`]). Returns: `list[list[float]]`, the losses of each run's steps, with dropout."""
    runs = []
    for _ in range(RUNS):
        enable_full_determinism(0)  # as the Trainer does, and the seed
        model = ground.model(dropout=0.1, as_adapt=True).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        torch.manual_seed(0)
        losses = []
        for _ in range(STEPS):
            loss = model(**ground.batch()).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        runs.append(losses)
    return runs


if __name__ == "__main__":
    print(json.dumps(losses_of_runs(Ground(torch.device(sys.argv[1])))))
