"""The part of `embed` that needs torch: one process decodes, runs backbones and writes parts."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.preprocessing import apply_steps
from cxrlearn.data.loaders import DecodeDataset, ImageTask, deaths_named, decode_in_order
from cxrlearn.errors import DiskError
from cxrlearn.features.extract import Extractor, decide_precision
from cxrlearn.features.fingerprint import AUTO
from cxrlearn.features.parts import PartWriter, Row, parts_folder
from cxrlearn.features.rows import Contents, SeenContents, place_of
from cxrlearn.features.store import read_rows
from cxrlearn.workflows.embed import made_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from cxrlearn.data.loaders import DecodedImage
    from cxrlearn.features.plan import Image
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.embed import Work
    from cxrlearn.workflows.embed_config import EmbedConfig

COPIES_AT_ONCE = 1024
LONG_RUN_SECONDS = 120
"""A run that will take longer says so once its speed is known."""


@dataclass(frozen=True)
class _Pending:
    """An image whose features are on their way."""

    image: Image
    decoded: DecodedImage

    def row(self) -> Row:
        done = self.decoded
        return Row(
            image_id=self.image.image_id,
            content_hash=done.content_hash,
            size=done.size,
            mtime_ns=done.mtime_ns,
            place=place_of(self.image.path),
        )


@dataclass
class _Lane:
    """One backbone: batches in, rows out."""

    work: Work
    extractor: Extractor
    settings: EmbedConfig
    rule: int
    stored: Contents
    """Content of every row in the file: what is there is copied, not computed."""
    _first: NDArray[np.float32] | None = None
    """The features of the first image, while all were equal to it."""
    _writer: PartWriter | None = None
    _queued: list[_Pending] = field(default_factory=list)
    _stored_copies: list[_Pending] = field(default_factory=list)
    _run_copies: list[_Pending] = field(default_factory=list)
    _seen: SeenContents = field(default_factory=SeenContents)

    def take(self, image: Image, decoded: DecodedImage) -> None:
        if decoded.failure is not None:
            self.work.done.failed[image.image_id] = decoded.failure
            return
        if decoded.constant:
            self.work.done.constant.append(image.image_id)
        if decoded.notices:
            self.work.done.notices[image.image_id] = "; ".join(decoded.notices)
        # Pictures are not kept beyond the batch they go into.
        pending = _Pending(image, replace(decoded, pictures={}))
        if decoded.content_hash in self.stored:
            self._stored_copies.append(pending)
            if len(self._stored_copies) >= COPIES_AT_ONCE:
                self._copy_stored()
        elif decoded.content_hash in self._seen:
            self._run_copies.append(pending)
        else:
            self._seen.add(decoded.content_hash)
            self._queued.append(pending)
            self.work.done.computed_constant += decoded.constant
            features = self.extractor.push(decoded.pictures[self.rule])
            if features is not None:
                self._write(features)

    def finish(self) -> None:
        """Run the last, padded batch, copy what has the same content, close the last part."""
        if self._queued:
            self._write(self.extractor.finish())
        self._copy_stored()
        if self._run_copies:
            writer = self._open()
            writer.close_part()
            self._add(
                self._run_copies,
                writer.read_back([p.decoded.content_hash for p in self._run_copies]),
            )
            self.work.done.copied += len(self._run_copies)
        self.save()

    def save(self) -> None:
        """Close the open part."""
        if self._writer is not None:
            self._writer.close_part()

    def _write(self, features: NDArray[np.float32]) -> None:
        """Write the features of the images that have waited longest."""
        done, count = self.work.done, len(features)
        if done.computed == done.alike and count:
            first = features[0].copy() if self._first is None else self._first
            self._first = first
            done.alike += count if (features == first).all() else 0
        self._add(self._queued[:count], features)
        done.computed += count
        self._queued = self._queued[count:]

    def _copy_stored(self) -> None:
        if self._stored_copies:
            found = [self.stored.find(p.decoded.content_hash) for p in self._stored_copies]
            rows = np.array([row for row in found if row is not None])  # each of them was found
            self._add(self._stored_copies, read_rows(self.work.target.file, rows))
            self.work.done.copied += len(rows)
            self._stored_copies = []

    def _add(self, pending: Sequence[_Pending], features: NDArray[np.float32]) -> None:
        writer = self._open()
        for one, values in zip(pending, features, strict=True):
            writer.add(one.row(), values)

    def _open(self) -> PartWriter:
        """Return the writer, once it is known in which precision the features are."""
        if self._writer is None:
            done, target = self.work.done, self.work.target
            done.precision = self._precision()
            done.cosine_distance = self.extractor.cosine_distance
            self._writer = PartWriter(
                parts_folder(target.file),
                replace(target.fingerprint, precision=done.precision),
                made_by(self.work),
                self.settings.part_rows,
                self.settings.part_seconds,
            )
        return self._writer

    def _precision(self) -> str:
        # A file that is there keeps its own precision, also when this run only copies.
        found = self.work.target.fingerprint.precision
        return found if len(self.work.index) and found != AUTO else self.extractor.precision


def compute(
    works: Sequence[Work],
    config: EmbedConfig,
    reporter: Reporter,
    *,
    device: torch.device,
    workers: int | None = None,
) -> None:
    """Compute what is to do, into parts; `work.done` says what came of it.

    Whatever stops it, what the backbones have finished is closed into parts before it is gone.
    """
    rules = _rules(works)
    lanes = [_lane(work, config, reporter, device, rules) for work in works]
    tasks = _tasks(lanes)
    known = _KnownToAll(tuple(lane.stored for lane in lanes))
    dataset = DecodeDataset(tasks, tuple(rules.values()), known, config.intensity)
    stream = decode_in_order(dataset, workers=config.workers if workers is None else workers)
    names = ", ".join(work.target.tag for work in works if work.todo)
    estimate = _Estimate(len(tasks), reporter)
    try:
        with (
            deaths_named(),
            closing(stream),  # the decoding processes end here, not when somebody collects them
            reporter.progress(f"embedding with {names}", len(tasks)) as progress,
        ):
            for decoded in stream:
                for number in tasks.takers[decoded.position]:
                    lanes[number].take(tasks.images[decoded.position], decoded)
                progress.advance()
                estimate.update(decoded.position + 1)
            for lane in lanes:
                lane.finish()
    except DiskError:
        raise  # there is no room for the open part either
    except BaseException:
        for lane in lanes:
            lane.save()
        raise


def _rules(works: Sequence[Work]) -> dict[str, partial[NDArray[np.uint8]]]:
    """Return every distinct preprocessing once, by its identity."""
    return {
        _rule_key(work): partial(apply_steps, preprocessing=work.target.resolved.preprocessing)
        for work in works
    }


def _rule_key(work: Work) -> str:
    return json.dumps(work.target.resolved.preprocessing.identity()["steps"], sort_keys=True)


def _lane(
    work: Work,
    config: EmbedConfig,
    reporter: Reporter,
    device: torch.device,
    rules: dict[str, partial[NDArray[np.uint8]]],
) -> _Lane:
    target = work.target
    options = LoadOptions(
        weights=target.given,
        random_weights=config.random_weights,
        offline=config.offline,
        notify=reporter.notice,
    )
    extractor = Extractor(
        load=lambda: load_resolved(target.resolved, options, device=device),
        device=device,
        batch_size=config.batch_size,
        precision=decide_precision(target.fingerprint.precision, device),
        notify=reporter.notice,
        store=config.store,
        may_fall_back=len(work.index) == 0,
    )
    stored = Contents(work.index.content_hash)
    return _Lane(work, extractor, config, list(rules).index(_rule_key(work)), stored)


@dataclass(frozen=True)
class _Tasks:
    """The images of all lanes, once each and in order, with the lanes that want them."""

    images: list[Image]
    """Sorted."""
    takers: list[tuple[int, ...]]
    """Numbers of the lanes, for each image; equal tuples are one object, as there are many."""
    rules: dict[tuple[int, ...], tuple[int, ...]]
    """Which pictures those lanes need."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> ImageTask:
        return ImageTask(self.images[position].path, self.rules[self.takers[position]])


