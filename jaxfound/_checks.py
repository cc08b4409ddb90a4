"""Host-side checks of settings, in one form: the argument, what it is, what was expected."""

import math
import numbers
from collections.abc import Collection
from typing import Any

__all__ = ["check_choice", "check_flag", "check_number", "check_whole"]


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
) -> float:
    """A real number in `[least, most]`, greater than `above`.

    Raises:
      TypeError: if `value` is no number.
      ValueError: if it is out of range or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), expected a number.")
    number = float(value)
    if not (least <= number <= most and (number > above or above == -math.inf)):
        low = f"greater than {above:g}" if above > -math.inf else f"at least {least:g}"
        high = f" and at most {most:g}" if most < math.inf else ""
        raise ValueError(f"{name} is {value!r}, expected a number {low}{high}.")
    return number


def check_whole(name: str, value: Any, *, least: int) -> int:
    """An integer that is at least `least`.

    Raises:
      TypeError: if `value` is no integer.
      ValueError: if it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), expected an integer.")
    if value < least:
        raise ValueError(f"{name} is {value}, expected an integer of at least {least}.")
    return int(value)


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """One of `choices`.

    Raises:
      ValueError: if it is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}, expected one of {known}.")
    return value


def check_flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
      TypeError: if it is neither.
    """
    import numpy as np

    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), expected True or False.")
    return bool(value)
