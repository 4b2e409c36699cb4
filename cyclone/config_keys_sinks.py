"""The configuration keys of sinks and metrics, as ``config_keys.py`` has those of everything else."""

from cyclone import config_kinds as kinds
from cyclone.config_key import ALL, MASTER, SINKS, Key, Role
from cyclone.config_kinds import Kind

_DATABASE: tuple[Role, ...] = ("database_proxy",)
_PUSH: tuple[Role, ...] = ("pushgateway_client",)
_COUNT_MAX = 1_000_000_000


def _key(section: str, name: str, kind: Kind, default: str | None, roles: tuple[Role, ...], text: str) -> Key:
    return Key(section, name, kind, default, roles, text)


SINK_KEYS: tuple[Key, ...] = (
    _key(
        "sink",
        "targets",
        kinds.ENDPOINTS,
        "",
        MASTER,
        "Sinks that get every result and record: host:port of a database proxy or Pushgateway client; empty: none.",
    ),
    _key(
        "sink",
        "key_file",
        kinds.PATH,
        "",
        MASTER,
        "The key with which the master goes to its sinks, of the role master; empty: they have no keys.",
    ),
    _key(
        "sink",
        "results",
        kinds.SWITCH,
        "no",
        _DATABASE,
        "Whether every task's result is stored, beside the records that tasks make.",
    ),
    _key(
        "sink",
        "spool_max",
        kinds.size(1 << 20),
        "4GiB",
        SINKS,
        "Disk space for what is not passed on yet; when it is full nothing more is taken, and the master waits.",
    ),
    _key("db", "host", kinds.TEXT, "", _DATABASE, "Host of the database server; with a port as host:port."),
    _key("db", "socket", kinds.PATH, "", _DATABASE, "Its Unix socket, instead of the host."),
    _key(
        "db",
        "driver",
        kinds.choice("mysql", "sqlite", "jsonlines"),
        None,
        _DATABASE,
        "Where rows go: mysql is also MariaDB; by default mysql where host or socket is given, else sqlite.",
    ),
    _key("db", "user", kinds.TEXT, "", _DATABASE, "User of the database."),
    _key("db", "password", kinds.TEXT, "", _DATABASE, "Its password; better in password_file, or in option_file."),
    _key(
        "db",
        "password_file",
        kinds.PATH,
        "",
        _DATABASE,
        "File of the password alone; a bare name is looked for in $CREDENTIALS_DIRECTORY, which systemd sets.",
    ),
    _key(
        "db",
        "option_file",
        kinds.PATH,
        "",
        _DATABASE,
        "Option file of MySQL, such as ~/.my.cnf, whose [client] section gives what is not given here.",
    ),
    _key(
        "db",
        "tls",
        kinds.choice("preferred", "required", "verify", "off"),
        "preferred",
        _DATABASE,
        "Encryption: where offered; always; always, and the server's certificate is checked; never.",
    ),
    _key(
        "db",
        "tls_ca",
        kinds.PATH,
        "",
        _DATABASE,
        "Certificates that a server's is checked against; empty: the system's.",
    ),
    _key("db", "database", kinds.TEXT, "", _DATABASE, "Name of the database."),
    _key(
        "db",
        "path",
        kinds.PATH,
        None,
        _DATABASE,
        "File of the driver sqlite or jsonlines; by default cyclone.sqlite or cyclone.jsonl in state_dir.",
    ),
    _key("db", "table", kinds.TEXT, "", _DATABASE, "The table, in place of the name that its layout has."),
    _key(
        "db",
        "layout",
        kinds.TEXT,
        "lustre",
        _DATABASE,
        "Tables and their columns: lustre, lustre-original (the table of Cyclone 1), results, or a file of your own.",
    ),
    _key(
        "db",
        "store_timeout",
        kinds.duration(0.01),
        "5s",
        _DATABASE,
        "The longest that a row waits for others before they are stored together.",
    ),
    _key(
        "db",
        "store_max_count",
        kinds.integer(1, _COUNT_MAX),
        "5000",
        _DATABASE,
        "Rows that are stored at once without waiting for more.",
    ),
    _key("push", "url", kinds.TEXT, "", _PUSH, "The Pushgateway, such as http://gateway:9091; empty: textfile alone."),
    _key("push", "interval", kinds.duration(0.1), "1m", _PUSH, "How often metrics are pushed."),
    _key("push", "timeout", kinds.duration(0.1), "10s", _PUSH, "The longest that a push may take."),
    _key("push", "job", kinds.TEXT, "cyclone", _PUSH, "The job of the pushed groups."),
    _key(
        "push",
        "delete_on_stop",
        kinds.SWITCH,
        "no",
        _PUSH,
        "Whether a clean stop deletes the groups from the gateway, instead of leaving their last values.",
    ),
    _key(
        "push",
        "textfile",
        kinds.PATH,
        "",
        _PUSH,
        "File for node_exporter's textfile collector, replaced at each interval; empty: none.",
    ),
    _key(
        "metrics",
        "address",
        kinds.HOST,
        "127.0.0.1",
        ALL,
        "Address at which /metrics is served; * for every interface. Nothing there is secret, nor encrypted.",
    ),
    _key(
        "metrics",
        "port",
        kinds.integer(0, 65535),
        "0",
        ALL,
        "Port at which /metrics is served; 0: it is not.",
    ),
)
