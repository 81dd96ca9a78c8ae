"""Hosts over SSH: a real sshd on lab hosts, reached from where crossnet runs, a lab host as well.

As root only: sshd changes to the user who logs in, and sudo to root, which a user namespace with one user
in it does not have.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from cli.test_printing import is_harmless
from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.topology import from_data
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from lab.crossing import Bench
from lab.elsewhere import PYTHON, python_path

pytestmark = pytest.mark.lab

TOPOLOGY = {
    "name": "ssh",
    "networks": {"management": {}, "business": {}, "inside": {}},
    "hosts": {
        "controller": {
            "interfaces": {"eth0": {"network": "management", "addresses": ["10.0.43.200/24"]}},
        },
        "app": {
            "role": "client",
            "interfaces": {"eth0": {"network": "management", "addresses": ["10.0.43.15/24"]}},
            "routes": [{"to": "default", "via": "10.0.43.1"}],
        },
        "gateway": {
            "role": "gateway",
            "interfaces": {
                "eth1": {"network": "management", "addresses": ["10.0.43.101/24"]},
                "eth0": {"network": "business", "addresses": ["10.0.44.63/24"]},
            },
            "routes": [{"to": "default", "via": "10.0.44.254", "dev": "eth0"}],
        },
        "target": {
            "role": "target",
            "interfaces": {"eth0": {"network": "business", "addresses": ["10.0.44.1/24"]}},
        },
        "jump": {
            "interfaces": {
                "eth0": {"network": "management", "addresses": ["10.0.43.50/24"]},
                "eth1": {"network": "inside", "addresses": ["10.0.60.1/24"]},
            },
        },
        "inner": {"interfaces": {"eth0": {"network": "inside", "addresses": ["10.0.60.2/24"]}}},
    },
}

# Where each sshd listens.
SERVERS = {
    "app": ("10.0.43.15", 22),
    "gateway": ("10.0.43.101", 2222),
    "jump": ("10.0.43.50", 22),
    "inner": ("10.0.60.2", 22),
}

SERVE = r"""
set -e
mkdir -p /run/sshd /tmp/sshd
cd /tmp/sshd
[ -e key ] || ssh-keygen -q -t ed25519 -N '' -f key
cat > config <<END
Port $1
HostKey /tmp/sshd/key
AuthorizedKeysFile /tmp/sshd/authorized_keys
PidFile /tmp/sshd/pid
UsePAM no
StrictModes no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
END
cat > authorized_keys
/usr/sbin/sshd -f /tmp/sshd/config -E /tmp/sshd/log
"""

# Users: the shell of each, and what its profile prints; root has none here of what the machine's root has.
USERS = r"""
set -e
number=1500
sed -i 's|^root:.*|root:x:0:0:root:/tmp/sshd:/bin/bash|' /etc/passwd
echo 'root:*:19000:0:99999:7:::' > /etc/shadow
chmod 600 /etc/shadow
for pair in ops:/bin/sh noisy:/bin/bash fishy:/tmp/fishy nobash:/usr/sbin/nologin wheelless:/bin/sh; do
    name=${pair%%:*}
    mkdir -p "/tmp/home/$name"
    chmod 755 /tmp/home "/tmp/home/$name"
    echo "$name:x:$number:$number::/tmp/home/$name:${pair#*:}" >> /etc/passwd
    echo "$name:x:$number:" >> /etc/group
    echo "$name:*:19000:0:99999:7:::" >> /etc/shadow
    number=$((number + 1))
done
echo 'echo Welcome to this host' > /tmp/home/noisy/.bashrc
# Like fish: inside single quotes a backslash escapes a backslash.
cat > /tmp/fishy <<'END'
#!/bin/sh
exec sh -c "$(printf '%s' "$2" | sed 's/\\\\/\\/g')"
END
chmod 755 /tmp/fishy
mkdir -p /etc/pam.d
printf '%s sufficient pam_permit.so\n' auth account session password > /etc/pam.d/sudo
echo 'ops ALL=(root) NOPASSWD: ALL' > /etc/sudoers
chmod 440 /etc/sudoers
"""

PRELUDE = """\
import asyncio, sys, time
from crossnet.errors import HostError
from crossnet.transport import lines
from crossnet.transport.ssh import Ssh

async def main(work):
    try:
        await work()
    except HostError as error:
        print(f"HostError: {error}")

"""


@dataclass(frozen=True, slots=True)
class Place:
    """The lab, with crossnet on its `controller`."""

    bench: Bench

    def run(self, host: str, command: str, *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        there = LabHost(host, self.bench.lab.socket(host))
        return asyncio.run(there.run(["sh", "-c", command], stdin=stdin, timeout=timeout))

    def check(self, host: str, command: str, *, stdin: bytes = b"") -> str:
        return self.run(host, command, stdin=stdin).check().text.strip()

    def here(self, words: str, *, stdin: bytes = b"", more: str = "") -> Completed:
        """A command on the controller, with the user's home."""
        environment = f"HOME=/tmp/home PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={python_path()} {more}"
        return self.run("controller", f"cd /tmp && {environment} {words}", stdin=stdin)

    def crossnet(self, arguments: str) -> Completed:
        return self.here(f"{PYTHON} -m crossnet {arguments}")

    def python(self, code: str, *, more: str = "") -> str:
        """What a program prints that finds `Ssh`, and `work` as its main function."""
        body = PRELUDE + textwrap.dedent(code) + "\nasyncio.run(main(work))\n"
        answer = self.here(f"{PYTHON} -W error -", stdin=body.encode(), more=more)
        assert answer.ok, answer.error_text
        assert not answer.error_text, answer.error_text
        return answer.text

    def ask(self, destination: str, *, become: bool = False, more: str = "") -> str:
        """What `id -un` prints there, or the error."""
        return self.python(
            f"""
            async def work():
                host = Ssh("there", {destination!r}, become={become})
                try:
                    print((await host.run(["id", "-un"])).check().text.strip())
                finally:
                    await host.close()
            """,
            more=more,
        ).strip()

    def config(self, text: str) -> None:
        self.check("controller", "cat > /tmp/home/.ssh/config", stdin=text.encode())

    def known(self, text: str) -> None:
        self.check("controller", "cat > /tmp/home/.ssh/known_hosts", stdin=text.encode())

    def host_key(self, host: str) -> str:
        return " ".join(self.check(host, "cat /tmp/sshd/key.pub").split()[:2])

    def fingerprint(self, host: str) -> str:
        return self.check(host, "ssh-keygen -lf /tmp/sshd/key.pub").split()[1]

    def log(self, host: str) -> str:
        return self.check(host, "cat /tmp/sshd/log")

    def counts(self, host: str) -> tuple[int, int]:
        """How many logins and how many commands sshd has seen."""
        text = self.log(host)
        return text.count("Accepted publickey"), text.count("Starting session: command")


