"""The commands on members, on users and roles, and on the program itself."""

from __future__ import annotations

from kvraft.cli.command import FORMATS, NAMES, TABLES, Command
from kvraft.cli.flags import BOOL, INT, LIST, STRING, UINT, Flag

_CLUSTER = Flag("cluster", BOOL, False, "use all endpoints from the cluster member list")
_INTERACTIVE = Flag("interactive", BOOL, True, "Ask for the password on the terminal; false: read it from stdin")
_KEY_FILE = Flag("key-file", STRING, "", "File of the 32 bytes (or base64) that the snapshot is encrypted with")
_LOADS = "Accepted workloads: s(small), m(medium), l(large), xl(xLarge)"
_AFTER_CHECK = (
    Flag("auto-compact", BOOL, False, "Compact storage with last revision after test is finished."),
    Flag("auto-defrag", BOOL, False, "Defragment storage after test is finished."),
)


def _range_flags(verb: str) -> tuple[Flag, ...]:
    more = "keys that are greater than or equal to the given key using byte compare"
    return (
        Flag("from-key", BOOL, False, f"{verb} a permission of {more}"),
        Flag("prefix", BOOL, False, f"{verb} a prefix permission"),
    )


_MEMBERS = (
    Command(
        "member add",
        "member.add",
        "<memberName> [options]",
        "Adds a member into the cluster",
        (
            Flag("learner", BOOL, False, "indicates if the new member is raft learner"),
            Flag("peer-urls", STRING, "", "comma separated peer URLs for the new member."),
        ),
        NAMES,
    ),
    Command(
        "member list",
        "member.list_members",
        "",
        "Lists all members in the cluster",
        formats=TABLES,
        description="Comma-separated in the simple format: ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.",
    ),
    Command(
        "member promote", "member.promote", "<memberID>", "Promotes a non-voting member in the cluster", formats=NAMES
    ),
    Command("member remove", "member.remove", "<memberID>", "Removes a member from the cluster", formats=NAMES),
    Command(
        "member update",
        "member.update",
        "<memberID> [options]",
        "Updates a member in the cluster",
        (Flag("peer-urls", STRING, "", "comma separated peer URLs for the updated member."),),
        NAMES,
    ),
    Command("move-leader", "member.move_leader", "<transferee-member-id>", "Transfers leadership", formats=NAMES),
)
_MAINTENANCE = (
    Command("alarm disarm", "alarm.disarm", "", "Disarms all alarms"),
    Command("alarm list", "alarm.list_alarms", "", "Lists all alarms"),
    Command(
        "defrag",
        "defrag.defrag",
        "",
        "Defragments the storage of the members with given endpoints, which go on serving",
        (_CLUSTER,),
        FORMATS,
    ),
    Command(
        "endpoint hashkv",
        "endpoint.hash_kv",
        "",
        "Prints the KV history hash for each endpoint in --endpoints",
        (_CLUSTER, Flag("rev", INT, 0, "maximum revision to hash (default: all revisions)")),
        TABLES,
    ),
    Command(
        "endpoint health",
        "endpoint.health",
        "",
        "Checks the healthiness of endpoints specified in `--endpoints` flag",
        (_CLUSTER,),
        TABLES,
    ),
    Command(
        "endpoint status",
        "endpoint.status",
        "",
        "Prints out the status of endpoints specified in `--endpoints` flag",
        (_CLUSTER,),
        TABLES,
        description="Comma-separated in the simple format: endpoint, ID, version, db size, is leader, is learner, "
        "raft term,\nraft index, raft applied index, errors.",
    ),
    Command(
        "check datascale",
        "datascale.datascale",
        "[options]",
        "Check the memory usage of holding data for different workloads on a given server endpoint.",
        (
            *_AFTER_CHECK,
            Flag("load", STRING, "s", f"The datascale check's workload model. {_LOADS}"),
            Flag(
                *("prefix", STRING, "/etcdctl-check-datascale/"),
                "The prefix for writing the datascale check's keys.",
            ),
        ),
        FORMATS,
        description="If no endpoint is provided, localhost will be used. If multiple endpoints are provided, first "
        "endpoint\nwill be used.",
    ),
    Command(
        "check perf",
        "perf.perf",
        "[options]",
        "Check the performance of the cluster",
        (
            *_AFTER_CHECK,
            Flag("load", STRING, "s", f"The performance check's workload model. {_LOADS}"),
            Flag("prefix", STRING, "/etcdctl-check-perf/", "The prefix for writing the performance check's keys."),
        ),
        FORMATS,
    ),
)
BUMP_REVISION = 1_000_000_000
"""What a restore raises the revision by: more than a day of writes can be."""
_SNAPSHOT = (
    Command(
        "snapshot save",
        "snapshot.save",
        "<filename>",
        "Stores the whole state of a running member in a file",
        (_KEY_FILE,),
        formats=FORMATS,
        description="From the one member of --endpoints. --command-timeout, when it is given, is for all of it.",
        alone=True,
    ),
    Command(
        "snapshot status",
        "snapshot.status",
        "<filename>",
        "Checks a snapshot, and shows what it holds",
        (_KEY_FILE,),
        formats=TABLES,
        description="Comma-separated in the simple format: hash, revision, total keys, total size, version.",
        alone=True,
    ),
    Command(
        "snapshot restore",
        "snapshot.restore",
        "<filename> [options]",
        "Makes a member's data directory of a snapshot",
        (
            Flag("bump-revision", UINT, BUMP_REVISION, "How much to increase the latest revision after restore"),
            Flag("data-dir", STRING, "", "Path to the output data directory (<name>.etcd)"),
            Flag("initial-advertise-peer-urls", LIST, ("http://localhost:2380",), "List of this member's peer URLs"),
            Flag("initial-cluster", STRING, "", "Initial cluster configuration: name=peer-url, name=peer-url"),
            Flag("initial-cluster-token", STRING, "etcd-cluster", "Initial cluster token, which keeps clusters apart"),
            Flag("initial-memory-map-size", UINT, 0, "without effect: the map of the state grows by itself"),
            Flag(
                *("mark-compacted", BOOL, True),
                "Mark the latest revision after restore as compacted (required with --bump-revision > 0)",
            ),
            _KEY_FILE,
            Flag("name", STRING, "default", "Human-readable name for this member"),
            Flag(
                *("skip-hash-check", BOOL, False),
                "Take a wrong checksum, or a copy of a data directory's state.mdb, which has none",
            ),
            Flag("wal-dir", STRING, "", "Path to a directory of its own for the log"),
        ),
        FORMATS,
        alone=True,
    ),
)
_AUTH = (
    Command("auth disable", "auth.disable", "", "Disables authentication", formats=FORMATS),
    Command("auth enable", "auth.enable", "", "Enables authentication", formats=FORMATS),
    Command("auth status", "auth.status", "", "Returns authentication status"),
    Command("role add", "role.add", "<role name>", "Adds a new role"),
    Command("role delete", "role.delete", "<role name>", "Deletes a role"),
    Command("role get", "role.get", "<role name>", "Gets detailed information of a role"),
    Command(
        "role grant-permission",
        "role.grant_permission",
        "[options] <role name> <permission type> <key> [endkey]",
        "Grants a key to a role",
        _range_flags("grant"),
    ),
    Command("role list", "role.list_roles", "", "Lists all roles"),
    Command(
        "role revoke-permission",
        "role.revoke_permission",
        "<role name> <key> [endkey]",
        "Revokes a key from a role",
        _range_flags("revoke"),
    ),
    Command(
        "user add",
        "user.add",
        "<user name or user:password> [options]",
        "Adds a new user",
        (
            _INTERACTIVE,
            Flag("new-user-password", STRING, "", "Supply password from the command line flag"),
            Flag("no-password", BOOL, False, "Create a user without password (CN based auth only)"),
        ),
    ),
    Command("user delete", "user.delete", "<user name>", "Deletes a user"),
    Command(
        "user get",
        "user.get",
        "<user name> [options]",
        "Gets detailed information of a user",
        (Flag("detail", BOOL, False, "Show permissions of roles granted to the user"),),
    ),
    Command("user grant-role", "user.grant_role", "<user name> <role name>", "Grants a role to a user"),
    Command("user list", "user.list_users", "", "Lists all users", formats=NAMES),
    Command("user passwd", "user.passwd", "<user name> [options]", "Changes password of user", (_INTERACTIVE,)),
    Command("user revoke-role", "user.revoke_role", "<user name> <role name>", "Revokes a role from a user"),
)
_PROGRAM = (
    Command(
        "completion",
        "completion.completion",
        "<bash>",
        "Prints the script that completes commands and flags in a shell",
        formats=FORMATS,
        description="For this session: source <(kvraft completion bash)",
        alone=True,
    ),
    Command("version", "version.version", "", "Prints the version of kvraft", formats=FORMATS, alone=True),
)
ROWS = (*_MEMBERS, *_MAINTENANCE, *_SNAPSHOT, *_AUTH, *_PROGRAM)
