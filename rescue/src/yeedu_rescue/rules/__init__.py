"""The rules that the reconciler applies: each puts one kind of flow run, or record, back in order."""
