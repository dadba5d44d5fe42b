"""Learned metrics: plug-ins that declare their weights and are `missing`, with the reason, until these lie on disk.

Nothing is ever downloaded. LPIPS, FID and KID run in torchmetrics on weights that the user has put into torch.hub's folder of
checkpoints. Metrics whose libraries clash with ours (MEt3R, WorldScore, cd-fvd) run as a command of the user's own, which an
environment variable names. It is called as `COMMAND FOLDER`. FOLDER has a folder per clip (`000`, ...) with the frames in
`generated/` (`000.png`, ..., frame 0 the anchor) and, where known, `reference/` and `cameras.json`. The last line that the command
prints is `{"value": number}`.
"""

import functools
import hashlib
import importlib.util
import json
import math
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from video4spatial.evaluation.measurement import Measurement, Sample

COMMAND_SECONDS = 3600
"""After this long a command has failed."""

SMALLEST_LPIPS = 32
"""Pixels; smaller pictures vanish in the network."""

FEWEST_FRAMES = 2048
"""FID needs as many frames as the features have dimensions, or their covariance is singular."""

FEWEST_CLIPS = 2048
"""FVD of fewer clips says more about their number than about the videos."""

KID_SUBSET = 1000
"""Frames per subset of KID; all of them where there are fewer."""


@dataclass(frozen=True)
class Plugin:
    """A learned metric, as declared.

    Args:
        name: of the metric.
        model: what weights it needs, and whose they are.
        revision: which state of them: a commit, or for a file the first digits of its SHA-256, which are checked.
        licence: of the weights.
        url: where people get them.
        file: name of the weights in torch.hub's folder of checkpoints; empty where somebody else looks after them.
        libraries: modules that it needs, none of which this package installs.
        command: environment variable that names the user's command; empty where it runs in this process.
    """

    name: str
    model: str
    revision: str
    licence: str
    url: str
    file: str = ""
    libraries: tuple[str, ...] = ()
    command: str = ""

    @property
    def path(self) -> Path:
        """Where the file of the weights ought to lie."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.file

    def lacking(self) -> str:
        """Why it cannot run here and what would change that; empty where it can."""
        terms = f"{self.model} at {self.revision}, {self.licence}, {self.url}"
        if self.command and not os.environ.get(self.command, "").strip():
            return f"no command: set {self.command} to one that computes it ({terms})"
        absent = [name for name in self.libraries if importlib.util.find_spec(name) is None]
        if absent:
            return f"needs the library {', '.join(absent)}, which is not installed ({terms})"
        if self.file and not self.path.is_file():
            return f"weights {self.path} are not on disk and are never downloaded unasked ({terms})"
        if self.file and not _digest(self.path).startswith(self.revision):
            return f"weights {self.path} are others than declared: their SHA-256 does not begin with {self.revision}"
        return ""


LPIPS = {
    net: Plugin(
        f"lpips_{net}", f"torchvision {backbone}", revision, "BSD-3-Clause, trained on ImageNet",
        f"https://download.pytorch.org/models/{file}", file, ("torchvision",),
    )
    for net, backbone, revision, file in [
        ("alex", "alexnet", "7be5be79", "alexnet-owt-7be5be79.pth"), ("vgg", "vgg16", "397923af", "vgg16-397923af.pth"),
    ]
}  # fmt: skip
"""Backbones by name; torchmetrics ships the small weights on top of them (BSD-2-Clause)."""

FID = Plugin(
    "fid", "Inception-v3 of FID, converted by torch-fidelity", "6726825d", "Apache-2.0, trained on ImageNet",
    "https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0", "weights-inception-2015-12-05-6726825d.pth",
    ("torch_fidelity",),
)  # fmt: skip
KID = replace(FID, name="kid")

FVD = Plugin(
    "fvd", "VideoMAE-v2 ViT-g, SSv2 (cd-fvd 0.1.1, `videomae`)", "vit_g_hybrid_pt_1200e_ssv2_ft",
    "access form; cd-fvd itself MIT, in part NVIDIA source code licence",
    "https://github.com/songweige/content-debiased-fvd", command="V4S_FVD",
)  # fmt: skip
MET3R = Plugin(
    "met3r", "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric with FeatUp DINO (MEt3R)", "3259e41 of MEt3R",
    "CC BY-NC-SA 4.0", "https://github.com/mohammadasim98/MEt3R", command="V4S_MET3R",
)  # fmt: skip
WORLDSCORE_3D = Plugin(
    "worldscore_3d_consistency", "DROID-SLAM droid.pth (WorldScore, 3D consistency)", "344983c of WorldScore",
    "code BSD-3-Clause, weights unstated", "https://github.com/haoyi-duan/WorldScore", command="V4S_WORLDSCORE_3D",
)  # fmt: skip

PLUGINS: dict[str, Plugin] = {p.name: p for p in (*LPIPS.values(), FID, KID, FVD, MET3R, WORLDSCORE_3D)}
"""All plug-ins by name."""


def unless_lacking(plugin: Plugin, function: Callable[..., Measurement]) -> Callable[..., Measurement]:
    """The metric's function, which gives `missing` with the reason where the plug-in cannot run.

    Args:
        plugin: what the function needs.
        function: the arguments of a metric -> Measurement.
    """

    @functools.wraps(function)
    def measured(*arguments) -> Measurement:
        reason = plugin.lacking()
        return Measurement.missing(reason) if reason else function(*arguments)

    return measured


def measure_lpips(sample: Sample, net: str) -> Measurement:
    """LPIPS of frames 1..T-1.

    Args:
        sample: with true frames.
        net: one of `LPIPS`.
    """
    if min(sample.frames.shape[1:3]) < SMALLEST_LPIPS:
        return Measurement(None, "not_applicable", f"pictures are smaller than {SMALLEST_LPIPS}x{SMALLEST_LPIPS}")
    from torchvision.models import get_model_weights

    plugin = LPIPS[net]
    default = Path(get_model_weights(plugin.model.split()[-1]).DEFAULT.url).name
    if default != plugin.file:
        return Measurement.missing(f"the installed torchvision wants {default}, not {plugin.file}, and would download it")
    network = _lpips(net)
    pairs = zip(_pictures(sample.frames[1:]), _pictures(sample.clip.target_frames[1:]), strict=True)
    with torch.no_grad():
        values = [float(network(one[None].float() / 255, other[None].float() / 255)) for one, other in pairs]
    return Measurement.over_frames(np.array(values), "no frame to compare")


def measure_fid(samples: Sequence[Sample]) -> Measurement:
    """Fréchet inception distance of all frames but the anchors."""
    count = sum(len(sample.frames) - 1 for sample in samples)
    if count < FEWEST_FRAMES:
        return Measurement.missing(f"{count} frames, FID needs {FEWEST_FRAMES}: KID is for fewer")
    from torchmetrics.image.fid import FrechetInceptionDistance

    return _distribution_distance(FrechetInceptionDistance(feature=_inception()), samples)


def measure_kid(samples: Sequence[Sample]) -> Measurement:
    """Kernel inception distance (unbiased) of all frames but the anchors."""
    from torchmetrics.image.kid import KernelInceptionDistance

    count = sum(len(sample.frames) - 1 for sample in samples)
    if count < 2:
        return Measurement.missing("KID needs at least 2 frames")
    subsets = {"subsets": 100, "subset_size": KID_SUBSET} if count > KID_SUBSET else {"subsets": 1, "subset_size": count}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # subsets are drawn
        return _distribution_distance(KernelInceptionDistance(feature=_inception(), **subsets), samples)


def measure_fvd(samples: Sequence[Sample]) -> Measurement:
    """Fréchet video distance by the user's command."""
    if len(samples) < FEWEST_CLIPS:
        return Measurement.missing(f"{len(samples)} clips, FVD needs {FEWEST_CLIPS}")
    return run_command(FVD, samples)


