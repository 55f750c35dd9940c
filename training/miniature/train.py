"""Trains the miniature from nothing and writes it as a diffusers folder of ONNX files:

    pip install -r requirements.txt
    python train.py ../../packages/diffusion/miniature

A stage that is done is kept in `work/` and not done again; delete that folder to start over. Every stage is seeded.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from autoencoder import encode, latent_to_rgb, train_autoencoder
from captions import FACT_SIZES, caption, vocabulary
from denoiser import train_denoiser
from networks import Autoencoder, TextEncoder, UNet
from pictures import draw_pictures
from scenes import sample
from text_encoder import all_words, disturb, hide, train_text_encoder
from tokenizer import Tokenizer

WORDINGS = 4  # captions of one picture


def main() -> None:
    options = read_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    work = Path(__file__).parent / "work"
    work.mkdir(exist_ok=True)
    tokenizer = Tokenizer(all_words(vocabulary()))
    pictures = draw_pictures(work / "pictures.u8", options.pictures)

    def stage(name: str, model: torch.nn.Module, train) -> torch.nn.Module:
        file = work / f"{name}.pt"
        if not file.exists():
            torch.manual_seed(2)
            torch.save(train().state_dict(), file)
        model.load_state_dict(torch.load(file))
        return model.eval().requires_grad_(False)

    autoencoder = stage(
        "autoencoder",
        Autoencoder().to(memory_format=torch.channels_last),
        lambda: train_autoencoder(pictures, options.autoencoder_steps, log=log),
    )
    if options.until == "autoencoder":
        return
    text = stage(
        "text",
        TextEncoder(len(tokenizer.ids), list(FACT_SIZES.values())),
        lambda: train_text_encoder(tokenizer, options.text_steps, log=log),
    )
    if options.until == "text":
        return
    latents = known_latents(work / "latents.pt", autoencoder, pictures)
    scale = 1 / latents[:4096].std().item()
    captions = known_captions(work / "captions.npy", tokenizer, len(pictures))
    denoiser = stage(
        "denoiser",
        UNet().to(memory_format=torch.channels_last),
        lambda: train_denoiser(
            latents * scale, captions, torch.tensor(tokenizer.encode("")), text, options.denoiser_steps, log=log,
            keep=lambda model, step: torch.save(model.state_dict(), work / "denoiser-so-far.pt"),
        ),
    )  # fmt: skip
    from export import export  # it needs the onnx package, training does not

    weights, bias = latent_to_rgb(latents[:1000] * scale, pictures)
    export(options.folder, tokenizer, text, autoencoder, denoiser, scale, {"weights": weights, "bias": bias})


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the ONNX folder is written")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=96_000)
    parser.add_argument("--autoencoder-steps", type=int, default=3_600)
    parser.add_argument("--text-steps", type=int, default=1_500)
    parser.add_argument("--denoiser-steps", type=int, default=4_200)
    parser.add_argument("--until", choices=("autoencoder", "text"), help="stop after this stage")
    return parser.parse_args()


def log(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def known_latents(file: Path, autoencoder: Autoencoder, pictures: np.ndarray) -> torch.Tensor:
    if not file.exists():
        torch.save(encode(autoencoder, pictures).half(), file)
    return torch.load(file).float()


def known_captions(file: Path, tokenizer: Tokenizer, count: int) -> torch.Tensor:
    """Token ids of several wordings of each picture, int16 [count, WORDINGS, 48]."""
    if not file.exists():
        rng = np.random.default_rng(12)
        # Some tell the colour alone, or the kind alone, so that the denoiser learns each by itself.
        words = lambda scene: hide(disturb(caption(scene, rng), rng), rng, share=0.08)[0]  # noqa: E731
        rows = [[tokenizer.encode(words(sample(seed))) for _ in range(WORDINGS)] for seed in range(count)]
        np.save(file, np.array(rows, dtype=np.int16))
    return torch.from_numpy(np.load(file))


if __name__ == "__main__":
    main()
