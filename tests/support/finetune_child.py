"""`cxrlearn finetune` in a process of its own, with a small network that fails as it is told.

Processes are forked from a server that has imported torch already; see `crash_child`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import cxrlearn.workflows.finetune_joined
import cxrlearn.workflows.finetune_ranks  # noqa: F401 - imported before the fork
from cxrlearn.cli import finetune  # noqa: F401 - registers itself
from cxrlearn.cli.app import app
from tests.support.ports import free_port
from tests.support.tiny_backbone import register, tiny_spec

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.finetune_child"])
PATIENCE_SECONDS = 240
FAULT = "FINETUNE_FAULT"
"""Environment variable: kind of fault, forward pass, rank."""
SPECS = (
    tiny_spec("small-net", builder="tests.support.finetune_child:build"),
    tiny_spec("still-net", builder="tests.support.finetune_child:build"),
    tiny_spec("other-net", builder="tests.support.finetune_child:build", dim=5),
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong."""

    kind: str
    """A signal by name; launcher: SIGKILL of the parent; group: SIGTERM to the process and all it
    has started; nan: an output; bug: a ValueError."""
    at: int
    """Which forward pass of the process."""
    rank: int = 0
    """In which worker."""


def build(resolved: ResolvedBackbone) -> nn.Module:
    """Build two convolutions with norms; the fault comes with a forward pass.

    still-net draws nothing while it trains: its dropout, which differs between ranks, is off.
    """
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.0 if resolved.name == "still-net" else 0.1),
        nn.Linear(32, resolved.feature.dim),
    )
    text = os.environ.get(FAULT)
    if text:
        kind, at, rank = text.split(":")
        if rank == os.environ.get("RANK", "0"):
            network.register_forward_hook(_Failing(kind, int(at)))
    return network


class _Failing:
    """Counts forward passes, and fails at one of them."""

    def __init__(self, kind: str, at: int) -> None:
        self._kind, self._at, self._calls = kind, at, 0

    def __call__(self, module: nn.Module, given: object, out: torch.Tensor) -> torch.Tensor | None:
        self._calls += 1
        if self._calls != self._at:
            return None
        if self._kind == "nan":
            return out * float("nan")
        if self._kind == "bug":
            raise ValueError("boom")
        if self._kind == "launcher":
            os.kill(os.getppid(), signal.SIGKILL)
        elif self._kind == "group":
            os.killpg(0, signal.SIGTERM)
        else:
            os.kill(os.getpid(), getattr(signal, self._kind))
        return None


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Exit code; negative: the signal that killed it."""
    err: str
    """stderr."""


def run_finetune(
    *args: object, cwd: Path, fault: Fault | None = None, file_bytes: int | None = None
) -> Ended:
    """Run `cxrlearn finetune ARGS` in the folder `cwd`."""
    (ended,) = _run([{}], args, cwd, fault, file_bytes)
    return ended


def run_joined(count: int, *args: object, cwd: Path, fault: Fault | None = None) -> list[Ended]:
    """Run the command in `count` processes that know of each other as those of torchrun do."""
    port = str(free_port())
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    places = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return _run(places, args, cwd, fault, None)


def run_torchrun(
    count: int, *args: object, cwd: Path, fault: Fault | None = None, restarts: int = 0
) -> Ended:
    """Run the command as torchrun does, in `count` processes that its agent starts again.

    The agent forks them, so that they need not import torch. The exit code is 0 or 1, as
    torchrun's; stderr is that of all processes, one after the other.
    """
    typed = [str(arg) for arg in args]
    agent = CONTEXT.Process(target=_agent, args=(count, typed, cwd, fault, restarts))
    agent.start()
    agent.join(PATIENCE_SECONDS)
    hung = agent.is_alive()
    agent.kill()
    agent.join()
    err = "".join(log.read_text(encoding="utf-8") for log in sorted(cwd.glob("attempt*.txt")))
    assert not hung, err
    return Ended(agent.exitcode or 0, err)


def _agent(count: int, typed: list[str], cwd: Path, fault: Fault | None, restarts: int) -> None:
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="finetune",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=restarts,
        start_method="fork",
    )
    elastic_launch(config, _child_of_agent)(typed, cwd, fault)


def _child_of_agent(typed: list[str], cwd: Path, fault: Fault | None) -> None:
    attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
    if attempt != "0" and rank == "0":
        time.sleep(2)  # the others find what the agent has kept of the rank 0 before
    try:
        _child(typed, cwd, cwd / f"attempt{attempt}-rank{rank}.txt", {}, fault, None)
    except SystemExit as ended:  # one that succeeds has to return
        if ended.code:
            raise


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
    return found


def _run(
    places: list[dict[str, str]],
    args: tuple[object, ...],
    cwd: Path,
    fault: Fault | None,
    file_bytes: int | None,
) -> list[Ended]:
    typed = [str(arg) for arg in args]
    logs = [cwd / f"stderr{number}.txt" for number in range(len(places))]
    processes = [
        CONTEXT.Process(target=_child, args=(typed, cwd, log, place, fault, file_bytes))
        for place, log in zip(places, logs, strict=True)
    ]
    for process in processes:
        process.start()
    ended = []
    for process, log in zip(processes, logs, strict=True):
        process.join(PATIENCE_SECONDS)
        hung = process.is_alive()
        process.kill()
        process.join()
        assert not hung, log.read_text(encoding="utf-8")
        ended.append(Ended(process.exitcode or 0, log.read_text(encoding="utf-8")))
    return ended


def _child(
    typed: list[str],
    cwd: Path,
    log: Path,
    place: dict[str, str],
    fault: Fault | None,
    file_bytes: int | None,
) -> None:
    os.chdir(cwd)
    os.setpgid(0, 0)  # a signal to the group must not reach the tests
    stream = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(stream, number)
    sys.stdout = sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    os.environ.update(CXRLEARN_WORKERS="0", CXRLEARN_DEVICE="", COLUMNS="200")
    os.environ.update(place)
    os.environ.pop(FAULT, None)
    if fault is not None:
        os.environ[FAULT] = f"{fault.kind}:{fault.at}:{fault.rank}"
    torch.set_num_threads(1)
    register(*SPECS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if file_bytes is not None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    sys.argv = ["cxrlearn", "finetune", *typed]
    with contextlib.suppress(BrokenPipeError):
        app()
