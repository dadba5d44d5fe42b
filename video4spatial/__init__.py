"""video4spatial: context-guided video diffusion. A scene video and an instruction in, the video a camera would see out.

`Video4SpatialPipeline` and `Video4SpatialTransformer3DModel` are importable from here (model folders name them so); they load on
first use, so that importing the package stays light.
"""

from importlib import import_module

__version__ = "0.1.0"

_LAZY = {
    "Video4SpatialPipeline": "video4spatial.pipelines",
    "Video4SpatialTransformer3DModel": "video4spatial.models",
}

__all__ = [*_LAZY, "__version__"]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'video4spatial' has no attribute {name!r}")