def served_as(host: str) -> str:
    address, port = SERVERS[host]
    return address if port == 22 else f"[{address}]:{port}"


CONFIG = """\
Host gw
    HostName 10.0.43.101
    User ops
    Port 2222
    IdentityFile ~/.ssh/other
    IdentitiesOnly yes
Host inner
    HostName 10.0.60.2
    User root
    ProxyJump root@10.0.43.50
Host *
    IdentityFile ~/.ssh/id_ed25519
    IdentityFile ~/.ssh/not_there
"""


@pytest.fixture(scope="module")
def lab_with_sshd(sshd_possible: None) -> Iterator[Place]:
    lab = asyncio.run(build.up(from_data(TOPOLOGY, source="test"), name=f"t{os.getpid()}-ssh", lifeline=True))
    try:
        place = Place(Bench(lab))
        place.check("controller", "mkdir -p -m 700 /tmp/home/.ssh")
        for name in ("id_ed25519", "other", "stranger"):
            place.check("controller", f"ssh-keygen -q -t ed25519 -N '' -C {name} -f /tmp/home/.ssh/{name}")
        keys = place.check("controller", "cat /tmp/home/.ssh/id_ed25519.pub /tmp/home/.ssh/other.pub")
        for host, (_, port) in SERVERS.items():
            place.check(host, USERS)
            place.check(host, f"sh -c {shlex.quote(SERVE)} sh {port}", stdin=keys.encode())
        yield place
    finally:
        with suppress(LabError):
            asyncio.run(build.down(lab.name))


@pytest.fixture
def place(lab_with_sshd: Place) -> Place:
    """The user's files are as new for each test, all hosts known."""
    lab_with_sshd.config(CONFIG)
    lab_with_sshd.known("".join(f"{served_as(h)} {lab_with_sshd.host_key(h)}\n" for h in SERVERS))
    return lab_with_sshd


SPEC = """\
crossnet: 1
hosts:
  app: {ssh: root@10.0.43.15}
  gateway: {ssh: gw, become: sudo}
crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24, probe: icmp/10.0.44.1}
"""


