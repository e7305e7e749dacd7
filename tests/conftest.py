"""What all tests share."""

from __future__ import annotations


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: their content can hold the time, or a library's version.

    Workers of pytest-xdist stop where they collect different names. pytest numbers equal ones.
    """
    return argname if isinstance(val, bytes) else None
