"""What is there before an embed: a file of the same settings, and parts of an interrupted run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.fingerprint import AUTO, differences
from cxrlearn.features.merging import merge
from cxrlearn.features.parts import parts_folder, remove_parts, usable_parts
from cxrlearn.features.store import read_failed, read_info
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from cxrlearn.features.fingerprint import Fingerprint
    from cxrlearn.features.store import FileInfo
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.targets import Target


def adopt(target: Target, reporter: Reporter, option: str = "--output-dir") -> Target:
    """Take over the precision of the file that is there, or refuse a file of other settings.

    `option` is what names the folder of feature files on the command line.

    Raises:
        FeatureFileError: the file is damaged, or the message says what differs.
    """
    if not target.file.is_file():
        return target
    info = read_info(target.file)
    found = info.fingerprint
    different = differences(_with_fallback(target, info), found)
    if different:
        raise FeatureFileError(
            f"{target.file} was made with other settings ({'; '.join(different)}). Go back to "
            f"them, use another {option}, or delete the file to compute it anew."
            f"{_other_tag(target, found)}"
        )
    if info.rows == 0:  # only failures: nothing was computed in any precision
        return target
    if target.fingerprint.precision == AUTO and found.precision != "fp32":
        reporter.notice(f"{target.file.name} keeps its precision, {found.precision}.")
    return replace(target, fingerprint=found)


def _with_fallback(target: Target, info: FileInfo) -> Fingerprint:
    """Return what is wanted, in float32 where the half precision asked for was found too coarse."""
    wanted = target.fingerprint
    if wanted.precision != AUTO and wanted.precision == info.provenance.get("precision_requested"):
        return replace(wanted, precision=info.fingerprint.precision)
    return wanted


def _other_tag(target: Target, found: Fingerprint) -> str:
    """Say how both can be kept: the weights of a file given by name stand in the tag."""
    if target.weights is None or target.fingerprint.weights == found.weights:
        return ""
    return (
        f" To keep both: --weights {target.resolved.name}={target.weights} names the file, and "
        "its hash then stands in the name of the feature file."
    )


def recover(target: Target, reporter: Reporter) -> Target:
    """Merge the parts that an interrupted run left behind; parts of other settings are dropped."""
    file = target.file
    parts, broken, foreign = usable_parts(file)
    if foreign:
        reporter.notice(
            f"{parts_folder(file)} holds files of another program or version, which are left "
            f"alone: {', '.join(foreign[:5])}{', …' if len(foreign) > 5 else ''}."
        )
    if broken:
        reporter.notice(
            f"{counted(len(broken), 'damaged part')} of {file.name} dropped; what was in there is "
            "computed again."
        )
    if not parts:
        return target
    fingerprint = parts[-1][1].fingerprint
    digests = {info.fingerprint.digest for _, info in parts}
    if len(digests) > 1 or differences(_with_fallback(target, parts[-1][1]), fingerprint):
        reporter.notice(
            f"parts that an interrupted run left for {file.name} were made with other settings "
            "and are dropped."
        )
        remove_parts(file, (path for path, _ in parts))
        return target
    failed = read_failed(file) if file.is_file() else {}
    rows = merge(file, fingerprint, parts[-1][1].provenance, failed=failed)
    reporter.notice(f"going on after an interruption: {file.name} holds {counted(rows, 'image')}.")
    return replace(target, fingerprint=fingerprint)
