"""What a video says about space: features, two views, structure from motion, depth, visibility, splatting."""
