"""Size of an ONNX graph whose functions are written out: a file of 3 KB can stand for 2**40 nodes. Needs only Python.

ONNX's inliner and ONNX Runtime write every call out before they look at the size.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from camrt.errors import ExportError, ModelFileError

Operator = tuple[str, str]
"""Domain and name."""

MOST_NODES: Final = 50_000
"""Nodes of the largest graph with functions. Large networks have some thousands."""
_DEEPEST: Final = 100  # the limit of ONNX Runtime


def check_functions(
    name: str,
    nodes: Sequence[Operator],
    functions: Mapping[Operator, Sequence[Operator]],
    kind: type[ExportError] | type[ModelFileError],
) -> None:
    """Check that a graph, each call of a function written out, is not too large.

    Args:
        name: name of the file in the error.
        nodes: operators of the graph's nodes, in subgraphs too.
        functions: for each function of the file the operators of its nodes.
        kind: the error to raise.

    Raises:
        ExportError, ModelFileError: there are more than `MOST_NODES`, or functions are nested too deeply.
    """
    sizes: dict[Operator, int] = {}

    def size_of(called: Iterable[Operator], depth: int) -> int:
        if depth > _DEEPEST:
            raise kind(f"{name} nests functions more than {_DEEPEST} deep, or one calls itself; export it again")
        total = 0
        for operator in called:
            if operator in functions and operator not in sizes:
                sizes[operator] = size_of(functions[operator], depth + 1)
            total += sizes.get(operator, 1)
        return total

    if functions and (total := size_of(nodes, 0)) > MOST_NODES:
        raise kind(
            f"{name} calls functions in functions: {total:.3g} nodes when written out; at most {MOST_NODES} can be"
        )
