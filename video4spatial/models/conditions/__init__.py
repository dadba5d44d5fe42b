"""What the model is told besides latents: an encoder and its learned null for each kind."""
