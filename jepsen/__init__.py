"""The fault-injection harness: deterministic simulation, real faults, and checkers of the recorded history."""
