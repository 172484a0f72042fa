"""``make doctor``: diagnoses the platform, be it up, down or half up, and says how to fix it.

Every check is a function from a `local.doctor.site.Site` to findings; `local.doctor.registry` lists them all,
and docs/doctor.md is held to that list by a test. It looks, and changes nothing.
"""
