"""What makes two extractions the same: a record of every choice that can change a feature."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, get_args

Precision = Literal["fp32", "bf16", "fp16"]
"""Of the forward pass: float32 without TF32, or autocast."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

PIXEL_RULES = 1
"""Raised when a release decodes or resizes images to other pixels than the one before."""


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides the features of an image, apart from the image."""

    model: str
    """The record's name."""
    arch: str | None
    """Variant of the architecture, where the record has variants."""
    pretrained_on: str | None
    """Variant of the weights, where the record has variants."""
    feature: str
    """Id of the feature tensor."""
    dim: int
    """Its width D."""
    weights: str | None
    """What tells the weights from all others, such as `sha256:…`; None: not known at this moment
    (the weight file is not there), which never happens inside a feature file."""
    preprocessing: dict[str, object]
    """The rule that was carried out, as plain data."""
    intensity: str
    """How values of more than 8 bits become grey."""
    precision: Precision | None
    """Precision of the forward pass; None: to be settled on the device, never inside a file."""
    store: str
    """Type of the numbers on disk: `float32` or `float16`."""
    pixel_rules: int = PIXEL_RULES
    """Which generation of decoding made the pixels."""

    def to_json(self) -> str:
        """Return the canonical text: sorted keys, no spaces, ASCII only."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """The hash of `to_json()`, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def differences(self, other: Fingerprint) -> list[str]:
        """Say in words what differs, `self` being what a file holds and `other` what is wanted.

        What `other` does not know yet (None) is no difference.
        """
        lines = []
        for field in fields(self):
            here, there = getattr(self, field.name), getattr(other, field.name)
            unknown = field.name in {"weights", "precision"} and there is None
            if here != there and not unknown:
                lines.extend(_describe(field.name, here, there))
        return lines


def parse_fingerprint(text: str) -> Fingerprint:
    """Return the fingerprint that `to_json` wrote.

    Raises:
        ValueError: not such a text.
    """
    content = json.loads(text)
    known = {field.name for field in fields(Fingerprint)}
    if not isinstance(content, dict) or set(content) != known:
        raise ValueError("not a fingerprint")
    return Fingerprint(**content)


def adopt_precision(
    wanted: Fingerprint, found: Fingerprint, asked: Precision | Literal["auto"]
) -> Fingerprint:
    """Return `wanted` with the precision of features that are there already, where that is allowed.

    A file keeps its own precision under `auto`; and features asked for in bf16 or fp16 may be
    there in float32, because half precision was found too coarse for this backbone.
    """
    allowed = set(PRECISIONS) if asked == "auto" else {asked, "fp32"}
    return replace(wanted, precision=found.precision) if found.precision in allowed else wanted


def feature_tag(base: str, *suffixes: str | None) -> str:
    """Return the name of a feature file, without `.h5`: the base, then `+suffix` for each given.

    >>> feature_tag("medaug-resnet50-mimic-cxr", "original", None, "fp32")
    'medaug-resnet50-mimic-cxr+original+fp32'
    """
    parts = [base, *(suffix for suffix in suffixes if suffix)]
    return "+".join(part.replace(":", "-").replace("/", "-") for part in parts)


def _describe(name: str, here: object, there: object) -> list[str]:
    if isinstance(here, dict) and isinstance(there, dict):
        keys = sorted({*here, *there})
        return [
            f"{name} {key}: {_short(here.get(key))} there, {_short(there.get(key))} now"
            for key in keys
            if here.get(key) != there.get(key)
        ]
    return [f"{name}: {_short(here)} there, {_short(there)} now"]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