def test_seed_over_ssh_with_one_connection_per_host(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    place.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    before = place.bench.fingerprints()
    trips: dict[str, dict[str, tuple[int, int]]] = {}
    for number, (command, expected) in enumerate(
        (
            ("plan", "Plan:"),
            ("apply --yes", "Confirmed."),
            ("verify", "10.0.44.1"),
            ("status", "up"),
            ("apply --yes", "No changes."),
            ("undo --yes", "Undone."),
        )
    ):
        start = {host: place.counts(host) for host in ("app", "gateway")}
        answer = place.crossnet(command)
        assert answer.ok, answer.text + answer.error_text
        assert expected in answer.text
        if "Confirmed." in answer.text:
            assert place.bench.pings("app", "10.0.44.1")
        for host, (logins, commands) in start.items():
            now = place.counts(host)
            trips.setdefault(f"{number} {command}", {})[host] = (now[0] - logins, now[1] - commands)
    assert place.bench.differences(before) == []
    record_property("logins and commands", str(trips))
    # A command of crossnet has one connection, and an apply two more: none is there while the timers are tried, and
    # the change is looked at over a new one. The undo finds the timers tried already.
    # Facts in one; the shell, and sudo, tried, which also says from where the host sees us.
    assert trips["0 plan"] == {"app": (1, 2), "gateway": (1, 3)}
    # What is tried is sent at once: one command more for sudo. So an apply is 11 round trips to a client and 12 to a
    # gateway; docs/benchmarks.md says so.
    assert trips["1 apply --yes"] == {"app": (3, 11), "gateway": (3, 12 + 1)}
    told = json.loads(place.crossnet("facts --json").check().text)
    assert {host["host"]: host["controller"] for host in told["hosts"]} == {
        "app": "10.0.43.200",
        "gateway": "10.0.43.200",
    }
    most = [max(logins for logins, _ in hosts.values()) for hosts in trips.values()]
    assert most == [1, 3, 1, 1, 1, 2]


def test_many_commands_at_once_share_a_connection(place: Place) -> None:
    logins, commands = place.counts("app")
    text = place.python(
        """
        async def work():
            host = Ssh("app", "root@10.0.43.15")
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(host.run(["echo", str(n)])) for n in range(40)]
            print(sum(int(task.result().text) for task in tasks))
            await host.close()
        """
    )
    assert text == "780\n"
    now = place.counts("app")
    assert (now[0] - logins, now[1] - commands) == (1, 41)


@pytest.mark.parametrize(
    ("destination", "user"),
    [("gw", "ops"), ("ssh://ops@10.0.43.101:2222", "ops"), ("root@gw", "root"), ("inner", "root")],
    ids=["alias", "uri", "alias-and-user", "jump-host"],
)
def test_goes_where_ssh_goes(place: Place, destination: str, user: str) -> None:
    assert place.ask(destination) == user


@pytest.mark.parametrize(
    ("destination", "told"),
    [
        ("ops@10.0.43.101:2222", "write ssh://ops@10.0.43.101:2222"),
        ("ssh://ops@10.0.43.101:ssh", "'ssh' is no port"),
        ("ssh://fe80::1:22", "brackets"),
        ("ops@", "names no host"),
    ],
)
def test_what_ssh_does_not_take_is_refused(place: Place, destination: str, told: str) -> None:
    assert told in place.python(f"async def work():\n    Ssh('there', {destination!r})\n")


def test_command_keeps_words_input_output_and_code(place: Place) -> None:
    text = place.python(
        r"""
        async def work():
            host = Ssh("gateway", "gw", become=True)
            odd = ["", " ", "a b", "it's", '"$HOME"', "`id`", "\\", "*", "-n", "\n", "ü", "=cat", "{a,b}", "~"]
            answer = await host.run(["printf", "[%s]", *odd])
            assert answer.text == "".join(f"[{word}]" for word in odd), answer
            big = bytes(range(256)) * 20000
            for way in (["cat"], ["sh", "-c", "cat >&2"]):
                answer = await host.run(way, stdin=big)
                assert big in (answer.stdout, answer.stderr), (len(answer.stdout), len(answer.stderr))
            assert (await host.run(["head", "-c", "1"], stdin=big)).stdout == big[:1]
            assert (await host.run(["sh", "-c", "exit 3"])).returncode == 3
            assert (await host.run(["sh", "-c", "kill -KILL $$"])).returncode == 137
            assert (await host.run(["no-such-program"])).returncode == 127
            answer = await host.run(["env"])
            assert "LC_ALL=C" in answer.text and "/usr/sbin" in answer.text, answer.text
            assert "SSH_CONNECTION" not in answer.text
            from pathlib import PurePosixPath
            path = PurePosixPath("/tmp/a folder/it's")
            await host.write(path, big, mode=0o640)
            assert await host.read(path) == big
            await host.write(path, None)
            assert await host.read(path) is None
            await host.close()
            print("all")
        """
    )
    assert text == "all\n"


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_any_posix_sh(place: Place, shell: str) -> None:
    covered = ["/bin/sh", "/usr/bin/head", "/usr/bin/setsid"] if shell == "busybox" else ["/bin/sh"]
    program = place.check("jump", f"command -v {shell}")
    for file in covered:
        place.check("jump", f"cp -f {program} /run/{shell}.sh && mount --bind /run/{shell}.sh {file}")
    try:
        text = place.python(
            """
            from crossnet.transport import leash
            leash._STOP_GRACE, leash._END_GRACE = 3, 1.5
            async def work():
                host = Ssh("jump", "root@10.0.43.50")
                big = bytes(range(256)) * 4000
                assert (await host.run(["cat"], stdin=big)).stdout == big
                assert (await host.run(["sh", "-c", "exit 3"])).returncode == 3
                assert (await host.run(["sh", "-c", "kill -SEGV $$"])).returncode == 139
                for code in "", "trap '' TERM; ":
                    process = await host.start(["sh", "-c", code + "echo $$; sleep 60; sleep 61"])
                    async for line in lines(process.output()):
                        print(line.decode().strip())
                        break
                    began = time.monotonic()
                    await process.stop()
                    print("killed" if time.monotonic() - began > leash._STOP_GRACE else "ended")
                for unread in b"", bytes(8_000_000):
                    try:
                        await host.run(["sleep", "62"], stdin=unread, timeout=1)
                    except HostError as error:
                        assert "no answer within 1 s; it was ended" in str(error), error
                        assert "or so" not in str(error), error
                await host.close()
            """
        )
        assert text.split()[1::2] == ["ended", "killed"]
        assert place.run("jump", "pgrep -f '[s]leep 6[012]'").text == ""
    finally:
        for file in covered:
            place.check("jump", f"umount -l {file}")


def test_stream_is_ended_on_the_host_also_through_sudo(place: Place) -> None:
    text = place.python(
        """
        async def work():
            host = Ssh("gateway", "gw", become=True)
            process = await host.start(["sh", "-c", "id -u; seq 200000; exec sleep 71"])
            said = lines(process.output())
            print(await anext(said))
            await asyncio.sleep(0.5)
            await process.stop()
            print(len([line async for line in said]))
            try:
                await host.run(["sleep", "71"], stdin=bytes(8_000_000), timeout=1)
            except HostError as error:
                assert "it was ended\\n" in str(error), error
            short = await host.start(["printf", "no end of line"])
            print([line async for line in lines(short.output())])
            await short.stop()
            await host.close()
        """
    )
    assert text == "b'0\\n'\n200000\n[b'no end of line']\n"
    assert place.run("gateway", "pgrep -f '[s]leep 71'").text == ""


def test_cancelled_command_is_ended_before_the_rollback_begins(place: Place) -> None:
    text = place.python(
        """
        async def work():
            host = Ssh("gateway", "gw", become=True)
            task = asyncio.create_task(host.run(["sleep", "73"], stdin=b"read by nobody"))
            await asyncio.sleep(0.5)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print((await host.run(["pgrep", "-f", "[s]leep 73"])).returncode)
            await host.close()
        """
    )
    assert text == "1\n"


def test_unknown_key_is_refused_with_its_fingerprint(place: Place) -> None:
    place.known("")
    place.config(CONFIG + "StrictHostKeyChecking no\nUserKnownHostsFile none\n")
    said = place.ask("gw")
    assert f"its host key is not known: ssh-ed25519 {place.fingerprint('gateway')}" in said
    assert "where the first name of UserKnownHostsFile is no file now" in said
    assert "connect once with `ssh -o StrictHostKeyChecking=ask gw`" in said
    assert place.check("controller", "cat /tmp/home/.ssh/known_hosts") == ""


def test_changed_key_is_refused_with_both_fingerprints(place: Place) -> None:
    place.known(f"{served_as('gateway')} {place.host_key('app')}\n")
    said = place.ask("gw")
    assert "its host key has changed" in said
    assert place.fingerprint("gateway") in said
    assert place.fingerprint("app") in said
    assert "known_hosts -R '[10.0.43.101]:2222'`" in said


def test_key_of_another_kind_is_a_changed_one(place: Place) -> None:
    place.check("controller", "cd /tmp && rm -f ec ec.pub && ssh-keygen -q -t ecdsa -N '' -f ec")
    place.known(f"{served_as('gateway')} {place.check('controller', 'cat /tmp/ec.pub')}\n")
    said = place.ask("gw")
    assert f"it shows ssh-ed25519 {place.fingerprint('gateway')}" in said
    assert "known_hosts has ecdsa-sha2-nistp256 SHA256:" in said


def test_hashed_and_alias_entries_are_found(place: Place) -> None:
    place.check("controller", "ssh-keygen -q -H -f /tmp/home/.ssh/known_hosts 2>/dev/null")
    assert "10.0.43" not in place.check("controller", "cat /tmp/home/.ssh/known_hosts")
    assert place.ask("gw") == "ops"
    place.known(f"the-gateway {place.host_key('gateway')}\n")
    place.config("Host gw\n    HostKeyAlias the-gateway\n" + CONFIG)
    assert place.ask("gw") == "ops"


def test_revoked_key_and_authority(place: Place) -> None:
    right = f"{served_as('gateway')} {place.host_key('gateway')}\n"
    place.known(right + f"@revoked * {place.host_key('gateway')}\n")
    assert "its host key is refused: Host key is revoked" in place.ask("gw")
    # Revoked for the port, and known without one.
    place.known(f"@revoked {right}10.0.43.101 {place.host_key('gateway')}\n")
    assert "Host key is revoked" in place.ask("gw")
    place.known(f"@cert-authority * {place.host_key('app')}\n")
    assert "known_hosts names an authority for it" in place.ask("gw")


def test_key_of_an_address_is_not_one_of_a_name(place: Place) -> None:
    """Who forges the name service must not be able to bring in another machine that is known."""
    place.check("controller", "echo 10.0.43.15 gateway.example >> /etc/hosts")
    said = place.ask("root@gateway.example")
    assert f"its host key is not known: ssh-ed25519 {place.fingerprint('app')}" in said
    place.known(f"gateway.example,10.0.43.15 {place.host_key('app')}\n")
    assert place.ask("root@gateway.example") == "root"


def test_host_certificate(place: Place) -> None:
    place.check("jump", "cd /tmp/sshd && rm -f ca* && ssh-keygen -q -t ed25519 -N '' -f ca")
    place.check("jump", "cd /tmp/sshd && ssh-keygen -q -s ca -I jump -h -n 10.0.43.50 key.pub")
    place.check("jump", "cd /tmp/sshd && echo HostCertificate /tmp/sshd/key-cert.pub >> config")
    place.check("jump", "kill -HUP $(cat /tmp/sshd/pid) && sleep 0.3")
    authority = " ".join(place.check("jump", "cat /tmp/sshd/ca.pub").split()[:2])
    place.known(f"@cert-authority 10.0.43.* {authority}\n")
    assert place.ask("root@10.0.43.50") == "root"
    place.known(f"@cert-authority * {place.host_key('app')}\n")
    assert "signed by an authority that is not known: ssh-ed25519 SHA256:" in place.ask("root@10.0.43.50")
    place.known("")
    assert f"its host key is not known: ssh-ed25519 {place.fingerprint('jump')}" in place.ask(
        "root@10.0.43.50"
    )


def test_login_with_a_certificate_and_with_the_agent(place: Place) -> None:
    place.check("controller", "cd /tmp && rm -f ca ca.pub && ssh-keygen -q -t ed25519 -N '' -f ca")
    place.check("controller", "cd /tmp && ssh-keygen -q -s ca -I me -n ops home/.ssh/stranger.pub")
    authority = place.check("controller", "cat /tmp/ca.pub")
    old = place.check("gateway", "cat /tmp/sshd/authorized_keys")
    place.check("gateway", "cat > /tmp/sshd/authorized_keys", stdin=f"cert-authority {authority}\n".encode())
    try:
        place.config(CONFIG.replace("~/.ssh/other", "~/.ssh/stranger"))
        assert place.ask("gw") == "ops"
    finally:
        place.check("gateway", "cat > /tmp/sshd/authorized_keys", stdin=old.encode())
        place.check("controller", "rm /tmp/home/.ssh/stranger-cert.pub")
    place.check("controller", "ssh-agent -a /tmp/agent >/dev/null")
    agent = "SSH_AUTH_SOCK=/tmp/agent"
    place.check("controller", f"{agent} ssh-add -q /tmp/home/.ssh/other")
    place.config(CONFIG.replace("IdentitiesOnly yes", "").replace("~/.ssh/other", "~/.ssh/not_there"))
    assert place.ask("gw", more=agent) == "ops"
    assert place.ask("gw", more="SSH_AUTH_SOCK=/tmp/no-agent") == "ops"  # with the key of `Host *`
    # Only the public half is a file.
    place.check("controller", "cp /tmp/home/.ssh/other.pub /tmp/home/.ssh/half.pub")
    place.config(
        CONFIG.replace("~/.ssh/other", "~/.ssh/half").replace("    IdentityFile ~/.ssh/id_ed25519\n", "")
    )
    assert place.ask("gw", more=agent) == "ops"


def test_wrong_key(place: Place) -> None:
    place.config("Host *\n    IdentityFile ~/.ssh/stranger\n    IdentitiesOnly yes\n    Port 2222\n")
    said = place.ask("ops@10.0.43.101")
    print_of = place.check("controller", "ssh-keygen -lf /tmp/home/.ssh/stranger.pub").split()[1]
    assert "tried to connect to ops@10.0.43.101 port 2222 with SSH: authentication failed" in said
    assert "the host accepts publickey" in said
    assert f"offered ~/.ssh/stranger ({print_of})" in said
    assert "PRIVATE" not in said


def test_unreachable(place: Place) -> None:
    assert "connection refused" in place.ask("ssh://root@10.0.43.15:23")
    assert "with SSH: No route to host" in place.ask("root@10.0.43.77")
    assert "the name nowhere.invalid is not resolved" in place.ask("root@nowhere.invalid")
    said = place.ask("ssh://root@10.0.43.15:9/path")
    assert "is no port" in said or "names no host" in said
    place.config("ConnectTimeout 1\n" + CONFIG)
    place.check(
        "jump", "nft 'table ip drops { chain c { type filter hook input priority 0; tcp dport 22 drop; }; }'"
    )
    try:
        said = place.ask("root@10.0.43.50")
        assert "tried to connect to root@10.0.43.50 port 22 with SSH: no answer within 1 s" in said
        said = place.ask("inner")
        assert "root@10.0.43.50 port 22 with SSH: no answer" in said
    finally:
        place.check("jump", "nft delete table ip drops")
    place.config(CONFIG.replace("10.0.60.2", "10.0.60.1").replace("User root", "User root\n    Port 24"))
    assert (
        "root@10.0.60.1 port 24 with SSH via the jump host root@10.0.43.50 port 22: "
        "the jump host root@10.0.43.50 port 22 does not get through" in place.ask("inner")
    )
    place.config("Host a\n    ProxyJump b\nHost b\n    ProxyJump a\n")
    assert "ProxyJump leads in circles" in place.ask("a")
    place.config("Port many\n")
    said = place.ask("root@10.0.43.15")
    assert "`ssh -G` says: /tmp/home/.ssh/config line 1: Bad port 'many'" in said, said


def test_no_ssh_behind_the_port(place: Place) -> None:
    place.check(
        "app",
        "printf 'HTTP/1.0 400 no\\r\\n\\r\\n' | nc -N -l 8022 >/dev/null 2>&1 & "
        "until ss -Hltn | grep -q :8022; do kill -0 $! || exit; done",
    )
    said = place.ask("ssh://root@10.0.43.15:8022")
    assert "ended the connection before the login" in said or "no algorithm" in said, said


HOSTILE = r"\033[2J\033]0;x\007\302\233 2J\342\200\256\r"


@pytest.mark.parametrize(
    "says",
    [
        rf"{HOSTILE}\nSSH-2.0-{HOSTILE}\n",  # lines before the version are allowed (RFC 4253, 4.2)
        rf"SSH-2.0-a\r\n\0\0\0\074\004{HOSTILE * 8}",
        # SSH_MSG_DISCONNECT with a description (RFC 4253, 11.1)
        r"SSH-2.0-a\r\n\0\0\0\046\006\001\0\0\0\002\0\0\0\022\033[2J\033]0;x\007\302\233 2J---\0\0\0\0______",
    ],
    ids=["version", "nonsense", "disconnect"],
)
def test_what_a_stranger_says_reaches_no_terminal(place: Place, says: str) -> None:
    place.check(
        "app",
        f"printf '{says}' | nc -N -l 8023 >/dev/null 2>&1 & "
        "until ss -Hltn | grep -q :8023; do kill -0 $! || exit; done",
    )
    said = place.ask("ssh://root@10.0.43.15:8023")
    assert said
    assert is_harmless(said.encode()), said


def test_a_banner_reaches_no_terminal(place: Place) -> None:
    place.check("app", f"printf '{HOSTILE}\n%s' \"$(seq 20000)\" >/tmp/sshd/banner")
    with sshd_with(place, "app", "Banner /tmp/sshd/banner"):
        place.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
        ran = place.crossnet("facts app -v")
        assert ran.ok
        assert is_harmless(ran.stdout + ran.stderr)
        refused = place.ask("nobody@10.0.43.15")
        assert is_harmless(refused.encode()), refused


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("noisy", "its profile prints even where no terminal is: 'Welcome to this host'"),
        ("fishy", "it is not a POSIX shell"),
        ("nobash", "This account is currently not available."),
    ],
)
def test_login_shell_that_does_not_do(place: Place, user: str, told: str) -> None:
    said = place.ask(f"{user}@10.0.43.15")
    assert f"tried the login shell of {user}@10.0.43.15 port 22" in said
    assert told in said


