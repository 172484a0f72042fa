"""``make doctor``: diagnoses the platform, whether up, down or half up, and says how to fix it.

Every check is a function from a `local.doctor.site.Site` to findings, and changes nothing.
`local.doctor.registry` lists them all, and a test holds docs/doctor.md to that list.
"""
