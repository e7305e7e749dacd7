"""How well does each pretrained chest X-ray backbone serve your task?

The public names are resolved when first used, so that `import cxrlearn` imports nothing heavy.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import takes a while: Ctrl-C is to be heard before
if TYPE_CHECKING:
    from typing import Any

    from cxrlearn.errors import CxrlearnError as CxrlearnError
    from cxrlearn.features.store import read_features as read_features
    from cxrlearn.probes.estimator import LogisticProbe as LogisticProbe
    from cxrlearn.workflows.public import load_backbone as load_backbone

_PUBLIC = {
    "CxrlearnError": "cxrlearn.errors",
    "LogisticProbe": "cxrlearn.probes.estimator",
    "load_backbone": "cxrlearn.workflows.public",
    "read_features": "cxrlearn.features.store",
}

__all__ = ["CxrlearnError", "LogisticProbe", "__version__", "load_backbone", "read_features"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("cxrlearn")
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    message = f"module 'cxrlearn' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
