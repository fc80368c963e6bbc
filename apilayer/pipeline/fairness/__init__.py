"""Priority and fairness: which requests run now, which wait and which are refused, by who asks for what.

Synchronous and without a clock but for `control`, where requests wait. Source: Kubernetes documentation, "API Priority
and Fairness", and KEP-1040, whose words (seats, width, virtual time R) are used here.
"""
