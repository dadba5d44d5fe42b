"""Joint classifier-free guidance over instruction and context, as a diffusers guider."""

import logging

from diffusers.configuration_utils import register_to_config
from diffusers.guiders import ClassifierFreeGuidance

# diffusers warns with every guider made that their interface may change; our pinned versions and tests cover that
logging.getLogger("diffusers.guiders.guider_utils").addFilter(lambda record: "experimental" not in record.getMessage())


class JointGuidance(ClassifierFreeGuidance):
    """v = v(null, null) + w (v(instruction, context) - v(null, null)): both conditions are dropped together.

    The null context is a property of how a model was trained: build the guider with `absent`, which says what the null branch is
    given, and check it against the transformer with `check`.

    Args:
        guidance_scale: w; 1 turns the null branch off.
        null_context: `absent` (the tokens are left out: cheaper).
        start, stop: share of the denoising steps between which guidance is on.
    """

    @register_to_config
    def __init__(self, guidance_scale: float = 2.0, null_context: str = "absent", start: float = 0.0, stop: float = 1.0):
        super().__init__(guidance_scale=guidance_scale, start=start, stop=stop)
        if null_context != "absent":
            raise ValueError(f"null_context={null_context!r}: only 'absent' is available.")
        self.null_context = null_context

    @classmethod
    def absent(cls, guidance_scale: float) -> "JointGuidance":
        """The null branch sees neither context nor anchor nor instruction."""
        return cls(guidance_scale=guidance_scale, null_context="absent")

    def check(self, trained_null_context: tuple[str, ...]) -> None:
        """Refuse a null that the model was not trained with.

        Raises:
            ValueError: naming what the model knows.
        """
        if self.guidance_scale != 1.0 and self.null_context not in trained_null_context:
            raise ValueError(
                f"guidance with a null context '{self.null_context}' needs a model trained with it; this one was trained with "
                f"{list(trained_null_context)}. Use guidance_scale=1.0 or another model."
            )
