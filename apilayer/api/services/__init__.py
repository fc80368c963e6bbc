"""What a Service is given: cluster IPs and node ports. Pure: which ones it needs, wants, holds and lets go of.

Source: Kubernetes documentation, "Service ClusterIP allocation", "IPv4/IPv6 dual-stack", "Virtual IPs"; the texts
are those of kube-apiserver. Who holds what is asked of two functions; nothing here reads or writes a store.
"""
