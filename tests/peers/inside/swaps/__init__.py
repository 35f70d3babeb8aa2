"""What is loaded beside a peer's own tests, in its process: it puts litesess in.

Each module but :mod:`swaps.recorder` and :mod:`swaps.opened` swaps the sessions of one framework.
Nothing here may import :mod:`tests`: that is the peer's in there.
"""
