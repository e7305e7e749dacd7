"""Where weights come from, and how the tensors lie in a file, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class DropRule:
    """Why a tensor of a weight file is not used."""

    pattern: str
    """Regular expression, searched in the tensor's key; an entry of the file that lies beside
    `FileForm.group` is one item, under its own name."""
    reason: str
    """One line for the account of the load."""


@dataclass(frozen=True)
class Concat:
    """Tensors that the file holds apart and the network in one piece."""

    parts: tuple[str, ...]
    """The differing substrings of the (renamed) keys, in the order of the pieces."""
    into: str
    """What stands in their place in the network's key."""
    dim: int = 0
    """Along which dimension they are joined."""


@dataclass(frozen=True)
class FileForm:
    """One way in which the published tensors may lie in a file."""

    name: str
    """For messages: what tells this form from the others."""
    group: tuple[str, ...] = ()
    """Keys that lead from the file's top level to the dict of tensors."""
    select: str = ""
    """Regular expression: keys that belong to the network. All of them must fit."""
    rename: tuple[tuple[str, str], ...] = ()
    """re.sub pairs, applied in order, from the file's keys to the network's."""
    reshape: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Renamed keys whose tensors are viewed in another shape, dimensions of size 1 apart."""
    concat: tuple[Concat, ...] = ()
    """Pieces to join, after renaming."""
    drop: tuple[DropRule, ...] = ()
    """Tensors that are known and not needed; `select` is tried first."""
    certainty: str = ""
    """How sure it is that the published file has this form, and why."""


@dataclass(frozen=True)
class FileWeights:
    """Weights from a file that the user has: `Variant.files`, or the one given."""

    forms: tuple[FileForm, ...] = (FileForm("as the network"),)
    """Forms the file may have; the first that fits completely is taken."""
    where: str = ""
    """Where the authors publish the file, for the message about missing weights."""


@dataclass(frozen=True)
class PackagedFile:
    """Weights from a file inside an installed package; found, hashed and checked like any other."""

    locate: str | Callable[[], str | Path]
    """Gives the file's path, without importing torch: a callable, or its "module:function"."""
    forms: tuple[FileForm, ...] = (FileForm("as the network"),)
    """Forms the file may have."""


@dataclass(frozen=True)
class LibraryWeights:
    """Weights that a library downloads into its own cache; a file can be given instead."""

    library: Literal["torchvision", "timm", "hf"]
    name: str
    """The model's name in that library; for hf the repository or a local folder."""
    entry: str = ""
    """The set of weights (torchvision: `ResNet50_Weights.IMAGENET1K_V1`; hf: revision)."""
    forms: tuple[FileForm, ...] = (FileForm("as the network"),)
    """Forms of a file given with `--weights`, or found under one of `Variant.files`."""


@dataclass(frozen=True)
class BuilderWeights:
    """The builder brings what it needs (or there is nothing to bring); no file is looked for."""

    identity: str
    """What tells these weights from any others, such as "my-package 1.2.0": feature files made
    under another identity are refused."""


WeightSource: TypeAlias = FileWeights | PackagedFile | LibraryWeights | BuilderWeights
