"""Values sealed between the registry and the store, in the formats of kube-apiserver.

A sealed value says in its prefix who has sealed it (``k8s:enc:aescbc:v1:key1:``), so that it can be read by whoever
has the key, also by a kube-apiserver over the same store. What is read under another key than the one that writes is
stale: the next write of its object seals it anew.
"""
