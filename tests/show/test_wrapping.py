"""Paragraphs of which commands can be copied."""

from __future__ import annotations

import pytest

from crossnet.show.wrapping import wrap


def test_a_command_is_never_broken() -> None:
    text = "it forwards what comes in; `sysctl -w net.ipv4.ip_forward=0` on gateway closes it at once"
    assert wrap(text, 40, initial_indent="  ", subsequent_indent="    ") == [
        "  it forwards what comes in;",
        "    `sysctl -w net.ipv4.ip_forward=0` on",
        "    gateway closes it at once",
    ]


def test_a_command_that_is_longer_than_a_line_has_one_for_itself() -> None:
    command = "`nft 'flush chain ip filter CROSSNET-FORWARD; delete chain ip filter CROSSNET-FORWARD'`"
    assert wrap(f"Take it out: {command}.", 40) == ["Take it out:", f"{command}."]


@pytest.mark.parametrize("name", ["a ` b", "O`Brien", "the end`", "`the beginning", "`", "``"])
def test_a_backquote_of_somebody_elses_words_breaks_no_command(name: str) -> None:
    commands = ["`crossnet apply --host one --host two`", "`crossnet status --host one`"]
    for text in (f"{name}; run {commands[0]} there, then {commands[1]}", f"run {commands[0]}; {name}"):
        told = "\n".join(wrap(text, 40))
        assert all(command in told for command in commands if command in text)


def test_a_name_that_a_tool_quotes_begins_no_command() -> None:
    text = "to iptables the table `filter' is incompatible, so that nothing of it is printed; `crossnet plan` tells"
    assert all(len(line) <= 40 for line in wrap(text, 40))
