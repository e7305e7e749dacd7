"""Fit a file's tensors to a network: every tensor accounted for, complete or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from cxrlearn.errors import WeightsError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cxrlearn.backbones.spec import FileForm

UNNAMED = "named by no rule of the record"
_MAY_BE_ABSENT = ".num_batches_tracked"  # a counter that evaluation does not read


@dataclass(frozen=True)
class KeyRole:
    """What became of one key of a file."""

    key: str
    """The key in the file; an entry beside the tensors stands under its own name."""
    role: Literal["loaded", "dropped"]
    detail: str
    """Loaded: the network's name for it. Dropped: the reason."""


@dataclass(frozen=True)
class LoadAccount:
    """Where a network's weights came from, and what became of every tensor in the file."""

    form: str
    """Which form of the file was recognised, or how else the weights were made."""
    keys: tuple[KeyRole, ...] = ()
    """Every key of the file."""
    absent: tuple[str, ...] = ()
    """Tensors of the network that the file may lack, and does (batch counters)."""
    file: Path | None = None
    """The file, where there is one."""
    sha256: str | None = None
    """Its hash."""
    problems: tuple[str, ...] = ()
    """What a user should know although the weights were accepted."""

    @property
    def loaded(self) -> tuple[str, ...]:
        """Keys of the file whose tensors are in the network."""
        return tuple(one.key for one in self.keys if one.role == "loaded")

    @property
    def dropped(self) -> dict[str, int]:
        """How many keys each reason dropped."""
        return dict(Counter(one.detail for one in self.keys if one.role == "dropped"))


@dataclass
class _Attempt:
    """What one form makes of a file."""

    form: FileForm
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    keys: list[KeyRole] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not (self.misfits or self.missing or self.strangers)

    @property
    def found(self) -> int:
        """How many of the network's tensors the file holds."""
        return len(self.state) - len(self.absent)


def fit_state(
    content: object,
    forms: Sequence[FileForm],
    expected: Mapping[str, torch.Tensor],
    *,
    what: str,
    advice: str,
) -> tuple[dict[str, torch.Tensor], LoadAccount]:
    """Take the tensors that a network needs out of what a file holds.

    Args:
        content: what `read_checkpoint` returned.
        forms: forms the file may have, the first complete one is taken.
        expected: the network's state dict; only shapes and kinds are looked at.
        what: the file and the backbone, for messages.
        advice: what the user can do if nothing fits.

    Returns:
        A complete state dict, float tensors as float32, and the account.

    Raises:
        WeightsError: no form gives every tensor a finite value of the right shape; the message
            tells how far the closest form came.
    """
    attempts = [
        attempt for form in forms if (attempt := _attempt(content, form, expected)) is not None
    ]
    for attempt in attempts:
        if attempt.complete:
            account = LoadAccount(
                attempt.form.name,
                tuple(attempt.keys),
                tuple(attempt.absent),
                problems=_unnamed(attempt),
            )
            return attempt.state, account
    closest = max(attempts, key=lambda one: (one.found, len(one.misfits)), default=None)
    if closest is None or not (closest.found or closest.misfits):
        raise WeightsError(f"{what}: {_nothing_fits(content, forms)} {advice}")
    raise WeightsError(f"{what}: {_how_far(closest, len(expected))} Nothing was loaded. {advice}")


def _attempt(
    content: object, form: FileForm, expected: Mapping[str, torch.Tensor]
) -> _Attempt | None:
    group = _descend(content, form.group)
    if group is None:
        return None
    attempt = _Attempt(form)
    pieces = _select(attempt, group, expected)
    _join(attempt, pieces, expected)
    for name, target in expected.items():
        if name not in attempt.state and name.endswith(_MAY_BE_ABSENT):
            attempt.state[name] = torch.zeros(target.shape, dtype=target.dtype)
            attempt.absent.append(name)
    known = {*attempt.state, *(misfit.partition(":")[0] for misfit in attempt.misfits)}
    attempt.missing.extend(name for name in expected if name not in known)
    attempt.keys.extend(_beside(content, form))
    return attempt


def _descend(content: object, group: tuple[str, ...]) -> Mapping[object, object] | None:
    """Follow the group's keys down to a mapping, or return None."""
    for key in group:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content if isinstance(content, Mapping) else None


def _select(
    attempt: _Attempt, group: Mapping[object, object], expected: Mapping[str, torch.Tensor]
) -> dict[str, tuple[str, torch.Tensor]]:
    """Return {renamed key: (key in the file, tensor)}; account for all other keys."""
    form = attempt.form
    pieces: dict[str, tuple[str, torch.Tensor]] = {}
    for key, value in group.items():
        name = str(key)
        if not isinstance(value, torch.Tensor):
            attempt.keys.append(KeyRole(name, "dropped", _reason(form, name) or "no tensor"))
            continue
        target = _rename(form, name) if re.search(form.select, name) else None
        if target is not None and _joined(form, target) in expected:
            if target in pieces:
                attempt.misfits.append(
                    f"{target}: both {pieces[target][0]} and {name} stand for it"
                )
            pieces[target] = (name, value)
            continue
        reason = _reason(form, name)
        if target is not None and reason is None:
            attempt.strangers.append(name)
        attempt.keys.append(KeyRole(name, "dropped", reason or UNNAMED))
    return pieces


