"""Writes the trained networks as a diffusers folder of ONNX files, small on the disk and plain float32 in memory.

Weights of the denoiser, the text encoder and the VAE's encoder are stored in 8 bits with one scale a row, those of
the VAE's decoder in 16; nodes that a runtime folds away when it loads the file make float32 of them.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from denoiser import TIMESTEPS
from networks import LATENT_CHANNELS, LATENT_SIDE, PICTURE_SIDE, TEXT_WIDTH, TOKENS_MAX

OPSET = 17
# A weight of fewer numbers stays as it is.
PACKED_MIN = 1024


class LastHiddenState(nn.Module):
    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.encoder(input_ids)


class MeanLatent(nn.Module):
    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, sample: Tensor) -> Tensor:
        return self.encoder(sample)[:, :LATENT_CHANNELS]


def export(folder: Path, tokenizer, text, autoencoder, denoiser, scale: float, latent_to_rgb: dict) -> None:
    latent = torch.randn(2, LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
    picture = torch.randn(2, 3, PICTURE_SIDE, PICTURE_SIDE)
    ids = torch.tensor([tokenizer.encode("a red circle"), tokenizer.encode("")])
    states, steps = torch.randn(2, TOKENS_MAX, TEXT_WIDTH), torch.tensor([1, 2])
    write(folder / "text_encoder", LastHiddenState(text), {"input_ids": ids}, "last_hidden_state", bits=8)
    inputs = {"sample": latent, "timestep": steps, "encoder_hidden_states": states}
    write(folder / "unet", denoiser, inputs, "out_sample", bits=8)
    write(folder / "vae_decoder", autoencoder.decoder, {"latent_sample": latent}, "sample", bits=16)
    write(folder / "vae_encoder", MeanLatent(autoencoder.encoder), {"sample": picture}, "latent_sample", bits=8)
    tokenizer.save(folder / "tokenizer")
    for path, settings in configurations(tokenizer, scale, latent_to_rgb).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(settings, indent=2) + "\n")


def write(folder: Path, module: nn.Module, inputs: dict[str, Tensor], output: str, bits: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "model.onnx"
    sizes = {2: "height", 3: "width"}
    axes = {name: {0: "batch", **(sizes if name.endswith("sample") else {})} for name in [*inputs, output]}
    module = module.float().eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        module, tuple(inputs.values()), str(file), input_names=list(inputs), output_names=[output],
        dynamic_axes=axes, opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    model = onnx.load(str(file))
    pack(model.graph, bits)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def pack(graph: onnx.GraphProto, bits: int) -> None:
    """Replaces each large float32 weight by a smaller one and the nodes that restore it."""
    kept, nodes = [], []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < PACKED_MIN:
            kept.append(weight)
        elif bits == 16 or values.ndim < 2:
            kept.append(numpy_helper.from_array(values.astype(np.float16), f"{weight.name}_16"))
            nodes.append(helper.make_node("Cast", [f"{weight.name}_16"], [weight.name], to=TensorProto.FLOAT))
        else:
            whole, scales = quantize(values)
            kept.append(numpy_helper.from_array(whole, f"{weight.name}_8"))
            kept.append(numpy_helper.from_array(scales, f"{weight.name}_scale"))
            nodes.append(helper.make_node("Cast", [f"{weight.name}_8"], [f"{weight.name}_whole"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{weight.name}_whole", f"{weight.name}_scale"], [weight.name]))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    both = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(both)


def quantize(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of 8 bits and a scale for each row or each column, whichever loses less."""
    best = None
    for axis in (0, values.ndim - 1):
        others = tuple(other for other in range(values.ndim) if other != axis)
        scales = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12).astype(np.float32) / 127
        whole = np.clip(np.round(values / scales), -127, 127).astype(np.int8)
        lost = np.square(whole * scales - values).sum()
        if best is None or lost < best[0]:
            best = (lost, whole, scales)
    return best[1], best[2]


def configurations(tokenizer, scale: float, latent_to_rgb: dict) -> dict[str, dict]:
    return {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
            "text_encoder": ["diffusers", "OnnxRuntimeModel"],
            "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
            "unet": ["diffusers", "OnnxRuntimeModel"],
            "vae_decoder": ["diffusers", "OnnxRuntimeModel"],
            "vae_encoder": ["diffusers", "OnnxRuntimeModel"],
            "tintype": {"latent_to_rgb": latent_to_rgb},
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "DPMSolverMultistepScheduler",
            "algorithm_type": "dpmsolver++",
            "solver_order": 2,
            "solver_type": "midpoint",
            "lower_order_final": True,
            "final_sigmas_type": "zero",
            "num_train_timesteps": TIMESTEPS,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "v_prediction",
            "timestep_spacing": "trailing",
        },
        "text_encoder/config.json": {
            "model_type": "tintype_text_encoder", "hidden_size": TEXT_WIDTH,
            "max_position_embeddings": TOKENS_MAX, "vocab_size": len(tokenizer.ids),
        },
        "unet/config.json": {
            "in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS,
            "sample_size": LATENT_SIDE, "cross_attention_dim": TEXT_WIDTH, "block_out_channels": [96, 192],
        },
        **{f"{vae}/config.json": {
            "latent_channels": LATENT_CHANNELS, "in_channels": 3, "out_channels": 3, "sample_size": PICTURE_SIDE,
            "scaling_factor": scale, "block_out_channels": [32, 96, 128, 128],
        } for vae in ("vae_decoder", "vae_encoder")},
    }  # fmt: skip
