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


def test_who_has_the_last_word_is_told_with_which_spec(site: Site) -> None:
    folder = site.desk.folder
    (folder / "two.yaml").write_text(TWO)
    line = "{from: 10.0.43.77, via: gateway, to: 10.0.44.1}"
    (folder / "other.yaml").write_text(
        f"crossnet: 1\nhosts: {{gateway: {{lab: gateway}}}}\ncrossings: {{other: {line}}}\n"
    )
    with site.desk.start("apply", "-f", "two.yaml", "--yes", "--confirm-within", "5m") as process:
        assert process.stderr is not None
        waits = next(line for line in process.stderr if "`crossnet confirm" in line)
        confirm, of, file, transaction = advised(waits)
        assert (confirm, of, file) == ("confirm", "-f", "two.yaml")
        # Another person's spec, which does not name all its hosts.
        for words in (("plan", "-f", "other.yaml"), ("undo", "-f", "other.yaml", "--yes")):
            refused = site.desk.run(*words)
            assert "where SPEC names app too" in refused.err
            assert advised(refused.err.partition("ends it now")[0]) == ["confirm", "-f", "SPEC", transaction]
        own = site.desk.run("plan", "-f", "two.yaml")
        assert advised(own.err.partition("ends it now")[0]) == ["confirm", "-f", "two.yaml", transaction]
        assert site.desk.run(*advised(own.err.partition("ends it now")[0])).code == 8
        process.communicate(timeout=60)
    assert stands(site.desk) == {"web", "far"}
