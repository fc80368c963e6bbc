"""The commands on keys, leases, locks and elections."""

from __future__ import annotations

from kvraft.cli.command import FORMATS, Command
from kvraft.cli.flags import BOOL, INT, STRING, Flag

PUT_FLAGS = (
    Flag("ignore-lease", BOOL, False, "updates the key using its current lease"),
    Flag("ignore-value", BOOL, False, "updates the key using its current value"),
    Flag("lease", STRING, "0", "lease ID (in hexadecimal) to attach to the key"),
    Flag("prev-kv", BOOL, False, "return the previous key-value pair before modification"),
)
GET_FLAGS = (
    Flag("consistency", STRING, "l", "Linearizable(l) or Serializable(s)"),
    Flag("count-only", BOOL, False, "Get only the count"),
    Flag("from-key", BOOL, False, "Get keys that are greater than or equal to the given key using byte compare"),
    Flag("keys-only", BOOL, False, "Get only the keys"),
    Flag("limit", INT, 0, "Maximum number of results"),
    Flag("order", STRING, "", "Order of results; ASCEND or DESCEND (ASCEND by default)"),
    Flag("prefix", BOOL, False, "Get keys with matching prefix"),
    Flag("print-value-only", BOOL, False, 'Only write values when using the "simple" output format'),
    Flag("rev", INT, 0, "Specify the kv revision"),
    Flag("sort-by", STRING, "", "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"),
)
DEL_FLAGS = (
    Flag("from-key", BOOL, False, "delete keys that are greater than or equal to the given key using byte compare"),
    Flag("prefix", BOOL, False, "delete keys with matching prefix"),
    Flag("prev-kv", BOOL, False, "return deleted key-value pairs"),
    Flag("range", BOOL, False, "delete range of keys (as range_end does without it)"),
)
WATCH_FLAGS = (
    Flag("interactive", BOOL, False, "Interactive mode", "i"),
    Flag("prefix", BOOL, False, "Watch on a prefix if prefix is set"),
    Flag("prev-kv", BOOL, False, "get the previous key-value pair before the event happens"),
    Flag("progress-notify", BOOL, False, "get periodic watch progress notification from server"),
    Flag("rev", INT, 0, "Revision to start watching"),
)

PUT_DESCRIPTION = """Puts the given key into the store.

When <value> begins with '-', <value> is interpreted as a flag.
Insert '--' for workaround:

$ put <key> -- <value>
$ put -- <key> <value>

If <value> isn't given as a command line argument and '--ignore-value' is not specified,
this command tries to read the value from standard input.

For example,
$ cat file | put <key>
will store the content of the file to <key>."""
TXN_DESCRIPTION = """Reads conditions, requests for when they all hold, and requests for when they do not, from
standard input; each list ends with an empty line. All is done at once, or nothing.

mod("key1") > "0"

put key1 "overwrote-key1"

put key1 "created-key1"
put key2 "some extra key"

Conditions compare ver, create, mod, val or lease of a key, with =, !=, < or >; requests are put, get and del."""

ROWS = (
    Command(
        "put",
        "put.put",
        "[options] <key> <value> (<value> can also be given from stdin)",
        "Puts the given key into the store",
        PUT_FLAGS,
        description=PUT_DESCRIPTION,
    ),
    Command("get", "get.get", "[options] <key> [range_end]", "Gets the key or a range of keys", GET_FLAGS),
    Command(
        "del",
        "delete.delete",
        "[options] <key> [range_end]",
        "Removes the specified key or range of keys [key, range_end)",
        DEL_FLAGS,
    ),
    Command(
        "txn",
        "txn.txn",
        "[options]",
        "Txn processes all the requests in one transaction",
        (Flag("interactive", BOOL, False, "Input transaction in interactive mode", "i"),),
        description=TXN_DESCRIPTION,
    ),
    Command(
        "compaction",
        "compaction.compaction",
        "[options] <revision>",
        "Compacts the event history in the store",
        (Flag("physical", BOOL, False, "'true' to wait for compaction to physically remove all old revisions"),),
        FORMATS,
    ),
    Command(
        "watch",
        "watch.watch",
        "[options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
        "Watches events stream on keys or prefixes",
        WATCH_FLAGS,
        description="KVRAFTCTL_WATCH_KEY and KVRAFTCTL_WATCH_RANGE_END stand for arguments that are not given.",
    ),
    Command("lease grant", "lease.grant", "<ttl>", "Creates leases"),
    Command(
        "lease keep-alive",
        "lease.keep_alive",
        "[options] <leaseID>",
        "Keeps leases alive (renew)",
        (Flag("once", BOOL, False, "Resets the keep-alive time to its original value and exits immediately"),),
    ),
    Command("lease list", "lease.list_leases", "", "List all active leases"),
    Command("lease revoke", "lease.revoke", "<leaseID>", "Revokes leases"),
    Command(
        "lease timetolive",
        "lease.time_to_live",
        "<leaseID> [options]",
        "Get lease information",
        (Flag("keys", BOOL, False, "Get keys attached to this lease"),),
    ),
    Command(
        "lock",
        "lock.lock",
        "<lockname> [exec-command arg1 arg2 ...]",
        "Acquires a named lock",
        (Flag("ttl", INT, 10, "timeout for session"),),
    ),
    Command(
        "elect",
        "elect.elect",
        "<election-name> [proposal]",
        "Observes and participates in leader election",
        (Flag("listen", BOOL, False, "observation mode", "l"),),
    ),
)
