"""The model files, which travel with a checkpoint: their own imports say which they are, and nothing else does."""

import ast
import json
import threading
from functools import lru_cache
from pathlib import Path

from .. import configuration_electra_rtd


INSTALLED = Path(configuration_electra_rtd.__file__).parent
ENTRIES = tuple(sorted({f"{path.partition('.')[0]}.py" for path in configuration_electra_rtd.AUTO_MAP.values()}))
# Hashes of the model files of every earlier release; `CONTRIBUTING.md` says when a row is added.
EARLIER_RELEASES = json.loads((Path(__file__).parent / "code_releases.json").read_text(encoding="utf-8"))
PARSER = threading.Lock()  # in CPython 3.11 two threads that parse at once can end in a SystemError


@lru_cache(maxsize=16)  # checkpoints share their code, and parsing it is half of a verification
def imported_files(source):
    """The files beside a Python file that it imports, at whatever depth; nothing is run.

    Args:
        source (`bytes`): what stands in it.

    Returns:
        `dict`: file, relative to the folder of the one that imports it, to the first line that does

    Raises:
        ValueError: it is not Python.
    """
    try:
        with PARSER:
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"is not Python: {error}") from None
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            for file in _files_of(node):
                found[file] = min(node.lineno, found.get(file, node.lineno))
    return found


def with_imports(names, read):
    """Files and all that they import, directly or by others.

    Args:
        names (iterable of `str`)
        read (callable): name to `bytes`, or to `None` where there is no such file: it counts, and imports nothing.

    Returns:
        `list[str]`: sorted

    Raises:
        ValueError: one is not Python.
    """
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            source = read(name)
            left += imported_files(source) if source is not None else ()
    return sorted(found)


def _files_of(node):
    """The files that `from .a.b import c` needs; transformers copies files beside each other, not folders above."""
    if node.level > 1:
        return [f"{'../' * min(node.level - 1, 9)}{(node.module or '').replace('.', '/')}.py"]
    modules = [node.module] if node.module else [alias.name for alias in node.names]
    return [f"{module.replace('.', '/')}.py" for module in modules]


# The model files of this release, and those of every release: an earlier one may have had others.
CODE = tuple(with_imports(ENTRIES, lambda name: (INSTALLED / name).read_bytes()))
CODE_EVER = frozenset(CODE).union(*EARLIER_RELEASES.values())
