"""Data from a file is what it says it is: checked once, before anything is done with it.

A kind is a type or a tuple of types; ``[kind]`` is a list of it; ``{name: kind}`` a mapping that
has these names (a name that ends in ``?`` may be missing; others may be there).
"""

from __future__ import annotations

import json
import math
from typing import Any

#: Text that describes something is never longer.
MOST_BYTES = 32 << 20
NUMBER = (int, float)
_MOST_DIGITS = 30


class Mismatch(ValueError):
    """Something is not what it should be; the text says where and what."""


def parse_json(text: str | bytes, most_bytes: int = MOST_BYTES) -> Any:
    """Values of a JSON text.

    Raises
    ------
    Mismatch
        The text is too long, nested too deep, or not JSON.
    """
    if len(text) > most_bytes:
        raise Mismatch(f"it has {len(text)} bytes, more than {most_bytes}")
    try:
        return json.loads(text, parse_int=_whole)
    except Mismatch:
        raise
    except RecursionError:
        raise Mismatch("it is nested too deep") from None
    except UnicodeDecodeError:  # its text holds the whole file
        raise Mismatch("it is not UTF-8 text") from None
    except ValueError as error:
        raise Mismatch(f"it is not JSON ({str(error)[:60]})") from None


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:  # no float can be made of it
        raise Mismatch(f"a number has {len(digits)} digits")
    return int(digits)


def check(value: Any, kind: Any, where: str = "it") -> Any:
    """The value, if it is of a kind.

    Raises
    ------
    Mismatch
        It is not, or is a number that is infinite or not a number.
    """
    if isinstance(kind, dict):
        _is(value, dict, where)
        for name, part in kind.items():
            plain = name.rstrip("?")
            if plain in value:
                check(value[plain], part, f"'{plain}'")
            elif plain == name:
                raise Mismatch(f"{where} lacks '{plain}'")
    elif isinstance(kind, list):
        _is(value, list, where)
        for part in value:
            check(part, kind[0], f"an entry of {where}")
    else:
        _is(value, kind, where)
    return value


def _is(value: Any, kind: type | tuple[type, ...], where: str) -> None:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    # True is an int to Python and to nobody else
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(k.__name__ for k in kinds)
        raise Mismatch(f"{where} is a {type(value).__name__}, not a {words}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Mismatch(f"{where} is {value}")
