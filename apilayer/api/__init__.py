"""The API's pure part: objects, their metadata, schemas, defaults, rules, patches and errors.

Nothing here does I/O, knows a clock, a store or a web framework. Objects are plain JSON-like dicts in the
served version; functions never change their input unless their docstring says so.
"""
