"""What an operator sees of a member: health, version and metrics, as answers to a path.

Counting costs the hot path an integer addition; everything else happens when somebody asks.
"""
