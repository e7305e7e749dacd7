"""Run the commands on a GPU, compare with the CPU, and time them against bare loops.

    python scripts/gpu_check.py [--device cuda|cpu] [--only NAME ...] [--json FILE]

Needs nothing but this checkout: the films are generated, the weights random. Takes less than six
minutes on one H100; `--device cpu` runs the same code with small sizes. Each check adds one row
with its status, its figures and what it ran. The exit code is 1 if any check failed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench_embed
import bench_probe
import numpy as np
import pandas as pd
import torch
from bench_train import Repeated
from safetensors.torch import load_file
from torch import distributed
from torch.nn import functional

from cxrlearn.backbones.layers import is_convolutional
from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.trainable import build_trainable
from cxrlearn.data.synthetic.dataset import write_demo_dataset
from cxrlearn.data.training_batches import ImageBatch
from cxrlearn.features.extract import Extractor, exact_float32
from cxrlearn.features.store import read_features, read_info
from cxrlearn.training.distributed import Place, ProcessRanks, joined
from cxrlearn.training.loop import train
from cxrlearn.training.optim import OptimizerConfig, build_optimizer
from cxrlearn.training.plan import LoopConfig
from cxrlearn.workflows.embed import run_embed
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.finetune_task import ImageTask

if TYPE_CHECKING:
    from collections.abc import Callable

Figures = dict[str, Any]
MODELS = ("chexzero", "resnet")  # ViT-B/32 and ResNet-50
RANDOM = LoadOptions(random_weights=0)
LABELS = 14
WHERE = {"cuda": "--gpus 0", "cpu": "--device cpu"}
"""How finetune is told where to run."""


def main() -> int:
    """Run every check; print and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", nargs="*", help="names of checks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    json_file = options.json and options.json.absolute()
    machine = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.now(UTC).date().isoformat(),
    }
    rows: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        films = write_demo_dataset(Path("films"), n_images=360 if options.device == "cuda" else 48)
        lines = [f'{split}_csv = "films/{split}.csv"' for split in ("train", "val", "test")]
        lines += [f"class_columns = {json.dumps(films.class_columns)}", ""]
        Path("cxrlearn.toml").write_text("\n".join(["[data]", *lines]), encoding="utf-8")
        for name, check in checks(options.device).items():
            if not options.only or name in options.only:
                rows.append(run_check(name, check))
                if json_file:  # after each: the rows are kept if a later check hangs
                    text = json.dumps({"machine": machine, "rows": rows}, indent=2)
                    json_file.write_text(text + "\n", encoding="utf-8")
        os.chdir("/")
    return any(row["status"] != "ok" for row in rows)


def checks(device: str) -> dict[str, Callable[[], Figures]]:
    """Return all checks by name: correctness first, then speed."""
    cuda = device == "cuda"
    found: dict[str, Callable[[], Figures]] = {
        "commands": partial(commands, device),
        "features": partial(features, device),
        "probe": partial(probe, device),
        "finetune float32": partial(finetune_float32, device),
        "group of one process": partial(group_of_one, torch.device(device, 0)),
    }
    for model in MODELS:
        found[f"finetune twice, {model}"] = partial(finetune_twice, device, model)
    for model in MODELS:
        for batch in (32, 256) if cuda else (4,):
            found[f"embed speed, {model}, {batch}"] = partial(embed_speed, device, model, batch)
        for batch in (32, 128) if cuda else (4,):
            found[f"finetune speed, {model}, {batch}"] = partial(step_speed, device, model, batch)
    found["embed from files"] = partial(embed_files, device, Path("jpeg"))
    found["probe speed"] = partial(probe_speed, device)
    return found


def run_check(name: str, check: Callable[[], Figures]) -> Figures:
    """Return the row of one check; an error is part of the row."""
    started = time.perf_counter()
    try:
        row: Figures = {"name": name, "status": "ok", **check()}
    except Exception as error:  # noqa: BLE001 - the other checks are to run
        row = {"name": name, "status": "failed", "error": f"{type(error).__name__}: {error}"}
        traceback.print_exc()
    row["seconds"] = round(time.perf_counter() - started, 1)
    print(json.dumps(row), flush=True)
    return row


