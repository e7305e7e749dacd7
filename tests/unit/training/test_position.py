"""A position survives its way through JSON."""

from __future__ import annotations

import json

import pytest

from cxrlearn.training.position import EpochRow, Position


def test_a_position_comes_back_through_json_equal() -> None:
    row = EpochRow(0, 1 / 3, 1e-3, 2, 0.1 + 0.2, {"auroc": 0.7, "loss": None})
    position = Position(1, 5, 2 / 3, 44.0, 1, 0.3, 0, done=True, history=(row,))
    assert Position.from_plain(json.loads(json.dumps(position.to_plain()))) == position


def test_fields_of_another_version_are_refused() -> None:
    plain = Position().to_plain() | {"hour": 3}
    with pytest.raises(TypeError, match="hour"):
        Position.from_plain(plain)