def _rename(form: FileForm, key: str) -> str:
    for pattern, replacement in form.rename:
        key = re.sub(pattern, replacement, key)
    return key


def _joined(form: FileForm, name: str) -> str:
    """Return the network's name of the tensor that `name` is, or is a piece of."""
    for concat in form.concat:
        for part in concat.parts:
            if part in name:
                return name.replace(part, concat.into)
    return name


def _reason(form: FileForm, key: str) -> str | None:
    return next((rule.reason for rule in form.drop if re.search(rule.pattern, key)), None)


def _join(
    attempt: _Attempt,
    pieces: dict[str, tuple[str, torch.Tensor]],
    expected: Mapping[str, torch.Tensor],
) -> None:
    """Give each expected tensor its value: joined, reshaped, of the right kind, or a misfit."""
    form = attempt.form
    shapes = dict(form.reshape)
    for name, target in expected.items():
        parts = _parts_of(form, name)
        found = [pieces[part] for part in parts if part in pieces]
        if not found:
            continue
        attempt.keys.extend(KeyRole(key, "loaded", name) for key, _ in found)
        if len(found) < len(parts):
            lacking = ", ".join(part for part in parts if part not in pieces)
            attempt.misfits.append(f"{name}: {lacking} is missing")
            continue
        value = _assemble([tensor for _, tensor in found], form, name, shapes.get(name))
        problem = _problem(value, target)
        if problem:
            attempt.misfits.append(f"{name}: {problem} ({', '.join(key for key, _ in found)})")
        else:
            kind = torch.float32 if target.is_floating_point() else target.dtype
            # A copy of its own: files may hold views of one storage, or other strides.
            attempt.state[name] = value.to(kind, copy=True, memory_format=torch.contiguous_format)


def _parts_of(form: FileForm, name: str) -> tuple[str, ...]:
    for concat in form.concat:
        if concat.into in name:
            return tuple(name.replace(concat.into, part) for part in concat.parts)
    return (name,)


def _assemble(
    tensors: list[torch.Tensor], form: FileForm, name: str, shape: tuple[int, ...] | None
) -> torch.Tensor:
    """Join and reshape; tensors that cannot be are returned as the first of them is."""
    value = tensors[0]
    if len(tensors) > 1:
        dim = next(concat.dim for concat in form.concat if concat.into in name)
        rest = {(one.dim(), one.shape[:dim], one.shape[dim + 1 :]) for one in tensors}
        value = torch.cat(tensors, dim=dim) if len(rest) == 1 and value.dim() > dim else value
    if shape is not None and [n for n in shape if n != 1] == [n for n in value.shape if n != 1]:
        value = value.reshape(shape)
    return value


def _problem(value: torch.Tensor, target: torch.Tensor) -> str | None:
    """Say why a tensor cannot be the network's, or None."""
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        return "holds no ordinary values"
    if value.shape != target.shape:
        return f"wrong shape, expected {list(target.shape)}, got {list(value.shape)}"
    if value.is_floating_point() != target.is_floating_point():
        return f"wrong kind, expected {target.dtype}, got {value.dtype}"
    if not torch.isfinite(value).all():
        return "holds NaN or infinity"
    return None


def _beside(content: object, form: FileForm) -> list[KeyRole]:
    """Account for the entries of the file that lie beside the group."""
    if not form.group or not isinstance(content, Mapping):
        return []
    names = [str(key) for key in content if key != form.group[0]]
    return [KeyRole(name, "dropped", _reason(form, name) or UNNAMED) for name in names]


def _unnamed(attempt: _Attempt) -> tuple[str, ...]:
    names = [one.key for one in attempt.keys if one.detail == UNNAMED]
    return (f"dropped though {UNNAMED}: {_some(names)}",) if names else ()


def _how_far(attempt: _Attempt, total: int) -> str:
    needed = total - len(attempt.absent)
    parts = [f"read as {attempt.form.name!r}, {attempt.found} of {needed} tensors fit"]
    if attempt.missing:
        parts.append(f"missing: {_some(attempt.missing)}")
    if attempt.misfits:
        parts.append(f"wrong: {_some(attempt.misfits)}")
    if attempt.strangers:
        parts.append(f"no part of this network: {_some(attempt.strangers)}")
    return "; ".join(parts) + "."


def _nothing_fits(content: object, forms: Sequence[FileForm]) -> str:
    wanted = " or ".join(repr(form.name) for form in forms)
    if not isinstance(content, Mapping):
        held = f"a {type(content).__name__}"
    else:
        keys = _some([repr(str(key)) for key in content])
        held = f"{counted(len(content), 'entry', 'entries')} ({keys})"
    return f"nothing in it fits. Expected {wanted}; the file holds {held}."


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
