"""A probe on disk: weights as safetensors, everything else as JSON beside them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cxrlearn.errors import DataError, TrainingError
from cxrlearn.probes.knn import KnnFit
from cxrlearn.probes.model import LabelFit, LogisticFit
from cxrlearn.runtime.atomic import disk_errors, replace_file, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "cxrlearn-probe"
VERSION = 2
TENSORS = "probe.safetensors"
ACCOUNT = "probe.json"


@dataclass(frozen=True)
class ProbeMeta:
    """Which features the probe is for."""

    tag: str
    """Tag of the feature file it was fitted on."""
    fingerprint: str
    """sha256 of that file's fingerprint: only features of the same fingerprint may be scored."""


@dataclass(frozen=True)
class SavedProbe:
    """What `load_probe` returns."""

    fit: LogisticFit | KnnFit
    """The probe, equal to the one saved, to the last bit; what was tried before it is not kept."""
    meta: ProbeMeta
    """Which features it is for."""


def save_probe(folder: Path, fit: LogisticFit | KnnFit, meta: ProbeMeta) -> None:
    """Write `probe.safetensors` and `probe.json`.

    The tensors are weights (L, D) and intercept (L,) in float64; for nearest neighbours the train
    features (N, D) and their labels.

    The folder is made if it is missing. `probe.json` comes last and holds the hash of the tensors,
    so files of two different probes are never taken for one. It also holds the hash of its own
    content: no damaged label name, setting or fingerprint is ever used.

    Raises:
        DiskError: the folder or a file cannot be written.
    """
    arrays, about = _content(fit)
    tensors = save(arrays)
    account = {
        "format": FORMAT,
        "version": VERSION,
        "kind": fit.kind,
        "labels": [asdict(label) for label in fit.labels],
        **about,
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        **asdict(meta),
    }
    account["account_sha256"] = _digest(account)
    with disk_errors(folder, "No probe was saved."):
        folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / TENSORS, lambda path: _write(path, tensors), step="probe.tensors")
    text = json.dumps(account, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(folder / ACCOUNT, text + "\n", step="probe.account")


def _digest(account: Mapping[str, object]) -> str:
    """Return the SHA-256 of an account without its own hash, however its text is laid out."""
    content = {key: value for key, value in account.items() if key != "account_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _content(
    fit: LogisticFit | KnnFit,
) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, object]]:
    """Return the tensors of a probe, and what has to be said of them."""
    if isinstance(fit, KnnFit):
        arrays = {name: np.ascontiguousarray(array) for name, array in fit.arrays().items()}
        width = int(arrays["features"].shape[1])
        return arrays, {"feature_dim": width, "k": fit.k, "temperature": fit.temperature}
    return {
        "weights": np.ascontiguousarray(fit.weights, dtype=np.float64),
        "intercept": np.ascontiguousarray(fit.intercept, dtype=np.float64),
    }, {"feature_dim": int(fit.weights.shape[1])}


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def load_probe(folder: Path) -> SavedProbe:
    """Read a saved probe; nothing is executed.

    Raises:
        TrainingError: a file is missing, damaged, of a newer version, or of another probe.
    """
    account = _read_account(folder / ACCOUNT)
    path = folder / TENSORS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}.{_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != account["tensors_sha256"]:
        raise TrainingError(f"{path} is damaged or of another probe than {ACCOUNT}.{_AGAIN}")
    try:
        tensors = load(content)
        return _assemble(account, tensors)
    except (SafetensorError, DataError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{folder} holds no probe this version can read: {error}") from error


_AGAIN = " Run the probe again to write it anew."


def _read_account(path: Path) -> dict[str, Any]:
    try:
        account = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}.{_AGAIN}") from error
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: {error}.{_AGAIN}") from error
    if not isinstance(account, dict) or account.get("format") != FORMAT:
        raise TrainingError(f"{path} does not describe a probe of cxrlearn.")
    version = account.get("version")
    if version != VERSION:
        older = isinstance(version, int) and version < VERSION
        raise TrainingError(
            f"{path} has format version {version}; this cxrlearn reads {VERSION}."
            f"{_AGAIN if older else ' Update cxrlearn.'}"
        )
    if account.get("account_sha256") != _digest(account):
        raise TrainingError(f"{path} is damaged: its content does not match its hash.{_AGAIN}")
    return account


def _assemble(account: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> SavedProbe:
    labels = tuple(
        LabelFit(**{**label, "notes": tuple(label["notes"])}) for label in account["labels"]
    )
    meta = ProbeMeta(tag=account["tag"], fingerprint=account["fingerprint"])
    if "k" in account:
        rows, width = tensors["features"].shape
        shape = (rows, len(labels))
        if width != account["feature_dim"] or tensors["known"].shape != shape:
            raise ValueError(f"features of {rows} rows and {width} columns do not fit")
        k, temperature = account["k"], account["temperature"]
        if not (isinstance(k, int) and k >= 1 and temperature > 0):
            raise ValueError(f"k = {k} and temperature = {temperature}")
        names = [label.name for label in labels]
        found = KnnFit.from_arrays(
            tensors, account["kind"], names=names, k=k, temperature=temperature
        )
        return SavedProbe(found, meta)
    weights, intercept = tensors["weights"], tensors["intercept"]
    shape = (len(labels), account["feature_dim"])
    if weights.shape != shape or intercept.shape != shape[:1]:
        raise ValueError(f"weights of shape {weights.shape} do not fit {shape}")
    return SavedProbe(LogisticFit(account["kind"], weights, intercept, labels), meta)
