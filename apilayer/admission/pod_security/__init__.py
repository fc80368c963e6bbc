"""The Pod Security Standards: what a pod may ask for at each level. Pure.

`policy` reads levels and versions from labels, `baseline` and `restricted` hold the checks, `evaluation` runs those of
a level and version. Source: Kubernetes' ``staging/src/k8s.io/pod-security-admission`` and its documentation.
"""
