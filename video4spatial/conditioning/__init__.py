"""The one way from latents, times, cameras and instruction to what the transformer takes."""
