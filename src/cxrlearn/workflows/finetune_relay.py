"""What worker 0 of a finetuning run says, carried to the process that started it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from queue import Empty
from typing import TYPE_CHECKING, Any

import cxrlearn.errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxrlearn.errors import CxrlearnError
    from cxrlearn.runtime.events import Progress, Reporter
    from cxrlearn.workflows.finetune_run import FinetuneResult


POLL_SECONDS, PATIENCE_SECONDS = 0.2, 10.0
"""How often the listener asks whether all is over, and how long it may take to hear the rest."""


class WorkerError(Exception):
    """A worker failed as none of our errors says: a bug. Its cause is the traceback from there."""


class _RemoteTracebackError(Exception):
    """Shows the traceback of another process where tracebacks are shown."""


def spoken_error(error: CxrlearnError) -> tuple[str, str]:
    """Return the class and the text of an error, for another process: our own class above it."""
    ours = (one.__name__ for one in type(error).__mro__ if one.__module__ == "cxrlearn.errors")
    return next(ours), str(error)


def bug_of_worker(text: str, trace: str) -> WorkerError:
    """Return the error that shows a worker's traceback where tracebacks are shown."""
    bug = WorkerError(text)
    bug.__cause__ = _RemoteTracebackError(f"\n{trace}")
    return bug


class Relay:
    """A thread that hears what the workers say while the launcher waits for them."""

    def __init__(self, messages: Any, reporter: Reporter) -> None:  # noqa: ANN401 - a queue
        """Hear `messages`; notices, warnings and progress go on to `reporter`."""
        self._messages, self._reporter = messages, reporter
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._over = threading.Event()
        self._shown: dict[int, tuple[ExitStack, Progress]] = {}
        self.error: CxrlearnError | WorkerError | None = None
        """What a worker has reported before it left; of several the first, which is the cause."""
        self.lost: str | None = None
        """What a worker has said that cannot hear the others any more."""
        self.result: FinetuneResult | None = None
        """Of worker 0."""
        self.stopped: tuple[str, ...] = ()
        """What worker 0 has said when it was asked to stop, and had saved."""

    def __enter__(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        """Hear what is still on its way, and end every progress.

        Nothing is sent to the listener, and it is not waited for without end: a worker that was
        killed while it sent keeps the queue's lock, or leaves half a message.
        """
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)
        for number in sorted(self._shown, reverse=True):  # a worker that died has closed none
            with suppress(Exception):
                self._close(number)

    def _listen(self) -> None:
        """Take every message; whatever goes wrong, workers must not wait before a full pipe."""
        last = False
        while not last:
            over = self._over.is_set()  # before: what was sent until then is heard
            try:
                kind, content = self._messages.get(timeout=POLL_SECONDS)
            except Empty:
                last = over
            except (OSError, EOFError):  # half a message of a worker that was killed
                return
            except Exception:  # noqa: BLE001, S112 - one that cannot be unpickled is past
                continue
            else:
                with suppress(Exception):  # what cannot be shown is no reason to stop a training
                    self._take(kind, content)

    def _take(self, kind: str, content: Any) -> None:  # noqa: ANN401 - of any kind
        if kind in {"notice", "warning"}:
            getattr(self._reporter, kind)(content)
        elif kind == "open":
            number, title, total, unit = content
            stack = ExitStack()
            shown = self._reporter.progress(title, total, unit=unit)
            self._shown[number] = stack, stack.enter_context(shown)
        elif kind == "close":
            self._close(content)
        elif kind in {"advance", "describe"}:
            number, what = content
            getattr(self._shown[number][1], kind)(what)
        else:
            self._keep(kind, content)

    def _keep(self, kind: str, content: Any) -> None:  # noqa: ANN401 - of any kind
        if kind == "error":
            name, text = content
            self.error = self.error or getattr(cxrlearn.errors, name)(text)
        elif kind == "bug":
            self.error = self.error or bug_of_worker(*content)
        elif kind == "lost":
            self.lost = self.lost or content
        elif kind == "stopped":
            self.stopped = (content,)
        elif kind == "result":
            self.result = content

    def _close(self, number: int) -> None:
        stack, _ = self._shown.pop(number)
        stack.close()


class Messenger:
    """The `Reporter` of worker 0: everything goes to the launcher."""

    def __init__(self, messages: Any) -> None:  # noqa: ANN401 - a queue
        """Send to `messages`."""
        self._messages = messages
        self._numbers = count()

    def notice(self, message: str) -> None:
        """Send it on."""
        self._messages.put(("notice", message))

    def warning(self, message: str) -> None:
        """Send it on."""
        self._messages.put(("warning", message))

    @contextmanager
    def progress(self, title: str, total: int, *, unit: str = "images") -> Iterator[Progress]:
        """Open a progress there, and close it in the end."""
        number = next(self._numbers)
        self._messages.put(("open", (number, title, total, unit)))
        try:
            yield _RemoteProgress(self._messages, number)
        finally:
            self._messages.put(("close", number))


class _RemoteProgress:
    def __init__(self, messages: Any, number: int) -> None:  # noqa: ANN401 - a queue
        self._messages, self._number = messages, number

    def advance(self, amount: int = 1) -> None:
        self._messages.put(("advance", (self._number, amount)))

    def describe(self, text: str) -> None:
        self._messages.put(("describe", (self._number, text)))
