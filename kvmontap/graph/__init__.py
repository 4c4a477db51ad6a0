"""From VM to volume, and the order of the boot, as a graph in Graphviz's language.

`drawing` writes DOT, `storage` and `order` make nodes and edges of what is configured and known; all pure.
"""
