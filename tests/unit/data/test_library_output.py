from __future__ import annotations

import logging
import os

import pytest

from cxrlearn.data.library_output import held_back


def test_what_is_written_to_stderr_past_python_is_held_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with held_back() as lines:
        os.write(2, b"libfoo: Bad code word\nlibfoo: giving up\x07\n")
        os.write(2, b"\x1b[2K progress 40 %\n")

    assert lines == ["libfoo: Bad code word", "libfoo: giving up?"]
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_stderr_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    def decode() -> None:
        with held_back():
            os.write(2, b"lost\n")
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        decode()

    os.write(2, b"kept\n")
    assert capfd.readouterr().err == "kept\n"


@pytest.mark.parametrize("name", ["PIL", "pydicom", "tifffile"])
def test_warnings_of_format_readers_are_not_printed_by_default(name: str) -> None:
    assert logging.getLogger(name).handlers