@pytest.mark.parametrize(
    ("prints", "told"),
    [
        ("echo", "'\\n'"),
        ("printf '  '", "'  '"),
        (r"printf '\033]0;x\007'", r"'\x1b]0;x\x07'"),
        (r"printf '\377\000no end of line'", "no end of line'"),
        ("yes endless", "'endless'"),
    ],
    ids=["newline", "blanks", "escape", "binary", "endless"],
)
def test_profile_that_prints_anything_at_all(place: Place, prints: str, told: str) -> None:
    place.check("app", "cat > /tmp/home/noisy/.bashrc", stdin=f"{prints}\n".encode())
    try:
        said = place.ask("noisy@10.0.43.15")
        assert f"its profile prints even where no terminal is: {told}" in said or told in said, said
        assert "its profile prints even where no terminal is" in said
        assert "\x1b" not in said
    finally:
        place.check("app", "echo 'echo Welcome to this host' > /tmp/home/noisy/.bashrc")


@contextmanager
def sshd_with(place: Place, host: str, line: str) -> Iterator[None]:
    """The sshd of a host with one more line in its configuration."""
    reload = "kill -HUP $(cat /tmp/sshd/pid) && sleep 0.3"
    place.check(
        host, f"cp /tmp/sshd/config /tmp/sshd/old && echo {shlex.quote(line)} >> /tmp/sshd/config && {reload}"
    )
    try:
        yield
    finally:
        place.check(host, f"mv /tmp/sshd/old /tmp/sshd/config && {reload}")


