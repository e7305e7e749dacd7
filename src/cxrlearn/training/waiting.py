"""A rank that waits for others says for whom, before anybody takes it for dead."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.distributed.distributed_c10d import Store

MARK_SECONDS, SAY_SECONDS, AGAIN_SECONDS = 5.0, 60.0, 300.0
"""After so long a rank tells the store that it waits, says so, and says it again."""
JOIN_SECONDS = 20.0
"""After so long a rank says for whom it waits in the beginning."""


class Waiting:
    """Watches, in a thread, how long this rank has waited for the others."""

    def __init__(self, rank: int, ranks: int, store: Store, say: Callable[[str], None]) -> None:
        """Watch rank `rank` of `ranks`; all of them share `store`, and `say` tells the user."""
        self.rank, self.ranks = rank, ranks
        self._store, self._say = store, say
        self._number, self._since = 0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Watch no more."""
        self._over.set()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Wait for all ranks: every rank enters at the same places of the program."""
        self._number += 1
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = 0.0

    def _watch(self) -> None:
        said = 0.0
        while not self._over.wait(MARK_SECONDS / 5):
            number, since = self._number, self._since
            now = time.monotonic()
            if not since or now - since < MARK_SECONDS:
                said = 0.0
                continue
            self._store.set(f"waits/{self.rank}", str(number))
            if now - since > SAY_SECONDS and now - max(said, since) > (
                AGAIN_SECONDS if said else 0
            ):
                said = now
                self._tell(number, now - since)

    def _tell(self, number: int, seconds: float) -> None:
        here = [rank for rank in range(self.ranks) if self._waits(rank, number)]
        late = [rank for rank in range(self.ranks) if rank not in here]
        if late and here and self.rank == here[0]:  # one voice is enough
            self._say(waiting_sentence(self.rank, self.ranks, late, seconds))

    def _waits(self, rank: int, number: int) -> bool:
        key = f"waits/{rank}"
        return self._store.check([key]) and self._store.get(key) == str(number).encode()


@contextmanager
def said_if_long(say: Callable[[str], None], sentence: Callable[[float], str]) -> Iterator[None]:
    """Call `say` with `sentence(seconds)` when the block takes long, and now and then after."""
    over, began = threading.Event(), time.monotonic()

    def watch() -> None:
        pause = JOIN_SECONDS
        while not over.wait(pause):
            say(sentence(time.monotonic() - began))
            pause = AGAIN_SECONDS

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def waiting_sentence(
    rank: int, ranks: int, late: list[int], seconds: float, where: str = ""
) -> str:
    """Return who waits for whom, for how long, and `where`, if it is known."""
    named = ", ".join(map(str, late[:16])) + (" and others" if late[16:] else "")
    return (
        f"rank {rank} of {ranks} has waited {seconds:.0f} s for rank{'s' * (len(late) > 1)} "
        f"{named}{where}. If {'they do' if len(late) > 1 else 'it does'} not come, look at the "
        "output there, and at the machine."
    )
