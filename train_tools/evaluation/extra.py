"""The libraries of the extra `evaluate`, imported when they are used."""

from importlib import import_module


def import_extra(module):
    """Import a module of scikit-learn, of what it brings along, or of seqeval.

    Args: module (`str`): such as `"sklearn.metrics"`. Returns: the module.
    Raises: ValueError: it is not installed; with the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in ("sklearn", "scipy", "seqeval"):
            raise
        library = {"sklearn": "scikit-learn"}.get(name, name)
        raise ValueError(f'This needs {library}: pip install "electra-rtd[evaluate]".') from error
