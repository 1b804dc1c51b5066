"""What a Hub stores: files, commits, repositories, and who may do what with them."""

import fnmatch
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property


LFS_PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.pkl", "*.png", "*tfevents*")
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()
LARGEST_REGULAR_FILE = 10_000_000


@dataclass(frozen=True)
class Blob:
    """A file's bytes; `lfs` says which of the two ways of the Hub it is stored by."""

    data: bytes = field(repr=False)
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds in place of an LFS file."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()
        )

    @cached_property
    def git_sha1(self) -> str:
        """Git's name of the file: of its pointer for an LFS file."""
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_sha1


@dataclass(frozen=True)
class Commit:
    """A commit with all its files; `files` maps a path to its blob."""

    id: str
    parent: "Commit | None" = field(repr=False)
    message: str
    description: str
    author: str
    date: str
    files: dict[str, Blob] = field(repr=False)

    def history(self) -> "Iterator[Commit]":
        """This commit and those before it, newest first."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def is_lfs(self, path: str, size: int) -> bool:
        """Whether a new file goes by LFS, by this commit's `.gitattributes` and by size."""
        rules = self.files.get(".gitattributes", Blob(b"")).data.decode("utf-8", "replace").splitlines()
        patterns = [rule.split()[0] for rule in rules if "filter=lfs" in rule]
        return size > LARGEST_REGULAR_FILE or any(matches(path, pattern) for pattern in patterns)


@dataclass
class Repo:
    """A repository. `commits` remembers every commit by its id, those too that no ref reaches any more."""

    id: str
    private: bool = False
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    pulls: dict[int, Commit] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict, repr=False)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict, repr=False)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[-2]

    def refs(self) -> dict[str, Commit]:
        """Every ref by its full name: `refs/heads/main`, `refs/tags/v1`, `refs/pr/1`."""
        heads = {f"refs/heads/{name}": commit for name, commit in self.branches.items()}
        tags = {f"refs/tags/{name}": commit for name, commit in self.tags.items()}
        return {**heads, **tags, **{f"refs/pr/{number}": commit for number, commit in self.pulls.items()}}

    def movable(self, revision: str) -> str | None:
        """The full name of the branch or pull request that `revision` names; None for a tag, an id, or nothing."""
        full = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        return full if full in self.refs() and not full.startswith("refs/tags/") else None

    def find(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag, a full ref or a commit id (7 digits at least) names."""
        refs = self.refs()
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in refs:
                return refs[name]
        if re.fullmatch("[0-9a-f]{7,40}", revision):
            found = [commit for oid, commit in self.commits.items() if oid.startswith(revision)]
            return found[0] if len(found) == 1 else None
        return None

    def move(self, ref: str, commit: Commit) -> None:
        """Point a branch or pull request, by its full name, at `commit`."""
        self.commits[commit.id] = commit
        if ref.startswith("refs/pr/"):
            self.pulls[int(ref.removeprefix("refs/pr/"))] = commit
        else:
            self.branches[ref.removeprefix("refs/heads/")] = commit


@dataclass(frozen=True)
class User:
    """Who a token stands for. `can_write`: True for the own namespace, a set for exactly those, False for none."""

    name: str
    can_write: "bool | frozenset[str]" = True

    def writes(self, namespace: str) -> bool:
        if isinstance(self.can_write, bool):
            return self.can_write and namespace == self.name
        return namespace in self.can_write

    def reads(self, namespace: str) -> bool:
        """Whether private repos of `namespace` are there for this token."""
        return namespace == self.name or self.writes(namespace)


def matches(path: str, pattern: str) -> bool:
    """A line of .gitignore or .gitattributes, near enough: without a slash it speaks of any part of the path."""
    pattern = pattern.strip().strip("/")
    if not pattern or pattern.startswith("#"):
        return False
    if "/" in pattern:
        return fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern + "/")
    return any(fnmatch.fnmatchcase(part, pattern) for part in path.split("/"))
