"""What a network says about single images, as plain values for a record."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image
from torch import Tensor

from nni_wcnas.measure.predictions import Predictions

__all__ = ['show_examples']


def show_examples(predictions: Predictions, images: Tensor, places: Tensor) -> list[dict[str, Any]]:
    """What a network says about some images.

    Parameters
    ----------
    predictions
        Of N examples, with positions.
    images
        uint8, shape ``(K, 3, H, W)``.
    places
        Which of the N examples they are, shape ``(K,)``.
    """
    chosen = predictions[places]
    confidence = chosen.probabilities.max(dim=1).values
    if chosen.indices is None:
        raise ValueError('the predictions have no positions: use data of nni_wcnas.data')
    return [
        {'position': int(position), 'label': int(label), 'predicted': int(predicted), 'confidence': float(sure),
         'image': _png(image)}
        for position, label, predicted, sure, image
        in zip(chosen.indices, chosen.labels, chosen.classes, confidence, images, strict=True)
    ]


def _png(image: Tensor) -> str:
    """An image as the content of a PNG file, base64."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, 'PNG', optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()

