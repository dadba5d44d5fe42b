import logging
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from video4spatial.cameras.lenses import PictureShapeError, check_shape
from video4spatial.media import MediaError, image_paths, open_video, write_images
from video4spatial.media.image_folder import open_as_stored


def test_natural_order_and_frame_rate(tmp_path, barcode, numbers_of):
    for number in (10, 2, 1, 33):
        Image.fromarray(barcode(number)).save(tmp_path / f"view{number}.png")
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / ".hidden.png").write_text("ignored")
    assert [path.name for path in image_paths(tmp_path)] == ["view1.png", "view2.png", "view10.png", "view33.png"]
    with open_video(tmp_path, frame_rate=5.0) as video:
        assert (len(video), video.height, video.width, video.frame_rate) == (4, 66, 98, 5.0)
        np.testing.assert_allclose(video.times, [0, 0.2, 0.4, 0.6])
        assert numbers_of(video.read([3, 0, 2, 0])) == [33, 1, 10, 1]


def test_an_assumed_frame_rate_is_said(tmp_path, barcode, caplog):
    write_images(tmp_path / "images", np.stack([barcode(0), barcode(1)]))
    with caplog.at_level(logging.WARNING):
        assert open_video(tmp_path / "images").frame_rate == 4.0
    assert "images have no times; assuming 4 images per second" in caplog.text


def test_one_image_is_a_video_of_one_frame(tmp_path, barcode):
    Image.fromarray(barcode(5)).save(tmp_path / "one.png")
    assert np.array_equal(open_video(tmp_path / "one.png").read([0])[0], barcode(5))


def test_alpha_is_dropped_and_grey_repeated(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 4), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "0.png")
    Image.fromarray(colours[..., 0]).save(tmp_path / "1.png")
    frames = open_video(tmp_path, frame_rate=1).read([0, 1])
    assert np.array_equal(frames[0], colours[..., :3])
    assert np.array_equal(frames[1], np.repeat(colours[..., :1], 3, axis=2))


@pytest.mark.parametrize("orientation, turned", [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1))])
def test_exif_orientation(tmp_path, orientation, turned):
    stored = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "0.png", exif=exif)
    video = open_video(tmp_path, frame_rate=1)
    expected = turned(stored)
    assert (video.height, video.width) == expected.shape[:2]
    assert np.array_equal(video.read([0])[0], expected)


def test_unlike_sizes_are_all_named(tmp_path):
    for index, width in enumerate([8, 8, 9, 8, 7]):
        Image.new("RGB", (width, 6)).save(tmp_path / f"{index}.png")
    with pytest.raises(MediaError, match="one size: 2 of 5 are not 8x6: 2.png, 4.png"):
        open_video(tmp_path)


