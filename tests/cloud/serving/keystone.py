"""Serve the real Keystone API from one process on a new sqlite database, with the users that the tests log in as.

A program for the Python that Neutron is installed in (crossnet.lab.neutron.install):

    PYTHON -I keystone.py --dir DIR --listen FD --neutron http://127.0.0.1:9696

DIR has to be new. In the project `lab` there are labadmin (admin), member and reader, in `other` stranger (member);
they have one password. It prints a line that begins with "ready" when it answers. TERM and INT end it at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import uuid
from typing import Any

PASSWORD = "secret"
DOMAIN = "default"
USERS = (
    ("neutron", "service", ("admin", "service")),
    ("labadmin", "lab", ("admin",)),
    ("member", "lab", ("member",)),
    ("reader", "lab", ("reader",)),
    ("stranger", "other", ("member",)),
)

# Where systemd's socket activation has the socket that is listened on (sd_listen_fds(3)), which cheroot knows.
_LISTENS = 3

_CONF = """\
[database]
connection = sqlite:///{dir}/keystone.sqlite
[token]
provider = fernet
[fernet_tokens]
key_repository = {dir}/tokens
[fernet_receipts]
key_repository = {dir}/receipts
[credential]
key_repository = {dir}/credentials
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", required=True)
    parser.add_argument("--listen", type=int, required=True, metavar="FD", help="an inherited socket, bound")
    parser.add_argument("--neutron", required=True, help="the root of its URL, for the catalogue")
    return parser.parse_args()


def _application(conf: str) -> Any:
    """Keystone's WSGI application, with tables and keys made before it looks for them."""
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = conf
    sys.argv = ["keystone"]  # Keystone parses it
    from keystone.common import fernet_utils
    from keystone.common.sql import upgrades
    from keystone.conf import CONF
    from keystone.server.flask import core

    def prepare() -> None:
        upgrades.offline_sync_database_to_version()
        for group in ("fernet_tokens", "fernet_receipts"):
            settings = CONF[group]
            keys = fernet_utils.FernetUtils(settings.key_repository, settings.max_active_keys, group)
            keys.create_key_directory()
            keys.initialize_key_repository()

    return core.initialize_application("public", prepare, [conf])


def _fill(url: str, neutron: str) -> None:
    """What `keystone-manage bootstrap` makes, and the tests' own."""
    from keystone.cmd import bootstrap
    from keystone.common.provider_api import ProviderAPIs as Apis
    from keystone.server import backends

    backends.load_backends = lambda: None  # they are loaded, which nothing may do twice
    first = bootstrap.Bootstrapper()
    first.admin_username = first.project_name = first.admin_role_name = "admin"
    first.admin_password = PASSWORD
    first.service_name, first.region_id = "keystone", "RegionOne"
    first.admin_url = first.public_url = first.internal_url = url
    first.bootstrap()

    roles = {role["name"]: role["id"] for role in Apis.role_api.list_roles()}
    projects: dict[str, str] = {}
    for name, project, granted in USERS:
        if project not in projects:
            projects[project] = _new()
            Apis.resource_api.create_project(projects[project], _named(projects[project], project))
        user = Apis.identity_api.create_user(
            {"name": name, "password": PASSWORD, "domain_id": DOMAIN, "enabled": True}
        )
        for role in granted:
            Apis.assignment_api.create_grant(roles[role], user_id=user["id"], project_id=projects[project])
    service, endpoint = _new(), _new()
    Apis.catalog_api.create_service(
        service, {"id": service, "type": "network", "name": "neutron", "enabled": True}
    )
    Apis.catalog_api.create_endpoint(
        endpoint,
        {
            "id": endpoint,
            "interface": "public",
            "region_id": "RegionOne",
            "service_id": service,
            "url": neutron,
            "enabled": True,
        },
    )


def _named(project: str, name: str) -> dict[str, object]:
    return {
        "id": project,
        "name": name,
        "domain_id": DOMAIN,
        "parent_id": DOMAIN,
        "is_domain": False,
        "enabled": True,
        "description": "",
    }


def _new() -> str:
    return uuid.uuid4().hex


def main() -> None:
    arguments = _arguments()
    if arguments.listen != _LISTENS:
        os.dup2(arguments.listen, _LISTENS)  # before anything else is opened there
    os.set_inheritable(_LISTENS, False)
    os.environ["LISTEN_PID"] = str(os.getpid())
    folder = os.path.abspath(arguments.dir)
    os.makedirs(folder, mode=0o700)
    os.mkdir(os.path.join(folder, "credentials"), mode=0o700)
    conf = os.path.join(folder, "keystone.conf")
    with open(conf, "x", encoding="utf-8") as file:
        file.write(_CONF.format(dir=folder))
    application = _application(conf)
    with socket.socket(fileno=os.dup(_LISTENS)) as listening:
        host, port = listening.getsockname()
    _fill(f"http://{host}:{port}/v3/", arguments.neutron)
    from cheroot import wsgi

    server = wsgi.Server((host, port), application, numthreads=4)
    server.prepare()
    # cheroot's own stop waits for the clients' open connections.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    print("ready", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
