"""Who is told what when several processes train, and one of them fails."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from cxrlearn.errors import DataError, HardwareError, UsageError
from cxrlearn.training.distributed import Place
from cxrlearn.workflows import finetune_ranks
from cxrlearn.workflows.finetune import _after_restart
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.finetune_ranks import (
    _explain,
    _losses_explained,
    _own_device,
    _send_all,
    _WorkerDiedError,
    own_gpu,
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


def test_a_lost_process_is_no_bug_of_this_one() -> None:
    said = r"has gone.*\(Connection closed by peer\).*--resume goes on"
    with pytest.raises(HardwareError, match=said), _losses_explained():
        raise RuntimeError("Connection closed by peer.")
    with pytest.raises(HardwareError, match="has gone"), _losses_explained():
        raise distributed.DistNetworkError("no route to host")
    with pytest.raises(RuntimeError, match="shapes"), _losses_explained():
        raise RuntimeError("shapes do not match")


def test_words_that_cannot_be_sent_do_not_keep_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_ranks, "SENDING_SECONDS", 0.3)
    messages: Any = multiprocessing.get_context("spawn").Queue()
    messages._wlock.acquire()  # as a worker that is killed leaves it
    messages.put(("error", ("DataError", "no such column")))
    began = time.monotonic()
    _send_all(messages)
    assert time.monotonic() - began < 5
    messages._wlock.release()  # lets the thread of the queue end


# ---- processes that somebody else has started ---------------------------------------------------

SECOND = Place(rank=1, world_size=2, local_rank=1, local_size=2)
TORCHRUN = {"TORCHELASTIC_RUN_ID": "7"}


def test_a_process_takes_the_gpu_of_its_place_or_the_one_it_is_shown() -> None:
    assert own_gpu(SECOND, 2, {}) == 1
    assert own_gpu(SECOND, 1, {}) == 0  # --gpus-per-task 1
    assert own_gpu(SECOND, 4, TORCHRUN) == 1
    assert own_gpu(SECOND, 1, TORCHRUN) == 1  # two processes for one GPU: refused later


def test_a_gpu_cannot_be_chosen_for_all_processes() -> None:
    config = FinetuneConfig(csv=Path("all.csv"), device="cuda:1")
    with pytest.raises(UsageError, match="--device cuda:1: under torchrun or srun"):
        _own_device(config, SECOND, {})


def test_what_torchrun_starts_again_goes_on_and_overwrites_nothing() -> None:
    config = FinetuneConfig(csv=Path("all.csv"), overwrite=True)
    for restarts in ("1", "2"):
        again = _after_restart(config, {"TORCHELASTIC_RESTART_COUNT": restarts})
        assert (again.resume, again.overwrite) == (True, False)
    for first in ({}, {"TORCHELASTIC_RESTART_COUNT": "0"}):
        assert _after_restart(config, first) == config
