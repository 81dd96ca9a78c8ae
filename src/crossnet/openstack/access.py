"""Requests to the network service of a cloud of clouds.yaml, with openstacksdk's configuration and login.

The SDK does what every OpenStack tool does alike: it reads clouds.yaml and OS_*, logs in (and again when a token is
over), and knows where the service is. The requests are made here: what is absent in an answer has to be told from what
is false, and the SDK's objects say False for both.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import crossnet
from crossnet.errors import CloudError, CrossnetError
from crossnet.openstack import failures, reading
from crossnet.openstack.entry import named, parted
from crossnet.openstack.failures import Answer
from crossnet.openstack.secrets import secrets_of, without
from crossnet.several import few
from crossnet.specfile.words import nearest

if TYPE_CHECKING:
    from keystoneauth1.access import AccessInfo
    from keystoneauth1.session import Session
    from openstack.config import OpenStackConfig
    from openstack.config.cloud_region import CloudRegion
    from requests import Response

ENVIRONMENT = "envvars"  # what the SDK calls OS_*

# Of the thread that asks: whether nobody waits for it any more, so that it sends no further request.
_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


def give_up_by(event: threading.Event) -> None:
    """Have the requests of this thread end when the event is set: the one under way is the last."""
    _given_up.set(event)


# Seconds: until there is a connection, without a byte of an answer, and of waiting where a cloud says for how long.
_CONNECT = 10.0
_SILENCE = 30.0
_PATIENCE = 20.0
_TRIES = 4
_WAIT = 1.0

_WHO = "asked who is logged in"

_LARGEST = 64 << 20  # bytes of one answer: some 40,000 ports
_LONGEST_QUERY = 3000  # characters; servers take 4096 or more of a request's line
_MOST_PAGES = 1000

_LACKING = (
    "crossnet needs openstacksdk to ask a cloud, and it is not installed\n"
    "  Install crossnet with it: `pipx install --force '.[openstack]'` in the clone."
)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request below the service's endpoint; its `path` has the query too."""

    method: str
    path: str
    body: object
    headers: Mapping[str, str]

    @property
    def changes(self) -> bool:
        return self.method != "GET"


