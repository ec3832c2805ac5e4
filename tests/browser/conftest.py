"""A real Chromium, a real JupyterLab and the built book, for the tests that use the course as a reader does."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

import book
import get_browser

ROOT = Path(__file__).resolve().parents[2]
MINUTE = 60_000  # playwright counts in milliseconds


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium. A missing one is a failure: `make test` brings it."""
    with sync_playwright() as playwright:
        try:
            browser = get_browser.launch(playwright)
        except Error as error:
            pytest.fail(f"No Chromium to test with. Run `python tools/get_browser.py`, which brings one. {error}")
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A fresh page, with what its scripts complain of in `page.complaints`."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(3 * MINUTE)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    page.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, log: Path, seconds: int = 90) -> None:
    """Until the server answers; a failure with its log if it ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The address of a JupyterLab with settings of its own and kernels in fast mode.

    It works on a copy of the notebooks: JupyterLab saves by itself every two minutes.
    """
    home, port = tmp_path_factory.mktemp("lab"), free_port()
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    folders = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    env = os.environ | {name: str(home / name.lower()) for name in folders} | {"EDU_DIFFUSION_FAST": "1"}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={home}"),
        *("--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True"),
        "--LabApp.expose_app_in_browser=True",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    log = home / "log.txt"
    with log.open("w") as output:
        server = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT, cwd=home)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder of the book, built now from the committed notebooks."""
    html = book.HTML
    assert book.build(html) == 0, "the book did not build; its messages stand above"
    return html
