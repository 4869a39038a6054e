"""Performances under all that can go wrong at once: processes killed and frozen, connections cut and slow,
disks full, clocks wrong, a provider that loses answers. Real processes behind the gateway: one, or five.
"""
