"""A program for tests of security keys on /dev/hidraw: it asks as the helper does, and says in JSON what came of it.

    python -m tests.pam_helper.asking_keys probe|touch SECONDS CREDENTIAL...

Credentials in hex. Log lines go to standard error. Not collected by pytest.
"""

import json
import logging
import sys
import threading

from pam_helper.key_outcomes import Cues
from pam_helper.security_key import Touch, probe
from tests.pam_helper.keys import assertion_wanted


def main() -> None:
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
    what, seconds, *credentials = sys.argv[1:]
    asked = assertion_wanted(*(bytes.fromhex(credential) for credential in credentials))
    if what == "probe":
        found = probe(asked)
        told: list[object] = [
            [ready.key.product for ready in found.ready],
            [stranger.key.product for stranger in found.strangers],
            [[closed.path, closed.errno] for closed in found.closed],
        ]
    else:
        task = Touch(asked, None, float(seconds), Cues(touch="touch {key}"), wait_for_key=True)
        task.run(threading.Event(), lambda text: print(json.dumps(text), flush=True))
        told = [type(task.outcome).__name__]
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
