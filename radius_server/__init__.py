"""The RADIUS face: packets in, a `LoginRequest` to the gate, packets out. It decides nothing."""
