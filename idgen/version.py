"""The version, for the package, its wheel and what it writes into files."""

__version__ = "0.2.0"
