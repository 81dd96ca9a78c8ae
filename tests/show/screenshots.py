"""Take the pictures of the page that docs/images holds: `PYTHONPATH=tests .venv/bin/python -m show.screenshots`."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from crossnet.show.page import page
from show.chromium import Chromium
from show.diagnoses import DIAGNOSES

IMAGES = Path(__file__).parents[2] / "docs" / "images"

# File, diagnosis, colours, and to which section it is shown.
PICTURES = (
    ("diagnosis-light.png", "forwarding-off", "light", "section.also"),
    ("diagnosis-dark.png", "reply-lost", "dark", "section[aria-labelledby=halves]"),
)


def take() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder, "profile")) as browser:
        for name, which, scheme, last in PICTURES:
            file = Path(folder, f"{which}.html")
            file.write_text(page(DIAGNOSES[which]), encoding="utf-8")
            browser.window(1000)
            browser.media(prefers_color_scheme=scheme)
            browser.open(file)
            bottom = browser.evaluate(f"document.querySelector({last!r}).getBoundingClientRect().bottom")
            clip = {"x": 0, "y": 0, "width": 1000, "height": bottom + 16, "scale": 1}
            shot = browser("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
            (IMAGES / name).write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    take()
