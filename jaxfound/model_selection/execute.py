"""Runs the lanes of a plan in chunks of one size: on all cores, within a memory, with a journal.

All chunks are calls of one compiled program. Finished ones are written to the journal as they
come, so that a run that was killed goes on where it stopped.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfound._threads import cores, on_cores
from jaxfound.model_selection.lanes import Lanes, Plan, Scores, Task, devices, evaluate

__all__ = ["execute", "lane_bytes", "parse_bytes"]

_CHUNKS_PER_CORE = 4  # of a CPU: lanes differ in time, and small chunks even that out
_LANES_AT_ONCE = 64  # of an accelerator, where the lanes of a chunk run in lock step


def execute(
    task: Task,
    plan: Plan,
    lanes: Lanes,
    *,
    memory: str | int | None = None,
    journal: str | Path | None = None,
    progress: Callable[[int, Scores], None] = lambda n, scores: None,
) -> Scores:
    """`evaluate(task, plan, lanes)` as NumPy arrays.

    Args:
      memory: of the device, for temporary arrays, as bytes or as "4GiB"; None asks for no limit.
      journal: a file to write finished chunks to, and to read them from.
      progress: called with the number of lanes done at once, and their scores.

    Raises:
      ValueError: if a single lane needs more than `memory`, with the least that is needed; if the
        journal belongs to another experiment.
    """
    total = len(lanes.mask)
    size = _chunk_size(task, plan, total, memory)
    parts = [np.arange(start, min(start + size, total)) for start in range(0, total, size)]
    with _journal(journal, task, plan, lanes, size) as (known, write):

        def run(i):
            if i in known:
                found = known[i]
            else:
                rows = np.resize(parts[i], size)  # a short last chunk repeats its lanes
                chunk = evaluate(task, plan, jax.tree.map(lambda leaf: leaf[rows], lanes))
                found = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(parts[i])], chunk)
                write(i, found)
            progress(len(parts[i]), found)
            return found

        spread = on_cores if _by_cores(plan) else map
        found = list(spread(run, range(len(parts))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def lane_bytes(task: Task, plan: Plan, size: int) -> int:
    """Bytes of temporary arrays that the compiled program of a chunk of lanes takes."""
    one = Lanes._make(np.zeros((3, size), np.int32))  # a multiple of the width
    analysis: Any = evaluate.lower(task, plan, one).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def parse_bytes(memory: str | int) -> int:
    """The number of bytes of "4GiB", "500 MB" or a number.

    Raises:
      ValueError: for anything else.
    """
    if isinstance(memory, int):
        return memory
    text = memory.replace(" ", "")
    for power, letter in enumerate("BKMGT"):
        for unit, base in ((f"{letter}iB", 1024), (f"{letter}B" if power else "B", 1000)):
            if text.endswith(unit):
                with contextlib.suppress(ValueError):
                    return int(float(text.removesuffix(unit)) * base**power)
    raise ValueError(f"memory is {memory!r}, expected a number of bytes, or such as '4GiB'.")


def _chunk_size(task, plan, total, memory):
    on_cpu = _by_cores(plan)
    at_once = _LANES_AT_ONCE * devices()
    blocks = -(-total // task.width)
    size = _blocks_a_chunk(blocks) if on_cpu else -(-min(total, at_once) // task.width)
    size *= task.width
    if memory is None:
        return size
    limit, need = parse_bytes(memory), lane_bytes(task, plan, size)
    if need <= limit:
        return size
    # On a CPU the lanes of a chunk run one by one, and a shorter chunk needs no less.
    smaller = max(1, size * limit // need // task.width) * task.width
    if on_cpu or (least := lane_bytes(task, plan, smaller)) > limit:
        least = need if on_cpu else least
        raise ValueError(
            f"memory is {memory}, expected at least {least} bytes: that is what the temporary "
            "arrays of one lane take. Give more, or fewer rows."
        )
    return smaller


def _blocks_a_chunk(blocks):
    """As many as leave no core without work at the end, nor with work that is done already."""
    most = -(-blocks // (_CHUNKS_PER_CORE * cores()))

    def last_core(size):
        chunks = -(-blocks // size)
        return size * -(-chunks // cores())

    return min(range(most, 0, -1), key=last_core)


def _by_cores(plan):
    """Whether chunks run side by side; those that are spread over devices run in turns."""
    return devices() == 1 and all(device.platform == "cpu" for device in plan.x.devices())


@contextlib.contextmanager
def _journal(path, task, plan, lanes, size) -> Iterator[Any]:
    """What is known of an experiment, and a function that adds to it."""
    if path is None:
        yield {}, lambda i, found: None
        return
    path, name = Path(path), _digest(task, plan, lanes, size)
    known = _read(path, name, plan.x.dtype) if path.exists() else {}
    lock = threading.Lock()
    with path.open("a", encoding="utf-8") as file:
        if not known and file.tell() == 0:
            print(json.dumps({"experiment": name}), file=file, flush=True)

        def write(i, found):
            # JSON keeps all digits of a float.
            row = jax.tree.map(lambda leaf: leaf.tolist(), found)._asdict()
            with lock:
                print(json.dumps({"chunk": i} | row), file=file, flush=True)

        yield known, write


def _read(path, name, dtype):
    def scores(values):
        return {name: np.asarray(v, dtype) for name, v in values.items()}

    known = {}
    first, *rows = path.read_text("utf-8").splitlines() or ["{}"]
    if json.loads(first).get("experiment") != name:
        raise ValueError(
            f"journal is {str(path)!r}, which belongs to another experiment: expected one of the "
            "same data, model, candidates and folds. Give another path, or delete the file."
        )
    for row in rows:
        with contextlib.suppress(json.JSONDecodeError):  # the line that a kill cut off
            entry = json.loads(row)
            ended = np.asarray(entry["converged"])
            known[entry["chunk"]] = Scores(scores(entry["test"]), scores(entry["train"]), ended)
    return known


def _digest(task, plan, lanes, size):
    named = re.sub(" at 0x[0-9a-f]+", "", repr((task, size)))  # functions by name only
    digest = hashlib.sha256(named.encode())
    arrays = plan._replace(key=jax.random.key_data(plan.key)), lanes
    for leaf in jax.tree.leaves(arrays):
        host = np.asarray(leaf)
        digest.update(repr((host.shape, host.dtype.str)).encode())
        digest.update(host.tobytes())
    return digest.hexdigest()