def test_one_session_at_a_time_is_enough(place: Place) -> None:
    with sshd_with(place, "app", "MaxSessions 1"), sshd_with(place, "gateway", "MaxSessions 1"):
        text = place.python(
            """
            async def work():
                host = Ssh("gateway", "gw", become=True)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(host.run(["echo", str(n)])) for n in range(8)]
                print(sum(int(task.result().text) for task in tasks))
                try:
                    await host.run(["sleep", "74"], stdin=bytes(8_000_000), timeout=1)
                except HostError as error:
                    assert "no answer within 1 s; it was ended\\n" in str(error), error
                print((await host.run(["pgrep", "-f", "[s]leep 74"])).returncode)
                await host.close()
            """
        )
        assert text == "28\n1\n"
        place.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
        before = place.bench.fingerprints()
        for command in ("apply --yes", "verify", "undo --yes"):
            answer = place.crossnet(command)
            assert answer.ok, answer.text + answer.error_text
        assert place.bench.differences(before) == []
    with sshd_with(place, "app", "MaxSessions 0"):
        said = place.ask("root@10.0.43.15")
        assert "sshd opens no session for it" in said
        assert "MaxSessions (0 permits none)" in said


def test_jump_host_that_permits_no_way_on(place: Place) -> None:
    with sshd_with(place, "jump", "AllowTcpForwarding no"):
        said = place.ask("inner")
    assert "the jump host root@10.0.43.50 port 22 permits no forwarding" in said, said
    place.known("")
    said = place.ask("inner")
    assert (
        "tried to connect to the jump host root@10.0.43.50 port 22 with SSH: its host key is not known"
        in said
    )


