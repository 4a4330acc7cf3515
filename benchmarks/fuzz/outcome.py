"""Counts of an attack, and the inputs that did harm."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What happened to the inputs of one attack."""

    counts: Counter[str] = field(default_factory=Counter)
    """Number of inputs by their effect, such as ``works`` and ``refused``."""
    harm: list[str] = field(default_factory=list)
    """One line for each input that did harm: how to repeat it, and what it did."""

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.counts.total()
