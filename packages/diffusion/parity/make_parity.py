"""Writes `fixtures/`: small random networks, and what Python's diffusers makes of them. See README.md."""

import argparse
import importlib.metadata
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch

from checkpoints import make_checkpoints
from pipelines import NEGATIVE, PROMPT, list_cases, make_inputs, run_case
from schedulers import run_schedulers

VERSIONS = ("torch", "diffusers", "transformers", "numpy", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "fixtures")
    folder: Path = parser.parse_args().out
    torch.set_num_threads(1)
    networks = make_checkpoints(folder)
    inputs = make_inputs()
    parts: list[bytes] = []

    def store(values: np.ndarray) -> dict:
        """Where the numbers lie in `tensors.bin`: little-endian, row by row, each array at a multiple of 4 bytes."""
        offset = sum(len(part) for part in parts)
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        parts.append(data + bytes(-len(data) % 4))
        return {"type": str(values.dtype), "dims": list(values.shape), "offset": offset}

    stored = {
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "prompt": PROMPT,
        "negativePrompt": NEGATIVE,
        "inputs": {name: store(values) for name, values in inputs.items()},
        "cases": [
            {**case, **{name: store(values) for name, values in run_case(networks, inputs, case).items()}}
            for case in list_cases()
        ],
    }
    (folder / "tensors.bin").write_bytes(b"".join(parts))
    write_lines(folder / "pipelines.json", stored, "cases")
    write_lines(folder / "schedulers.json", {"cases": run_schedulers()}, "cases")
    print(f"{len(stored['cases'])} pictures' ways and the schedulers' are in {folder}")


def write_lines(path: Path, content: dict, key: str) -> None:
    """One line a case: a change shows where it is."""
    head = json.dumps({name: value for name, value in content.items() if name != key})[1:-1]
    lines = ",\n".join(json.dumps(case) for case in content[key])
    path.write_text(f"{{{head}{', ' if head else ''}\"{key}\": [\n{lines}\n]}}\n")


if __name__ == "__main__":
    main()
