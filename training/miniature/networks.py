"""The three networks of the miniature: a text encoder, an autoencoder (VAE) and a denoiser (U-Net).

Shapes: pictures are [batch, 3, 128, 128] in -1..1, latents [batch, 8, 16, 16], text states [batch, 48, 192].
The classes are plain PyTorch and hold nothing that the ONNX exporter cannot trace.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LATENT_CHANNELS = 8
PICTURE_SIDE = 128
LATENT_SIDE = 16
TOKENS_MAX = 48
TEXT_WIDTH = 192
PAD = 0


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(16, channels, eps=1e-5)


def silence(layer: nn.Module) -> nn.Module:
    """A residual branch starts as nothing, so that a deep network starts as a shallow one."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Written out: on a CPU the fused kernel's backward pass takes four times as long at 64 places."""
    likeness = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (likeness if mask is None else likeness + mask).softmax(dim=-1) @ value


# --- text encoder ---------------------------------------------------------------------------------------------------


class TextLayer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.before_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(0.1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, width = states.shape
        parts = self.query_key_value(self.before_attention(states))
        query, key, value = parts.view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attend(query, key, value, mask)
        states = states + self.drop(self.attention_out(mixed.transpose(1, 2).reshape(batch, tokens, width)))
        return states + self.drop(self.feed(self.before_feed(states)))


class TextEncoder(nn.Module):
    """Token ids [batch, 48] to states [batch, 48, 192]; padding is zero. The first state is the encoder's answer to
    what is drawn: for each fact of `fact_sizes` how likely each of its classes is, the last one being that the caption
    does not say. So what belongs to a colour and what belongs to a kind never share a number, and the denoiser can
    draw pairs of them that it has not seen."""

    def __init__(self, words: int, fact_sizes: list[int], width: int = TEXT_WIDTH, layers: int = 3, heads: int = 4):
        super().__init__()
        self.fact_sizes = [size + 1 for size in fact_sizes]
        assert sum(self.fact_sizes) <= width
        self.embedding = nn.Embedding(words, width)
        self.positions = nn.Parameter(torch.randn(TOKENS_MAX, width) * 0.02)
        self.layers = nn.ModuleList(TextLayer(width, heads) for _ in range(layers))
        self.final = nn.LayerNorm(width)
        self.answers = nn.Linear(width, sum(self.fact_sizes))
        nn.init.normal_(self.embedding.weight, std=0.02)

    def read(self, input_ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The states of the words, and the logits of each fact."""
        known = input_ids != PAD
        mask = torch.zeros(known.shape, dtype=self.positions.dtype).masked_fill(~known, -1e9)[:, None, None, :]
        states = self.embedding(input_ids) + self.positions
        for layer in self.layers:
            states = layer(states, mask)
        states = self.final(states) * known[:, :, None]
        return states, self.answers(states[:, 0]).split(self.fact_sizes, dim=1)

    def forward(self, input_ids: Tensor) -> Tensor:
        states, logits = self.read(input_ids)
        answers = torch.cat([logit.float().softmax(dim=1) for logit in logits], dim=1)
        # Chances lie between 0 and 1; so do few of the other states, whose deviation is 1.
        summary = F.pad(answers * 4, (0, states.shape[2] - answers.shape[1]))
        return torch.cat([summary[:, None], states[:, 1:]], dim=1)


# --- autoencoder ----------------------------------------------------------------------------------------------------


class PlainBlock(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            norm(channels), nn.SiLU(), conv(channels, channels), norm(channels), nn.SiLU(), silence(conv(channels, channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Enlarge(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Encoder(nn.Module):
    """Pictures to [batch, 16, 16, 16]: the mean and the log of the variance of their latents."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4), conv(48, 64), PlainBlock(64), PlainBlock(64),
            conv(64, 128, stride=2), PlainBlock(128), PlainBlock(128),
            norm(128), nn.SiLU(), conv(128, 2 * LATENT_CHANNELS),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        return self.body(pictures)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv(LATENT_CHANNELS, 128), PlainBlock(128), PlainBlock(128), PlainBlock(128),
            Enlarge(128, 96), PlainBlock(96), PlainBlock(96),
            conv(96, 128), nn.PixelShuffle(2), PlainBlock(32),
            norm(32), nn.SiLU(), conv(32, 12), nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, latents: Tensor) -> Tensor:
        return self.body(latents)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()


# --- denoiser -------------------------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """Two convolutions; what the step and the caption say scales and shifts what lies between them."""

    def __init__(self, inputs: int, outputs: int, condition: int):
        super().__init__()
        self.first = nn.Sequential(norm(inputs), nn.SiLU(), conv(inputs, outputs))
        self.scale_shift = nn.Linear(condition, 2 * outputs)
        self.between = norm(outputs)
        self.second = nn.Sequential(nn.SiLU(), silence(conv(outputs, outputs)))
        self.skip = conv(inputs, outputs, kernel=1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale_shift(condition)[:, :, None, None].chunk(2, dim=1)
        return self.skip(x) + self.second(self.between(self.first(x)) * (1 + scale) + shift)


class Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(context, width, bias=False)
        self.value = nn.Linear(context, width, bias=False)
        self.out = silence(nn.Linear(width, width))

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(context)), self.split(self.value(context))
        return self.out(attend(query, key, value).transpose(1, 2).reshape(x.shape))


class TransformerBlock(nn.Module):
    """Places look at one another, then at the caption's words."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.before_self = nn.LayerNorm(channels)
        self.self_attention = Attention(channels, channels, heads)
        self.before_cross = nn.LayerNorm(channels)
        self.cross_attention = Attention(channels, TEXT_WIDTH, heads)
        self.before_feed = nn.LayerNorm(channels)
        self.feed = nn.Sequential(
            nn.Linear(channels, 3 * channels), nn.GELU(), silence(nn.Linear(3 * channels, channels))
        )

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        places = x.flatten(2).transpose(1, 2)
        rested = self.before_self(places)
        places = places + self.self_attention(rested, rested)
        places = places + self.cross_attention(self.before_cross(places), text)
        places = places + self.feed(self.before_feed(places))
        return places.transpose(1, 2).reshape(batch, channels, height, width)


class UNet(nn.Module):
    """Predicts v of noisy latents [batch, 8, 16, 16] at timesteps [batch], given text states [batch, 48, 192]."""

    def __init__(self, outer: int = 96, inner: int = 192, condition: int = 384, heads: int = 6):
        super().__init__()
        self.outer = outer
        self.time = nn.Sequential(nn.Linear(outer, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.summary = nn.Sequential(
            nn.Linear(TEXT_WIDTH, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.places = nn.Parameter(torch.zeros(1, outer, LATENT_SIDE, LATENT_SIDE))
        self.enter = conv(LATENT_CHANNELS, outer)
        self.down_outer = nn.ModuleList(ResidualBlock(outer, outer, condition) for _ in range(2))
        self.shrink = conv(outer, outer, stride=2)
        self.down_inner = nn.ModuleList([ResidualBlock(outer, inner, condition), ResidualBlock(inner, inner, condition)])
        self.down_look = nn.ModuleList(TransformerBlock(inner, heads) for _ in range(2))
        self.middle = ResidualBlock(inner, inner, condition)
        self.middle_look = TransformerBlock(inner, heads)
        self.up_inner = nn.ModuleList(ResidualBlock(2 * inner, inner, condition) for _ in range(2))
        self.up_look = nn.ModuleList(TransformerBlock(inner, heads) for _ in range(2))
        self.enlarge = Enlarge(inner, outer)
        self.up_outer = nn.ModuleList(ResidualBlock(2 * outer, outer, condition) for _ in range(2))
        self.leave = nn.Sequential(norm(outer), nn.SiLU(), silence(conv(outer, LATENT_CHANNELS)))

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        text = encoder_hidden_states
        condition = F.silu(self.time(waves(timestep, self.outer)) + self.summary(text[:, 0]))
        # Pictures of another shape than those of the training: the same places, stretched.
        x = self.enter(sample) + F.interpolate(self.places, size=sample.shape[2:], mode="bilinear")
        kept = []
        for block in self.down_outer:
            x = block(x, condition)
            kept.append(x)
        x = self.shrink(x)
        for block, look in zip(self.down_inner, self.down_look):
            x = look(block(x, condition), text)
            kept.append(x)
        x = self.middle_look(self.middle(x, condition), text)
        for block, look in zip(self.up_inner, self.up_look):
            x = look(block(torch.cat([x, kept.pop()], dim=1), condition), text)
        x = self.enlarge(x)
        for block in self.up_outer:
            x = block(torch.cat([x, kept.pop()], dim=1), condition)
        return self.leave(x)


def waves(timestep: Tensor, width: int) -> Tensor:
    """Sines and cosines of the timestep (Vaswani et al. 2017), [batch, width]."""
    speeds = torch.exp(-math.log(10_000) * torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angles = timestep.float()[:, None] * speeds[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def parameters(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())
