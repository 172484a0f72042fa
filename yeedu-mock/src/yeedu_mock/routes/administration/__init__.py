"""Routes that only people and their tools call: files, export and import, cluster configurations, access.

No operator needs them.
"""
