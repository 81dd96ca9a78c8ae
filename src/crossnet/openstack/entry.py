"""The name of a cloud: an entry of clouds.yaml, and its region where that has to be said, as in `prod/east`."""

from __future__ import annotations

import shlex


def named(entry: str, region: str) -> str:
    return f"{entry}/{region}" if region else entry


def parted(cloud: str) -> tuple[str, str]:
    """The entry and the region; nothing for the region where the entry says it."""
    entry, _, region = cloud.partition("/")
    return entry, region


def is_meant(asked: str, cloud: str) -> bool:
    """Whether a name means that cloud: an entry without a region is that of the region which was found for it."""
    return asked in (cloud, parted(cloud)[0])


def command(cloud: str, *words: str) -> str:
    """What asks this cloud with python-openstackclient, as it is typed."""
    entry, region = parted(cloud)
    there = ("--os-cloud", entry, *(("--os-region-name", region) if region else ()))
    return shlex.join(("openstack", *there, *words))
