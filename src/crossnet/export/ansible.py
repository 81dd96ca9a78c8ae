"""One Ansible playbook for all hosts of a plan, of modules that ansible-core has; `--tags undo` takes it back.

A play for each host, in the order of `apply`; after the first host that fails nothing more is done. Files are
Ansible's own business; for everything else the host is asked first, so what is so already is not touched.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from crossnet.export.document import (
    Document,
    ExportError,
    comment,
    described,
    functions,
    origin,
    story,
    wrapped,
)
from crossnet.export.splice import spliced
from crossnet.export.work import Work, by_hand, in_order
from crossnet.export.yaml import Template, Value, block
from crossnet.planning import Plan
from crossnet.record import APPLIED, JOURNAL, VERIFIED
from crossnet.resources import Change, Command, Link, Splice, Step, Write, goes_with_its_last
from crossnet.spec import HostSpec
from crossnet.transport import PATH
from crossnet.transport.ssh.destination import parse

Task = dict[str, Value]

NAME = "playbook.yml"

# What Ansible understands in place of a host's name.
_GROUPS = frozenset({"all", "ungrouped", "localhost"})

# Also in check mode, because it decides what would be done, and it changes nothing.
_ASKS: Task = {"check_mode": False, "changed_when": False}

_BEGUN = "crossnet_record.stat.checksum | default('absent') != crossnet_before or crossnet_before == crossnet_during"


def playbook(plan: Plan, todo: Sequence[Work]) -> Document:
    """The playbook for these hosts; ExportError where Ansible has no way to one, or cannot hold a file of it."""
    for work in todo:
        _check(work)
    plays: list[Task] = [_reach(todo)]
    backwards = tuple(reversed(todo))
    plays += [_play(work, "make", todo[:at]) for at, work in enumerate(todo)]
    plays += [_play(work, "undo", backwards[:at]) for at, work in enumerate(backwards)]
    text = "\n".join(_play_text(play) for play in plays)
    return Document(NAME, f"{comment(_head(plan, todo))}---\n{text}")


def _check(work: Work) -> None:
    if work.host.netns is not None:
        raise ExportError(
            f"{work.name} is a network namespace, and Ansible has no way into one\n"
            "  Use --format sh for it, and --host for the others."
        )
    if work.name in _GROUPS:
        raise ExportError(
            f"{work.name!r} does not name one host to Ansible\n  Give the host another name in the spec."
        )


def _head(plan: Plan, todo: Sequence[Work]) -> Iterator[str]:
    steps = in_order(plan, todo)
    order = ", ".join(f"{number}. {step.name}" for number, step in enumerate(steps, 1))
    yield "What crossnet would change, as an Ansible playbook: to be read first."
    yield ""
    yield from story(plan)
    yield ""
    yield from by_hand(steps, [work.name for work in todo])
    yield f"    ansible-playbook {NAME} --check --diff   what it would do"
    yield f"    ansible-playbook {NAME}                  do it; what is so already stays untouched"
    yield f"    ansible-playbook {NAME} --tags undo      put everything back as it was when the plan was made"
    yield ""
    yield from wrapped(
        f"Order of the hosts: {order}; after a failure nothing more is done. A host that your inventory has is reached "
        "as it says there, any other one as the spec says. crossnet's own record is kept too: `crossnet status` and "
        "`crossnet undo` know of it."
    )
    yield ""
    yield origin(plan)


def _play_text(play: Task) -> str:
    """A play with a blank line between its tasks."""
    head = block([{key: value for key, value in play.items() if key != "tasks"}])
    tasks = play["tasks"]
    assert isinstance(tasks, list), "a play has tasks"
    return f"{head}  tasks:\n" + "\n".join(block([task], 4) for task in tasks)


# ---- which hosts ---------------------------------------------------------------------------------


def _reach(todo: Sequence[Work]) -> Task:
    return {
        "name": "The hosts that the inventory does not have",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tags": ["always"],
        "tasks": [_reach_host(work.host) for work in todo],
    }


def _reach_host(host: HostSpec) -> Task:
    known = f"'{host.name}' in groups['all']"
    if host.lab is not None:
        return {
            "name": f"{host.name} is in the inventory",
            "ansible.builtin.assert": {
                "that": [known],
                "fail_msg": f"{host.name} is a host of crossnet's lab: say in an inventory how it is reached",
            },
        }
    values: dict[str, Value] = {"name": host.name}
    if host.ssh is not None:
        there = parse(host.ssh)
        values["ansible_host"] = there.host
        if there.user is not None:
            values["ansible_user"] = there.user
        if there.port is not None:
            values["ansible_port"] = there.port
    else:
        values["ansible_connection"] = "local"
    return {
        "name": host.name,
        "ansible.builtin.add_host": values,
        "when": f"not {known}",
        "changed_when": False,
    }


# ---- a play --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Known:
    """What a play has so far: each text stands once, among its variables, and each folder is made once."""

    texts: dict[bytes, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def text(self, data: bytes | None) -> dict[str, Value]:
        """What feeds a text to a command."""
        if not data:
            return {}
        name = self.texts.setdefault(data, f"crossnet_text_{len(self.texts) + 1}")
        return {"stdin": Template(f"{{{{ {name} }}}}"), "stdin_add_newline": False}

    def folder(self, path: str, mode: str) -> Iterator[Task]:
        """The folder of a file; folders of others keep the mode that they have."""
        folder = PurePosixPath(path).parent
        if str(folder) in self.folders:
            return
        register = self.folders.setdefault(str(folder), f"crossnet_folder_{len(self.folders) + 1}")
        own: dict[str, Value] = {"mode": mode} if folder.name == "crossnet" else {}
        yield {
            "name": f"There is {folder}",
            "ansible.builtin.file": {"path": str(folder), "state": "directory", **own},
            "register": register,
        }

    def possible(self, path: str) -> str:
        """In check mode a folder that is missing is not made, and a module fails without it."""
        return f"not (ansible_check_mode and {self.folders[str(PurePosixPath(path).parent)]} is changed)"


def _play(work: Work, way: str, earlier: Sequence[Work]) -> Task:
    """The play that makes the changes of a host, or that takes them back, once the earlier hosts are done."""
    known = _Known()
    goal = work if way == "make" else _inverse(work)
    tasks = [
        *_after(earlier),
        *_ready(work, way),
        *(task for number, change in _numbered(work, way) for task in _ask(number, change, work, known)),
        *(_unmoved(work) if way == "make" else ()),
        *_keep("during", goal.during, work, known),
        *(task for number, change in _numbered(work, way) for task in _make(number, change, work, known)),
        *(_keep("after", goal.after, work, known) if goal.after != goal.during else ()),
        _DONE,
    ]
    return {
        "name": f"{work.name}: the changes" if way == "make" else f"{work.name}: back as it was",
        "hosts": work.name,
        **({"tags": ["never", "undo"]} if way == "undo" else {}),
        "gather_facts": False,
        **({"become": True} if work.host.become else {}),
        "any_errors_fatal": True,
        "environment": {"PATH": PATH, "LC_ALL": "C"},
        "vars": {
            "crossnet_before": _digest(work.before),
            "crossnet_during": _digest(work.during),
            "crossnet_after": _digest(work.after),
            **{name: data.decode() for data, name in known.texts.items()},
        },
        "tasks": tasks,
    }


def _inverse(work: Work) -> Work:
    return replace(work, before=work.after, after=work.before)


def _numbered(work: Work, way: str) -> list[tuple[int, Change]]:
    """The changes with the numbers that they have in the plan, in the order in which they are made."""
    numbered = list(enumerate(work.changes, 1))
    if way == "make":
        return numbered
    return [(number, change.inverse()) for number, change in reversed(numbered)]


# Ansible goes on with the next play when a host becomes unreachable in the middle of this one.
_DONE: Task = {"name": "This host is done", "ansible.builtin.set_fact": {"crossnet_done": True}}


def _after(earlier: Sequence[Work]) -> Iterator[Task]:
    """Stop where an earlier host is not done, unless somebody chose hosts with --limit."""
    for work in earlier[-1:]:
        yield {
            "name": f"{work.name} is done",
            "ansible.builtin.assert": {
                "that": [f"ansible_limit is defined or hostvars['{work.name}'].crossnet_done is defined"],
                "fail_msg": f"Nothing was changed here, because {work.name} comes first and is not done.",
                "quiet": True,
            },
        }


def _ready(work: Work, way: str) -> Iterator[Task]:
    """Stop where this is not the host, or not as far as the plan left it."""
    if work.addresses:
        found = " || ".join(f'[ -n "$(ip -o address show to {address})" ]' for address in work.addresses)
        yield {
            "name": f"This is {work.name}: it has one of its addresses",
            "ansible.builtin.shell": {"cmd": found},
            **_ASKS,
        }
    yield {
        "name": "Look for an unfinished transaction of crossnet",
        "ansible.builtin.stat": {"path": work.locate(JOURNAL)},
        "register": "crossnet_journal",
    }
    yield {
        "name": "Look at crossnet's own record",
        "ansible.builtin.stat": {"path": work.locate(APPLIED), "checksum_algorithm": "sha256"},
        "register": "crossnet_record",
    }
    yield {
        "name": "Nothing of crossnet happened here since the plan was made",
        "ansible.builtin.assert": {
            "that": [
                "not crossnet_journal.stat.exists",
                "crossnet_record.stat.checksum | default('absent')"
                " in [crossnet_before, crossnet_during, crossnet_after]",
            ],
            "fail_msg": "Nothing was changed. See `crossnet status`; export a new plan, or use `crossnet undo`.",
        },
    }
    if way == "undo" and work.before != work.during:
        yield {**_DONE, "when": f"not ({_BEGUN})"}
        yield {
            "name": "Leave it where the changes were never made",
            "ansible.builtin.meta": "end_host",
            "when": f"not ({_BEGUN})",
        }


def _is_asked(change: Change) -> bool:
    return any(isinstance(step, Command | Splice) for step in change.steps)


def _ask(number: int, change: Change, work: Work, known: _Known) -> Iterator[Task]:
    """Ask how far a change is made; files and links Ansible itself compares."""
    if not _is_asked(change):
        return
    made, back = change.is_made(work.locate), change.inverse().is_made(work.locate)
    other = "" if change.resource.is_only_ours else f"elif {back.line}; then echo back; else echo other; "
    line = f"if {made.line}; then echo made; {other}fi\n"
    used = functions((made, back) if other else (made,))
    yield {
        "name": f"{number}. Look for {change.resource.kind} {change.resource.key}",
        "ansible.builtin.shell": {"cmd": used.lstrip() + line, **known.text(made.stdin)},
        "register": f"crossnet_{number}",
        **_ASKS,
    }


def _unmoved(work: Work) -> Iterator[Task]:
    """Stop, before anything is changed, where others changed what the plan was made from."""
    numbered = list(enumerate(work.changes, 1))
    files = [(change, paths) for change in work.changes if (paths := _written(change))]
    if files:
        named = shlex.join(work.locate(path) for _, paths in files for path in paths)
        yield {
            "name": "Look at the files",
            # Those that are not there are told on standard error, and are no failure.
            "ansible.builtin.shell": {"cmd": f"sha256sum {named} || true"},
            "register": "crossnet_files",
            **_ASKS,
        }
    asked = [
        f"crossnet_{number}.stdout == 'back' or (crossnet_begun and crossnet_{number}.stdout == 'made')"
        for number, change in numbered
        if not change.resource.is_only_ours and _is_asked(change)
    ]
    found = [f"{_is_so(one.inverse(), work)} or (crossnet_begun and {_is_so(one, work)})" for one, _ in files]
    if asked or found:
        yield {
            "name": "What others could change is as the plan found it",
            "ansible.builtin.assert": {
                "that": [*asked, *found],
                "fail_msg": "Nothing was changed. Make a new plan.",
                "quiet": True,
            },
            "vars": {"crossnet_begun": Template(f"{{{{ {_BEGUN} }}}}")},
        }


def _written(change: Change) -> tuple[str, ...]:
    """The files of a change that Ansible itself compares, and not a test."""
    if _is_asked(change):
        return ()
    both = (*change.steps, *change.inverse().steps)
    return tuple(dict.fromkeys(str(step.path) for step in both if isinstance(step, Write)))


def _is_so(change: Change, work: Work) -> str:
    """Whether sha256sum printed the line of the content that a change makes, or none for a file that it removes."""
    return " and ".join(_stands(step, work) for step in change.steps)


def _stands(step: Step, work: Work) -> str:
    if isinstance(step, Write):
        line = f"  {work.locate(str(step.path))}"
        if step.data is not None:
            return f"'{_digest(step.data)}{line}' in crossnet_files.stdout_lines"
        return f"'{line}' not in crossnet_files.stdout"
    return "true"  # sha256sum looks at what a link points to


def _make(number: int, change: Change, work: Work, known: _Known) -> Iterator[Task]:
    for step in change.steps:
        yield from _step(f"{number}. {described(change)}", number, step, work, known)


def _step(name: str, number: int, step: Step, work: Work, known: _Known) -> Iterator[Task]:
    match step:
        case Command():
            yield {
                "name": name,
                "ansible.builtin.command": {"argv": list(step.argv), **known.text(step.stdin)},
                "when": f"crossnet_{number}.stdout != 'made'",
                "changed_when": True,
            }
        case Splice():
            line = spliced(step, work.locate)
            _content(step.data, str(step.path), work)
            yield {
                "name": name,
                "ansible.builtin.shell": {
                    "cmd": f"{functions((line,)).lstrip()}{line.line}\n",
                    **known.text(line.stdin),
                },
                "when": f"crossnet_{number}.stdout != 'made'",
                "changed_when": True,
            }
        case Write(data=None) | Link(target=None):
            yield from _remove(name, work.locate(str(step.path)))
        case Write(data=bytes() as data):
            path = work.locate(str(step.path))
            owner, _, group = (step.owner or "").partition(":")
            yield from known.folder(path, "0755")
            yield {
                "name": name,
                "ansible.builtin.copy": {
                    "dest": path,
                    "content": _content(data, path, work),
                    "mode": f"{step.mode:04o}",
                    **({"owner": owner, "group": group} if step.owner else {}),
                },
                "when": known.possible(path),
            }
        case Link(target=str() as target):
            path = work.locate(str(step.path))
            owner, _, group = (step.owner or "").partition(":")
            yield from known.folder(path, "0755")
            yield {
                "name": name,
                "ansible.builtin.file": {
                    "path": path,
                    "src": target,
                    "state": "link",
                    "force": True,
                    **({"owner": owner, "group": group, "follow": False} if step.owner else {}),
                },
                "when": known.possible(path),
            }


def _remove(name: str, path: str) -> Iterator[Task]:
    yield {"name": name, "ansible.builtin.file": {"path": path, "state": "absent"}}
    folder = PurePosixPath(path).parent
    if goes_with_its_last(folder):
        yield {
            "name": f"{folder} goes with its last file",
            "ansible.builtin.command": {"argv": ["rmdir", str(folder)], "removes": str(folder)},
            "register": "crossnet_left",
            "changed_when": "crossnet_left.rc == 0",
            "failed_when": False,
        }


def _keep(word: str, data: bytes | None, work: Work, known: _Known) -> Iterator[Task]:
    """Write crossnet's own record; without one nothing of crossnet is there, so it was never verified either."""
    path = work.locate(APPLIED)
    name = {"during": "crossnet's own record, while it is done", "after": "crossnet's own record"}[word]
    if data is None:
        yield {
            "name": "Forget the last verification",
            "ansible.builtin.file": {"path": work.locate(VERIFIED), "state": "absent"},
        }
        yield from _remove(name, path)
        return
    yield from known.folder(path, "0700")
    yield {
        "name": name,
        "ansible.builtin.copy": {"dest": path, "content": _content(data, path, work), "mode": "0600"},
        "when": known.possible(path),
    }


def _content(data: bytes, path: str, work: Work) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ExportError(
            f"{work.name}: {path} was not text before, and a playbook holds only text\n  Use --format sh."
        ) from None


def _digest(data: bytes | None) -> str:
    return "absent" if data is None else hashlib.sha256(data).hexdigest()
