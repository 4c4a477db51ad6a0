"""What the generator and kvmontap-pools.service would make of the file, and what of it differs from what is there now.

`running` reads what is there (an edge), `compare` is pure; the units come from the generator's own code.
"""
