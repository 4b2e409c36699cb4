"""What people submit and wish: jobs and namespaces, their rights, lists, ends; and the requests about them. All PURE.

The registry holds what is open. What has ended is the journal's.
"""
