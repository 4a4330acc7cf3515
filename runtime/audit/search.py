"""Search of shortcuts: a cheap experiment for each suspicion, and a second one on other pairs for the best."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from camrt.progress import Progress
from camrt.runtime.audit.causal import Experiments, Measured
from camrt.runtime.audit.exchange import PATCHES, ImagePool, patch_exchange, region_exchange
from camrt.runtime.audit.regions import REGIONS, region_mask
from camrt.runtime.audit.shifts import Suspect, shifts_of_class
from camrt.runtime.audit.stored import look_at_class

CONFIRM: Final = 80
"""Pairs of images for each direction of the second experiment, which alone counts."""
_SCREEN: Final = 24
"""Pairs of the first experiment."""
SCREEN_T: Final = 1.5
"""Least t of the first experiment."""
_SCREEN_EFFECT: Final = 0.04
_PROGRESS_AFTER_S: Final = 2.0
_FEWEST: Final = 4
"""Images that a class needs for experiments."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A suspicion with its second experiment."""

    suspect: Suspect
    class_id: int
    measured: Measured


class Search:
    """The experiments of an audit, within a budget of forward passes."""

    def __init__(self, pool: ImagePool, passes: int, seed: int) -> None:
        self.pool = pool
        self._passes = passes
        self._seed = seed
        self._unread: set[int] = set()
        self.experiments = Experiments(pool, seed)
        self.tests = 0
        """Experiments so far, without the second ones."""
        self.classes = 0
        """Classes that were tested."""
        self.tested: list[int] = []
        """Their numbers."""
        self.remarks: list[str] = []

    def run(self, class_ids: Sequence[int]) -> list[Confirmed]:
        """Test classes in the given order, as far as the budget allows; returns all second experiments."""
        confirmed: list[Confirmed] = []
        few = 0
        counts = np.bincount(self.pool.samples.classes, minlength=self.pool.model.classes)
        with closing(Progress(len(class_ids), "classes", after_s=_PROGRESS_AFTER_S)) as progress:
            for class_id in class_ids:
                if counts[class_id] < _FEWEST:
                    few += 1
                elif len(class_ids) > 1 and self.pool.passes < self._passes:
                    self._unread |= look_at_class(self.pool.samples, class_id, self._seed)
                    confirmed += self._class(class_id)
                    self.classes += 1
                    self.tested.append(class_id)
                progress.step()
        if self._unread:
            self.remarks.append(
                f"{len(self._unread)} images for experiments cannot be read, or have changed since their maps were "
                "stored"
            )
        if few:
            self.remarks.append(f"{few} classes have fewer than {_FEWEST} images: too few for experiments")
        if len(class_ids) == 1:
            self.remarks.append("the images have one class only; experiments need a second one")
        elif left := len(class_ids) - few - self.classes:
            self.remarks.append(
                f"{left} classes were not tested: {self._passes} forward passes were enough for {self.classes}; "
                "--passes sets the number"
            )
        return confirmed

    def measure(
        self, suspect: Suspect, class_id: int, pairs: int = CONFIRM, without: Collection[int] = ()
    ) -> Measured | None:
        """Run the experiment of a suspicion, see `Experiments.measure`."""
        return self.experiments.measure(suspect, class_id, pairs, without)

    def _class(self, class_id: int) -> Iterator[Confirmed]:
        for suspect in self._suspects(class_id):
            first = self.measure(suspect, class_id, _SCREEN)
            if first is None:
                continue
            self.tests += 1
            if first.t < SCREEN_T or first.effect < _SCREEN_EFFECT:
                continue
            second = self.measure(suspect, class_id)
            if second is not None:
                yield Confirmed(suspect, class_id, second)

    def _suspects(self, class_id: int) -> Iterator[Suspect]:
        for kind, regions in REGIONS.items():
            for region, words in regions.items():
                area = float(region_mask(region, 100, 100).mean())
                yield Suspect(kind, words, area, region_exchange(self.pool, region), part=region)
        for name, patch in PATCHES.items():
            words = f"warmest {name}" if patch.anywhere else f"warmest {name} outside the object"
            exchange = patch_exchange(self.pool, class_id, name)
            yield Suspect("pattern", words, patch.tall * patch.wide, exchange, part=name)
        yield from shifts_of_class(self.pool.samples, class_id)
