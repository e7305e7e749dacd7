"""What is told when workers train together and one of them fails."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from cxrlearn.errors import DataError
from cxrlearn.runtime.atomic import write_text
from cxrlearn.workflows import finetune_ranks
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.finetune_files import LAST
from cxrlearn.workflows.finetune_ranks import (
    _explain,
    _send_all,
    _WorkerDiedError,
    train_on_workers,
)
from cxrlearn.workflows.finetune_relay import Relay, WorkerError
from tests.support.listener import Listener

SILENCED = 4
BUG = ("bug", ("worker 1 on cpu: ValueError: boom", "its traceback"))
LOST = ("lost", "worker 0 on cpu lost the others (NCCL error: unhandled system error).")


def told(said: list[Any], exit_code: int, rank: int = 1) -> Exception:
    """Return what the launcher raises once a worker has ended and some have said something."""
    messages: Queue[Any] = Queue()
    relay = Relay(messages, Listener())
    with relay:
        for one in said:
            messages.put(one)
    failure = ProcessFailure(rank, 1, exit_code, "no file")
    with pytest.raises(Exception, match=r".") as raised:
        _explain(relay, ChildFailedError("work", {rank: failure}), ("cpu", "cpu"))
    return raised.value


def test_a_bug_in_a_worker_is_raised_with_its_traceback_and_not_as_a_death() -> None:
    error = told([LOST, BUG], 1)
    assert isinstance(error, WorkerError)
    assert str(error) == "worker 1 on cpu: ValueError: boom"
    assert "its traceback" in str(error.__cause__)


def test_what_others_run_into_once_a_worker_was_killed_is_no_bug() -> None:
    error = told([BUG], -9, rank=0)
    assert isinstance(error, _WorkerDiedError)
    assert str(error) == "worker 0 on cpu died (SIGKILL)."


def test_an_error_of_ours_is_told_rather_than_a_death() -> None:
    assert isinstance(told([("error", ("DataError", "no such column"))], -9), DataError)


def test_workers_that_lost_each_other_say_so_where_nobody_says_better() -> None:
    assert str(told([LOST], SILENCED, rank=0)) == LOST[1]
    assert str(told([LOST], -11)) == "worker 1 on cpu died (SIGSEGV)."
    assert str(told([], SILENCED)) == "worker 1 on cpu died (exit code 4)."


def test_words_that_cannot_be_sent_do_not_keep_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_ranks, "SENDING_SECONDS", 0.3)
    messages: Any = multiprocessing.get_context("spawn").Queue()
    messages._wlock.acquire()  # as a worker that is killed leaves it
    messages.put(("error", ("DataError", "no such column")))
    began = time.monotonic()
    _send_all(messages)
    assert time.monotonic() - began < 60  # not for ever
    messages._wlock.release()  # lets the thread of the queue end


@pytest.mark.parametrize("saved", [True, False])
def test_after_a_death_a_run_goes_on_from_what_it_has_saved_not_from_a_run_before(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    saved: bool,  # noqa: FBT001
) -> None:
    last = tmp_path / LAST
    last.write_text("of a run before", encoding="utf-8")
    begun: list[FinetuneConfig] = []

    def launch(config: FinetuneConfig, *_: object) -> str:
        """Stand in for workers, whose processes take long to start: the first ones die."""
        begun.append(config)
        if len(begun) == 1:
            if saved:
                write_text(last, "of this run", step="test")
            raise _WorkerDiedError("worker 1 on cpu died (SIGKILL).")
        return "done"

    monkeypatch.setattr(finetune_ranks, "_launch", launch)
    config = FinetuneConfig(
        csv=Path("all.csv"), gpus=("cpu", "cpu"), overwrite=True, max_restarts=1
    )
    prepared: Any = SimpleNamespace(folder=tmp_path)
    told_of = Listener()
    found: object = train_on_workers(config, config.gpus, prepared, told_of)
    assert found == "done"
    assert [(one.resume, one.overwrite) for one in begun] == [(False, True), (saved, not saved)]
    assert ("Going on from the last checkpoint" in told_of.warnings[0]) == saved
