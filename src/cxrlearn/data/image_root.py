"""Images that are all missing have one cause: the image root is another folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cxrlearn.data.manifest import Manifest

_LOOKED_AT = 32


def wrong_root_hint(manifest: Manifest) -> str | None:
    """Return a sentence if none of the first 32 images exists, with the root that would fit."""
    looked_at = manifest.paths[:_LOOKED_AT]
    if not looked_at or any(path.exists() for path in looked_at):
        return None
    start = f"none of the first {len(looked_at)} images is there, such as {looked_at[0]}"
    first = manifest.image_ids[0]
    for root in _other_roots(manifest.image_root):
        if (root / first).exists():
            return f"{start}; it is under {root}: --image-root {root}"
    parts = first.split("/")
    for drop in range(1, len(parts)):
        shorter = manifest.image_root.joinpath(*parts[drop:])
        if shorter.exists():
            return (
                f"{start}; without {'/'.join(parts[:drop])!r} in front it would be {shorter}: "
                "give that folder the name it has in the manifest, or change the paths"
            )
    return f"{start}: say with --image-root which folder the paths start from"


def _other_roots(root: Path) -> Iterable[Path]:
    root = root.absolute()
    yield from list(root.parents)[:3]
    yield from sorted(entry for entry in root.iterdir() if entry.is_dir())[:50]
