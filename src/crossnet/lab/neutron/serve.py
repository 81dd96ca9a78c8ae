"""Serve the real Neutron API from one process: no broker, database server, agent or nova.

A program for the Python that Neutron is installed in (crossnet.lab.neutron.install); nothing of crossnet is
imported here, and nothing imports it:

    PYTHON -I serve.py --dir DIR                                 every request counts as an administrator's
    PYTHON -I serve.py --dir DIR --auth-url http://127.0.0.1:5000/v3    with Keystone
    PYTHON -I serve.py --dir DIR --enforce                       with Neutron's own iptables firewall driver

DIR gets neutron.conf and the database at the first start; a later start needs the same options. It prints a line
that begins with "ready" when it answers. TERM and INT end it at once.

With --enforce it does what the agent does on a hypervisor, in the network namespace that it runs in: the devices
named tap<first 11 characters of the port's id> get the port's rules, and the port is ACTIVE while its device is
there. It looks again after each request that is not a GET, and at POST /sync, when a device was plugged or unplugged.
The bridges have to be named brq<first 11 of the network's id>: the rules name them.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

_App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_STARTED = time.monotonic()

# Where systemd's socket activation has the socket that is listened on (sd_listen_fds(3)), which cheroot knows.
_LISTENS = 3

_CONF = """\
[DEFAULT]
auth_strategy = {auth_strategy}
core_plugin = ml2
service_plugins =
transport_url = fake://
api_paste_config = {prefix}/etc/neutron/api-paste.ini
state_path = {dir}
use_stderr = true
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
debug = false

[database]
connection = sqlite:///{dir}/neutron.sqlite
sqlite_fk = true
sqlite_synchronous = false

[oslo_concurrency]
lock_path = {dir}/lock

[ml2]
type_drivers = flat,vlan,vxlan,local
tenant_network_types = local
mechanism_drivers = logger
extension_drivers = {extension_drivers}
"""

_KEYSTONE_CONF = """
[keystone_authtoken]
www_authenticate_uri = {auth_url}
auth_url = {auth_url}
auth_type = password
username = neutron
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
service_token_roles_required = true
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", required=True, help="folder for neutron.conf and the database")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=9696, help="of 127.0.0.1")
    where.add_argument("--listen", type=int, metavar="FD", help="an inherited socket, bound already")
    parser.add_argument(
        "--auth-url", help="Keystone, such as http://127.0.0.1:5000/v3; without it none is asked"
    )
    parser.add_argument("--password", default="secret", help="of Keystone's user `neutron`")
    parser.add_argument(
        "--no-port-security", action="store_true", help="a cloud without the port-security extension"
    )
    parser.add_argument("--enforce", action="store_true", help="filter the devices of this network namespace")
    return parser.parse_args()


def _write_conf(arguments: argparse.Namespace) -> str:
    """Write DIR/neutron.conf and return its path.

    Another one that is there ends the program: to go on with it would serve everybody as an administrator, where
    only --auth-url is new.
    """
    folder = os.path.abspath(arguments.dir)
    os.makedirs(os.path.join(folder, "lock"), mode=0o700, exist_ok=True)
    path = os.path.join(folder, "neutron.conf")
    text = _CONF.format(
        auth_strategy="keystone" if arguments.auth_url else "noauth",
        prefix=sys.prefix,
        dir=folder,
        extension_drivers="" if arguments.no_port_security else "port_security",
    )
    if arguments.auth_url:
        text += _KEYSTONE_CONF.format(auth_url=arguments.auth_url, password=arguments.password)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        with open(path, encoding="utf-8") as there:
            if there.read() != text:
                sys.exit(f"{path} was written for other options, or changed: take another --dir")
        return path
    with open(file, "w", encoding="utf-8") as new:
        new.write(text)
    return path


def _add_default_rules(engine: Any) -> None:
    """Add the default security group rules that migration c33da356b165 inserts.

    Making the tables makes only tables. Without these four rows every `default` security group is without a single
    rule, and nothing says so.
    """
    import neutron
    import sqlalchemy as sa
    from neutron_lib.db import model_base

    [path] = glob.glob(
        os.path.join(
            os.path.dirname(neutron.__file__),
            *("db", "migration", "alembic_migrations", "versions", "*", "expand", "c33da356b165_*.py"),
        )
    )
    spec = importlib.util.spec_from_file_location("default_rules_migration", path)
    assert spec is not None
    assert spec.loader is not None
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    tables = model_base.BASEV2.metadata.tables
    rules = tables[migration.table_name]
    with engine.begin() as connection:
        if connection.execute(sa.select(sa.func.count()).select_from(rules)).scalar():
            return
        for template in migration.default_template_rules:
            rule = dict(template)
            attributes = connection.execute(
                tables["standardattributes"]
                .insert()
                .values(resource_type=migration.table_name, description=rule.pop("description"))
            )
            connection.execute(
                rules.insert().values(standard_attr_id=attributes.inserted_primary_key[0], **rule)
            )


