"""Every budget that does not take minutes; the long ones are `python -m tests.bench --long`."""

import pytest

from tests.bench.everything import SHORT, table
from tests.bench.measure import figure


@pytest.mark.parametrize("name", SHORT)
def test_the_budget_is_kept(name, measured):
    figures = measured(SHORT[name])
    missed = [one for one in figures if not one.passed]
    assert not missed, "\n" + table(missed)


def test_a_figure_above_its_bound_is_told():
    good, bad = figure("a", [1.0, 2.0, 3.0], "x", 2.0), figure("b", [1.0, 2.5, 3.0], "x", 2.0)
    assert good.passed and not bad.passed
    lines = table([good, bad, figure("c", [7.0], "ms")]).splitlines()
    assert "ok" in lines[2] and "MISSED" in lines[3] and "7 ms" in lines[4] and "MISSED" not in lines[4]