def cxrlearn(command: str, folder: str = "main") -> Any:  # noqa: ANN401 - what --json prints
    """Run one command in a folder of its own; return what `--json` prints.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    Path(folder).mkdir(exist_ok=True)
    words = [sys.executable, "-m", "cxrlearn", *command.split(), "--json", "--debug"]
    words += ["--config", "../cxrlearn.toml"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"cxrlearn {command}: exit {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(done.stdout)


def commands(device: str) -> Figures:
    """Run four commands with the backbone that ships with the package."""
    embedded = cxrlearn(f"embed -m cxr-tiny --device {device}")
    probed = cxrlearn(f"probe -m cxr-tiny --device {device}")
    finetune = f"finetune -m cxr-tiny {WHERE[device]} --epochs 2 --name tiny"
    trained = cxrlearn(finetune)
    cxrlearn(f"predict --run tiny --csv ../films/test.csv --device {device}")
    again = scores("predictions.csv") - scores("runs/tiny/predictions-test.csv")
    macros = [one["results"][-1]["evaluation"]["macro"]["value"] for one in (probed, trained)]
    return {
        "images": embedded["images"],
        "macro AUROC of probe and finetune": macros,
        "predict against finetune, largest difference": float(np.abs(again).max()),
        "ran": f"embed, probe, {finetune}, predict",
    }


def scores(file: str) -> np.ndarray[Any, Any]:
    """Return the probabilities (N, L) of a file of predictions."""
    return pd.read_csv(Path("main", file)).filter(like="prob_").to_numpy()


def losses(run: str) -> list[float]:
    """Return the training loss of every epoch of a run."""
    return pd.read_csv(Path("main/runs", run, "history.csv"))["loss"].tolist()


def features(device: str) -> Figures:
    """Compare float32 features of the device with the CPU's, and its own choice with float32."""
    command = f"embed {' '.join(f'-m {model}' for model in MODELS)} --random-weights 0"
    cxrlearn(f"{command} --device {device}", "auto")
    cxrlearn(f"{command} --precision fp32 --device {device}")
    cxrlearn(f"{command} --precision fp32 --device cpu", "cpu")
    figures: Figures = {"ran": f"{command} --precision fp32 --device {device}"}
    for model in MODELS:
        auto, there, here = (
            next(Path(folder, "features").glob(f"{model}*.h5"))
            for folder in ("auto", "main", "cpu")
        )
        a, b = read_features(there).features, read_features(here).features
        largest = float((np.abs(a - b).max(axis=1) / np.abs(b).max(axis=1)).max())
        info = read_info(auto)
        figures[model] = {
            "largest difference in float32, of the row's largest value": largest,
            "precision auto": info.fingerprint.precision,
            "its cosine distance to float32": info.provenance["cosine_distance_to_float32"],
        }
        if largest > 1e-4:
            raise RuntimeError(f"float32 features differ: {figures}")
    return figures


def probe(device: str) -> Figures:
    """Fit the same features on the device and on the CPU."""
    figures: Figures = {}
    for model in MODELS:
        predicted, gaps = [], []
        for there in (device, "cpu"):
            command = f"probe -m {model} --random-weights 0 --precision fp32 --device {there}"
            report = cxrlearn(f"{command} --name {model}-{there} --overwrite")
            gaps.append(max(one["gap"] or 0.0 for one in report["probe"]["labels"]))
            predicted.append(scores(f"runs/{model}-{there}/predictions-test.csv"))
        worst = float(np.abs(predicted[0] - predicted[1]).max())
        figures[model] = {"certified gaps": gaps, "largest difference of probabilities": worst}
        if worst > 1e-3:
            raise RuntimeError(f"the probe's probabilities differ: {figures}")
    return figures | {"ran": command}


