"""Visits to the page of a running demo, and what the page must say."""

import json

PATIENCE = 180  # seconds: the machine may be busy


class Visit:
    """A freshly opened page."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.get(url)
        self.until("#recording input[type=file]")

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def until(self, selector, number=1):
        self._wait(lambda: len(self.all(selector)) >= number, selector)
        return self.all(selector)[0]

    def until_text(self, selector, text):
        self._wait(lambda: [found.text for found in self.all(selector)] == [text], f"{selector}: {text}")

    def _wait(self, condition, what):
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, PATIENCE).until(lambda _: condition(), what)

    def upload(self, name, path):
        self.all(f"#{name} input[type=file]")[0].send_keys(str(path))

    def shown(self, name="emotion"):
        """The top emotion and the percentages by emotion."""
        top, *rest = self.until(f"#{name} h2").find_element("xpath", "..").text.splitlines()
        return top, dict(zip(rest[::2], rest[1::2], strict=True))


def predicted(dsnet, *arguments):
    found = json.loads(dsnet("predict", *arguments, "--json")[1])[0]
    found = found.get("timeline", [found])[0]  # the page hears the first window
    return found["emotion"], {name: f"{round(100 * p)}%" for name, p in found["probabilities"].items()}
