"""A headless Chromium, driven through chromedriver: WebDriver is JSON over HTTP."""
import base64
import http.client
import json
import os
import re
import shutil
import signal
import subprocess

import lib


class Browser:
    """`tmp` is where it keeps what it would keep at home."""

    def __init__(self, tmp):
        if not shutil.which("chromedriver") or not shutil.which("chromium"):
            raise lib.Skip("chromium and chromium-driver are not installed")
        self.session = ""
        self.port = self.start(lib.clean_environment(HOME=tmp, TMPDIR=tmp))
        try:
            self.session = "/session/" + self.call("POST", "/session", {
                "capabilities": {"alwaysMatch": {
                    "browserName": "chrome",
                    "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                    "goog:chromeOptions": {"args": [
                        "--headless=new", "--no-sandbox", "--no-first-run",
                        "--disable-dev-shm-usage", "--disable-background-networking",
                        "--disable-component-update", "--disable-gpu",
                        f"--user-data-dir={tmp}/chromium"]}}}})["sessionId"]
        except BaseException:
            self.__exit__()
            raise

    def start(self, env):
        """Its port. It takes the same number of IPv4 and IPv6, which may be in use for one."""
        for _ in range(10):
            self.driver = subprocess.Popen(
                ["chromedriver", "--port=0"], env=env, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
            said = b""
            for line in self.driver.stdout:
                found = re.search(rb"successfully on port (\d+)", line)
                if found:
                    return int(found[1])
                said += line
            self.__exit__()
        raise AssertionError(said.decode())

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2 * lib.LIMIT)
        try:
            connection.request(method, self.session + path,
                               None if body is None else json.dumps(body))
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        assert not isinstance(value, dict) or "error" not in value, value
        return value

    def tell(self, command, **parameters):
        """What only Chromium's own protocol can do."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *args):
        """The value of a function's body in the page."""
        return self.call("POST", "/execute/sync", {"script": script, "args": args})

    def look(self, width, height, dark=False):
        """Gives the page that room, in pixels, and that taste."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        self.tell("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.tell("Emulation.setScrollbarsHidden", hidden=True)

    def press(self, *keys):
        self.call("POST", "/actions", {"actions": [{
            "type": "key", "id": "keys",
            "actions": [{"type": kind, "value": key} for key in keys
                        for kind in ("keyDown", "keyUp")]}]})

    def shot(self, path, height=0):
        """The whole page, not only what fits the window; or so much of it. PNG or WebP."""
        width, whole = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        image = self.tell(
            "Page.captureScreenshot", captureBeyondViewport=True, format=path.split(".")[-1],
            clip={"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1})
        with open(path, "wb") as out:
            out.write(base64.b64decode(image["data"]))

    def log(self, kind):
        """What was said since the last time: "browser" is the console."""
        return self.call("POST", "/se/log", {"type": kind})

    def requests(self):
        """The URLs that pages asked for since the last time, but for Chromium's own."""
        said = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [m["params"]["request"]["url"] for m in said
                if m["method"] == "Network.requestWillBeSent"
                and m["params"]["documentURL"].startswith("http")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait(lib.LIMIT)
        self.driver.stdout.close()
