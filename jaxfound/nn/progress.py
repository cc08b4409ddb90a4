"""A progress bar of training: epoch, loss, accuracy and samples a second; only on a terminal."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Bar", "progress_bar"]

_LOOKS = 10  # at the device in an epoch


class Bar:
    """What training tells about itself. Without a display an epoch runs in one piece."""

    def __init__(self, epochs: int, display: Progress | None):
        self._display, self._epochs = display, epochs
        self._since, self._text = time.perf_counter(), ""
        if display is not None:
            self._task = display.add_task("", total=epochs)

    def stops(self, begin: int, end: int) -> list[int]:
        """The steps after which to look."""
        looks = 1 if self._display is None else min(_LOOKS, end - begin)
        return [begin + (end - begin) * (i + 1) // looks for i in range(looks)]

    def steps(self, epoch: int, done: float, samples: int) -> None:
        """`done` epochs, of which each has so many samples."""
        if self._display is not None:
            seconds = time.perf_counter() - self._since
            speed = (done - epoch) * samples / seconds
            text = f"epoch {epoch + 1}/{self._epochs} {self._text} {speed:,.0f} samples/s"
            self._display.update(self._task, completed=done, description=text)

    def epoch(self, history: dict[str, list[float]]) -> None:
        """The scores of the epoch that has ended."""
        self._since = time.perf_counter()
        self._text = " ".join(f"{name} {values[-1]:.3f}" for name, values in history.items())


@contextlib.contextmanager
def progress_bar(epochs: int) -> Iterator[Bar]:
    """A bar while the block runs, removed behind it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Bar(epochs, None)
        return
    columns: Any = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as display:
        yield Bar(epochs, display)