class Access:
    """The way to one cloud; it is configured when it is first asked, and blocks its thread while it asks.

    From then on `name` has the region too, where OS_REGION_NAME says which of several it is.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.changes = 0  # requests to change something, so far
        self._session: Session | None = None
        self._region: CloudRegion | None = None
        self._endpoint = ""
        self._secrets: set[str] = set()

    def close(self) -> None:
        """End the connections; the next request opens others."""
        if self._session is not None:
            self._session.close()
        self._session, self._region, self._endpoint = None, None, ""

    def list(
        self, path: str, tried: str, query: Sequence[tuple[str, str]] = (), key: str = ""
    ) -> list[dict[str, Any]]:
        """All entries of a collection, such as `ports`, that have one of the values of each name in the query."""
        return [
            entry
            for part in _parted(query)
            for entry in self._pages(path, tried, part, key or path_key(path))
        ]

    def roles(self) -> Sequence[str]:
        """The roles of whoever is logged in, as the identity service named them; none where it was not asked."""
        login = self._login()
        if login is None:
            return ()
        with reading.door(self.name, _WHO):
            return sorted(map(reading.harmless, login.role_names or ()))

    def scope(self) -> tuple[str, bool]:
        """The project of whoever is logged in, and whether things of all projects are seen by it.

        Neutron's own policies show everything to the role admin; without an identity service everybody has it.
        """
        from keystoneauth1.noauth import NoAuth

        if self._session is not None and isinstance(self._session.auth, NoAuth):
            return "", True
        login = self._login()
        if login is None:
            return "", False
        with reading.door(self.name, _WHO):
            project = reading.harmless(login.project_id or "")
        return project, "admin" in self.roles()

    def _login(self) -> AccessInfo | None:
        """What the identity service said when it was asked last; None where it was not, or says no by now."""
        from keystoneauth1.exceptions import ClientException
        from keystoneauth1.identity.base import BaseIdentityPlugin

        session = self._session
        if session is None or not isinstance(session.auth, BaseIdentityPlugin):
            return None
        # A token that was over and cannot be had anew: the next request tells it.
        with reading.door(self.name, _WHO), suppress(ClientException):
            return session.auth.get_access(session)
        return None

    def _pages(
        self, path: str, tried: str, query: Sequence[tuple[str, str]], key: str
    ) -> Iterable[dict[str, Any]]:
        """A server may give less at once than was asked for, with a link to what follows."""
        marker = ""
        for _ in range(_MOST_PAGES):
            more = [*query, ("marker", marker)] if marker else query
            document = self.ask("GET", path, tried, query=more)
            with reading.door(self.name, tried):
                yield from reading.listed(document, key)
                following = _following(document, key)
            if not following:
                return
            marker = following
        with reading.door(self.name, tried):
            raise ValueError(f"more than {_MOST_PAGES} pages of {key}")

    def ask(
        self,
        method: str,
        path: str,
        tried: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request, and the JSON of its answer; None where a success has no body. CloudError for all else."""
        changes = method != "GET"
        self.changes += changes
        answer = self._patiently(_Request(method, path + _query(query), body, headers or {}), tried)
        if not answer.ok:
            answer = self._discreet(answer)
            todo = self._lacking_role(path) if answer.status == 403 and changes else ""
            raise failures.refused(self.name, tried, answer, changes=changes, todo=todo)
        if answer.status == 204:
            return None
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            answer = self._discreet(answer)
            raise failures.no_json(self.name, tried, answer, changes=changes) from None

    def _lacking_role(self, path: str) -> str:
        """What to do about a 403, where a role alone decides: of a port or subnet the owner of its network does too."""
        roles = self.roles() if path.startswith("/security-group") else ()
        return (
            f"This user's roles in the project are {', '.join(roles)}, which is not enough to change a security group: "
            "use credentials with the role member."
            if roles
            else ""
        )

    def _discreet(self, answer: Answer) -> Answer:
        return replace(answer, body=without(answer.body, self._secrets))

    def _patiently(self, asked: _Request, tried: str) -> Answer:
        """The answer, asked for again where the cloud says that it had no time: a 429 was not done, nor was a GET."""
        left = _PATIENCE
        for again in range(_TRIES, 0, -1):
            answer = self._once(asked, tried)
            if not (answer.status == 429 or (answer.status == 503 and not asked.changes)):
                break
            wait = _seconds(answer.retry_after)
            if again == 1 or wait > left:
                break
            left -= wait
            given_up = _given_up.get()
            given_up.wait(wait) if given_up is not None else time.sleep(wait)
        return answer

    def _once(self, asked: _Request, tried: str) -> Answer:
        try:
            session, endpoint = self._opened()
            if (given_up := _given_up.get()) is not None and given_up.is_set():
                raise failures.given_up(self.name, tried)
            said = session.request(
                f"{endpoint}{asked.path}",
                asked.method,
                json=asked.body,
                headers={"Accept": "application/json", **asked.headers},
                raise_exc=False,
                redirect=False,  # Neutron has no request answered elsewhere
                connect_retries=0,
                timeout=(_CONNECT, _SILENCE),
            )
        except CrossnetError:
            raise
        except Exception as error:
            if self._region is not None and (unusable := failures.unusable_file(self._region, error)):
                raise CloudError(self.name, tried, *unusable, kind=failures.NOT_CONFIGURED) from None
            raise failures.raised(
                self.name, tried, error, changes=asked.changes, secrets=self._secrets
            ) from None
        self._secrets.add(str(said.request.headers.get("X-Auth-Token", "")))
        return Answer(
            said.status_code,
            said.content,
            reading.harmless(said.headers.get("x-openstack-request-id", "")),
            said.headers.get("Retry-After", ""),
        )

    def _opened(self) -> tuple[Session, str]:
        if self._session is None or not self._endpoint:
            region = self._configured()
            session = region.get_session()
            session.timeout = _SILENCE  # of what the SDK asks by itself, to log in
            session.session.hooks["response"].append(_bound)
            self._session, self._region = session, region
            self._secrets = set(secrets_of(region.config))
            self._endpoint = _versioned(region.get_endpoint("network") or self._of_catalogue(session, region))
        return self._session, self._endpoint

    def _of_catalogue(self, session: Session, region: CloudRegion) -> str:
        from keystoneauth1.exceptions import EndpointNotFound

        _refuse_no_project(self.name, session)
        if not region.get_region_name("network") and len(regions := _regions_of(session, region)) > 1:
            raise self._several("its catalogue", regions)
        found = session.get_endpoint(
            service_type=region.get_service_type("network"),
            service_name=region.get_service_name("network"),
            interface=region.get_interface("network"),
            region_name=region.get_region_name("network"),
            skip_discovery=True,  # Neutron has had one version, v2.0, and says 404 below it
        )
        if not found:
            raise EndpointNotFound
        return found

    def _configured(self) -> CloudRegion:
        try:
            from openstack.config import OpenStackConfig
        except ImportError:
            raise CrossnetError(_LACKING) from None
        for name in ("keystoneauth", "openstack"):
            logging.getLogger(name).addHandler(
                logging.NullHandler()
            )  # else their warnings go to the terminal
        entry, asked = parted(self.name)
        tried = self._tried
        try:
            config = OpenStackConfig(app_name="crossnet", app_version=crossnet.__version__)
            if entry not in _named(config):
                raise self._unknown(entry, config, tried)
            regions = [str(each["name"]) for each in config._get_known_regions(entry)]
            # The SDK itself takes the first of several, and OS_REGION_NAME for `envvars` alone.
            wanted = asked or (os.environ.get("OS_REGION_NAME", "") if entry != ENVIRONMENT else "")
            if not wanted and len(regions) > 1:
                raise self._several("its entry", regions)
            if wanted and regions and wanted not in regions:
                raise self._without_region(wanted, regions)
            if regions != [wanted]:
                self.name = named(entry, reading.harmless(wanted))
            return config.get_one(cloud=entry, region_name=wanted)
        except CrossnetError:
            raise
        except Exception as error:
            raise failures.unusable(self.name, tried, error) from None

    @property
    def _tried(self) -> str:
        return f"looked for it in {'OS_*' if parted(self.name)[0] == ENVIRONMENT else 'clouds.yaml'}"

    def _several(self, whose: str, regions: Sequence[str]) -> CloudError:
        entry, first = parted(self.name)[0], reading.harmless(regions[0])
        todo = (
            f"Say which one: `openstack: {{cloud: {entry}, region: {first}}}` in the spec, `--cloud {entry}/{first}`, "
            "or OS_REGION_NAME as for `openstack`."
        )
        seen = f"{whose} has several regions: {_listed(regions)}"
        return CloudError(self.name, self._tried, seen, todo, kind=failures.NOT_CONFIGURED)

    def _without_region(self, wanted: str, regions: Sequence[str]) -> CloudError:
        whence = "" if parted(self.name)[1] else " (OS_REGION_NAME)"
        seen = (
            f"its entry has no region {reading.harmless(wanted)!r}{whence}, but {_listed(regions)}"
            f"{nearest(wanted, regions)}"
        )
        return CloudError(self.name, self._tried, seen, "Correct its name.", kind=failures.NOT_CONFIGURED)

    def _unknown(self, entry: str, config: OpenStackConfig, tried: str) -> CloudError:
        if entry == ENVIRONMENT:
            seen = "OS_AUTH_URL and the like are not set"
            todo = "Read the file with them into the shell (`. openrc.sh`), or name an entry of clouds.yaml."
        elif broken := _skipped(config):
            seen = f"{broken} cannot be read, or is no YAML"
            todo = "Correct it; the SDK passes over such a file."
        elif config.config_filename:
            names = _named(config)
            others = f", but {_listed(names)}" if names else ", nor any other"
            seen = f"{config.config_filename} has no cloud {entry!r}{others}{nearest(entry, names)}"
            todo = (
                "Correct the name, or add the entry. It is the first file that there is of those looked for."
            )
        else:
            seen = "there is no such file"
            listed = ", ".join(path for path in _files() if path.endswith(".yaml"))
            todo = f"Looked for {listed}. OS_CLIENT_CONFIG_FILE names another; `envvars` takes OS_*."
        return CloudError(self.name, tried, seen, todo, kind=failures.NOT_CONFIGURED)


