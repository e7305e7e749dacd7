"""`python -m cxrlearn` and the console script `cxrlearn`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from cxrlearn.cli.app import run  # noqa: PLC0415 - keeps `import cxrlearn.__main__` free of side effects

    run()


if __name__ == "__main__":
    main()
