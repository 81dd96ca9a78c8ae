"""Who keeps an interface, from what the programs themselves say of it, and never from a file that merely lies there."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from crossnet.facts.links import Link
from crossnet.facts.owners import READ, Keeper, Owner, owners_of, parse_owners

ETH0 = Link("eth0", 1500, up=True, hardware="52:54:00:aa:00:01")
UUID = "11111111-2222-3333-4444-555555555555"

# NetworkManager 1.42.4 on Debian 12, `nmcli -t`, behind the words of the question.
NM = f"""\
device eth0:connected
device eth2:connected (externally)
device lo:connected (externally)
device eth1:disconnected
profile eth0:{UUID}:Wired connection 1:/etc/NetworkManager/system-connections/wired.nmconnection
profile eth2:b7736153-2dc8-4126-9d10-b028a1bde358:eth2:/run/NetworkManager/system-connections/eth2.nmconnection
"""
NETWORKD = "networkd eth0 configured /etc/systemd/network/10-eth0.network\n"
NETPLAN = "networkd eth0 configured /run/systemd/network/10-netplan-primary.network\n"
IFCFG = "ifcfg eth0\nset DEVICE=eth0\nifcfg lo\nset DEVICE=lo\n"
NETWORKS = ("/usr/local/lib/systemd/", "/usr/lib/systemd/", "/lib/systemd/")
RUNS = {"systemd-networkd.service": True, "networking.service": True, "wickedd.service": True}


def owner(said: str, link: Link = ETH0, units: dict[str, bool] | None = None) -> Owner:
    return owners_of([link], parse_owners(said), RUNS if units is None else units)[link.name]


def test_a_profile_of_networkmanager() -> None:
    found = owner(NM + NETWORKD + IFCFG + "ifup eth0=eth0\n")
    assert (found.keeper, found.profile) == (Keeper.NETWORKMANAGER, UUID)
    assert found.file == "/etc/NetworkManager/system-connections/wired.nmconnection"
    assert str(found) == "eth0 is kept by NetworkManager: profile 'Wired connection 1'"


def test_the_routes_of_profiles() -> None:
    """Also of those that are not in use; `nmcli -t` of 1.42.4, and of a version that escapes in this form too."""
    said = f"""\
