"""The features of every split, looked up by image and content; missing ones are embedded first."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.backbones.registry import resolve
from cxrlearn.errors import DataError, UsageError, WeightsError
from cxrlearn.features.fingerprint import feature_tag
from cxrlearn.features.store import read_index, read_info
from cxrlearn.features.stored_rows import StoredRows
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.memory import available_memory
from cxrlearn.workflows.cached_rows import cached_rows
from cxrlearn.workflows.embed import images_of
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.embed_recover import adopt
from cxrlearn.workflows.feature_choice import announce_choice, files_like_it
from cxrlearn.workflows.setting_values import NamedPath
from cxrlearn.workflows.shared_images import warn_of_missing_images, warn_of_shared_images
from cxrlearn.workflows.targets import Target, resolve_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.features.store import FileInfo
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.datasets import ImageSets
    from cxrlearn.workflows.probe_config import ProbeConfig


_SHARE = 0.8
"""Share of the free memory that a probe may take."""
_WORKING = 2**30
"""Bytes that a fit takes beside the features."""


@dataclass(frozen=True)
class SplitFeatures:
    """The features of one split, without the rows that have none."""

    kept: NDArray[np.intp]
    """Positions in the manifest of the rows that have features; ascending, or, where features
    stay on disk, in the order of the file."""
    features: NDArray[np.float32] | StoredRows
    """(len(kept), D); on disk where memory does not hold them."""
    content_hashes: frozenset[bytes]
    """SHA-256 of the image files kept."""
    failed: dict[str, str]
    """Image id to reason, for images that could not be read."""
    missing: int
    """Rows without features for another reason."""


@dataclass(frozen=True)
class ProbeFeatures:
    """Features of all splits and where they come from."""

    target: Target
    """The backbone and its file."""
    info: FileInfo
    """What the file says of itself."""
    splits: dict[str, SplitFeatures]
    """By split name."""

    @property
    def failed(self) -> dict[str, str]:
        """Image id to reason, over all splits."""
        return {name: why for split in self.splits.values() for name, why in split.failed.items()}


def only_feature_file(
    folder: Path, *, offline: bool = False, other_weights: bool = False
) -> dict[str, object]:
    """Return the backbone settings behind the only feature file of a folder, all of them.

    Args:
        folder: of feature files.
        offline: never ask the network about an `hf:` name.
        other_weights: those it was made with are not needed.

    Raises:
        UsageError: there is none, or there are several: the message lists them; or what it was
            made with cannot be found again.
        WeightsError: it is of a backbone that is unknown here.
    """
    files = sorted(folder.glob("*.h5")) if folder.is_dir() else []
    if len(files) != 1:
        there = (
            f"{folder} holds {', '.join(file.stem for file in files)}"
            if files
            else f"{folder} holds no feature file"
        )
        raise UsageError(
            f"--model is missing: which backbone? {there}. `cxrlearn models list` names the "
            "backbones; cxr-tiny needs no file."
        )
    (file,) = files
    info = read_info(file)
    found = info.fingerprint
    spec = resolve(found.backbone, offline=offline).spec
    rules = [
        rule.name
        for rule in spec.preprocessings
        if replace(found, preprocessing=rule.identity()) == found
    ]
    random = found.weights.removeprefix("random:")
    given = info.provenance.get("weights_given")
    settings: dict[str, object] = {
        "model": found.backbone,
        "arch": found.arch,
        "pretrained_on": found.pretrained_on,
        "features": found.feature,
        "weights": (NamedPath(given),) if given else (),
        "preprocessing": rules[0] if rules else None,
        "random_weights": int(random) if random.isdigit() else None,
        "precision": info.provenance.get("precision_requested", found.precision),
        "store": found.store,
        "intensity": found.intensity,
    }
    if given and not other_weights and not Path(str(given)).exists():
        raise UsageError(
            f"{file} was made with the weights {given}, which are not there. Say which to take: "
            f"--model {found.backbone} --weights {found.backbone}=FILE."
        )
    return settings


def find_target(config: ProbeConfig, reporter: Reporter) -> Target:
    """Resolve the backbone; without its weights, a feature file that is there will do.

    Raises:
        WeightsError: unknown backbone, or neither weights nor features are there.
        FeatureFileError: the file that is there is of other weights or rules.
    """
    if config.model is None:  # the command line has filled it in
        raise UsageError("--model is missing.")
    try:
        target = resolve_target(
            config.model,
            config,
            config.features_dir,
            store=config.store,
            notify=reporter.notice,
        )
    except WeightsError as error:
        found = None if config.weights else _target_of_file(config.model, config)
        if found is None:
            raise WeightsError(*error.args, *files_like_it(config)) from error
        reporter.notice(
            f"the weights of {config.model} are not here; {found.file} is taken as it is."
        )
        return found
    return adopt(target, SILENT, "--features-dir")


def _target_of_file(model: str, config: ProbeConfig) -> Target | None:
    resolved = resolve(
        model,
        arch=config.arch,
        pretrained_on=config.pretrained_on,
        features=config.features,
        preprocessing=None if config.preprocessing == "published" else config.preprocessing,
        offline=True,
    )
    tag = feature_tag(
        resolved,
        precision=config.precision,
        store=config.store,
        intensity=config.intensity,
        random_seed=config.random_weights,
    )
    file = config.features_dir / f"{tag}.h5"
    if not file.is_file():
        return None
    return Target(resolved, None, None, read_info(file).fingerprint, config.precision, tag, file)


def load_features(config: ProbeConfig, sets: ImageSets, reporter: Reporter) -> ProbeFeatures:
    """Return the features of every split, embedding first what has none.

    Raises:
        DataError: a split has no image with features.
        FeatureFileError: the feature file is damaged, or was made with other settings.
        CxrlearnError: whatever `run_embed` raises.
    """
    target = find_target(config, reporter)
    announce_choice(config, target, reporter)
    manifests = sets.named()
    groups = [images_of(manifest) for manifest in manifests.values()]
    found, failed = cached_rows(target.file, groups, embed_config(config, target), reporter)
    rows = dict(zip(manifests, found, strict=True))
    if any((one < 0).any() for one in found):
        warn_of_missing_images(manifests.values(), reporter)
    _refuse_unusable(manifests, rows, failed)
    hashes = read_index(target.file).content_hash
    streamed = _streamed(config, rows["train"], read_info(target.file).fingerprint.dim, reporter)
    splits = {
        name: _split(target, manifest, rows[name], failed, hashes, streamed and name == "train")
        for name, manifest in manifests.items()
    }
    _warn_if_alike(splits["train"].features, target.tag, reporter)
    shared = {
        (a, b): len(splits[a].content_hashes & splits[b].content_hashes)
        for a, b in combinations(splits, 2)
    }
    warn_of_shared_images(shared, reporter, strict=config.strict)
    return ProbeFeatures(target, read_info(target.file), splits)


def _streamed(config: ProbeConfig, rows: NDArray[np.intp], dim: int, reporter: Reporter) -> bool:
    """Return whether the training features stay on disk: they are held twice while fitting."""
    limit = config.memory_limit
    budget = available_memory() * _SHARE if limit is None else limit * 2**30
    if 2 * 4 * dim * int((rows >= 0).sum()) + _WORKING <= budget:
        return False
    too_large = "the training features do not fit into memory twice"
    if config.kind == "logreg" and config.solver == "batched":
        reporter.notice(
            f"{too_large}: they are read from disk as needed, and not searched for images that "
            "look nearly the same as one of another split."
        )
        return True
    reporter.notice(
        f"{too_large}, and only logistic regression with --solver batched can read them from disk "
        "as needed: they are loaded all the same."
    )
    return False


def _refuse_unusable(
    manifests: Mapping[str, Manifest], rows: Mapping[str, NDArray[np.intp]], failed: dict[str, str]
) -> None:
    for name, manifest in manifests.items():
        if (rows[name] >= 0).any():
            continue
        first = manifest.image_ids[0]
        raise DataError(
            f"none of the {len(manifest):,} images of {manifest.name} can be used ({first}: "
            f"{failed.get(first, 'it has no features')}). Check --image-root and the paths in the "
            "manifest."
        )


def _warn_if_alike(
    features: NDArray[np.float32] | StoredRows, tag: str, reporter: Reporter
) -> None:
    first = features[0:1]
    for start in range(0, len(features), 1024):
        if (features[start : start + 1024] != first).any():
            return
    reporter.warning(
        f"all {len(features):,} training images have the same {tag} features, so a probe learns "
        "nothing from them. Check the weights and the preprocessing of the backbone."
    )


def _split(
    target: Target,
    manifest: Manifest,
    rows: NDArray[np.intp],
    failed: dict[str, str],
    hashes: NDArray[np.bytes_],
    streamed: bool,  # noqa: FBT001 - internal
) -> SplitFeatures:
    kept = np.flatnonzero(rows >= 0)
    if streamed:  # neighbours in the file are read together
        kept = kept[np.argsort(rows[kept], kind="stable")]
    without = [manifest.image_ids[position] for position in np.flatnonzero(rows < 0)]
    unreadable = {name: failed[name] for name in without if name in failed}
    stored = StoredRows(target.file, rows[kept], read_info(target.file).fingerprint.dim)
    features = stored if streamed else stored[slice(None)]
    lost = len(without) - sum(name in unreadable for name in without)
    contents = frozenset(bytes(digest) for digest in hashes[rows[kept]])
    return SplitFeatures(kept, features, contents, unreadable, lost)


def embed_config(config: ProbeConfig, target: Target) -> EmbedConfig:
    """Return the settings of `embed` for the images of a probe."""
    shared = {field.name for field in fields(EmbedConfig)} & {
        field.name for field in fields(config)
    }
    values = {name: getattr(config, name) for name in shared - {"model", "output_dir"}}
    base = EmbedConfig(model=(config.model or "",), output_dir=config.features_dir, **values)
    # A file that is taken as it is may have another type on disk.
    store = target.fingerprint.store
    return base if store == base.store else replace(base, store="float16")