def _tasks(lanes: Sequence[_Lane]) -> _Tasks:
    wanted: dict[Image, int] = {}  # a bit for each lane
    for number, lane in enumerate(lanes):
        for image in lane.work.todo:
            wanted[image] = wanted.get(image, 0) | 1 << number
    numbers = range(len(lanes))
    sets = {bits: tuple(n for n in numbers if bits >> n & 1) for bits in set(wanted.values())}
    rules = {some: tuple(dict.fromkeys(lanes[n].rule for n in some)) for some in sets.values()}
    images = sorted(wanted)
    return _Tasks(images, [sets[wanted[image]] for image in images], rules)


@dataclass(frozen=True)
class _KnownToAll:
    """The contents that no lane has to compute."""

    stored: tuple[Contents, ...]

    def __contains__(self, content_hash: object) -> bool:
        return all(content_hash in contents for contents in self.stored)


class _Estimate:
    """Says once, when the speed is known, that a run will be long."""

    def __init__(self, total: int, reporter: Reporter) -> None:
        self._total, self._reporter = total, reporter
        self._after = max(256, total // 50)
        self._started = time.monotonic()

    def update(self, done: int) -> None:
        if done != self._after:
            return
        left = (time.monotonic() - self._started) / done * (self._total - done)
        if left > LONG_RUN_SECONDS:
            self._reporter.notice(
                f"about {left / 60:.0f} min for the other {self._total - done:,} images. It can be "
                "stopped at any moment; the same command goes on."
            )
