"""The command `jaxfound`: run the lessons, list them, and say what they run on."""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxfound.experiments.registry import Lesson, catalogue

__all__ = ["BadRequestError", "main"]

AGREE, DISAGREE, BAD_REQUEST, INTERRUPTED = 0, 1, 2, 130


class BadRequestError(Exception):
    """What the user asked for cannot be done; the message says what to ask instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except BadRequestError as error:
        print(f"jaxfound: {error}", file=sys.stderr)
        return BAD_REQUEST
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxfound", description="Classical machine learning as pure JAX functions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run the lessons and write a page with their numbers and figures",
        epilog="Exit code: 0 if every number agrees with its reference, 1 if one does not or a "
        "lesson fails, 2 if the request cannot be met, 130 after Ctrl-C.",
    )
    run.add_argument("names", nargs="*", metavar="NAME", help="lessons by full name; default: all")
    run.add_argument(
        "--only",
        metavar="TEXT[,TEXT]",
        default="",
        help="of these, keep the lessons that have a tag TEXT, or TEXT in their name",
    )
    run.add_argument("--quick", action="store_true", help="smaller data and coarser figures")
    run.add_argument(
        "--out",
        type=Path,
        default=Path("report"),
        metavar="DIR",
        help="where the page goes; default: report",
    )
    run.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="default: the best there is")
    run.set_defaults(command=_run)

    show = commands.add_parser("list", help="list the lessons")
    show.set_defaults(command=_list)
    info = commands.add_parser("info", help="versions, devices, precision and compile cache")
    info.set_defaults(command=_info)
    return parser


def _run(options: argparse.Namespace) -> int:
    lessons = _choose(catalogue(), options.names, options.only)
    scope = _device(options.device)
    out = _directory(options.out)

    from rich.console import Console

    from jaxfound._cache import enable_compile_cache
    from jaxfound.experiments.runner import run_lessons

    enable_compile_cache()
    with scope:
        course = run_lessons(lessons, quick=options.quick, out=out, console=Console())
    for outcome in course.outcomes:
        for complaint in outcome.complaints():
            print(complaint, file=sys.stderr)
    if course.interrupted:
        return INTERRUPTED
    return AGREE if all(outcome.agrees for outcome in course.outcomes) else DISAGREE


def _list(options: argparse.Namespace) -> int:
    del options
    for lesson in catalogue().values():
        print(f"{lesson.name:<23}{lesson.title:<43}{', '.join(lesson.tags)}")
    return AGREE


def _info(options: argparse.Namespace) -> int:
    del options

    from jaxfound._cache import enable_compile_cache
    from jaxfound.experiments.environment import compile_cache, settings, versions

    enable_compile_cache()
    facts = {**versions(), **settings(), "compile cache": compile_cache()}
    for name, fact in facts.items():
        print(f"{name:<27}{fact}")
    return AGREE


def _choose(lessons: dict[str, Lesson], names: Sequence[str], only: str) -> list[Lesson]:
    """The lessons named (all, if none is), then filtered by the texts of `--only`."""
    for name in names:
        if name not in lessons:
            near = difflib.get_close_matches(name, lessons, n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else "See `jaxfound list`."
            raise BadRequestError(f"there is no lesson {name!r}. {hint}")
    chosen = [lessons[name] for name in dict.fromkeys(names)] or list(lessons.values())
    texts = [text.strip() for text in only.split(",") if text.strip()]
    if texts:
        chosen = [lesson for lesson in chosen if any(map(lesson.matches, texts))]
    if not chosen:
        raise BadRequestError(
            f"--only {only!r} leaves no lesson. `jaxfound list` shows names and tags."
        )
    return chosen


def _directory(path: Path) -> Path:
    """Makes the directory of the page before any lesson has run in vain."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequestError(
            f"cannot make {path}: {error.strerror}. Choose another --out."
        ) from None
    if not os.access(path, os.W_OK):
        raise BadRequestError(f"{path} is not yours to write to. Choose another --out.")
    return path


def _device(platform: str | None):
    """A scope in which JAX computes on this platform; an error where there is none."""
    import jax

    from jaxfound.experiments.environment import NO_DEVICE

    try:
        return jax.default_device(jax.devices(platform)[0])
    except NO_DEVICE as error:
        reason = str(error) or "JAX_PLATFORMS names what is not there"
        raise BadRequestError(
            f"JAX finds no {platform or 'device'} on this machine: {reason}. "
            "Install JAX for it, or choose another --device."
        ) from None
