"""Objective and guidance. Schedulers are diffusers'."""

from video4spatial.diffusion.flow_matching import add_noise, draw_sigmas, flow_matching_loss, to_flow
from video4spatial.diffusion.guidance import JointGuidance

__all__ = ["JointGuidance", "add_noise", "draw_sigmas", "flow_matching_loss", "to_flow"]
