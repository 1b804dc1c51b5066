"""Is what the model computes right on this device? Each check is a function that shows its figures or raises.

A new one is a function in a file here, from a [`Ground`] to a `dict` of figures, and a row in `CHECKS`.
"""

from . import numbers, objective, training


# In order, the quickest and most telling first. Name -> function from [`Ground`] to figures; it raises AssertionError,
# with its figures, or [`Skipped`], with the reason.
CHECKS = {
    "objective on the device against the CPU": objective.same_as_on_the_cpu,
    "flat against padded": objective.flat_as_padded,
    "ways of attention against rectangles": objective.ways_as_rows,
    "flash attention packages": objective.flash_packages,
    "bounded vocabulary head": objective.head_in_parts,
    "masked lengths of 64 and 192": numbers.finite_where_half_is_padding,
    "bfloat16 and float16": numbers.sixteen_bits,
    "synchronisations a step": training.few_synchronisations,
    "losses fall": training.losses_fall,
    "gradient checkpointing": numbers.checkpointed,
    "full determinism": numbers.deterministic,
    "the Trainer, and a resumed one": training.trainer_resumes,
    "torch.compile": numbers.compiled,
    "compiled layers": numbers.compiled_layers,
}
