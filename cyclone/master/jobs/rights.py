"""Who may do what to a job: its owner and administrators steer it, everybody who gets this far may look. PURE.

Owns the rule. Which roles may ask for what at all is decided before a request reaches the brain.
"""

from typing import NamedTuple


class Who(NamedTuple):
    """Who asks: the name of the key, empty where nobody is asked for one, and whether it may do everything."""

    name: str
    is_admin: bool

    def may_steer(self, owner: str) -> bool:
        """Whether this one may change what somebody owns."""
        return self.is_admin or self.name == owner


# Where nobody is asked for a key, everybody is the same somebody, who may do all.
ANYBODY = Who("", is_admin=True)
