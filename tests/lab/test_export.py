"""What `crossnet export` writes, run on the lab's hosts by other means than crossnet's."""

from __future__ import annotations

import asyncio
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import crossnet
from crossnet.export import Format, export
from crossnet.health import State
from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint
from crossnet.netfilter import Engine
from crossnet.planning import Plan
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from lab.crossing import Bench
from lab.elsewhere import PYTHON, python_path
from lab.engines import WITH_IPTABLES_LEGACY, WITH_IPTABLES_NFT
from lab.test_commands import Desk, Ran

# The hosts with a real sshd; a name that is a fixture there is one here.
from lab.test_ssh import Place, lab_with_sshd, place  # noqa: F401

pytestmark = pytest.mark.lab

SHELLS = (("dash",), ("bash",), ("busybox", "sh"))
DASH, BASH, BUSYBOX = SHELLS

# Each two of engine, family and shell meet once: what breaks depends on one of them, or on two.
PAIRS = (
    (Engine.NFTABLES, 4, (DASH, BUSYBOX)),
    (Engine.NFTABLES, 6, (BASH,)),
    (Engine.IPTABLES_NFT, 4, (BASH,)),
    (Engine.IPTABLES_NFT, 6, (DASH, BUSYBOX)),
    (Engine.IPTABLES_LEGACY, 4, (DASH,)),
    (Engine.IPTABLES_LEGACY, 6, (BASH, BUSYBOX)),
)
VARIANTS = ((Engine.IPTABLES_NFT, 4, (BASH,)), (Engine.IPTABLES_LEGACY, 6, (BASH, BUSYBOX)))
LEGACY = {4: "iptables-legacy -w -A OUTPUT -d 192.0.2.77", 6: "ip6tables-legacy -w -A OUTPUT -d 2001:db8::77"}
TARGETS = {4: "10.0.44.1", 6: "fd00:44::1"}
NETWORKS = {4: "10.0.44.0/24", 6: "'fd00:44::/64'"}
COUNTED = "{ nft -j list ruleset; iptables-legacy-save -c; } | grep -v '^#'"
# Packets and bytes, as nft prints them in JSON and iptables-save in front of a rule.
COUNTER = re.compile(r'"packets": (\d+), "bytes": (\d+)|\[(\d+):(\d+)\]')
RECORD = re.compile(r"^[0-9a-f]{64} .*/var/lib/crossnet/applied\.json$")
BESIDE = re.compile(r"(files|contents): .* /var/lib/crossnet/(?!applied\.json\b)")


def settled(one: Fingerprint) -> Fingerprint:
    """Without the random number with which each ipset begins to hash, and the digest of a record: it holds a time."""
    return Fingerprint(
        {
            name: tuple(line.split(" initval ")[0] for line in lines if not RECORD.search(line))
            for name, lines in one.sections.items()
        }
    )


def has_counted_on(before: str, after: str) -> bool:
    """Whether these are the same rules, handles and all, and no counter is less than it was."""
    had, have = ([int(n) for found in COUNTER.findall(text) for n in found if n] for text in (before, after))
    return COUNTER.sub("", before) == COUNTER.sub("", after) and all(map(operator.le, had, have))


@dataclass(frozen=True, slots=True)
class Outside(Bench):
    """A bench whose hosts are changed by exported scripts."""

    def scripts(self, plan: Plan) -> dict[str, str]:
        """The script of each host, in the order in which they are to be run."""
        return {one.host: one.text for one in export(plan, Format.SH) if one.host is not None}

    def run_script(self, host: str, text: str, *words: str, shell: Sequence[str] = ("dash",)) -> Completed:
        """The script is fed to a shell, as `ssh HOST sh -s < SCRIPT` does."""
        there = LabHost(host, self.lab.socket(host))
        return asyncio.run(there.run([*shell, "-s", *words], stdin=text.encode()))

    def make(self, scripts: Mapping[str, str], shell: Sequence[str] = ("dash",)) -> None:
        for host, text in scripts.items():
            done = self.run_script(host, text, shell=shell).check()
            assert done.text.endswith("Done.\n")
            assert done.error_text == ""

    def take_back(self, scripts: Mapping[str, str], shell: Sequence[str] = ("dash",)) -> None:
        for host, text in reversed(list(scripts.items())):
            done = self.run_script(host, text, "undo", shell=shell).check()
            assert "Undone" in done.text
            assert done.error_text == ""

    def others(self, before: Mapping[str, Fingerprint]) -> list[str]:
        """The differences, apart from what differs each time crossnet does it.

        That is what it keeps beside its record (times, numbers of transactions), and where ipset begins to hash.
        """
        after = self.fingerprints()
        lines = (
            f"{host}: {line}"
            for host, old in before.items()
            for line in settled(old).differences(settled(after[host]))
        )
        return [line for line in lines if not BESIDE.search(line)]


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Callable[..., Outside]:
    def make(topology: str = "seed", *managed: str) -> Outside:
        return Outside(lab_up(topology), managed or ("app", "gateway"))

    return make


