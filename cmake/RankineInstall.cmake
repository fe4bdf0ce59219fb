# The installed package: house helper fills this in.
