"""Code files: ours, of a version that is known, or foreign and listed; read as text, never imported."""

import ast
import json
import threading
from pathlib import Path, PurePosixPath

from ... import __version__, configuration_electra_rtd
from .. import layout
from ..report import ERROR, INFO, WARNING, Finding


PARSER = threading.Lock()  # in CPython 3.11 two threads that parse at once can end in a SystemError
LISTED = 20  # missing files of one code file
INSTALLED = Path(configuration_electra_rtd.__file__).parent
# Hashes of the two files in every earlier release; `CONTRIBUTING.md` says when a row is added.
EARLIER_RELEASES = json.loads((Path(__file__).parent.parent / "code_releases.json").read_text(encoding="utf-8"))


def known_releases():
    """The code files that are ours.

    Returns:
        `dict`: SHA-256 of a file to its name and the releases that have it, oldest first:
            `("configuration_electra_rtd.py", ["0.2.0", "0.3.0"])`
    """
    installed = {name: layout.sha256(INSTALLED / name) for name in layout.CODE}
    known: dict[str, tuple[str, list[str]]] = {}
    for release, files in {**EARLIER_RELEASES, __version__: installed}.items():
        for name, digest in files.items():
            known.setdefault(digest, (name, []))[1].append(release)
    return known


def check_code(checkpoint):
    """Every Python file, and what `auto_map` names.

    Args:
        checkpoint ([`CheckpointFiles`])

    Yields:
        [`Finding`]
    """
    known = known_releases()
    of_files = []  # the releases that each file is of
    for name in checkpoint.names:
        if not name.endswith(".py") or not checkpoint.is_here(name):
            continue
        digest = layout.sha256(checkpoint.path(name))
        file_name, releases = known.get(digest, (None, []))
        if file_name == PurePosixPath(name).name:
            of_files.append(releases)
            yield Finding(INFO, "code", name, f"is ours, of release {releases[-1]}.")
        else:
            yield Finding(
                WARNING,
                "foreign-code",
                name,
                f"is not of any release of electra-rtd that is known here (sha256 {digest}). Read it before you "
                "trust it; a newer electra-rtd may know it.",
            )
        if checkpoint.path(name).is_symlink() and checkpoint.source == str(checkpoint.folder):
            yield Finding(
                WARNING,
                "linked-code",
                name,
                "is a link: transformers 5.10.1 to 5.12.1 find no second code file beside it (transformers#46618). "
                "Load it by its Hub id, or with `electra-rtd pull`.",
            )
        yield from _check_imports(checkpoint, name)
    if of_files and not set.intersection(*map(set, of_files)):  # a file may be the same in several
        newest = ", ".join(sorted({releases[-1] for releases in of_files}))
        yield Finding(WARNING, "mixed-code", "", f"the code files are of different releases: {newest}.")
    yield from _check_named_files(checkpoint)


def _check_imports(checkpoint, name):
    try:
        with PARSER:
            tree = ast.parse(checkpoint.read_bytes(name))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Finding(ERROR, "code-unreadable", name, f"is not Python: {error}.")
        return
    folder = PurePosixPath(name).parent
    missing: dict[str, int] = {}  # file to the first line that imports it
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            for file in _files_of(node, folder):
                if not checkpoint.has(file):
                    missing.setdefault(file, node.lineno)
    for file, line in sorted(missing.items(), key=lambda item: item[1])[:LISTED]:
        yield Finding(
            ERROR,
            "import-unresolved",
            name,
            f"line {line} imports {file}, which is not there: the checkpoint loads nowhere.",
        )


def _files_of(node, folder):
    """The files that `from .a.b import c` needs; transformers copies files beside each other, not folders above."""
    if node.level > 1:
        return [f"{'../' * min(node.level - 1, 9)}{(node.module or '').replace('.', '/')}.py"]
    modules = [node.module] if node.module else [alias.name for alias in node.names]
    return [(folder / f"{module.replace('.', '/')}.py").as_posix() for module in modules]


def _check_named_files(checkpoint):
    try:
        fields = checkpoint.read_json(layout.CONFIG) if checkpoint.is_here(layout.CONFIG) else {}
    except ValueError:
        return  # `check_configs` has said so
    rows = fields.get("auto_map") if isinstance(fields, dict) else None
    if not isinstance(rows, dict) or not rows:
        yield Finding(
            WARNING,
            "no-remote-code",
            layout.CONFIG,
            "has no `auto_map`: loads only where electra-rtd is installed. `electra-rtd push` adds it with the code.",
        )
        return
    for class_path in rows.values():
        _, separator, path = str(class_path).rpartition("--")
        file = f"{path.partition('.')[0]}.py"
        if not separator and not checkpoint.has(file):
            yield Finding(
                ERROR,
                "code-missing",
                file,
                f"`auto_map` names {class_path}, but the file is not there: `model.save_pretrained` writes it.",
            )
