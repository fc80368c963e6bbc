"""Label and field selectors: parsing with Kubernetes' error texts, and matching on plain objects.

Parsing is strict and happens once per request; matching is what a LIST or WATCH does per object, so it
works on precomputed tuples.
"""

from __future__ import annotations

from apilayer.api.selectors.fields import FieldSelector, FieldTerm, parse_field_selector, parse_field_terms
from apilayer.api.selectors.labels import LabelSelector, Requirement, parse_label_selector
from apilayer.api.selectors.text import selector_matches, selector_text

__all__ = [
    "FieldSelector",
    "FieldTerm",
    "LabelSelector",
    "Requirement",
    "parse_field_selector",
    "parse_field_terms",
    "parse_label_selector",
    "selector_matches",
    "selector_text",
]
