"""Bring the Chromium that the browser tests drive: Debian's where apt is at hand, playwright's own elsewhere."""

import os
import shutil
import subprocess
import sys

from playwright.sync_api import Error, sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome"]
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


def executable() -> str | None:
    """The system's Chromium, or None: then playwright looks for its own."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def launch(playwright):
    """A headless Chromium; raises playwright's Error, which says what is missing, if there is none."""
    return playwright.chromium.launch(executable_path=executable(), args=ARGS)


def starts() -> bool:
    """Whether a Chromium is there and starts."""
    with sync_playwright() as playwright:
        try:
            launch(playwright).close()
        except Error:
            return False
    return True


def install() -> None:
    """Install Chromium: by apt as root, else (or where the system has no such package) by playwright."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"])
        apt = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        if subprocess.run(apt, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}).returncode == 0:
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])


if __name__ == "__main__":
    if not starts():
        install()
        if not starts():
            sys.exit(
                "The browser tests need Chromium, and it could not be installed. Install it by hand (Debian, as root: "
                "apt-get install chromium; elsewhere: python -m playwright install --with-deps chromium) and run "
                "`make test` again."
            )
