"""The README's Python runs, block after block in one session, as a reader would paste it."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


def block(seed):
    x = np.random.default_rng(seed).normal(size=(500, 8)).astype(np.float32)
    return x, x @ np.arange(8, dtype=np.float32)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = block(0)
    np.save("x.npy", x)
    np.save("y.npy", y)
    session = {"make_block": block}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for number, text in enumerate(BLOCKS, 1):
            exec(compile(text, f"README.md, block {number}", "exec"), session)


def test_every_link_inside_leads_somewhere():
    text = README.read_text("utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    headings = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for address in re.findall(r"\]\(([^)]+)\)", text):
        assert address[1:] in headings if address[0] == "#" else (README.parent / address).exists()
