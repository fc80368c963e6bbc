"""The words that tables of rules are written in.

A `Check` judges an object at a path, a `Change` what became of an old object. Rules for a kind are checks, joined by
`rules` for the whole object; most are one word of this module with the fields that it is about. Checks run in the
order in which they are written, which is the order of the errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apilayer.api import field, names, quantity
from apilayer.api.validation import common, metadata, selectors
from apilayer.api.validation.common import IMMUTABLE, NOT_NEGATIVE, Errors, Object, child

Check = Callable[[Object, str], Errors]
Rule = Callable[[Object], Errors]
Change = Callable[[Object, Object], Errors]


def rules(*checks: Check) -> Rule:
    """The rule that all `checks` hold for a whole object."""
    check = every(*checks)
    return lambda obj: check(obj, "")


def every(*checks: Check) -> Check:
    """All of `checks`."""
    return lambda obj, path: [error for check in checks for error in check(obj, path)]


def at(key: str, *checks: Check) -> Check:
    """`checks` for the object at `key`, which counts as empty when it is absent."""
    check = every(*checks)
    return lambda obj, path: check(obj.get(key) or {}, child(path, key))


def given(key: str, *checks: Check) -> Check:
    """`checks` for the object at `key`, if there is one."""
    check = every(*checks)
    return lambda obj, path: [] if obj.get(key) is None else check(obj[key], child(path, key))


def each(key: str, *checks: Check) -> Check:
    """`checks` for each object in the list at `key`."""
    check = every(*checks)
    return lambda obj, path: [
        error
        for index, item in enumerate(common.items(obj, key))
        for error in check(item, f"{child(path, key)}[{index}]")
    ]


def when(condition: Callable[[Object], Any], *checks: Check) -> Check:
    """`checks` for an object that fulfils a condition."""
    check = every(*checks)
    return lambda obj, path: check(obj, path) if condition(obj) else []


def has(*keys: str) -> Callable[[Object], bool]:
    """The condition that every one of `keys` is given."""
    return lambda obj: all(obj.get(key) is not None for key in keys)


def equals(key: str, *values: Any) -> Callable[[Object], bool]:
    """The condition that `key` has one of `values`."""
    return lambda obj: obj.get(key) in values


def required(*keys: str, detail: str = "") -> Check:
    """None of `keys` is absent or empty."""
    return lambda obj, path: [field.required(child(path, key), detail) for key in keys if obj.get(key) in _EMPTY]


_EMPTY: tuple[Any, ...] = (None, "", [], {})


def must_have(*keys: str, detail: str = "") -> Check:
    """Each of `keys` is given, be it empty."""
    return lambda obj, path: [field.required(child(path, key), detail) for key in keys if obj.get(key) is None]


def forbidden(*keys: str, detail: str = "") -> Check:
    """None of `keys` is given."""
    return lambda obj, path: [field.forbidden(child(path, key), detail) for key in keys if obj.get(key) is not None]


def one_of(key: str, *values: str) -> Check:
    """`key` has one of `values`; absent counts as ""."""
    return lambda obj, path: common.supported(child(path, key), obj.get(key, ""), values)


def maybe_one_of(key: str, *values: str) -> Check:
    """`key`, if given, has one of `values`."""
    return when(has(key), one_of(key, *values))


def required_one_of(key: str, *values: str, detail: str = "") -> Check:
    """`key` has one of `values`; to leave it out is an error of its own."""
    return either(required(key, detail=detail), one_of(key, *values))


def either(first: Check, *others: Check) -> Check:
    """`first`, and only when it finds nothing the `others`."""
    rest = every(*others)
    return lambda obj, path: first(obj, path) or rest(obj, path)


def non_negative(*keys: str) -> Check:
    """The numbers at `keys`, if given, are not negative."""
    return lambda obj, path: [
        field.invalid(child(path, key), obj[key], NOT_NEGATIVE) for key in keys if _number(obj.get(key)) < 0
    ]


def above_zero(*keys: str, detail: str = "must be greater than zero") -> Check:
    """The numbers at `keys`, if given, are positive."""
    return lambda obj, path: [
        field.invalid(child(path, key), obj[key], detail)
        for key in keys
        if obj.get(key) is not None and _number(obj[key]) <= 0
    ]


def at_most(key: str, limit: int, detail: str) -> Check:
    """The number at `key`, if given, is not above `limit`."""
    return lambda obj, path: (
        [field.invalid(child(path, key), obj[key], detail)] if _number(obj.get(key)) > limit else []
    )


def between(key: str, low: int, high: int, detail: str = "") -> Check:
    """The number at `key`, if given, is from `low` to `high`."""
    text = detail or f"must be between {low} and {high}, inclusive"
    return lambda obj, path: (
        [] if low <= _number(obj.get(key), low) <= high else [field.invalid(child(path, key), obj[key], text)]
    )


def _number(value: Any, absent: int = 0) -> int:
    return absent if value is None else int(value)


def name(key: str, rule: names.NameRule) -> Check:
    """The text at `key`, unless it is empty, follows a rule for names."""
    return lambda obj, path: common.named(child(path, key), obj[key], rule) if obj.get(key) else []


def given_name(key: str, rule: names.NameRule) -> Check:
    """The text at `key`, if given, follows a rule for names; "" is a text too."""
    return lambda obj, path: [] if obj.get(key) is None else common.named(child(path, key), obj[key], rule)


def required_name(key: str, rule: names.NameRule, detail: str = "") -> Check:
    """The text at `key` is given and follows a rule for names."""
    return every(required(key, detail=detail), name(key, rule))


def each_text(key: str, rule: names.NameRule) -> Check:
    """Each text in the list at `key` follows a rule for names."""
    return lambda obj, path: [
        error
        for index, value in enumerate(common.items(obj, key))
        for error in common.named(f"{child(path, key)}[{index}]", value, rule)
    ]


def each_one_of(key: str, *values: str) -> Check:
    """Each text in the list at `key` is one of `values`."""
    return lambda obj, path: [
        error
        for index, value in enumerate(common.items(obj, key))
        for error in common.supported(f"{child(path, key)}[{index}]", value, values)
    ]


def unique(key: str, *, by: str, as_whole: bool = False) -> Check:
    """No two objects in the list at `key` have the same text at `by`; the error is about that text, or the object."""

    def check(obj: Object, path: str) -> Errors:
        wrong: Errors = []
        seen: set[str] = set()
        for index, item in enumerate(common.items(obj, key)):
            value = item.get(by, "")
            if value in seen:
                where = f"{child(path, key)}[{index}]"
                wrong.append(field.duplicate(where if as_whole else f"{where}.{by}", value))
            seen.add(value)
        return wrong

    return check


def unique_text(key: str) -> Check:
    """No text occurs twice in the list at `key`."""
    return lambda obj, path: common.duplicates(child(path, key), common.items(obj, key))


def at_most_items(key: str, limit: int) -> Check:
    """The list at `key` is not longer than `limit`."""
    return lambda obj, path: (
        [field.too_many(child(path, key), len(obj[key]), limit)] if len(obj.get(key) or ()) > limit else []
    )


def selector(key: str) -> Check:
    """The label selector at `key`, if given, is well formed."""
    return lambda obj, path: selectors.label_selector(obj.get(key), child(path, key))


def labels(key: str) -> Check:
    """The map at `key` has the form of labels."""
    return lambda obj, path: metadata.validate_labels(obj.get(key) or {}, child(path, key))


def amount(key: str, *, above: int | None = None, detail: str = NOT_NEGATIVE) -> Check:
    """The quantity at `key`, if given, is not negative, or above a number."""

    def check(obj: Object, path: str) -> Errors:
        text = obj.get(key)
        if text is None:
            return []
        value = quantity.parse(text).amount
        fine = value >= 0 if above is None else value > above
        return [] if fine else [field.invalid(child(path, key), text, detail)]

    return check


def count_or_percent(*keys: str, up_to_100: bool = True) -> Check:
    """Each of `keys`, if given, is a number that is not negative, or a percentage, of at most 100."""

    def check(obj: Object, path: str) -> Errors:
        wrong: Errors = []
        for key in keys:
            if obj.get(key) is not None:
                wrong += common.int_or_percent(obj[key], child(path, key))
                wrong += common.no_more_than_all(obj[key], child(path, key)) if up_to_100 else []
        return wrong

    return check


def fixed(path: str, absent: Any = None, detail: str = IMMUTABLE) -> Change:
    """What is at the dotted `path` never changes; an absent value is shown as `absent`."""
    keys = path.split(".")

    def change(new: Object, old: Object) -> Errors:
        after, before = _follow(new, keys), _follow(old, keys)
        if after == before:
            return []
        return [field.invalid(path, absent if after is None else after, detail)]

    return change


def _follow(obj: Object, keys: list[str]) -> Any:
    value: Any = obj
    for key in keys:
        value = (value or {}).get(key)
    return value


def still(rule: Rule) -> Change:
    """`rule`, judged for the new object once more, as kube-apiserver does for some kinds when they change."""
    return lambda new, old: rule(new)


def becomes(*checks: Check) -> Change:
    """`checks` for what the object has become."""
    return still(rules(*checks))


def not_decremented(path: str) -> Change:
    """The number at the dotted `path` never becomes less."""
    keys = path.split(".")

    def change(new: Object, old: Object) -> Errors:
        before, after = _follow(old, keys), _follow(new, keys)
        if before is None or _number(after) >= before:
            return []
        return [field.invalid(path, _number(after), "cannot be decremented")]

    return change


def bounded_by(limit: str, *keys: str, detail: str) -> Check:
    """None of the numbers at `keys` is above that at `limit`; absent counts as 0."""
    return lambda obj, path: [
        field.invalid(child(path, key), obj.get(key, 0), detail)
        for key in keys
        if _number(obj.get(key)) > _number(obj.get(limit))
    ]
