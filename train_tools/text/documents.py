"""Which document a row of text is of."""

from typing import Any


class Numbered:
    """Counts documents while rows are read.

    Args: column (`str`, *optional*): says which document a row is of.
    Attributes: document (`int`): the number of the document of the row that was read last, from 0 on.
    """

    def __init__(self, column=None):
        self._column, self.document = column, -1

    def watched(self, table, rows):
        """The rows of a table as they are. Args: table ([`TextTable`]); rows: of it, see there."""
        self.document += 1
        if self._column is not None:
            yield from self._by_column(table, rows)
            return
        for number, value in rows:
            if table.names == "nothing" and not value.strip():
                self.document += 1
            yield number, value

    def _by_column(self, table, rows):
        if self._column not in table.kinds and table.all_kinds is not None:
            table.kinds = table.all_kinds()
        if table.values is None or self._column not in table.kinds:
            there = "lines have no columns" if table.values is None else f"the columns are: {', '.join(table.kinds)}"
            raise ValueError(
                f"{table.name}: there is no column {self._column!r} for `document_column`: {there}. Leave it out, or "
                "name one that every file has."
            )
        before: Any = None
        for place, ((number, value), (_, document)) in enumerate(zip(rows, table.values(self._column), strict=True)):
            self.document += place > 0 and document != before
            before = document
            yield number, value
