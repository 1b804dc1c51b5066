"""The card: releases, which kernel of attention torch takes for what, and the rate of a plain matrix product."""

import accelerate
import torch
from torch.nn.attention import SDPBackend

from ..flops import MatrixProduct, data_sheet_rate
from ..machine import describe_machine


ROWS, HEADS, LENGTH, SIZE = 4, 4, 128, 64  # of an attention that torch is asked about


def describe_card(device, threads, tokens, tiny):
    """What the results of a run hold for.

    Args: device (`torch.device`); threads (`int`); tokens ([`Tokens`]); tiny (`bool`). Returns: `dict`.
    """
    facts = {**describe_machine(device, threads), "accelerate": accelerate.__version__, "cuda": torch.version.cuda}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
        }
    return facts | {"text": tokens.text, "licence": tokens.licence, "tokens": tokens.digest, "tiny": tiny}


def matrix_product(device, size):
    """Args: device (`torch.device`); size (`int`): rows and columns. Returns: `dict` of figures."""
    product = MatrixProduct("bfloat16", device, size)
    product.step()  # what is set up once
    report = product.step()
    rate, sheet = report["flops"] / report["seconds"], data_sheet_rate("bfloat16") if device.type == "cuda" else None
    return {"size": size, "flops_per_second": rate, "of_the_data_sheet": rate / sheet if sheet else None}


def attention_kernels(device):
    """What `scaled_dot_product_attention` takes, by what it is asked for, and in which order it asks.

    Args: device (`torch.device`). Returns: `dict`.
    """
    from torch.nn.attention import _cur_sdpa_kernel_backends  # here: it is not public, and only this needs it

    order = [kernel.name for kernel in _cur_sdpa_kernel_backends(with_priority=True)]
    return {"in_order": order, "chosen": chosen_kernels(device)}


def chosen_kernels(device):
    """Args: device (`torch.device`). Returns: `dict[str, str]`, of number format, dropout and mask."""
    chosen = {}
    for dtype in (torch.bfloat16, torch.float32):
        states = torch.zeros(3, ROWS, HEADS, LENGTH, SIZE, dtype=dtype, device=device, requires_grad=True)
        mask = torch.zeros(ROWS, 1, 1, LENGTH, dtype=dtype, device=device)
        for dropout in (0.0, 0.1):
            for words, its_mask in (("", None), (", with a mask", mask)):
                number = torch._fused_sdp_choice(*states, its_mask, dropout)
                name = str(dtype).removeprefix("torch.")
                chosen[f"{name}, dropout {dropout}{words}"] = SDPBackend(number).name
    return chosen
