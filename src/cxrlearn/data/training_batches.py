"""Batches of decoded radiographs for training and validation, shared out among ranks.

Which images stand in which batch follows from (seed, epoch) and the sizes alone, never from workers
or from images that cannot be read: a run that goes on in the middle of an epoch meets what it would
have met, and several ranks together meet what one would have met alone.
"""

from __future__ import annotations

import math
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from cxrlearn.data.augmentation import NO_AUGMENTATION, Augmentation
from cxrlearn.data.decoded_cache import DecodedCache, ImageFile
from cxrlearn.data.images import decode_radiograph, read_file
from cxrlearn.data.loaders import (
    deaths_named,
    failure_reason,
    short_of_memory,
    signals_held,
    start_worker,
)
from cxrlearn.errors import DiskError, UnreadableImageError, UsageError
from cxrlearn.runtime.memory import ran_short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from cxrlearn.data.images import Intensity
    from cxrlearn.data.loaders import Rule

_ORDER: Final = 0x0DE
"""Keeps the draws of the order apart from others that start from the same seed and epoch."""
_RESCUE: Final = "The last checkpoint is kept; run the same command with --resume"


class Share(NamedTuple):
    """Which part of every batch this process takes."""

    rank: int = 0
    """Which process this is, from 0."""
    world_size: int = 1
    """How many they are."""


