"""Says that images are not there, or that one picture is in two splits under whatever name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.data.missing_images import missing_images_hint
from cxrlearn.errors import DataError
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.runtime.events import Reporter


def warn_of_missing_images(manifests: Iterable[Manifest], reporter: Reporter) -> None:
    """Warn of images that are not there, once: several manifests mostly share the cause."""
    for manifest in manifests:
        hint = missing_images_hint(manifest)
        if hint is not None:
            reporter.warning(hint)
            return


def warn_of_shared_images(
    shared: Mapping[tuple[str, str], int], reporter: Reporter, *, strict: bool
) -> None:
    """Warn of every pair of splits that shares contents.

    Args:
        shared: how many contents two splits share.
        reporter: hears the warnings.
        strict: refuse instead.

    Raises:
        DataError: under `--strict`.
    """
    for (a, b), count in shared.items():
        if count == 0:
            continue
        message = (
            f"{counted(count, 'image file')} {'is' if count == 1 else 'are'} both in {a} and in "
            f"{b}, with the same content: "
            f"results on {b} will look too good."
        )
        if strict:
            raise DataError(f"{message} Without --strict this is a warning.")
        reporter.warning(message)
