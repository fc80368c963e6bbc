"""One generic resource store driven by the rows of `apilayer.api.resources`, plus one small strategy per kind.

Decides what a read or write means (preconditions, defaults, generations, finalizers, selectors, paging); knows
objects and options, no HTTP and no web framework.
"""
