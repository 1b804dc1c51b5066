"""What a verification found, and the error that carries it."""

from dataclasses import dataclass, field

from .secrets import without_tokens


ERROR, WARNING, INFO = "error", "warning", "info"
LONGEST = 1000  # characters of a message
LEVELS = (ERROR, WARNING, INFO)


@dataclass(frozen=True)
class Finding:
    """One thing that a check has to say.

    Args:
        level (`str`): `"error"` (do not load it), `"warning"` (know it) or `"info"`.
        code (`str`): stable name of the kind of finding; `docs/hub.md` lists all.
        path (`str`): the file, relative to the checkpoint; empty where it is about the whole.
        message (`str`): what was found, what is allowed, how to mend it.
    """

    level: str
    code: str
    path: str
    message: str

    def __post_init__(self):
        # What a file of somebody else's says can be of any length, and hold a token.
        message = self.message if len(self.message) <= LONGEST else f"{self.message[:LONGEST]}..."
        object.__setattr__(self, "message", without_tokens(message))

    def __str__(self):
        place = f"{self.path}: " if self.path else ""
        return visible(f"{self.level:<8}{self.code:<24}{place}{self.message}")


@dataclass(frozen=True)
class VerificationReport:
    """All findings about one checkpoint, errors first.

    Args:
        source (`str`): the folder or the repository.
        findings (`list` of [`Finding`])
        commit (`str`, *optional*): of the repository, 40 hexadecimal digits.
    """

    source: str
    findings: list[Finding] = field(default_factory=list)
    commit: str | None = None

    def __post_init__(self):
        self.findings.sort(key=lambda finding: (LEVELS.index(finding.level), finding.path, finding.code))

    @property
    def ok(self):
        """`bool`: nothing in it is an error."""
        return not self.errors

    @property
    def errors(self):
        """`list` of [`Finding`] of level `"error"`."""
        return [finding for finding in self.findings if finding.level == ERROR]

    def __str__(self):
        name = f"{self.source} at {self.commit}" if self.commit else self.source
        counts = [sum(finding.level == level for finding in self.findings) for level in LEVELS]
        verdict = "ok" if self.ok else "not ok"
        lines = [f"{visible(name)}: {verdict} ({counts[0]} errors, {counts[1]} warnings, {counts[2]} notes)"]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


def visible(text):
    """A text from a checkpoint on one line of a terminal, which obeys no control characters hidden in it."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


class CheckpointError(ValueError):
    """A checkpoint did not pass verification.

    Args:
        message (`str`): what was not done because of it.
        report ([`VerificationReport`])
    """

    def __init__(self, message, report):
        details = "".join(f"\n  {finding}" for finding in report.errors)
        super().__init__(f"{message}{details}")
        self.report = report
