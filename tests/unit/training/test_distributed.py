from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from torch import distributed

from cxrlearn.errors import DataError, DiskError, UsageError
from cxrlearn.training.distributed import (
    PeerError,
    Place,
    ProcessRanks,
    find_place,
    lost_peer,
    meeting_point,
    name_of_group,
    what_peers_said,
)
from tests.support.training_ranks import Job, Trained, run_job, write_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MODELS = ("vit", "batchnorm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Callable[[str], Trained]:
    found = {model: run_job(Job(folder, model)) for model in MODELS}
    return found.__getitem__


# ---- several ranks are one ----------------------------------------------------------------------


def assert_equal_course(found: Trained, alone: Trained) -> None:
    assert len(found.losses) == len(alone.losses) >= 50
    np.testing.assert_allclose(found.losses, alone.losses, rtol=1e-5)
    np.testing.assert_allclose(found.outputs, alone.outputs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_two_ranks_take_the_steps_of_one(
    folder: Path, alone: Callable[[str], Trained], model: str
) -> None:
    assert_equal_course(run_job(Job(folder, model, world_size=2)), alone(model))


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_in_four_parts_is_the_batch(
    folder: Path, alone: Callable[[str], Trained], model: str
) -> None:
    assert_equal_course(run_job(Job(folder, model, accumulate=4)), alone(model))


def test_two_ranks_that_accumulate_take_the_steps_of_one(
    folder: Path, alone: Callable[[str], Trained]
) -> None:
    assert_equal_course(run_job(Job(folder, "vit", world_size=2, accumulate=2)), alone("vit"))


def test_four_times_eight_is_once_thirty_two(folder: Path) -> None:
    parts = run_job(Job(folder, "vit", batch_size=32, accumulate=4, epochs=13))
    assert_equal_course(parts, run_job(Job(folder, "vit", batch_size=32, epochs=13)))


def test_the_loss_falls(alone: Callable[[str], Trained]) -> None:
    for model in MODELS:
        losses = alone(model).losses
        assert np.mean(losses[-13:]) < np.mean(losses[:13])


# ---- one process --------------------------------------------------------------------------------


def test_one_process_needs_no_group() -> None:
    ranks = ProcessRanks()
    assert ranks.sum([1.5, 2.0]) == [1.5, 2.0]
    assert ranks.gather("own") == ["own"]
    assert ranks.from_first(lambda: 7) == 7


def test_what_rank_zero_cannot_do_is_raised() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ProcessRanks().together(fail)


def test_the_others_leave_with_the_exit_code_of_rank_zero() -> None:
    class Pair(ProcessRanks):
        """Two ranks, one after the other: what the first adds to a sum the second finds."""

        added = 0.0

        def sum(self, values: Sequence[float]) -> list[float]:
            Pair.added += values[0]
            return [Pair.added]

    def fail() -> None:
        raise DiskError("the disk is full")

    with pytest.raises(DiskError, match="the disk is full"):
        Pair(0, 2).together(fail)
    with pytest.raises(PeerError) as left:
        Pair(1, 2).together(fail)
    assert (left.value.exit_code, str(left.value)) == (DiskError.exit_code, "")


# ---- a store that knows of processes before -----------------------------------------------------


def test_ranks_that_are_started_again_in_the_same_store_have_a_group_of_their_own() -> None:
    store = distributed.HashStore()  # type: ignore[attr-defined] # torch exports it so
    store.set("call/1", "of one that died before it was answered")
    places = [Place(rank, 3, rank, 3) for rank in range(3)]
    names: list[str] = []
    for _ in range(3):
        with ThreadPoolExecutor(3) as threads:
            found = set(threads.map(lambda place: name_of_group(store, place), places))
        assert len(found) == 1
        names += found
    assert len(set(names)) == 3


# ---- whose fault an error is --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (distributed.DistBackendError("unhandled cuda error"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("NCCL is a word of this text"), False),
    ],
)
def test_an_error_of_another_rank_is_told_from_one_of_this(error: Exception, lost: bool) -> None:  # noqa: FBT001
    assert lost_peer(error) is lost


def test_what_torch_says_is_one_line_without_frames_of_cpp() -> None:
    error: Exception = distributed.DistBackendError(
        "NCCL error\nLast error:\nDuplicate GPU detected.\nException raised from f at x.cpp:3"
    )
    assert what_peers_said(error) == "NCCL error Last error: Duplicate GPU detected"
    error = RuntimeError(
        "[/build/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer "
        "[127.0.0.1]:14010. This is typically caused by a remote worker crashing. GLHF!"
    )
    assert what_peers_said(error) == "Connection closed by peer [127.0.0.1]:14010"


# ---- who has started this process ---------------------------------------------------------------

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_JOB_ID": "123456",
}  # fmt: skip


def test_a_process_of_torchrun_or_srun_knows_its_place() -> None:
    assert find_place(TORCHRUN) == Place(5, 8, 1, 4)
    assert find_place(SRUN) == Place(3, 4, 1, 2)
    assert find_place(SRUN | TORCHRUN) == Place(5, 8, 1, 4)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # a batch script, not a step
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"RANK": "0", "WORLD_SIZE": "1"},
    ],
)
def test_a_process_alone_is_alone(environment: dict[str, str]) -> None:
    assert find_place(environment) is None


@pytest.mark.parametrize("change", [{"RANK": "x"}, {"RANK": "8"}, {"WORLD_SIZE": ""}])
def test_an_environment_that_contradicts_itself_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        find_place({**TORCHRUN, **change})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[03-04]", "gpu03"), ("a,b", "a"), ("n7", "n7"), ("x-[1,5],y2", "x-1")],
)
def test_ranks_of_slurm_meet_on_their_first_machine(nodes: str, first: str) -> None:
    point = meeting_point({**SRUN, "SLURM_STEP_NODELIST": nodes})
    assert point["MASTER_ADDR"] == first
    assert 20_000 <= int(point["MASTER_PORT"]) < 40_000


def test_a_meeting_point_that_is_set_is_kept_and_none_is_an_error() -> None:
    given = {"MASTER_ADDR": "host", "MASTER_PORT": "29500"}
    assert meeting_point({**SRUN, **given}) == given
    with pytest.raises(UsageError, match="MASTER_ADDR"):
        meeting_point(TORCHRUN)


def test_a_process_alone_makes_its_own() -> None:
    alone = ProcessRanks()
    assert alone.each(lambda: 3) == 3

    def fail() -> int:
        raise DataError("no such file")

    with pytest.raises(DataError, match="no such file"):
        alone.each(fail)
