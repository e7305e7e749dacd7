from __future__ import annotations

import os
import signal
import threading

import pytest

from cxrlearn.runtime.signals import Terminated, terminate_as_exception


def test_sigterm_is_an_exception_that_no_handler_of_errors_catches() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminate_as_exception():
        os.kill(os.getpid(), signal.SIGTERM)
    assert not issubclass(Terminated, Exception)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_sigterm_does_not_cut_the_saving_short() -> None:
    saved: list[str] = []

    def stop_and_save() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            saved.append("all")

    with pytest.raises(Terminated), terminate_as_exception():
        stop_and_save()
    assert saved == ["all"]


def test_other_threads_change_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    inside: list[object] = []

    def run() -> None:
        with terminate_as_exception():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [before]
