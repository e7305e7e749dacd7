"""A probe on disk: the same bits back, and words for every way it can be broken."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.errors import DiskError, TrainingError
from cxrlearn.probes.knn import KnnFit, fit_knn
from cxrlearn.probes.linear import fit_linear
from cxrlearn.probes.linear_settings import LinearSettings
from cxrlearn.probes.model import LabelFit, LogisticFit
from cxrlearn.probes.saved import ProbeMeta, load_probe, save_probe

if TYPE_CHECKING:
    from pathlib import Path

META = ProbeMeta(tag="cxr-tiny", fingerprint="ab" * 32)


def _label(name: str, C: float, iterations: int, *, converged: bool) -> LabelFit:
    return LabelFit(name, C, iterations, converged, 2, 37, None, ("overflow",))


def _fit(seed: int = 0) -> LogisticFit:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3, 5))
    weights[2] = np.nan
    return LogisticFit(
        "multilabel",
        weights,
        np.array([0.1, -2, np.nan]),
        (
            _label("No Finding", 0.0327, 17, converged=True),
            _label('Nodule/Mass, "x"|ø', 1.5, 500, converged=False),
            LabelFit("Hernia", None, None, None, 0, 39, "not fitted: no positives", ()),
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "a probe"
    save_probe(folder, _fit(), META)
    return folder


def test_probe_comes_back_to_the_last_bit(folder: Path) -> None:
    found = load_probe(folder)
    expected = _fit()
    assert found.meta == META
    assert isinstance(found.fit, LogisticFit)
    assert (found.fit.kind, found.fit.labels) == (expected.kind, expected.labels)
    np.testing.assert_array_equal(found.fit.weights, expected.weights)
    np.testing.assert_array_equal(found.fit.intercept, expected.intercept)
    features = np.random.default_rng(1).normal(size=(4, 5))
    np.testing.assert_array_equal(found.fit.decision(features), expected.decision(features))


def test_same_probe_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_probe(tmp_path / "again", _fit(), META)
    for name in ("probe.safetensors", "probe.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_saving_again_replaces_the_probe(folder: Path) -> None:
    save_probe(folder, _fit(1), META)
    found = load_probe(folder).fit
    assert isinstance(found, LogisticFit)
    np.testing.assert_array_equal(found.weights, _fit(1).weights)
    assert {path.name for path in folder.iterdir()} == {"probe.safetensors", "probe.json"}


def _data(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (40, 6), labels and their mask; of three multi-label ones, one is unknown."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    if kind == "multiclass":
        return features, np.eye(3, dtype=np.int8)[np.arange(40) % 3], np.ones((40, 3), dtype=bool)
    known = rng.random((40, 3)) < 0.8
    known[:, 2] = False
    return features, rng.integers(0, 2, (40, 3)).astype(np.int8), known


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("k", [None, 7])
def test_nearest_neighbours_come_back_to_the_last_bit(
    tmp_path: Path, kind: str, k: int | None
) -> None:
    expected = fit_knn(
        *_data(kind), kind, names=("a", "b", "c"), k=k, validation=_data(kind, 1), temperature=0.1
    )
    save_probe(tmp_path, expected, META)
    found = load_probe(tmp_path)
    assert found.meta == META
    assert isinstance(found.fit, KnnFit)
    assert (found.fit.kind, found.fit.k, found.fit.temperature) == (kind, expected.k, 0.1)
    assert found.fit.labels == expected.labels
    assert found.fit.not_fitted == expected.not_fitted
    new = np.random.default_rng(2).normal(size=(30, 6)).astype(np.float32)
    np.testing.assert_array_equal(found.fit.decision(new), expected.decision(new))


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_linear_layer_comes_back_to_the_last_bit(tmp_path: Path, kind: str) -> None:
    expected = fit_linear(
        *_data(kind), kind, names=("a", "b", "c"), settings=LinearSettings(epochs=3)
    ).fit
    save_probe(tmp_path, expected, META)
    found = load_probe(tmp_path).fit
    assert found.labels == expected.labels
    new = np.random.default_rng(2).normal(size=(30, 6)).astype(np.float32)
    np.testing.assert_array_equal(found.decision(new), expected.decision(new))
    assert np.isfinite(found.decision(new)[:, 0]).all()


@pytest.mark.parametrize(
    "changes", [{"feature_dim": 9}, {"labels": []}, {"k": 0}, {"k": "x"}, {"temperature": 0}]
)
def test_neighbours_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    save_probe(tmp_path, fit_knn(*_data("multilabel"), "multilabel", names="abc"), META)
    _edit(tmp_path, **changes)
    with pytest.raises(TrainingError, match="no probe this version can read"):
        load_probe(tmp_path)


def _edit(folder: Path, **changes: object) -> None:
    """Write the account as another writer would have: with the hash of what it says."""
    path = folder / "probe.json"
    account = json.loads(path.read_text()) | changes
    account.pop("account_sha256")
    text = json.dumps(account, sort_keys=True)
    account["account_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(account))


def test_weights_of_another_probe_are_refused(folder: Path, tmp_path: Path) -> None:
    save_probe(tmp_path / "other", _fit(1), META)
    (tmp_path / "other" / "probe.safetensors").replace(folder / "probe.safetensors")
    with pytest.raises(TrainingError, match="damaged or of another probe"):
        load_probe(folder)


@pytest.mark.parametrize("key", ["tag", "fingerprint", "feature_dim", "labels"])
def test_a_changed_word_of_the_account_is_refused(folder: Path, key: str) -> None:
    path = folder / "probe.json"
    account = json.loads(path.read_text())
    account[key] = account[key][:-1] if isinstance(account[key], (str, list)) else 6
    path.write_text(json.dumps(account))
    with pytest.raises(TrainingError, match=r"probe\.json is damaged"):
        load_probe(folder)


@pytest.mark.parametrize("name", ["probe.safetensors", "probe.json"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(TrainingError, match=f"cannot read .*{name}: No such file"):
        load_probe(folder)


@pytest.mark.parametrize("name", ["probe.safetensors", "probe.json"])
def test_truncated_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingError, match=f"{name} is damaged"):
        load_probe(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "format version 3; this cxrlearn reads 2. Update cxrlearn"),
        ({"version": 1}, "format version 1; this cxrlearn reads 2. Run the probe again"),
        ({"format": "other"}, "does not describe a probe of cxrlearn"),
        ({"feature_dim": 9}, r"shape \(3, 5\) do not fit \(3, 9\)"),
        ({"labels": [{"name": "x"}]}, "no probe this version can read"),
    ],
)
def test_foreign_or_newer_description_is_refused_in_words(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    _edit(folder, **changes)
    with pytest.raises(TrainingError, match=message):
        load_probe(folder)


def test_description_without_a_hash_or_of_another_shape_is_refused(folder: Path) -> None:
    account = json.loads((folder / "probe.json").read_text())
    del account["account_sha256"]
    (folder / "probe.json").write_text(json.dumps(account))
    with pytest.raises(TrainingError, match="does not match its hash"):
        load_probe(folder)
    (folder / "probe.json").write_text("[1]")
    with pytest.raises(TrainingError, match="does not describe"):
        load_probe(folder)


def test_weights_that_are_not_safetensors_are_refused(folder: Path) -> None:
    (folder / "probe.safetensors").write_bytes(b"no tensors")
    _edit(folder, tensors_sha256=hashlib.sha256(b"no tensors").hexdigest())
    with pytest.raises(TrainingError, match="no probe this version can read"):
        load_probe(folder)


def test_folder_that_cannot_be_made_is_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(DiskError, match=r"permission denied\. No probe was saved"):
        save_probe(tmp_path / "runs", _fit(), META)
