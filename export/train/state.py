"""State of a training: what must be kept so that it goes on after an interruption as if there was none."""

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from camrt.errors import ExportError, MissingInput
from camrt.export.train.gap_cnn import GapCnn
from camrt.files import write_file

_LONGEST_MEMORY: Final = 0.998
"""Share of the averaged weights that a step keeps; less in the first steps."""
Epoch = dict[str, Any]
"""A line of ``results.csv``."""


@dataclass(slots=True)
class TrainingState:
    """A network in training."""

    network: GapCnn
    average: GapCnn
    """Exponential moving average of the weights: it is validated and exported."""
    optimizer: torch.optim.Optimizer
    batch: int
    steps: int = 0
    elapsed_s: float = 0.0
    """Time spent in training, over all interruptions."""
    history: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch | None:
        """The epoch with the highest top-1; of equal ones the one with the lowest loss."""
        return max(self.history, key=lambda epoch: (epoch["top1"], -epoch["val_loss"]), default=None)

    def update_average(self) -> None:
        """Count a step, and move the average towards the network."""
        self.steps += 1
        keep = min(_LONGEST_MEMORY, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - keep)
                else:
                    mean.copy_(value)

    def save(self, path: Path, fingerprint: str, about: Mapping[str, Any]) -> None:
        """Write the state; the file is whole at any moment. Raises: DiskFull, SinkError.

        Args:
            path: the file.
            fingerprint: of settings and images.
            about: ``classes``, ``backbone`` and ``size``, from which the network is made again.
        """
        content = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch": self.batch,
            "steps": self.steps,
            "elapsed_s": self.elapsed_s,
            "history": self.history,
            "fingerprint": fingerprint,
            **about,
        }
        write_checkpoint(content, path)

    def load(self, path: Path) -> str:
        """Take the state of a file; returns its fingerprint. Raises: ExportError: it is no such file."""
        content = read_checkpoint(path)
        try:
            self.network.load_state_dict(content["network"])
            self.average.load_state_dict(content["average"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.batch, self.steps, self.elapsed_s, self.history = (
                content[key] for key in ("batch", "steps", "elapsed_s", "history")
            )
            return str(content["fingerprint"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ExportError(
                f"{path} is no state of this training; remove its folder, or choose another one"
            ) from error


def new_state(network: GapCnn, *, batch: int, weight_decay: float) -> TrainingState:
    """Return the state before the first step. Biases and the scales of normalisations do not decay."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # a fifth faster on CPUs
    parameters = list(network.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    average = copy.deepcopy(network).eval()
    average.requires_grad_(requires_grad=False)
    return TrainingState(network, average, torch.optim.AdamW(groups, lr=0.0), batch)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all. Raises: DiskFull, SinkError."""
    data = io.BytesIO()  # torch.save to a full disk raises an error that does not say so
    torch.save(content, data)
    write_file(path, data.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `write_checkpoint`, without running code from it. Raises: ExportError, MissingInput."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise MissingInput(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # torch raises what its readers of archives raise
        raise ExportError(f"{path} is no checkpoint of camrt train, or it is damaged") from error
    if not isinstance(content, dict):
        raise ExportError(f"{path} is no checkpoint of camrt train")
    return content
