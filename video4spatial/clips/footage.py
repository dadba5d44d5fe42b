"""A clip from a user's own video: frames at the model's size, cameras where known, and the path to follow."""

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from video4spatial.cameras import Cameras, parse_trajectory, read_camera_file
from video4spatial.cameras.formats import CameraFile, Stated
from video4spatial.cameras.intrinsics import DEFAULT_FOV_DEGREES, CropBox, centre_crop_box, default_intrinsics, fov_of_focal_35mm
from video4spatial.cameras.keyframes import is_keyframe_file
from video4spatial.cameras.lenses import PictureShapeError
from video4spatial.cameras.trajectories import begin_at, trajectory_file
from video4spatial.clips.clip import Clip
from video4spatial.clips.instruction import Navigate
from video4spatial.clips.regions import Region
from video4spatial.media import VideoReader, open_video, resize_and_crop
from video4spatial.media.image_folder import ImageFolderReader, open_as_stored, unread_in_words
from video4spatial.media.picture_names import cameras_of_pictures
from video4spatial.media.reader import IMAGE_FOLDER_FRAME_RATE
from video4spatial.media.transforms import size_of_aspect
from video4spatial.media.undistortion import Undistortion
from video4spatial.naming import some
from video4spatial.spread import evenly_spread

MEDIAN_STEP = 0.1
"""Cameras of unknown scale are scaled so that the median step between context frames has this length in metres."""

BYTES_AT_ONCE = 2**28
"""Of frames that are held at the video's own size."""

DETAILED_SIDE = 512
"""Longer side in pixels of the pictures from which cameras and depth are read, where the video has so many."""

FAR = 10.0
"""A path of more metres leaves what a video of a room shows."""

LEAST_STEP = 1e-9
"""A shorter median step says nothing about the scale."""


@dataclass(frozen=True)
class FootageClip:
    """A clip from footage, and what was decided on the way.

    Args:
        clip: without truth.
        notes: sentences for the user: crop, thinning, assumed field of view, scale.
    """

    clip: Clip
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Footage:
    """A video as the context of any number of paths.

    Args:
        path: the video file or folder of images.
        total: frames of the whole video.
        chosen: those that are used, ascending.
        frames: [N, H, W, 3] uint8 of them, at the model's size.
        detailed: [N, H', W', 3] uint8, the same in more pixels, at most `DETAILED_SIDE` along the longer side; None where the video or the
            caller has no more.
        times: [N] seconds, from the first on.
        cameras: their cameras as the model is given them, or None when unknown.
        view: one camera with the intrinsics of the frames.
        frame_rate: frames per second of the targets.
        scale: factor on metric lengths of trajectory files.
        unit: factor on their other lengths.
        notes: sentences for the user.
        undistorted: whether a lens distortion was taken out of the pictures.
        quarter_turns: by which stored pictures and their cameras were brought upright, counter-clockwise.
        size: height and width of the video's own pictures.
        crop: what of them is used, in pixels.
    """

    path: Path
    total: int
    chosen: tuple[int, ...]
    frames: np.ndarray
    detailed: np.ndarray | None
    times: np.ndarray
    cameras: Cameras | None
    view: Cameras
    frame_rate: float
    scale: float
    unit: float
    notes: tuple[str, ...]
    undistorted: bool
    quarter_turns: int
    size: tuple[int, int]
    crop: CropBox

    def region(self, region: Region) -> Region:
        """A region on a frame of the video as one on the context.

        Args:
            region: its frame counted from either end of the video, one of those that are used; its box or mask on the whole picture.

        Returns:
            The region on the context frames, a mask at their size.

        Raises:
            ValueError: for a frame outside the video or without a camera, a mask of another size, or a region that is cropped off.
        """
        place = self.chosen.index(resolve_frame(region.frame, self.total, self.path, "the region's frame"))
        kept = replace(region, frame=place).cropped(self.crop, *self.size)
        return kept if kept.mask is None else Region(place, mask=kept.pixels(*self.frames.shape[1:3]))

    def clip(self, trajectory: str | os.PathLike, num_frames: int, anchor: int = -1) -> FootageClip:
        """The clip of a path through the footage.

        Args:
            trajectory: words, or a camera or keyframe file.
            num_frames: target frames, the anchor's view first.
            anchor: frame of the video that the path starts from, counted from either end; one of the chosen frames.

        Returns:
            The clip, with notes on the footage and the path.

        Raises:
            FileNotFoundError: for a file that does not exist.
            ValueError: for an anchor or a trajectory that cannot be used.
        """
        notes: list[str] = []
        path = _noting(notes, parse_trajectory, trajectory, num_frames, frame_rate=self.frame_rate)
        place = self.chosen.index(resolve_frame(anchor, self.total, self.path))
        file = trajectory_file(trajectory)
        if file is not None:
            if not is_keyframe_file(file):  # the cameras of a reconstruction are held as those of the context were
                path = path.quarter_turned(self.quarter_turns).relative_to(0)
            # A path of unknown scale is taken to come from the same reconstruction as the context's cameras.
            path = path.scaled(self.scale if path.metric else self.unit)
            if not path.metric and (self.cameras is None or self.cameras.metric):
                notes.append(
                    "the lengths of the trajectory file have no known unit: they are taken as metres "
                    "(`scale` corrects them)."
                )
            focal = path.intrinsics[:, 0, 0] / path.intrinsics[0, 0, 0]
            if float((focal - 1).abs().max()) > 1e-3:
                notes.append(
                    f"the focal length of the trajectory file changes, to {float(focal.min()):.3g} to {float(focal.max()):.3g} "
                    "times that of its first frame: the pictures zoom likewise."
                )
        notes += _doubts(path)
        clip = Clip(
            name=self.path.stem or str(self.path),
            scene=str(self.path),
            context_frames=self.frames,
            context_times=self.times,
            instruction=Navigate(begin_at(path, self.view if self.cameras is None else self.cameras[place])),
            anchor=place,
            context_cameras=self.cameras,
            context_detailed=self.detailed,
            provenance={
                "source": "footage",
                "context": self.path.name,
                "frames": list(self.chosen),
                "trajectory": str(trajectory),
            },
        )
        return FootageClip(clip, (*self.notes, *notes))


