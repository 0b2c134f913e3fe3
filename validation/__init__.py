"""The shared validation engine: every rule about who may log in, and nothing else.

No I/O, no clock, no dice: whatever a decision needs is handed in as a `Snapshot` and a `Moment`,
and whatever it wants done leaves as a list of changes. `gate.py` is the one door.
"""
