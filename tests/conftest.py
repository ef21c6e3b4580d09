"""What all tests share."""

from hypothesis import settings

# How long an example takes depends on what else the machine does; tests are never timed.
settings.register_profile("bbopt", deadline=None)
settings.load_profile("bbopt")
