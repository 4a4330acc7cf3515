"""Fit display settings to a model."""

from dataclasses import replace

from camrt import model_file
from camrt.runtime.inference.model import Model
from camrt.runtime.render.display_settings import DisplaySettings


def fit_settings(settings: DisplaySettings, model: Model) -> DisplaySettings:
    """Return settings whose head has a name, in a file with several heads; without one, the model's head is meant.

    Args:
        settings: the wanted settings.
        model: any head of the file.

    Raises:
        UsageError: the model has no such head, or a setting does not fit the head.
    """
    head = settings.head or model.head_name
    info = model.info.of_head(head)
    assert info.head is not None
    weights = model_file.CAM_WEIGHTS in model_file.OUTPUTS[info.head]
    settings.check(len(model.labels_of(head)), probabilities=info.activation != "none", weights=weights)
    return replace(settings, head=head)
