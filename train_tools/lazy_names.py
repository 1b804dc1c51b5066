"""Names of a package that are imported when they are first asked for, and libraries that only some of them need.

Training with the callbacks needs neither `datasets` nor `rich`. So a package gives one name without the modules, and
the libraries, of all others.
"""

import sys
from importlib import import_module


LIBRARIES = ("datasets", "pyarrow", "rich")  # that some names need and others do without; pyarrow comes with datasets


def lazy_names(package, modules):
    """What a package defines to import its names when they are asked for (PEP 562).

    Args:
        package (`str`): its `__name__`.
        modules (`dict`): module of the package, `".data"`, to a `list` of the names that it has.

    Returns:
        the functions `__getattr__` and `__dir__` of the package
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(homes[name], package), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in LIBRARIES:
                raise
            raise _missing(name, error) from error
        setattr(sys.modules[package], name, value)  # the next time nobody asks here
        return value

    def __dir__():
        return sorted({*vars(sys.modules[package]), *homes})

    return __getattr__, __dir__


def refuse_without(library, what):
    """Refuse something that needs a library which is not there.

    Args:
        library (`str`): one of `LIBRARIES`; what (`str`): who needs it.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        import_module(library)
    except ModuleNotFoundError as error:
        raise _missing(what, error) from error


def _missing(what, error):
    library = (error.name or "").partition(".")[0]
    package = "datasets" if library == "pyarrow" else library
    words = f"`{what}` needs {package}, which is not installed: pip install {package}"
    return ModuleNotFoundError(words, name=library)
