"""The command line as a user runs it: words in, output and exit codes out."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import jsonschema
import pytest

from crossnet.__main__ import main
from crossnet.codes import CODES
from crossnet.lab.build import Lab
from faults.controller_process import ControllerProcess
from lab.crossing import Bench

CROSSING = "from: app, via: gateway, to: 10.0.44.0/24"
SPEC = """crossnet: 1
hosts: {{app: {{lab: app}}, gateway: {{lab: gateway}}}}
crossings: {{business: {{{crossing}}}}}
"""

# 01-product: the layout that a plan has.
PLAN = """\
crossing business: app 10.0.43.15 → gateway eth1 10.0.43.101 ⇒ eth0, source 10.0.44.63 → 10.0.44.0/24

app
  + route   10.0.44.0/24 via 10.0.43.101 dev eth0

gateway
  + table   crossnet: 1 crossing, fence on
  ~ sysctl  net.ipv4.ip_forward  0 → 1

  opens   app 10.0.43.15 → 10.0.44.0/24: any traffic, seen there as 10.0.44.63
  closes  nothing

what to know
"""
LAST = "\nPlan: 2 to add, 1 to change, 0 to remove on 2 hosts.\n"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        read: dict[str, object] = json.loads(self.out)
        return read


@dataclass(frozen=True)
class Desk:
    """A folder in which somebody runs `crossnet`."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def write(self, crossing: str = CROSSING, *, name: str = "crossnet.yaml") -> None:
        (self.folder / name).write_text(SPEC.format(crossing=crossing), encoding="utf-8")

    def start(self, *words: str, **more: int) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "crossnet", *words],
            cwd=self.folder,
            env={**_inherited(), **self.environment},
            text=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},  # type: ignore[call-overload]
        )
        return process

    def run(self, *words: str) -> Ran:
        with TemporaryDirectory() as said:
            environment = {**_inherited(), **self.environment}
            process = ControllerProcess(main, words, self.folder, environment, Path(said) / "said")
            code = process.wait(120)
            if code is None:
                process.kill()
                process.wait()
            out, err = (
                file.read_text("utf-8") for file in (Path(said) / "said.out", Path(said) / "said.err")
            )
        assert code is not None, f"it does not end: {words}\n{out}{err}"
        assert "Traceback" not in out + err
        assert "mistake of crossnet" not in out + err
        assert "\x1b" not in out + err
        return Ran(code, out, err)

    def at_terminal(self, *words: str, say: str | None = None, answers_to: str = "to go on") -> Ran:
        """The same in a terminal of 80 columns; `say` is typed when the question is there."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x18\x00\x50\x00" + bytes(4))
        process = self.start(*words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            assert ready, f"nothing came any more after: {seen.decode()}"
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # EIO: the last one to have the terminal open has gone
                chunk = b""
            if not chunk:
                break
            seen += chunk
            if say is not None and answers_to.encode() in seen:
                os.write(ours, f"{say}\n".encode())
                say = None
        os.close(ours)
        code = process.wait(timeout=60)
        text = seen.decode().replace("\r\n", "\n")
        assert "Traceback" not in text
        return Ran(code, text, "")


def _inherited() -> dict[str, str]:
    kept = ("PATH", "HOME", "XDG_RUNTIME_DIR", "TMPDIR", "LANG", "PYTHONPATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Without a lab: for what is said before any host is asked."""
    return Desk(tmp_path, {"CROSSNET_LAB": "there-is-no-such-lab"})


@dataclass(frozen=True)
class Site:
    desk: Desk
    bench: Bench


@pytest.fixture
def site(tmp_path: Path, lab_up: Callable[..., Lab]) -> Site:
    """The seed's hosts, and a spec for them that leaves nothing for the next boot."""
    lab = lab_up("seed")
    own = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    own.write(f"{CROSSING}, persist: none, probe: icmp/10.0.44.1")
    return Site(own, Bench(lab))


# ---- before any host is asked ----------------------------------------------------------------------


def test_alone_it_says_what_to_do_first(desk: Desk) -> None:
    first = desk.run()
    assert first.code == 0
    assert "crossnet demo" in first.out
    assert "crossnet init" in first.out
    desk.write()
    then = desk.run()
    assert then.code == 0
    assert "crossnet.yaml is here" in then.out
    assert "crossnet plan" in then.out


@pytest.mark.parametrize(
    "words", [("--help",), ("-h",), ("apply", "--help"), ("lab", "up", "-h"), ("--version",)]
)
def test_help(desk: Desk, words: tuple[str, ...]) -> None:
    said = desk.run(*words)
    assert (said.code, said.err) == (0, "")
    assert "crossnet" in said.out


def test_every_command_of_the_product_page_is_in_the_help(desk: Desk) -> None:
    said = desk.run("--help").out
    for command in ("init", "plan", "apply", "verify", "status", "undo", "facts", "explain", "lab", "demo"):
        assert re.search(rf"^  {command} +\S", said, re.MULTILINE), command


