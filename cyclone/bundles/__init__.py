"""Bundles: programs that travel as one archive, fetched once for each node, kept there, and unpacked with care."""

from cyclone.errors import CycloneError


class BundleError(CycloneError):
    """A bundle cannot be had: not fetched, another one than was meant, or not safe to unpack."""
