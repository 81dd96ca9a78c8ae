"""Programs that set kernel settings by files of their own: the script on real files, and what its answer means."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.question import Unanswered
from crossnet.facts.setters import READ, parse_setters
from crossnet.facts.sysctls import READ_FILES, BootSetting, parse_boot_settings

V4, V6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"

UFW = {"etc/ufw/ufw.conf": "ENABLED=yes\n", "etc/default/ufw": 'IPT_SYSCTL="/etc/ufw/sysctl.conf"\n'}
TUNED = {
    "run/tuned/tuned.pid": "7\n",
    "etc/tuned/tuned-main.conf": "# reapply_sysctl = 1\nreapply_sysctl = 0\n",
    "etc/tuned/active_profile": "mine\n",
}


def answered(
    root: Path, script: str, files: dict[str, str], mode: int = 0o755, shell: tuple[str, ...] = ("sh",)
) -> str:
    """What the script says of these files: of its paths those below /etc, /run, /usr, /lib and /var lead to them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text == "-> /dev/null":
            path.symlink_to("/dev/null")
        else:
            path.write_bytes(text.encode(errors="surrogateescape"))
            path.chmod(mode)
    for folder in ("/etc", "/run", "/usr", "/lib", "/var"):
        for before in (" ", "<", '"', '"$file" '):
            script = script.replace(f"{before}{folder}/", f"{before}{root}{folder}/")
    # What a file of the host names is a path of the host.
    script = script.replace('lines ufw "$file"', f'lines ufw "{root}$file"')
    done = subprocess.run([*shell, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.stderr == b""
    return done.stdout.decode(errors="replace").replace(str(root), "")


@pytest.mark.parametrize(
    ("files", "program", "settings"),
    [
        (
            UFW | {"etc/ufw/sysctl.conf": "#net/ipv4/ip_forward=1\nnet/ipv4/ip_forward=0\n"},
            "ufw",
            [(V4, "0", 2)],
        ),
        (
            UFW | {"etc/ufw/sysctl.conf": "net/ipv4/ip_forward=0\n", "etc/ufw/ufw.conf": "ENABLED=no\n"},
            "ufw",
            [],
        ),
        (
            UFW | {"etc/ufw/sysctl.conf": "net/ipv4/ip_forward=0\n", "etc/default/ufw": "IPT_SYSCTL=\n"},
            "ufw",
            [],
        ),
        (
            {"etc/shorewall/shorewall.conf": "STARTUP_ENABLED=Yes\n\nIP_FORWARDING=Off # no router\n"},
            "shorewall",
            [(V4, "0", 3)],
        ),
        ({"etc/shorewall/shorewall.conf": "STARTUP_ENABLED=Yes\nIP_FORWARDING=Keep\n"}, "shorewall", []),
        ({"etc/shorewall/shorewall.conf": "STARTUP_ENABLED=No\nIP_FORWARDING=Off\n"}, "shorewall", []),
        (
            {"etc/shorewall6/shorewall6.conf": "IP_FORWARDING='off'\nSTARTUP_ENABLED=Yes\n"},
            "shorewall6",
            [(V6, "0", 1)],
        ),
        (
            TUNED | {"usr/lib/tuned/mine/tuned.conf": f"[vm]\n{V4}=1\n[sysctl]\n{V4} = 0\n[disk]\n"},
            "tuned",
            [(V4, "0", 4)],
        ),
        (  # The profile of the administrator counts, after what it includes.
            TUNED
            | {
                "usr/lib/tuned/profiles/mine/tuned.conf": f"[sysctl]\n{V4}=7\n",
                "etc/tuned/profiles/mine/tuned.conf": f"[main]\ninclude=other\n[sysctl]\n{V4}=1\n",
                "usr/lib/tuned/profiles/other/tuned.conf": f"[sysctl]\n{V4}=0\n{V6}=${{some}}\n",
            },
            "tuned",
            [(V4, "0", 2), (V4, "1", 4)],
        ),
        (  # By default tuned reads /etc/sysctl.d again.
            TUNED
            | {
                "usr/lib/tuned/mine/tuned.conf": f"[sysctl]\n{V4}=0\n",
                "etc/tuned/tuned-main.conf": "reapply_sysctl = 1\n",
            },
            "tuned",
            [],
        ),
        (
            {
                "run/systemd/netif/state": "",
                "etc/systemd/networkd.conf": "[Network]\nIPv4Forwarding=no\nIPv6Forwarding=maybe\n",
            },
            "systemd-networkd",
            [(V4, "0", 2)],
        ),
        ({"etc/systemd/networkd.conf": "[Network]\nIPv4Forwarding=no\n"}, "systemd-networkd", []),
    ],
)
def test_what_a_program_sets(
    tmp_path: Path, files: dict[str, str], program: str, settings: list[tuple[str, str, int]]
) -> None:
    found = parse_setters(answered(tmp_path, READ, files))
    assert [(one.name, one.value, one.line) for one in found.settings.get(program, ())] == settings
    assert set(found.settings) <= {program}
    assert not found.unreadable


NETWORKD = {"run/systemd/netif/state": ""}
MANAGER = {"run/NetworkManager/devices/2": ""}
PROFILE = "etc/NetworkManager/system-connections/a b.nmconnection"
DEFAULTS = "etc/NetworkManager/conf.d/a.conf"
BY_MANAGER = Owner("eth0.5", Keeper.NETWORKMANAGER, "", f"/{PROFILE}", "uuid")
BY_NETWORKD = Owner("eth0.5", Keeper.NETWORKD, "", "/run/systemd/network/a.network")


@pytest.mark.parametrize(
    ("files", "owner", "line"),
    [
        (MANAGER | {PROFILE: "[ipv4]\nmethod=auto\nforwarding=0\n"}, BY_MANAGER, (f"/{PROFILE}", "0", 3)),
        (MANAGER | {PROFILE: "[ipv4]\nforwarding=0\nmethod=shared\n"}, BY_MANAGER, None),
        (MANAGER | {PROFILE: "[ipv6]\nforwarding=0\n"}, BY_MANAGER, None),
        (MANAGER | {PROFILE: "[ipv4]\nforwarding=2\n"}, BY_MANAGER, None),
        ({PROFILE: "[ipv4]\nforwarding=0\n"}, BY_MANAGER, None),  # it does not run
        (MANAGER | {DEFAULTS: "[connection]\nipv4.forwarding=0\n"}, BY_MANAGER, (f"/{DEFAULTS}", "0", 2)),
        (MANAGER | {DEFAULTS: "[connection-wifi]\nipv4.forwarding=0\n"}, BY_MANAGER, None),
        (
            MANAGER | {DEFAULTS: "[connection]\nipv4.forwarding=0\n", PROFILE: "[ipv4]\nforwarding=1\n"},
            BY_MANAGER,
            (f"/{PROFILE}", "1", 2),
        ),
        (
            MANAGER | {PROFILE: "[ipv4]\nforwarding=0\n"},
            Owner("eth0.5", Keeper.NETWORKMANAGER, "", "/etc/else", "uuid"),
            None,
        ),
        (
            NETWORKD | {"run/systemd/network/a.network": "[Network]\nIPv4Forwarding=no\n"},
            BY_NETWORKD,
            ("/run/systemd/network/a.network", "0", 2),
        ),
        (  # Before version 256 this said it for the whole host, and only ever switched it on.
            NETWORKD | {"run/systemd/network/a.network": "[Network]\nIPForward=no\n"},
            BY_NETWORKD,
            None,
        ),
        (
            NETWORKD
            | {
                "run/systemd/network/a.network": "[Network]\nIPv4Forwarding=yes\n",
                "usr/lib/systemd/network/a.network.d/9.conf": "[Network]\nIPv4Forwarding=no\n",
                "etc/systemd/network/a.network.d/1.conf": "[Network]\nIPv4Forwarding=yes\n",
                "etc/systemd/network/b.network": "[Network]\nIPv4Forwarding=yes\n",
            },
            BY_NETWORKD,
            ("/usr/lib/systemd/network/a.network.d/9.conf", "0", 2),
        ),
    ],
)
def test_what_the_keeper_of_an_interface_sets(
    tmp_path: Path, files: dict[str, str], owner: Owner, line: tuple[str, str, int] | None
) -> None:
    found = parse_setters(answered(tmp_path, READ, files)).of(owner)
    assert (found and (found.file, found.value, found.line)) == line
    assert found is None or found.name == "net.ipv4.conf.eth0/5.forwarding"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "etc/shorewall/shorewall.conf").mkdir(parents=True)
    found = parse_setters(answered(tmp_path, READ, {}))
    assert found.unreadable == ("/etc/shorewall/shorewall.conf",)


def test_a_host_that_has_none_of_them(tmp_path: Path) -> None:
    assert answered(tmp_path, READ, {}) == ""


def test_one_file_of_a_name_is_read(tmp_path: Path) -> None:
    """sysctl.d(5): that of the first folder, also where it is empty or a link to /dev/null."""
    off = f"\n{V4}=0\n"
    files = {
        "etc/sysctl.d/a.conf": "",
        "usr/lib/sysctl.d/a.conf": off,
        "etc/sysctl.d/b.conf": "-> /dev/null",
        "run/sysctl.d/b.conf": off,
        "run/sysctl.d/c d.conf": "-net/ipv4/conf/*/forwarding = 0\n",
        "lib/sysctl.d/c d.conf": off,
        "etc/sysctl.conf": off,
    }
    assert parse_boot_settings(answered(tmp_path, READ_FILES, files)) == (
        BootSetting("/run/sysctl.d/c d.conf", "net.ipv4.conf.*.forwarding", "0", 1),
        BootSetting("/etc/sysctl.conf", V4, "0", 2),
    )


SHELLS = (("dash",), ("bash",), ("busybox", "ash"))


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    "name",
    [
        "50-eth0:1.conf",
        "99:5:net.ipv4.ip_forward=1.conf",
        "50 x.conf",
        "50-\033[2J.conf",
        "unreadable x.conf",
    ],
)
def test_a_file_is_called_whatever_it_is(tmp_path: Path, shell: tuple[str, ...], name: str) -> None:
    files = {f"etc/sysctl.d/{name}": f"\n{V4} = 0\n"}
    assert parse_boot_settings(answered(tmp_path, READ_FILES, files, shell=shell)) == (
        BootSetting(f"/etc/sysctl.d/{name}", V4, "0", 2),
    )


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_name_of_several_lines_says_nothing(tmp_path: Path, shell: tuple[str, ...]) -> None:
    files = {f"etc/sysctl.d/50\nfile sysctl \n1:{V4} = 1\nx.conf": f"{V4} = 0\n"}
    assert parse_boot_settings(answered(tmp_path, READ_FILES, files, shell=shell)) == (
        BootSetting(f"/etc/sysctl.d/50?file sysctl ?1:{V4} = 1?x.conf", V4, "0", 1),
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{V4} = 0\n\0\0\0\n", [("0", 1)]),  # as a power cut may leave it
        (f"\0\0\0\n{V4} = 0\n", [("0", 2)]),
        (f"{V4} = 0\0\0\0\n", [("0", 1)]),
        ("\0" * 5000 + f"{V4} = 0\n", [("0", 1)]),
        (f"# x\0{V4} = 0", [("0", 1)]),
        (f"{V4} = 1\r{V4} = 0\n", [("1", 1), ("0", 1)]),
        (f"{V4} = 0\r\n", [("0", 1)]),
        (f"# \udcff\n{V4} = 0 # \udcfe\n", [("0", 2)]),  # what is no UTF-8
    ],
    ids=["behind", "before", "at-the-end", "many", "within", "old-mac", "dos", "no-utf-8"],
)
def test_a_line_is_found_as_systemd_reads_it(tmp_path: Path, text: str, found: list[tuple[str, int]]) -> None:
    """A NUL and a carriage return end a line too, as measured with 252."""
    said = parse_boot_settings(answered(tmp_path, READ_FILES, {"etc/sysctl.d/99-zzz.conf": text}))
    assert [(each.value, each.line) for each in said if each.name == V4] == found


def test_of_a_file_of_any_size_the_last_lines_count(tmp_path: Path) -> None:
    line = f"{V4} = 1 # {'x' * 2000}\n"
    text = f"{line * 20_000}{V4} = 0\n"
    said = answered(tmp_path, READ_FILES, {"etc/sysctl.d/99-zzz.conf": text})
    assert len(said) < 2**23
    assert parse_boot_settings(said)[-1] == BootSetting("/etc/sysctl.d/99-zzz.conf", V4, "0", 20_001)


def test_a_nul_hides_no_line_of_a_program(tmp_path: Path) -> None:
    files = UFW | {"etc/ufw/sysctl.conf": "net/ipv4/ip_forward=0\n\0\0\n"}
    found = parse_setters(answered(tmp_path, READ, files))
    assert found.settings["ufw"] == (BootSetting("/etc/ufw/sysctl.conf", V4, "0", 1),)


def test_a_sysctl_file_that_cannot_be_read_is_none_that_says_nothing() -> None:
    with pytest.raises(Unanswered, match=r"/etc/sysctl\.d/a b\.conf cannot be read"):
        parse_boot_settings("file sysctl /etc/sysctl.d/a b.conf\nunreadable /etc/sysctl.d/a b.conf\n")
