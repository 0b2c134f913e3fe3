"""The token store and its command line. `opening.py` is where faces come in."""
