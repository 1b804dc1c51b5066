# Copyright 2026 the electra-rtd authors. Licensed under the Apache License, Version 2.0.
"""Makes `transformers`' `test_modeling_common` importable, with stand-ins for what it imports and the sdist lacks."""

import importlib
import importlib.util
import re
import sys
import types
from pathlib import Path

from transformers import testing_utils

from .fetch import fetch_tests


# Not `tests`, as in the repository of `transformers`: our own folder has that name, and their imports are relative.
PACKAGE = "transformers_tests"

# Mixins of folders that the source distribution leaves out (it holds the top level of `tests/` alone). They test
# exporters and text generation, so that without them `ModelTesterMixin` has fewer tests, and the same ones otherwise.
MISSING_MIXINS = {"exporters.test_export": "ExportTesterMixin", "generation.test_utils": "GenerationTesterMixin"}


def load_common_tests():
    """Import `tests/test_modeling_common.py` of the installed `transformers`.

    Returns:
        the module, with `ModelTesterMixin`, `ids_tensor`, `random_attention_mask`, ...
    """
    folder = fetch_tests()
    if PACKAGE not in sys.modules:
        _add_module(PACKAGE, __path__=[str(folder)])
        for name, mixin in MISSING_MIXINS.items():
            if not folder.joinpath(*name.split(".")).with_suffix(".py").exists():
                _add_module(f"{PACKAGE}.{name.split('.')[0]}", __path__=[])
                _add_module(f"{PACKAGE}.{name}", **{mixin: type(mixin, (), {})})
        if importlib.util.find_spec("parameterized") is None:
            _add_module("parameterized", parameterized=types.SimpleNamespace(expand=expand))
    return importlib.import_module(f"{PACKAGE}.test_modeling_common")


def common_markers():
    """Names of the pytest markers that the common tests wear; `--strict-markers` wants them registered.

    Returns:
        `list[str]`
    """
    sources = [fetch_tests() / "test_modeling_common.py", Path(testing_utils.__file__)]
    text = "".join(source.read_text(encoding="utf-8") for source in sources)
    return sorted(set(re.findall(r"\bmark\.(\w+)", text)))


def expand(cases):
    """Stand-in for `parameterized.expand` (the package is not installed): one method for each case, of the same name.

    Args:
        cases (`list`): of tuples of arguments, or of single arguments.

    Returns:
        a decorator for methods
    """

    def decorate(method):
        class_body = sys._getframe(1).f_locals
        digits = len(str(len(cases) - 1))
        for number, case in enumerate(cases):
            arguments = case if isinstance(case, tuple) else (case,)
            first = re.sub(r"\W+", "_", f"_{arguments[0]}") if isinstance(arguments[0], str) else ""
            name = f"{method.__name__}_{number:0{digits}}{first}"
            class_body[name] = _with_arguments(method, name, arguments)

    return decorate


def _with_arguments(method, name, arguments):
    def test(self):
        return method(self, *arguments)

    test.__name__ = name
    return test


def _add_module(name, **contents):
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