def run_command(plugin: Plugin, samples: Sequence[Sample]) -> Measurement:
    """Measure clips by the user's command, as the module describes.

    Args:
        plugin: whose command is set.
        samples: generated videos.

    Returns:
        What the command printed, or `failed` with its complaint.
    """
    command = shlex.split(os.environ[plugin.command])
    with tempfile.TemporaryDirectory(prefix="v4s_") as folder:
        for index, sample in enumerate(samples):
            _write(sample, Path(folder) / f"{index:03d}")
        try:
            options = dict(capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
            printed = subprocess.run([*command, folder], **options).stdout.strip()
        except subprocess.CalledProcessError as error:
            words = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
            return Measurement(None, "failed", f"{plugin.command}: {words}")
        except (OSError, subprocess.TimeoutExpired) as error:
            return Measurement(None, "failed", f"{plugin.command}: {error}")
    try:
        value = float(json.loads(printed.splitlines()[-1])["value"])
    except (IndexError, KeyError, TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        expected = '{"value": number}'
        return Measurement(None, "failed", f"{plugin.command}: expected {expected} as its last line, got {printed[-80:]!r}")
    return Measurement(value)


def _distribution_distance(metric, samples: Sequence[Sample]) -> Measurement:
    with torch.no_grad():
        for sample in samples:
            metric.update(_pictures(sample.clip.target_frames[1:]), real=True)
            metric.update(_pictures(sample.frames[1:]), real=False)
        result = metric.compute()
    value = float(result[0] if isinstance(result, tuple) else result)
    return Measurement(value) if math.isfinite(value) else Measurement(None, "failed", f"the distance came out as {value}")


def _pictures(frames: np.ndarray) -> Tensor:
    """[T, 3, H, W] uint8."""
    return torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1)


@functools.cache
def _lpips(net: str) -> torch.nn.Module:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type=net, normalize=True).eval()


@functools.cache
def _inception() -> torch.nn.Module:
    from torchmetrics.image.fid import NoTrainInceptionV3

    return NoTrainInceptionV3("inception-v3-compat", ["2048"], str(FID.path))


@functools.cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(sample: Sample, folder: Path) -> None:
    videos = {"generated": sample.frames, "reference": sample.clip.target_frames}
    for name, frames in videos.items():
        if frames is not None:
            (folder / name).mkdir(parents=True)
            for index, frame in enumerate(frames):
                Image.fromarray(frame).save(folder / name / f"{index:03d}.png")
    if sample.clip.target_cameras is not None:
        sample.clip.target_cameras.save(folder / "cameras.json")
