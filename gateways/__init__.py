"""Programs that run on gateways and ask Twofold over RADIUS: each is one file to copy, for any Python from 3.11 on.

Rules: nothing here needs more than the standard library and `radius_client`. A gateway decides nothing: only an
Access-Accept lets anybody in, and whatever goes wrong refuses. What they are told (servers, secret) stands in one file
that only they and root may read. No password, PIN or secret is ever an argument, an environment variable that we set,
or a line of a log.
"""
