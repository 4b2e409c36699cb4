"""The version, alone, so that asking for it imports nothing."""

__version__ = "3.0.0.dev0"
