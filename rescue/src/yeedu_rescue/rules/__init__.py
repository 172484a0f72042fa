"""The rules that the reconciler applies, each to one kind of flow run or record."""
