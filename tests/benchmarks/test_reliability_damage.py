"""The table of damaged files: each case in its class, and what must not be is said."""

import pytest

from benchmarks.reliability.damage import WITH, WITHOUT, _failures, tables


def case(kind=WITH, damage="emptied", **changes):
    taken = {"from": 4, "named": True, "said": "optimizer.pt is empty.", "same": True, "error": ""}
    return {"kind": kind, "file": "optimizer.pt", "damage": damage, **taken, **changes}


def test_every_case_is_counted_in_its_class():
    cases = [
        case(),
        case(WITHOUT),
        case(WITHOUT, **{"from": 6, "named": False}),
        case(WITHOUT, **{"from": 6, "named": False, "same": False}),
    ]
    assert _failures(cases) == []
    rows = tables({"cases": cases})
    assert "| with a manifest | emptied | 1 | 1 |  |  |  |" in rows
    assert "| of an earlier release | emptied | 3 | 1 | 1 | 1 |  |" in rows
    assert "4 cases; in 3 of them" in rows and "something else: optimizer.pt (emptied)." in rows


@pytest.mark.parametrize(
    "wrong",
    [
        case(**{"from": 6}),  # the damaged one was taken
        case(named=False),  # nobody said why
        case(same=False),  # other weights at the end
        case(error="EOFError: Ran out of input", same=False),
        case(WITHOUT, error="EOFError: Ran out of input", same=False),
        case(WITHOUT, same=False),
    ],
)
def test_what_must_not_be_is_said(wrong):
    assert len(set(_failures([case(), wrong]))) == 1
