"""Arc2Face's conditioning written out by hand, from the paper and from what is known of the official code.

prompt "photo of a id person", padded with the end token to 77, no mask but the causal one;
the embedding of "id" (position 4) replaced by the unit identity vector, filled up with zeros, before positions;
CLIP's text transformer: pre-norm blocks, quick GELU (x · sigmoid(1.702 x)), a final layer norm.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IDS = [49406, 1125, 539, 320, 1014, 2533] + [49407] * 71


def prompt_embeds(w: dict[str, Tensor], vectors: Tensor | None, heads: int, eps: float = 1e-5) -> Tensor:
    """(N, D) to (N, 77, W), or for None the empty prompt's (1, 77, W). `w`: CLIP's weights without `text_model.`."""
    ids = torch.tensor(IDS if vectors is not None else [49406] + [49407] * 76)
    x = w["embeddings.token_embedding.weight"][ids][None]
    if vectors is not None:
        x = x.repeat(len(vectors), 1, 1)
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        x[:, 4] = torch.cat([unit, torch.zeros(len(unit), x.shape[2] - unit.shape[1])], 1)
    x = x + w["embeddings.position_embedding.weight"]

    def linear(name: str, values: Tensor) -> Tensor:
        return F.linear(values, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(name: str, values: Tensor) -> Tensor:
        return F.layer_norm(values, values.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)

    layers = len({name.split(".")[2] for name in w if name.startswith("encoder.layers.")})
    for layer in (f"encoder.layers.{number}" for number in range(layers)):
        y = norm(f"{layer}.layer_norm1", x)
        q, k, v = (
            linear(f"{layer}.self_attn.{part}_proj", y).unflatten(2, (heads, -1)).transpose(1, 2) for part in "qkv"
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + linear(f"{layer}.self_attn.out_proj", y)
        y = linear(f"{layer}.mlp.fc1", norm(f"{layer}.layer_norm2", x))
        x = x + linear(f"{layer}.mlp.fc2", y * torch.sigmoid(1.702 * y))
    return norm("final_layer_norm", x)
