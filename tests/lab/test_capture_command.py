"""`crossnet capture` as a user runs it: packets of a lab as they pass, in columns, as a document, as a file."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_commands import Desk, Ran, Site

pytestmark = pytest.mark.lab

GATEWAY = "10.0.43.101"
WATCHES = "… watching "


@pytest.fixture
def site(tmp_path: Path, lab_up: Callable[..., Lab]) -> Site:
    """The seed's hosts, where nothing is applied."""
    lab = lab_up("seed")
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write()
    return Site(desk, Bench(lab))


@contextmanager
def capturing(site: Site, *words: str) -> Iterator[Callable[[], Ran]]:
    """The command, once it watches; what is given waits for its end."""
    with site.desk.start("capture", *words) as process:
        told: list[str] = []
        watches = threading.Event()
        assert process.stderr is not None
        reader = threading.Thread(target=_told, args=(process, told, watches), daemon=True)
        reader.start()
        assert watches.wait(30), told

        def end() -> Ran:
            assert process.stdout is not None
            out = process.stdout.read()
            code = process.wait(timeout=60)
            reader.join()
            return Ran(code, out, "".join(told))

        try:
            yield end
        finally:
            process.kill()


def _told(process: subprocess.Popen[str], told: list[str], watches: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        told.append(line)
        if line.startswith(WATCHES):
            watches.set()
    watches.set()


def test_a_ping_is_shown_in_a_column_for_each_point_until_enough_was_seen(site: Site) -> None:
    with capturing(site, "--proto", "icmp", "--address", GATEWAY, "--count", "8", "--for", "20s") as end:
        site.bench.check("app", f"ping -c 1 {GATEWAY}")
        ran = end()

    assert ran.code == 0, ran
    lines = [line for line in ran.out.splitlines() if "echo" in line or "seconds" in line]
    assert re.fullmatch(r" +seconds  app eth0 +gateway eth1", lines[-5])
    shown = [re.split(r"  +", line.strip(), maxsplit=1)[1] for line in lines[-4:]]
    request, reply = f"10.0.43.15 > {GATEWAY} icmp echo request", f"{GATEWAY} > 10.0.43.15 icmp echo reply"
    assert [" ".join(line.split()) for line in shown] == [
        f"sent {request}",
        f"received {request}",
        f"sent {reply}",
        f"received {reply}",
    ]
    columns = [re.search(r"sent|received", line) for line in lines[-4:]]
    starts = [found.start() for found in columns if found is not None]
    assert starts[0] == starts[3] < starts[1] == starts[2]
    assert "app eth0: " in ran.out
    assert "clock-not-aligned" not in ran.out


def test_what_is_asked_for_is_all_that_is_shown(site: Site) -> None:
    with capturing(site, "business", "--proto", "tcp", "--port", "443", "--for", "3s", "-v") as end:
        site.bench.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101")
        for port in (443, 80):
            site.bench.run("app", f"nc -z -w 1 10.0.44.1 {port}")
        site.bench.run("app", "ping -c 1 -W 1 10.0.44.1")
        site.bench.run("app", f"nc -z -w 1 {GATEWAY} 443")  # no destination of the crossing
        ran = end()
    assert ran.code == 0, ran
    assert "10.0.44.1:443 tcp syn" in ran.out
    assert ":80 " not in ran.out
    assert "echo" not in ran.out
    assert f"{GATEWAY}:443" not in ran.out


def test_it_ends_when_nobody_reads_it_any_more(site: Site) -> None:
    with site.desk.start("capture", "--for", "60s") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline().startswith(WATCHES)
        process.stdout.close()
        try:
            assert process.wait(timeout=20) in (0, 1)
        finally:
            process.kill()
        assert "Traceback" not in process.stderr.read()


def test_ctrl_c_ends_it_with_what_was_seen(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "seen.pcapng"
    with site.desk.start("capture", "--for", "60s", "--pcap", str(file)) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline().startswith(WATCHES)
        site.bench.check("app", f"ping -c 1 {GATEWAY}")
        while "echo" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "app eth0: " in out
    assert re.search(rf"^Wrote {file}: \d+ packets\.$", out, re.MULTILINE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes()[:4] == bytes.fromhex("0a0d0d0a")


def test_the_document_has_what_was_seen_and_where_nobody_looked(site: Site) -> None:
    site.bench.check("gateway", 'mount --bind /dev/null "$(command -v tcpdump)"')
    site.bench.check("gateway", 'mount --bind /dev/null "$(readlink -f /usr/bin/python3)"')
    with capturing(site, "--json", "--proto", "icmp", "--for", "3s") as end:
        site.bench.check("app", f"ping -c 1 {GATEWAY}")
        ran = end()
    assert ran.code == 1
    told = json.loads(ran.out)
    assert list(told["points"]) == ["app"]
    assert list(told["unwatched"]) == ["gateway"]
    assert "gateway is not watched: " in ran.err
    echoes = [one for one in told["sightings"] if "echo" in one["packet"]]
    assert [(one["host"], one["interface"], one["direction"]) for one in echoes] == [
        ("app", "eth0", "request"),
        ("app", "eth0", "reply"),
    ]
    assert echoes[0]["t"] < echoes[1]["t"] < 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--proto", "gre"), "'gre' is not one of 'icmp', 'tcp', 'udp'"),
        (("--port", "80"), "a port is one of tcp or udp"),
        (("--address", "10.0.44.7/24"), "host bits"),
        (("--host", "nobody"), "has no host 'nobody'"),
        (("nothing",), "has no crossing 'nothing'"),
        (("--for", "0s"), "--for takes 1s to 24h"),
        (("--pcap", "./crossnet.yaml"), "--pcap would replace the spec"),
    ],
)
def test_what_cannot_be_meant_is_said_before_any_host_is_asked(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    desk = Desk(tmp_path, {"CROSSNET_LAB": "there-is-no-such-lab"})
    desk.write()
    ran = desk.run("capture", *words)
    assert ran.code == 1, ran
    assert said in ran.err