def test_proxy_command_in_a_shell(place: Place) -> None:
    jump = "ProxyJump root@10.0.43.50"
    place.config(CONFIG.replace(jump, "ProxyCommand nc $(echo 10.0.43.15) $((%p + 0))"))
    place.known(f"10.0.60.2 {place.host_key('app')}\n")
    assert place.ask("inner") == "root"
    assert place.run("controller", "pgrep -f 'nc 10[.]0[.]43[.]15'").text == ""
    place.config(CONFIG.replace(jump, "ProxyCommand echo no way to %h >&2; exit 3"))
    said = place.ask("inner")
    assert "the ProxyCommand gives no connection" in said
    assert "and says 'no way to 10.0.60.2'" in said


def test_revoked_in_a_file_of_its_own(place: Place) -> None:
    place.check("controller", "cat > /tmp/home/revoked", stdin=f"{place.host_key('gateway')}\n".encode())
    place.config("RevokedHostKeys ~/revoked\n" + CONFIG)
    said = place.ask("gw")
    assert "its host key is refused: Host key is revoked" in said
    assert "It stands in /tmp/home/revoked (RevokedHostKeys)." in said
    assert place.ask("root@10.0.43.15") == "root"


def test_address_that_is_known_otherwise(place: Place) -> None:
    place.check("controller", "echo 10.0.43.15 checked.example >> /etc/hosts")
    place.config("CheckHostIP yes\n" + CONFIG)
    place.known(f"checked.example {place.host_key('app')}\n10.0.43.15 {place.host_key('gateway')}\n")
    assert "another one is known for its address" in place.ask("root@checked.example")
    place.known(f"checked.example,10.0.43.15 {place.host_key('app')}\n")
    assert place.ask("root@checked.example") == "root"


def test_sudo_without_rights(place: Place) -> None:
    said = place.ask("wheelless@10.0.43.15", become=True)
    assert "tried `sudo -n` as wheelless@10.0.43.15" in said
    assert "wheelless ALL=(root) NOPASSWD: ALL" in said
    place.check("app", "echo 'ops ALL=(root) ALL' > /etc/sudoers")
    place.check("app", "printf '%s required pam_deny.so\\n' auth account > /etc/pam.d/other")
    said = place.ask("ops@10.0.43.15", become=True)
    assert "sudo wants a password" in said, said
    place.check("app", "printf 'Defaults requiretty\\nops ALL=(root) NOPASSWD: ALL\\n' > /etc/sudoers")
    said = place.ask("ops@10.0.43.15", become=True)
    assert "sudo wants a terminal" in said, said
    assert "Defaults:ops !requiretty" in said
    place.check("app", "echo 'ops ALL=(root) NOPASSWD: ALL' > /etc/sudoers")
    assert place.ask("ops@10.0.43.15", become=True) == "root"
    place.check("app", "touch /tmp/none && mount --bind /tmp/none $(command -v sudo)")
    try:
        assert "sudo" in place.ask("ops@10.0.43.15", become=True)
    finally:
        place.check("app", "umount -l /usr/bin/sudo")


