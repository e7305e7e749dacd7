"""Every failure a user can meet, one class per exit code.

A message says what failed, where (file, row, column, key), what was expected, what was found
and what to do next, in words for a tired person. `cxrlearn.cli.app` turns the class into the exit
code; nothing else does.
"""

from __future__ import annotations

from typing import ClassVar


class CxrlearnError(Exception):
    """Base of all errors that cxrlearn raises on purpose; of several arguments, each is a line."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        """Return the lines of the message."""
        return "\n".join(map(str, self.args))


class UsageError(CxrlearnError):
    """An option, a setting or their combination is wrong."""

    exit_code: ClassVar[int] = 2


class DataError(CxrlearnError):
    """A manifest, a label or an image is not what it has to be."""

    exit_code: ClassVar[int] = 3


class UnreadableImageError(DataError):
    """One image cannot be read; the message is the reason, without the image's name.

    The caller records the reason beside the image and goes on with the others.
    """


class WeightsError(CxrlearnError):
    """A backbone is unknown, or its weights are missing, damaged, unsafe or of another model."""

    exit_code: ClassVar[int] = 4


class FeatureFileError(CxrlearnError):
    """A feature file is damaged, locked, of another version or made with other settings."""

    exit_code: ClassVar[int] = 5


class OtherFileError(FeatureFileError):
    """A file is of another program, or of another version of this one: it is left alone."""


class TrainingError(CxrlearnError):
    """A fit failed: a non-finite loss, a checkpoint of another model."""

    exit_code: ClassVar[int] = 6


class HardwareError(CxrlearnError):
    """The device asked for is not there, or has not enough memory."""

    exit_code: ClassVar[int] = 7


class DiskError(CxrlearnError):
    """A file cannot be written: the disk is full, a quota is used up, permission is missing."""

    exit_code: ClassVar[int] = 8
