"""Reasons of the curation in plain words."""

WORDS = {
    "image_missing": "picture missing",
    "pose_missing": "camera missing",
    "pose_invalid": "camera unusable",
    "intrinsics_missing": "lens unknown",
    "marked_bad": "marked bad by the data set",
    "not_registered": "not placed by the reconstruction",
    "repeated": "repeats the frame before",
    "clipped": "too many black or white pixels",
    "no_good_frames": "no two good frames",
    "no_cameras": "cameras unknown",
    "jump": "the camera jumps",
    "turn": "the camera turns too far in one step",
    "time_backwards": "time runs backwards",
    "gap": "a gap in time",
    "path_broken": "no stretch of the path is whole",
    "path_too_short": "the camera hardly moves",
    "path_too_long": "the path is too long: a wrong scale?",
    "cameras_do_not_fit_pictures": "cameras do not fit the pictures",
    "stretch_too_short": "stretch too short for a target",
    "poor_frame": "a frame of poor quality in it",
    "static": "the camera stays still",
    "low_coverage": "the context shows too little of the target",
    "structure": "part of the building",
    "unnamed": "not named",
    "ambiguous": "not the only one of its kind",
    "never_seen": "never in sight",
    "no_good_view": "no good view of it",
    "occlusion_unknown": "no telling what hides it",
    "seen_at_start": "in sight from the start",
    "seen_too_shortly": "not clearly in sight at the end",
    "no_approach": "the camera does not come nearer",
    "not_in_context": "too few context frames show it",
    "no_path": "no path leads there",
    "similar_to_better": "much like a better one",
    "copy_of_another": "copy of another capture",
    "repeats_another_target": "repeats another target",
    "space_in_another_split": "its space is in another split",
    "pixels_not_asked_for": "pixels not asked for",
    "no_clips": "no clip came out",
}
"""Reasons in plain words; the others are plain already."""


def in_words(reason: str) -> str:
    """The `reason` in words for people."""
    return WORDS.get(reason, reason.replace("_", " "))
