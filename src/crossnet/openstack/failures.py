"""What it means for an operator when a cloud says no, or nothing (measured with Neutron 29 and Keystone 30)."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossnet.errors import CloudError
from crossnet.openstack.entry import command
from crossnet.openstack.reading import harmless
from crossnet.openstack.secrets import without

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

# What crossnet calls it where the cloud has no word for it.
TIMEOUT = "Timeout"
UNREACHABLE = "Unreachable"
UNAUTHORIZED = "Unauthorized"
GIVEN_UP = "GivenUp"
NOT_CONFIGURED = "NotConfigured"
_NOT_JSON = "NotJSON"
_TOO_LARGE = "TooLarge"
_SENT_ELSEWHERE = "SentElsewhere"

_OPENED_MEANWHILE = "The port is not what it was when it was read. Nothing was changed; make a new plan."
_OFF = (
    "Its port security is off, or was to be: then it lets everything through, and takes neither groups nor pairs. Make "
    "a new plan; `openstack port show` tells what it has now."
)
_TODO = {
    "PortNotFound": (
        "It was removed, or it belongs to another project, of which this user sees nothing: `openstack port show` "
        "with credentials of its project tells. If it is gone, make a new plan."
    ),
    "SecurityGroupNotFound": (
        "It was removed, or it belongs to another project, of which this user sees nothing. Make a new plan."
    ),
    "SubnetNotFound": (
        "It was removed, or it belongs to another project, of which this user sees nothing: `openstack subnet show` "
        "with credentials of its project tells. If it is gone, make a new plan."
    ),
    "HostRoutesExhausted": (
        "Write fewer and larger networks in `to`, have whoever runs the cloud raise `max_subnet_host_routes`, or write "
        "`routes: host`, which sets the routes on the clients themselves."
    ),
    "RevisionNumberConstraintFailed": (
        "Somebody else has changed it since it was read. Nothing was changed; make a new plan."
    ),
    "PortSecurityPortHasSecurityGroup": _OPENED_MEANWHILE,
    "DuplicateAddressPairInRequest": _OPENED_MEANWHILE,
    "AddressPairAndPortSecurityRequired": _OFF,
    "PortSecurityAndIPRequiredForSecurityGroups": _OFF,
    "AllowedAddressPairExhausted": (
        "Write fewer and larger networks in `to`, have whoever runs the cloud raise `max_allowed_address_pair`, or "
        "write `port-security: disable`, which needs no pairs and opens the port for everybody."
    ),
    "SecurityGroupInUse": (
        "Ports are in it: `openstack port list --security-group GROUP` names them. Take them out, then do this again."
    ),
    "OverQuota": (
        "The project may have no more of these: `openstack quota show` tells. Remove what is not used, or ask whoever "
        "runs the cloud for more; then do this again."
    ),
    "SecurityGroupConflict": (
        "A port's groups are stateless or stateful, all of them alike, and crossnet's is stateful. Put the port into "
        "stateful groups, or write `port-security: leave` and open it by other means."
    ),
    "SecurityGroupRuleExists": "Somebody changes the same group. Do this again.",
}
_TODO_BY_STATUS = {
    400: "The cloud does not take it in this form: what it says above tells why.",
    401: (
        "The credentials are not accepted, or are over: check them with `{client} token issue`, "
        "and get a new token or application credential where they are one. One with access rules lets through the "
        "requests that they name, and no others."
    ),
    403: (
        "This user may not do that: either its role only reads, or the port's network belongs to another project, and "
        "then only an administrator may change what a port of it lets through. Ask one, or use other credentials."
    ),
    404: "There is nothing of that kind there: check the endpoint of the network service in the entry of clouds.yaml.",
    409: "Something at the cloud is in the way, as it says above. Make a new plan.",
    412: _TODO["RevisionNumberConstraintFailed"],
    413: "The cloud takes no request that long.",
    429: "The cloud takes no more requests for now. This one was not done; try again later.",
    502: "The service behind the endpoint does not answer: ask whoever runs the cloud, and try again later.",
    503: "The service is not there for now: ask whoever runs the cloud, and try again later.",
    504: "The service behind the endpoint does not answer: ask whoever runs the cloud, and try again later.",
}
_SERVER = (
    "Something in the cloud is broken: whoever runs it finds the reason in the log of its service{request}."
)
_NO_EXTENSION = (
    "This cloud does not have it: `openstack extension list --network` lists what it has. Without port security there "
    "is nothing to switch off."
)
_ELSEWHERE = (
    "What answers there is not the network service, or a proxy before it: check the endpoint in the entry of "
    "clouds.yaml, and the catalogue with `{client} catalog list`."
)
_REACH = (
    "Check the address in the entry of clouds.yaml, and whether this machine gets there: `{client} "
    "token issue`, then `{client} port list`."
)
_TODO_OF_IDENTITY = {each: _TODO_BY_STATUS[each] for each in (429, 502, 503, 504)}
_IDENTITY = (
    "That is its identity service (Keystone), which knows who asks: `{client} token issue` asks it alone. Correct the "
    "entry of clouds.yaml where it says what is wrong there; else whoever runs it finds the reason in its log."
)
_SENT_ON = (
    "Nothing is sent on to another host, for it would get the login: write the address that is meant as `auth_url`, or "
    "have the catalogue corrected."
)
_MAYBE = " Whether it was done is not known: look again before anything else is changed."


class TooLarge(Exception):
    """That an answer has more bytes than are read of one."""

    def __init__(self, most: int) -> None:
        super().__init__(f"its answer has more than {most >> 20} MiB, of which crossnet reads no more")


class SentOn(Exception):
    """That an answer sends on to another host, or from https to http."""

    def __init__(self, there: str) -> None:
        super().__init__(f"it sends on to {there}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP; `request` is the cloud's own number of the request, nothing where it has none."""

    status: int
    body: bytes
    request: str = ""
    retry_after: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def refused(cloud: str, tried: str, answer: Answer, *, changes: bool, todo: str = "") -> CloudError:
    """An answer that is no success, as an error; `todo` where it is known better than from the answer alone."""
    kind, message = _said(answer)
    words = f"{answer.status} {kind}" + (f": {message}" if message else "")
    is_open = changes and answer.status >= 500
    todo = todo or _todo(kind, message, answer).replace("{client}", command(cloud))
    return CloudError(
        cloud, tried, words, todo + _MAYBE * is_open, status=answer.status, kind=kind, is_open=is_open
    )