def finetune_float32(device: str) -> Figures:
    """Train in float32 on the device and on the CPU."""
    command = f"finetune -m cxr-tiny --epochs 2 --precision fp32 {WHERE[device]}"
    cxrlearn(f"{command} --name there")
    cxrlearn(f"{command.replace(WHERE[device], WHERE['cpu'])} --name here")
    there, here = losses("there"), losses("here")
    if not np.allclose(there, here, rtol=1e-3):
        raise RuntimeError(f"losses {there}, on the CPU {here}")
    return {"losses": there, "losses on the CPU": here, "ran": command}


def finetune_twice(device: str, model: str) -> Figures:
    """Train twice under --deterministic in automatic precision: equal to the last bit."""
    limit = "" if device == "cuda" else " --limit 12"
    command = f"finetune -m {model} --random-weights 0 {WHERE[device]} --epochs 2{limit}"
    runs = [f"{model}-{number}" for number in (1, 2)]
    for run in runs:
        cxrlearn(f"{command} --deterministic --name {run}")
    folders = [Path("main/runs", run) for run in runs]
    for name in ("history.csv", "predictions-test.csv"):
        if len({(folder / name).read_bytes() for folder in folders}) > 1:
            raise RuntimeError(f"{command} --deterministic: {name} of two runs differ")
    # Their bytes differ: safetensors writes metadata in any order.
    one, two = (load_file(folder / "best.safetensors") for folder in folders)
    different = [name for name, tensor in one.items() if not torch.equal(tensor, two[name])]
    if different:
        raise RuntimeError(f"{command} --deterministic: weights of two runs differ: {different}")
    return {"losses": losses(runs[0]), "ran": f"{command} --deterministic"}


