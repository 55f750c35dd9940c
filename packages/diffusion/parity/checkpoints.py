"""Small random networks in the layout of Stable Diffusion, as PyTorch modules and as ONNX files.

They have seen no picture. What makes a picture of them is arithmetic all the same, and the same arithmetic must give the
same numbers in Python and in TypeScript.
"""

import json
import shutil
from pathlib import Path

import onnx
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 16
TOKENS = 24
LATENT_SIDE = 8
OPSET = 17


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with a vocabulary of single bytes and a few merges."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(byte) for byte in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]
    merges = ["r e", "re d</w>", "b o", "bo a", "boa t</w>", "s e", "se a</w>", "t h", "th e</w>"]
    words = letters + [letter + "</w>" for letter in letters]
    words += ["".join(merge.split(" ")) for merge in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    vocabulary = {word: at for at, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)


def make_text_encoder(vocabulary: int, end: int) -> CLIPTextModel:
    torch.manual_seed(1)
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
        attn_implementation="eager",
    )
    encoder = CLIPTextModel(config).eval()
    with torch.no_grad():
        # As initialised, all prompts are nearly the same to it.
        for name, weight in encoder.named_parameters():
            if "embedding" in name:
                weight.mul_(30)
    return encoder


def make_unet(seed: int, in_channels: int = 4, guidance_width: int | None = None) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        time_cond_proj_dim=guidance_width,
    ).eval()
    with torch.no_grad():
        # So that the text matters, and what is predicted has about the variance of noise.
        for name, weight in unet.named_parameters():
            if "attn2.to_out" in name:
                weight.mul_(6)
        unet.conv_out.weight.mul_(4)
    unet.set_attn_processor(plain_attention())
    return unet


def make_vae() -> AutoencoderKL:
    torch.manual_seed(3)
    vae = AutoencoderKL(
        block_out_channels=(4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=LATENT_SIDE * 4,
        scaling_factor=0.4,
    ).eval()
    with torch.no_grad():
        # So that pictures have contrast, and latents the variance of noise.
        vae.decoder.conv_out.weight.mul_(1.5)
        vae.encoder.conv_out.weight.mul_(15)
    vae.set_attn_processor(plain_attention())
    return vae


def plain_attention():
    from diffusers.models.attention_processor import AttnProcessor

    return AttnProcessor()


class TextOutputs(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids):
        found = self.encoder(input_ids.long())
        return found.last_hidden_state, found.pooler_output


class UNetOutputs(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, encoder_hidden_states, timestep_cond=None):
        return self.unet(sample, timestep, encoder_hidden_states, timestep_cond=timestep_cond, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, latent_sample):
        return self.vae.decode(latent_sample, return_dict=False)[0]


class Encoder(torch.nn.Module):
    """Mean and log variance, as optimum exports it since 1.20."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, sample):
        return self.vae.encode(sample).latent_dist.parameters


def export(module, inputs: dict, outputs: list[str], axes: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    shorten_names(path)


def shorten_names(path: Path) -> None:
    """The exporter's names say where in the module each number is made: more than half of so small a file."""
    model = onnx.load(path)
    graph = model.graph
    kept = {value.name for value in [*graph.input, *graph.output]} | {""}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"v{len(names)}")

    for weight in graph.initializer:
        weight.name = short(weight.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    del graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


SPACE = {0: "batch_size", 2: "height", 3: "width"}


def export_text_encoder(encoder, folder: Path) -> None:
    ids = torch.zeros(2, TOKENS, dtype=torch.int32)
    rows = {0: "batch_size"}
    axes = {"input_ids": {**rows, 1: "sequence_length"}, "last_hidden_state": rows, "pooler_output": rows}
    export(TextOutputs(encoder), {"input_ids": ids}, ["last_hidden_state", "pooler_output"], axes, folder / "model.onnx")
    write_config(encoder.config.to_dict(), folder)


def export_unet(unet, folder: Path) -> None:
    inputs = {
        "sample": torch.randn(2, unet.config.in_channels, LATENT_SIDE, LATENT_SIDE),
        "timestep": torch.tensor([7.5]),
        "encoder_hidden_states": torch.randn(2, TOKENS, TEXT_WIDTH),
    }
    axes = {
        "sample": SPACE,
        "timestep": {0: "steps"},
        "encoder_hidden_states": {0: "batch_size", 1: "sequence_length"},
        "out_sample": SPACE,
    }
    if unet.config.time_cond_proj_dim is not None:
        inputs["timestep_cond"] = torch.randn(2, unet.config.time_cond_proj_dim)
        axes["timestep_cond"] = {0: "batch_size"}
    export(UNetOutputs(unet), inputs, ["out_sample"], axes, folder / "model.onnx")
    write_config(dict(unet.config), folder)


def export_vae(vae, folder: Path) -> None:
    latents = {"latent_sample": torch.randn(1, 4, LATENT_SIDE, LATENT_SIDE)}
    export(Decoder(vae), latents, ["sample"], {"latent_sample": SPACE, "sample": SPACE}, folder / "vae_decoder/model.onnx")
    pictures = {"sample": torch.randn(1, 3, LATENT_SIDE * 4, LATENT_SIDE * 4)}
    axes = {"sample": SPACE, "latent_parameters": SPACE}
    export(Encoder(vae), pictures, ["latent_parameters"], axes, folder / "vae_encoder/model.onnx")
    write_config(dict(vae.config), folder / "vae_decoder")
    write_config(dict(vae.config), folder / "vae_encoder")


def write_config(config: dict, folder: Path) -> None:
    """Without what only says where and with which version it was made."""
    kept = {key: value for key, value in config.items() if key not in ("_name_or_path", "dtype")}
    (folder / "config.json").write_text(json.dumps(kept, indent=2, default=str) + "\n")


def make_checkpoints(folder: Path) -> dict:
    """Writes `checkpoint/` and the U-Nets of its two variants; returns the same networks as modules."""
    shutil.rmtree(folder, ignore_errors=True)
    main = folder / "checkpoint"
    tokenizer = make_tokenizer(main / "tokenizer")
    text_encoder = make_text_encoder(len(tokenizer), tokenizer.eos_token_id)
    vae = make_vae()
    unets = {
        "plain": make_unet(2),
        "inpainting": make_unet(4, in_channels=9),
        "guidance": make_unet(5, guidance_width=8),
    }
    export_text_encoder(text_encoder, main / "text_encoder")
    export_vae(vae, main)
    export_unet(unets["plain"], main / "unet")
    export_unet(unets["inpainting"], folder / "unet-inpainting")
    export_unet(unets["guidance"], folder / "unet-guidance")
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    (main / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    (main / "scheduler").mkdir()
    scheduler = {"_class_name": "DDIMScheduler", "clip_sample": False}
    (main / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler, indent=2) + "\n")
    return {"tokenizer": tokenizer, "text_encoder": text_encoder, "vae": vae, "unets": unets}
