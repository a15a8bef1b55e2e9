"""The deterministic simulator: the whole engine in virtual time, among bad phones on a bad network.

One seed, one history, to the byte. `scripts/sim --seeds 1000` looks for a seed that breaks an invariant.
"""
