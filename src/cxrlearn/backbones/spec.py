"""What a backbone is: one frozen record with its weights, preprocessing, features and sources.

Only plain data: neither torch nor numpy is imported, so that a record can be listed, and a feature
file recognised, in milliseconds. A plug-in constructs the same classes::

    MY_NET = BackboneSpec(
        name="my-net",
        title="My network",
        builder="my_package.network:build",  # build(resolved) -> torch.nn.Module
        weights=PackagedFile(locate="my_package.network:weights_file"),
        variants=(Variant(features=(FeatureChoice("avgpool", 1280, "global average pool"),)),),
        preprocessings=(Preprocessing(...),),
        ...
    )

and names it under the entry point group `cxrlearn.backbones`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cxrlearn.backbones.fileforms import (
    BuilderWeights,
    Concat,
    DropRule,
    FileForm,
    FileWeights,
    LibraryWeights,
    PackagedFile,
    WeightSource,
)
from cxrlearn.backbones.pixelsteps import (
    CenterCrop,
    Filter,
    PadSquare,
    ResizeExact,
    ResizeLonger,
    ResizeShorter,
    Size,
    Step,
    final_size,
    step_as_dict,
    step_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch

__all__ = [
    "BackboneSpec",
    "BuilderWeights",
    "CenterCrop",
    "Concat",
    "DropRule",
    "FeatureChoice",
    "FileForm",
    "FileWeights",
    "Filter",
    "LibraryWeights",
    "PackagedFile",
    "PadSquare",
    "Preprocessing",
    "ResizeExact",
    "ResizeLonger",
    "ResizeShorter",
    "ResolvedBackbone",
    "Size",
    "Step",
    "Variant",
    "WeightSource",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Preprocessing:
    """From a grey 8-bit picture to the network's input, as the authors of the weights did it."""

    name: str
    """What `--preprocessing` calls it: `published`, `original`, …"""
    steps: tuple[Step, ...]
    """Applied in order, on the CPU, to the (H, W) uint8 picture; all pictures end in one size."""
    mean: tuple[float, ...]
    """Subtracted: one value, or one for each of the three equal channels, in `value_range`."""
    std: tuple[float, ...]
    """Divided by; as many values as `mean`."""
    source: str
    """Where the rule was read, and what was decided where the source leaves a choice."""
    value_range: Literal["0..1", "0..255"] = "0..1"
    """Whether pixels are divided by 255 before mean and std."""
    tensor_size: int | None = None
    """Side of a last, square resize after normalisation (bicubic, not antialiased), or None."""

    def __post_init__(self) -> None:
        """Refuse rules that could not be carried out.

        Raises:
            ValueError: sizes vary between pictures, or mean and std do not fit together.
        """
        problems = []
        if final_size(self.steps) is None:
            problems.append("the steps do not give all pictures one size")
        if len(self.mean) not in {1, 3} or len(self.mean) != len(self.std):
            problems.append("mean and std need one value each, or three each")
        if any(value <= 0 for value in self.std):
            problems.append("std must be above 0")
        if problems:
            raise ValueError(f"preprocessing {self.name!r}: " + "; ".join(problems))

    @property
    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the uint8 picture after the steps."""
        size = final_size(self.steps)
        if size is None:  # refused at construction
            raise ValueError(f"preprocessing {self.name!r} gives no fixed size")
        return size

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the tensor that the network gets."""
        return (self.tensor_size,) * 2 if self.tensor_size else self.picture_size

    def in_words(self) -> str:
        """Return the rule for people, in one line."""
        parts = [step_in_words(step) for step in self.steps]
        mean, std = (", ".join(map(str, values)) for values in (self.mean, self.std))
        parts.append(f"values {self.value_range}, minus {mean}, over {std}")
        if self.tensor_size:
            parts.append(f"then the tensor to {self.tensor_size} (bicubic, not antialiased)")
        return "; ".join(parts)

    def identity(self) -> dict[str, object]:
        """Return what decides the pixels, as JSON-ready data: neither the name nor the source."""
        return {
            "steps": [step_as_dict(step) for step in self.steps],
            "value_range": self.value_range,
            "mean": list(self.mean),
            "std": list(self.std),
            "tensor_size": self.tensor_size,
        }


@dataclass(frozen=True)
class FeatureChoice:
    """One tensor of the network that can serve as the feature."""

    id: str
    """What `--features` calls it."""
    dim: int
    """Its width D."""
    description: str
    """What it is, in one line."""


@dataclass(frozen=True)
class Variant:
    """One set of weights of a backbone."""

    features: tuple[FeatureChoice, ...]
    """Features on offer; the first is the default, what the model's authors use for transfer."""
    files: tuple[str, ...] = ()
    """Names under which the file is published or handed on; looked for in this order."""
    arch: str | None = None
    """What `--arch` calls it."""
    pretrained_on: str | None = None
    """What `--pretrained-on` calls it."""
    pretraining_data: tuple[str, ...] = ()
    """Datasets whose images the weights have seen: `mimic-cxr`, `chexpert`, `imagenet-1k`, …"""
    sha256: str | None = None
    """Published hash, or its published beginning, in hexadecimal; None: none is published."""


