"""Says that images are not there, or that one picture is in two splits under whatever name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.data.missing_images import missing_images_hint
from cxrlearn.runtime.words import agreeing, counted
from cxrlearn.workflows.sharing import consequence, tell

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
        strict: refuse instead, except between two test sets.

    Raises:
        DataError: under `--strict`.
    """
    for (a, b), count in shared.items():
        if count == 0:
            continue
        files = f"{counted(count, 'image file')} {agreeing(count, 'is', 'are')}"
        said = f"{files} both in {a} and in {b}, with the same content: {consequence(a, b)}"
        tell(said, a, b, reporter, strict=strict)
