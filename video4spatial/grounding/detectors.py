"""Open-vocabulary detectors of the library transformers as plug-ins: they find in pixels what words name.

Nothing is ever downloaded: where transformers or the weights are not installed, a detector says what it lacks.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import label as joined_parts

from video4spatial.clips.regions import mask_box

KINDS = {"owlv2": "a photo of a {}", "owlvit": "a photo of a {}", "grounding-dino": "{}", "clipseg": "{}"}
"""What the words are put into, by the kind of model."""

SEGMENTERS = ("clipseg",)
"""Kinds that give a map of likeness instead of boxes."""

LEAST_PART = 0.002
"""Share of the picture below which a joined part of such a map counts as noise."""


@dataclass(frozen=True)
class Detection:
    """One place of one frame that may show what words name.

    Args:
        frame: index.
        box: left, top, right and bottom as shares.
        score: from 0 to 1, the model's own.
        mask: [H, W] bool, of models that give one.
    """

    frame: int
    box: tuple[float, float, float, float]
    score: float
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Detector:
    """A detector as declared, or in a folder.

    Args:
        name: as in the registry, or the kind of model.
        model: id on the Hugging Face hub, or a folder.
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

    @classmethod
    def from_folder(cls, folder: str | Path, threshold: float | None = None) -> Detector:
        """A detector of transformers in a folder, as `save_pretrained` of model and processor writes it.

        Args:
            folder: with an OWL-ViT, OWLv2, Grounding DINO or CLIPSeg model.
            threshold: least score of what counts as found; by default 0.35, and 0.2 for OWL models, whose scores are lower.

        Raises:
            FileNotFoundError: for a folder without a model.
            ValueError: for a model of another kind, one that cannot be loaded, or without transformers.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"{folder}: no model there (no config.json): expected a detector as transformers saves it.")
        try:
            kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path}: not the configuration of a model ({error}).") from error
        if kind not in KINDS:
            raise ValueError(f"{folder}: a model of the kind {kind!r} finds nothing by words: expected one of {', '.join(KINDS)}.")
        usual = 0.2 if kind.startswith("owl") else 0.35
        detector = cls(kind, str(folder), "main", "as its folder says", KINDS[kind], usual if threshold is None else threshold)
        try:
            _loaded(detector.model, detector.revision, kind)
        except ImportError as error:
            raise ValueError(f"{folder}: detectors need the library transformers: pip install transformers.") from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ValueError(f"{folder}: this {kind} model cannot be loaded ({error}).") from error
        return detector

    def lacking(self) -> str:
        """Why it cannot run here and what would change that; empty where it can."""
        terms = f"{self.model} at {self.revision}, {self.licence}"
        try:
            _loaded(self.model, self.revision, self.name)
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
        found = np.full((len(frames), 4), np.nan)
        for detection in sorted(self.detections(frames, label), key=lambda detection: detection.score):
            found[detection.frame] = detection.box
        return found

    @torch.no_grad()
    def detections(self, frames: np.ndarray, label: str) -> list[Detection]:
        """All places of a label in each frame whose score counts.

        Args:
            frames: [T, H, W, 3] uint8.
            label: what to look for, such as "red chair".
        """
        processor, model = _loaded(self.model, self.revision, self.name)
        query, found = self.words.format(label), []
        for index, frame in enumerate(frames):
            height, width = frame.shape[:2]
            picture = Image.fromarray(frame)
            if self.name in SEGMENTERS:
                inputs = processor(images=[picture], text=[query], truncation=True, return_tensors="pt")
                logits = model(**inputs).logits
                found += _parts(index, logits.reshape(logits.shape[-2:]).sigmoid().numpy(), (height, width), self.threshold)
                continue
            inputs = processor(images=picture, text=[[query]], truncation=True, return_tensors="pt")
            outputs = model(**inputs)
            result = processor.post_process_grounded_object_detection(
                outputs, threshold=self.threshold, target_sizes=[(height, width)]
            )[0]
            boxes = (result["boxes"].numpy() / (width, height, width, height)).clip(0, 1)
            for box, score in zip(boxes.tolist(), result["scores"].tolist()):
                if (box[2] - box[0]) * width >= 1 and (box[3] - box[1]) * height >= 1:
                    found.append(Detection(index, tuple(box), float(score)))
        return found


def _parts(frame: int, likeness: np.ndarray, size: tuple[int, int], threshold: float) -> list[Detection]:
    """The joined parts of a map of likeness [h, w] that are above a threshold, as masks at the frame's size."""
    rows, columns = ((np.arange(count) + 0.5) * small / count for count, small in zip(size, likeness.shape))
    full = likeness[rows.astype(int)[:, None], columns.astype(int)]
    parts, count = joined_parts(full >= threshold)
    found = []
    for part in range(1, count + 1):
        mask = parts == part
        if mask.mean() >= LEAST_PART:
            found.append(Detection(frame, mask_box(mask), float(full[mask].max()), mask))
    return found


@functools.cache
def _loaded(model: str, revision: str, kind: str = "") -> tuple:
    """Processor and model from the local cache or a folder; never weights that are code."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor, CLIPSegForImageSegmentation

    options = {"revision": revision, "local_files_only": True, "trust_remote_code": False}
    processor = AutoProcessor.from_pretrained(model, **options)
    family = CLIPSegForImageSegmentation if kind in SEGMENTERS else AutoModelForZeroShotObjectDetection
    return processor, family.from_pretrained(model, use_safetensors=True, **options).eval()


GROUNDING_DINO = Detector("grounding_dino", "IDEA-Research/grounding-dino-tiny", "main", "Apache-2.0", "{}")
OWLV2 = Detector("owlv2", "google/owlv2-base-patch16-ensemble", "main", "Apache-2.0", "a photo of a {}")

DETECTORS: dict[str, Detector] = {detector.name: detector for detector in (GROUNDING_DINO, OWLV2)}
"""Those that scores know, by name."""