def group_of_one(device: torch.device) -> Figures:
    """Join as workers do, and use sums, shared gradients and broadcasts with one process."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)).to(device)
    if device.type == "cuda":
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    with joined(Place(0, 1, 0, 1), device):
        ranks = ProcessRanks(0, 2)  # claims a second process, so that nothing is skipped
        (total,) = ranks.sum([1.5])
        shared = ranks.share(model)
        shared(torch.randn(2, 1, 8, 8, device=device)).square().sum().backward()
        ranks.same_weights(model)
        backend = distributed.get_backend()
    if total != 1.5 or not all(p.grad.isfinite().all() for p in model.parameters()):
        raise RuntimeError(f"one process added 1.5 to {total}, or its gradients are not finite")
    return {"backend": backend, "ran": "training.distributed.joined and ProcessRanks"}


def rate(images: int, device: str, action: Callable[[], object]) -> float:
    """Return images/s of an action: the best of three rounds (CPU: one) after a warm-up."""
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    seconds = []
    for _ in range(4 if device == "cuda" else 2):
        wait()
        started = time.perf_counter()
        action()
        wait()
        seconds.append(time.perf_counter() - started)
    return round(images / min(seconds[1:]), 1)


def embed_speed(device: str, model: str, batch: int) -> Figures:
    """Time embed from decoded pictures against the forward pass on tensors on the device."""
    number = 4096 // batch if device == "cuda" else 1
    resolved = resolve(model)
    backbone = load_resolved(resolved, RANDOM, device=device)
    rule = resolved.preprocessing
    bare = copy.deepcopy(backbone).to(torch.bfloat16)
    tensors = torch.randn(batch, 3, *rule.input_size, device=device, dtype=torch.bfloat16)
    if is_convolutional(backbone):
        bare = bare.to(memory_format=torch.channels_last)
        tensors = tensors.contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        with torch.inference_mode(), exact_float32():
            for _ in range(number):
                bare(tensors)

    figures: Figures = {"images/s, bare bfloat16": rate(number * batch, device, forward)}
    shape = (batch, *rule.picture_size)
    pictures = list(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    for precision in ("bf16", "fp32"):
        settings = {"batch_size": batch, "precision": precision, "may_fall_back": False}
        extractor = Extractor(lambda: backbone, torch.device(device), notify=print, **settings)

        def embed(extractor: Extractor = extractor) -> None:
            for picture in pictures * number:
                extractor.push(picture)
            extractor.finish()

        figures[f"images/s, embed {precision}"] = rate(number * batch, device, embed)
    ratio = figures["images/s, embed bf16"] / figures["images/s, bare bfloat16"]
    return figures | {"ratio": round(ratio, 3), "ran": "features.extract.Extractor"}


def step_speed(device: str, model: str, batch: int) -> Figures:
    """Time steps through the training loop, from host memory, against bare steps on the device."""
    steps = 40 if device == "cuda" else 1
    network = build_trainable(resolve(model), LABELS, RANDOM, device=device).train()
    optimizer = build_optimizer(network.named_parameters(), OptimizerConfig())
    draw = torch.rand(batch, LABELS)
    pixels = torch.randint(0, 256, (batch, 1, *network.record.preprocessing.picture_size))
    host = [torch.arange(batch), pixels.to(torch.uint8), (draw < 0.2).to(torch.int8), draw < 0.9]
    if device == "cuda":
        host = [tensor.pin_memory() for tensor in host]
    learned = torch.ones(LABELS, dtype=torch.bool, device=device)
    task = ImageTask(network, "multilabel", learned, None)
    batches = Repeated((ImageBatch(*host),), steps)

    def loop() -> None:
        config = LoopConfig(epochs=1, patience=None, autocast=torch.bfloat16)
        with exact_float32():
            train(network, task, batches, optimizer, config=config)

    _, there, values, known = (tensor.to(device) for tensor in host)

    def bare() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = network(there)
            functional.binary_cross_entropy_with_logits(logits, values.float(), known).backward()
            optimizer.step()

    found = [rate(steps * batch, device, action) for action in (bare, loop)]
    figures = dict(zip(("images/s, bare step", "images/s, through the loop"), found, strict=True))
    return figures | {
        "ratio": round(found[1] / found[0], 3),
        "ran": "training.loop.train, bfloat16",
    }


def embed_files(device: str, folder: Path) -> Figures:
    """Time the whole embed over JPEG films of 1024 x 1024 against decoding alone."""
    drawn, many = (16, 4096) if device == "cuda" else (4, 72)
    manifest = bench_embed._write_films(folder, drawn)  # noqa: SLF001 - a script beside this one
    paths = [folder / f"{number:06d}.jpg" for number in range(many)]
    for number, path in enumerate(paths[drawn:], start=drawn):  # each has content of its own
        path.write_bytes(paths[number % drawn].read_bytes() + number.to_bytes(4, "big"))
    manifest.write_text("\n".join(["Path", *(path.name for path in paths)]), encoding="utf-8")
    bare = bench_embed._bare_decode(paths).rate  # noqa: SLF001
    figures: Figures = {"images/s, decode and resize to 224 on all cores": round(bare, 1)}
    for model in MODELS:
        watch = bench_embed.Stopwatch()
        run_embed(EmbedConfig(model=(model,), csv=manifest, random_weights=0, device=device), watch)
        figures[f"images/s, embed {model}"] = round(watch.speed().rate, 1)
    return figures | {"ran": f"embed --device {device} --random-weights 0 over {many} files"}


def probe_speed(device: str) -> Figures:
    """Time the fit of 14 labels at nine values of C."""
    rows, dim = (20_000, 2_048) if device == "cuda" else (500, 32)
    X, y = bench_probe.make_data("relu", rows, dim)
    scale = len(X) * float(X.var(axis=0, dtype=np.float64).mean())
    values = [1 / (strength * scale) for strength in bench_probe.STRENGTHS]
    figures: Figures = {}
    for there in (device, "cpu"):
        bench_probe.batched(X[:500], y[:500], values, there)  # the libraries wake up
        seconds, gap = bench_probe.batched(X, y, values, there)
        figures[there] = {"seconds": round(seconds, 2), "largest certified gap": gap}
    return figures | {"ran": f"14 labels x 9 values of C, {rows} rows, {dim} features"}


if __name__ == "__main__":
    sys.exit(main())
