"""The scenes that the recipes are shown on: what is trained, on what, and what it must reach.

`loopline demo --recipe` tells its story with them, and the slow tests hold them to their figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loopline.errors import Rejected


@dataclass(frozen=True)
class Training:
    """A training of a recipe on real images.

    Args:
        recipe: Its name.
        data: Folder of examples/data; "" where the story writes its own.
        metric: What it is judged by.
        metric_min: What must be reached on the test split.
        cpu_s_max: In so many CPU-seconds, evaluation and export with them.
        parameters: Of the recipe, where they are not its defaults.
    """

    recipe: str
    data: str
    metric: str
    metric_min: float
    cpu_s_max: float
    parameters: dict[str, Any] = field(default_factory=dict)


TRAININGS: Final = {
    "fashion": Training("classification", "fashion", "accuracy", 0.88, 90),
    "photos": Training(
        "classification",
        "photos",
        "accuracy",
        0.9,
        120,
        {
            "backbone": "tf_efficientnet_lite0",
            "initial_weights": "lite0",
            "epochs": 4,
            "batch_size": 16,
            "image_size": 96,
            "learning_rate": 1e-3,
            "weight_decay": 0.05,
        },
    ),
    "nuclei-boxes": Training(
        "detection",
        "nuclei",
        "map50",
        0.85,
        60,
        {
            "epochs": 90,
            "batch_size": 4,
            "width": 32,
            "image_size": 128,
            "validation_share": 0,
            "augmentation": {"flip_vertical": True, "quarter_turns": True, "rotate_degrees": 45},
        },
    ),
    "nuclei-masks": Training(
        "segmentation",
        "nuclei",
        "mean_iou",
        0.85,
        60,
        {
            "epochs": 30,
            "batch_size": 4,
            "width": 96,
            "image_size": 128,
            "validation_share": 0,
            "augmentation": {"quarter_turns": True, "rotate_degrees": 45},
        },
    ),
    "trees": Training(
        "detection",
        "trees",
        "map50",
        0.3,
        240,
        {
            "backbone": "tf_efficientnet_lite0",
            "initial_weights": "lite0",
            "epochs": 15,
            "batch_size": 5,
            "width": 48,
            "image_size": 384,
            "learning_rate": 2e-3,
            "validation_share": 0,
            "augmentation": {
                "flip_vertical": True,
                "quarter_turns": True,
                "scale": 0.3,
                "saturation": 0.3,
            },
        },
    ),
}


def data_folder(name: str) -> Path:
    """Return a folder of examples/data: beside this module in a wheel, in `examples/` in a clone.

    Raises:
        Rejected: It is in neither place.
    """
    here = Path(__file__).resolve()
    places = (here.parent / "data" / name, here.parents[2] / "examples" / "data" / name)
    for place in places:
        if place.exists():
            return place
    raise Rejected(f"the demo's images are missing: neither {places[0]} nor {places[1]} is there")
