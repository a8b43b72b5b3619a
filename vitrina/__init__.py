"""The `vitrina` command: wires the packages together and runs them."""

__version__ = "0.1.0"
