"""Why tasks failed: what people want to read of a kind of failures, of which the master tells how many there are."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclone.client.client import Client


def example(client: "Client", job_id: int, index: int) -> str:
    """The error of this task, whole, where it has one: a kind is without what differs, which people want to read."""
    row = next(client.tasks(job_id, start=index, page=1), None)
    return row.error or "" if row and row.index == index else ""
