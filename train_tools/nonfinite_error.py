"""The error that ends training where its numbers are not finite: without torch, since commands look for it."""


class NonFiniteError(RuntimeError):
    """Training met a NaN or an Inf, and stopped before it changed any weight."""