WHOLE: Final = Share()
"""There is one process."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """The images of one split, as files, with their labels."""

    paths: Sequence[str]
    """(N) where each image is."""
    values: NDArray[np.int8]
    """(N, L) labels, as `data.labels.Labels` holds them."""
    known: NDArray[np.bool_]
    """(N, L) False where masked."""
    rule: Rule
    """Brings an (H, W) uint8 picture to the backbone's size; picklable."""
    picture_size: tuple[int, int]
    """(height, width) that `rule` makes."""
    intensity: Intensity = "percentile"
    """How files of more than 8 bits become grey."""
    cache: DecodedCache | None = None
    """Where decoded pictures are kept."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)


@dataclass(frozen=True)
class LoadingConfig:
    """How pictures come into memory."""

    workers: int = 0
    """Processes that decode; 0: this one."""
    pin: bool = False
    """Whether batches lie in memory that a GPU can copy from while it computes."""
    on_failure: Callable[[int, str], None] = lambda _row, _reason: None
    """Told the position and the reason of an image that cannot be read, each time it is met."""
    on_image_notice: Callable[[int, str], None] = lambda _row, _notice: None
    """Told the position of an image that is constant, or was not read as its file states."""
    on_notice: Callable[[str], None] = lambda _message: None
    """Told once an epoch if the cache cannot be written to."""


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """The n readable images of a micro-batch."""

    rows: torch.Tensor
    """(n,) int64 positions in the split."""
    pixels: torch.Tensor
    """(n, 1, H, W) uint8 grey, not yet normalised."""
    values: torch.Tensor
    """(n, L) int8 labels."""
    known: torch.Tensor
    """(n, L) bool, False where masked."""

    def __len__(self) -> int:
        """Return n."""
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class ImageBatches:
    """The micro-batches of one rank: every image once an epoch, in an order of its own.

    A batch of `batch_size` images is shared out among the ranks in contiguous parts, each cut into
    `accumulate` micro-batches of nearly equal size. The last batch of an epoch has what is left,
    in as many micro-batches as keep each of them filled.

    An image that cannot be read is left out of its micro-batch. A micro-batch that is left empty
    holds one made-up picture with all labels masked, since ranks have to take every step together.
    """

    images: LabelledImages
    """What to train on."""
    batch_size: int
    """Images of a step, over all ranks and micro-batches."""
    seed: int
    """Decides orders and augmentation; 0 or above."""
    accumulate: int = 1
    """Micro-batches a step."""
    share: Share = WHOLE
    """Which part is this process's."""
    augmentation: Augmentation = NO_AUGMENTATION
    """How pictures are changed."""
    loading: LoadingConfig = LoadingConfig()
    """How they are decoded."""

    def __post_init__(self) -> None:
        """Refuse a batch that cannot be shared out.

        Raises:
            UsageError: there are fewer images in a batch than micro-batches on all ranks.
        """
        parts = self.share.world_size * self.accumulate
        if self.batch_size < parts:
            raise UsageError(
                f"--batch-size {self.batch_size} cannot be shared among {self.share.world_size} "
                f"ranks with {self.accumulate} micro-batches each: it has to be {parts} or more."
            )

    def __len__(self) -> int:
        """Return the micro-batches of an epoch: the same for all epochs and ranks."""
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole * self.accumulate + (self._pieces(rest) if rest else 0)

    def epoch(self, epoch: int, first: int) -> Iterator[ImageBatch]:
        """Yield the micro-batches of an epoch from number `first` on; those before cost nothing.

        Raises:
            HardwareError: a decoding process died.
        """
        decoder = _Decoder(self.images, self.augmentation, self.seed, epoch)
        for rows, read in _read(decoder, self.rows(epoch)[first:], self.loading):
            yield _batch(self.images, read) if len(read.rows) else self._stand_in(rows)

    def rows(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the positions in every micro-batch of this rank in an epoch."""
        order = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(len(self.images))
        micro = []
        for start in range(0, len(order), self.batch_size):
            whole = order[start : start + self.batch_size]
            own = _part(whole, self.share.rank, self.share.world_size)
            pieces = self._pieces(len(whole))
            micro += [_part(own, number, pieces) for number in range(pieces)]
        return micro

    def _pieces(self, size: int) -> int:
        """Return how many micro-batches a batch has on every rank."""
        return max(1, min(self.accumulate, size // self.share.world_size))

    def _stand_in(self, rows: NDArray[np.int64]) -> ImageBatch:
        """Return a batch of one picture that is nobody's, with every label masked."""
        height, width = self.images.picture_size
        # No two neighbours are equal: some networks have no gradient on a constant picture.
        pixels = (torch.arange(height * width) * 37 % 251).to(torch.uint8)
        row = torch.from_numpy(rows[:1]) if len(rows) else torch.zeros(1, dtype=torch.int64)
        values = torch.from_numpy(self.images.values[:1])
        return ImageBatch(
            row,
            pixels.view(1, 1, height, width),
            torch.zeros_like(values),
            torch.zeros_like(values, dtype=torch.bool),
        )


@dataclass(frozen=True, eq=False)
class EvaluationBatches:
    """The images of one rank in their order: every one on exactly one rank, none twice.

    Images that cannot be read are left out; a batch of nothing else is not yielded.
    """

    images: LabelledImages
    """What to predict."""
    batch_size: int
    """Images of a batch on this rank; the last has what is left."""
    share: Share = WHOLE
    """Which part is this process's."""
    loading: LoadingConfig = LoadingConfig()
    """How they are decoded."""

    def __len__(self) -> int:
        """Return the number of batches of this rank if all images can be read."""
        return math.ceil(len(self._own()) / self.batch_size)

    def __iter__(self) -> Iterator[ImageBatch]:
        """Yield the batches.

        Raises:
            HardwareError: a decoding process died.
        """
        own = self._own()
        parts = [own[at : at + self.batch_size] for at in range(0, len(own), self.batch_size)]
        decoder = _Decoder(self.images, NO_AUGMENTATION, 0, 0)
        for _, read in _read(decoder, parts, self.loading):
            if len(read.rows):
                yield _batch(self.images, read)

    def _own(self) -> NDArray[np.int64]:
        return _part(np.arange(len(self.images)), *self.share)


@contextmanager
def training_deaths_named() -> Iterator[None]:
    """Name decoding processes that die, wherever in the main thread torch says so.

    Wrap whatever trains or predicts while batches are being made.

    Raises:
        HardwareError: one died.
    """
    with deaths_named(_RESCUE):
        yield


class _Read(NamedTuple):
    """What a worker sends back; a plain tuple, so that torch can pin it."""

    rows: torch.Tensor
    pixels: torch.Tensor
    failures: list[tuple[int, str]]
    image_notices: list[tuple[int, str]]
    notices: list[str]
    short: str
    """An image that did not fit because this process cannot have more memory, or nothing."""


@dataclass(frozen=True, eq=False)
class _Decoder(Dataset[_Read]):
    """Reads the micro-batch whose positions it is asked for; runs in a worker."""

    images: LabelledImages
    augmentation: Augmentation
    seed: int
    epoch: int

    def __getitem__(self, rows: NDArray[np.int64]) -> _Read:
        kept: list[int] = []
        pictures: list[NDArray[np.uint8]] = []
        failures: list[tuple[int, str]] = []
        said: list[tuple[int, str]] = []
        notices: list[str] = []
        short = ""
        for row in map(int, rows):
            try:
                picture = self._picture(row, said, notices)
            except (UnreadableImageError, MemoryError) as error:
                failures.append((row, failure_reason(error)))
                short = short or (self.images.paths[row] if ran_short(error) else "")
                continue
            kept.append(row)
            pictures.append(
                self.augmentation(picture, seed=self.seed, epoch=self.epoch, sample=row)
            )
        pixels = np.empty((len(kept), 1, *self.images.picture_size), dtype=np.uint8)
        for place, picture in zip(pixels, pictures, strict=True):
            place[0] = picture
        return _Read(
            torch.tensor(kept, dtype=torch.int64),
            torch.from_numpy(pixels),
            failures,
            said,
            notices,
            short,
        )

    def _picture(
        self, row: int, said: list[tuple[int, str]], notices: list[str]
    ) -> NDArray[np.uint8]:
        """Return the (h, w) picture of one file, from the cache or from the file."""
        path, cache = self.images.paths[row], self.images.cache
        if cache is None:
            return self._decode(row, said)
        # Size and time are taken first: if the file is replaced meanwhile, the entry is stale.
        file = _looked_at(path)
        cached = cache.get(file)
        if cached is not None and cached.shape == self.images.picture_size:
            return cached
        picture = self._decode(row, said)
        try:
            cache.put(file, picture)
        except (DiskError, OSError) as error:  # full, or gone: training can do without
            notices.append(str(error))
        return picture

    def _decode(self, row: int, said: list[tuple[int, str]]) -> NDArray[np.uint8]:
        data = read_file(self.images.paths[row])
        radiograph = decode_radiograph(data, intensity=self.images.intensity)
        if radiograph.constant:
            said.append((row, "every pixel has the same value"))
        if radiograph.notices:
            said.append((row, "; ".join(radiograph.notices)))
        return self.images.rule(radiograph.pixels)


def _looked_at(path: str) -> ImageFile:
    try:
        status = os.stat(path)  # noqa: PTH116 - of a plain string
    except (OSError, ValueError):  # reading it will say why
        return ImageFile(path, 0, 0)
    return ImageFile(path, status.st_size, max(0, status.st_mtime_ns))


def _part(rows: NDArray[np.int64], number: int, parts: int) -> NDArray[np.int64]:
    """Return contiguous part `number` of `parts` whose sizes differ by at most one."""
    return rows[len(rows) * number // parts : len(rows) * (number + 1) // parts]


def _batch(images: LabelledImages, read: _Read) -> ImageBatch:
    kept = read.rows.numpy()
    return ImageBatch(
        read.rows,
        read.pixels,
        torch.from_numpy(images.values[kept]),
        torch.from_numpy(images.known[kept]),
    )


def _read(
    decoder: _Decoder, parts: list[NDArray[np.int64]], loading: LoadingConfig
) -> Iterator[tuple[NDArray[np.int64], _Read]]:
    """Yield each part with what was read of it, in order, decoded ahead by the workers."""
    workers = min(loading.workers, len(parts))
    with warnings.catch_warnings():
        # The number of workers is the user's choice; torch would warn about more than cores.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader = DataLoader(
            decoder,
            sampler=parts,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=2 if workers else None,
            worker_init_fn=start_worker,
            pin_memory=loading.pin,
        )
        with signals_held():
            stream = iter(loader)
    noticed = False
    for rows in parts:
        with training_deaths_named():
            read = next(stream)
        if read.short:
            raise short_of_memory(read.short)
        for row, reason in read.failures:
            loading.on_failure(row, reason)
        for row, notice in read.image_notices:
            loading.on_image_notice(row, notice)
        if read.notices and not noticed:
            loading.on_notice(read.notices[0])
            noticed = True
        yield rows, read
