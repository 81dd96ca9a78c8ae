"""A plan for people who may not run crossnet on a host: as text that they review, and run by their own means.

Pure: a plan in, documents out. What is exported is what `apply` does, crossnet's own record included, so that
`status`, `undo` and a later `apply` find a host as if crossnet itself had been there.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from crossnet.export import ansible, rules, sh, ticket
from crossnet.export.document import Document, ExportError
from crossnet.export.work import works
from crossnet.planning import Plan
from crossnet.standing import Stamp


class Format(StrEnum):
    """What a plan can be exported as."""

    SH = "sh"
    ANSIBLE = "ansible"
    NFT = "nft"
    IPTABLES = "iptables"
    TICKET = "ticket"


def export(
    plan: Plan, wanted: Format, *, host: str | None = None, stamp: Stamp | None = None
) -> tuple[Document, ...]:
    """The documents of a plan, of one host where it is named; ExportError says why there is none.

    `sh`: a script for each host, in the order in which they are to be run. `ansible`: one playbook. `nft` and
    `iptables`: the rules of the gateways as they should be, whether or not they have to change. `ticket`: one page with
    the commands that a person would type, and those that take them back. `stamp` is who exports it, which the hosts'
    records then say: who runs it cannot be known.
    """
    if stamp is not None:
        plan = replace(plan, hosts=tuple(replace(one, after=one.after.stamped(stamp)) for one in plan.hosts))
    if wanted in (Format.NFT, Format.IPTABLES):
        return rules.documents(plan, iptables=wanted is Format.IPTABLES, host=host)
    todo = works(plan)
    chosen = [work for work in todo if host in (None, work.name)]
    if not todo:
        raise ExportError(
            "there is nothing to export: the hosts are as the spec says\n"
            "  The rules alone can be had at any time: --format nft or --format iptables."
        )
    if not chosen:
        names = ", ".join(work.name for work in todo)
        raise ExportError(f"nothing changes on {host}; the plan changes: {names}\n  Name one of these.")
    standing = [one for each in plan.hosts for one in (*each.before.crossings, *each.after.crossings)]
    if timed := [one.label for one in standing if one.until is not None]:
        raise ExportError(
            f"crossing {timed[0]} has `until`: only `crossnet apply` can make its hosts take it back by themselves\n"
            "  Apply it with crossnet; a crossing of yours can also do without `until`."
        )
    if wanted is Format.ANSIBLE:
        return (ansible.playbook(plan, chosen),)
    if wanted is Format.TICKET:
        return (ticket.page(plan, chosen),)
    return tuple(sh.script(plan, work, todo) for work in chosen)


__all__ = ["Document", "ExportError", "Format", "export"]
