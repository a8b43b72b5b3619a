"""`python -m vitrina`: the same as the `vitrina` command."""

from vitrina.cli import main

if __name__ == "__main__":
    main()
