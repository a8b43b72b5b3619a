"""The ladder: one supervised child process per stream decodes, scales and encodes.

Raw frames never leave that process; the server sees coded access units only.
"""
