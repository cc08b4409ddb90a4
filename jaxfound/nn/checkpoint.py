"""Checkpoints: the arrays of a run, written whole or not at all by Orbax, and its history.

A run that is killed at any moment finds the last one that is whole. Behind its arrays each has a
file of notes with the digests of all others: one that was not finished, or that the disk has torn,
is passed over for the one before, with a warning.
"""

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

__all__ = ["Checkpoint", "load", "save"]

KEPT = 2  # the last one, and one to fall back on
_NOTES = "notes.json"
_ROOM = 2**17  # bytes that a checkpoint takes besides its arrays


class Checkpoint(NamedTuple):
    tree: Any
    notes: dict[str, Any]  # what JSON holds


def save(directory: str | Path, number: int, tree: Any, notes: dict[str, Any]) -> None:
    """Writes checkpoint `number` of `directory`; older ones than the last `KEPT` are removed.

    Args:
      tree: arrays, and keys of random numbers.
      notes: what JSON holds.

    Raises:
      OSError: if it cannot be written; the checkpoints before it are whole.
    """
    arrays = _arrays(tree)
    place = Path(directory).resolve()
    try:
        _check_room(place, arrays)
        with _manager(place) as manager:
            if number in manager.all_steps():  # one that was torn
                manager.delete(number)
            saved = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays))
            manager.save(number, args=saved, force=True)
        _write_notes(place / str(number), notes)
    except Exception as error:  # each layer below has its own for a full disk
        raise OSError(_not_written(directory, number, error)) from error


def load(directory: str | Path, like: Any) -> Checkpoint | None:
    """The last checkpoint that is whole, or None where there is none.

    Args:
      like: a tree of the same shape; only its structure is used.

    Raises:
      ValueError: if the checkpoint is of another tree, a network of another size, say.

    Warns:
      UserWarning: for every one that is torn, and therefore passed over.
    """
    if not Path(directory).is_dir():
        return None
    with _manager(Path(directory).resolve()) as manager:
        for number in sorted(manager.all_steps(), reverse=True):
            try:
                notes = _whole(Path(directory, str(number)))
            except (OSError, ValueError) as error:
                warnings.warn(
                    f"Checkpoint {number} in {directory} is torn and passed over for the one "
                    f"before it: {error}.",
                    stacklevel=2,
                )
                continue
            saved = ocp.args.Composite(arrays=ocp.args.StandardRestore())
            arrays = [np.asarray(a) for a in manager.restore(number, args=saved)["arrays"]]
            return Checkpoint(_as_tree(arrays, like, directory), notes)
    return None


def _manager(directory):
    options = ocp.CheckpointManagerOptions(
        max_to_keep=KEPT, enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(directory, options=options)


def _write_notes(folder, notes):
    text = json.dumps({"notes": notes, "digests": _digests(folder)})
    unfinished = folder / (_NOTES + ".part")
    unfinished.write_text(text, "utf-8")
    os.replace(unfinished, folder / _NOTES)


def _whole(folder):
    """The notes of a checkpoint whose files are those that were written."""
    written = json.loads((folder / _NOTES).read_text("utf-8"))
    changed = written["digests"].items() ^ _digests(folder).items()
    if changed:
        raise ValueError(f"{min(changed)[0]} is not what was written")
    return written["notes"]


def _digests(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(_NOTES)]
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def _arrays(tree):
    return [np.asarray(jax.random.key_data(a) if _is_key(a) else a) for a in jax.tree.leaves(tree)]


def _as_tree(arrays, like, directory):
    leaves, structure = jax.tree.flatten(like)
    expected = [(a.shape, a.dtype) for a in _arrays(like)]
    if [(a.shape, a.dtype) for a in arrays] != expected:
        raise ValueError(
            f"{directory} has the checkpoints of another run: expected arrays of the shapes "
            "of this network and optimiser. Choose an empty directory, or the same settings."
        )
    restored = [
        jax.random.wrap_key_data(jnp.asarray(a), impl=jax.random.key_impl(old))
        if _is_key(old)
        else jnp.asarray(a)
        for a, old in zip(arrays, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, restored)


def _is_key(a):
    return jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def _check_room(directory, arrays):
    # Orbax finds out as well, but its threads fill the screen with what they think of it.
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free, needed = shutil.disk_usage(place).free, sum(a.nbytes for a in arrays) + _ROOM
    if free < needed:
        raise OSError(f"the disk has {free >> 10} KiB free and {needed >> 10} KiB are needed")


def _not_written(directory, number, error):
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"Checkpoint {number} could not be written to {directory}: {reason}. Make room or choose "
        "another directory; the checkpoints before it are whole."
    )
