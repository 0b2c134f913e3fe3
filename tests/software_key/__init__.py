"""A security key made of software: CTAP 2.1 and U2F over CTAPHID, so that tests drive an unmodified python-fido2.

`authenticator.SoftwareKey` is the key, `knobs.Knobs` what a test scripts on it, `log.Log` what it saw. It is plugged in
by `ctaphid.plug` (a CtapHidDevice in this process) or by `ports.Ports` (/dev/hidraw0 of a program of its own).
"""
