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
    _add_bench(commands)
    return parser


def _add_bench(commands) -> None:
    bench = commands.add_parser(
        "bench",
        help="time everything beside its rivals, from the root of the source tree",
        epilog="A run that was interrupted goes on with the same command. Rivals that are not "
        "installed are listed as absent, and wrong answers get no time.",
    )
    bench.add_argument(
        "--suite", default="all", help="linear,pca,svm,forest,nets,search; default: all"
    )
    bench.add_argument("--backends", default="all", help="jax,numpy,sklearn,...; default: all")
    bench.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="default: the best there is")
    bench.add_argument("--sizes", choices=("small", "medium", "large"), default="medium")
    bench.add_argument("--dtype", default="float32", help="float32,float64; default: float32")
    bench.add_argument("--time-budget", type=float, default=8, metavar="SECONDS", help="for a row")
    bench.add_argument("--out", type=Path, metavar="FILE", help="the results, as JSON lines")
    bench.set_defaults(command=_bench)

    inner = bench.add_subparsers(metavar="report | compare")
    report = inner.add_parser("report", help="Markdown, figures and a page of a results file")
    report.add_argument("file", type=Path)
    report.add_argument("--to", type=Path, default=Path("report/benchmarks"), metavar="DIR")
    report.add_argument("--readme", type=Path, help="also write the table into this file")
    report.set_defaults(command=_bench_report)
    compare = inner.add_parser("compare", help="rows that became slower; then exit code 1")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.add_argument("--threshold", type=float, default=1.2, help="default: 1.2 times")
    compare.set_defaults(command=_bench_compare)


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


def _bench(options: argparse.Namespace) -> int:
    _require_source_tree()
    scope = _device(options.device)
    from benchmarks.run import BACKENDS, SUITES, run

    with scope:
        path = _asked(
            run,
            options.out,
            suites=_names("--suite", options.suite, SUITES),
            backends=_names("--backends", options.backends, BACKENDS),
            sizes=options.sizes,
            dtypes=_names("--dtype", options.dtype, ("float32", "float64")),
            budget=options.time_budget,
        )
    print(path)
    return AGREE


def _bench_report(options: argparse.Namespace) -> int:
    _require_source_tree()
    from benchmarks.page import write_report
    from benchmarks.report import update_readme
    from benchmarks.results import load

    print(write_report(_asked(load, options.file), options.to))
    if options.readme:
        _asked(update_readme, options.readme, options.file)
    return AGREE


def _bench_compare(options: argparse.Namespace) -> int:
    _require_source_tree()
    from benchmarks.report import compare
    from benchmarks.results import load

    files = (_asked(load, path) for path in (options.before, options.after))
    complaints = compare(*files, threshold=options.threshold)
    print("\n".join(complaints) or "No row became slower.")
    return DISAGREE if complaints else AGREE


def _require_source_tree() -> None:
    """Makes `benchmarks` importable: it is no part of the installed package."""
    if not Path("benchmarks", "run.py").is_file():
        raise BadRequestError(
            "there is no benchmarks/run.py here. Run it from the root of jaxfound's source tree."
        )
    sys.path.insert(0, str(Path.cwd()))


def _asked(function, *arguments, **options):
    """Calls what checks the request itself, its complaint as ours."""
    try:
        return function(*arguments, **options)
    except (OSError, ValueError) as error:
        raise BadRequestError(str(error)) from None


def _names(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Names with commas between them, or all."""
    names = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise BadRequestError(f"{option} has {name!r}, expected of {', '.join(known)} or all.")
    return names


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
