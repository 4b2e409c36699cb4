"""A table of one column, and blocks of rows for it."""

from cyclone.sinks.columns import read_type
from cyclone.sinks.layouts import Column, Layout, Table
from cyclone.sinks.stores.base import Batch, Cells

JOURNAL = "ab" * 16
TABLE = Table("t", "a", (Column("a", read_type("INT"), lambda row: None),), (("a",),))
LAYOUT = Layout("own", (TABLE,))


def batch(*rows: Cells, end: int = 1) -> Batch:
    """Rows of a block, which is the last one that is in there."""
    return Batch({TABLE: list(rows)}, {JOURNAL: end})
