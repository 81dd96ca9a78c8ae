"""The .network file from which systemd-networkd has an interface once it reads its files again, as it does at a boot.

systemd.network(5): files of all folders are taken in the order of their names; of one name the one in `/etc` hides
those below `/run` and `/usr`, also as a link to /dev/null; the first whose [Match] fits is the one, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from crossnet.facts.links import Link

# Their lines are read where somebody's file has others before it. A link to /dev/null is no file.
READ = r"""
for file in /etc/systemd/network/*.network /run/systemd/network/*.network /usr/local/lib/systemd/network/*.network \
    /usr/lib/systemd/network/*.network /lib/systemd/network/*.network; do
    [ -e "$file" ] || [ -L "$file" ] || continue
    printf 'network %s\n' "$file"
    section=
    [ -f "$file" ] && [ -r "$file" ] && while read -r line || [ "$line" ]; do
        case $line in
            '['*) section=$line ;;
            [A-Za-z]*=*) [ "$section" != '[Match]' ] || printf 'match %s\n' "$line" ;;
        esac
    done <"$file"
done
"""


def taken_next(link: Link, now: str, files: Mapping[str, Sequence[str]]) -> str:
    """Its file at the next boot; `now` is the one of today, `files` are the lines of [Match] of each, in this order.

    What is hidden is not looked at. A file whose [Match] asks for anything but a name or a hardware address fits
    nothing: were it before today's and did it fit, it would be today's.
    """
    seen: dict[str, str] = {}
    for path in files:
        seen.setdefault(PurePosixPath(path).name, path)
    own = PurePosixPath(now).name
    before = sorted(name for name in seen if name < own or own not in seen)
    return next((seen[name] for name in before if _fits(link, files[seen[name]])), now)


def _fits(link: Link, lines: Sequence[str]) -> bool:
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition("=") for line in lines)]
    return bool(pairs) and all(_fits_one(link, key, value) for key, value in pairs)


def _fits_one(link: Link, key: str, value: str) -> bool:
    match key:
        case "Name":
            unlike = value.startswith("!")
            return any(fnmatchcase(link.name, each) for each in value.removeprefix("!").split()) is not unlike
        case "MACAddress" | "PermanentMACAddress":
            return link.hardware.lower() in value.lower().replace("-", ":").split()
        case _:
            return False
