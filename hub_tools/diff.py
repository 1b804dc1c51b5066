"""What differs between two checkpoints: configuration, tokenizer, code and weights, module by module."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from . import layout
from .checks.files import check_names, check_sizes
from .checks.weights import Weights
from .findings import ERROR, VerificationReport, visible
from .layout import CheckpointFiles
from .remote import Remote
from .secrets import without_tokens
from .verify import is_folder, require_ok


MISSING = "(not there)"
LONGEST = 500  # characters of a value that is printed


@dataclass(frozen=True)
class ModuleChange:
    """The weights of one module in two checkpoints.

    Args:
        module (`str`): `"generator.electra.encoder.layer.0.attention.self.query"`.
        changed (`bool`): any of its numbers.
        relative_norm (`float`, *optional*): norm of the change over the norm of the first; `None` where it has no
            counterpart of the same shape, or is no number.
        note (`str`): why not, and whether the type of the numbers changed.
    """

    module: str
    changed: bool
    relative_norm: float | None = None
    note: str = ""


@dataclass(frozen=True)
class CheckpointDiff:
    """What differs between two checkpoints, `a` and `b`.

    Args:
        a, b (`str`): what was compared.
        config (`dict`): field, dotted, to its two values.
        tokenizer, code (`dict`): file to what happened to it; a tokenizer's vocabulary is counted.
        weights (`list` of [`ModuleChange`]): every module.
    """

    a: str
    b: str
    config: dict = field(default_factory=dict)
    tokenizer: dict = field(default_factory=dict)
    code: dict = field(default_factory=dict)
    weights: list[ModuleChange] = field(default_factory=list)

    @property
    def identical(self):
        """`bool`: nothing of the four differs."""
        return not (self.config or self.tokenizer or self.code or any(module.changed for module in self.weights))

    def __str__(self):
        lines = [f"a: {self.a}", f"b: {self.b}"]
        lines += _section("config", [f"{name}: {_short(a)} -> {_short(b)}" for name, (a, b) in self.config.items()])
        lines += _section("tokenizer", [f"{name}: {change}" for name, change in self.tokenizer.items()])
        lines += _section("code", [f"{name}: {change}" for name, change in self.code.items()])
        changed = [module for module in self.weights if module.changed]
        lines += _section("weights", [_module_line(module) for module in changed])
        lines += [f"  {len(changed)} of {len(self.weights)} modules differ"]
        return without_tokens("\n".join(map(visible, lines)))


def diff_checkpoints(a, b, *, token=None):
    """Compare two checkpoints: what an adaptation did to the model, or what somebody changed in a repository.

    Weights are read tensor by tensor, so that no network need fit into memory; no code is executed.

    Args:
        a, b (`str` or path): a folder, a Hub id `"user/name"`, or one with a revision, `"user/name@v1"`.
        token (`str` or `bool`, *optional*): for the Hub.

    Returns:
        [`CheckpointDiff`]

    Raises:
        ValueError: there is no such folder, its names are unsafe, or its files cannot be read.
        HubError: a repository cannot be read.
    """
    first, second = (_files(source, token) for source in (a, b))
    return CheckpointDiff(
        first.source,
        second.source,
        config=_diff_config(first, second),
        tokenizer=_diff_tokenizer(first, second),
        code=_diff_files(first, second, _code_files(first) | _code_files(second)),
        weights=list(_diff_weights(first, second)),
    )


def _files(source, token):
    repo_id, at, revision = str(source).partition("@")
    if at and not Path(source).exists() and not is_folder(repo_id):
        source = repo_id
    elif is_folder(source):
        here = CheckpointFiles(Path(source), layout.list_files(Path(source)), str(source))
        _require_small(here.names, here.sizes, source)
        _require_some(here.names, source)
        return here
    remote = Remote(str(source), revision=revision or None, token=token)
    findings = [finding for finding in check_names(remote.files) if finding.code == "unsafe-path"]
    require_ok(VerificationReport(remote.repo_id, findings, remote.commit), f"{source} is not compared:")
    wanted = [name for name in remote.files if _is_compared(name)]
    _require_some(wanted, source)
    _require_small(remote.files, remote.sizes, source)
    return CheckpointFiles(remote.download(wanted), wanted, f"{remote.repo_id}@{remote.commit}")


def _require_some(names, source):
    if not any(_is_compared(name) for name in names):
        raise ValueError(f"{source} holds no checkpoint: give its own folder or repository.")


def _require_small(names, sizes, source):
    compared = {name: size for name, size in sizes.items() if _is_compared(name)}
    findings = [*check_names(names), *check_sizes(compared)]
    findings = [finding for finding in findings if finding.code == "too-large"]
    require_ok(VerificationReport(str(source), findings), f"{source} is not compared:")


def _is_compared(name):
    return layout.is_model_file(name) or name in layout.TOKENIZER or (name.endswith(".py") and "/" not in name)


def _code_files(checkpoint):
    return {name for name in checkpoint.names if name.endswith(".py") and "/" not in name}


def _diff_config(a, b):
    fields = [dict(_flat(_json(checkpoint, layout.CONFIG))) for checkpoint in (a, b)]
    return {
        name: tuple(side.get(name, MISSING) for side in fields)
        for name in sorted(fields[0].keys() | fields[1].keys())
        if fields[0].get(name, MISSING) != fields[1].get(name, MISSING)
    }


def _flat(value, prefix=""):
    if isinstance(value, dict) and (value or not prefix):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _diff_tokenizer(a, b):
    changes = _diff_files(a, b, set(layout.TOKENIZER) & (set(a.names) | set(b.names)))
    if "tokenizer.json" in changes:
        vocabularies = [_vocabulary(checkpoint) for checkpoint in (a, b)]
        if all(vocabularies):
            changes["tokenizer.json"] += _diff_vocabularies(*vocabularies)
    return changes


def _vocabulary(checkpoint):
    model = _json(checkpoint, "tokenizer.json").get("model", {})
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    return vocabulary if isinstance(vocabulary, dict) else None


def _diff_vocabularies(a, b):
    moved = sum(a[token] != b[token] for token in a.keys() & b.keys())
    return f"; tokens: {len(b.keys() - a.keys())} added, {len(a.keys() - b.keys())} removed, {moved} with another id"


def _diff_files(a, b, names):
    changes = {}
    for name in sorted(names):
        digests = [layout.sha256(side.path(name)) if side.is_here(name) else None for side in (a, b)]
        if digests[0] != digests[1]:
            changes[name] = " -> ".join(digest[:12] if digest else MISSING for digest in digests)
    return changes


def _json(checkpoint, name):
    if not checkpoint.is_here(name):
        return {}
    try:
        content = checkpoint.read_json(name)
    except ValueError as error:
        raise ValueError(f"{checkpoint.source}: {name} cannot be read: {error}. Pull or save it again.") from None
    return content if isinstance(content, dict) else {}


def _diff_weights(a, b):
    with Weights(a) as first, Weights(b) as second:
        for checkpoint, weights in ((a, first), (b, second)):
            problems = [finding for finding in weights.problems if finding.level == ERROR]
            require_ok(VerificationReport(checkpoint.source, problems), f"{checkpoint.source} cannot be compared:")
        modules: dict[str, list[str]] = {}
        for tensor in sorted(first.files.keys() | second.files.keys()):
            modules.setdefault(tensor.rpartition(".")[0], []).append(tensor)
        for module, tensors in modules.items():
            yield _diff_module(module, tensors, first, second)


def _diff_module(module, tensors, a, b):
    is_changed, change, original, types = False, 0.0, 0.0, set()  # squared norms
    for tensor in tensors:
        if tensor not in a.files or tensor not in b.files:
            only = "a" if tensor in a.files else "b"
            return ModuleChange(module, True, note=f"{tensor.rpartition('.')[2]} only in {only}")
        if a.shape(tensor) != b.shape(tensor):
            return ModuleChange(module, True, note=f"shapes {a.shape(tensor)} and {b.shape(tensor)}")
        before, after = a[tensor], b[tensor]
        if before.dtype != after.dtype:
            types.add(f"{before.dtype} -> {after.dtype}")
        before, after = before.double(), after.double()
        is_same = (before == after) | (before.isnan() & after.isnan())  # a NaN differs from itself
        is_changed |= not is_same.all().item()
        change += (after - before).masked_fill(is_same, 0).square().sum().item()
        original += before.square().sum().item()
    notes = sorted(types)
    if not is_changed:
        return ModuleChange(module, bool(types), 0.0, note=", ".join(notes))
    relative_norm = (change / original) ** 0.5 if original else math.inf
    if math.isfinite(relative_norm):
        return ModuleChange(module, True, relative_norm, note=", ".join(notes))
    notes.append("NaN or Inf" if original else "from zero")  # JSON has no such number
    return ModuleChange(module, True, note=", ".join(notes))


def _short(value):
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _section(title, lines):
    return [f"{title}: {'' if lines else 'the same'}".rstrip(), *(f"  {line}" for line in lines)]


def _module_line(module):
    amount = module.note if module.relative_norm is None else f"{module.relative_norm:.3g} {module.note}"
    return f"{amount:<12} {module.module}"
