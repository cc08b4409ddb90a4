"""The pages of a report: what they hold, that they lead to each other, and need nothing else."""

import os
import re

import numpy as np
import pytest

import jaxfound
from jaxfound.experiments import Check, Lesson, Result, report
from jaxfound.experiments.figures import panel, png
from jaxfound.experiments.outcome import Outcome
from jaxfound.experiments.pages import write_atomically
from jaxfound.experiments.race import race
from jaxfound.experiments.reference import write_reference

ELSEWHERE = "jaxfound.experiments.sigmoid"  # any module, for its source


def card(name):
    question, meaning = f"Is {name} < 2?", "It & its kin are. So be it."
    return Lesson(name, f"The lesson {name}", question, meaning, module=ELSEWHERE)


def ended(name, ours, out):
    """The outcome of a lesson with one number and one figure."""
    result = Result(
        checks=(Check("the number", ours, 2.0, "exact", 1e-9),),
        figures={},
        notes="One < two.",
        formula="1 < 2",
        race=race(lambda: ours, {"NumPy": lambda: np.float64(2.0)}),
    )
    figure, _ = panel(xlabel="x", ylabel="y")
    (out / f"{name}-1.png").write_bytes(png(figure))
    return Outcome(card(name), result, pictures={f"{name}-1.png": "A line & more"})


@pytest.fixture
def pages(tmp_path):
    """The pages of a run in which one lesson agrees, one does not and one raises."""
    outcomes = [
        ended("right", 2.0, tmp_path),
        ended("wrong", 2.5, tmp_path),
        Outcome(card("broken"), error="RuntimeError: the <disk> is full", traceback="in <run>"),
    ]
    report.write_report(tmp_path, outcomes, planned=3)
    write_reference(tmp_path)
    return {path.stem: path.read_text("utf-8") for path in tmp_path.glob("*.html")}


def test_there_is_a_page_a_lesson_and_an_index(pages):
    assert set(pages) == {"index", "right", "wrong", "broken", "api"}


def test_pages_need_nothing_from_outside(pages):
    for text in pages.values():
        assert not re.search(r"<(script|link|iframe|object)\b|@import|url\(", text)
        for address in re.findall(r'(?:href|src)="([^"]+)"', text):
            assert re.match(r"data:image/png;base64,|#|[\w-]+\.html$", address)
        assert "prefers-color-scheme: dark" in text
        assert 'name="viewport"' in text
    images = {name: text.count("<img") for name, text in pages.items()}
    assert images == {"index": 2, "right": 1, "wrong": 1, "broken": 0, "api": 0}


def test_every_link_leads_somewhere(pages):
    for name, text in pages.items():
        for address in re.findall(r'href="([^"]+)"', text):
            file, _, place = address.partition("#")
            target = pages[file.removesuffix(".html") or name]
            assert not place or f'id="{place}"' in target


def test_pages_lead_to_the_one_before_and_the_one_after(pages):
    bars = {name: re.findall(r"<nav>(.*?)</nav>", text) for name, text in pages.items()}
    assert bars["index"] == []
    assert {len(bar) for name, bar in bars.items() if name != "index"} == {2}  # top and foot
    ways = {name: re.findall(r'href="(.*?)\.html"', bar[0]) for name, bar in bars.items() if bar}
    assert ways == {
        "right": ["index", "wrong"],
        "wrong": ["index", "right", "broken"],
        "broken": ["index", "wrong"],
        "api": ["index"],
    }


def test_a_page_tells_what_was_asked_and_found(pages):
    for part in (
        "<h1>The lesson wrong</h1>",
        "Is wrong &lt; 2?",
        "<b>2.5</b>jaxfound",
        "<b>2</b>exact",
        "0 of 1 comparisons agree",
        "A line &amp; more",
        "It &amp; its kin are. So be it.",
        "1 &lt; 2",
        "One &lt; two.",
        "disagrees",
        "later calls",
        '<span class="n">lesson</span>',  # of the code
    ):
        assert part in pages["wrong"], part


def test_a_lesson_that_raised_has_its_page(pages):
    assert "RuntimeError: the &lt;disk&gt; is full" in pages["broken"]
    assert "in &lt;run&gt;" in pages["broken"]
    assert "failed: RuntimeError" in pages["index"]


def test_the_index_sums_up(pages):
    assert "3 lessons. 2 comparisons" in pages["index"]
    assert "1 of 2 disagree. 1 failed to run." in pages["index"]


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    index = tmp_path / "index.html"
    write_atomically(index, b"old")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        report.write_report(tmp_path, [Outcome(card("right"), error="x")], planned=1)
    assert index.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["index.html"]


def test_the_reference_has_every_public_name(pages):
    for name in set(jaxfound.__all__) - set(jaxfound._ROOMS):
        assert f'id="jaxfound.{name}"' in pages["api"]
    for name in ("models.ridge.fit", "models.svm.Hyper", "metrics.r2_score", "data.text.Tokenizer"):
        assert f'id="jaxfound.{name}"' in pages["api"]