def engine_words(bench: Bench, engine: Engine, family: int) -> str:
    """The spec's words for an engine; a variant of iptables is the one that holds a rule already."""
    if engine is Engine.NFTABLES:
        return "firewall: nftables"
    words = LEGACY[family] if engine is Engine.IPTABLES_LEGACY else LEGACY[family].replace("legacy", "nft")
    bench.check("gateway", f"{words} -j ACCEPT")
    return "firewall: iptables"


@pytest.mark.parametrize(
    ("engine", "family", "shells"),
    [
        pytest.param(*each, id=f"{each[0]}-{each[1]}", marks=pytest.mark.variants if each in VARIANTS else ())
        for each in PAIRS
    ],
)
def test_scripts_do_what_apply_does(
    bench: Callable[..., Outside], engine: Engine, family: int, shells: Sequence[Sequence[str]]
) -> None:
    b = bench("seed" if family == 4 else "seed-v6")
    words = engine_words(b, engine, family)
    spec = b.spec(f"to: {NETWORKS[family]}, {words}")
    b.apply(spec)
    b.undo(spec)  # the built-in chains of iptables-nft are there from now on, whoever used them first
    before = b.fingerprints()
    b.apply(spec)
    applied = b.fingerprints()
    b.undo(spec)
    assert b.differences(before) == []
    scripts = b.scripts(b.plan(spec))
    assert list(scripts) == ["gateway", "app"]

    for shell in shells:
        b.make(scripts, shell)

        assert b.others(applied) == []
        assert b.pings("app", TARGETS[family])
        plan = b.plan(spec)
        assert plan.is_empty
        assert not plan.touched
        counted = b.check("gateway", COUNTED)
        for host, text in scripts.items():
            again = b.run_script(host, text, shell=shell).check()
            assert "nothing to do" in again.text
            assert again.error_text == ""
        # No rule was made again: what its counter had seen it still has, with what came since.
        assert has_counted_on(counted, b.check("gateway", COUNTED))

        b.take_back(scripts, shell)
        assert b.differences(before) == []
        for host, text in scripts.items():
            assert "nothing to undo" in b.run_script(host, text, "undo", shell=shell).check().text

    b.make(scripts)
    (state,) = asyncio.run(crossnet.status(spec))
    assert state.state is State.UNPROVED  # nobody has looked yet
    b.undo(spec)
    assert b.differences(before) == []


@pytest.mark.parametrize("engine", WITH_IPTABLES_LEGACY)
def test_script_changes_what_another_plan_made(bench: Callable[..., Outside], engine: Engine) -> None:
    """Several clients and destinations (ipsets), then others, and no translation: chains and sets go."""
    b = bench()
    words = engine_words(b, engine, 4)
    b.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    own = "crossings:\n  business: {from: [app, 10.0.43.64/28], via: gateway, probe: icmp/10.0.44.1, "
    first = b.spec(f"{own}to: [10.0.44.1, 10.0.44.16/28], {words}}}\n")
    second = b.spec(f"{own}to: [10.0.44.1, 10.0.44.32/28], translate: none, {words}}}\n")
    b.apply(first)
    b.apply(second)
    wanted = b.fingerprints()
    b.apply(first)
    had = b.fingerprints()

    scripts = b.scripts(b.plan(second))
    b.make(scripts)

    assert b.others(wanted) == []
    assert b.plan(second).is_empty
    for host, text in scripts.items():
        assert "nothing to do" in b.run_script(host, text).check().text
    b.take_back(scripts)
    assert b.others(had) == []
    assert b.plan(first).is_empty
    assert b.pings("app", "10.0.44.1")


def test_rules_that_somebody_changed_are_put_right_and_only_they(bench: Callable[..., Outside]) -> None:
    b = bench()
    spec = b.spec("to: 10.0.44.0/24")
    scripts = b.scripts(b.plan(spec))
    b.make(scripts)
    held = b.fingerprints()
    b.check("gateway", "nft flush chain ip crossnet forward")
    assert b.differences(held) != []
    told = b.run_script("gateway", scripts["gateway"]).check().text
    assert "3 of 15: + table crossnet" in told
    assert told.count("is so already") == 14
    assert b.differences(held) == []


