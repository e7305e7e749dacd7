"""A training of a few steps on small pictures, by one process or by several over gloo."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from cxrlearn.backbones.preprocessing import apply_steps
from cxrlearn.backbones.spec import ResolvedBackbone
from cxrlearn.backbones.trainable import TrainableModel, set_batch_norm
from cxrlearn.data.training_batches import ImageBatches, LabelledImages, Share
from cxrlearn.training.distributed import Place, ProcessRanks, joined
from cxrlearn.training.loop import train
from cxrlearn.training.optim import OptimizerConfig, build_optimizer
from cxrlearn.training.plan import Hooks, LoopConfig
from cxrlearn.workflows.finetune_task import ImageTask
from tests.support.ports import free_port
from tests.support.tiny_backbone import make_image, tiny_spec

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.training_ranks"])
IMAGES, LABELS, SIDE, WIDTH = 99, 3, 16, 12
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Job:
    """What is trained, and how a batch is divided."""

    folder: Path
    """With pictures of `write_pictures`."""
    model: str
    """vit, or batchnorm: with --batch-norm frozen."""
    world_size: int = 1
    batch_size: int = 8
    accumulate: int = 1
    epochs: int = 4
    """13 steps each."""


@dataclass(frozen=True)
class Trained:
    """What came of it, on rank 0."""

    losses: list[float]
    """Of each step."""
    outputs: NDArray[np.float64]
    """(IMAGES, LABELS) of the trained model."""


def write_pictures(folder: Path) -> None:
    """Write noise pictures."""
    for number in range(IMAGES):
        make_image(folder / f"{number}.png", number, size=(SIDE, SIDE))


def run_job(job: Job) -> Trained:
    """Train in as many processes as the job wants, and wait for them."""
    if job.world_size == 1:
        return _train(job, ProcessRanks())
    port = free_port()
    ours, theirs = CONTEXT.Pipe()
    ranks = [
        CONTEXT.Process(target=_work, args=(job, rank, port, theirs))
        for rank in range(job.world_size)
    ]
    for rank in ranks:
        rank.start()
    theirs.close()
    try:
        assert ours.poll(PATIENCE_SECONDS), "the ranks did not finish"
        trained: Trained = ours.recv()
    finally:
        for rank in ranks:
            rank.join(PATIENCE_SECONDS if rank.exitcode is None else 0)
            rank.kill()
    assert [rank.exitcode for rank in ranks] == [0] * job.world_size
    return trained


def _work(job: Job, rank: int, port: int, results: Any) -> None:  # noqa: ANN401 - a connection
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    place = Place(rank, job.world_size, rank, job.world_size)
    with joined(place, torch.device("cpu")) as ranks:
        trained = _train(job, ranks)
    if rank == 0:
        results.send(trained)


def _train(job: Job, ranks: ProcessRanks) -> Trained:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _trained(job, ranks)
    finally:
        torch.set_num_threads(threads)


def _trained(job: Job, ranks: ProcessRanks) -> Trained:
    images, model = _images(job), _model(job)
    share = Share(ranks.rank, ranks.world_size)
    batches = ImageBatches(images, job.batch_size, 5, accumulate=job.accumulate, share=share)
    task = ImageTask(ranks.share(model), "multilabel", torch.ones(LABELS, dtype=torch.bool), None)
    losses: list[float] = []
    train(
        model,
        task,
        batches,
        build_optimizer(model.named_parameters(), OptimizerConfig(lr=0.02)),
        config=LoopConfig(epochs=job.epochs, accumulate=job.accumulate),
        hooks=Hooks(on_step=lambda report: losses.append(report.loss)),
        ranks=ranks,
    )
    pictures = torch.stack([_picture(images, number) for number in range(IMAGES)])
    with torch.no_grad():
        return Trained(losses, model.eval()(pictures).double().numpy())


def _picture(images: LabelledImages, number: int) -> torch.Tensor:
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(images.paths[number])))[None]


def _images(job: Job) -> LabelledImages:
    rng = np.random.default_rng(3)
    # Some rows know everything, some nothing: ranks never have equal counts.
    known = rng.random((IMAGES, LABELS)) < rng.choice([0.0, 0.4, 1.0], (IMAGES, 1))
    spec = tiny_spec(side=SIDE)
    return LabelledImages(
        paths=[str(job.folder / f"{number}.png") for number in range(IMAGES)],
        values=rng.integers(0, 2, (IMAGES, LABELS)).astype(np.int8),
        known=known,
        rule=partial(apply_steps, preprocessing=spec.preprocessings[0]),
        picture_size=(SIDE, SIDE),
    )


def _model(job: Job) -> TrainableModel:
    spec = tiny_spec(side=SIDE, dim=WIDTH)
    variant = spec.variants[0]
    record = ResolvedBackbone(spec, variant, variant.features[0], spec.preprocessings[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = TrainableModel(_NETWORKS[job.model](), record, LABELS)
    if job.model == "batchnorm":
        set_batch_norm(model, "frozen")
    return model.train()


def _vit() -> nn.Module:
    return VisionTransformer(
        img_size=SIDE, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=2, num_classes=0
    )


def _batchnorm() -> nn.Module:
    norm = nn.BatchNorm2d(6)
    norm.running_mean = torch.randn(6)
    norm.running_var = torch.rand(6) + 0.5
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2),
        norm,
        nn.ReLU(),
        nn.Conv2d(6, 6, 3),
        nn.BatchNorm2d(6),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, WIDTH),
    )


_NETWORKS = {"vit": _vit, "batchnorm": _batchnorm}
