"""Classifier-free guidance over instruction and context, as a diffusers guider."""

import logging
import math

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.guiders.guider_utils import GuiderOutput

# diffusers warns with every guider made that their interface may change; our pinned versions and tests cover that
logging.getLogger("diffusers.guiders.guider_utils").addFilter(lambda record: "experimental" not in record.getMessage())

NULL_CONTEXTS = ("absent", "noise")


class JointGuidance(ClassifierFreeGuidance):
    """v = v(null, null) + c (v(null, context) - v(null, null)) + w (v(instruction, context) - v(null, context)).

    With c = w, the default, both conditions are dropped together and the middle branch falls away: the joint guidance of
    Video4Spatial (arXiv 2512.03040). Separate scales are those of Brooks et al. (InstructPix2Pix, CVPR 2023, eq. 3). A branch whose
    weight is zero is not computed.

    What the null context is, is a property of how a model was trained: build the guider with `absent`, `noise` or `separate`, and
    check it against the transformer with `check`.

    Args:
        guidance_scale: w; with c = w, 1 turns guidance off.
        null_context: `absent` (the tokens are left out: cheaper) or `noise` (one draw of N(0, I) per run in their place, labelled
            t = 1, as published).
        context_scale: c; None for c = w.
        start, stop: share of the denoising steps between which guidance is on.

    Raises:
        ValueError: for another null context.
    """

    @register_to_config
    def __init__(
        self,
        guidance_scale: float = 2.0,
        null_context: str = "absent",
        context_scale: float | None = None,
        start: float = 0.0,
        stop: float = 1.0,
    ):
        super().__init__(guidance_scale=guidance_scale, start=start, stop=stop)
        if null_context not in NULL_CONTEXTS:
            raise ValueError(f"null_context={null_context!r}: expected {' or '.join(map(repr, NULL_CONTEXTS))}.")
        self.null_context = null_context
        self.context_scale = guidance_scale if context_scale is None else context_scale

    @classmethod
    def absent(cls, guidance_scale: float) -> "JointGuidance":
        """Guidance whose null branch sees neither context nor anchor nor instruction.

        Args:
            guidance_scale: w; 1 turns it off.
        """
        return cls(guidance_scale=guidance_scale, null_context="absent")

    @classmethod
    def noise(cls, guidance_scale: float) -> "JointGuidance":
        """Guidance whose null branch sees noise in place of the context, and neither anchor nor instruction.

        Args:
            guidance_scale: w; 1 turns it off.
        """
        return cls(guidance_scale=guidance_scale, null_context="noise")

    @classmethod
    def separate(cls, instruction_scale: float, context_scale: float, null_context: str = "absent") -> "JointGuidance":
        """Guidance with scales of their own for instruction and context.

        Args:
            instruction_scale: w.
            context_scale: c.
            null_context: `absent` or `noise`.
        """
        return cls(guidance_scale=instruction_scale, null_context=null_context, context_scale=context_scale)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every branch that this step needs: `instruction`, `context` (context and anchor, no instruction), `null`."""
        if not self._within_range():
            return {"instruction": 1.0}
        w, c = self.guidance_scale, self.context_scale
        weights = {"instruction": w, "context": c - w, "null": 1.0 - c}
        return {branch: weight for branch, weight in weights.items() if not math.isclose(weight, 0.0, abs_tol=1e-9)}

    @property
    def num_conditions(self) -> int:
        """Branches that this step needs."""
        return len(self.weights)

    def forward(
        self,
        pred_cond: torch.Tensor | None,
        pred_uncond: torch.Tensor | None = None,
        pred_context: torch.Tensor | None = None,
    ) -> GuiderOutput:
        """The guided prediction from those of the branches that `weights` names.

        Args:
            pred_cond, pred_uncond, pred_context: [B, C, F, h, w] of the branches instruction, null and context.
        """
        branches = {"instruction": pred_cond, "context": pred_context, "null": pred_uncond}
        pred = sum(weight * branches[branch] for branch, weight in self.weights.items())
        return GuiderOutput(pred=pred, pred_cond=pred_cond, pred_uncond=pred_uncond)

    def check(self, trained_null_context: tuple[str, ...], trained_null_instruction: bool = False) -> None:
        """Refuse nulls that the model was not trained with.

        Args:
            trained_null_context: kinds of null context the model knows.
            trained_null_instruction: whether it knows a context without an instruction.

        Raises:
            ValueError: naming what the model knows.
        """
        w, c = self.guidance_scale, self.context_scale
        if c != 1.0 and self.null_context not in trained_null_context:
            raise ValueError(
                f"guidance with a null context '{self.null_context}' needs a model trained with it; this one was trained with "
                f"{list(trained_null_context)}. Use `guidance_scale` 1, another `null_context`, or another model."
            )
        if c != w and not trained_null_instruction:
            raise ValueError(
                f"separate scales for instruction ({w:g}) and context ({c:g}) need a model trained without the instruction at times "
                "(null_instruction in its configuration); this one was not. Use one scale for both."
            )

    def _within_range(self) -> bool:
        if self._num_inference_steps is None:
            return True
        return int(self._start * self._num_inference_steps) <= self._step < int(self._stop * self._num_inference_steps)
