"""The workflow graph, read from commits: what a version is made of, and what was made of it.

Pure: messages in, nodes and edges out. The lineage service keeps the graph in a database, `loopline
lineage show` and `loopline verify` read it from the log itself; all three use what is here.
"""

from loopline.lineage.fragments import fragment_of
from loopline.lineage.graph import Graph
from loopline.lineage.model import Edge, Fragment, LooseEdge, Node, Ref, artefact_id, run_id

__all__ = [
    "Edge",
    "Fragment",
    "Graph",
    "LooseEdge",
    "Node",
    "Ref",
    "artefact_id",
    "fragment_of",
    "run_id",
]
