"""Other projects' own test suites, with litesess in the place of their sessions.

``python -m tests.peers`` fetches each peer's sdist by pip, installs the peers into an environment
of their own, and runs their tests, unmodified, beside a plugin of ours (``inside/swaps/``).

=====================  ===========================================================================
``suites/*.ini``       a table for each peer: its tests, their number, and those that differ
``requirements.txt``   the versions that the tables are of
``tables``             a table, and the verdict on a run of its tests
``sources``            the sdists, and the environment
``runs``               one run in a process of its own
=====================  ===========================================================================
"""
