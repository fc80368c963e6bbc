"""What nodes may do: each reaches what the pods that run on it need, and what is its own."""

from apilayer.pipeline.node.authorizer import NodeAuthorizer
from apilayer.pipeline.node.graph import NodeGraph
from apilayer.pipeline.node.identity import node_of

__all__ = ["NodeAuthorizer", "NodeGraph", "node_of"]
