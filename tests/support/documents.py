"""The documents of the repository, taken apart: fences, inline code, blocks, command lines."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cxrlearn.cli import compare, demo, embed, finetune, init, models, predict, probe
from cxrlearn.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
COMMAND_MODULES = (compare, demo, embed, finetune, init, models, predict, probe)
"""Importing them registers the commands."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Fence:
    """A fenced block."""

    language: str
    body: str


@dataclass(frozen=True)
class Command:
    """A parsed command line of cxrlearn."""

    name: str
    parameters: dict[str, Any]


def title(path: Path) -> str:
    """Return a document's name for test ids."""
    return path.relative_to(ROOT).as_posix()


def fences(text: str) -> list[Fence]:
    """Return the fenced blocks of a document."""
    return [Fence(found[1], found[2]) for found in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """Return a document without its fenced blocks."""
    return _FENCE.sub("", text)


def blocks(text: str) -> list[str]:
    """Return fenced blocks whole, and what lies between blank lines elsewhere."""
    return [fence.body for fence in fences(text)] + re.split(r"\n\s*\n", prose(text))


def inline_code(text: str) -> list[str]:
    """Return the inline code of a document, outside of what is said not to be released."""
    lines = [line for line in prose(text).splitlines() if "not released yet" not in line]
    return [found for line in lines for found in _INLINE.findall(line)]


def command_lines(text: str) -> list[str]:
    """Return every command line of cxrlearn that a document shows."""
    shown = list(inline_code(text))
    for fence in fences(text):
        lines = fence.body.splitlines()
        if fence.language == "console":
            shown += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif fence.language in {"", "bash", "sh"}:
            shown += lines
    parts = [part for line in shown for part in re.split(r"&&|\||;|>", line)]
    return [part.strip() for part in parts if _words(part)]


def _words(line: str) -> list[str]:
    """Return the words after `cxrlearn`, or nothing where the line is no such command."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe
        return []
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    is_command = len(words) > 1 and words[0].rpartition("/")[2] == "cxrlearn"
    return words[1:] if is_command and not any("…" in word for word in words) else []


def parse(line: str) -> Command | None:
    """Parse a command line without running it; None where it only asks for help.

    Typer's usage errors pass through.
    """
    words = [word for word in _words(line) if word not in {"--help", "-h", "--version"}]
    command: Any = typer.main.get_command(app)
    context: Any = None
    names: list[str] = []
    while words and hasattr(command, "commands"):
        context = command.make_context("cxrlearn", list(words), parent=context)
        name, command, words = command.resolve_command(context, words)
        names.append(name)
    if not names or hasattr(command, "commands"):
        return None
    context = command.make_context(names[-1], words, parent=context)
    return Command(" ".join(names), context.params)


def known_options() -> set[str]:
    """Return every option of every command."""
    found: set[str] = {"--version", "--help"}
    waiting: list[Any] = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        found |= {name for one in command.params for name in one.opts}
    return found
