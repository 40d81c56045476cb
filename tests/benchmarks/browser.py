"""A headless Chromium, with a microphone that plays a file if one is given; tests that need one are skipped where there is none."""

import json
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,900"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


@contextmanager
def chromium(profile, microphone=None):
    """A WebDriver with a fresh profile, which hears the file ``microphone``."""
    pytest.importorskip("selenium")
    if not (BROWSER and DRIVER):
        pytest.skip("no chromium with chromedriver on the PATH")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    heard = [] if microphone is None else [f"--use-file-for-fake-audio-capture={microphone}"]
    for flag in (*FLAGS, f"--user-data-dir={profile}", *heard):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def hosts_asked(driver):
    """The host and port of each request over the network since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    sent += [m["params"]["url"] for m in messages if m["method"] == "Network.webSocketCreated"]
    parts = map(urlsplit, sent)
    return {part.netloc for part in parts if part.scheme in ("http", "https", "ws", "wss")}
