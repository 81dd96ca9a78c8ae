"""A spec file becomes a `Spec`, or a `SpecError` that shows every mistake with its line and column.

    text ─▶ document ─▶ shape ─▶ meaning ─▶ Spec
            (nodes)     (keys,    (what one key
                         types)    says of another)

`document` is the only module that knows ruamel.yaml, `schema` and `shape` the only ones that know
pydantic: both take long to import, so the command line imports this package inside its commands.
"""

from __future__ import annotations

from pathlib import Path

from crossnet import localfile, spec
from crossnet.errors import Problem, SpecError
from crossnet.openstack import entry
from crossnet.spec import HostSpec, Spec
from crossnet.specfile import document, meaning, naming, schema, shape
from crossnet.specfile.document import Finding, Lines, Node
from crossnet.specfile.schema import json_schema
from crossnet.translation import Masquerade, Untranslated

__all__ = ["json_schema", "load", "names", "parse"]

LARGEST = 1024 * 1024  # bytes; 10,000 networks are 200 KB


def load(path: Path | str) -> Spec:
    """The spec in this file; SpecError also when the file cannot be read."""
    return parse(_read(path), str(path))


def parse(text: str, file: str) -> Spec:
    """The spec in this text; `file` is what mistakes are reported under. SpecError holds all of them."""
    root, findings = document.read(text, file)
    _refuse_newer_format(root, file)
    sound, misshapen = shape.check(root)
    draft = sound.says
    findings += misshapen + meaning.check(sound)
    name = draft.name or naming.from_file(file)
    if not naming.is_name(name) and "name" not in root.entries:
        findings.append(Finding(root.mark, naming.needed(name)))
    if findings:
        # An anchored part is checked wherever it is used, but its mistake was made once.
        raise SpecError([Problem(file, *mark, message) for mark, message in set(findings)])
    cloud = entry.named(draft.openstack.cloud, draft.openstack.region) if draft.openstack else ""
    return Spec(
        file=file,
        source=text,
        name=name,
        hosts=tuple(_host(name, host) for name, host in draft.hosts.items()),
        crossings=tuple(_crossing(name, cloud, each, one) for each, one in draft.crossings.items()),
    )


def names(path: Path | str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hosts and the crossings of a file, as far as it can be read, whatever is wrong with the rest."""
    try:
        root, _ = document.read(_read(path), str(path))
    except SpecError:
        return (), ()
    return tuple(root.section("hosts")), tuple(root.section("crossings"))


def _read(path: Path | str) -> str:
    try:
        return localfile.read(path, LARGEST).decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        mark = Lines(before).mark(len(before))
        message = f"byte 0x{error.object[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise SpecError([Problem(str(path), *mark, message)]) from None
    except FileNotFoundError:
        message = "there is no such file: `crossnet init` writes one, `-f FILE` names another"
    except IsADirectoryError:
        message = "this is a folder: name the spec file in it with `-f FILE`"
    except OSError as error:
        todo = "; check the path and its permissions" if error.errno else ""  # else it is a limit of ours
        message = f"the file cannot be read: {error.strerror}{todo}"
    except ValueError:  # a NUL byte in the path
        message = "this cannot be the name of a file: name the spec file with `-f FILE`"
    raise SpecError([Problem(str(path), 0, 0, message)])


def _refuse_newer_format(root: Node, file: str) -> None:
    """A newer file may differ in everything, so nothing else of it is worth a complaint."""
    version = root.entries.get("crossnet")
    # type(), because True is an int for Python but not for the user.
    if version is None or type(version.node.data) is not int or version.node.data <= spec.FORMAT:
        return
    message = (
        f"this file has format {version.node.data}, this crossnet reads format {spec.FORMAT}:"
        " a newer crossnet is needed"
    )
    raise SpecError([Problem(file, *version.node.mark, message)])


def _host(name: str, draft: schema.Host) -> HostSpec:
    return HostSpec(
        name=name,
        ssh=draft.ssh,
        local=draft.local,
        netns=draft.netns,
        lab=draft.lab,
        become=draft.become is not None,
    )


def _translate(draft: schema.Translate | schema.SnatTo) -> spec.Translate:
    match draft:
        case schema.SnatTo(snat=address):
            return spec.SnatTo(address)
        case schema.Translate.SNAT:
            return spec.SnatTo()
        case schema.Translate.MASQUERADE:
            return Masquerade()
        case schema.Translate.NONE:
            return Untranslated()


def _crossing(of: str, cloud: str, name: str, draft: schema.Crossing) -> spec.Crossing:
    return spec.Crossing(
        name=name,
        clients=draft.clients,
        via=draft.via,
        to=schema.destinations(draft),
        allow=schema.permitted(draft),
        translate=_translate(draft.translate),
        ingress=draft.ingress,
        egress=draft.egress,
        next_hop=draft.next_hop,
        firewall=draft.firewall,
        persist=draft.persist,
        fence=draft.fence,
        probes=draft.probe,
        excepted=schema.excepted(draft),
        until=draft.until,
        heal=draft.heal,
        cloud=cloud,
        port_security=draft.port_security or spec.PortSecurity.LEAST,
        routes=draft.routes,
        spec=of,
    )
