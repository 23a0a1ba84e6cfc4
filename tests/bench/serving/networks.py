"""The networks that every server serves, exported once into `.bench/serving`.

`python -m tests.bench.serving.networks` writes them: a process of its own, so that no measurement
shares its memory with torch.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(".bench/serving")
TINY, FLOAT, IMAGE = "tiny", "float", "image"
"""`tiny`: `x` FP32 (N, 64) to `y` (N, 10). `float`: MobileNetV3-small, `x` FP32 (N, 3, 224, 224) to
`y` (N, 1000). `image`: the same behind its normalisation, `image` UINT8 (N, 224, 224, 3) to
`probabilities`."""
NAMES = (TINY, FLOAT, IMAGE)
TINY_INPUTS, SIDE_PX, CLASSES = 64, 224, 1000
OPSET = 20


def paths() -> dict[str, Path]:
    """Return the ONNX files by name, made first where they are not there."""
    found = {name: FOLDER / f"{name}.onnx" for name in NAMES}
    if not all(path.exists() for path in found.values()):
        subprocess.run([sys.executable, "-m", __name__], check=True, timeout=300)
    return found


def export() -> None:
    """Write the files; the weights are random, and the same each time."""
    import timm
    import torch
    from torch import nn

    torch.manual_seed(0)
    mobile = timm.create_model("mobilenetv3_small_100", pretrained=False, num_classes=CLASSES)

    class OnImages(nn.Module):
        """Takes pixels, gives probabilities."""

        def __init__(self) -> None:
            super().__init__()
            self.network = mobile

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            """Return the probabilities."""
            scaled = image.permute(0, 3, 1, 2).float() / 127.5 - 1.0
            return torch.softmax(self.network(scaled), dim=1)

    tiny = nn.Sequential(nn.Linear(TINY_INPUTS, 64), nn.ReLU(), nn.Linear(64, 10))
    photo = (2, 3, SIDE_PX, SIDE_PX)
    _write(TINY, tiny, torch.zeros(2, TINY_INPUTS), "x", "y")
    _write(FLOAT, mobile, torch.zeros(photo), "x", "y")
    pixels = torch.zeros((2, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8)
    _write(IMAGE, OnImages(), pixels, "image", "probabilities")


def _write(name: str, module: object, example: object, input_: str, output: str) -> None:
    import torch

    FOLDER.mkdir(parents=True, exist_ok=True)
    part = FOLDER / f"{name}.part"
    torch.onnx.export(
        module.eval(),  # type: ignore[attr-defined]
        (example,),
        str(part),
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        input_names=[input_],
        output_names=[output],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1024)},),
        verbose=False,
    )
    part.rename(FOLDER / f"{name}.onnx")


if __name__ == "__main__":
    export()
