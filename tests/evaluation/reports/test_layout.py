"""Reports in a real browser, where there is one: nothing is wider than the window, and figures are in it."""

import shutil
import subprocess

import pytest

from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.reports.sample_page import write_sample_page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
# A headless window may be no narrower than 500 pixels, so the page lies in a frame.
PROBE = """<body style="margin:0"><iframe id="page" src="report.html" style="width:{width}px;height:4000px;border:0"></iframe><script>
document.getElementById("page").onload = () => {{
  const page = document.getElementById("page").contentDocument, seen = page.documentElement.clientWidth, over = [];
  for (const part of page.querySelectorAll("h1, .warning, section, section *, .value"))
    if (part.getBoundingClientRect().width && part.getBoundingClientRect().right > seen + 1) over.push(part.tagName);
  for (const part of page.querySelectorAll("section *")) {{
    const card = part.closest("section").getBoundingClientRect();
    if (part.getBoundingClientRect().right > card.right + 1) over.push("out of its card: " + part.tagName);
  }}
  document.title = "wider by " + (page.documentElement.scrollWidth - seen) + ", beyond the edge: " + over.join(" ");
}}</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed here")
@pytest.mark.parametrize("width", [1440, 400])
def test_nothing_is_wider_than_the_window(clip, tmp_path, width):
    write_sample_page(
        tmp_path, title="walk: " + "forward 0.5, " * 8 + "x" * 90, generated=clip.target_frames, cameras=clip.instruction.cameras,
        frame_rate=4.0, context_frames=clip.context_frames, anchor=clip.anchor, truth=clip.target_frames,
        measurements={
            "psnr": Measurement(21.5), "rotation_error_median_deg": Measurement(0.8799), "direction_error_deg": Measurement(5.15),
            "lpips_alex": Measurement.missing("needs the library https://download.example.org/" + "a" * 80),
        },
        settings={"context": "/home/somebody/videos/" + "a_long_name_" * 9 + ".mp4", "max_context_tokens": 3}, warnings=["w" * 150],
    )  # fmt: skip
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--window-size=1500,4100"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=3000", "--dump-dom", f"file://{tmp_path}/probe.html"], capture_output=True, text=True, timeout=120
    )
    assert "<title>wider by 0, beyond the edge: </title>" in done.stdout, done.stdout[:300] or done.stderr[:300]
