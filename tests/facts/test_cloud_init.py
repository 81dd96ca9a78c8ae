"""What cloud-init does on a host: the script on real files, and what its answer means."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossnet.facts.cloud_init import READ, When, parse_cloud_init
from facts.test_setters import answered

V4 = "net.ipv4.ip_forward"
THERE = {"etc/cloud/cloud.cfg": "users:\n - default\n"}
USER = "var/lib/cloud/instance/cloud-config.txt"
# As cloud-init 22.4.2 merged it from what a user had given.
MERGED = (
    "#cloud-config\n\n# from 1 files\n# part-001\n\n---\nbootcmd:\n"
    "- echo 0 > /proc/sys/net/ipv4/conf/lo/forwarding\n-   - sysctl\n    - -w\n    - net.ipv4.ip_forward=0\n"
    "runcmd:\n- sysctl -w net.ipv4.ip_forward=0\n"
    "write_files:\n-   content: 'net.ipv4.ip_forward = 0\n\n        '\n    path: /etc/sysctl.d/x.conf\n...\n"
)
BLOCK = (
    "#cloud-config\nbootcmd:\n- echo 0 > /proc/sys/net/ipv4/ip_forward\n"
    "- [sysctl, -w, 'net.ipv4.conf.eth1.forwarding=0']\n"
    "write_files:\n- path: /etc/sysctl.d/99-zzz.conf\n  content: |\n    # net.ipv4.ip_forward = 7\n"
    "    net/ipv4/ip_forward = 0\n"
    "runcmd:\n- sysctl -w net.ipv4.ip_forward=0 && sysctl -w net.ipv4.conf.all.forwarding=1\n"
)


@pytest.mark.parametrize(
    ("files", "settings"),
    [
        (
            THERE | {USER: BLOCK},
            [
                (V4, "0", 3, When.BOOT),
                ("net.ipv4.conf.eth1.forwarding", "0", 4, When.BOOT),
                (V4, "0", 9, When.INSTANCE_FILE),
                (V4, "0", 11, When.INSTANCE),
                ("net.ipv4.conf.all.forwarding", "1", 11, When.INSTANCE),
            ],
        ),
        (
            THERE | {USER: MERGED},
            [
                ("net.ipv4.conf.lo.forwarding", "0", 8, When.BOOT),
                (V4, "0", 11, When.BOOT),
                (V4, "0", 13, When.INSTANCE),
                (V4, "0", 15, When.INSTANCE_FILE),
            ],
        ),
        ({USER: BLOCK}, []),  # cloud-init is not there
        (THERE | {USER: BLOCK, "etc/cloud/cloud-init.disabled": ""}, []),
        (
            THERE | {"etc/cloud/cloud.cfg.d/9.cfg": f"final_message: {V4}=0\nbootcmd: [[sysctl, {V4}=0]]\n"},
            [(V4, "0", 2, When.BOOT)],
        ),
        (
            THERE
            | {
                "var/lib/cloud/scripts/per-boot/a": f"#!/bin/sh\nsysctl -w {V4}=0\n",
                "var/lib/cloud/scripts/per-instance/b": f"echo 1 >/proc/sys/net/ipv4/ip_forward; : {V4}\n",
            },
            [(V4, "0", 2, When.BOOT_END), (V4, "1", 1, When.INSTANCE)],
        ),
    ],
)
def test_what_it_sets(
    tmp_path: Path, files: dict[str, str], settings: list[tuple[str, str, int, When]]
) -> None:
    found = parse_cloud_init(answered(tmp_path, READ, files))
    said = [(one.line.name, one.line.value, one.line.line, one.when) for one in found.settings]
    assert said == settings
    assert not found.unreadable


def test_a_script_that_is_not_executable_is_not_run(tmp_path: Path) -> None:
    files = THERE | {"var/lib/cloud/scripts/per-boot/a": f"sysctl -w {V4}=0\n"}
    assert answered(tmp_path, READ, files, mode=0o644) == answered(tmp_path, READ, THERE)


@pytest.mark.parametrize(
    ("files", "writes"),
    [
        ({}, False),
        (THERE, True),
        (THERE | {"etc/cloud/cloud.cfg.d/99-net.cfg": "network: {config: disabled}\n"}, False),
        (THERE | {"etc/cloud/cloud.cfg.d/99-net.cfg": "network:\n  config: disabled\n"}, False),
        (THERE | {"etc/cloud/cloud.cfg.d/99-net.cfg": "# network: {config: disabled}\n"}, True),
        (THERE | {"etc/cloud/cloud.cfg.d/99-net.cfg": "apt:\n  config: disabled\n"}, True),
        (THERE | {"var/lib/cloud/data/upgraded-network": ""}, False),
    ],
)
def test_whether_it_writes_the_network(tmp_path: Path, files: dict[str, str], writes: bool) -> None:
    assert parse_cloud_init(answered(tmp_path, READ, files)).writes_network is writes


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / USER).mkdir(parents=True)
    assert parse_cloud_init(answered(tmp_path, READ, THERE)).unreadable == (f"/{USER}",)


def test_another_answer_is_none() -> None:
    with pytest.raises(ValueError, match="neither a file"):
        parse_cloud_init("something else\n")
