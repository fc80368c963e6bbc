"""Strategic merge patch: a merge patch that knows, from the schema, which lists to merge and by which key.

Source: Kubernetes' "Strategic Merge Patch" design documents and apimachinery's ``strategicpatch``. Directives:
``$patch`` (replace, delete; merge only where nothing is there yet) in maps and list items, ``$retainKeys``,
``$setElementOrder/<list>`` and ``$deleteFromPrimitiveList/<list>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.patch import lists
from apilayer.api.patch.errors import (
    StrategicPatchError,
    bad_argument,
    bad_delete_from_primitive_list,
    bad_patch_type,
    bad_retain_keys,
    bad_set_element_order,
)
from apilayer.api.patch.gotext import go_type

if TYPE_CHECKING:
    from apilayer.api.schema import Schema

Object = dict[str, Any]

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_SET_ORDER = "$setElementOrder"
_DELETE_PRIMITIVE = "$deleteFromPrimitiveList"
_NO_STRATEGY: tuple[str, ...] = ()


def apply(document: Object, patch: Object, schema: Schema | None) -> Object:
    """`document` with `patch` merged in by the rules of `schema` (None: no lists are merged).

    What the patch leaves alone is shared with the inputs, not copied. Raises StrategicPatchError.
    """
    return _merge_map(document, patch, schema)


def _merge_map(original: Object, patch: Object, schema: Schema | None) -> Object:
    if _DIRECTIVE in patch:
        return _whole_map(patch)
    merged = dict(original)
    rest = {key: value for key, value in patch.items() if key != _RETAIN_KEYS}
    if _RETAIN_KEYS in patch:
        _retain_keys(merged, rest, patch[_RETAIN_KEYS])
    for key in [name for name in rest if name.startswith(_SET_ORDER)]:
        _ordered_list(merged, rest, key, schema)
    for key, value in rest.items():
        if key.startswith(_DELETE_PRIMITIVE):
            _delete_from_list(merged, _directive_target(key), value, schema)
        elif value is None:
            merged.pop(key, None)
        else:
            _merge_member(merged, key, value, schema)
    return merged


def _whole_map(patch: Object) -> Object:
    """A map whose ``$patch`` says what becomes of all of it."""
    directive = patch[_DIRECTIVE]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    raise bad_patch_type(directive, patch)


def _merge_member(merged: Object, key: str, value: Any, schema: Schema | None) -> None:
    current = merged.get(key)
    if type(current) is not type(value) or not isinstance(value, dict | list):
        plain, keep = _plain(value)
        if keep:
            merged[key] = plain
        else:
            merged.pop(key, None)
        return
    field = _field(schema, key)
    strategy = field.patch_strategy if field is not None else _NO_STRATEGY
    if isinstance(value, dict):
        merged[key] = value if "replace" in strategy else _merge_map(current or {}, value, field)
    elif "merge" in strategy:
        merged[key] = _merge_list(current or [], value, field)
    else:
        merged[key] = value


def _field(schema: Schema | None, key: str) -> Schema | None:
    if schema is None:
        return None
    return schema.properties.get(key) or schema.additional


def _plain(value: Any) -> tuple[Any, bool]:
    """`value` for a place where nothing is to be merged with: no nulls, no directives; false: drop it."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return None, False
        pairs = ((key, _plain(item)) for key, item in value.items() if item is not None)
        return {key: item for key, (item, keep) in pairs if keep}, True
    if isinstance(value, list):
        return [item for item, keep in map(_plain, value) if keep], True
    return value, True


def _retain_keys(merged: Object, patch: Object, names: Any) -> None:
    """Drop all members that are not in `names`; everything that the patch sets must be in it."""
    if not isinstance(names, list):
        raise bad_retain_keys()
    for key, value in patch.items():
        parallel = key.startswith((_DELETE_PRIMITIVE, _SET_ORDER))
        if value is not None and not parallel and key not in names:
            raise bad_retain_keys()
    for key in [name for name in merged if name not in names]:
        del merged[key]


