"""What only people and their tools call: files, transfer, cluster configurations, who may do what.

No operator needs any of it.
"""
