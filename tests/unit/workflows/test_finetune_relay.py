"""What worker 0 says arrives as if it had been said here."""

from __future__ import annotations

import multiprocessing
import threading
from queue import Queue
from typing import Any

from cxrlearn.errors import DiskError, HardwareError
from cxrlearn.workflows.finetune_relay import Messenger, Relay, WorkerError, spoken_error
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


def test_of_several_errors_the_first_is_the_cause() -> None:
    messages: Queue[Any] = Queue()
    relay = Relay(messages, Listener())
    with relay:
        messages.put(("bug", ("worker 1 on cpu: ValueError: boom", "its traceback")))
        messages.put(("error", ("DiskError", "the disk is full")))
    assert isinstance(relay.error, WorkerError)
    assert str(relay.error) == "worker 1 on cpu: ValueError: boom"
    assert "its traceback" in str(relay.error.__cause__)


def test_an_error_of_a_class_below_ours_arrives_as_ours() -> None:
    class _SmokeError(HardwareError):
        """Made in a plug-in, which the launcher does not know."""

    assert spoken_error(_SmokeError("it burns")) == ("HardwareError", "it burns")


def test_a_worker_killed_while_it_sent_does_not_stop_the_launcher() -> None:
    messages: Any = multiprocessing.get_context("spawn").Queue()
    relay = Relay(messages, Listener())

    def listen() -> None:
        with relay:
            messages._wlock.acquire()  # as a worker that is killed leaves it

    launcher = threading.Thread(target=listen, daemon=True)
    launcher.start()
    launcher.join(60)
    assert not launcher.is_alive()


def test_what_cannot_be_shown_does_not_stop_the_listener() -> None:
    class _Broken(Listener):
        def notice(self, message: str) -> None:
            raise BrokenPipeError

    messages: Queue[Any] = Queue()
    listener = _Broken()
    relay = Relay(messages, listener)
    with relay:
        messages.put(("notice", "nobody sees this"))
        messages.put(("advance", (7, 1)))  # was never opened
        messages.put(None)  # what is left of a message
        messages.put(("warning", "careful"))
        messages.put(("stopped", "saved in runs/run"))
    assert listener.warnings == ["careful"]
    assert relay.stopped == ("saved in runs/run",)
