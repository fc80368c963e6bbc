"""Role-based access control: rules, who has which by which binding, and that nobody gives away more than he has."""

from apilayer.pipeline.rbac.authorizer import RoleAuthorizer, RoleSource
from apilayer.pipeline.rbac.index import RoleIndex
from apilayer.pipeline.rbac.rules import Rule, missing_from, parse_rule, parse_rules, shown

__all__ = [
    "RoleAuthorizer",
    "RoleIndex",
    "RoleSource",
    "Rule",
    "missing_from",
    "parse_rule",
    "parse_rules",
    "shown",
]