def _said(answer: Answer) -> tuple[str, str]:
    """The type and the message, as Neutron, Keystone or its middleware before Neutron write them."""
    with suppress(ValueError, RecursionError):
        document = json.loads(answer.body)
        if isinstance(document, dict):
            for key in ("NeutronError", "error"):
                said = document.get(key)
                if isinstance(said, str):
                    return key, harmless(said)
                if isinstance(said, dict):
                    kind = said.get("type") or said.get("title") or said.get("code")
                    return harmless(str(kind)), harmless(str(said.get("message") or ""))
    return _NOT_JSON, harmless(answer.body[:2000].decode(errors="replace"))


def _todo(kind: str, message: str, answer: Answer) -> str:
    if answer.status == 400 and message.startswith("Unrecognized attribute"):
        return _NO_EXTENSION
    known = _TODO.get(kind) or _TODO_BY_STATUS.get(answer.status)
    if known:
        return known
    if answer.status >= 500:
        return _SERVER.replace("{request}", f", at request {answer.request}" if answer.request else "")
    return _ELSEWHERE


def no_json(cloud: str, tried: str, answer: Answer, *, changes: bool) -> CloudError:
    """A success whose body is not what the API gives."""
    said = harmless(answer.body[:2000].decode(errors="replace"))
    seen = f"{answer.status}, and no JSON: {said}" if said else f"{answer.status}, and nothing else"
    todo = _ELSEWHERE.replace("{client}", command(cloud)) + _MAYBE * changes
    return CloudError(cloud, tried, seen, todo, status=answer.status, kind=_NOT_JSON, is_open=changes)


def late(cloud: str, tried: str, seconds: float, *, changes: bool) -> CloudError:
    todo = _REACH.replace("{client}", command(cloud)) + _MAYBE * changes
    seen = f"no answer within {seconds:.0f} seconds"
    return CloudError(cloud, tried, seen, todo, kind=TIMEOUT, is_open=changes, is_passing=True)


def given_up(cloud: str, tried: str) -> CloudError:
    """A request that was not sent, because nobody waits for its answer any more."""
    return CloudError(
        cloud, tried, "it was given up before this request was sent", "Do this again.", kind=GIVEN_UP
    )


