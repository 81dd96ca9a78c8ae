"""Whose the folder is in which a host keeps what crossnet reads and runs there."""

from __future__ import annotations

from typing import NoReturn

from crossnet.facts.question import NEEDS_ROOT, Question, Unanswered, refuse
from crossnet.transport.batch import Answer

UNSAFE = 77  # sysexits.h: EX_NOPERM

_TODO = (
    "Nothing in it was used. If you know it to be crossnet's own: `chown root` and `chmod 0700` it. Otherwise find "
    "out who made it, and move it away."
)
_NO_FOLDER = "Look at it, and move it away: crossnet makes a folder there."
_LINK = (
    "Look at it. If it leads to crossnet's own folder, put that folder in its place: only what is in there says how "
    "the host was before crossnet. Otherwise move it away."
)

# What somebody else made, or may write to, would tell root what to do. `$folder` is looked at, and every `crossnet`
# above it, as there is for a namespace; one that others may only read is given to `close_it`.
CHECK = r"""
refuse() { echo "unsafe $*"; exit 77; }
place=$folder me=''
while [ -n "$place" ]; do
    case $place in */crossnet)
        [ ! -L "$place" ] || refuse "$place is a symbolic link"
        if [ -e "$place" ]; then
            [ -d "$place" ] || refuse "$place is no folder"
            state=$(stat -c '%u %a' -- "$place") || exit
            [ "$me" ] || me=$(id -u) || exit
            [ "${state% *}" = "$me" ] || [ "${state% *}" != 0 ] || refuse "$place is only for root"
            [ "${state% *}" = "$me" ] || refuse "$place belongs to user ${state% *}"
            case ${state#* } in
            700) ;;
            *[2367]? | *[2367]) refuse "others can write to $place: its mode is ${state#* }" ;;
            *) close_it "$place" ;;
            esac
        fi ;;
    esac
    place=${place%/*}
done
"""

# A transaction that is under way has a folder there: what is none would pass for no transaction, until one begins.
_TRANSACTION = r"""
place=$folder/transaction
[ ! -L "$place" ] || refuse "$place is a symbolic link"
[ ! -e "$place" ] || [ -d "$place" ] || refuse "$place is no folder"
"""

_LOOK = f"folder=$1; close_it() {{ :; }}; {CHECK}"


def folder_question(path: str, place: str, *, of_transactions: bool = False) -> Question[None]:
    """Whether a folder, which the host keeps at `place`, is crossnet's alone, or not there; an error where not."""
    look = f"{_LOOK}{_TRANSACTION}" if of_transactions else _LOOK
    return Question(f"looked who owns {path}", ("sh", "-c", look, "sh", place), lambda _: None, _failed)


def todo(why: str) -> str:
    """What to do about a folder of which CHECK gave this reason."""
    # crossnet makes neither of these, so no owner and no mode would make it crossnet's.
    if why.endswith("is a symbolic link"):
        return _LINK
    if why.endswith("is no folder"):
        return _NO_FOLDER
    return NEEDS_ROOT if why.endswith("only for root") else _TODO


def reason(said: str) -> str:
    """Why it is not, from what CHECK printed last."""
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("unsafe ") if lines and lines[-1].startswith("unsafe ") else ""


def _failed(answer: Answer) -> NoReturn:
    if answer.returncode == UNSAFE and (why := reason(answer.text)):
        raise Unanswered(why, todo(why))
    refuse(answer, "sh")
