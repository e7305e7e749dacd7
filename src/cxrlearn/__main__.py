"""`python -m cxrlearn` and the console script `cxrlearn`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # what signal is made of
import os

# Nothing is imported that takes time, typing and signal neither: Ctrl-C is to be heard at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line."""
    # Until a command runs there is nothing to save, and libraries that are interrupted while they
    # are imported raise anything. Where SIGINT is ignored, as in background jobs, it stays so.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)
    from cxrlearn.cli.app import run  # noqa: PLC0415 - keeps `import cxrlearn.__main__` free of side effects

    run()


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    """End the process at once, with the code that shells expect after Ctrl-C."""
    os.write(2, b"error: interrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    main()
