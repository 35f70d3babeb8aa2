"""Moving an app from another library, without logging its users out: the common parts.

::

    importing    sessions in files -> a store       files      those files, read with care
    cookies      old cookies lead to sessions       pickled    plain values out of a pickle
                                                    plain      those values

:mod:`litesess.beaker` and :mod:`litesess.flask_session` add the parts that differ.
"""