def footage_clip(
    context: str | os.PathLike,
    trajectory: str | os.PathLike,
    *,
    num_frames: int,
    anchor: int = -1,
    frame_rate: float = 4.0,
    **options,
) -> FootageClip:
    """Read a video and a trajectory into a navigation clip.

    Args:
        context: video file or folder of images.
        trajectory: words such as "forward 1.0, left 30deg", or a camera or keyframe file.
        num_frames: target frames, the anchor's view first.
        anchor: frame of the video the trajectory starts from, counted from either end.
        frame_rate: frames per second of the target.
        **options: of `read_footage`.

    Returns:
        `FootageClip`. Without context cameras the target cameras are relative to the anchor, else in their world.

    Raises:
        FileNotFoundError: for files that do not exist.
        ValueError: for a video, cameras, an anchor or a trajectory that cannot be used.
    """
    _noting([], parse_trajectory, trajectory, num_frames, frame_rate=frame_rate)  # first, since it takes no time
    return read_footage(context, anchors=(anchor,), frame_rate=frame_rate, **options).clip(trajectory, num_frames, anchor)


def read_footage(
    context: str | os.PathLike,
    *,
    height: int | None = None,
    width: int | None = None,
    longest: int | None = None,
    aspects: tuple[float, float] | None = None,
    grid: int = 16,
    detailed: bool = False,
    anchors: Sequence[int] = (-1,),
    marked: Sequence[int] = (),
    frame_rate: float = 4.0,
    context_cameras: str | os.PathLike | None = None,
    context_frames: int | None = 32,
    fov_degrees: float | None = None,
    image_rate: float | None = None,
    scale: float = 1.0,
) -> Footage:
    """Read a video as context.

    Args:
        context: video file or folder of images.
        height, width: picture size of the model in pixels; pictures are cropped centrally to its aspect and resized. None keeps the
            video's own size.
        longest: longer side in pixels to which the video's own size is reduced then; None keeps all.
        aspects: pictures keep their own width / height within these bounds, with about height x width pixels; None crops them to that of
            height and width.
        grid: of which both sides are multiples then.
        detailed: whether the pictures are kept in more pixels as well.
        anchors: frames of the video that trajectories start from, counted from either end; they are among those that are used.
        marked: frames on which regions name objects, likewise.
        frame_rate: frames per second of the targets.
        context_cameras: camera file. Where it names pictures, and the video is a folder of images, they are joined by name; pictures
            without a camera are left out. Else one camera per frame of the video, in the same order.
        context_frames: longer videos are thinned to this many frames, evenly spread; None keeps all.
        fov_degrees: horizontal field of view of the uncropped pictures, where no intrinsics are known; by default what the file says of
            its lens, else 60 along the longer side.
        image_rate: images per second, for folders of images only; default 4.
        scale: factor on all lengths read from camera files, after the automatic scaling of cameras of unknown scale.

    Raises:
        FileNotFoundError: for files that do not exist.
        ValueError: for a video, cameras or anchors that cannot be used, or more anchors than context frames.
    """
    notes: list[str] = []
    positive = {"context_frames": 1 if context_frames is None else context_frames, "scale": scale}
    wrong = [f"{name} {value}" for name, value in positive.items() if not 0 < value < math.inf]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: expected positive numbers.")
    if image_rate is None and Path(context).is_dir():
        image_rate = IMAGE_FOLDER_FRAME_RATE
        notes.append(f"images have no times: {image_rate:g} per second are assumed (`image_rate`).")
    with _opened(context, image_rate, context_cameras, fov_degrees, notes) as (video, known, usable):
        total = len(video)
        notes += video.notes
        if isinstance(video, ImageFolderReader) and video.left_out:
            notes.append(f"{unread_in_words(video.left_out)} and are left out: {some(p.name for p in video.left_out)}.")
        starts = sorted({resolve_frame(anchor, total, context) for anchor in anchors})
        wanted = sorted({*starts, *(resolve_frame(frame, total, context, "the region's frame") for frame in marked)})
        lost = [frame for frame in wanted if frame not in usable]
        if lost:
            raise ValueError(
                f"frame {lost[0]} of {context}, which {'a path starts from' if lost[0] in starts else 'a region is on'}, has no camera in "
                f"{context_cameras}: choose another {'`anchor`' if lost[0] in starts else 'frame'}."
            )
        places = _spread_around([usable.index(frame) for frame in wanted], len(usable), min(context_frames or total, len(usable)))
        chosen = [usable[place] for place in places]
        if len(chosen) < len(usable):
            among = f"the anchor {starts[0]}" if len(starts) == 1 else f"the {len(starts)} anchors"
            among += " and the marked frame" if marked else ""
            notes.append(f"of {len(usable)} frames {len(chosen)} are used as context, evenly spread, {among} among them.")
        known = None if known is None else known.chosen(places)
        undistortion = None if known is None else Undistortion.of(known.lenses)
        if undistortion is not None:
            notes.append(f"the lens distortion that {context_cameras} gives ({', '.join(known.distorted)}) is taken out of the pictures.")
        turns = (video.quarter_turns or 0) if isinstance(video, ImageFolderReader) else 0
        source = (video.width, video.height) if turns % 2 else (video.height, video.width)
        if height is None or width is None:
            shrink = min(1.0, (longest or math.inf) / max(source))
            height, width = (round(side * shrink) for side in source)
        if aspects is not None:
            own = min(max(source[1] / source[0], aspects[0]), aspects[1])
            height, width = size_of_aspect(height * width, own, grid)
        frames, box, more = _pictures(video, chosen, height, width, detailed, undistortion, turns)
        times, focal_35mm = video.times[chosen], video.focal_35mm
    if (box.height, box.width) != source:
        notes.append(f"pictures of {source[1]}x{source[0]} are cropped to their central {box.width}x{box.height}.")
    unit, cameras = scale, None
    if known is None:
        view = _assumed_view(source, fov_degrees, focal_35mm, notes).cropped(box, *source)
    else:
        cameras = known.cameras.quarter_turned(turns)
        if not cameras.metric:
            unit *= _noted_scale(cameras, scale, notes)
        cameras = cameras.cropped(box, *source).scaled(unit)
        view = cameras[0]
    return Footage(
        Path(context), total, tuple(chosen), frames, more, times - times[0], cameras, view, frame_rate, scale, unit, tuple(notes),
        undistortion is not None, turns, source, box,
    )  # fmt: skip


