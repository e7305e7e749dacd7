"""How much of the machine `embed` turns into features: ratios against bare loops, in one run.

    python scripts/bench_embed.py [--many 100000] [--json FILE]

Four questions, each answered by two numbers that were taken side by side on the same machine:

forward   images/s of embed against the bare forward pass, where the network is the bottleneck
decode    images/s of embed against a bare decode-and-resize loop over all cores, where it is not
again     seconds and memory of a second embed that finds nothing new, over many images
memory    peak memory of an embed of many images against one of 2,000

Absolute figures belong to the machine; the ratios are what docs/explanation/performance reports.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from cxrlearn.backbones import registry
from cxrlearn.backbones.plugins import Plugins
from cxrlearn.backbones.spec import (
    BackboneSpec,
    BuilderWeights,
    FeatureChoice,
    Preprocessing,
    ResizeExact,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from cxrlearn.backbones.spec import ResolvedBackbone

FEW = 2_000
BATCH = 32
SIDE = 224
ROUNDS = 3
"""Both sides of a ratio are measured this often, in turn; the best of each counts."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--many", type=int, default=100_000, help="images of the large data set")
    parser.add_argument("--images", type=int, default=192, help="images of the speed ratios")
    parser.add_argument("--only", choices=["forward", "decode", "again", "memory"], nargs="*")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--child", nargs=2, metavar=("CSV", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(*(Path(path) for path in options.child))
        return
    wanted = options.only or ["forward", "decode", "again", "memory"]
    figures: dict[str, Any] = {"cores": _cores()}
    with tempfile.TemporaryDirectory() as folder:
        # First, while this process is small: a child's peak is never below its parent's size.
        if {"again", "memory"} & set(wanted):
            figures |= _many_images(Path(folder), options.many)
        if {"forward", "decode"} & set(wanted):
            csv = _write_films(Path(folder, "films"), options.images)
            for name in ("forward", "decode"):
                if name in wanted:
                    figures[name] = (_forward if name == "forward" else _decode)(csv)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


# The backbones


def build_mean(resolved: ResolvedBackbone) -> torch.nn.Module:
    """Return a network that costs next to nothing: means over a grid, as wide as a ViT-B."""
    from torch import nn  # noqa: PLC0415 - the children of the memory test import it late

    return nn.Sequential(nn.AdaptiveAvgPool2d(16), nn.Flatten())


def build_resnet(resolved: ResolvedBackbone) -> torch.nn.Module:
    """Return ResNet-18 before its classifier, with random weights."""
    import torchvision  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    network: nn.Module = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


def _spec(name: str, dim: int, builder: Callable[..., torch.nn.Module], side: int) -> BackboneSpec:
    rule = Preprocessing("published", (ResizeExact(side, "bilinear"),), (0.5,), (0.25,), "bench")
    return BackboneSpec(
        name=name,
        title="for measuring only",
        builder=builder,
        weights=BuilderWeights(identity=f"{name} of scripts/bench_embed.py"),
        variants=(Variant(features=(FeatureChoice("pooled", dim, "whatever"),)),),
        preprocessings=(rule,),
    )


RESNET = _spec("bench-resnet18", 512, build_resnet, SIDE)
MEAN = _spec("bench-mean", 3 * 16 * 16, build_mean, SIDE)


def _register() -> None:
    plugins = Plugins((RESNET, MEAN), ())
    vars(registry)["installed_plugins"] = lambda _taken: plugins


# Speed


class Speed(NamedTuple):
    """What one side of a ratio came to."""

    rate: float
    """Images/s by the clock."""
    cost: float
    """Seconds of processor time an image: tells the same on cores that others use too."""


@dataclass
class Stopwatch:
    """A reporter that notes when each image was done."""

    moments: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    """Processor time of this process at each moment."""
    children: float = 0.0
    """Processor time of the decoding processes, over all images."""

    def notice(self, message: str) -> None:
        """Drop it."""

    warning = notice

    @contextmanager
    def progress(self, title: str, total: int, *, unit: str = "images") -> Iterator[Stopwatch]:
        """Be the task."""
        del title, total, unit
        yield self

    def advance(self, amount: int = 1) -> None:
        """Note the moment."""
        self.moments.extend([time.perf_counter()] * amount)
        self.cost.extend([time.process_time()] * amount)

    def describe(self, text: str) -> None:
        """Drop it."""

    def speed(self) -> Speed:
        """Measure from the second batch on: loading the network is not what is asked."""
        count = len(self.moments) - 1 - BATCH
        seconds = self.moments[-1] - self.moments[BATCH]
        own = (self.cost[-1] - self.cost[BATCH]) / count
        return Speed(count / seconds, own + self.children / len(self.moments))


def _embed(csv: Path, model: str, **settings: Any) -> Stopwatch:  # noqa: ANN401 - fields of EmbedConfig
    from cxrlearn.workflows.embed import run_embed  # noqa: PLC0415
    from cxrlearn.workflows.embed_config import EmbedConfig  # noqa: PLC0415

    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as out:
        config = EmbedConfig(
            model=(model,), csv=csv, output_dir=Path(out), batch_size=BATCH, precision="fp32",
            **settings,
        )  # fmt: skip
        before = _children_time()
        run_embed(config, watch)
        watch.children = _children_time() - before
    return watch


def _forward(csv: Path) -> dict[str, float]:
    _register()
    device = "cuda" if _has_cuda() else "cpu"
    bare, embed = [], []
    for _ in range(ROUNDS):
        bare.append(_bare_forward(device))
        embed.append(_embed(csv, RESNET.name, device=device).speed())
    return _ratio("bare forward pass", bare, embed)