def test_cut_in_the_middle_of_a_command(place: Place) -> None:
    """It is told, the command is ended on the host and never repeated; the next one connects anew."""
    text = place.python(
        """
        async def work():
            host = Ssh("app", "root@10.0.43.15")
            await host.run(["rm", "-f", "/tmp/count"])
            task = asyncio.create_task(host.run(["sh", "-c", "echo $PPID >> /tmp/count; sleep 81"]))
            stream = await host.start(["sleep", "82"])
            await asyncio.sleep(0.5)
            killer = Ssh("app", "root@10.0.43.15")
            await killer.run(["sh", "-c", '''
                mine=$$
                while read -r _ _ _ parent _ </proc/$mine/stat; [ "$parent" -gt 1 ]; do
                    mine=$parent
                    chain="$chain $mine"
                done
                for pid in $(pgrep -f 'sshd: root@notty'); do
                    case " $chain " in *" $pid "*) ;; *) kill -KILL $pid ;; esac
                done'''])
            try:
                await task
            except HostError as error:
                print(error)
            try:
                async for line in lines(stream.output()):
                    pass
            except HostError as error:
                print("stream:", error)
            await stream.stop()
            print((await host.run(["wc", "-l", "/tmp/count"])).text.strip())
            await asyncio.sleep(3)
            print((await host.run(["pgrep", "-f", "[s]leep 8[12]"])).returncode)
            await host.close()
            await killer.close()
        """
    )
    assert "ran `sh -c echo $PPID >> /tmp/count; sleep 81` as root" in text
    assert "as root@10.0.43.15 port 22 with SSH: the connection was cut" in text
    assert "stream: app: ran `sleep 82`" in text
    assert text.splitlines()[-2:] == ["1 /tmp/count", "1"], text


def test_silent_network_is_noticed(place: Place) -> None:
    try:
        text = place.python(
            """
            from crossnet.transport.ssh import settings
            settings.KEEPALIVE_INTERVAL = 1
            async def work():
                host = Ssh("jump", "root@10.0.43.50")
                try:
                    await host.run(["sh", "-c", '''
                        nft "table ip drops { chain c { type filter hook input priority 0; tcp dport 22 drop; }; }"
                        sleep 20'''])
                except HostError as error:
                    print(error)
            """
        )
        assert "the connection was cut" in text
    finally:
        place.check("jump", "nft delete table ip drops")


def test_half_of_the_input_is_never_taken_for_the_whole(place: Place) -> None:
    """A cut while a file is sent leaves the old file."""
    place.python(
        """
        from pathlib import PurePosixPath
        from crossnet.transport.ssh import command
        async def work():
            host = Ssh("app", "root@10.0.43.15")
            path = PurePosixPath("/tmp/precious")
            await host.write(path, b"old")
            def half(self, data):
                self.channel.write(data[:len(data) // 2])
            command.Command.feed = half
            try:
                script = "cat > /tmp/aside; mv /tmp/aside /tmp/precious"
                await host.run(["sh", "-c", script], stdin=b"new" * 100, timeout=1)
            except HostError:
                pass
            await host.close()
        """
    )
    assert place.check("app", "cat /tmp/precious") == "old"


