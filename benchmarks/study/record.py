"""The study's file of results: what is found is written at once, and which pieces of the plan are done."""

import hashlib

from ..gpu.record import Record


WEIGHTS = ("model.safetensors", "config.json")


class StudyRecord(Record):
    """A [`Record`] that knows finished pieces, and whose pair it is about."""

    def finish(self, piece):
        """Args: piece (`str`): its name. What it found is there already."""
        self.content.setdefault("done", [])
        if piece not in self.content["done"]:
            self.content["done"].append(piece)
            self._write()

    def is_finished(self, piece):
        """Args: piece (`str`). Returns: `bool`."""
        return piece in self.content.get("done", [])

    def require_start(self, name, digest):
        """Refuse to mix results of two pairs.

        Args: name (`str`): of the start; digest (`str`): of its weights.

        Raises:
            ValueError: the results there are of another pair.
        """
        starts = self.content.setdefault("starts", {})
        if starts.setdefault(name, digest) != digest:
            raise ValueError(
                f"{self.path.name} holds results of another pair as the start {name!r} (weights {starts[name]}, now "
                f"{digest}). Move that file away to begin anew, or give another folder: `--output FOLDER`."
            )

    def of_kind(self, kind):
        """Figures of all entries of a kind. Args: kind (`str`): `"score"`, ... Returns: `list[dict]`."""
        found = self.content["found"].items()
        return [entry["figures"] for name, entry in found if name.startswith(f"{kind}: ")]


def digest_of(folder):
    """Tells pairs apart. Args: folder (`Path`): of a checkpoint. Returns: `str`."""
    digest = hashlib.sha256()
    for name in WEIGHTS:
        digest.update((folder / name).read_bytes())  # some hundred MB at most
    return digest.hexdigest()[:12]
