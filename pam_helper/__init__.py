"""The PAM face: a helper behind a thin module, and users' care for their own registrations. It decides nothing."""
