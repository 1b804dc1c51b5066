"""Code files: ours, of a version that is known, or foreign and listed; read as text, never imported."""

from pathlib import PurePosixPath

from ... import __version__
from .. import layout
from ..code_files import CODE, EARLIER_RELEASES, INSTALLED, imported_files
from ..findings import ERROR, INFO, WARNING, Finding


LISTED = 20  # missing files of one code file


def known_releases():
    """The code files that are ours.

    Returns:
        `dict`: SHA-256 of a file to its name and the releases that have it, oldest first:
            `("configuration_electra_rtd.py", ["0.2.0", "0.3.0"])`
    """
    installed = {name: layout.sha256(INSTALLED / name) for name in CODE}
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
                "is a link: transformers 5.10.1 to 5.12.1 find no other code file beside it (transformers#46618). "
                "Load it by its Hub id, or with `electra-rtd pull`.",
            )
        yield from _check_imports(checkpoint, name)
    if of_files and not set.intersection(*map(set, of_files)):  # a file may be the same in several
        newest = ", ".join(sorted({releases[-1] for releases in of_files}))
        yield Finding(WARNING, "mixed-code", "", f"the code files are of different releases: {newest}.")
    yield from _check_named_files(checkpoint)


def _check_imports(checkpoint, name):
    try:
        imported = imported_files(checkpoint.read_bytes(name))
    except ValueError as error:
        yield Finding(ERROR, "code-unreadable", name, f"{error}.")
        return
    folder = PurePosixPath(name).parent
    files = {(folder / file).as_posix(): line for file, line in imported.items()}
    missing = [(line, file) for file, line in files.items() if not checkpoint.has(file)]
    for line, file in sorted(missing)[:LISTED]:
        yield Finding(
            ERROR,
            "import-unresolved",
            name,
            f"line {line} imports {file}, which is not there: the checkpoint loads nowhere.",
        )


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
