"""Asking a RADIUS server, with the standard library alone: programs on gateways are built of it, too."""
