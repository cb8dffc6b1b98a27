"""Which model made a vector: a digest of all that its embeddings depend on."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sensorium.data.cache.digest import DIGEST_BYTES, weights_digest
from sensorium.data.kinds import TextKind

if TYPE_CHECKING:
    from sensorium.model import Model


def model_identity(model: Model) -> str:
    """32 hexadecimal digits, equal for models that embed alike.

    They depend on the weights, the kinds with their tokenizers, what the model is made of and how it is aligned; not on
    its folder, its targets' temperatures or its report.
    """
    tokenizers = {one.name: hashlib.blake2b((one.kind.tokenizer or "").encode(), digest_size=DIGEST_BYTES).hexdigest()
                  for one in model.schema.modalities if isinstance(one.kind, TextKind)}
    facts = [weights_digest(model.state_dict()), [one.model_dump(mode="json") for one in model.schema.modalities],
             tokenizers, model.recipe.model.model_dump(mode="json"),
             None if model.alignment is None else [dict(model.alignment.widths), model.alignment.width]]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()