def test_init_blank_is_a_spec_that_is_understood(desk: Desk) -> None:
    made = desk.run("init")
    assert made == Ran(0, "Wrote crossnet.yaml. Edit it, then run `crossnet plan`.\n", "")
    again = desk.run("init")
    assert again.code == 1
    assert "crossnet.yaml already exists, and is left as it is" in again.err
    # Nothing is wrong with it: it gets as far as the hosts.
    assert "ssh" in desk.run("plan").err.lower()


def test_init_complete(desk: Desk) -> None:
    words = ("--from", "root@web", "--from", "10.0.43.64/28", "--via", "ops@gw", "--to", "10.0.44.0/24")
    made = desk.run("init", *words, "-f", "mine.yaml")
    assert made == Ran(0, "Wrote mine.yaml. Next: `crossnet plan -f mine.yaml`.\n", "")
    text = (desk.folder / "mine.yaml").read_text()
    for word in ("ssh: root@web", "ssh: ops@gw", "10.0.43.64/28", "to: 10.0.44.0/24"):
        assert word in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "root@web"), "--from, --via and --to belong together"),
        (("--from", "a", "--via", "b", "--to", "10.0.44.7/24"), "host bits"),
        (("--from", "a", "--via", "b", "--to", "nowhere"), "nowhere"),
        (("--from", "a", "--via", "b", "--to", "10.0.44.0/24", "--until", "2020-01-01T00:00Z"), "is past"),
        (("-f", "no/such/folder/x.yaml"), "cannot write no/such/folder/x.yaml"),
    ],
)
def test_init_that_cannot_be(desk: Desk, words: tuple[str, ...], said: str) -> None:
    ran = desk.run("init", *words)
    assert ran.code == 1
    assert said in ran.err
    assert list(desk.folder.iterdir()) == []


def test_nothing_is_connected_until_a_time_that_is_past(desk: Desk) -> None:
    ran = desk.run("connect", "a", "--via", "b", "--to", "10.0.44.0/24", "--until", "2020-01-01T00:00Z")
    assert (ran.code, ran.out) == (1, "")
    assert "--until 2020-01-01T00:00Z is past: this machine's clock says " in ran.err


@pytest.mark.parametrize("command", ["plan", "apply", "verify", "status", "undo", "facts"])
def test_without_a_spec_each_command_says_what_to_do(desk: Desk, command: str) -> None:
    ran = desk.run(command)
    assert (ran.code, ran.out) == (1, "")
    assert "crossnet.yaml" in ran.err
    assert "crossnet init" in ran.err


def test_mistakes_of_a_spec_are_all_told_with_their_places(desk: Desk) -> None:
    (desk.folder / "crossnet.yaml").write_text(
        "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
        "crossings:\n  business:\n    from: app\n    vai: gateway\n    to: 10.0.44.7/24\n"
    )
    ran = desk.run("plan")
    assert ran.code == 1
    assert "crossnet.yaml:6:5: " in ran.err
    assert "did you mean 'via'?" in ran.err
    assert "crossnet.yaml:7:9: " in ran.err
    told = desk.run("plan", "--json").json["error"]
    assert isinstance(told, dict)
    assert {problem["line"] for problem in told["problems"]} >= {6, 7}


def test_a_host_of_the_lab_that_is_not_there(desk: Desk) -> None:
    desk.write()
    ran = desk.run("plan")
    assert ran.code == 1
    assert "there-is-no-such-lab" in ran.err
    assert "crossnet lab" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("plann",),
        ("plan", "--no-such-option"),
        ("plan", "too", "many"),
        ("apply", "one", "two"),
        ("explain", "one", "two"),
        ("completion", "powershell"),
        ("completion",),
        ("lab", "up", "--count", "0"),
        ("lab", "nothing"),
    ],
)
def test_usage_errors_are_1_because_2_means_changes(desk: Desk, words: tuple[str, ...]) -> None:
    ran = desk.run(*words)
    assert (ran.code, ran.out) == (1, "")
    assert "Usage: crossnet" in ran.err
    assert re.search(r"^(Error|crossnet): \w", ran.err, re.MULTILINE)


def test_explain(desk: Desk) -> None:
    known = desk.run("explain", "no-route")
    assert known.code == 0
    assert CODES["no-route"].meaning.split(".")[0].split()[0] in known.out
    assert "means" in known.out
    assert "do" in known.out
    assert desk.run("explain", "no-route", "--json").json["code"] == "no-route"
    unknown = desk.run("explain", "no-rout")
    assert (unknown.code, unknown.out) == (1, "")
    assert "did you mean no-route?" in unknown.err
    every = desk.run("explain")
    assert every.code == 0
    assert [line.split()[0] for line in every.out.splitlines()] == list(CODES)


def test_schema_is_a_json_schema_that_takes_a_spec(desk: Desk) -> None:
    schema = json.loads(desk.run("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    spec = {
        "crossnet": 1,
        "hosts": {"app": {"lab": "app"}, "gateway": {"lab": "gateway"}},
        "crossings": {"business": {"from": "app", "via": "gateway", "to": "10.0.44.0/24"}},
    }
    jsonschema.validate(spec, schema)
    spec["crossings"]["business"]["vai"] = "gateway"  # type: ignore[index]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, schema)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(desk: Desk, shell: str) -> None:
    made = desk.run("completion", shell)
    assert made.code == 0
    assert "_CROSSNET_COMPLETE" in made.out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=made.out, text=True).returncode == 0


