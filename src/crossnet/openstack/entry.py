"""The name of a cloud: an entry of clouds.yaml, and its region where that has to be said, as in `prod/east`."""

from __future__ import annotations


def named(entry: str, region: str) -> str:
    return f"{entry}/{region}" if region else entry


def parted(cloud: str) -> tuple[str, str]:
    """The entry and the region; nothing for the region where the entry says it."""
    entry, _, region = cloud.partition("/")
    return entry, region


def client(cloud: str) -> tuple[str, ...]:
    """The first words of a command that asks this cloud with python-openstackclient."""
    entry, region = parted(cloud)
    return ("openstack", "--os-cloud", entry, *(("--os-region-name", region) if region else ()))
