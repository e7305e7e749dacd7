"""What makes two extractions the same: a record of every choice that can change a feature."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import ResolvedBackbone

AUTO = "auto"
"""The precision before a device has settled it; it never stands in a file."""

PIXEL_RULES = 2
"""Raised when a release decodes or resizes images to other pixels than the one before."""


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides the features of an image, apart from the image."""

    backbone: str
    """The record's name."""
    arch: str | None
    """Variant of the architecture, where the record has variants."""
    pretrained_on: str | None
    """Variant of the weights, where the record has variants."""
    weights: str
    """What tells the weights from all others, such as `sha256:…`."""
    feature: str
    """Id of the feature tensor."""
    dim: int
    """Its width D."""
    preprocessing: dict[str, object]
    """The rule that was carried out, as plain data."""
    intensity: str
    """How values of more than 8 bits become grey."""
    precision: str
    """Of the forward pass: `fp32`, `bf16` or `fp16`; `auto` until a device has settled it."""
    store: str
    """Type of the numbers on disk: `float32` or `float16`."""
    pixel_rules: int = PIXEL_RULES
    """Which generation of decoding and resizing made the pixels."""

    def __post_init__(self) -> None:
        """Keep values as JSON gives them back, so that a fingerprint equals its stored copy."""
        for name, value in json.loads(self.as_json()).items():
            object.__setattr__(self, name, value)

    def as_json(self) -> str:
        """Return the canonical text: sorted keys, no spaces, ASCII only."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """The SHA-256 of `as_json()`, in hexadecimal."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """Return the fingerprint that `as_json` wrote.

        Raises:
            ValueError: not such a text.
        """
        content = json.loads(text)
        known = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or set(content) != known:
            raise ValueError("its fingerprint does not have the fields of this format")
        return cls(**content)


def differences(wanted: Fingerprint, found: Fingerprint) -> list[str]:
    """Say in words in what a file's fingerprint differs from the one wanted; empty: in nothing.

    A wanted precision of `auto` agrees with every precision.
    """
    lines: list[str] = []
    for field in fields(Fingerprint):
        want, there = getattr(wanted, field.name), getattr(found, field.name)
        settled = not (field.name == "precision" and want == AUTO)
        if want != there and settled:
            lines.extend(_describe(field.name, want, there))
    return lines


def feature_tag(
    resolved: ResolvedBackbone,
    *,
    precision: str = AUTO,
    store: str = "float32",
    intensity: str = "percentile",
    weights_sha256: str | None = None,
    random_seed: int | None = None,
) -> str:
    """Return the stem of the feature file: `tag_base`, then `+…` for each setting off its default.

    Args:
        resolved: the backbone; another rule than the published and another feature are named.
        precision: as asked for.
        store: as asked for.
        intensity: as asked for.
        weights_sha256: hash of a weight file that the user named, else None.
        random_seed: seed of random weights, else None.
    """
    suffixes = [
        None if resolved.is_default_preprocessing else resolved.preprocessing.name,
        None if precision == AUTO else precision,
        None if resolved.is_default_feature else resolved.feature.id,
        None if intensity == "percentile" else intensity,
        None if store == "float32" else store,
        None if weights_sha256 is None else f"w{weights_sha256[:8]}",
        None if random_seed is None else f"random{random_seed}",
    ]
    parts = [resolved.tag_base, *(suffix for suffix in suffixes if suffix)]
    return "+".join(part.replace(":", "-").replace("/", "-") for part in parts)


def _describe(name: str, want: object, there: object) -> list[str]:
    if isinstance(want, dict) and isinstance(there, dict):
        keys = sorted({*want, *there})
        return [
            _line(f"{name} {key}", want.get(key), there.get(key))
            for key in keys
            if want.get(key) != there.get(key)
        ]
    return [_line(name, want, there)]


def _line(name: str, want: object, there: object) -> str:
    return f"{name}: {_short(there)} there, {_short(want)} now"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
