"""Object detectors as plug-ins: they find by its name in the pixels what the weight-free way finds by its box in the world.

Nothing is ever downloaded: where transformers or the weights are not installed, a detector says what it lacks.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Detector:
    """A zero-shot detector of the transformers library, as declared.

    Args:
        name: as in the registry.
        model: id on the Hugging Face hub.
        revision: branch or commit of the weights that is looked for on disk.
        licence: of the weights.
        words: what the label is put into to make the model's query.
        threshold: least score of a box that counts.
    """

    name: str
    model: str
    revision: str
    licence: str
    words: str
    threshold: float = 0.35

    def lacking(self) -> str:
        """Why it cannot run here and what would change that; empty where it can."""
        terms = f"{self.model} at {self.revision}, {self.licence}"
        try:
            _loaded(self.model, self.revision)
        except ImportError:
            return f"needs the library transformers, which is not installed ({terms})"
        except OSError:
            return f"the weights are not on disk and are never downloaded unasked ({terms})"
        return ""

    def boxes(self, frames: np.ndarray, label: str) -> np.ndarray:
        """The best box of a label in each frame.

        Args:
            frames: [T, H, W, 3] uint8.
            label: what to look for, such as "lamp".

        Returns:
            [T, 4] left, top, right and bottom as shares of width and height; NaN where nothing is found.
        """
        processor, model = _loaded(self.model, self.revision)
        height, width = frames.shape[1:3]
        found = np.full((len(frames), 4), np.nan)
        for index, frame in enumerate(frames):
            inputs = processor(images=Image.fromarray(frame), text=[[self.words.format(label)]], return_tensors="pt")
            with torch.no_grad():
                outputs = model(**inputs)
            result = processor.post_process_grounded_object_detection(
                outputs, threshold=self.threshold, target_sizes=[(height, width)]
            )[0]
            if len(result["scores"]):
                box = result["boxes"][int(result["scores"].argmax())].numpy()
                found[index] = (box / (width, height, width, height)).clip(0, 1)
        return found


@functools.cache
def _loaded(model: str, revision: str) -> tuple:
    """Processor and model from the local cache."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    options = {"revision": revision, "local_files_only": True}
    processor = AutoProcessor.from_pretrained(model, **options)
    return processor, AutoModelForZeroShotObjectDetection.from_pretrained(model, **options).eval()


GROUNDING_DINO = Detector("grounding_dino", "IDEA-Research/grounding-dino-tiny", "main", "Apache-2.0", "{}")
OWLV2 = Detector("owlv2", "google/owlv2-base-patch16-ensemble", "main", "Apache-2.0", "a photo of a {}")

DETECTORS: dict[str, Detector] = {detector.name: detector for detector in (GROUNDING_DINO, OWLV2)}
"""All detectors by name."""
