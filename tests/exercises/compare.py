"""compare.py - The cases of a snapshot, and whether a result is close enough."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SNAPSHOTS = Path(__file__).parent / "snapshots"


def cases(name: str) -> list[dict[str, Any]]:
    """Return the cases of snapshots/NAME.json: arguments by name, and the expected result."""
    return json.loads((SNAPSHOTS / f"{name}.json").read_text(encoding="utf-8"))["cases"]


def check(name: str, function: Callable[..., Any], tolerance: float) -> None:
    """Call a function of adapters.py with the arguments of every case, and compare its result with the expected one.

    Args:
        name: The snapshot.
        function: The function.
        tolerance: The largest error, as a share of the largest expected value.

    Raises:
        AssertionError: A shape or a value is wrong; the message says where.
    """
    __tracebackhide__ = True  # pytest then shows the message, not this function
    for number, case in enumerate(cases(name), start=1):
        expected = case.pop("expected")
        found, wanted = leaves(function(**case)), leaves(expected)
        missing, needless = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        assert not missing, f"case {number}: wrong shape: there is no {missing[0]}"
        assert not needless, f"case {number}: wrong shape: there should be no {needless[0]}"
        allowed = tolerance * max(map(abs, wanted.values()))
        for place, want in wanted.items():
            # WHY not abs(...) > allowed: NaN would pass.
            assert abs(found[place] - want) <= allowed, (
                f"case {number}, {place}: {found[place]!r}, expected {want!r} to within {allowed:.1g}"
            )


def leaves(nested: Any, place: str = "result") -> dict[str, float]:
    """Return the values of nested lists by place.

    Example:
        >>> leaves([[1.0, 2.0], []])
        {'result[0][0]': 1.0, 'result[0][1]': 2.0}
    """
    if not isinstance(nested, list | tuple):
        return {place: nested}
    found: dict[str, float] = {}
    for i, part in enumerate(nested):
        found |= leaves(part, f"{place}[{i}]")
    return found
