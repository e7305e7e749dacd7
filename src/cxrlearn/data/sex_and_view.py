"""Sex and view in one spelling, so that `M`, `male` and ` Male ` are one subgroup."""

from __future__ import annotations

from cxrlearn.data.placeholders import is_placeholder

_SEXES = {
    "M": ("m", "male", "man", "masculine", "m\u00e4nnlich", "homme"),
    "F": ("f", "female", "woman", "feminine", "w", "weiblich", "femme"),
    "O": ("o", "other", "d", "diverse", "divers"),
}
_VIEWS = {
    "PA": ("pa", "posteroanterior"),
    "AP": ("ap", "anteroposterior"),
    "LATERAL": ("lateral", "lat"),
    "FRONTAL": ("frontal", "front"),
}
_SEX = {word: sex for sex, words in _SEXES.items() for word in words}
_VIEW = {word: view for view, words in _VIEWS.items() for word in words}


def plain_sex(cell: str | None) -> str | None:
    """Return M, F or O; another word in capitals; None for a blank and what says "unknown".

    Example:
        >>> [plain_sex(cell) for cell in ("m", " Male ", "FEMALE", "U", "X", None)]
        ['M', 'M', 'F', None, 'X', None]
    """
    return None if cell is None or cell.strip().casefold() == "u" else _plain(cell, _SEX)


def plain_view(cell: str | None) -> str | None:
    """Return PA, AP, LATERAL or FRONTAL; another word in capitals; None for a blank.

    Example:
        >>> [plain_view(cell) for cell in ("pa", "Postero-Anterior", "lat", "LL", "unknown")]
        ['PA', 'PA', 'LATERAL', 'LL', None]
    """
    return None if cell is None else _plain(cell, _VIEW)


def _plain(cell: str, known: dict[str, str]) -> str | None:
    if is_placeholder(cell):
        return None
    word = "".join(sign for sign in cell.casefold() if sign.isalnum())
    return known.get(word, " ".join(cell.upper().split()))
