"""Not a contender, but the measure: the product of two square matrices, in the same run."""

import torch

from ..flops import MatrixProduct


def build(setup):
    """Args: setup ([`Setup`]). Returns: [`MatrixProduct`]."""
    return MatrixProduct(setup.dtype, torch.device(setup.device))
