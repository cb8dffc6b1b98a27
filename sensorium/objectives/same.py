"""Which rows are the same thing: they share a text, a file or a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.data.batch import TargetValues


def same_keys(
    identities: Int[Tensor, "batch modality"], targets: Mapping[str, TargetValues], labels: Sequence[str],
) -> Int[Tensor, "batch key"]:
    """One column for each modality and label: rows with an equal non-negative number are not different things.

    Args:
        identities: of the rows' cells in the table, so that rows in different processes can be compared; −1: no cell.
        targets: of the same rows.
        labels: targets that are classes.

    Returns:
        (batch, key) int64, −1 where a row has no such cell or label.
    """
    nothing = torch.full_like(identities[:, 0], -1)
    classes = [nothing if name not in targets else torch.where(targets[name].mask, targets[name].values.long(), -1)
               for name in labels]
    return torch.cat([identities, *(column[:, None] for column in classes)], dim=1)