def _bare_forward(device: str) -> Speed:
    import torch  # noqa: PLC0415

    from cxrlearn.backbones.load import load_backbone  # noqa: PLC0415

    backbone = load_backbone(RESNET.name, device=device)
    images = torch.randn(BATCH, 3, SIDE, SIDE, device=device)
    batches = 5
    with torch.inference_mode():
        backbone(images)
        started, cost = time.perf_counter(), time.process_time()
        for _ in range(batches):
            backbone(images).cpu()
    count = batches * BATCH
    return Speed(count / (time.perf_counter() - started), (time.process_time() - cost) / count)


def _decode(csv: Path) -> dict[str, float]:
    _register()
    paths = [csv.parent / line for line in csv.read_text(encoding="utf-8").split()[1:]]
    bare, embed = [], []
    for _ in range(ROUNDS):
        bare.append(_bare_decode(paths))
        embed.append(_embed(csv, MEAN.name, device="cpu", workers=_cores()).speed())
    return _ratio("bare decode and resize", bare, embed)


def _bare_decode(paths: list[Path]) -> Speed:
    before = _children_time()
    with multiprocessing.Pool(_cores()) as pool:
        pool.map(_decode_one, paths[: 2 * _cores()])
        started = time.perf_counter()
        for _ in pool.imap(_decode_one, paths, chunksize=4):
            pass
        rate = len(paths) / (time.perf_counter() - started)
        pool.close()
        pool.join()
    return Speed(rate, (_children_time() - before) / (len(paths) + 2 * _cores()))


def _children_time() -> float:
    """Return the processor time of all processes that this one started and saw end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _decode_one(path: Path) -> tuple[int, ...]:
    from cxrlearn.backbones.preprocessing import apply_steps  # noqa: PLC0415
    from cxrlearn.data.images import read_radiograph  # noqa: PLC0415

    return apply_steps(read_radiograph(path).pixels, MEAN.preprocessings[0]).shape


def _ratio(peer: str, bare: list[Speed], embed: list[Speed]) -> dict[str, float]:
    rates = max(one.rate for one in bare), max(one.rate for one in embed)
    costs = min(one.cost for one in bare), min(one.cost for one in embed)
    return {
        f"{peer}, images/s": round(rates[0], 1),
        "embed, images/s": round(rates[1], 1),
        "ratio": round(rates[1] / rates[0], 3),
        f"{peer}, processor ms an image": round(1000 * costs[0], 2),
        "embed, processor ms an image": round(1000 * costs[1], 2),
        "ratio of processor time": round(costs[0] / costs[1], 3),
    }


# Many images


def _many_images(folder: Path, many: int) -> dict[str, Any]:
    _write_small(folder / "small", many)
    few = _write_csv(folder / "small" / "few.csv", min(FEW, many))
    all_of_them = _write_csv(folder / "small" / "all.csv", many)
    small = _run_child(few, folder / "few")
    large = _run_child(all_of_them, folder / "all")
    again = [_run_child(all_of_them, folder / "all") for _ in range(ROUNDS)]
    return {
        "again": {
            "images": many,
            "seconds, with start": min(run["seconds"] for run in again),
            "seconds of processor time": min(run["cpu"] for run in again),
            "peak MB": max(run["peak MB"] for run in again),
            "torch imported": any(run["torch"] for run in again),
        },
        "memory": {
            f"peak MB at {min(FEW, many)}": small["peak MB"],
            f"peak MB at {many}": large["peak MB"],
            "ratio": round(large["peak MB"] / small["peak MB"], 3),
        },
    }


def _run_child(csv: Path, out: Path) -> dict[str, Any]:
    started = time.perf_counter()
    command = [sys.executable, __file__, "--child", str(csv), str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures | {"seconds": round(time.perf_counter() - started, 2)}


def _child(csv: Path, out: Path) -> None:
    """Run one embed, and print what it took."""
    _register()
    from cxrlearn.workflows.embed import run_embed  # noqa: PLC0415
    from cxrlearn.workflows.embed_config import EmbedConfig  # noqa: PLC0415

    config = EmbedConfig(model=(MEAN.name,), csv=csv, output_dir=out, device="cpu")
    run_embed(config)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "peak MB": usage.ru_maxrss // 1024,
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "torch": "torch" in sys.modules,
    }
    print(json.dumps(figures))


# Images


def _write_films(folder: Path, count: int) -> Path:
    """Write JPEG films of 1024 x 1024 pixels, smooth with a little noise."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((1024, 1024), Image.Resampling.BICUBIC), dtype=np.float32)
        film = smooth + generator.normal(0, 4, smooth.shape)
        picture = Image.fromarray(np.clip(film, 0, 255).astype(np.uint8))
        picture.save(folder / f"{number:06d}.jpg", quality=92)
    csv = folder / "films.csv"
    names = "\n".join(f"{number:06d}.jpg" for number in range(count))
    csv.write_text(f"Path\n{names}\n", encoding="utf-8")
    return csv


def _write_small(folder: Path, count: int) -> None:
    """Write very small PNG files, each with a content of its own."""
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / _small_name(number)
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        picture = Image.fromarray(generator.integers(0, 256, (24, 24), dtype=np.uint8))
        picture.save(path, compress_level=1)


def _small_name(number: int) -> str:
    return f"files/p{number // 1000:04d}/patient{number:08d}-view1-frontal.png"


def _write_csv(file: Path, count: int) -> Path:
    names = "\n".join(_small_name(number) for number in range(count))
    file.write_text(f"Path\n{names}\n", encoding="utf-8")
    return file


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_cuda() -> bool:
    import torch  # noqa: PLC0415

    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
