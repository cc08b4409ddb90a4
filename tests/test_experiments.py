"""The lessons, their runner and the command line."""

import io
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

from jaxfound import cli
from jaxfound._cache import cache_contents, default_cache_directory, enable_compile_cache
from jaxfound.experiments import Check, Lesson, Result, catalogue, lesson
from jaxfound.experiments.figures import panel
from jaxfound.experiments.outcome import duration
from jaxfound.experiments.race import WARM_CALLS, race
from jaxfound.experiments.runner import run_lesson, run_lessons

COURSE = [
    "quadratic",
    "slope-intercept",
    "holdout-mse",
    "sigmoid",
    "custom-regression",
    "theory-practice",
    "decision-boundary",
    "real-data",
    "explained-variance",
    "fashion-components",
    "rings",
    "svm-learning-curve",
    "search",
    "hypergradient",
    "forest-confusion",
    "forest-learning-curve",
    "cnn-images",
    "lstm-text",
]

# --- lessons made for the tests ---------------------------------------------------------------


def _result(ours: float, reference: float = 2.0) -> Result:
    figure, axes = panel(xlabel="x", ylabel="y")
    axes.plot([0, 1])
    return Result(
        checks=(Check("the number", ours, reference, "exact", 1e-9),),
        figures={"A line & more": figure},
        notes="One < two.",
        formula="1 < 2",
        race=race(lambda: ours, {"NumPy": lambda: np.float64(reference)}),
    )


@lesson(name="right", title="A lesson that agrees")
def _right(quick):
    del quick
    return _result(2.0)


@lesson(name="wrong", title="A lesson that disagrees")
def _wrong(quick):
    del quick
    return _result(2.5)


@lesson(name="broken", title="A lesson that raises")
def _broken(quick):
    raise RuntimeError("the <disk> is full")


@lesson(name="stopped", title="A lesson during which the user presses Ctrl-C")
def _stopped(quick):
    raise KeyboardInterrupt


FAKES = {
    name: Lesson(name, name, module=__name__) for name in ("right", "wrong", "broken", "stopped")
}


@pytest.fixture
def run_fakes(monkeypatch, tmp_path, capsys, keep_jax_options):
    """Runs `jaxfound run` on fake lessons: exit code, stderr, and the page."""

    def run(*arguments):
        monkeypatch.setattr(cli, "catalogue", lambda: FAKES)
        code = cli.main(["run", *arguments, "--out", str(tmp_path)])
        page = tmp_path / "index.html"
        return code, capsys.readouterr(), page.read_text("utf-8") if page.exists() else ""

    return run


@pytest.fixture
def keep_jax_options():
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


# --- the registry -----------------------------------------------------------------------------


def test_the_course_is_listed_in_its_order():
    assert list(catalogue()) == COURSE


def test_every_lesson_lies_in_the_file_of_its_name():
    for name, card in catalogue().items():
        assert card.module == f"jaxfound.experiments.{name.replace('-', '_')}"
        assert card.title
        assert card.tags
        assert re.fullmatch(r"[^.?]+\?", card.question)
        assert len(re.findall(r"\.(?: |$)", card.meaning)) == 2


def test_the_list_loads_no_lesson():
    code = (
        "import sys; from jaxfound.cli import main; main(['list']); "
        "assert not {'sklearn', 'matplotlib', 'jaxfound.experiments.sigmoid'} & set(sys.modules)"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == COURSE


def test_a_check_measures_small_numbers_absolutely_and_large_ones_relatively():
    assert Check("small", 0.1 + 1e-7, 0.1, "exact", 1e-6).agrees
    assert Check("large", 1e6 + 0.5, 1e6, "exact", 1e-6).agrees
    assert not Check("large", 1e6 + 2, 1e6, "exact", 1e-6).agrees


def test_a_check_of_arrays_shows_the_farthest_entry():
    gap = Check("array", [1.0, 2.5, 3.0], [1.0, 2.0, 3.1], "NumPy", 0.1).gap
    assert gap == (2.5, 2.0, 0.25)


@pytest.mark.parametrize("ours", [np.nan, np.inf, [np.nan, 1.0]])
def test_what_is_not_finite_does_not_agree(ours):
    assert not Check("number", ours, np.ones_like(ours), "exact", 1e9).agrees


def test_a_check_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"shape \(2,\), the reference \(2, 1\)"):
        _ = Check("array", np.ones(2), np.ones((2, 1)), "NumPy", 1).agrees


def test_a_result_needs_a_check():
    with pytest.raises(ValueError, match="no checks"):
        Result(checks=(), figures={}, notes="")


def test_a_race_keeps_the_first_value_and_calls_each_as_often():
    calls = {"ours": 0, "theirs": 0}

    def call(name):
        calls[name] += 1
        return calls[name]

    timed = race(lambda: call("ours"), {"NumPy": lambda: call("theirs")})
    assert calls == {"ours": 1 + WARM_CALLS, "theirs": 1 + WARM_CALLS}
    assert timed.ours.value == timed.theirs["NumPy"].value == 1
    assert timed.ours.cold > 0 < timed.ours.warm


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (0.0123, "12.3 ms"), (0.99999, "1 s"), (4.56e-5, "45.6 µs")],
)
def test_durations_have_three_digits(seconds, text):
    assert duration(seconds) == text


# --- the runner -------------------------------------------------------------------------------


