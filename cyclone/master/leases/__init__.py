"""Who holds which task, from the offer to the end: sessions, dispatch, reports and what they mean, retries. All PURE.

A lease belongs to a session; a controller that falls silent loses its sessions, and with them its leases.
"""
