"""Downloads go into the libraries' caches: announced, verified, whole, and never when offline."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cxrlearn.backbones.libraries.fetch import torch_hub_file
from cxrlearn.errors import WeightsError
from tests.support.http import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = f"net-{SHA256[:8]}.pth"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as one:
        one.files[f"/models/{NAME}"] = CONTENT
        yield one


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def _get(
    server: Server, heard: list[str], *, sha256: str = SHA256[:8], offline: bool = False
) -> Path:
    url = f"{server.address}/models/{NAME}"
    return torch_hub_file(url, sha256=sha256, offline=offline, notify=heard.append)


def test_a_download_is_announced_cached_and_done_once(server: Server, cache: Path) -> None:
    heard: list[str] = []
    path = _get(server, heard)
    assert path == cache / NAME
    assert path.read_bytes() == CONTENT
    assert heard == [f"downloading {server.address}/models/{NAME} into {cache}"]
    assert _get(server, heard) == path
    assert _get(server, heard, offline=True) == path
    assert len(heard) == len(server.asked) == 1


def test_offline_refuses_and_asks_nobody(server: Server, cache: Path) -> None:
    heard: list[str] = []
    with pytest.raises(WeightsError, match="--offline forbids the download"):
        _get(server, heard, offline=True)
    assert heard == server.asked == []


def test_other_bytes_than_published_are_not_kept(server: Server, cache: Path) -> None:
    with pytest.raises(WeightsError, match="should begin with 0000"):
        _get(server, [], sha256="0000")
    assert list(cache.iterdir()) == []


def test_a_missing_file_and_a_dead_server_are_explained(cache: Path) -> None:
    with (
        serve() as server,
        pytest.raises(WeightsError, match=r"cannot reach .*404.*pass them with --weights"),
    ):
        _get(server, [])
    with pytest.raises(WeightsError, match="cannot reach"):
        _get(server, [])
    assert list(cache.iterdir()) == []


HUB = """
from cxrlearn.backbones.libraries.fetch import hub_file
from cxrlearn.errors import WeightsError
for names in (["model.safetensors", "model.bin"], ["absent.bin"]):
    for offline in (False, True):
        heard = []
        try:
            path = hub_file("someone/model", names, offline=offline, notify=heard.append)
            print(path.name, path.read_bytes().decode(), len(heard))
        except WeightsError as error:
            print(error)
"""


@pytest.mark.slow
def test_hub_files_are_cached_the_first_name_there_is_taken_and_a_missing_one_is_explained(
    tmp_path: Path,
) -> None:
    """In a process of its own: the hub's library reads its address when imported."""
    with serve() as server:
        server.headers["X-Repo-Commit"] = "c" * 40
        server.files["/someone/model/resolve/main/model.bin"] = b"abc"
        hub = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", HUB], env={**os.environ, **hub}, capture_output=True, text=True
        )
    assert done.stderr == ""
    online, cached, absent, offline = done.stdout.splitlines()
    assert online == "model.bin abc 1"
    assert cached == "model.bin abc 0"
    assert absent == "someone/model on the Hugging Face hub holds no absent.bin"
    assert "--offline forbids the download" in offline
