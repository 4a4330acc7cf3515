"""`MapCallback` as a callback of Lightning and of Hugging Face's Trainer, where these are installed."""

from contextlib import ExitStack
from typing import Any

from torch import nn

from camrt.errors import MissingExtra
from camrt.export.train.map_callback import MapCallback


def lightning_callback(maps: MapCallback, network: str | None = None) -> Any:
    """Return a ``Callback`` for ``Trainer(callbacks=[...])`` that shows maps of each validation epoch.

    The check before the training is not followed. The time-lapse is written at the end.

    Args:
        maps: writes the sheets.
        network: name of the module's part that classifies, such as ``network``; None: ``validation_step`` calls the
            module itself.

    Raises:
        MissingExtra: Lightning is not installed.
    """
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback  # its older name
        except ImportError as error:
            raise MissingExtra("Lightning is not installed: pip install lightning") from error
    block = ExitStack()

    class Maps(Callback):  # type: ignore[misc] # it may not be installed
        """Follows the validation epochs."""

        def on_validation_epoch_start(self, trainer: Any, pl_module: nn.Module) -> None:
            """Begin to record."""
            if not trainer.sanity_checking:
                block.enter_context(maps.watch(pl_module if network is None else pl_module.get_submodule(network)))

        def on_validation_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
            """Write the sheet."""
            block.close()

        def on_exception(self, trainer: Any, pl_module: nn.Module, exception: BaseException) -> None:
            """Detach from the network; the error is raised by the trainer."""
            _abandon(block, exception)

        def on_fit_end(self, trainer: Any, pl_module: nn.Module) -> None:
            """Write the time-lapse."""
            if trainer.is_global_zero and maps.epoch:
                maps.write_time_lapse()

    return Maps()


def transformers_callback(maps: MapCallback) -> Any:
    """Return a ``TrainerCallback`` for ``Trainer(callbacks=[...])`` that shows maps of each evaluation.

    The time-lapse is written at the end of the training.

    Raises:
        MissingExtra: transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise MissingExtra("transformers is not installed: pip install transformers accelerate") from error
    block = ExitStack()

    class Maps(TrainerCallback):
        """Follows the evaluations; one follows at once where the trainer's control says so."""

        def _begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if control.should_evaluate and model is not None:
                block.enter_context(maps.watch(model))

        on_step_end = on_epoch_end = _begin

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Write the sheet."""
            block.close()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Write the time-lapse."""
            if state.is_world_process_zero and maps.epoch:
                maps.write_time_lapse()

    return Maps()


def _abandon(block: ExitStack, error: BaseException) -> None:
    """Leave a block as if the error had been raised in it, so that no unfinished sheet is written."""
    try:
        block.__exit__(type(error), error, error.__traceback__)
    except type(error):
        return
