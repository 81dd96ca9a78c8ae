"""What a spec is called on the hosts, where its crossings stand beside those of other specs."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from crossnet.spec import LONGEST_NAME, SPEC_NAME, USUAL_NAME
from crossnet.specfile.document import short

MEANS = f"up to {LONGEST_NAME} letters, digits, dots, `_` and `-`, the first a letter or digit"

_PIPES = re.compile(r"/dev/(stdin$|fd/)|/proc/")


def is_name(word: str) -> bool:
    return re.fullmatch(SPEC_NAME, word) is not None


def from_file(file: str) -> str:
    """`business` of `specs/business.yaml`; not always a name that a spec can have.

    What came through a pipe has no file of its own.
    """
    if not file or _PIPES.match(file):
        return USUAL_NAME
    name = PurePath(file).name
    return re.sub(r"\.ya?ml$", "", name)


def suggested(file: str, person: str) -> str:
    """A name for the spec in a new file, that others will hardly give to theirs: the file's own, else its folder's.

    `crossnet.yaml` is what everybody calls theirs, and a home says no more: there it is the `person`, such as
    `ops@desk`. Nothing where no name can be made of it.
    """
    own, folder = from_file(file), Path(file).absolute().parent
    if own == USUAL_NAME:
        own = "" if folder == Path(os.path.expanduser("~")) else folder.name
    names = (_plain(own), _plain(person.replace("@", "-")))
    return next((name for name in names if name not in ("", USUAL_NAME)), "")


def _plain(word: str) -> str:
    """What cannot be said in a name still tells one word from another: the signs of `c++`, the end of a long one."""
    if not word or is_name(word):
        return word
    from hashlib import sha256

    name = re.sub("[^A-Za-z0-9._-]+", "-", word).strip("-._") or "spec"
    mark = sha256(word.encode(errors="surrogateescape")).hexdigest()[:6]
    return f"{name[: LONGEST_NAME - len(mark) - 1]}-{mark}"


def needed(stem: str) -> str:
    """What to say of a file whose own name cannot be that of its spec."""
    return (
        f"a spec is named after its file, and {short(stem)} cannot be a name ({MEANS}): give it one, such as `name: "
        "business`"
    )
