"""Whatever stops an embed, what was finished stays, and the next run ends with the same file.

`CXRLEARN_CRASH_KILLS` says how often a running embed is killed (10; `nox -s crash` does 200).
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.errors import HardwareError
from cxrlearn.features.store import WRITE_STEPS, read_features, read_index
from cxrlearn.workflows import embed_ranks
from cxrlearn.workflows.embed import run_embed
from cxrlearn.workflows.embed_config import EmbedConfig
from tests.support.feature_files import everything
from tests.support.tiny_backbone import make_folder, make_image, tiny_spec, use_tiny

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.crash_child import Child, Job

pytest.importorskip("resource", reason="needs signals and limits of POSIX")
crash_child = pytest.importorskip("tests.support.crash_child")

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("CXRLEARN_CRASH_KILLS", "10"))
IMAGES, COPIES, FAILURES = 96, 4, 3
TAG = "tiny-test"


@dataclass(frozen=True)
class Study:
    """About 100 images, some of them copies and some broken, and the file of a calm run."""

    csv: Path
    """All images."""
    half: Path
    """A manifest of the first half."""
    reference: Path
    """The feature file of an uninterrupted run."""
    seconds: float
    """What that run took."""

    def job(self, output_dir: Path) -> Job:
        job: Job = crash_child.Job(self.csv, output_dir, delay=0.004)
        return job


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("crash")
    images = folder / "images"
    names = make_folder(images, IMAGES)
    for number in range(COPIES):
        names.append(f"s1/copy{number}.png")
        shutil.copy(images / names[7 * number], images / names[-1])
    (images / "s2/torn.png").write_bytes((images / names[0]).read_bytes()[:-50])
    (images / "s0/text.png").write_text("not a picture")
    names += ["s2/torn.png", "s0/text.png", "s1/missing.png"]
    write_csv(folder / "all.csv", names)
    write_csv(folder / "half.csv", names[::2])
    job = crash_child.Job(folder / "all.csv", folder / "calm", delay=0.004)
    crash_child.finish(replace(job, output_dir=folder / "warm-up"))
    started = time.monotonic()
    assert crash_child.finish(job) == (IMAGES, COPIES, 0, FAILURES)
    seconds = time.monotonic() - started
    return Study(folder / "all.csv", folder / "half.csv", folder / "calm" / f"{TAG}.h5", seconds)


def write_csv(file: Path, names: list[str]) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Path"])
        writer.writerows([f"images/{name}"] for name in names)


def saved(output_dir: Path) -> set[tuple[bytes, bytes]]:
    """Return the (id, content) of every row that is safe: in the file or in a closed part."""
    file = output_dir / f"{TAG}.h5"
    files = [*output_dir.glob(f"{TAG}.h5"), *file.with_name(f"{file.name}.parts").glob("[!.]*.h5")]
    rows = set()
    for path in files:
        index = read_index(path)
        rows |= set(zip(index.image_id.tolist(), index.content_hash.tolist(), strict=True))
    return rows


def assert_as_if_never_stopped(study: Study, output_dir: Path) -> None:
    assert everything(output_dir / f"{TAG}.h5") == everything(study.reference)
    # Neither parts nor temporary files nor the owner of the lock are left.
    left = {path.name for path in output_dir.iterdir()} - {f".{TAG}.h5.lock"}
    assert left == {f"{TAG}.h5"}


def kill_after(child: Child, seconds: float) -> bool:
    """Kill a child that still runs after some time; tell whether it was still running."""
    if child.end(seconds) is None:
        child.signal(signal.SIGKILL)
    return child.end() == -signal.SIGKILL


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_any_moment_it_goes_on(study: Study, tmp_path: Path, workers: int) -> None:
    generator = np.random.default_rng(workers)
    job = replace(study.job(tmp_path / "out"), workers=workers)
    kills, safe = 0, set[tuple[bytes, bytes]]()
    while kills < (KILLS if workers == 0 else max(2, KILLS // 10)):
        if kill_after(crash_child.Child(job), generator.uniform(0, study.seconds)):
            kills += 1
            now = saved(job.output_dir)
            assert safe <= now  # what was finished stays
            safe = now
        else:  # it was faster than the kill: once more from the start
            assert_as_if_never_stopped(study, job.output_dir)
            shutil.rmtree(job.output_dir)
            safe = set()
    crash_child.finish(job)
    assert_as_if_never_stopped(study, job.output_dir)


MOMENTS = [*((step, 1) for step in WRITE_STEPS), ("part.begin", 4), ("part.written", 9)]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[0]}-{moment[1]}")
@pytest.mark.parametrize("start", ["new", "grown"])
def test_killed_at_a_write_step_it_goes_on(
    study: Study, tmp_path: Path, moment: tuple[str, int], start: str
) -> None:
    job = replace(study.job(tmp_path / "out"), delay=0.0)
    if start == "grown":
        crash_child.finish(replace(job, csv=study.half))
    before = saved(job.output_dir) if start == "grown" else set()
    child = crash_child.Child(replace(job, kill_at=moment))
    assert child.end() == -signal.SIGKILL, f"never reached {moment}"
    safe = saved(job.output_dir)
    assert before <= safe
    if start == "grown":  # and killed again while it recovers
        crash_child.Child(replace(job, kill_at=("merge.written", 1))).end()
        assert safe <= saved(job.output_dir)
    computed, _, unchanged, failed = crash_child.finish(job)
    assert failed == FAILURES
    assert unchanged >= len(safe)
    assert computed <= IMAGES + COPIES - len(safe)
    assert_as_if_never_stopped(study, job.output_dir)


def test_every_write_step_is_known(study: Study) -> None:
    assert {step for step, _ in MOMENTS} == set(WRITE_STEPS)


def test_a_disk_that_is_full_from_the_start(study: Study, tmp_path: Path) -> None:
    job = study.job(tmp_path / "out")
    child = crash_child.Child(replace(job, file_bytes=2048))
    assert child.end() == 8
    assert "file size limit" in child.result
    assert "free some space and run the same command again" in child.result
    assert "\n" not in child.result
    crash_child.finish(job)
    assert_as_if_never_stopped(study, job.output_dir)


def test_a_disk_that_fills_up_keeps_the_finished_parts(study: Study, tmp_path: Path) -> None:
    job = study.job(tmp_path / "out")
    child = crash_child.Child(replace(job, full_at=("part.moved", 5), file_bytes=2048))
    assert child.end() == 8
    safe = saved(job.output_dir)
    assert len(safe) == 5 * job.part_rows
    computed, *_ = crash_child.finish(job)
    assert computed == IMAGES - len(safe)
    assert_as_if_never_stopped(study, job.output_dir)


@pytest.mark.parametrize("start", ["new", "grown"])
def test_a_disk_too_small_for_the_merge_loses_nothing(
    study: Study, tmp_path: Path, start: str
) -> None:
    job = study.job(tmp_path / "out")
    if start == "grown":
        crash_child.finish(replace(job, csv=study.half))
    file = job.output_dir / f"{TAG}.h5"
    before = file.read_bytes() if start == "grown" else None
    child = crash_child.Child(replace(job, full_at=("merge.begin", 1), file_bytes=2048))
    assert child.end() == 8
    assert (file.read_bytes() if file.exists() else None) == before
    assert len(saved(job.output_dir)) == IMAGES + COPIES
    computed, copied, *_ = crash_child.finish(job)
    assert (computed, copied) == (0, 0)
    assert_as_if_never_stopped(study, job.output_dir)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_asked_to_stop_it_closes_its_part_and_goes(
    study: Study, tmp_path: Path, number: signal.Signals, code: int, workers: int
) -> None:
    words = tmp_path / "stderr.txt"
    job = replace(
        study.job(tmp_path / "out"), delay=0.05, part_rows=10_000, workers=workers, stderr=words
    )
    child = crash_child.Child(job)
    child.wait_for_images(20)
    child.signal(number, group=number == signal.SIGINT)
    assert child.end() == code
    assert 16 <= len(saved(job.output_dir)) < IMAGES  # four batches at least, in one part
    assert "Traceback" not in words.read_text()
    crash_child.finish(replace(job, delay=0.0))
    assert_as_if_never_stopped(study, job.output_dir)


def test_a_second_embed_is_told_who_is_at_work(study: Study, tmp_path: Path) -> None:
    job = replace(study.job(tmp_path / "out"), delay=0.05)
    first = crash_child.Child(job)
    first.wait_for_images(8)
    second = crash_child.Child(job)
    assert second.end() == 5
    assert f"process {first.process.pid} on" in second.result
    first.signal(signal.SIGKILL)
    first.end()
    crash_child.finish(replace(job, delay=0.0))
    assert_as_if_never_stopped(study, job.output_dir)


@pytest.fixture
def ranks(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedConfig:
    monkeypatch.setattr(embed_ranks, "START_METHOD", "forkserver")  # as the children above
    use_tiny(monkeypatch)
    return EmbedConfig(
        model=(TAG,),
        csv=study.csv,
        output_dir=tmp_path / "out",
        gpus=("cpu", "cpu"),
        batch_size=4,
        part_rows=6,
        workers=0,
    )


def assert_close(study: Study, config: EmbedConfig) -> None:
    # Ranks may use another number of threads, so the last bits may differ.
    one, other = read_features(study.reference), read_features(config.output_dir / f"{TAG}.h5")
    assert one.ids.tolist() == other.ids.tolist()
    assert one.content_hashes.tolist() == other.content_hashes.tolist()
    assert one.failed == other.failed
    scale = np.abs(one.features).max(axis=1, keepdims=True)
    assert (np.abs(one.features - other.features) <= 1e-5 * scale).all()


def test_two_ranks_make_the_file_of_one(study: Study, ranks: EmbedConfig) -> None:
    (result,) = run_embed(ranks).files
    # A copy that falls to the other rank than its original is computed there.
    assert result.computed + result.copied == IMAGES + COPIES
    assert len(result.failed) == FAILURES
    assert_close(study, ranks)


def test_a_rank_that_dies_is_named_and_its_parts_stay(
    study: Study, ranks: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch, tiny_spec(builder="tests.support.tiny_backbone:build_deadly"))
    with pytest.raises(HardwareError, match=r"worker 1 on cpu died \(SIGKILL\)") as caught:
        run_embed(ranks)
    assert "run the same command again" in str(caught.value)
    safe = saved(ranks.output_dir)
    assert len(safe) >= 6  # a part of the dead one, and what the other had
    use_tiny(monkeypatch)
    (result,) = run_embed(ranks).files
    assert result.unchanged == len(safe)
    assert_close(study, ranks)


def test_a_fault_in_a_rank_is_the_fault_of_the_run(
    study: Study, ranks: EmbedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch, tiny_spec(builder="tests.support.tiny_backbone:no_such_builder"))
    with pytest.raises(Exception, match=r"worker [01] on cpu: .*no_such_builder") as caught:
        run_embed(ranks)
    assert getattr(caught.value, "exit_code", None) == 4


def test_an_image_that_appears_later_is_no_stranger(study: Study, tmp_path: Path) -> None:
    # Between two runs an image is mended: it leaves /failed, and nothing else changes.
    images = tmp_path / "images"
    names = make_folder(images, 12)
    (images / names[4]).write_bytes(b"torn")
    write_csv(tmp_path / "all.csv", names)
    job = crash_child.Job(tmp_path / "all.csv", tmp_path / "out")
    assert crash_child.finish(job) == (11, 0, 0, 1)
    make_image(images / names[4], 4)
    assert crash_child.finish(job) in {(1, 0, 11, 0), (0, 1, 11, 0)}
    fresh = replace(job, output_dir=tmp_path / "fresh")
    crash_child.finish(fresh)
    one, other = (everything(path / f"{TAG}.h5") for path in (job.output_dir, fresh.output_dir))
    assert one == other
