"""What any rewriting of a frozen network asks of its nodes."""

from __future__ import annotations

from typing import Any


def node_of(tensor: str) -> str:
    """'a', 'a:0' and '^a' all come from the node a."""
    return tensor.removeprefix('^').split(':')[0]


def users_of(graph_def: Any) -> dict[str, list[Any]]:
    """Name of a node -> the nodes that take something of it, one entry for each input."""
    users: dict[str, list[Any]] = {}
    for node in graph_def.node:
        for tensor in node.input:
            users.setdefault(node_of(tensor), []).append(node)
    return users


def depending_on(graph_def: Any, input_tensor: str) -> set[str]:
    """Names of the nodes that the pictures flow through."""
    users = users_of(graph_def)
    reached: set[str] = set()
    waiting = [node_of(input_tensor)]
    while waiting:
        for node in users.get(waiting.pop(), []):
            if node.name not in reached:
                reached.add(node.name)
                waiting.append(node.name)
    return reached
