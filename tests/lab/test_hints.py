"""What messages advise, typed exactly: it does what the user meant, and no more."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from cli.test_comfort import offered
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
        listed = site.desk.run("list", "gateway", "-f", "two.yaml").err
        assert f"gateway: transaction {transaction} is not ended there" in listed
        # Another person's spec, which does not name all its hosts: its journal does.
        for words in (("plan", "-f", "other.yaml"), ("undo", "-f", "other.yaml", "--yes")):
            refused = site.desk.run(*words)
            told = advised(refused.err.partition("ends it now")[0])
            assert told == ["confirm", "-f", "other.yaml", transaction]
        own = site.desk.run("plan", "-f", "two.yaml")
        assert advised(own.err.partition("ends it now")[0]) == ["confirm", "-f", "two.yaml", transaction]
        assert site.desk.run(*advised(own.err.partition("ends it now")[0])).code == 8
        process.communicate(timeout=60)
    assert stands(site.desk) == {"web", "far"}
    (folder / "two.yaml").write_text(TWO.partition("  far")[0])
    assert site.desk.run("apply", "-f", "two.yaml", "--yes").code == 0
    past = site.desk.run("history", "-f", "two.yaml").out
    assert re.search(r"  apply two/web, two/far +confirmed", past)
    assert re.search(r"  apply two/web, which ends two/far +confirmed", past)


def test_what_is_connected_without_a_file_advises_nothing_of_another_spec(site: Site) -> None:
    desk = site.desk
    ends = (
        "lab:app",
        "--via",
        "lab:gateway",
        "--to",
        "10.0.44.9",
        "--allow",
        "tcp/80",
        "--until",
        "2099-01-01T00:00Z",
    )
    waiting = desk.run("connect", *ends, "--yes", "--confirm-within", "20s")
    assert (waiting.code, waiting.out) == (1, "")
    assert "--confirm-within goes with --save FILE" in waiting.err
    made = desk.run("connect", *ends, "--yes", "-q")
    assert made.code == 8
    file = "lab-app-to-10.0.44.9.yaml"
    commands = [shlex.split(each) for each in re.findall(r"`(crossnet [^`]*)`", made.out.replace("\n", " "))]
    of_spec = [words for words in commands if words[1] in ("verify", "diagnose", "undo")]
    assert {words[1] for words in of_spec} == {"verify", "diagnose", "undo"}
    assert all(words[words.index("-f") + 1] == file for words in of_spec)
    (shows,), (writes,) = ([each for each in commands if each[1] == verb] for verb in ("list", "init"))
    assert desk.run(*shows[1:]).code == 0
    assert "--until" not in writes
    assert desk.run(*writes[1:]).code == 0
    assert desk.run("undo", "-f", file, "--yes").code == 0
    assert stands(desk) == set()


def test_a_host_that_never_comes_back_is_given_up_knowingly(site: Site) -> None:
    folder, desk = site.desk.folder, site.desk
    (folder / "two.yaml").write_text(
        TWO.replace("}\n  far", ", persist: none}\n  far").replace("443}", "443, persist: none}")
    )

    def run(command: str, *words: str) -> Ran:
        return desk.run(command, "-f", "two.yaml", *words)

    for command, *name in (("undo", "--crossing", "wbe"), ("undo", "--host", "ap"), ("forget", "ap")):
        nowhere = run(command, *name, "--yes")
        assert nowhere.code == 1
        assert name[-1] in nowhere.err
        assert ("web, far" if "wbe" in name else "app, gateway") in nowhere.err
    assert run("undo", "--crossing", "web", "--yes").code == 0  # of the spec, and not there (any more)
    assert run("apply", "--yes").code == 8
    # The machine is gone; the spec has it still.
    (folder / "two.yaml").write_text((folder / "two.yaml").read_text().replace("lab: app", "lab: nowhere"))
    assert "crossnet forget" not in run("plan").err  # another machine than the one for which something stands
    (folder / "two.yaml").write_text((folder / "two.yaml").read_text().replace("lab: nowhere", "lab: app"))
    door = site.bench.lab.socket("app")
    away = door.rename(door.with_name("gone"))
    try:
        for command in ("plan", "apply", "undo"):
            missed = run(command)
            assert missed.code == 1
            assert "will never come back: `crossnet forget -f two.yaml app`" in missed.err
        asked = run("forget", "app")
        assert "crossing web of spec two: its route to 10.0.44.1 via 10.0.43.101\n" in asked.out
        assert "boot" not in asked.out.partition("app is not contacted")[2]
        assert stands(desk) == {"web", "far"}
        done = run("forget", "app", "--yes", "--json")
        stays = done.json["stays"]
        assert isinstance(stays, dict)
        assert stays["host"] == "app"
        assert len(stays["what"]) == 2
        assert stands(desk) == set()
    finally:
        away.rename(door)
    assert re.search(r"gateway .* forget app +confirmed", run("history").out)


def test_a_spec_comes_from_standard_input(site: Site) -> None:
    with site.desk.start("plan", "-f", "-", "-q", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(TWO, timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "crossing web: app" in out


def test_labs_and_their_hosts_are_offered(site: Site) -> None:
    lab = site.bench.lab.name
    assert ("plain", lab) in offered(["lab", "down"], "")
    hosts = {value for _, value in offered(["lab", "exec"], "")}
    assert {"target", f"{lab}/target"} & hosts  # with its lab where another one that is up has such a host
    assert offered(["lab", "exec"], "no-such") == []


def test_what_is_wrong_with_all_hosts_is_said_once(desk: Desk) -> None:
    desk.write()
    refused = desk.run("plan", "-q")
    assert refused.code == 1
    assert refused.err.count("there-is-no-such-lab") == 1
