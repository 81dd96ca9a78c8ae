"""A real Neutron, and a real Keystone that it asks who somebody is, each a process of its own on 127.0.0.1."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossnet.lab.neutron import install

if TYPE_CHECKING:
    from keystoneauth1.session import Session

_KEYSTONE = Path(__file__).parent / "serving" / "keystone.py"
_PASSWORD = "secret"
_STARTS = 180  # seconds on a machine that does much else


@dataclass(frozen=True)
class Served:
    """Where they are; `clouds` is a clouds.yaml with an entry for each user, and `noauth` without Keystone.

    The users are lab (an administrator of the project lab), member and reader (of the same), stranger (a member of the
    project other) and badpw, which is member with a wrong password.
    """

    folder: Path
    neutron: str
    keystone: str = ""

    @property
    def clouds(self) -> Path:
        return self.folder / "clouds.yaml"

    def session(self, user: str = "lab") -> Session:
        """The SDK's own login, to see and change things as others do."""
        from openstack.config import OpenStackConfig

        config = OpenStackConfig(config_files=[str(self.clouds)], load_envvars=False)
        return config.get_one(cloud=user).get_session()

    def entry(self, user: str, **more: object) -> dict[str, Any]:
        """What stands in clouds.yaml of a user; what is given besides goes into `auth`."""
        name = {"lab": "labadmin", "badpw": "member"}.get(user, user)
        auth = {
            "auth_url": self.keystone,
            "username": name,
            "password": "wrong" if user == "badpw" else _PASSWORD,
            "project_name": "other" if user == "stranger" else "lab",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }
        return {"region_name": "RegionOne", "auth": {**auth, **more}}


@contextmanager
def serve(folder: Path, *, with_keystone: bool = True, port_security: bool = True) -> Iterator[Served]:
    """Both until the block ends, or this process does; all that they keep and say is in the folder."""
    with ExitStack() as stack:
        neutron = stack.enter_context(_bound())
        options = [] if port_security else ["--no-port-security"]
        started: list[tuple[str, subprocess.Popen[bytes]]] = []
        served = Served(folder, _url(neutron))
        if with_keystone:
            keystone = stack.enter_context(_bound())
            served = Served(folder, _url(neutron), f"{_url(keystone)}/v3")
            asked = [str(_KEYSTONE), "--dir", str(folder / "keystone"), "--neutron", served.neutron]
            started.append(
                ("keystone", stack.enter_context(_started(folder / "keystone.log", asked, keystone)))
            )
            options += ["--auth-url", served.keystone]
        asked = [str(install.SERVE), "--dir", str(folder / "neutron"), *options]
        started.append(("neutron", stack.enter_context(_started(folder / "neutron.log", asked, neutron))))
        for name, process in started:
            _await_ready(folder / f"{name}.log", process)
        clouds: dict[str, Any] = {
            "noauth": {"auth_type": "none", "network_endpoint_override": served.neutron}
        }
        if with_keystone:
            users = ("lab", "member", "reader", "stranger", "badpw")
            clouds = {user: served.entry(user) for user in users}
        served.clouds.write_text(json.dumps({"clouds": clouds}))  # JSON is YAML
        yield served


def _bound() -> socket.socket:
    """A port that nobody else gets meanwhile."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()
    return f"http://{host}:{port}"


@contextmanager
def _started(
    log: Path, arguments: Sequence[str], listening: socket.socket
) -> Iterator[subprocess.Popen[bytes]]:
    # It ends with this process too, however that ends (prctl(2), PR_SET_PDEATHSIG).
    lifeline = ("setpriv", "--pdeathsig", "KILL")
    number = listening.fileno()
    argv = (*lifeline, str(install.program()), "-I", *arguments, "--listen", str(number))
    with log.open("wb") as said:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=(number,),
            env=_environment(log.parent),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _environment(folder: Path) -> Mapping[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _await_ready(log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTS
    while not any(line.startswith(b"ready") for line in log.read_bytes().splitlines()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{log.name}: {log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.05)