def _api(conf: str) -> _App:
    """Neutron's WSGI application."""
    os.environ["OS_NEUTRON_CONFIG_DIR"] = os.path.dirname(conf)
    os.environ["OS_NEUTRON_CONFIG_FILES"] = os.path.basename(conf)
    sys.argv = ["neutron-api"]  # Neutron parses it
    from neutron import server as neutron_server
    from neutron.server import api as neutron_api

    def begin() -> Any:
        # As Neutron's own unit tests do: sqlite cannot run the migrations.
        from neutron.db.migration.models import head  # noqa: F401  all tables
        from neutron_lib.db import api as db_api
        from neutron_lib.db import model_base

        engine = db_api.CONTEXT_WRITER.get_engine()
        model_base.BASEV2.metadata.create_all(engine)
        _add_default_rules(engine)
        return neutron_api.api_server()

    app: _App = neutron_server.boot_server(begin, prog="neutron-api")
    return app


class _Firewall:
    """What Neutron's agent does with the devices of a hypervisor, without broker and nova.

    The server's side (SecurityGroupServerRpcCallback) feeds the agent's (SecurityGroupAgentRpc) within this process,
    which drives the real IptablesFirewallDriver.
    """

    def __init__(self) -> None:
        from neutron import privileged
        from neutron.agent import securitygroups_rpc as agent_rpc
        from neutron.agent.linux import iptables_firewall
        from neutron.api.rpc.handlers import securitygroups_rpc as server_rpc
        from neutron.conf.agent import common as agent_conf
        from neutron.conf.agent import securitygroups_rpc as groups_conf
        from neutron_lib import context
        from neutron_lib.plugins import directory
        from oslo_config import cfg
        from oslo_privsep import priv_context

        for value in vars(privileged).values():
            if isinstance(value, priv_context.PrivContext):
                value.set_client_mode(False)  # this is root already: no daemon with its privileges
        agent_conf.register_root_helper(cfg.CONF)
        agent_conf.register_iptables_opts(cfg.CONF)
        groups_conf.register_securitygroups_opts()
        cfg.CONF.set_override("root_helper", "env", group="AGENT")
        cfg.CONF.set_override("root_helper_daemon", None, group="AGENT")
        cfg.CONF.set_override("firewall_driver", "noop", group="SECURITYGROUP")
        cfg.CONF.set_override("enable_ipset", False, group="SECURITYGROUP")
        callback = server_rpc.SecurityGroupServerRpcCallback()

        class InProcess:
            """Stands for SecurityGroupServerRpcApi, which asks by the broker."""

            def security_group_info_for_devices(self, admin: Any, devices: Iterable[str]) -> Any:
                return callback.security_group_info_for_devices(
                    admin, devices=list(devices), call_version="1.3"
                )

        self._admin = context.get_admin_context()
        self._ports = directory.get_plugin()
        self._alone = threading.Lock()
        self._plugged: set[str] = set()
        self._agent = agent_rpc.SecurityGroupAgentRpc(self._admin, InProcess())
        self._agent.firewall = iptables_firewall.IptablesFirewallDriver()

    def follow(self) -> None:
        """Bring the rules to what the API says now, and the ports' states to which devices are there."""
        with self._alone:
            now = {name for _, name in socket.if_nameindex() if name.startswith("tap")}
            gone, new, kept = self._plugged - now, now - self._plugged, now & self._plugged
            self._agent.remove_devices_filter(gone)
            self._agent.prepare_devices_filter(new)
            if kept:
                self._agent.refresh_firewall(kept)
            for devices, status in ((gone, "DOWN"), (new, "ACTIVE")):
                for device in sorted(devices):
                    self._ports.update_port_status(self._admin, device.removeprefix("tap"), status)
            self._plugged = now


def _enforced(app: _App, firewall: _Firewall) -> _App:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/sync":
            firewall.follow()
            start_response("204 No Content", [])
            return [b""]
        body = b"".join(app(environ, start_response))
        if environ["REQUEST_METHOD"] != "GET":
            firewall.follow()
        return [body]

    return answer


def main() -> None:
    arguments = _arguments()
    if arguments.listen is not None:
        if arguments.listen != _LISTENS:
            os.dup2(arguments.listen, _LISTENS, inheritable=False)
            os.close(arguments.listen)
        os.environ["LISTEN_PID"] = str(os.getpid())
    app = _api(_write_conf(arguments))
    if arguments.enforce:
        app = _enforced(app, _Firewall())
    from cheroot import wsgi

    # One thread: with more sqlite answers "database is locked", and Neutron 500.
    server = wsgi.Server(("127.0.0.1", arguments.port), app, numthreads=1)
    server.prepare()
    # There is nothing to finish, for a request is one transaction; cheroot's own stop waits for the clients' open
    # connections.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    print(f"ready after {time.monotonic() - _STARTED:.2f} s", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