def _directive_target(key: str) -> str:
    """The list that a parallel directive such as ``$setElementOrder/containers`` is about."""
    prefix, slash, target = key.partition("/")
    if slash and prefix in (_SET_ORDER, _DELETE_PRIMITIVE):
        return target
    raise bad_set_element_order() if key.startswith(_SET_ORDER) else bad_delete_from_primitive_list()


def _list_of(container: Object, key: str) -> list[Any] | None:
    value = container.get(key)
    if key in container and not isinstance(value, list):
        raise bad_argument("[]interface {}", go_type(value))
    return value


def _ordered_list(merged: Object, rest: Object, key: str, schema: Schema | None) -> None:
    """Merge the list that ``$setElementOrder/<list>`` is about and put it into that order."""
    order = rest.pop(key)
    if not isinstance(order, list):
        raise bad_argument("[]interface {}", go_type(order))
    target = _directive_target(key)
    current = _list_of(merged, target)
    changes = _list_of(rest, target)
    field = _field(schema, target)
    if field is None:
        raise StrategicPatchError(500, f'unable to find api field for the json field "{target}"')
    merge_key = field.patch_merge_key
    lists.check_order(changes or [], order, merge_key)
    rest.pop(target, None)
    if current is None and changes is None:
        return
    if current is None:
        result = _plain(changes)[0]
    elif changes is None:
        result = current
    elif "merge" in field.patch_strategy:
        result = _merge_list(current, changes, field)
    else:
        result = changes
    merged[target] = lists.arrange(result, order, current or [], merge_key)


def _delete_from_list(merged: Object, target: str, doomed: Any, schema: Schema | None) -> None:
    current = merged.get(target)
    if not isinstance(current, list) or not isinstance(doomed, list):
        return
    field = _field(schema, target)
    if field is None or "merge" not in field.patch_strategy:
        merged[target] = doomed  # a list that is not merged is replaced, whatever the directive; so in Kubernetes
        return
    lists.check_elements(current, doomed)
    gone = {lists.identity(item) for item in doomed}
    merged[target] = [item for item in current if lists.identity(item) not in gone]


def _merge_list(current: list[Any], changes: list[Any], field: Schema | None) -> list[Any]:
    if not current and not changes:
        return current
    merge_key = field.patch_merge_key if field is not None else ""
    if not lists.check_elements(current, changes):
        both = {lists.identity(item): item for item in current + changes}
        return lists.arrange(list(both.values()), changes, current, "")
    if not merge_key:
        raise StrategicPatchError(500, "cannot merge lists without merge key for type struct")
    kept, additions = _special_items(current, changes, merge_key)
    items = field.items if field is not None else None
    merged = list(kept)
    positions: dict[Any, int] = {}
    for position, item in enumerate(kept):
        positions.setdefault(lists.identity(item.get(merge_key)), position)
    for item in additions:
        name = lists.identity(lists.key_of(item, merge_key))
        if name in positions:
            merged[positions[name]] = _merge_map(merged[positions[name]], item, items)
        else:
            positions[name] = len(merged)
            merged.append({key: value for key, value in item.items() if value is not None})
    return lists.arrange(merged, additions, kept, merge_key)


def _special_items(current: list[Object], changes: list[Object], merge_key: str) -> tuple[list[Object], list[Object]]:
    """Carry out the ``$patch`` items of a list: what remains of `current`, and the ordinary changes."""
    ordinary = [item for item in changes if _DIRECTIVE not in item]
    doomed: set[Any] = set()
    replace = False
    for item in changes:
        directive = item.get(_DIRECTIVE, "")
        if _DIRECTIVE not in item:
            continue
        if directive == "delete":
            doomed.add(lists.identity(lists.key_of(item, merge_key)))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise StrategicPatchError(500, "merging lists cannot yet be specified in the patch")
        else:
            raise bad_patch_type(directive, item)
    if replace:
        return ordinary, []
    return [item for item in current if lists.identity(item.get(merge_key)) not in doomed], ordinary
