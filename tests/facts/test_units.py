"""Which units run, from what `systemctl show` prints."""

from __future__ import annotations

import pytest

from crossnet.facts.units import Units, parse_units

# Of systemd 252: a unit that runs, one that waits for the network, one that was stopped and is still in memory.
SHOWN = """\
Id=crossnet-rules.service
ActiveState=active

Id=crossnet.service
ActiveState=inactive
Job=1234

Id=crossnet-close@nftables.service
ActiveState=inactive
"""


def test_units_run_or_are_about_to() -> None:
    assert parse_units(SHOWN).runs == {
        "crossnet-rules.service": True,
        "crossnet.service": True,
        "crossnet-close@nftables.service": False,
    }
    assert parse_units("") == Units()
    assert parse_units("\n") == Units()


def test_a_unit_has_failed_unless_it_is_about_to_run_again() -> None:
    failed = "Id=crossnet.service\nActiveState=failed\nJob="
    assert parse_units(f"{failed}\n") == Units({"crossnet.service": False}, frozenset({"crossnet.service"}))
    assert parse_units(f"{failed}12\n") == Units({"crossnet.service": True})


def test_what_is_no_list_of_units_is_an_error() -> None:
    with pytest.raises(KeyError):
        parse_units("nonsense\n")
