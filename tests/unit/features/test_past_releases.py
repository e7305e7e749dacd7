"""Files written by past versions: tests/data/feature_files holds one of each version.

Version 1, which has no checksums, is recognised and refused. Version 2 was written by
`tests.support.feature_files.write_rows` on 2026-11-26.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.store import check_whole, read_features, read_index
from tests.support.feature_files import digest_of

FILES = Path(__file__).resolve().parents[2] / "data" / "feature_files"


def test_version_1_is_refused_because_damage_would_go_unnoticed() -> None:
    with pytest.raises(FeatureFileError, match="format version 1, which has no checksums"):
        read_features(FILES / "v1" / "three-rows.h5")


def test_version_2() -> None:
    file = FILES / "v2" / "three-rows.h5"
    check_whole(file)
    content = read_features(file)
    assert content.ids.tolist() == ["a/1.png", "a/1.png", "röntgen/ä.png"]
    third = np.float32(1 / 3)
    assert content.features.tolist() == [[0.5, 0, third], [1.5, -1, third], [2.5, -2, third]]
    assert content.content_hashes.tolist() == [digest_of(n).decode() for n in (1, 2, 3)]
    assert content.failed == {"z.png": "gone"}
    assert content.attributes["version"] == 2
    assert content.attributes["provenance"] == {"made": "by hand"}
    assert content.attributes["fingerprint"] == {
        "arch": None,
        "backbone": "tiny-test",
        "dim": 3,
        "feature": "pooled",
        "intensity": "percentile",
        "pixel_rules": 1,
        "precision": "fp32",
        "preprocessing": {"mean": [0.5], "steps": []},
        "pretrained_on": None,
        "store": "float32",
        "weights": "sha256:00",
    }
    index = read_index(file)
    assert index.size.tolist() == [101, 102, 103]
    assert index.seen.place.tolist() == [10, 11, 12]
    assert index.mtime_ns.tolist() == [1_700_000_000_000_000_000 + n for n in (1, 2, 3)]