def test_asyncssh_is_not_imported_without_need() -> None:
    code = (
        "import sys, crossnet.cli, crossnet.api, crossnet.site;"
        "sys.exit('asyncssh' in sys.modules or 'cryptography' in sys.modules)"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_connect_does_the_whole_job_without_a_spec_file(place: Place) -> None:
    before = place.bench.fingerprints()
    way = "root@10.0.43.15 --via ssh://root@10.0.43.101:2222 --to 10.0.44.0/24"
    how = "--allow icmp --allow tcp/443 --probe icmp/10.0.44.1 --egress eth0 --snat 10.0.44.63"
    answer = place.crossnet(f"connect {way} {how} --save /tmp/kept.yaml --yes")
    assert answer.ok, answer.text + answer.error_text
    assert "Confirmed." in answer.text
    assert "crossing from-10.0.43.15-to-10.0.44.0-24: " in answer.text
    assert "No changes." in place.crossnet("plan -f /tmp/kept.yaml").text
    assert place.bench.pings("app", "10.0.44.1")
    assert "up" in place.crossnet("status -f /tmp/kept.yaml").text
    again = place.crossnet(f"connect {way} --save /tmp/kept.yaml --yes")
    assert not again.ok
    assert "already exists" in again.error_text
    assert "Undone." in place.crossnet("undo -f /tmp/kept.yaml --yes").text
    assert place.bench.differences(before) == []


def test_connect_without_a_file_adds_and_can_be_taken_back(place: Place) -> None:
    before = place.bench.fingerprints()
    place.check("target", "ip address add 10.0.44.2/24 dev eth0")
    way = "root@10.0.43.15 --via ssh://root@10.0.43.101:2222 --to 10.0.44.{} --allow icmp --probe icmp/10.0.44.{}"
    for last in (1, 2):
        answer = place.crossnet(f"connect {way.format(last, last)} --yes")
        assert answer.ok, answer.text + answer.error_text
        assert place.bench.pings("app", f"10.0.44.{last}")
    assert place.bench.pings("app", "10.0.44.1"), "the second need leaves the first as it is"
    advised = re.findall("`(crossnet [^`]*)`", answer.text)
    listed, init, undo = advised[-3:]
    assert "10.0.44.1" in place.crossnet(listed.removeprefix("crossnet ")).text
    for command in (init, f"{undo} --yes"):
        done = place.crossnet(command.removeprefix("crossnet "))
        assert done.ok, done.text + done.error_text
    file = init.split()[-1]
    assert not place.bench.pings("app", "10.0.44.2")
    assert place.bench.pings("app", "10.0.44.1")
    assert place.crossnet(f"undo --all --yes -f {file}").ok
    place.check("target", "ip address del 10.0.44.2/24 dev eth0")
    place.run("controller", f"rm /tmp/{file}")
    assert place.bench.differences(before) == []


def test_connect_keeps_the_spec_from_before_the_first_change(place: Place) -> None:
    """Killed at the first instant at which there is one: whoever is left with it can recover."""
    before = place.bench.fingerprints()
    way = "root@10.0.43.15 --via ssh://root@10.0.43.101:2222 --to 10.0.44.0/24 --save /tmp/kept-early.yaml"
    refused = place.crossnet(f"connect {way.replace('/tmp/', '/tmp/none/')} --yes")
    assert "cannot write /tmp/none/kept-early.yaml: No such file or directory" in refused.error_text
    assert place.bench.differences(before) == []
    asked = place.crossnet(f"connect {way}")
    assert not asked.ok
    assert "there is no terminal to ask" in asked.error_text
    assert not place.run("controller", "test -e /tmp/kept-early.yaml").ok

    place.here(
        f"{PYTHON} -m crossnet connect {way} --yes >/tmp/said 2>&1 & "
        "until [ -s /tmp/kept-early.yaml ]; do kill -0 $! || exit; done; kill -KILL $!; wait $!"
    )
    assert "Confirmed." not in place.check("controller", "cat /tmp/said")
    recovered = place.crossnet("recover -f /tmp/kept-early.yaml --yes")
    assert "recover" in recovered.text.lower(), recovered.error_text
    assert place.bench.differences(before) == []


def test_a_diagnosis_without_a_spec_offers_the_crossing_that_the_flow_needs(place: Place) -> None:
    before = place.bench.fingerprints()
    place.run("controller", "rm -f /tmp/crossnet.yaml")
    flow = "diagnose --from root@10.0.43.15 --to 10.0.44.1 --become"
    for gateways in ("", " --via gw --via root@10.0.43.50"):
        refused = place.crossnet(f"{flow}{gateways} --fix --yes")
        assert refused.returncode == 1
        assert "name it with --via B" in refused.error_text
        assert "`crossnet init`" in refused.error_text
    asked = place.crossnet(f"{flow} --via gw --fix")
    needed = "crossnet connect root@10.0.43.15 --via gw --to 10.0.44.1 --probe icmp/10.0.44.1 --become"
    assert f"with crossnet: `{needed}`" in " ".join(asked.text.split())
    assert re.search(r"opens .* 10\.0\.43\.15 → 10\.0\.44\.1(/32)?: any traffic", asked.text)
    assert "there is no terminal to ask" in asked.error_text
    assert place.bench.differences(before) == []

    fixed = place.crossnet(f"{flow} --via gw --fix --yes")
    assert fixed.ok, fixed.text + fixed.error_text
    assert "Confirmed." in fixed.text
    assert place.bench.pings("app", "10.0.44.1")
    assert place.crossnet(f"{flow} --via gw --fix --yes").ok, "nothing is left to do"
    shows, init, undo = re.findall(r"`crossnet ([^`]+)`", fixed.text.splitlines()[-1])
    assert "10.0.44.1" in place.crossnet(shows).check().text
    place.crossnet(init).check()
    place.crossnet(f"{undo} --yes").check()
    place.run("controller", f"rm /tmp/{init.split()[-1]}")
    assert place.bench.differences(before) == []


def test_what_is_connected_stays_beside_the_specs_of_others_and_is_taken_back_as_advised(
    place: Place,
) -> None:
    before = place.bench.fingerprints()
    to = "--via gw --become --to 10.0.44.1"
    first = place.crossnet(f"connect root@10.0.43.15 {to} --allow icmp --yes").check().text
    second = place.crossnet(f"connect 10.0.43.77 {to} --name helpdesk --message CHG7 --yes")
    assert second.returncode == 8, second.text + second.error_text  # nobody can send a probe from there
    others = SPEC.replace("from: app", "from: 10.0.43.78").replace(", probe: icmp/10.0.44.1", "")
    place.check(
        "controller",
        "cat > /tmp/crossnet.yaml",
        stdin=others.replace("  app: {ssh: root@10.0.43.15}\n", "").encode(),
    )
    assert place.crossnet("apply --yes").returncode == 8

    def carried() -> set[str]:
        return set(re.findall(r"crossing (\S+) of spec", place.crossnet("list gateway").check().text))

    own = "10.0.43.15-to-10.0.44.1"
    assert carried() == {f"from-{own}", "helpdesk", "business"}
    shows, init, undo = re.findall(r"`crossnet ([^`]+)`", first.splitlines()[-1])
    assert place.crossnet(shows).ok
    place.crossnet(init).check()
    place.crossnet(f"{undo} --yes").check()
    assert carried() == {"helpdesk", "business"}
    assert not place.bench.pings("app", "10.0.44.1")
    again = re.findall(r"`crossnet ([^`]+)`", second.text.splitlines()[-1])
    place.crossnet(again[1]).check()
    place.crossnet(f"{again[2]} --yes").check()
    place.crossnet("undo --yes").check()
    assert place.bench.differences(before) == []
