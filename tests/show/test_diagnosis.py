"""A diagnosis as text: the headline, what was seen, why it stops, what to do; nothing from hosts obeys a terminal."""

from __future__ import annotations

import pytest

from crossnet.show import json
from crossnet.show.diagnosis import diagnosis_text, summary
from crossnet.verdict import Diagnosis
from show.diagnoses import DIAGNOSES, FORWARDING_OFF, REACHABLE, REPLY_LOST, SILENT, V6


def test_what_stops_is_told_with_place_cause_and_command() -> None:
    lines = diagnosis_text(FORWARDING_OFF).splitlines()
    assert lines[0] == "app 10.0.43.15 → 10.0.44.1 icmp   NOT REACHABLE   stops at gateway eth1"
    assert lines[2:5] == [
        "  app      eth0  request sent      10.0.43.15 → 10.0.44.1      0.0 ms",
        "  gateway  eth1  request received  10.0.43.15 → 10.0.44.1     +0.1 ms",
        "  gateway  eth0  request absent",
    ]
    text = "\n".join(lines)
    assert "  ip-forward-disabled (proved): gateway does not forward packets:" in text
    assert "  fix on gateway:  sysctl -w net.ipv4.ip_forward=1" in lines
    assert "then also, for the reply at gateway eth0: snat-missing:" in " ".join(text.split())
    assert "note: return-path-not-checked:" in text


def test_what_passes_has_no_cause() -> None:
    text = diagnosis_text(REACHABLE)
    assert text.splitlines()[0].endswith("icmp   REACHABLE")
    assert "fix on" not in text


def test_what_looks_the_same_is_listed() -> None:
    text = " ".join(diagnosis_text(SILENT).split())
    assert f"one of, likeliest first: {', '.join(SILENT.forward.candidates)}" in text


def test_a_reply_that_stops_is_said_to_be_one() -> None:
    assert "   the reply stops between " in diagnosis_text(REPLY_LOST).splitlines()[0]


def test_a_port_stands_behind_an_address_in_brackets() -> None:
    assert V6.probe
    port = "" if V6.probe.port is None else f":{V6.probe.port}"
    target = f"[{V6.probe.destination}]{port}" if port else str(V6.probe.destination)
    assert f" → {target} {V6.probe.protocol} " in diagnosis_text(V6).splitlines()[0]


@pytest.mark.parametrize("found", DIAGNOSES.values(), ids=list(DIAGNOSES))
def test_nothing_from_a_host_is_more_than_text(found: Diagnosis) -> None:
    for text in (diagnosis_text(found), summary(found)):
        assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("found", DIAGNOSES.values(), ids=list(DIAGNOSES))
def test_the_document_has_the_keys_that_are_promised(found: Diagnosis) -> None:
    data = json.diagnosis_data(found)
    assert list(data) == ["crossing", "flow", "result", "forward", "reply", "also", "notes", "observations"]
    for half in (data["forward"], data["reply"]):
        assert set(half) == {
            *("disposition", "at", "code", "confidence", "candidates", "detail", "evidence", "fix"),
        }
    for one in data["observations"]:
        assert set(one) == {
            *("t", "host", "interface", "hook", "action", "direction", "packet", "translation", "by"),
        }
