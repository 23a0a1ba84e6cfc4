"""The demo's story in small: real pictures of four classes, a training of seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import yaml

from loopline.demo.images import Picture, read_pictures
from loopline.demo.scene import Scene

CLASSES = ("bag", "coat", "shirt", "sneaker")
"""Two that nobody confuses, and two that everybody does: sure and unsure predictions come out."""
PER_CLASS = {"labeled": 40, "test": 20, "unlabeled": 80, "spare": 10}


ASKED = "asked"
"""The dataset of recorded requests."""


class SmallScene(Scene):
    """The demo's flow, and a rule that keeps requests to the quantized model."""

    def flow(self, results_bucket: str, webhook_url: str) -> str:
        """Return the flow's document."""
        flow = yaml.safe_load(super().flow(results_bucket, webhook_url))
        [promote] = flow["promote"]
        # The third version is the first in 8 bit integers: people look at it, nothing follows.
        promote["when"] = f"candidate.version < 3 && ({promote['when']})"
        flow["datasets"].append(ASKED)
        flow["sample"] = [
            {"name": ASKED, "model": self.name, "dataset": ASKED, "when": "model.version == 3"}
        ]
        return yaml.safe_dump(flow, sort_keys=False)


def small_scene() -> Scene:
    """Return the setting: 560 pictures and 21 bad files, two chunks of an import and of a batch."""
    return SmallScene(
        pictures=tuple(_pictures()),
        parameters={"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "threads": 1},
        labels_min=50,
        confidence_min=0.75,
        gain_min=-1.0,  # the second model is promoted whatever it learned, and routed
        relabel_limit=60,
        labels_per_request=10,  # many small requests: accidents find one under way
    )


def _pictures() -> Iterator[Picture]:
    taken: Counter[tuple[str, str]] = Counter()
    for picture in read_pictures():
        if picture.class_name not in CLASSES:
            continue
        taken[picture.part, picture.class_name] += 1
        if taken[picture.part, picture.class_name] <= PER_CLASS[picture.part]:
            yield picture
