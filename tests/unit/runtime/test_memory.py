from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import UnreadableImageError
from cxrlearn.runtime.memory import (
    available_memory,
    of_container,
    of_machine,
    out_of_memory,
    ran_short,
)
from tests.support.memory import little_memory

if TYPE_CHECKING:
    from pathlib import Path


def container(folder: Path, limit: str, used: int, stat: str) -> int:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)
    return of_container(folder)


def test_a_container_has_its_limit_less_what_is_in_use(tmp_path: Path) -> None:
    assert container(tmp_path, "1000", 400, "anon 400\n") == 600
    assert container(tmp_path, "1000", 1400, "anon 1400\n") == 0


def test_files_kept_from_reading_give_way(tmp_path: Path) -> None:
    stat = "anon 100\nfile 850\nactive_file 200\ninactive_file 650\n"
    assert container(tmp_path, "1000", 950, stat) == 900


def test_without_a_limit_the_machine_decides(tmp_path: Path) -> None:
    assert of_container(tmp_path / "nothing") > 2**60
    assert container(tmp_path, "max", 400, "") > 2**60
    assert 0 < available_memory() <= of_machine() + 2**30  # it changes from one look to the next


def test_the_machine_says_in_kib(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:  9 kB\nMemFree:  1 kB\nMemAvailable:    3 kB\n")
    assert of_machine(file) == 3072
    file.write_text("MemTotal: 9 kB\n")
    assert of_machine(file) == of_machine(tmp_path / "nothing") == 8 * 2**30


def test_the_words_of_every_library_are_understood() -> None:
    import numpy as np
    import torch

    for ask in (lambda: np.empty(2**57), lambda: torch.empty(2**58), lambda: bytearray(2**60)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            ask()
        assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not out_of_memory(RuntimeError("shapes do not fit"))


def test_a_file_that_asks_for_the_absurd_is_told_from_a_lack_of_memory() -> None:
    damaged = UnreadableImageError("damaged PNG")
    damaged.__cause__ = MemoryError()
    assert not ran_short(damaged)
    assert not ran_short(MemoryError())
    with little_memory(10**8):
        assert ran_short(damaged)
        assert ran_short(MemoryError())
        assert not ran_short(UnreadableImageError("damaged PNG"))
