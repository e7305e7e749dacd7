"""Several processes that train one model: what `Ranks` asks for, by `torch.distributed`."""

from __future__ import annotations

import os
import re
import time
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from cxrlearn.errors import CxrlearnError, UsageError
from cxrlearn.training.waiting import Waiting, said_if_long, waiting_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""Longest wait for the other ranks; a rank that has died is noticed long before."""
POLL_SECONDS = 0.05
"""How often rank 0 looks who has come."""
FIRST_PORT, PORTS = 20_000, 20_000
"""Ports that jobs of SLURM are spread over, by their number."""


@dataclass(frozen=True)
class Place:
    """Which process this is among those that somebody has started."""

    rank: int
    """From 0, over all machines."""
    world_size: int
    """How many they are."""
    local_rank: int
    """From 0 on this machine."""
    local_size: int
    """How many are on this machine."""


class PeerError(CxrlearnError):
    """Another rank has failed and says why; this one has nothing to add, and no text."""

    def __init__(self, exit_code: int) -> None:
        """Leave with the exit code of the rank that has failed: all of a run tell the same."""
        super().__init__()
        self.exit_code = exit_code  # type: ignore[misc] # of the other's class


def lost_peer(error: Exception) -> bool:
    """Tell whether an error means that another rank has gone, rather than a fault of this one."""
    if isinstance(error, distributed.DistError):
        return True
    words = ("gloo", "Gloo", "NCCL", "closed by peer")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def what_peers_said(error: Exception) -> str:
    """Return the text of an error of `lost_peer` in one line, without places in C++ and advice."""
    text = re.split(r"Exception raised from|This is typically caused by", str(error))[0]
    return " ".join(re.sub(r"\[\S+\.\w+:\d+\]", "", text).split()).rstrip(".")


def find_place(environment: Mapping[str, str]) -> Place | None:
    """Return what torchrun or SLURM's `srun` says of this process; None: it is alone.

    A batch script of SLURM is alone: only `srun` sets the number of tasks of a step.

    Raises:
        UsageError: the environment contradicts itself.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if not {"RANK", "WORLD_SIZE"} <= environment.keys():
        if int(environment.get("SLURM_STEP_NUM_TASKS") or 1) < 2:
            return None
        per_node = environment.get("SLURM_STEP_TASKS_PER_NODE", "1")
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "")
        environment = {**environment, "": (re.findall(r"\d+", per_node) or ["1"])[0]}
    try:
        place = Place(*(int(environment.get(name) or default) for name, default in
                        zip(names, ("", "", "0", "1"), strict=True)))  # fmt: skip
    except ValueError:
        said = ", ".join(f"{name}={environment.get(name)}" for name in names if name)
        raise UsageError(
            f"torchrun or srun should say which process this is; the environment has {said}."
        ) from None
    if not 0 <= place.rank < place.world_size:
        raise UsageError(f"there is no rank {place.rank} of {place.world_size}: see {names[0]}.")
    return place if place.world_size > 1 else None


def meeting_point(environment: Mapping[str, str]) -> dict[str, str]:
    """Return MASTER_ADDR and MASTER_PORT: as set, else what SLURM lets us derive.

    Raises:
        UsageError: nothing says where the ranks meet.
    """
    address = environment.get("MASTER_ADDR") or _first_host(environment)
    job = environment.get("SLURM_JOB_ID", "")
    port = environment.get("MASTER_PORT") or (
        str(FIRST_PORT + int(job) % PORTS) if job.isdigit() else None
    )
    if not address or not port:
        raise UsageError(
            "several processes were started, and nothing says where they meet: set MASTER_ADDR to "
            "the name of the first machine and MASTER_PORT to a free port."
        )
    return {"MASTER_ADDR": address, "MASTER_PORT": port}


def _first_host(environment: Mapping[str, str]) -> str | None:
    """Return the first host of a list such as `gpu[03-05,9],login`."""
    listed = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    match = re.match(r"([^,\[]+)(?:\[(\d+))?", listed)
    return None if match is None else match[1] + (match[2] or "")


@contextmanager
def joined(
    place: Place, device: torch.device, say: Callable[[str], None] = lambda _: None
) -> Iterator[ProcessRanks]:
    """Join the other ranks, and leave them in the end: over NCCL on GPUs, else over gloo.

    Args:
        place: which rank this is.
        device: where it computes.
        say: told for whom this rank waits, when that takes long.
    """
    point = meeting_point(os.environ)
    os.environ.update(point)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    late: list[int] = [] if place.rank == 0 else [0]

    def sentence(seconds: float) -> str:
        where = f" at {point['MASTER_ADDR']}, port {point['MASTER_PORT']}"
        return waiting_sentence(place.rank, place.world_size, late, seconds, where)

    with said_if_long(say, sentence):
        # Of one rank: rank 0 does not wait here, where nobody could say for whom.
        found, _, _ = next(rendezvous("env://", place.rank, 1, timeout=TIMEOUT))
        store = PrefixStore("cxrlearn", found)  # an agent keeps its own notes there
        store = PrefixStore(name_of_group(store, place, late), store)
        distributed.init_process_group(
            # gloo carries what lies in the CPU's memory beside NCCL.
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=place.rank,
            world_size=place.world_size,
            timeout=TIMEOUT,
        )
    try:
        with Waiting(place.rank, place.world_size, store, say) as waiting:
            yield ProcessRanks(place.rank, place.world_size, waiting)
    finally:
        distributed.destroy_process_group()