def test_rules_are_loaded_again_where_they_cannot_be_compared(bench: Callable[..., Outside]) -> None:
    b = bench()
    scripts = b.scripts(b.plan(b.spec("to: 10.0.44.0/24")))
    b.make(scripts)
    held = b.fingerprints()
    b.check("gateway", "mount --bind /bin/false $(readlink -f $(command -v unshare))")
    told = b.run_script("gateway", scripts["gateway"]).check()
    assert "3 of 15: + table crossnet" in told.text
    assert told.text.endswith("Done.\n")
    assert b.differences(held) == []


@pytest.mark.parametrize("way", ["the script goes on", "the script goes back", "crossnet goes back"])
def test_script_that_stops_halfway(bench: Callable[..., Outside], way: str) -> None:
    b = bench()
    spec = b.spec("to: 10.0.44.0/24")
    before = b.fingerprints()
    b.apply(spec)
    applied = b.fingerprints()
    b.undo(spec)
    scripts = b.scripts(b.plan(spec))
    b.check(
        "gateway",
        "mkdir -p /etc/crossnet && mount --bind /etc/crossnet /etc/crossnet && mount -o remount,bind,ro /etc/crossnet",
    )

    stopped = b.run_script("gateway", scripts["gateway"])

    assert stopped.returncode == 4
    assert "STOPPED: change 5 of 15 failed" in stopped.error_text
    assert "Read-only file system" in stopped.error_text
    assert "run it with the argument undo" in stopped.error_text
    assert "6 of 15" not in stopped.text
    assert not b.pings("app", "10.0.44.1")
    b.check("gateway", "umount /etc/crossnet")
    if way == "the script goes on":
        b.make(scripts)
        assert b.others(applied) == []
    elif way == "the script goes back":
        told = b.run_script("gateway", scripts["gateway"], "undo").check().text
        assert told.count("as before already") == 11
        assert b.differences(before) == []
    else:
        b.undo(spec)
        assert b.differences(before) == []


def changed_setting(b: Outside) -> None:
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")


def file_of_another(b: Outside) -> None:
    b.check("gateway", "echo theirs > /etc/sysctl.d/99-zz-crossnet.conf")


def applied_otherwise(b: Outside) -> None:
    b.apply(b.spec("to: 10.0.44.0/25, probe: icmp/10.0.44.1"))


def unfinished(b: Outside) -> None:
    b.check(
        "gateway",
        "mkdir -p -m 700 /var/lib/crossnet/transaction && echo '{}' > /var/lib/crossnet/transaction/journal.json",
    )


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (changed_setting, "sysctl net.ipv4.ip_forward"),
        (file_of_another, "file /etc/sysctl.d/99-zz-crossnet.conf"),
        (applied_otherwise, "crossnet changed this host after the script was made"),
        (unfinished, "A transaction of crossnet is not finished here"),
    ],
)
def test_script_refuses_a_host_that_moved(
    bench: Callable[..., Outside], move: Callable[[Outside], None], told: str
) -> None:
    b = bench()
    scripts = b.scripts(b.plan(b.spec("to: 10.0.44.0/24")))
    move(b)
    held = b.fingerprints()
    for words in ((), ("undo",)):
        refused = b.run_script("gateway", scripts["gateway"], *words)
        assert refused.returncode == 1
        assert "Nothing was changed." in refused.error_text
        assert told in refused.error_text or words
        assert b.differences(held) == []


def test_script_refuses_what_it_is_not_for(bench: Callable[..., Outside]) -> None:
    b = bench()
    scripts = b.scripts(b.plan(b.spec("to: 10.0.44.0/24")))
    held = b.fingerprints()
    text = scripts["gateway"]
    elsewhere = b.run_script("app", text)
    assert (elsewhere.returncode, elsewhere.text) == (1, "")
    assert "this script is for gateway" in elsewhere.error_text
    wrong = b.run_script("gateway", text, "udno")
    assert (wrong.returncode, wrong.text) == (1, "")
    assert "The only argument that it takes is undo" in wrong.error_text
    nobody = b.run_script("gateway", text, shell=("setpriv", "--reuid=65534", "--clear-groups", "dash"))
    assert (nobody.returncode, nobody.text) == (1, "")
    assert "as root" in nobody.error_text
    lines = text.splitlines(keepends=True)
    for part in (1 / 4, 1 / 2, 3 / 4):
        b.run_script("gateway", "".join(lines[: int(len(lines) * part)]))
    b.run_script("gateway", "".join(lines[:-1]))
    assert b.differences(held) == []


