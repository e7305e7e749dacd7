"""A rank that waits says for whom."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from torch._C._distributed_c10d import HashStore

from cxrlearn.training import waiting
from cxrlearn.training.distributed import Place, name_of_group
from cxrlearn.training.waiting import Waiting, said_if_long, waiting_sentence

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MARK_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "SAY_SECONDS", 0.3)
    monkeypatch.setattr(waiting, "JOIN_SECONDS", 0.2)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_first_of_those_that_wait_names_those_that_do_not() -> None:
    store = HashStore()
    said: dict[int, list[str]] = {0: [], 1: [], 3: []}
    with (
        Waiting(0, 4, store, said[0].append) as zero,
        Waiting(1, 4, store, said[1].append) as one,
        Waiting(3, 4, store, said[3].append) as three,
    ):
        for watched in (zero, one, three):
            with watched():  # a short wait: nothing to say
                pass
        with one(), three():  # 0 and 2 do something else
            _until(lambda: bool(said[1]))
    assert said[0] == said[3] == []
    assert "rank 1 of 4 has waited" in said[1][0]
    assert "for ranks 0, 2." in said[1][0]


def test_a_short_wait_is_not_worth_a_word() -> None:
    said: list[str] = []
    with Waiting(0, 2, HashStore(), said.append) as watched:
        for _ in range(3):
            with watched():
                time.sleep(0.02)
        time.sleep(0.5)
    assert said == []


def test_rank_0_knows_who_has_not_come_to_the_meeting() -> None:
    store, late = HashStore(), list[int]()
    first = threading.Thread(
        target=name_of_group, args=(store, Place(0, 4, 0, 4), late), daemon=True
    )
    first.start()
    second = threading.Thread(target=name_of_group, args=(store, Place(2, 4, 2, 4)), daemon=True)
    second.start()
    _until(lambda: late == [1, 3])
    for rank in (1, 3):
        name_of_group(store, Place(rank, 4, rank, 4))
    first.join(30)
    assert late == []


def test_a_long_beginning_is_said() -> None:
    said: list[str] = []
    with said_if_long(said.append, lambda seconds: waiting_sentence(1, 2, [0], seconds)):
        _until(lambda: bool(said))
    assert said[0].startswith("rank 1 of 2 has waited ")
    assert "for rank 0." in said[0]
