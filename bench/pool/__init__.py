"""How many performances does a slot policy serve from the provider's clones, and for how many adds?"""