def test_file_of_another_comes_back_byte_for_byte(bench: Callable[..., Outside]) -> None:
    b = bench()
    # No text, what ends a document in a script, and no end of the last line.
    b.check(
        "gateway",
        r"cd /etc/sysctl.d && printf 'END\n\200\377\000 {{ no }}\nEND' > 99-zz-crossnet.conf"
        " && chmod 640 99-zz-crossnet.conf && chown 7:8 99-zz-crossnet.conf",
    )
    spec = b.spec("to: 10.0.44.0/24")
    before = b.fingerprints()
    scripts = b.scripts(b.plan(spec))
    for shell in SHELLS:
        b.make(scripts, shell)
        assert b.plan(spec).is_empty
        b.take_back(scripts, shell)
        assert b.differences(before) == []


def test_a_link_and_a_file_with_rights_of_another_come_back(bench: Callable[..., Outside]) -> None:
    """By an undo and by scripts alike; chown(2) takes bits of the mode away."""
    b = bench()
    b.check(
        "gateway",
        "cd /etc/sysctl.d && ln -s elsewhere 99-zz-crossnet.conf && chown -h 7:8 99-zz-crossnet.conf",
    )
    b.check("app", "cd /etc && mkdir crossnet && echo x >crossnet/routes && chown 7:8 crossnet/routes")
    b.check("app", "chmod 4750 /etc/crossnet/routes")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    b.undo(spec)
    assert b.differences(before) == []
    scripts = b.scripts(b.plan(spec))
    b.make(scripts)
    assert b.plan(spec).is_empty
    b.take_back(scripts)
    assert b.differences(before) == []


# ---- rules alone -----------------------------------------------------------------------------------


def rules(b: Bench) -> dict[str, tuple[str, ...]]:
    """All rules and sets of the gateway."""
    found = settled(b.fingerprints()["gateway"]).sections
    return {name: found[name] for name in ("nftables", "iptables-legacy", "ip6tables-legacy", "ipsets")}


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_rules_alone_are_those_of_apply(bench: Callable[..., Outside], engine: Engine) -> None:
    b = bench("seed-dual")
    words = engine_words(b, engine, 4)
    if engine.is_iptables:
        engine_words(b, engine, 6)
    to = "[10.0.44.1, 10.0.44.16/28, 'fd00:44::/64']"
    spec = b.spec(f"to: {to}, {words}, probe: icmp/10.0.44.1")
    b.apply(spec)
    b.undo(spec)
    plan = b.plan(spec)
    b.apply(spec)
    wanted = rules(b)
    b.undo(spec)

    form = Format.IPTABLES if engine.is_iptables else Format.NFT
    documents = export(plan, form)
    there = LabHost("gateway", b.lab.socket("gateway"))
    for one in documents:
        asyncio.run(there.run(["sh", "-c", f"cat > /tmp/{one.name}"], stdin=one.text.encode())).check()
    # Each says itself how all are loaded; a second time changes nothing.
    load = [line[6:] for line in documents[0].text.splitlines() if line.startswith("#     ")]
    assert len(load) == len(documents)
    for _ in range(2):
        for line in load:
            b.check("gateway", f"cd /tmp && {line}")
        assert rules(b) == wanted


# ---- Ansible ---------------------------------------------------------------------------------------

CONFIG = """\
Host gw
    HostName 10.0.43.101
    User ops
    Port 2222
    IdentityFile /tmp/home/.ssh/other
    IdentitiesOnly yes
Host *
    IdentityFile /tmp/home/.ssh/id_ed25519
    UserKnownHostsFile /tmp/home/.ssh/known_hosts
"""
ANSIBLE = (
    "LC_ALL=C.UTF-8 ANSIBLE_HOME=/tmp/ansible ANSIBLE_NOCOLOR=1 ANSIBLE_PIPELINING=1 ANSIBLE_SSH_TRANSFER_METHOD=piped "
    "ANSIBLE_DEPRECATION_WARNINGS=0 "
    "ANSIBLE_SSH_CONTROL_PATH_DIR=/tmp/cp ANSIBLE_SSH_ARGS='-F /tmp/home/.ssh/config -o ControlMaster=auto "
    "-o ControlPersist=60s' ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_INVENTORY_UNPARSED_WARNING=0"
)