def _pictures(
    video: VideoReader, chosen: list[int], height: int, width: int, detailed: bool, undistortion: Undistortion | None, turns: int
) -> tuple[np.ndarray, CropBox, np.ndarray | None]:
    """Frames of a size, what of the video they show, and the same in more pixels where that is wanted and the video has more.

    Quarter turns come after the lens, which is that of the pictures as stored.

    A few at a time, so that those of the video's own size never are in memory together.
    """
    source = (video.width, video.height) if turns % 2 else (video.height, video.width)
    box = centre_crop_box(*source, height, width)
    factor = min(DETAILED_SIDE / max(height, width), box.height / height)
    more = [] if detailed and factor > 1.25 else None
    small = []
    at_once = max(1, BYTES_AT_ONCE // (3 * video.height * video.width))
    for start in range(0, len(chosen), at_once):
        pictures = video.read(chosen[start : start + at_once])
        if undistortion is not None:
            pictures = undistortion(pictures, range(start, start + len(pictures)))
        pictures = np.rot90(pictures, turns, axes=(1, 2))
        small.append(resize_and_crop(pictures, height, width)[0])
        if more is not None:
            more.append(resize_and_crop(pictures, round(height * factor), round(width * factor))[0])
    return np.concatenate(small), box, None if more is None else np.concatenate(more)


def resolve_frame(anchor: int, total: int, context: str | os.PathLike, what: str = "anchor") -> int:
    """A frame counted from either end of a video, as an index from its start.

    Args:
        anchor: -total to total - 1.
        total: frames of the video.
        context: the video, for the message.
        what: the frame is, for the message.

    Raises:
        ValueError: if it is outside the video.
    """
    if not -total <= anchor < total:
        raise ValueError(f"{what} {anchor} is outside the {total} frames of {context}: expected {-total} to {total - 1}.")
    return anchor % total


def _spread_around(wanted: list[int], total: int, count: int) -> list[int]:
    """Positions of `count` of `total` frames, evenly spread. Each wanted one replaces the nearest that is not wanted."""
    if len(wanted) > count:
        both = f"{len(wanted)} anchors and marked frames"
        raise ValueError(f"{both} do not go into {count} context frames: use more frames or fewer anchors.")
    chosen = evenly_spread(total, count, wanted[0])
    for anchor in wanted[1:]:
        if anchor not in chosen:
            free = [frame for frame in chosen if frame not in wanted]
            chosen.remove(min(free, key=lambda frame: abs(frame - anchor)))
            chosen.append(anchor)
    return sorted(chosen)


@contextmanager
def _opened(
    context: str | os.PathLike,
    image_rate: float | None,
    context_cameras: str | os.PathLike | None,
    fov_degrees: float | None,
    notes: list[str],
) -> Iterator[tuple[VideoReader, CameraFile | None, list[int]]]:
    """The video, what is known of its cameras, and the frames that have one of these (all, where none are given)."""
    if context_cameras is None:
        with open_video(context, frame_rate=image_rate) as video:
            yield video, None, list(range(len(video)))
        return

    def read(video: VideoReader) -> tuple[CameraFile, list[str]]:
        said: list[str] = []
        stated = Stated(fov_degrees, None, (video.height, video.width), video.focal_35mm)
        file = _noting(said, read_camera_file, context_cameras, stated=stated)
        try:
            return file.resized(video.height, video.width), said
        except PictureShapeError as error:
            raise PictureShapeError(f"{context_cameras}: {error}") from None

    if Path(context).is_dir():
        video, (file, said) = open_as_stored(context, image_rate or IMAGE_FOLDER_FRAME_RATE, read)
    else:
        video = open_video(context, frame_rate=image_rate)
    with video:
        if not Path(context).is_dir():
            file, said = read(video)
        notes += said
        if isinstance(video, ImageFolderReader) and video.turned and not video.upright:
            notes.append(
                "pictures are used as stored, not turned by their EXIF orientation, which differs among them or mirrors them: their "
                "cameras are of the stored ones."
                if video.quarter_turns is None
                else "cameras are of the pictures as stored, which their EXIF orientation turns: both are turned upright together."
            )
        indices = _cameras_of_frames(file, context_cameras, video, notes)
        usable = [frame for frame, index in enumerate(indices) if index is not None]
        yield video, file.chosen([indices[frame] for frame in usable]), usable


def _cameras_of_frames(file: CameraFile, path: str | os.PathLike, video: VideoReader, notes: list[str]) -> list[int | None]:
    """For each frame of a video the index of its camera, or None: by name where there are names, else in order."""
    pictures = [str(image) for image in video.images] if isinstance(video, ImageFolderReader) else []
    names = file.image_names
    if names is not None and pictures:
        try:
            found = cameras_of_pictures(names, pictures)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        unknown = [Path(picture).name for picture, index in zip(pictures, found) if index is None]
        if len(unknown) < len(pictures):
            spare = len(names) - (len(pictures) - len(unknown))
            if unknown:
                notes.append(f"{len(unknown)} of {len(pictures)} pictures have no camera in {path} and are left out: {some(unknown)}.")
            if spare:
                notes.append(f"{spare} of the {len(names)} cameras of {path} belong to no picture of {video.path} and are not used.")
            return found
    if len(file.cameras) != len(video):
        left_out = f" ({unread_in_words(video.left_out)})" if pictures and video.left_out else ""
        by_name = "" if names is None else f" Its names, such as {names[0]}, are those of no picture there."
        raise ValueError(
            f"{path} holds {len(file.cameras)} cameras for {len(video)} frames of {video.path}{left_out}: expected one per frame.{by_name}"
        )
    if names is not None:
        notes.append(
            f"{path} names pictures, such as {names[0]}, that {video.path} does not have: its cameras are given to the frames in order "
            "of the names."
        )
    return list(range(len(video)))


def _assumed_view(source: tuple[int, int], fov_degrees: float | None, focal_35mm: float | None, notes: list[str]) -> Cameras:
    """A camera with the intrinsics of pictures of a height and width about which no camera file says anything."""
    aspect = source[1] / source[0]
    pose = torch.eye(4, dtype=torch.float64)[None]
    if fov_degrees is None and focal_35mm is None:
        notes.append(
            f"the field of view is unknown: {DEFAULT_FOV_DEGREES:g} degrees along the longer side are assumed (`fov_degrees` gives the "
            "horizontal one)."
        )
        return Cameras(pose, default_intrinsics(aspect)[None])
    if fov_degrees is None:
        fov_degrees = fov_of_focal_35mm(focal_35mm, aspect)
        notes.append(
            f"the lens is the one that the file names, of {focal_35mm:g} mm on 35 mm film: {fov_degrees:.1f} degrees across "
            "(`fov_degrees` corrects it)."
        )
    return Cameras.from_fov(pose, fov_degrees, aspect)


def model_scale(cameras: Cameras) -> float:
    """The factor that brings lengths to those that the model knows.

    Args:
        cameras: of the context.

    Returns:
        1 for metric cameras and for those that hardly move; else what gives their median step the length `MEDIAN_STEP`.
    """
    step = cameras.median_step()
    return 1.0 if cameras.metric or step < LEAST_STEP else MEDIAN_STEP / step


def _doubts(path: Cameras) -> list[str]:
    """Sentences on a path that is hardly what was meant, or that no context can show."""
    doubts, length = [], float(path.path_length())
    if length > FAR:
        doubts.append(
            f"the path is {length:.3g} m long: lengths are metres, angles take a verb such as turn, and a context shows the {FAR:g} m "
            "around it at best; further away the model invents."
        )
    turn = float(path[1:].rotation_to(path[:-1]).max()) if len(path) > 1 else 0.0
    across = float(path.fov_degrees[0])
    if turn > across / 2:
        doubts.append(
            f"the camera turns by up to {turn:.0f} degrees from frame to frame, of {across:.0f} that a frame shows: neighbours hardly "
            "overlap; turn less, or generate more `frames`."
        )
    return doubts


def _noted_scale(cameras: Cameras, scale: float, notes: list[str]) -> float:
    """`model_scale` of cameras of unknown unit, with a note on what was done."""
    factor = model_scale(cameras)
    if cameras.median_step() < LEAST_STEP:
        notes.append(
            "the context cameras have no known unit and hardly move: their lengths are taken as metres "
            "(`scale` corrects them)."
        )
        return factor
    corrected = f", then multiplied by `scale` {scale:g}" if scale != 1 else " (`scale` corrects it)"
    notes.append(
        f"the context cameras have no known unit: they are scaled by {factor:.4g}, so that the median step "
        f"between context frames is {MEDIAN_STEP} m{corrected}."
    )
    return factor


def _noting(notes: list[str], function, *arguments, **options):
    """Call a reader of cameras, with its warnings among the notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = function(*arguments, **options)
    notes += [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    return result
