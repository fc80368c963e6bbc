"""Label and field selectors: parsing with Kubernetes' error texts, and matching on plain objects.

Parsing is strict and happens once per request; matching is what a LIST or WATCH does per object, so it
works on precomputed tuples.
"""

from __future__ import annotations

from apilayer.api.selectors.fields import FieldSelector, parse_field_selector
from apilayer.api.selectors.labels import LabelSelector, parse_label_selector
from apilayer.api.selectors.text import selector_matches, selector_text

__all__ = [
    "FieldSelector",
    "LabelSelector",
    "parse_field_selector",
    "parse_label_selector",
    "selector_matches",
    "selector_text",
]
