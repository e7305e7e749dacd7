from __future__ import annotations

import os
import signal

import pytest

from cxrlearn.runtime.signals import Terminated
from cxrlearn.runtime.stop_request import stop_on_signals


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_is_a_request_and_ends_the_run_in_its_own_way(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    with stop_on_signals() as stop:
        assert not stop()
        send(number)
        assert stop()
        with pytest.raises(kind, match="saved"):
            stop.leave("saved")


def test_a_second_sigterm_does_not_cut_saving_short() -> None:
    with stop_on_signals() as stop:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stop()


def test_a_second_ctrl_c_does_not_wait() -> None:
    with stop_on_signals():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_worker_hears_ctrl_c_twice_and_leaves_once() -> None:
    with stop_on_signals(patient=True) as stop:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert stop.signal is signal.SIGINT


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stop_on_signals():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