says connection.uuid:{UUID}
says ipv4.routes:10.77.0.0/16 10.0.43.9, 10.0.44.0/24 10.0.43.101 0 src=10.0.43.15
says ipv6.routes:fd00:7::/48 fd00:43::9, fd00:44::/64 fd00:43::101 1024
says\x20
says connection.uuid:other
says ipv4.routes:
says ipv6.routes:fd00\\:7\\:\\:/48 fd00\\:43\\:\\:9
"""
    assert parse_owners(NM + said).routes == {
        UUID: [
            "10.77.0.0/16 10.0.43.9",
            "10.0.44.0/24 10.0.43.101 0 src=10.0.43.15",
            "fd00:7::/48 fd00:43::9",
            "fd00:44::/64 fd00:43::101 1024",
        ],
        "other": ["fd00:7::/48 fd00:43::9"],
    }


SAYS = """\
says connection.uuid:{}
says connection.type:{}
says connection.interface-name:{}
says connection.autoconnect:{}
says connection.autoconnect-priority:{}
says connection.timestamp:{}
says connection.permissions:
says 802-3-ethernet.mac-address:
says ipv4.routes:
"""
OTHER = "/etc/NetworkManager/system-connections/other.nmconnection"
WIRED = SAYS.format(UUID, "802-3-ethernet", "eth0", "yes", 0, 7)
HIGHER = SAYS.format("other", "802-3-ethernet", "eth0", "yes", 5, 0)


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (WIRED + HIGHER, "other"),
        (HIGHER + WIRED, "other"),
        (WIRED + HIGHER.replace("name:eth0", "name:"), "other"),
        (WIRED + HIGHER.replace("address:", "address:52:54:00:AA:00:01"), "other"),
        (WIRED.replace("yes", "no") + HIGHER.replace("priority:5", "priority:-999"), "other"),
        (WIRED + SAYS.format("third", "802-3-ethernet", "", "yes", 4, 9) + HIGHER, "other"),
        (WIRED + SAYS.format("third", "802-3-ethernet", "", "yes", 5, 9) + HIGHER, "third"),
        (WIRED + HIGHER.replace("priority:5", "priority:0"), UUID),  # that of today was in use last
        (WIRED + HIGHER.replace("autoconnect:yes", "autoconnect:no"), UUID),
        (WIRED + HIGHER.replace("name:eth0", "name:eth1"), UUID),
        (WIRED + HIGHER.replace("802-3-ethernet\n", "802-11-wireless\n"), UUID),
        (WIRED + HIGHER.replace("address:", "address:52:54:00:AA:00:02"), UUID),
        (WIRED + HIGHER.replace("permissions:", "permissions:user:ann"), UUID),
        (WIRED + HIGHER + "says match.driver:virtio_net\n", UUID),
        (WIRED + HIGHER.replace("says ipv4.routes:\n", ""), UUID),  # a port of a bond
        (WIRED + HIGHER + "profile eth1:other:used there:\n", UUID),
        (HIGHER, UUID),
        ("", UUID),
    ],
)  # fmt: skip
def test_a_profile_that_comes_first_has_the_interface_from_the_next_boot_on(said: str, then: str) -> None:
    found = owner(f"{NM}kept other:{OTHER}\n{said}")
    assert found.profile == then
    if then == "other":
        assert found.file == OTHER
        assert (
            found.evidence
            == f"profile 'Wired connection 1', and from the next boot on {OTHER}, which comes first"
        )
    elif then == UUID:
        assert "next boot" not in found.evidence


def test_a_name_may_have_any_characters() -> None:
    said = rf"profile eth0:{UUID}:Wired\: a\\b:/etc/x\:y" + "\n"
    found = owner("device eth0:connected\n" + said)
    assert found.evidence == r"profile 'Wired: a\\b'"
    assert found.file == "/etc/x:y"
    # A line break in a name is the beginning of a line that means nothing.
    assert owner(NM + "profile second line\nwhat\n\n").keeper is Keeper.NETWORKMANAGER


def test_an_older_nmcli_does_not_tell_the_file() -> None:
    found = owner(f"device eth0:connected\nprofile eth0:{UUID}:office\n")
    assert (found.keeper, found.file, found.profile) == (Keeper.NETWORKMANAGER, "", UUID)


@pytest.mark.parametrize("state", ["unmanaged", "unavailable", "disconnected", "connected (externally)"])
def test_what_networkmanager_leaves_alone_is_kept_by_the_next(state: str) -> None:
    said = f"device eth0:{state}\n{IFCFG}"
    found = owner(said)
    assert found.keeper is Keeper.NETWORK_SCRIPTS
    assert str(found) == (
        f"eth0 is kept by network-scripts: ifcfg-eth0, and NetworkManager does not manage it ({state})"
    )
    assert owner(f"device eth0:{state}\n").keeper is Keeper.NOBODY


def test_what_networkmanager_made_of_what_it_found_is_no_profile() -> None:
    made = f"device eth0:connected\nprofile eth0:{UUID}:eth0:/run/NetworkManager/system-connections/eth0.nmconnection\n"
    assert owner(made).keeper is Keeper.NOBODY
    assert owner(f"device eth0:connected\nprofile eth0:{UUID}:eth0:\n").keeper is Keeper.NOBODY
    # One of somebody, in memory: a cloud's, say.
    assert owner(made.replace(":eth0:/run", ":cloud:/run")).keeper is Keeper.NETWORKMANAGER


def test_profiles_of_netplan_and_of_the_ifcfg_plugin() -> None:
    netplan = owner(
        f"device eth0:connected\nprofile eth0:{UUID}:netplan-primary:"
        "/run/NetworkManager/system-connections/netplan-primary.nmconnection\n"
    )
    assert (netplan.keeper, netplan.below) == (Keeper.NETPLAN, Keeper.NETWORKMANAGER)
    ifcfg = owner(
        f"device eth0:connected\nprofile eth0:{UUID}:System eth0:/etc/sysconfig/network-scripts/ifcfg-net\n"
    )
    assert (ifcfg.keeper, ifcfg.suffix) == (Keeper.NETWORKMANAGER, "net")
    assert str(ifcfg).endswith("profile 'System eth0' in /etc/sysconfig/network-scripts/ifcfg-net")


def test_systemd_networkd_and_what_netplan_wrote_for_it() -> None:
    found = owner(NETWORKD + "ifup eth0=eth0\n")
    assert (found.keeper, found.file) == (Keeper.NETWORKD, "/etc/systemd/network/10-eth0.network")
    assert (
        str(found) == "eth0 is kept by systemd-networkd: it has it from /etc/systemd/network/10-eth0.network"
    )
    found = owner(NETPLAN)
    assert (found.keeper, found.below) == (Keeper.NETPLAN, Keeper.NETWORKD)
    assert "systemd-networkd has it from /run/systemd/network/10-netplan-primary.network" in str(found)
    assert owner(NETWORKD.replace("configured", "configuring")).keeper is Keeper.NETWORKD


@pytest.mark.parametrize(
    ("files", "then"),
    [
        ("/etc/systemd/network/05-new.network:Name=eth* en*", "/etc/systemd/network/05-new.network"),
        (
            "/run/systemd/network/05-new.network:MACAddress=52-54-00-AA-00-01",
            "/run/systemd/network/05-new.network",
        ),
        ("/etc/systemd/network/05-new.network:Name=!lo", "/etc/systemd/network/05-new.network"),
        ("/etc/systemd/network/05-new.network:Name=!eth0 eth1", ""),
        ("/etc/systemd/network/05-new.network:Name=eth1", ""),
        ("/etc/systemd/network/05-new.network:", ""),
        ("/etc/systemd/network/05-new.network:Type=ether", ""),
        ("/etc/systemd/network/20-new.network:Name=eth0", ""),
        ("/etc/systemd/network/05-new.network: /lib/systemd/network/05-new.network:Name=eth0", ""),
    ],
)
def test_a_file_that_comes_first_has_the_interface_from_the_next_boot_on(files: str, then: str) -> None:
    said = "".join(
        f"network {path}\n{f'match {match}' if match else ''}\n"
        for path, _, match in (each.partition(":") for each in files.replace(": /", ":\n/").split("\n"))
    )
    own = "/etc/systemd/network/10-eth0.network"
    found = owner(f"{NETWORKD}{said}network {own}\nmatch Name=eth0\n")
    assert found.file == (then or own)
    assert (f"from the next boot on from {then}" in found.evidence) is bool(then)


def test_files_that_networkd_left_behind_mean_nothing() -> None:
    assert owner(NETWORKD, units={}).keeper is Keeper.NOBODY
    assert owner(NETWORKD, units={"systemd-networkd.service": False}).keeper is Keeper.NOBODY
    assert owner(NETWORKD.replace("configured", "unmanaged")).keeper is Keeper.NOBODY
    assert owner("networkd  configured /etc/systemd/network/10-gone.network\n").keeper is Keeper.NOBODY


@pytest.mark.parametrize(
    ("said", "suffix"),
    [
        ("ifcfg net\nset DEVICE=eth0\nifcfg eth0\nset HWADDR=52:54:00:AA:00:01\n", "net"),
        ('ifcfg net\nset DEVICE="eth0" # the first\n', "net"),
        ("ifcfg net\nset HWADDR=52:54:00:AA:00:01\nifcfg eth0\n", "net"),
        ("ifcfg eth0\nset HWADDR=52:54:00:AA:00:02\n", None),
        ("ifcfg eth0\n", "eth0"),
        ("ifcfg eth0\nset DEVICE=eth1\n", None),
        ("ifcfg eth0.bak\nset DEVICE=eth0\nifcfg eth0~\nset DEVICE=eth0\n", None),
        ("ifcfg eth0.rpmsave\nset DEVICE=eth0\nifcfg a\nset DEVICE=eth0\n", "a"),
        ("ifcfg eth0:1\nset DEVICE=eth0\n", None),
        ("ifcfg b\nset DEVICE=eth0\nifcfg eth0\nset DEVICE=eth0\n", "eth0"),
        ("ifcfg eth0\nset DEVICE='eth0\n", "eth0"),
    ],
)
def test_an_ifcfg_file_is_found_as_ifup_finds_it(said: str, suffix: str | None) -> None:
    found = owner(said)
    assert found.keeper is (Keeper.NETWORK_SCRIPTS if suffix else Keeper.NOBODY)
    if suffix:
        assert found.suffix == suffix


def test_wicked_and_the_family_of_ifupdown() -> None:
    assert owner("wicked eth0\n").keeper is Keeper.WICKED
    assert owner("wicked eth0\n", units={}).keeper is Keeper.NOBODY
    assert str(owner("ifup lo=lo\nifup eth0=eth0\n")) == "eth0 is kept by ifupdown: ifup has brought it up"
    # An `up` line that fails leaves it out of the state.
    assert owner("iface eth0\n").keeper is Keeper.IFUPDOWN
    assert owner("iface eth0\n", units={}).keeper is Keeper.NOBODY
    assert owner("iface eth1\nifup eth1=eth1\n").keeper is Keeper.NOBODY


def test_nobody_keeps_a_loopback() -> None:
    assert owners_of([replace(ETH0, name="lo", hardware_type="loopback")], parse_owners("ifup lo=lo\n")) == {}


def test_nonsense_says_nothing() -> None:
    for said in (
        "",
        "\n",
        "set DEVICE=eth0\n",
        "device\n",
        "profile a:b\n",
        "networkd eth0\n",
        "ifcfg\n",
        "x",
    ):
        assert owner(said).keeper is Keeper.NOBODY


NMCLI = """\
#!/bin/sh
case "$*" in
*FILENAME*) echo "Error: invalid field 'FILENAME'" >&2; exit 2 ;;
*' UUID connection show') echo UUID ;;
*autoconnect*) echo "Error: invalid field 'autoconnect'" >&2; exit 2 ;;
*'ipv6.routes connection show uuid UUID') printf 'connection.uuid:UUID\\nipv4.routes:10.77.0.0/16 10.0.43.9\\n' ;;
*device) printf 'eth0:connected\\n' ;;
*) printf 'eth0:UUID:office\\n' ;;
esac
"""


def asked(root: Path, files: dict[str, str], path: str) -> str:
    for name, text in files.items():
        place = root / name.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        if text.startswith("#!"):
            place.chmod(0o755)
    script = READ
    for top in ("/run/", "/var/run/", "/sys/", "/etc/", "/usr/sbin/wicked", *NETWORKS):
        script = script.replace(f" {top}", f" {root}{top}")
    ran = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{path}:/usr/bin:/bin"},
    )
    assert ran.stderr == ""
    return ran.stdout.replace(str(root), "")


def test_the_question_reads_the_files_of_each(tmp_path: Path) -> None:
    files = {
        "/run/systemd/netif/links/7": (
            "# private\nADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/1 a.network\n"
        ),
        "/etc/systemd/network/1 a.network": (
            "# [Match]\n[Match]\nName=eth* !eth9\n# Name=x\n MACAddress = 52:54:00:aa:00:01\n[Network]\nDHCP=yes"
        ),
        "/usr/lib/systemd/network/80-wifi.network": "[Match]\nType=wlan",
        "/run/systemd/netif/links/1": "ADMIN_STATE=unmanaged\n",
        "/sys/class/net/eth0/ifindex": "7\n",
        "/sys/class/net/eth1/ifindex": "8\n",
        "/etc/sysconfig/network-scripts/ifup-eth": "",
        "/etc/sysconfig/network-scripts/ifcfg-eth1": (
            '# mine\n  DEVICE="eth1"\nBOOTPROTO=none\nHWADDR=52:54:00:aa:00:02'
        ),
        "/run/network/ifstate": "lo=lo\neth2=eth2",
        "/usr/sbin/wicked": "#!/bin/sh\n",
        "/etc/sysconfig/network/ifcfg-eth5": "STARTMODE=auto\n",
        "/etc/network/interfaces": "auto eth3\niface eth3 inet dhcp\n# iface eth4 inet dhcp",
        "/etc/network/interfaces.d/more": "iface eth6 inet dhcp",
        "/bin/ifup": "#!/bin/sh\n",
    }
    assert asked(tmp_path, files, str(tmp_path / "bin")).splitlines() == [
        "networkd eth0 configured /etc/systemd/network/1 a.network",
        "network /etc/systemd/network/1 a.network",
        "match Name=eth* !eth9",
        "match MACAddress = 52:54:00:aa:00:01",
        "network /usr/lib/systemd/network/80-wifi.network",
        "match Type=wlan",
        "wicked eth5",
        "ifcfg eth1",
        'set DEVICE="eth1"',
        "set HWADDR=52:54:00:aa:00:02",
        "ifup lo=lo",
        "ifup eth2=eth2",
        "iface eth3",
        "iface eth6",
    ]


def test_the_question_asks_an_old_nmcli_too(tmp_path: Path) -> None:
    files = {"/run/NetworkManager/x": "", "/bin/nmcli": NMCLI}
    assert (
        asked(tmp_path, files, str(tmp_path / "bin")) == "device eth0:connected\nprofile eth0:UUID:office\n"
        "says connection.uuid:UUID\nsays ipv4.routes:10.77.0.0/16 10.0.43.9\n"
    )


NEW_NMCLI = """\
#!/bin/sh
case "$*" in
*' UUID,FILENAME connection show') printf 'UUID:/etc/a\\\\:b\\nOTHER:\\n' ;;
*autoconnect*'connection show uuid UUID uuid OTHER') printf 'connection.uuid:UUID\\nmatch.driver:x\\n' ;;
*device) printf 'eth0:connected\\n' ;;
*active) printf 'eth0:UUID:office:/etc/a\\\\:b\\n' ;;
*) exit 3 ;;
esac
"""


def test_the_question_asks_nmcli_what_decides_at_a_boot(tmp_path: Path) -> None:
    files = {"/run/NetworkManager/x": "", "/bin/nmcli": NEW_NMCLI}
    assert asked(tmp_path, files, str(tmp_path / "bin")) == (
        "device eth0:connected\nprofile eth0:UUID:office:/etc/a\\:b\nkept UUID:/etc/a\\:b\n"
        "says connection.uuid:UUID\nsays match.driver:x\n"
    )


def test_where_there_is_none_of_it_nothing_is_said(tmp_path: Path) -> None:
    assert asked(tmp_path, {}, "/nonexistent") == ""