def test_unreadable_images_are_all_named(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_text("no picture")
    Image.new("I;16", (8, 6)).save(tmp_path / "2.png")
    with pytest.raises(MediaError, match="1.png is not a readable image; 2.png has pixels of kind I;16"):
        open_video(tmp_path)


def test_a_truncated_image_is_named_with_its_frame(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    paths = write_images(tmp_path / "images", noise)
    paths[1].write_bytes(paths[1].read_bytes()[:2000])
    video = open_video(tmp_path / "images", frame_rate=1)
    assert np.array_equal(video.read([0]), noise[:1])
    with pytest.raises(MediaError, match=r"frame 1 of 2 \(frame_000001.png\) cannot be decoded"):
        video.read([0, 1])


def test_empty_folder(tmp_path):
    with pytest.raises(MediaError, match="the folder has no images"):
        open_video(tmp_path)


def test_pictures_that_cannot_be_read_are_listed(tmp_path, barcode):
    for number in range(3):
        Image.fromarray(barcode(number)).save(tmp_path / f"IMG_{number}.jpg")
    for name in ("IMG_10.HEIC", "IMG_9.HEIC", "IMG_1.DNG", "._IMG_0.HEIC", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    video = open_video(tmp_path, frame_rate=1)
    assert len(video) == 3 and [path.name for path in video.left_out] == ["IMG_9.HEIC", "IMG_10.HEIC"]  # IMG_1 is there as JPEG
    for path in video.images:
        path.unlink()
    with pytest.raises(MediaError, match=r"no images .*; 3 pictures cannot be read \(.DNG, .HEIC\): convert them to JPEG"):
        open_video(tmp_path)


def test_jpeg_under_other_endings(tmp_path, barcode):
    Image.fromarray(barcode(0)).save(tmp_path / "a.jfif", "JPEG")
    assert len(open_video(tmp_path, frame_rate=1)) == 1


STORED = np.arange(6 * 9 * 3, dtype=np.uint8).reshape(6, 9, 3)


def turned_pictures(folder, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    folder.mkdir()
    for index in range(2):
        Image.fromarray(STORED).save(folder / f"{index}{suffix}", exif=exif)
    return folder


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_pictures_with_cameras_are_read_as_stored_unless_the_cameras_are_of_upright_ones(tmp_path, orientation, suffix):
    folder = turned_pictures(tmp_path / "a", orientation, suffix)

    def of(height, width):
        def read(images):
            check_shape((height, width), (images.height, images.width))
            return images.height, images.width

        return read

    video, size = open_as_stored(folder, 1.0, of(12, 18))
    assert size == (6, 9) == (video.height, video.width) and video.turned and not video.upright
    assert np.array_equal(video.read([1])[0], STORED)
    upright = open_video(folder, frame_rate=1).read([1])[0]
    assert np.array_equal(upright, np.rot90(STORED, -1 if orientation == 6 else 2))
    if orientation == 6:
        video, size = open_as_stored(folder, 1.0, of(18, 12))
        assert size == (9, 6) and video.upright and video.read([1]).shape == (1, 9, 6, 3)
    for shape in ((10, 10), (18, 12) if orientation == 3 else (10, 10)):
        with pytest.raises(PictureShapeError, match="have another shape"):
            open_as_stored(folder, 1.0, of(*shape))


def test_the_lens_of_exif(tmp_path):
    def save(name, focal):
        exif = Image.Exif()
        if focal is not None:
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal
        Image.new("RGB", (32, 24)).save(tmp_path / name, exif=exif)

    save("0.jpg", 26)
    save("1.jpg", 26)
    assert open_video(tmp_path, frame_rate=1).focal_35mm == 26
    save("2.jpg", 52)
    mixed = open_video(tmp_path, frame_rate=1)
    assert mixed.focal_35mm is None and "differ in the focal length" in mixed.notes[0]


def test_colours_of_a_profile_are_brought_to_srgb(tmp_path):
    swapped = _profile_with_red_and_blue_exchanged()
    Image.new("RGB", (8, 6), (200, 60, 30)).save(tmp_path / "0.png", icc_profile=swapped)
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (8, 6), (200, 60, 30)).save(tmp_path / "1.png", icc_profile=usual)
    video = open_video(tmp_path, frame_rate=1)
    assert np.abs(video.read([0, 1])[:, 0, 0].astype(int) - [[30, 60, 200], [200, 60, 30]]).max() <= 2
    stored, _ = open_as_stored(tmp_path, 1.0, len)
    assert np.array_equal(stored.read([0, 1]), video.read([0, 1])) and stored.notes == video.notes
    assert video.notes == ("the pictures have the colours of Exchanged: they are brought to sRGB.",)


def _profile_with_red_and_blue_exchanged() -> bytes:
    """The sRGB profile with the tags of its red and blue primaries exchanged, and another name of as many letters."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")
    name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    return profile.replace(name.encode("utf-16-be"), "Exchanged".ljust(len(name)).encode("utf-16-be"))


@pytest.mark.parametrize("name", ["moving.webp", "pages.tiff"])
def test_an_image_of_several_pictures_is_refused(tmp_path, name):
    pictures = [Image.new("RGB", (8, 6), (value, 0, 0)) for value in (0, 100, 200)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    with pytest.raises(MediaError, match=f"{name} holds 3 pictures; give them as a video"):
        open_video(tmp_path / name)
