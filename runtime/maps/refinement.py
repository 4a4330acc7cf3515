"""Names of the refinements of class activation maps. The default is the plain map."""

from typing import Final

from camrt.errors import UsageError

REFINEMENTS: Final = ("clamp", "pc1", "ivr", "flip")
"""``clamp``: negative class weights count as 0. ``pc1``: the first principal component of the weighted features.
``ivr``: values below a percentile of the map count as that percentile. ``flip``: the mean with the map of the mirrored
frame, which takes a second pass of the model."""
NEED_WEIGHTS: Final = ("clamp", "pc1")


def parse_refinements(text: str) -> tuple[str, ...]:
    """Return the refinements that a text names with commas between them, in the order in which they are computed.

    Args:
        text: names of `REFINEMENTS`, or ``none``.

    Raises:
        UsageError: a name is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    if names == ["none"]:
        return ()
    if unknown := [name for name in names if name not in REFINEMENTS]:
        raise UsageError(f"refine {unknown[0]!r}: write none, or some of {','.join(REFINEMENTS)} with commas between")
    return tuple(name for name in REFINEMENTS if name in names)


def check_refinements(names: tuple[str, ...], *, weights: bool) -> None:
    """Raise UsageError if a refinement needs the weights of a linear head and the head has none."""
    if not weights and (missing := [name for name in names if name in NEED_WEIGHTS]):
        raise UsageError(
            f"refine {missing[0]} needs the weights of a linear head; this head gives one map for each class. Use ivr "
            "or flip, which work with any head"
        )
