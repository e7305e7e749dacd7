"""What worker 0 says arrives as if it had been said here."""

from __future__ import annotations

from queue import Queue
from typing import Any

from cxrlearn.errors import DiskError
from cxrlearn.workflows.finetune_relay import Messenger, Relay
from tests.support.listener import Listener


def test_notices_and_nested_progress_arrive_in_order() -> None:
    messages: Queue[Any] = Queue()
    listener = Listener()
    with Relay(messages, listener):
        worker = Messenger(messages)
        worker.notice("here we go")
        with worker.progress("training", 4, unit="steps") as outer:
            for epoch in range(2):
                with worker.progress(f"epoch {epoch}", 2, unit="steps") as inner:
                    inner.advance(2)
                    inner.describe("loss 1")
                outer.advance(2)
        worker.warning("careful")
    assert (listener.notices, listener.warnings) == (["here we go"], ["careful"])
    seen = [(one.title, one.within, one.done, one.total, one.said) for one in listener.shown]
    assert seen == [
        ("training", 0, 4, 4, []),
        ("epoch 0", 1, 2, 2, ["loss 1"]),
        ("epoch 1", 1, 2, 2, ["loss 1"]),
    ]
    assert all(one.closed for one in listener.shown)


def test_progress_of_a_worker_that_died_is_closed() -> None:
    messages: Queue[Any] = Queue()
    listener = Listener()
    with Relay(messages, listener):
        messages.put(("open", (0, "training", 4, "steps")))
        messages.put(("open", (1, "epoch 1", 2, "steps")))
    assert [one.closed for one in listener.shown] == [True, True]


def test_last_words_are_kept() -> None:
    messages: Queue[Any] = Queue()
    relay = Relay(messages, Listener())
    with relay:
        messages.put(("stopped", "saved in runs/run"))
        messages.put(("error", ("DiskError", "the disk is full")))
    assert relay.stopped == ("saved in runs/run",)
    assert isinstance(relay.error, DiskError)
    assert str(relay.error) == "the disk is full"
