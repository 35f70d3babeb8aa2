"""Plugins that are loaded beside a peer's own tests, and put litesess in.

Each module but :mod:`swaps.recorder` and :mod:`swaps.opened` swaps the sessions of one framework.
Nothing here may import :mod:`tests`: in that process it is the peer's.
"""
