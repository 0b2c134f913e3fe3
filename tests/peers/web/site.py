"""nginx with `twofold-web` and an application behind it, set up as docs/web/nginx.md says, on the gateway of a road.

Stood in for: systemd, by `systemd-socket-activate` with the user and the rights of the units; the application. Names,
addresses, certificate and secret are those of the road.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.source import ROOT
from tests.docs.pages import files, steps, text_of
from tests.peers import road as roads
from tests.peers.road import GATEWAY, Road
from tests.peers.web.browser import Browser, Page
from tests.peers.world import Running, World
from tests.site import SECRET, eventually

SITE = "wiki.example.org"
PAGE = "web/nginx.md"
SOCKET = "/run/twofold-web.sock"
CREDENTIAL = "/run/credentials/twofold-web.service/web.toml"
CONFIGURATION = "/etc/nginx/sites-available/twofold.conf"
PROGRAMS = ("nginx", "curl", "make", "systemd-socket-activate", *roads.PROGRAMS)
NO_PROGRAMS = "systemctl() { :; }; "
AS_THE_UNIT = ("setpriv", "--reuid=twofold-web", "--regid=twofold-web", "--clear-groups", "--no-new-privs", "--")
APPLICATION_PORT = 8080


@dataclass
class Web:
    road: Road
    helper: Running

    def browser(self) -> Browser:
        return Browser(self.road.traveller, GATEWAY, SITE, str(self.road.ca))

    def logged_in(self, name: str, password: str, pin: str, path: str = "/") -> tuple[Browser, Page]:
        """A browser after a login, and what the last form led to."""
        browser = self.browser()
        asked = browser.send(browser.follow(browser.get(path)), name=name, password=password)
        return browser, browser.send(asked, answer=pin)

    def said(self) -> str:
        return self.road.gateway.read(self.road.gateway.path / "web.log")

    def application_log(self) -> list[str]:
        return self.road.gateway.read(self.road.gateway.path / "application.log").splitlines()

    def restart(self) -> None:
        self.helper.stop()
        self.helper = start_helper(self.road)


def start_helper(road: Road) -> Running:
    """As systemd does: the socket is there first, for nginx alone, and the program gets it with the first caller. Of
    its file it gets a copy."""
    world = road.gateway
    world.run("rm", "-f", SOCKET)
    world.run("install", "-D", "-m", "400", "-o", "twofold-web", "/etc/twofold/web.toml", CREDENTIAL)
    program = (*AS_THE_UNIT, "/usr/local/bin/twofold-web", "--settings", CREDENTIAL)
    running = world.start("systemd-socket-activate", "-l", SOCKET, *program, log="web.log")
    eventually(lambda: world.outside(SOCKET).exists() or running.process.poll() is not None, what="the socket")
    assert running.process.poll() is None, "systemd-socket-activate has ended"
    world.run("chown", "root:www-data", SOCKET)
    world.run("chmod", "660", SOCKET)
    return running


def follow_the_page(road: Road) -> None:
    """The part on the host of nginx: what is typed, and what is put into the files between."""
    world = road.gateway
    for folder in ("/usr/local/bin", "/var/lib/nginx"):  # in the world alone
        world.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    world.run("mkdir", "/var/log/nginx")
    world.run("rm", "-f", "/etc/nginx/sites-enabled/default")
    part = text_of(PAGE, "On the host of nginx")
    (web_toml,) = (content for path, content in files(part).items() if path == "/etc/twofold/web.toml")
    for step in steps(part):
        world.run("sh", "-e", "-c", f"cd {ROOT}; {NO_PROGRAMS}{step.command}")
        if "contrib/web/nginx/web.toml" in step.command:
            assert world.run("stat", "-c", "%U %a", "/etc/twofold/web.toml").stdout == "root 600\n"
            assert set(web_toml.split("\n")) >= {line for line in shipped_settings() if not line.startswith("secret")}
            filled_in = web_toml.replace("192.0.2.1", "127.0.0.1").replace("SECRET", SECRET.decode())
            world.run("sh", "-c", "cat >/etc/twofold/web.toml", stdin=filled_in)
        if "contrib/web/nginx/twofold.conf" in step.command:
            world.run("sh", "-c", f"cat >{CONFIGURATION}", stdin=configuration(road))


def shipped_settings() -> list[str]:
    lines = (ROOT / "contrib/web/nginx/web.toml").read_text().splitlines()
    return [
        line.replace("put-the-secret-that-twofold-client-add-has-shown-here", "") for line in lines if line[0] != "#"
    ]


def configuration(road: Road) -> str:
    """The shipped file with a certificate of the road. Its limit would count the tests as one guesser."""
    text = (ROOT / "contrib/web/nginx/twofold.conf").read_text()
    for shipped, ours in ((".pem", road.certificate), (".key", road.key)):
        text = text.replace(f"/etc/ssl/private/{SITE}{shipped}", str(ours))
    assert text.count("rate=30r/m") == 1
    return text.replace("rate=30r/m", "rate=6000r/m")


def wait_for(world: World, address: str) -> None:
    """Until something answers at this address inside `world`."""
    asked = ("curl", "-s", "-o", "/dev/null", address)
    eventually(lambda: world.run(*asked, check=False).returncode == 0, what=address)


@contextmanager
def web(folder: Path, *client: str) -> Iterator[Web]:
    with roads.road(folder, *client, host=SITE) as road:
        world = road.gateway
        follow_the_page(road)
        application = Path(__file__).with_name("application.py")
        world.start(sys.executable, "-I", application, str(APPLICATION_PORT), log="application.log")
        world.start("nginx", "-g", "daemon off;", log="nginx.log")
        made = Web(road, start_helper(road))
        for address in (f"http://127.0.0.1:{APPLICATION_PORT}/", "http://127.0.0.1:80/"):
            wait_for(world, address)
        yield made
