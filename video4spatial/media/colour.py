"""What the numbers of a video mean as colours: high dynamic range and wide gamuts, brought to BT.709."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

REFERENCE_WHITE = 203.0
"""Light of a white sheet in high dynamic range, in cd/m2 (ITU-R BT.2408); it becomes the white of the result."""
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2  # the reference display of BT.2100
CODE_WHITE = 65280  # FFmpeg makes 255 * 256 of white
ROWS_AT_ONCE = 256

_WHITE_D65 = (0.3127, 0.3290)
_PRIMARIES = {
    ColorPrimaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    ColorPrimaries.SMPTE431: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities (x, y) of red, green and blue. Others lie so near to BT.709 that they are taken for it."""
_WIDE = {ColorPrimaries.BT2020: "BT.2020", ColorPrimaries.SMPTE431: "P3", ColorPrimaries.SMPTE432: "P3"}
_HIGH_RANGE = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_OPEN = (0, 2)
"""Values by which H.273 leaves a question open."""
_UNREAD = {
    ColorTrc.LINEAR: "linear light", ColorTrc.LOG: "logarithmic", ColorTrc.LOG_SQRT: "logarithmic", ColorTrc.SMPTE428: "SMPTE 428",
}  # fmt: skip


class ColourMeaning(NamedTuple):
    """How the stored colours of a video are to be understood (ITU-T H.273).

    Args:
        transfer: `ColorTrc` of the stream.
        primaries: `ColorPrimaries` of the stream.
    """

    transfer: int
    primaries: int

    @classmethod
    def of(cls, frame: av.VideoFrame, codec: av.VideoCodecContext) -> ColourMeaning:
        """What a frame says, else what its stream does; HLG and PQ without primaries are taken for BT.2020.

        Args:
            frame: any of the stream.
            codec: of the stream.
        """
        transfer, primaries = (
            next((int(value) for value in values if value not in (None, *_OPEN)), _OPEN[-1])
            for values in ((frame.color_trc, codec.color_trc), (frame.color_primaries, codec.color_primaries))
        )
        if transfer in _HIGH_RANGE and primaries in _OPEN:
            primaries = int(ColorPrimaries.BT2020)
        return cls(transfer, primaries)

    @property
    def is_standard(self) -> bool:
        """Whether they are those of BT.709, or near enough, and need no conversion."""
        return self.transfer not in _HIGH_RANGE and self.primaries not in _WIDE

    @property
    def note(self) -> str | None:
        """What is done with them, as a sentence; None where nothing has to be."""
        gamut = f", {_WIDE[self.primaries]} colours" if self.primaries in _WIDE else ""
        if self.transfer in _HIGH_RANGE:
            return (
                f"the video has a high dynamic range ({_HIGH_RANGE[self.transfer]}{gamut}): it is brought to BT.709, where "
                f"{REFERENCE_WHITE:g} cd/m2 become white and what is brighter is cut off."
            )
        if self.transfer in _UNREAD:
            return (
                f"the video's tones are {_UNREAD[self.transfer]}, which is not converted, so its colours are off: re-encode it as BT.709 "
                "video first."
            )
        return f"the video has {_WIDE[self.primaries]} colours: they are brought to BT.709." if gamut else None

    def to_standard(self, pictures: np.ndarray) -> np.ndarray:
        """Bring pictures to the primaries of BT.709 and the curve of sRGB.

        Args:
            pictures: [H, W, 3] uint16, R'G'B' of full range, white at `CODE_WHITE`.

        Returns:
            [H, W, 3] uint8. Colours outside BT.709 and light above the reference white are cut off.
        """
        to_linear, to_code = _linear_light(self.transfer), _codes_of_light()
        matrix = _to_bt709(self.primaries).T.astype(np.float32)
        result = np.empty(pictures.shape, np.uint8)
        for top in range(0, len(pictures), ROWS_AT_ONCE):
            light = to_linear[pictures[top : top + ROWS_AT_ONCE]]  # [h, W, 3], 1 is white
            steps = np.clip(light @ matrix, 0, 1) * 65535
            result[top : top + ROWS_AT_ONCE] = to_code[(steps + 0.5).astype(np.uint16)]
        return result


@cache
def _codes_of_light() -> np.ndarray:
    """uint8 [65536], the sRGB code of linear light in steps of 1 / 65535 (IEC 61966-2-1)."""
    light = np.linspace(0, 1, 65536)
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)


@cache
def _linear_light(transfer: int) -> np.ndarray:
    """Linear light [65536] float32 of each code; 1 is white."""
    code = np.minimum(np.arange(65536) / CODE_WHITE, 1)
    if transfer == ColorTrc.SMPTE2084:  # BT.2100, table 4
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        light = 10000 / REFERENCE_WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    elif transfer == ColorTrc.ARIB_STD_B67:  # BT.2100, table 5
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        # Channel by channel, as SDR video has always been shown, and not by luminance, which would pale its colours.
        light = HLG_PEAK / REFERENCE_WHITE * scene**HLG_GAMMA
    else:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _rgb_to_xyz(primaries: int) -> np.ndarray:
    """[3, 3] from linear RGB to CIE XYZ."""
    corners = _PRIMARIES.get(primaries, _PRIMARIES[ColorPrimaries.BT709])
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
    x, y = _WHITE_D65
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def _to_bt709(primaries: int) -> np.ndarray:
    """[3, 3] from linear RGB of some primaries to that of BT.709."""
    return np.linalg.solve(_rgb_to_xyz(ColorPrimaries.BT709), _rgb_to_xyz(primaries))
