"""The `vitrina` command; also `python -m vitrina`."""

from __future__ import annotations

import gc


def main() -> None:
    """Entry point of the `vitrina` script."""
    # Modules that load leave no garbage: looking for it takes a fifth of the start.
    gc.disable()
    from vitrina.cli import main as command

    command()


if __name__ == "__main__":
    main()
