"""Says that the same picture, under whatever name, is in two splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrlearn.runtime.events import Reporter


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
            f"{count} image files are both in {a} and in {b}, with the same content: "
            f"results on {b} will look too good."
        )
        if strict:
            raise DataError(f"{message} Without --strict this is a warning.")
        reporter.warning(message)