def test_a_lesson_that_agrees(tmp_path):
    outcome = run_lesson(FAKES["right"], quick=True, out=tmp_path)
    assert outcome.agrees
    assert outcome.verdict == "1/1"
    assert outcome.pictures == {"right-1.png": "A line & more"}
    assert (tmp_path / "right-1.png").read_bytes().startswith(b"\x89PNG")
    assert [name for name, _, _ in outcome.others()] == ["exact", "NumPy"]
    assert not list(outcome.complaints())


def test_a_lesson_that_disagrees_says_both_numbers(tmp_path):
    (complaint,) = run_lesson(FAKES["wrong"], quick=True, out=tmp_path).complaints()
    assert complaint.startswith("wrong disagrees on the number: jaxfound 2.5, exact 2 ")


def test_a_lesson_that_raises_is_an_outcome(tmp_path):
    outcome = run_lesson(FAKES["broken"], quick=True, out=tmp_path)
    assert not outcome.agrees
    assert outcome.error == "RuntimeError: the <disk> is full"
    assert "in _broken" in outcome.traceback


def test_the_table_fits_eighty_columns(tmp_path):
    console = Console(width=80, record=True, file=io.StringIO())
    run_lessons(list(FAKES.values())[:3], quick=True, out=tmp_path, console=console)
    table = console.export_text()
    assert max(map(len, table.splitlines())) <= 80
    assert {"right-1.png", "1/1", "0/1"} <= set(table.split())
    assert "failed: RuntimeError: the <disk> is full" in " ".join(table.split())


# --- the command line -------------------------------------------------------------------------


def test_agreement_ends_with_0(run_fakes):
    code, printed, _ = run_fakes("right")
    assert code == 0
    assert not printed.err


def test_disagreement_ends_with_1(run_fakes):
    code, printed, _ = run_fakes("wrong", "right")
    assert code == 1
    assert "wrong disagrees on the number: jaxfound 2.5, exact 2 " in printed.err


def test_a_broken_lesson_ends_with_1_after_the_others_ran(run_fakes):
    code, printed, page = run_fakes("broken", "right")
    assert code == 1
    assert "broken failed: RuntimeError: the <disk> is full" in printed.err
    assert 'href="right.html"' in page


def test_ctrl_c_ends_with_130_and_the_page_of_what_is_done(run_fakes):
    code, _, page = run_fakes("right", "stopped", "wrong")
    assert code == 130
    assert "Stopped after 1 of 3 lessons" in page
    assert 'href="right.html"' in page
    assert 'href="wrong.html"' not in page


def test_an_unknown_lesson_ends_with_2_and_the_near_ones(capsys):
    assert cli.main(["run", "sigmod"]) == 2
    assert "no lesson 'sigmod'. Did you mean sigmoid?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--only", "slope"], ["slope-intercept"]),
        (["--only", "calculus"], ["quadratic", "sigmoid"]),
        (
            ["--only", "slope, real"],
            ["slope-intercept", "real-data", "fashion-components", "cnn-images", "lstm-text"],
        ),
        (["sigmoid", "real-data", "--only", "calculus"], ["sigmoid"]),
        (["sigmoid", "sigmoid"], ["sigmoid"]),
        ([], COURSE),
    ],
)
def test_the_choice_of_lessons(arguments, names, monkeypatch):
    options = cli._parser().parse_args(["run", *arguments])
    chosen = cli._choose(catalogue(), options.names, options.only)
    assert [card.name for card in chosen] == names


def test_only_without_a_match_ends_with_2(capsys):
    assert cli.main(["run", "--only", "nothing"]) == 2
    assert "--only 'nothing' leaves no lesson" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_ends_with_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["run", "--out", str(tmp_path / "file" / "report")]) == 2
    assert "cannot make" in capsys.readouterr().err


def test_a_device_that_is_not_there_ends_with_2(run_fakes, monkeypatch):
    def none(platform):
        raise RuntimeError(f"no platforms that are instances of {platform} are present")

    monkeypatch.setattr(jax, "devices", none)
    code, printed, page = run_fakes("right", "--device", "gpu")
    assert code == 2
    assert "finds no gpu on this machine" in printed.err
    assert not page  # nothing ran on another device instead


def test_info_names_versions_devices_precision_and_cache(capsys, keep_jax_options):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("jaxfound", "jaxlib", "scikit-learn", "devices", "precision", "compile cache"):
        assert name in printed
    assert jax.__version__ in printed


def test_all_lessons_agree_with_their_references(tmp_path, capsys, keep_jax_options):
    code = cli.main(["run", "--quick", "--out", str(tmp_path)])
    assert code == 0, capsys.readouterr().err
    page = (tmp_path / "index.html").read_text("utf-8")
    assert re.findall(r'class="card" href="(.+?)\.html"', page) == COURSE
    assert {f"{name}.html" for name in COURSE} < {path.name for path in tmp_path.iterdir()}


# --- the compile cache ------------------------------------------------------------------------


def test_the_cache_lies_where_the_standard_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_directory() == tmp_path / "jaxfound" / "xla"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_directory().is_absolute()


def test_a_cache_that_the_user_chose_stays(tmp_path, keep_jax_options):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert enable_compile_cache() == str(tmp_path)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


def test_the_cache_is_counted(tmp_path):
    (tmp_path / "jit_f-0123-cache").write_bytes(b"12345")
    (tmp_path / "jit_f-0123-atime").write_bytes(b"1")
    assert cache_contents(str(tmp_path)) == (1, 5)
    assert cache_contents(str(tmp_path / "absent")) == (0, 0)