class _Bounded:
    """The body of an answer as it comes, and an error instead of more than is read of one."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def stream(self, *asked: Any, **more: Any) -> Iterator[bytes]:
        read = 0
        for part in self._body.stream(*asked, **more):
            read += len(part)
            if read > _LARGEST:
                self._body.close()
                raise failures.TooLarge(_LARGEST)
            yield part


def _bound(answer: Response, **_: object) -> None:
    """Also of what the SDK asks by itself: it would follow to any host, with password or token."""
    answer.raw = _Bounded(answer.raw)
    if answer.is_redirect:
        asked = urlsplit(answer.request.url or "")
        there = urlsplit(urljoin(asked.geturl(), answer.headers["location"]))
        if there.hostname != asked.hostname or (asked.scheme, there.scheme) == ("https", "http"):
            answer.close()
            raise failures.SentOn(reading.harmless(f"{there.scheme}://{there.hostname}"))


def _refuse_no_project(cloud: str, session: Session) -> None:
    from keystoneauth1.identity.base import BaseIdentityPlugin

    if not isinstance(session.auth, BaseIdentityPlugin):
        return
    login = session.auth.get_access(session)
    if not login.project_scoped and not login.has_service_catalog():
        raise CloudError(
            cloud,
            "asked where its network service is",
            "the login is for no project, and gets no catalogue of services",
            "Name the project in the entry of clouds.yaml: `project_name` with `project_domain_name`, or `project_id`.",
            kind=failures.NOT_CONFIGURED,
        )


def _regions_of(session: Session, region: CloudRegion) -> list[str]:
    """The regions in which the catalogue has a network service; none where nobody logs in."""
    from keystoneauth1.identity.base import BaseIdentityPlugin

    if not isinstance(session.auth, BaseIdentityPlugin):
        return []
    found = session.auth.get_access(session).service_catalog.get_endpoints_data(
        service_type=region.get_service_type("network"),
        service_name=region.get_service_name("network"),
        interface=region.get_interface("network"),
    )
    return sorted({str(each.region_name) for endpoints in found.values() for each in endpoints})


def _listed(names: Sequence[str]) -> str:
    return few([*map(reading.harmless, names)], 10, ", ")


def _named(config: OpenStackConfig) -> list[str]:
    """The clouds that somebody wrote down: without any the SDK makes one of its defaults."""
    return sorted(name for name in config.get_cloud_names() if name != "defaults")


def _skipped(config: OpenStackConfig) -> str:
    """The first file that is there and was passed over; nothing where there is none."""
    for path in _files():
        if path == config.config_filename:
            break
        if os.path.exists(path):
            return path
    return ""


def _files() -> list[str]:
    """Where the SDK looks, in its order."""
    from openstack.config.loader import CONFIG_FILES

    own = os.environ.get("OS_CLIENT_CONFIG_FILE")
    return list(dict.fromkeys([*([own] if own else []), *CONFIG_FILES]))


def path_key(path: str) -> str:
    """`security_groups` of `/security-groups`."""
    return path.strip("/").replace("-", "_")


def _versioned(endpoint: str) -> str:
    """The URL of v2.0 itself: catalogues have it with the version and without."""
    root = endpoint.rstrip("/")
    return root if root.endswith("/v2.0") else f"{root}/v2.0"


def _query(query: Sequence[tuple[str, str]]) -> str:
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query) if query else ""


def _parted(query: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The query in parts that a server takes; of the values of one name each entry has one, so each is asked once."""
    parts: list[list[tuple[str, str]]] = [[]]
    for item in query:
        if len(_query([*parts[-1], item])) > _LONGEST_QUERY:
            parts.append([])
        parts[-1].append(item)
    return parts


def _following(document: Mapping[str, Any], key: str) -> str:
    """The marker of the next page; nothing where this one was the last."""
    for link in document.get(f"{key}_links") or []:
        if reading.fields(link).get("rel") == "next":
            return parse_qs(urlsplit(str(link["href"])).query)["marker"][0]
    return ""


def _seconds(retry_after: str) -> float:
    """Retry-After in seconds; a date, which is its other form, is not waited for (RFC 9110, 10.2.3)."""
    if not retry_after:
        return _WAIT
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else _PATIENCE + 1