@dataclass(frozen=True, slots=True)
class Controller:
    """Where somebody has a spec, crossnet and Ansible."""

    place: Place

    @property
    def bench(self) -> Outside:
        return Outside(self.place.bench.lab)

    def crossnet(self, words: str) -> str:
        return self.place.crossnet(words).check().text

    def write_spec(self, crossing: str) -> None:
        text = (
            "crossnet: 1\nhosts:\n  app: {ssh: root@10.0.43.15}\n  gateway: {ssh: gw, become: sudo}\n"
            f"crossings:\n  business: {{from: app, via: gateway, {crossing}}}\n"
        )
        self.place.check("controller", "cat > /tmp/crossnet.yaml", stdin=text.encode())

    def play(self, words: str = "") -> tuple[dict[str, dict[str, int]], Completed]:
        """The recap of each host, and all that was said."""
        environment = f"{ANSIBLE} HOME=/tmp/home PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={python_path()}"
        # A home is closed on a host of the lab, and root's PATH is that of the machine.
        variables = f"-e ansible_python_interpreter={PYTHON} -e ansible_remote_tmp=/tmp/ansible-remote"
        line = f"cd /tmp && {environment} {PYTHON} -m ansible playbook play.yml {variables} {words}"
        ran = self.place.run("controller", line, timeout=400)
        recap = ran.text.partition("PLAY RECAP")[2]
        counts = {
            line.split()[0]: {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", line)}
            for line in recap.splitlines()[1:]
            if ":" in line
        }
        return counts, ran

    def changes(self, words: str = "") -> dict[str, int]:
        """How many tasks of each host changed something; no task failed."""
        counts, ran = self.play(words)
        assert ran.ok, ran.text + ran.error_text
        assert "WARNING" not in ran.error_text
        assert counts, ran.text
        return {host: count["changed"] for host, count in counts.items()}


@pytest.fixture
def controller(place: Place) -> Controller:  # noqa: F811
    place.config(CONFIG)
    return Controller(place)


def with_ipv6(b: Outside) -> None:
    for host, link, own in (
        ("app", "eth0", "43::15"),
        ("gateway", "eth1", "43::101"),
        ("gateway", "eth0", "44::63"),
        ("target", "eth0", "44::1"),
    ):
        b.check(host, f"ip -6 addr replace fd00:{own}/64 dev {link} nodad")


@pytest.mark.long
def test_playbook_does_what_apply_does(controller: Controller) -> None:
    """With all that persists, and a file of another in the way, that Ansible could take for a template."""
    b = controller.bench
    b.check("gateway", "echo '# {{ theirs }}' > /etc/sysctl.d/99-zz-crossnet.conf")
    controller.write_spec("to: 10.0.44.0/24, firewall: nftables")
    before = b.fingerprints()
    controller.crossnet("apply --yes")
    applied = b.fingerprints()
    controller.crossnet("undo --yes")
    assert b.differences(before) == []
    controller.crossnet("export --format ansible --out play.yml")
    checked = controller.changes("--check --diff")
    assert checked["gateway"] > 0
    assert b.differences(before) == []

    made = controller.changes()

    assert made["gateway"] > 0
    assert made["app"] > 0
    assert b.others(applied) == []
    assert b.pings("app", TARGETS[4])
    assert controller.crossnet("plan -q").endswith("No changes.\n")
    assert set(controller.changes().values()) == {0}
    undone = controller.changes("--tags undo")
    assert undone["gateway"] > 0
    assert b.differences(before) == []
    b.check("gateway", "rm -f /etc/sysctl.d/99-zz-crossnet.conf")


@pytest.mark.long
@pytest.mark.variants
def test_playbook_does_what_apply_does_with_iptables_in_both_families(controller: Controller) -> None:
    """What persists is copied as with nftables."""
    b = controller.bench
    with_ipv6(b)
    controller.write_spec("to: [10.0.44.0/24, 'fd00:44::/64'], firewall: iptables, persist: none")
    before = b.fingerprints()
    controller.crossnet("apply --yes")
    applied = b.fingerprints()
    controller.crossnet("undo --yes")
    assert b.differences(before) == []
    controller.crossnet("export --format ansible --out play.yml")

    controller.changes()

    assert b.others(applied) == []
    assert all(b.pings("app", target) for target in TARGETS.values())
    assert controller.crossnet("plan -q").endswith("No changes.\n")
    controller.changes("--tags undo")
    assert b.differences(before) == []
    assert set(controller.changes("--tags undo").values()) == {0}


def test_playbook_stops_at_the_first_host_that_moved(controller: Controller) -> None:
    b = controller.bench
    controller.write_spec("to: 10.0.44.0/24, firewall: nftables")
    controller.crossnet("export --format ansible --out play.yml")
    b.check("gateway", "echo theirs > /etc/sysctl.d/99-zz-crossnet.conf")
    held = b.fingerprints()
    counts, ran = controller.play()
    assert not ran.ok
    assert counts["gateway"]["failed"] == 1
    assert "app" not in counts
    assert "Nothing was changed. Make a new plan." in ran.text
    assert b.differences(held) == []
    b.check("gateway", "rm /etc/sysctl.d/99-zz-crossnet.conf")


def test_playbook_does_not_go_on_to_the_next_host_when_one_is_lost(controller: Controller) -> None:
    """Ansible itself would: for it a play that lost its only host in the middle has ended."""
    b = controller.bench
    controller.write_spec("to: 10.0.44.0/24, firewall: nftables")
    controller.crossnet("export --format ansible --out play.yml")
    held = b.fingerprints()
    # What is piped still works, what needs a file there does not; Ansible calls that unreachable.
    counts, ran = controller.play("-e ansible_remote_tmp=/proc/none")
    assert not ran.ok
    assert counts["gateway"]["unreachable"] == 1
    assert "gateway comes first and is not done" in ran.text
    assert counts["app"]["changed"] == 0
    assert [line for line in b.differences(held) if line.startswith("app")] == []
    b.check("gateway", "rmdir --ignore-fail-on-non-empty /var/lib/crossnet")


# ---- the command -----------------------------------------------------------------------------------


def timeless(text: str) -> str:
    """Without the record, which says when it was exported, and its checksums."""
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|[0-9a-f]{64}|[A-Za-z0-9+/=]{60,}", "…", text)


def test_command_writes_documents_where_they_are_wanted(tmp_path: Path, lab_up: Callable[..., Lab]) -> None:
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab_up("seed").name})
    desk.write()

    told = desk.run("export", "--format", "sh", "--json")
    assert (told.code, told.err) == (0, "")
    documents = told.json["documents"]
    assert isinstance(documents, list)
    assert [(one["name"], one["host"], one["file"]) for one in documents] == [
        ("gateway.sh", "gateway", None),
        ("app.sh", "app", None),
    ]
    texts = {one["name"]: one["text"] for one in documents}

    several = desk.run("export", "--format", "sh")
    assert (several.code, several.out) == (1, "")
    assert "there are 2 documents: gateway.sh, app.sh" in several.err
    assert "--out FOLDER" in several.err
    alone = desk.run("export", "--format", "sh", "--host", "app", "-q")
    assert (alone.code, timeless(alone.out), alone.err) == (0, timeless(texts["app.sh"]), "")

    written = desk.run("export", "--format", "sh", "--out", "scripts", "-q")
    assert written == Ran(0, "Wrote scripts/gateway.sh.\nWrote scripts/app.sh.\n", "")
    for name, text in texts.items():
        path = tmp_path / "scripts" / name
        assert timeless(path.read_text()) == timeless(text)
        assert path.stat().st_mode & 0o777 == 0o700
    one = desk.run("export", "--format", "nft", "--out", "rules", "--json").json["documents"]
    assert isinstance(one, list)
    assert [each["file"] for each in one] == ["rules"]
    assert (tmp_path / "rules").stat().st_mode & 0o777 == 0o600
    into = desk.run("export", "--format", "ansible", "--out", "scripts")
    assert into.out == "Wrote scripts/playbook.yml.\n"

    nowhere = desk.run("export", "--format", "sh", "--out", "rules")
    assert nowhere.code == 1
    assert "cannot write to rules: " in nowhere.err
    unknown = desk.run("export", "--format", "sh", "--host", "ap")
    assert unknown.code == 1
    assert "has no host 'ap'; it has: app, gateway" in unknown.err
    assert desk.run("export").code == 1

    assert desk.run("plan", "--out", "my.plan").code == 0
    (tmp_path / "crossnet.yaml").unlink()
    saved = desk.run("export", "my.plan", "--format", "sh", "--host", "app", "-q")
    assert (saved.code, timeless(saved.out), saved.err) == (0, timeless(alone.out), "")
    assert desk.run("export", "my.plan", "-f", "crossnet.yaml", "--format", "nft").code == 1