# ---- with hosts ------------------------------------------------------------------------------------

pytestmark = pytest.mark.lab


def test_plan_reads_as_the_product_page_says(site: Site) -> None:
    ran = site.desk.run("plan", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(PLAN)
    assert ran.out.endswith(LAST)
    rest = ran.out.removeprefix(PLAN).removesuffix(LAST)
    assert re.findall(r"\[([a-z-]+)\]", rest) == ["not-persistent"]
    assert all(line.startswith("  ") and len(line) <= 80 for line in rest.splitlines())
    told = site.desk.run("plan")
    assert told.out == ran.out  # progress goes to the other stream
    assert "… app: reads facts" in told.err


def test_plan_as_json(site: Site) -> None:
    ran = site.desk.run("plan", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert next(iter(ran.json)) == "format_version"
    assert ran.json["format_version"] == "1.0"
    assert set(ran.json) >= {"format_version", "crossings", "hosts", "impacts"}
    hosts = ran.json["hosts"]
    assert isinstance(hosts, list)
    for host in hosts:
        assert set(host) >= {"host", "changes", "adopted"}
        for change in host["changes"]:
            assert set(change) >= {"kind", "action", "key", "have", "want", "steps"}
            assert change["steps"]
    changes = {
        (host["host"], change["kind"], change["action"]) for host in hosts for change in host["changes"]
    }
    assert changes == {
        ("app", "route", "create"),
        ("gateway", "table", "create"),
        ("gateway", "sysctl", "change"),
    }
    (route,) = [c for host in hosts for c in host["changes"] if c["kind"] == "route"]
    run = "ip -4 route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"
    assert route["steps"] == [{"run": run.split(), "stdin": ""}]
    impacts = ran.json["impacts"]
    assert isinstance(impacts, list)
    assert {impact["code"] for impact in impacts} <= set(CODES)


def test_detailed_exit_code(site: Site) -> None:
    assert site.desk.run("plan", "--detailed-exitcode").code == 2
    assert site.desk.run("apply", "--yes").code == 0
    done = site.desk.run("plan", "--detailed-exitcode", "-q")
    assert done.code == 0
    assert done.out.endswith("No changes.\n")
    site.desk.write("from: app, via: gateway, to: 10.0.43.0/25")
    refused = site.desk.run("plan", "--detailed-exitcode")
    assert refused.code == 1
    assert "[destination-on-link]" in refused.err


def test_a_refusal_as_json(site: Site) -> None:
    site.desk.write("from: app, via: gateway, to: 10.0.44.0/24, translate: {snat: 10.0.44.99}")
    error = site.desk.run("plan", "--json").json["error"]
    assert isinstance(error, dict)
    assert error["exit_code"] == 1
    (refusal,) = error["refusals"]
    assert refusal["code"] == "snat-address-not-local"
    assert refusal["candidates"] == ["gateway eth1 10.0.43.101/24", "gateway eth0 10.0.44.63/24"]


def test_a_saved_plan_is_good_for_once(site: Site) -> None:
    assert site.desk.run("plan", "--out", "my.plan").code == 0
    saved = site.desk.folder / "my.plan"
    assert saved.stat().st_mode & 0o777 == 0o600
    (site.desk.folder / "crossnet.yaml").unlink()  # it carries its spec
    first = site.desk.run("apply", "my.plan", "--yes")
    assert first.code == 0
    assert "Confirmed." in first.out
    held = site.bench.fingerprints()
    second = site.desk.run("apply", "my.plan", "--yes")
    assert second.code == 1
    assert "Saved plan is stale" in second.err
    assert "Nothing was changed" in second.err
    assert site.bench.differences(held) == []


def test_a_saved_plan_is_stale_when_a_host_has_moved(site: Site) -> None:
    assert site.desk.run("plan", "--out", "my.plan").code == 0
    site.bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    held = site.bench.fingerprints()
    ran = site.desk.run("apply", "my.plan", "--yes")
    assert ran.code == 1
    assert "Saved plan is stale" in ran.err
    assert "gateway: sysctl net.ipv4.ip_forward is already as wanted: value 0 → 1" in ran.err
    assert site.bench.differences(held) == []


@pytest.mark.parametrize("folder", [".", "", "/", "plans"])
def test_a_plan_is_not_saved_in_place_of_a_folder(site: Site, folder: str) -> None:
    (site.desk.folder / "plans").mkdir()
    ran = site.desk.run("plan", "--out", folder, "-q")
    assert ran.code == 1
    assert "cannot write the plan to " in ran.err
    assert "it is a folder\n  Name a file." in ran.err
    assert sorted(path.name for path in site.desk.folder.iterdir()) == ["crossnet.yaml", "plans"]


def test_a_saved_plan_of_a_newer_crossnet_is_refused_with_both_numbers(site: Site) -> None:
    assert site.desk.run("plan", "--out", "my.plan").code == 0
    saved = site.desk.folder / "my.plan"
    saved.write_text(json.dumps({**json.loads(saved.read_text()), "format_version": "2.0"}))
    ran = site.desk.run("apply", "my.plan", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert "my.plan is a plan of format 2.0, this crossnet reads 1.0" in ran.err


@pytest.mark.parametrize("content", [None, b"crossnet: 1\n"], ids=["not there", "a spec"])
def test_a_spec_in_place_of_a_plan_is_told_its_option(desk: Desk, content: bytes | None) -> None:
    if content is not None:
        (desk.folder / "mine.yaml").write_bytes(content)
    ran = desk.run("apply", "mine.yaml", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert "If it is a spec, give it with -f: `crossnet apply -f mine.yaml`" in ran.err


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{}", b"[]", b"7", b"\xff\xfe", b'{"kind": "other"}', b'{"kind": "crossnet-plan"}'],
)
def test_what_is_no_saved_plan(desk: Desk, content: bytes | None) -> None:
    if content is not None:
        (desk.folder / "x").write_bytes(content)
    ran = desk.run("apply", "x", "--yes")
    assert (ran.code, ran.out) == (1, "")
    assert "crossnet: " in ran.err
    assert "plan" in ran.err


def test_apply_with_nobody_to_ask(site: Site) -> None:
    before = site.bench.fingerprints()
    ran = site.desk.run("apply", "-q")
    assert ran.code == 1
    assert ran.out.startswith(PLAN)
    assert ran.out.endswith(LAST)
    assert "crossnet apply -q --yes" in ran.err
    assert site.bench.differences(before) == []


def test_only_the_word_yes_is_consent(site: Site) -> None:
    before = site.bench.fingerprints()
    for word in ("y", "Yes please", "no", "", "YES"):
        refused = site.desk.at_terminal("apply", "-q", say=word)
        assert refused.code == 1, word
        assert "no consent: nothing was changed" in refused.out
    assert site.bench.differences(before) == []
    done = site.desk.at_terminal("apply", say="yes")
    assert done.code == 0
    assert "Confirmed." in done.out
    assert site.bench.pings("app", "10.0.44.1")
    kept = site.desk.at_terminal("undo", say="y")
    assert kept.code == 1
    assert site.bench.pings("app", "10.0.44.1")
    assert site.desk.at_terminal("undo", say="yes").code == 0
    assert site.bench.differences(before) == []


def test_colour_is_for_terminals_only(site: Site) -> None:
    assert "\x1b[" in site.desk.at_terminal("plan").out
    assert "\x1b[" not in site.desk.at_terminal("plan", "--no-color").out
    assert "\x1b[" not in site.desk.at_terminal("plan", "--json").out
    plain = Desk(site.desk.folder, {**site.desk.environment, "NO_COLOR": "1"})
    assert "\x1b[" not in plain.at_terminal("plan").out
    empty = Desk(site.desk.folder, {**site.desk.environment, "NO_COLOR": ""})
    assert "\x1b[" in empty.at_terminal("plan").out  # no-color.org: when not empty


def test_an_apply_that_nobody_answers_ends_with_8_and_is_mended_by_an_answer(site: Site) -> None:
    desk, bench = site.desk, site.bench
    desk.write(f"{CROSSING}, persist: none")
    bench.check("target", "ip link set eth0 down")
    applied = desk.run("apply", "--yes", "-q")
    assert applied.code == 8
    last = applied.out.splitlines()[-1]
    assert re.fullmatch(r"Confirmed, not proved end to end\. Transaction [0-9a-f]+\.", last)
    status = desk.run("status", "-q")
    assert status.code == 3
    assert re.match(r"business  unproved .*\n  not proved end to end: app → icmp/10\.0\.44\.", status.out)
    told = desk.run("apply", "--json").json
    assert (told["outcome"], told["proved"]) == ("unchanged", False)

    bench.check("target", "ip link set eth0 up")
    again = desk.run("apply", "-q")
    assert (again.code, again.out.splitlines()[-1]) == (0, "No changes.")
    assert desk.run("status", "-q").code == 0


def test_an_apply_that_has_nothing_to_do_says_why(site: Site) -> None:
    site.desk.write(f"{CROSSING}, until: 2026-01-01T00:00Z")
    nothing = site.desk.run("apply", "--yes", "-q")
    assert nothing.code == 0
    assert "crossing business: has been over since 2026-01-01 00:00 UTC: nothing is made" in nothing.out
    assert nothing.out.endswith("No changes.\n")


def test_a_longer_route_of_the_client_is_told_and_the_far_side_not_blamed(site: Site) -> None:
    desk, bench = site.desk, site.bench
    desk.write(f"{CROSSING}, persist: none")
    assert desk.run("apply", "--yes", "-q").code == 0
    bench.check("app", "ip route add 10.0.44.1/32 via 10.0.43.102")
    told = "app: still reaches 10.0.44.1 another way: 10.0.44.1/32 via 10.0.43.102 dev eth0"
    up = desk.run("status", "-q")
    assert (up.code, up.out.splitlines()[1:]) == (0, [f"  {told}"])
    planned = desk.run("plan", "-q").out
    assert "No changes." in planned
    assert told in " ".join(planned.split())
    # The gateway knows who is behind it since its first flow, and nobody else is there to answer.
    verified = desk.run("verify", "-q")
    assert verified.code == 3
    assert "src-route-other-next-hop: app sends it another way: 10.0.44.1/32 via 10.0.43.102" in " ".join(
        verified.out.split()
    )
    assert "destination-" not in verified.out
    degraded = desk.run("status", "-q")
    assert "the last verification failed: app → icmp/10.0.44.1: app sends it another way" in degraded.out


def test_the_life_of_a_crossing(site: Site) -> None:
    """Each command at each of its moments, with its exit code."""
    desk, bench = site.desk, site.bench
    before = bench.fingerprints()

    down = desk.run("status")
    assert down.code == 3
    assert re.match(r"business  down ", down.out)
    assert "not applied" in down.out
    assert desk.run("verify").code == 3
    nothing = desk.run("undo", "--yes")
    assert nothing.code == 0
    assert "No changes. Nothing of crossnet is applied on these hosts." in nothing.out
    assert bench.differences(before) == []

    applied = desk.run("apply", "--yes")
    assert applied.code == 0
    assert "business: app 10.0.43.15 → icmp/10.0.44.1  REACHABLE" in applied.out
    assert "read back: equal to the spec on every host" in applied.out
    assert "Confirmed. Transaction " in applied.out

    again = desk.run("apply", "--yes", "-q")
    assert (again.code, again.out.splitlines()[-1], again.err) == (0, "No changes.", "")
    assert desk.run("apply").code == 0  # nothing to ask for
    as_json = desk.run("apply", "--json").json
    assert (as_json["outcome"], as_json["transaction"]) == ("unchanged", None)

    verified = desk.run("verify", "business")
    assert verified.code == 0
    assert "REACHABLE" in verified.out
    told = desk.run("verify", "--json").json
    assert (told["format_version"], told["result"], told["differences"]) == ("1.0", "reachable", [])
    wrong = desk.run("verify", "bussiness")
    assert wrong.code == 1
    assert "it has: business" in wrong.err

    tried = desk.run("verify", "-q", "--from", "app", "--to", "tcp/10.0.44.1:9")
    assert (tried.code, tried.out.splitlines()[0]) == (
        0,
        "business: app 10.0.43.15 → tcp/10.0.44.1:9  REACHABLE",
    )
    no = desk.run("verify", "-q", "--from", "app", "--to", "tcp/10.0.45.1:9")
    assert no.code == 1
    assert "Nearest is business: 10.0.45.1 does not lie in its `to` (10.0.44.0/24)." in no.err

    up = desk.run("status")
    assert up.code == 0
    assert re.match(r"business  up +[1-9]\d* .*, 0 .*fenced, verified: reachable 20", up.out)

    bench.check("app", "ip route del 10.0.44.0/24")
    drifted = desk.run("status")
    assert drifted.code == 3
    assert re.match(r"business  drifted ", drifted.out)
    assert "app: route 10.0.44.0/24 via 10.0.43.101 dev eth0 was removed" in drifted.out
    states = desk.run("status", "--json").json["crossings"]
    assert isinstance(states, list)
    assert states[0]["state"] == "drifted"
    broken = desk.run("verify")
    assert broken.code == 3
    assert "UNREACHABLE" in broken.out
    assert "read back: differs from the spec" in broken.out

    assert desk.run("apply", "--yes").code == 0
    assert desk.run("status").code == 0
    undone = desk.run("undo", "--yes")
    assert undone.code == 0
    assert "Undone. Every host was read again and is as it was before crossnet." in undone.out
    assert bench.differences(before) == []
    assert desk.run("status").code == 3


def test_undo_shows_what_it_takes_and_asks(site: Site) -> None:
    site.desk.run("apply", "--yes")
    held = site.bench.fingerprints()
    ran = site.desk.run("undo", "-q")
    assert ran.code == 1
    assert "  - route   10.0.44.0/24 via 10.0.43.101 dev eth0" in ran.out
    assert "  ~ sysctl  net.ipv4.ip_forward  1 → 0" in ran.out
    assert "Plan: 0 to add, 1 to change, 2 to remove on 2 hosts." in ran.out
    assert "crossnet undo -q --yes" in ran.err
    assert site.bench.differences(held) == []


def test_facts(site: Site) -> None:
    both = site.desk.run("facts")
    assert both.code == 0
    assert "interface  eth1     up    mtu 1500   10.0.43.101/24" in both.out
    assert "route      default via 10.0.44.254 dev eth0" in both.out
    assert "sysctl     net.ipv4.ip_forward = 0" in both.out
    one = site.desk.run("facts", "app")
    assert one.out.startswith("app\n")
    assert "gateway" not in one.out
    told = site.desk.run("facts", "--json").json["hosts"]
    assert isinstance(told, list)
    assert [host["host"] for host in told] == ["app", "gateway"]
    wrong = site.desk.run("facts", "ap")
    assert wrong.code == 1
    assert "it has: app, gateway" in wrong.err


def test_output_that_nobody_reads_to_the_end(site: Site) -> None:
    """`crossnet plan | head -1` ends without noise."""
    with site.desk.start("plan", "-q", "-v") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


def test_progress_of_an_apply_names_each_step(site: Site) -> None:
    said = site.desk.run("apply", "--yes").err
    order = [
        "… gateway: writes its journal",
        "… gateway: creates table crossnet: 1 crossing, fence on",
        "… gateway: changes sysctl net.ipv4.ip_forward  0 → 1",
        "… app: creates route 10.0.44.0/24 via 10.0.43.101 dev eth0",
        "… app: sends icmp/10.0.44.1",
    ]
    places = [said.find(line) for line in order]
    assert -1 not in places
    assert places == sorted(places)
    assert site.desk.run("undo", "--yes", "-q").err == ""


# ---- in the middle -----------------------------------------------------------------------------------


@pytest.fixture
def held(site: Site) -> Held:
    return Held(site)


@dataclass(frozen=True)
class Held:
    """An apply that stands still at a certain step: a tool on the host waits there, once, for `go_on`."""

    site: Site

    def until(
        self,
        host: str,
        tool: str,
        *words: str,
        command: str = "apply",
        options: tuple[str, ...] = (),
        **streams: int,
    ) -> subprocess.Popen[str]:
        """Start it, and come back when the step is under way."""
        self.site.bench.check(host, f"mkfifo /tmp/reached /tmp/go-on && {_wait_once(tool, words)}")
        process = self.site.desk.start(command, "--yes", *options, **streams)
        self.site.bench.check(host, "cat /tmp/reached")
        return process

    def go_on(self, host: str) -> None:
        self.site.bench.check(host, "echo > /tmp/go-on")


def _wait_once(tool: str, words: tuple[str, ...]) -> str:
    """Shell words that put a tool before the real one, which waits the first time that it is called so."""
    script = f"""#!/bin/sh
case " $* " in
*" {" ".join(words)} "*)
    if mkdir /tmp/held 2>/dev/null; then
        echo here > /tmp/reached
        read -r _ < /tmp/go-on
    fi ;;
esac
exec /tmp/real-{tool} "$@"
"""
    return (
        f"place=$(readlink -f $(command -v {tool})) && cp $place /tmp/real-{tool} && "
        f"cat > /tmp/{tool} <<'EOF'\n{script}EOF\nchmod 755 /tmp/{tool} && mount --bind /tmp/{tool} $place"
    )


STEPS = {
    "table": ("gateway", "nft", "-f", "-"),
    "sysctl": ("gateway", "sysctl", "-q", "-w"),
    "route": ("app", "ip", "route", "add"),
    "probe": ("app", "ping", "-n", "-q"),
}


@pytest.mark.parametrize(
    ("step", "number"), [*((step, signal.SIGINT) for step in STEPS), ("route", signal.SIGHUP)]
)
def test_an_interrupt_in_the_middle_puts_everything_back(
    held: Held, step: str, number: signal.Signals
) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    with held.until(*STEPS[step]) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "interrupted" in err
    assert "Rolled back: every host was read again and is as it was before." in err
    assert "Traceback" not in out + err
    assert bench.differences(before) == []
    assert held.site.desk.run("apply", "--yes").code == 0


@pytest.mark.parametrize("step", [pytest.param("sysctl", marks=pytest.mark.variants), "route", "probe"])
def test_a_controller_that_dies_in_the_middle_leaves_what_is_needed_to_undo(held: Held, step: str) -> None:
    bench, desk = held.site.bench, held.site.desk
    before = bench.fingerprints()
    with held.until(*STEPS[step]) as process:
        process.kill()
        process.communicate(timeout=60)
    left = bench.fingerprints()
    assert bench.differences(before) != []

    locked = desk.run("apply", "--yes")
    assert locked.code == 5
    assert "was not finished" in locked.err
    assert "crossnet recover" in locked.err
    assert bench.differences(left) == []
    told = desk.run("status")
    assert told.code == 3
    for host in ("app", "gateway"):
        assert re.search(rf"{host}: transaction [0-9a-f]{{8}} of \S+ was not finished", told.out)

    asked = desk.run("undo")
    assert asked.code == 1
    assert "was not finished" in asked.out
    assert "changes are put back first" in asked.out
    assert bench.differences(left) == []

    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []
    assert desk.run("apply", "--yes").code == 0
    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []


def test_a_host_is_forgotten_also_where_an_apply_with_it_died_in_the_middle(held: Held) -> None:
    bench, desk = held.site.bench, held.site.desk
    before = bench.fingerprints()
    with held.until(*STEPS["route"]) as process:
        process.kill()
        process.communicate(timeout=60)
    done = desk.run("forget", "app", "--yes")
    assert done.code == 0, done.err
    assert "changes are put back first" in done.out
    after = bench.fingerprints()
    assert {name: one for name, one in after.items() if name != "app"} == {
        name: one for name, one in before.items() if name != "app"
    }
    assert desk.run("recover", "--yes").code == 3  # what app itself still holds, should it come back
    assert bench.differences(before) == []


def test_status_of_a_crossing_whose_change_was_not_finished(held: Held) -> None:
    desk = held.site.desk
    assert desk.run("apply", "--yes").code == 0
    desk.write(f"{CROSSING}, persist: none, allow: icmp")
    with held.until("gateway", "nft", "-f", "-") as process:
        process.kill()
        process.communicate(timeout=60)
    told = desk.run("status")
    assert told.code == 3
    assert (
        re.search(r"gateway: transaction [0-9a-f]{8} of \S+ was not finished", told.out)
        or "drifted" in told.out
    )
    assert desk.run("undo", "--yes").code == 0


def test_a_second_command_while_one_is_under_way_changes_nothing(held: Held) -> None:
    bench, desk = held.site.bench, held.site.desk
    before = bench.fingerprints()
    with held.until("app", "ip", "route", "add") as process:
        during = bench.fingerprints()
        second = desk.run("apply", "--yes")
        assert second.code == 5
        assert "is under way" in second.err
        undo = desk.run("undo", "--yes")
        assert undo.code == 5
        assert "is under way" in undo.err
        assert bench.differences(during) == []
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 3
    assert bench.differences(before) == []


def transaction_of(desk: Desk) -> str:
    found = re.search(r"transaction ([0-9a-f]{8}) of ", desk.run("status").out)
    assert found
    return found[1]


@pytest.mark.parametrize("step", ["table", "route"])
def test_half_a_change_cannot_be_confirmed(held: Held, step: str) -> None:
    bench, desk = held.site.bench, held.site.desk
    before = bench.fingerprints()
    with held.until(*STEPS[step]) as process:
        locked = desk.run("apply", "--yes")
        assert locked.code == 5
        transaction = transaction_of(desk)
        assert f"`crossnet rollback {transaction}`" in locked.err
        assert "crossnet confirm" not in locked.err
        refused = desk.run("confirm", transaction)
        assert refused.code == 1
        assert "does not wait for a confirmation: not all of its changes are made" in refused.err
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 3
    assert bench.differences(before) == []


def test_a_transaction_that_ended_says_what_takes_it_back(site: Site) -> None:
    desk = site.desk
    for command, back in (("apply", "undo"), ("undo", "apply")):
        ran = desk.run(command, "--yes", "--json").json
        over = desk.run("rollback", str(ran["transaction"]))
        assert over.code == 1
        assert f"is over: confirmed on {'app' if 'app at' in over.err[:200] else 'gateway'} at " in over.err
        assert f"\n  `crossnet {back}` takes it back; `crossnet history` shows all." in over.err


def test_what_was_put_back_before_its_first_change_cannot_be_confirmed(held: Held) -> None:
    desk = held.site.desk
    with held.until("gateway", "sync", "/var/lib/crossnet/transaction/deadline.aside") as process:
        transaction = transaction_of(desk)
        assert desk.run("rollback", transaction).code == 3
        late = desk.run("confirm", transaction)
        process.kill()
        process.communicate(timeout=60)
    assert late.code == 1
    assert f"no host of the spec knows a transaction {transaction}" in late.err
    assert "before its first change is in no history" in late.err


def test_what_is_put_back_while_it_is_confirmed_is_not_called_late(held: Held) -> None:
    bench, desk = held.site.bench, held.site.desk
    before = bench.fingerprints()
    with desk.start("apply", "--yes", "--confirm-within", "5m") as process:
        assert process.stderr
        next(line for line in process.stderr if "waits 300 s" in line)
        transaction = transaction_of(desk)
        window = rf"is made but not confirmed: it waits (300|2\d\d) s for `crossnet confirm {transaction}`"
        told = desk.run("status").out
        assert re.search(window, told)
        assert "business  degraded" in told
        assert "not applied" not in told
        bench.check(
            "gateway", f"mkfifo /tmp/reached /tmp/go-on && {_wait_once('ln', ('confirm', 'decision'))}"
        )
        with desk.start("confirm", transaction) as confirming:
            bench.check("gateway", "cat /tmp/reached")
            assert desk.run("rollback", transaction).code == 3
            held.go_on("gateway")
            _, said = confirming.communicate(timeout=60)
        process.communicate(timeout=60)
    assert confirming.returncode == 3
    assert f"transaction {transaction} was put back before it was confirmed" in said
    assert process.returncode == 3
    assert bench.differences(before) == []


# ---- hosts that cannot be reached --------------------------------------------------------------------

TWO = """crossnet: 1
hosts:
  app: {lab: app}
  gateway: {lab: gateway}
  far: {lab: no-such/far}
  away: {lab: no-such/away}
crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24, persist: none, probe: icmp/10.0.44.1}
  other: {from: far, via: away, to: 10.0.99.0/24}
  both: {from: app, via: away, to: 10.0.98.0/24}
"""


def test_a_host_that_cannot_be_reached_hides_no_other(site: Site) -> None:
    assert site.desk.run("apply", "--yes").code == 0
    (site.desk.folder / "crossnet.yaml").write_text(TWO, encoding="utf-8")
    facts = site.desk.run("facts")
    assert (facts.code, "10.0.43.101" in facts.out) == (1, True)
    assert "no-such" in facts.err
    history = site.desk.run("history", "--json")
    assert history.code == 1
    assert set(history.json["unreached"]) == {"far", "away"}  # type: ignore[call-overload]
    assert {one["host"] for one in history.json["transactions"]} == {"app", "gateway"}  # type: ignore[attr-defined]
    for command in ("plan", "apply"):
        refused = site.desk.run(command)
        assert (refused.code, refused.out) == (1, "")
        assert "no-such" in refused.err


def test_status_and_verify_judge_what_stands_on_reached_hosts_alone(site: Site) -> None:
    assert site.desk.run("apply", "--yes").code == 0
    whole = TWO.replace("  both: {from: app, via: away, to: 10.0.98.0/24}\n", "")
    (site.desk.folder / "crossnet.yaml").write_text(whole, encoding="utf-8")
    status = site.desk.run("status", "--json")
    states = {one["crossing"]: one["state"] for one in status.json["crossings"]}  # type: ignore[attr-defined]
    assert (status.code, states) == (3, {"business": "up", "other": "unknown"})
    verified = site.desk.run("verify")
    assert verified.code == 3
    assert re.search(r"^business: .* REACHABLE$", verified.out, re.M)
    assert re.search(r"^other: .* UNDETERMINED$", verified.out, re.M)
    # One that shares a client with it is judged by what it has for itself.
    (site.desk.folder / "crossnet.yaml").write_text(TWO, encoding="utf-8")
    assert _states(site) == {"business": "up", "other": "unknown", "both": "unknown"}
    site.bench.check("app", "ip route del 10.0.44.0/24")
    assert _states(site) == {"business": "drifted", "other": "unknown", "both": "unknown"}
    assert site.desk.run("verify").code == 1


def _states(site: Site) -> dict[str, str]:
    ran = site.desk.run("status", "--json")
    assert ran.code == 3
    return {one["crossing"]: one["state"] for one in ran.json["crossings"]}  # type: ignore[attr-defined]


CLIENT_IS_SHARED = """crossnet: 1
hosts: {app: {lab: app}, one: {lab: gateway}, two: {lab: TWO}}
crossings:
  business: {from: app, via: one, to: 10.0.44.0/25}
  other: {from: app, via: two, to: 10.0.44.128/25}
"""
GATEWAY_IS_SHARED = """crossnet: 1
hosts: {app: {lab: app}, one: {lab: gateway}, two: {lab: TWO}}
crossings:
  business: {from: app, via: one, to: 10.0.44.0/24}
  other: {from: two, via: one, to: 10.0.44.1}
"""


def shared(tmp_path: Path, lab: Lab, text: str, two: str) -> Site:
    """Two crossings that were applied, and a spec in which the host of the second one cannot be reached."""
    site = Site(Desk(tmp_path, {"CROSSNET_LAB": lab.name}), Bench(lab))
    (tmp_path / "crossnet.yaml").write_text(text.replace("TWO", two), encoding="utf-8")
    assert site.desk.run("apply", "--yes").code in (0, 8)
    (tmp_path / "crossnet.yaml").write_text(text.replace("TWO", "no-such/host"), encoding="utf-8")
    return site


def test_beside_a_gateway_that_is_dead_a_crossing_is_judged(
    tmp_path: Path, lab_up: Callable[..., Lab]
) -> None:
    """The client's files are made of both: they are compared with what was applied."""
    site = shared(tmp_path, lab_up("two-gateways"), CLIENT_IS_SHARED, "gateway-2")
    assert _states(site) == {"business": "up", "other": "unknown"}
    site.bench.check("app", "echo >> /etc/crossnet/routes")
    assert _states(site) == {"business": "drifted", "other": "unknown"}
    said = site.desk.run("status").out
    assert "app: file /etc/crossnet/routes was edited: it no longer says what was applied" in said
    site.bench.check("app", "ip route del 10.0.44.0/25")
    assert _states(site) == {"business": "drifted", "other": "unknown"}


def test_beside_a_client_that_is_dead_what_is_known_is_told(
    tmp_path: Path, lab_up: Callable[..., Lab]
) -> None:
    """The gateway's rules are made of both: they are compared with what was applied."""
    site = shared(tmp_path, lab_up("demo"), GATEWAY_IS_SHARED, "neighbour")
    assert _states(site) == {"business": "up", "other": "unknown"}
    said = site.desk.run("status").out
    assert re.search(r"business +up +\d+ packets? of new flows", said)
    site.bench.check("gateway", "nft flush table ip crossnet")
    assert site.desk.run("status").out.count("one is open for everybody") == 2
    site.bench.check("app", "ip route del 10.0.44.0/24")
    assert _states(site)["business"] == "drifted"
    (tmp_path / "crossnet.yaml").write_text(
        GATEWAY_IS_SHARED.replace("other:", "never:").replace("TWO", "no-such/host"), encoding="utf-8"
    )
    assert _states(site)["never"] == "down"


@pytest.mark.parametrize(
    "words",
    [("--html", "crossnet.yaml"), ("--pcap", "./crossnet.yaml"), ("--html", "told", "--pcap", "./told")],
)
def test_a_diagnosis_writes_over_no_file_that_it_needs(tmp_path: Path, words: tuple[str, ...]) -> None:
    desk = Desk(tmp_path, {"CROSSNET_LAB": "there-is-no-such-lab"})
    desk.write()
    before = (tmp_path / "crossnet.yaml").read_text()
    ran = desk.run("diagnose", *words)
    assert ran.code == 1, ran
    assert "files of their own" in ran.err
    assert (tmp_path / "crossnet.yaml").read_text() == before
