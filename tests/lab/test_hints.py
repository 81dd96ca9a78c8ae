"""What messages advise, typed exactly: it does what the user meant, and no more."""

from __future__ import annotations

import re
import shlex

import pytest

from lab.test_commands import Desk, Ran, Site, desk, site

__all__ = ["desk", "site"]

pytestmark = pytest.mark.lab

TWO = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings:
  web: {from: app, via: gateway, to: 10.0.44.1, allow: icmp}
  far: {from: app, via: gateway, to: 10.0.44.10, allow: tcp/443}
"""


def advised(said: str) -> list[str]:
    """The words of the first command in it, behind `crossnet`."""
    found = re.search(r"`crossnet ([^`]*)`", said)
    assert found, said
    return shlex.split(found[1])


def stands(of: Desk) -> set[str]:
    """The crossings that the gateway carries."""
    return set(re.findall(r"crossing (\S+) of spec", of.run("list", "gateway", "-f", "two.yaml").out))


def test_without_a_terminal_the_users_own_command_is_advised(site: Site) -> None:
    (site.desk.folder / "two.yaml").write_text(TWO)

    def typed(*words: str, code: int = 0) -> Ran:
        asked = site.desk.run(*words)
        assert asked.code == 1
        assert advised(asked.err) == [*words, "--yes"]
        if "--json" in words:
            told = asked.json["error"]
            assert isinstance(told, dict)
            assert advised(str(told["message"])) == [*words, "--yes"]
        ran = site.desk.run(*advised(asked.err))
        assert ran.code == code, ran
        return ran

    typed("apply", "--message", "CHG 5: it's", "-f", "two.yaml", "--guard", "60s", code=8)
    assert "CHG 5: it's" in site.desk.run("history", "-f", "two.yaml").out
    typed("undo", "-f", "two.yaml", "--crossing", "far", "--json")
    assert stands(site.desk) == {"web"}
    site.desk.run("plan", "-f", "two.yaml", "--crossing", "far", "--out", "p.json")
    typed("apply", "p.json", code=8)
    assert stands(site.desk) == {"web", "far"}
    typed("undo", "--all", "-f", "two.yaml", "--host", "app")
    assert stands(site.desk) == set()
