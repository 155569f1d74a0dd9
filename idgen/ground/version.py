"""The version, alone in a file that everything may read."""

__version__ = "0.4.0"
