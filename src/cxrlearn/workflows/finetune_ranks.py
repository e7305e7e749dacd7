"""Workers that are started here and finetune together."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
import torch.multiprocessing
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from cxrlearn.errors import CxrlearnError, HardwareError
from cxrlearn.runtime.devices import resolve_device, usable_cores
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.memory import out_of_memory, out_of_memory_error
from cxrlearn.runtime.signals import Terminated
from cxrlearn.runtime.stop_request import stop_on_signals
from cxrlearn.training.distributed import (
    PeerError,
    Place,
    joined,
    lost_peer,
    what_peers_said,
)
from cxrlearn.workflows.finetune_files import LAST
from cxrlearn.workflows.finetune_folder import folder_apart
from cxrlearn.workflows.finetune_joined import GO_ON
from cxrlearn.workflows.finetune_relay import Messenger, Relay, WorkerError, spoken_error
from cxrlearn.workflows.finetune_run import FinetuneResult, Stage, train_and_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.finetune_config import FinetuneConfig
    from cxrlearn.workflows.finetune_prepare import Prepared

LAST_WORDS_SECONDS = 3.0
SAVING_SECONDS = 60
"""How long workers that were asked to stop may take to end their step and save."""
SENDING_SECONDS = 10
"""How long the last words of a worker may take to be sent."""
_BUG, _STOPPED, _SILENCED = 1, 3, 4
"""Exit codes of a worker: failed as no other error is, saved and left, waits for no lost peer."""
_FOR_MEMORY = "Use a smaller --batch-size, a larger --accumulate, or fewer --workers."
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def train_on_workers(
    config: FinetuneConfig, devices: Sequence[str], prepared: Prepared, reporter: Reporter
) -> FinetuneResult:
    """Start one worker a device, and train with all; see `train_and_report`.

    Raises:
        HardwareError: a worker died, and no restart was left.
        CxrlearnError: what a worker reported.
        WorkerError: a bug showed in a worker; that is never tried again.
    """
    left, places = config.max_restarts, (prepared.folder, folder_apart(prepared.folder))
    before = [_version(place / LAST) for place in places]
    while True:
        try:
            return _launch(config, devices, prepared, reporter)
        except _WorkerDiedError as death:
            if left == 0:
                raise HardwareError(f"{death} {GO_ON}") from death
            left -= 1
            # What lies there from a run before is none of this run's progress.
            if [_version(place / LAST) for place in places] != before:
                config = replace(config, resume=True, overwrite=False)
            how = "Going on from the last checkpoint" if config.resume else "Starting anew"
            reporter.warning(f"{death} {how}; {left} more times.")


def _version(file: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that replaces it; None: it is not there."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


class _WorkerDiedError(Exception):
    """A worker ended without a word of its own."""


def _launch(
    config: FinetuneConfig, devices: Sequence[str], prepared: Prepared, reporter: Reporter
) -> FinetuneResult:
    """Run all workers once."""
    context: Any = torch.multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    default = torch.multiprocessing.get_all_start_methods()[0]
    helpers = torch.multiprocessing.get_start_method(allow_none=True) or default
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=len(devices),
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        start_method="spawn",
        **_graceful(),
    )
    relay = Relay(messages, reporter)
    try:
        with _handlers_kept(), _elastic_quiet(), relay:
            elastic_launch(launch, _work)(config, tuple(devices), prepared, messages, helpers)
    except ChildFailedError as error:
        _explain(relay, error, devices)
    except SignalException as error:
        kind = KeyboardInterrupt if error.sigval == signal.SIGINT else Terminated
        raise kind(*relay.stopped) from None
    if relay.error is not None:
        raise relay.error
    if relay.result is None:
        raise _WorkerDiedError("worker 0 left without a result.")
    return relay.result


def _graceful() -> dict[str, Any]:
    """Return how long workers may take to save, where this torch can be told."""
    known = "shutdown_timeout" in LaunchConfig.__dataclass_fields__
    return {"shutdown_timeout": SAVING_SECONDS} if known else {}


def _explain(relay: Relay, error: ChildFailedError, devices: Sequence[str]) -> None:
    """Raise what a worker has said, or else who died and how.

    Raises:
        CxrlearnError: said by a worker.
        WorkerError: a bug showed in a worker.
        Terminated: a worker alone was asked to stop, and all have saved.
        _WorkerDiedError: nobody said anything, or only that another cannot be heard.
    """
    rank, failure = error.get_first_failure()
    # Where a worker was killed from outside, what others ran into afterwards is no bug.
    killed = failure.exitcode == -signal.SIGKILL and isinstance(relay.error, WorkerError)
    if relay.error is not None and not killed:
        raise relay.error from relay.error.__cause__
    if relay.stopped:
        raise Terminated(*relay.stopped) from None
    if failure.exitcode == _SILENCED and relay.lost is not None:
        raise _WorkerDiedError(relay.lost) from None
    raise _WorkerDiedError(f"worker {rank} on {devices[rank]} died ({_how(failure)}).") from None


def _how(failure: ProcessFailure) -> str:
    if failure.exitcode < 0:
        return signal.Signals(-failure.exitcode).name
    return f"exit code {failure.exitcode}"


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Put back what handled signals before: the launcher puts its own there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _elastic_quiet() -> Iterator[None]:
    """Keep the launcher's own log off the screen: what went wrong is said once, by us."""
    loggers = [
        logging.getLogger(name)
        for name in list(logging.root.manager.loggerDict)
        if name.startswith(("torch.distributed.elastic", "torch.multiprocessing"))
    ]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _work(
    config: FinetuneConfig,
    devices: tuple[str, ...],
    prepared: Prepared,
    messages: Any,  # noqa: ANN401 - a queue
    helpers: str,
) -> None:
    """Train as one of the workers; runs in a process of its own."""
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # Decoding processes would be spawned like this one, each with a torch of its own.
    torch.multiprocessing.set_start_method(helpers, force=True)
    torch.set_num_threads(max(1, usable_cores() // count))
    threading.Thread(target=_follow_launcher, daemon=True).start()
    heard: Reporter = Messenger(messages) if rank == 0 else SILENT
    with stop_on_signals(patient=True) as stop, _last_words(messages, rank, devices):
        device = resolve_device(devices[rank])
        place, say = Place(rank, count, rank, count), Messenger(messages).warning
        with joined(place, device, say) as ranks:
            result = train_and_report(config, prepared, Stage(ranks, device, count, stop, heard))
        if rank == 0:
            messages.put(("result", result))
        _send_all(messages)


def _follow_launcher() -> None:
    """Save and leave when the launcher is no more: else its GPUs would stay taken."""
    launcher = torch.multiprocessing.parent_process()
    if launcher is not None:
        launcher.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SAVING_SECONDS)
        os._exit(_SILENCED)  # stuck with a peer, or done and waiting to be fetched


@contextmanager
def _last_words(
    messages: Any,  # noqa: ANN401 - a queue
    rank: int,
    devices: Sequence[str],
) -> Iterator[None]:
    """Tell the launcher why this worker leaves, and leave."""
    own_name = f"worker {rank} on {devices[rank]}"
    try:
        yield
    except PeerError:
        _leave(messages, _SILENCED)
    except CxrlearnError as error:
        messages.put(("error", spoken_error(error)))
        _leave(messages, error.exit_code)
    except (KeyboardInterrupt, Terminated) as error:
        if rank == 0:
            messages.put(("stopped", str(error)))
        _leave(messages, _STOPPED)
    except Exception as error:  # noqa: BLE001 - the launcher raises it
        if lost_peer(error):
            messages.put(("lost", f"{own_name} lost the others ({what_peers_said(error)})."))
            time.sleep(LAST_WORDS_SECONDS)  # whoever has died is to be noticed first
            _leave(messages, _SILENCED)
        if out_of_memory(error):
            short = out_of_memory_error(error, _FOR_MEMORY)
            messages.put(("error", ("HardwareError", f"{own_name}: {short}")))
            _leave(messages, short.exit_code)
        said = f"{own_name}: {type(error).__name__}: {error}"
        messages.put(("bug", (said, traceback.format_exc())))
        _leave(messages, _BUG)


def _leave(messages: Any, code: int) -> None:  # noqa: ANN401 - a queue
    """End this worker once its words are on their way."""
    _send_all(messages)
    os._exit(code)


def _send_all(messages: Any) -> None:  # noqa: ANN401 - a queue
    """Wait for what is still to be sent, and not for ever.

    A worker that was killed while it sent keeps the queue's lock.
    """
    messages.close()
    sending = threading.Thread(target=messages.join_thread, daemon=True)
    sending.start()
    sending.join(SENDING_SECONDS)
    messages.cancel_join_thread()