def name_of_group(store: Store, place: Place, late: list[int] | None = None) -> str:
    """Agree with the other ranks on a name for their group that none before them has had.

    An agent of torchrun that starts its processes again keeps its store, and in it the addresses
    of those that have gone; and the agents of several machines count restarts each on its own. So
    every rank calls with a word of its own, and rank 0 answers whatever it finds until all have
    heard: what earlier processes have left there is answered in vain.

    Args:
        store: shared by all ranks.
        place: which rank this is.
        late: on rank 0, kept to the ranks that have not called yet.

    Raises:
        DistError: a rank did not come within `TIMEOUT`.
    """
    if place.rank > 0:
        word = uuid4().hex
        store.set(f"call/{place.rank}", word)
        name = str(store.get(f"answer/{word}"), "ascii")
        store.add(f"{name}/heard", 1)
        return name
    name, give_up = uuid4().hex, time.monotonic() + TIMEOUT.total_seconds()
    calls = [f"call/{rank}" for rank in range(1, place.world_size)]
    while store.add(f"{name}/heard", 0) < len(calls):
        if time.monotonic() > give_up:
            raise distributed.DistStoreError(f"{len(calls)} others were expected, and did not come")
        missing = [call for call in calls if not store.check([call])]
        if late is not None:
            late[:] = [int(call.removeprefix("call/")) for call in missing]
        for call in calls:
            if call not in missing:
                store.set(f"answer/{str(store.get(call), 'ascii')}", name)
        time.sleep(POLL_SECONDS)
    return name


@dataclass
class ProcessRanks:
    """One process of a `torch.distributed` group, as the loop and its workflow see it."""

    rank: int = 0
    """Which one this is, from 0."""
    world_size: int = 1
    """How many they are; 1: no group is needed."""
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    """Open while this rank waits for the others."""
    _shared: DistributedDataParallel | None = field(default=None, repr=False)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Add each value over all ranks, in float64."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(list(values), dtype=torch.float64)
        with self.waiting():
            distributed.all_reduce(total)
        return [float(value) for value in total]

    def hold_gradients(
        self,
        model: torch.nn.Module,  # noqa: ARG002 - the protocol's names
    ) -> AbstractContextManager[None]:
        """Let `backward` keep gradients to itself while open."""
        held: AbstractContextManager[None] = (
            nullcontext() if self._shared is None else self._shared.no_sync()
        )
        return held

    def share(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return the model to call in training: its gradients are averaged over the ranks."""
        if self.world_size == 1:
            return model
        device = next(model.parameters()).device
        with warnings.catch_warnings():
            # Renamed in torch 2.15; the new name is unknown to the versions before.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            self._shared = DistributedDataParallel(
                model,
                device_ids=[device.index] if device.type == "cuda" else None,
                # Statistics of norms differ between ranks only in training; see `same_buffers`.
                broadcast_buffers=False,
            )
        return self._shared

    def same_buffers(self, model: torch.nn.Module) -> None:
        """Give all ranks the buffers of rank 0: statistics of batch normalisation."""
        if self.world_size > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, src=0)

    def same_weights(self, model: torch.nn.Module) -> None:
        """Give all ranks the parameters and buffers of rank 0."""
        if self.world_size > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                distributed.broadcast(tensor.data, src=0)

    def gather(self, own: T) -> list[T]:
        """Return what every rank has, in order, on every rank; plain data and arrays."""
        if self.world_size == 1:
            return [own]
        found: list[Any] = [None] * self.world_size
        with self.waiting():
            distributed.all_gather_object(found, own)
        return found

    def gather_to_first(self, own: T) -> list[T]:
        """Return what every rank has, in order, on rank 0, and nothing on the others."""
        if self.world_size == 1:
            return [own]
        found: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        with self.waiting():
            distributed.gather_object(own, found)
        return found or []

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what rank 0 makes, on every rank.

        Raises:
            CxrlearnError: on rank 0 what went wrong, `PeerError` on the others.
        """
        made: list[Any] = [None]

        def fill() -> None:
            made[0] = make()

        self.together(fill)
        if self.world_size > 1:
            with self.waiting():
                distributed.broadcast_object_list(made, src=0)
        first: T = made[0]
        return first

    def each(self, make: Callable[[], T]) -> T:
        """Let every rank make its own, and all of them leave where one could not.

        Raises:
            CxrlearnError: what went wrong here; on ranks above 0 only where rank 0 has no fault,
                since all would tell the same, else `PeerError`.
        """
        made: list[T] = []
        failure: CxrlearnError | None = None
        try:
            made.append(make())
        except CxrlearnError as error:
            failure = error
        codes = self.gather(None if failure is None else failure.exit_code)
        if failure is not None and (self.rank == 0 or codes[0] is None):
            raise failure
        failed = [code for code in codes if code is not None]
        if failed:
            raise PeerError(failed[0])
        return made[0]

    def together(self, action: Callable[[], None]) -> None:
        """Let rank 0 act, and all ranks know whether it could: none waits for one that has left.

        Raises:
            CxrlearnError: on rank 0 what went wrong, `PeerError` on the others.
        """
        failure: BaseException | None = None
        if self.rank == 0:
            try:
                action()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failure = error
        code = 0 if failure is None else getattr(failure, "exit_code", 1)
        (failed,) = self.sum([float(code)])
        if failure is not None:
            raise failure
        if failed:
            raise PeerError(int(failed))
