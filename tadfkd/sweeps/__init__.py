"""How are many runs planned, started, and compared?

A sweep is folders: ``OUT/TEACHER/CONFIG/seed_N``, each with the files of one
run and a ``status.json``. Nothing here imports torch before a config is read.
"""
