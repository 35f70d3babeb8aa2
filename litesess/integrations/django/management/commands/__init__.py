"""The commands of ``manage.py``: one module each, by its name."""
