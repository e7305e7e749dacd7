"""Where and with what a result was made."""

from __future__ import annotations

import datetime as dt
import platform
import socket
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("cxrlearn", "torch", "torchvision", "timm", "transformers", "numpy", "scikit-learn",
            "pandas", "h5py", "pillow", "pydicom", "python-gdcm")  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the installed version of every package that can change a number."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that runs with PYTHONPATH=src
        return "not installed"


def provenance() -> dict[str, object]:
    """Return versions, host and time; nothing a result may depend on without saying so."""
    return {
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "command": [sys.executable, *sys.orig_argv[1:]],
        "versions": package_versions(),
    }