def raised(
    cloud: str, tried: str, error: Exception, *, changes: bool, secrets: Collection[str] = ()
) -> CloudError:
    """What the SDK raises, as an error; of its own words nothing is repeated, for URLs with secrets may be in them.

    What a service says is, without these `secrets`.
    """
    from keystoneauth1 import exceptions as known

    def failed(
        seen: str,
        todo: str,
        kind: str,
        *,
        status: int | None = None,
        is_open: bool = False,
        is_passing: bool = False,
    ) -> CloudError:
        text = todo.replace("{client}", command(cloud)) + _MAYBE * is_open
        return CloudError(
            cloud, tried, seen, text, status=status, kind=kind, is_open=is_open, is_passing=is_passing
        )

    match error:
        case TooLarge():
            return failed(str(error), _ELSEWHERE, _TOO_LARGE, is_open=changes)
        case SentOn():
            return failed(str(error), _SENT_ON, _SENT_ELSEWHERE)
        case known.ConnectTimeout():
            return failed("no answer in time", _REACH, TIMEOUT, is_open=changes, is_passing=True)
        case known.SSLError():
            return failed(
                f"its certificate is not accepted{_certificate(error)}",
                "Name the file with the cloud's CA as `cacert` in the entry of clouds.yaml.",
                UNREACHABLE,
            )
        case known.ConnectFailure() | known.UnknownConnectionError():
            seen, is_open = _connection(error)
            return failed(seen, _REACH, UNREACHABLE, is_open=changes and is_open, is_passing=True)
        case known.HttpError():  # of the identity service: what Neutron says is not raised
            status = error.http_status
            # A token that is over is not found there, and the message holds it (keystone.exception.TokenNotFound).
            is_login = status in (401, 404)
            message = without(str(error.message or "").encode(), secrets).decode()
            said = f": {harmless(message)}" if message and status != 404 else ""
            return failed(
                f"the identity service said {status} {type(error).__name__}{said}",
                _TODO_BY_STATUS[401] if is_login else _TODO_OF_IDENTITY.get(status, _IDENTITY),
                UNAUTHORIZED if is_login else type(error).__name__,
                status=status,
            )
        case known.CatalogException():
            return failed(
                "its catalogue has no network service for that region and interface",
                "Check `region_name` and `interface` in the entry of clouds.yaml; `{client} "
                "catalog list` shows what there is.",
                type(error).__name__,
            )
        case known.DiscoveryFailure() | known.InvalidResponse():
            return failed(
                "what answers at its auth_url is not an identity service (Keystone)",
                "Check `auth_url` in the entry of clouds.yaml.",
                type(error).__name__,
            )
        case _:
            return failed(
                f"the library that asks it failed ({type(error).__name__})",
                _REACH,
                type(error).__name__,
                is_open=changes,
            )


def unusable(cloud: str, tried: str, error: Exception) -> CloudError:
    """What is wrong with the entry of a cloud; of its text nothing is repeated, for a password may be in it."""
    from keystoneauth1 import exceptions as known

    todo = f"Check it with `{command(cloud)} configuration show`."
    match error:
        case known.MissingRequiredOptions():
            seen = f"its entry lacks {', '.join(option.dest for option in error.options)}"
        case known.NoMatchingPlugin():
            seen = f"its entry has an auth_type that is not known here: {harmless(error.name)}"
            todo = "Correct it, or install the package of keystoneauth1 that has it."
        case _:
            seen = f"its entry cannot be used ({type(error).__name__})"
    return CloudError(cloud, tried, seen, todo, kind=NOT_CONFIGURED)


def unusable_file(region: CloudRegion, error: Exception) -> tuple[str, str] | None:
    """The file that the entry of a cloud names and that cannot be used, and what to do; None where it is not that."""
    from keystoneauth1 import exceptions as known

    if not isinstance(error, (OSError, known.SSLError)):
        return None
    authority, own = region.get_requests_verify_args()
    certificates = [own] if isinstance(own, str) else [*(own or ())]
    files = [*zip(("cert", "key"), certificates, strict=False)]
    if isinstance(authority, str):
        files.append(("cacert", authority))
    for key, path in files:
        shown = harmless(os.fspath(path))
        if not os.path.exists(path):
            return f"its `{key}` is not there: {shown}", f"Correct `{key}` in the entry of clouds.yaml."
        if key == "cacert" and not _are_certificates(path):
            return (
                f"its `cacert` has no certificate that can be read: {shown}",
                "Name a file with the certificate of the cloud's CA, in PEM.",
            )
    return None


def _are_certificates(path: str) -> bool:
    where = {"capath": path} if os.path.isdir(path) else {"cafile": path}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**where)
    except OSError:
        return False
    return True


def _connection(error: Exception) -> tuple[str, bool]:
    """What became of a connection, and whether a request may have gone over it."""
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    causes = list(_causes(error))
    if any(isinstance(each, NameResolutionError) for each in causes):
        return "the name of its endpoint is not known here", False
    words = next((each.strerror for each in causes if isinstance(each, OSError) and each.strerror), None)
    if any(isinstance(each, NewConnectionError) for each in causes):
        return f"no connection to its endpoint: {harmless(words or 'not possible')}", False
    return f"the connection to its endpoint broke: {harmless(words or 'it was closed')}", True


def _certificate(error: Exception) -> str:
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f" ({harmless(each.verify_message)})"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """All that an exception stands for: its cause is an argument, its `reason`, or behind it (requests, urllib3)."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
