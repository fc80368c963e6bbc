"""Who owns which field: managedFields on every write, and server-side apply. Pure: no clock, no I/O.

`fieldset` holds sets of fields in the form of ``fieldsV1``; `typed` says how values of a kind fall into fields;
`compare`, `merge` and `prune` are what structured merge and diff do to them; `entries` reads and writes
managedFields; `manager` is the order in which all that happens on an update and on an apply.

Source: Kubernetes' "Server-Side Apply" (KEP 555) and the semantics of structured-merge-diff.
"""

from apilayer.api.managed.document import is_apply
from apilayer.api.managed.document import read as read_configuration
from apilayer.api.managed.entries import keep_times
from apilayer.api.managed.manager import FieldManager, manager_name

__all__ = ["FieldManager", "is_apply", "keep_times", "manager_name", "read_configuration"]
