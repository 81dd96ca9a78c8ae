"""A diagnosis as text: the headline, what was seen, why it stops, what to do; nothing from hosts obeys a terminal."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from crossnet.show import json
from crossnet.show.diagnosis import diagnosis_text, summary
from crossnet.verdict import Diagnosis, Fix
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
    assert f" → {target} {V6.probe.protocol}" in diagnosis_text(V6).splitlines()[0]


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


WAY = "'add chain ip by_hand postrouting { type nat hook postrouting priority -150; }'"
LONG = (
    f"echo {WAY}",
    "echo iptables -t nat -I POSTROUTING 1 -s 10.0.43.15 -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63",
    f"echo {' '.join(map(str, range(100)))}",
)


def long_ones() -> Diagnosis:
    """The same with much to say, and commands that are longer than a line."""
    half = replace(
        FORWARDING_OFF.forward, detail="so " * 80, evidence=("much " * 60,), fix=(Fix("gateway", LONG),)
    )
    errors = tuple(replace(each, packet=f"{each.packet} about {each.packet}") for each in V6.observations)
    return replace(FORWARDING_OFF, forward=half, also=(), notes=(), observations=errors)


@pytest.mark.parametrize("width", [90, 100, 140])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    usual = [one for one in DIAGNOSES.values() if all(len(each.host) < 20 for each in one.observations)]
    for found in (*usual, long_ones()):
        for line in diagnosis_text(found, width=width).splitlines():
            assert len(line) <= width or line.lstrip().startswith(WAY), line
    plain = [line for line in diagnosis_text(long_ones(), width=140).splitlines() if "much" in line]
    assert max(map(len, plain)) <= 80


def test_a_command_of_several_lines_can_be_pasted() -> None:
    lines = diagnosis_text(long_ones()).splitlines()
    (begin,) = (number for number, line in enumerate(lines) if line.startswith("  fix on gateway:  "))
    pasted = "\n".join([lines[begin].removeprefix("  fix on gateway:  "), *lines[begin + 1 :]])
    assert pasted.count(" \\\n") >= 4
    said = subprocess.run(["sh", "-c", pasted], capture_output=True, text=True, check=True).stdout
    words = [each.removeprefix("echo ").strip("'") for each in LONG]
    assert said.splitlines() == words