Builder: TypeAlias = "str | Callable[[ResolvedBackbone], torch.nn.Module]"
"""A callable, or its "module:function", from the choice to a module whose forward maps
(N, 3, H, W) float32 to (N, D) float32. Its state_dict holds what the weight file has to fill."""


@dataclass(frozen=True)
class BackboneSpec:
    """One backbone: everything that is known about it, and everything needed to run it."""

    name: str
    """What `--model` calls it: lower case letters, digits, `.`, `_`, `-`."""
    title: str
    """One line for lists."""
    builder: Builder
    """Makes the network, with untrained weights."""
    weights: WeightSource
    """Where its weights come from."""
    variants: tuple[Variant, ...]
    """All sets of weights; the first is the default, and the first that agrees with what was
    asked for is taken."""
    preprocessings: tuple[Preprocessing, ...]
    """Rules on offer; the first is the default, the one its authors published."""
    architecture: str = ""
    """The network in words."""
    paper: str = ""
    """Authors, year, DOI or arXiv number."""
    code: str = ""
    """Where its authors' code was read: repository and commit."""
    licence: str = ""
    """Of code and weights, as far as stated."""
    use_note: str = ""
    """What it is for and what not."""
    aliases: tuple[str, ...] = ()
    """Other names that `--model` takes."""
    label: str = ""
    """What feature files are named after; empty: the name with `:` and `/` as `-`."""

    def __post_init__(self) -> None:
        """Refuse records that contradict themselves.

        Raises:
            ValueError: every contradiction, in one message.
        """
        problems = _spec_problems(self)
        if problems:
            raise ValueError(f"backbone {self.name!r}: " + "; ".join(problems))

    @property
    def archs(self) -> tuple[str, ...]:
        """What `--arch` may be, the default first."""
        return _distinct(variant.arch for variant in self.variants)

    @property
    def pretrained_ons(self) -> tuple[str, ...]:
        """What `--pretrained-on` may be, the default first."""
        return _distinct(variant.pretrained_on for variant in self.variants)


@dataclass(frozen=True)
class ResolvedBackbone:
    """One concrete choice: a record, a variant, a feature and a preprocessing."""

    spec: BackboneSpec
    """The record."""
    variant: Variant
    """Which weights."""
    feature: FeatureChoice
    """Which tensor."""
    preprocessing: Preprocessing
    """Which rule for the pixels."""

    @property
    def name(self) -> str:
        """The record's name (never an alias)."""
        return self.spec.name

    @property
    def arch(self) -> str | None:
        """The variant's architecture."""
        return self.variant.arch

    @property
    def pretrained_on(self) -> str | None:
        """The variant's pretraining data, where the record has a choice of them."""
        return self.variant.pretrained_on

    @property
    def label(self) -> str:
        """What feature files are named after."""
        return self.spec.label or re.sub(r"[^\w.-]", "-", self.name)

    @property
    def tag_base(self) -> str:
        """Name, then arch and pretrained_on where the record has several of them."""
        parts = [self.label]
        if len(self.spec.archs) > 1 and self.arch:
            parts.append(self.arch)
        if len(self.spec.pretrained_ons) > 1 and self.pretrained_on:
            parts.append(self.pretrained_on)
        return "-".join(parts)

    @property
    def is_default_feature(self) -> bool:
        """Whether this is the feature taken when none is asked for."""
        return self.feature == self.variant.features[0]

    @property
    def is_default_preprocessing(self) -> bool:
        """Whether this is the rule taken when none is asked for."""
        return self.preprocessing == self.spec.preprocessings[0]


def _spec_problems(spec: BackboneSpec) -> list[str]:
    """Return every contradiction in a record."""
    problems = []
    # The registry makes names with a colon, for models of other libraries; plug-ins may not.
    plain = spec.name.partition(":")[0]
    if not _NAME.fullmatch(plain) or not all(_NAME.fullmatch(alias) for alias in spec.aliases):
        problems.append("names are lower case letters, digits, '.', '_' and '-'")
    if not spec.preprocessings:
        problems.append("needs at least one preprocessing")
    if not spec.variants or not all(variant.features for variant in spec.variants):
        problems.append("needs at least one variant, and each at least one feature")
    if len({(variant.arch, variant.pretrained_on) for variant in spec.variants}) != len(
        spec.variants
    ):
        problems.append("two variants cannot be told apart by arch and pretrained_on")
    rules = [rule.name for rule in spec.preprocessings]
    if len(set(rules)) != len(rules):
        problems.append("two preprocessings have the same name")
    return problems


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    """Return the values that are not None, once each, in order."""
    return tuple(dict.fromkeys(value for value in values if value is not None))
