"""Get weight files into the caches of the libraries they belong to."""

from __future__ import annotations

import hashlib
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub import utils as hub_utils
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from cxrlearn.errors import WeightsError
from cxrlearn.runtime.atomic import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIMEOUT_SECONDS = 30
_CHUNK = 1 << 20


def torch_hub_file(
    url: str, *, sha256: str | None, offline: bool, notify: Callable[[str], None]
) -> Path:
    """Return the file of `url` in torch's cache, downloaded if it is not there.

    Args:
        url: where the library publishes it.
        sha256: the hash, or the beginning of it, that the library publishes.
        offline: refuse to download.
        notify: told before the download.

    Raises:
        WeightsError: not there and offline, no network, or not the file that was published.
        DiskError: it cannot be written.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    if offline:
        raise WeightsError(
            f"{path.name} is not in torch's cache ({path.parent}) and --offline forbids the "
            f"download. Run once without --offline, or put the file there: {url}"
        )
    notify(f"downloading {url} into {path.parent}")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: _download(url, temporary, sha256), step="weights")
    return path


def _download(url: str, path: Path, sha256: str | None) -> None:
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, path.open("wb") as out:  # noqa: S310 - the address comes from the library
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise WeightsError(_unreachable(url, error)) from error
    if sha256 and not digest.hexdigest().startswith(sha256):
        raise WeightsError(
            f"what came from {url} is not the published file: sha256 should begin with {sha256}, "
            f"got {digest.hexdigest()[:16]}. Something between here and there changed it."
        )


def hub_file(
    repository: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    offline: bool,
    notify: Callable[[str], None],
) -> Path:
    """Return the first of `names` that a Hugging Face repository holds, from the cache if there.

    Raises:
        WeightsError: not cached and offline, no network, no such repository or file, no access.
    """
    for name in names:
        cached = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    if offline:
        raise WeightsError(
            f"{' or '.join(names)} of {repository} is not in the Hugging Face cache "
            f"({HF_HUB_CACHE}) and --offline forbids the download. Run once without --offline, or "
            "fetch it on another machine and pass the file with --weights (hf: the folder)."
        )
    notify(f"downloading {names[0]} of {repository} from the Hugging Face hub into {HF_HUB_CACHE}")
    for name in names:
        path = _hub_download(repository, name, revision)
        if path is not None:
            return path
    raise WeightsError(f"{repository} on the Hugging Face hub holds no {' or '.join(names)}")


def _hub_download(repository: str, name: str, revision: str | None) -> Path | None:
    """Return the downloaded file, or None if the repository does not hold it."""
    try:
        with _quiet():
            return Path(hf_hub_download(repository, name, revision=revision))
    except GatedRepoError as error:
        raise WeightsError(_gated(repository)) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(_absent(repository)) from error
    except LocalEntryNotFoundError as error:  # the library's word for an unreachable hub
        raise WeightsError(_unreachable(f"the hub for {repository}", error)) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise WeightsError(_unreachable(f"the hub for {repository}", error)) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the hub's talk about retries, and its bars without a terminal, away for a while."""
    utils: Any = hub_utils
    logging = utils.logging
    level = logging.get_verbosity()
    bars = not sys.stderr.isatty() and not utils.are_progress_bars_disabled()
    logging.set_verbosity_error()
    if bars:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            utils.enable_progress_bars()


def _unreachable(what: str, error: BaseException) -> str:
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return (
        f"cannot reach {what} ({reason}). Check the network or proxy, or download the weights on "
        "another machine and pass them with --weights."
    )


def _gated(repository: str) -> str:
    return (
        f"{repository} on the Hugging Face hub asks for permission: accept its terms on its page, "
        "then run `hf auth login` or set HF_TOKEN."
    )


def _absent(repository: str) -> str:
    return (
        f"the Hugging Face hub has no repository {repository!r}, or it is private: check the name; "
        "for a private one, run `hf auth login` or set HF_TOKEN."
    )
