import json

import pytest

from tests.benchmarks.browser import chromium


class Browser:
    """What the tests ask of a page on disk: its scripts' answers, its console, its requests."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280, height=800, scheme="light"):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)  # what was before
        self.driver.get(path.as_uri())

    def ask(self, script):
        return self.driver.execute_script(f"return {script}")

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requested(self):
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield Browser(driver)
