"""Tables of answers, for people."""

from rich.table import Table
from rich.text import Text

__all__ = ["Table", "Text", "table_of"]


def table_of(*headings: str) -> Table:
    """A table whose cells are folded rather than cut."""
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
